use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, date_time_ymd,
};
use serde_json::{Value, json};
use windlass_model::ObjectKey;
use windlass_model::resource::{Meta, Origin, SecretValue};

use super::*;

const DIGEST: &str = "sha256:73c803930ea3ba1e54bc25c2bdc53edd0284c62ed651fe7b00369da519a3c333";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const TARGET: Target<'static> = Target { media_type: MANIFEST, digest: DIGEST, size: 16_724 };
const REPOSITORY: &str = "ghcr.io/acme/app";
const SIGNER: &str = "x509.subject: C=US, ST=WA, O=acme, CN=ci";

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// Within the life of every certificate of these tests.
fn now() -> Timestamp {
    at("2026-03-02T12:00:00Z")
}

fn document(store: &str, identity: &str, verification: &Value) -> Vec<u8> {
    let policy = json!({
        "name": "acme", "registryScopes": [REPOSITORY], "signatureVerification": verification,
        "trustStores": [store], "trustedIdentities": [identity]
    });
    json!({"version": "1.0", "trustPolicies": [policy]}).to_string().into_bytes()
}

fn strict() -> Value {
    json!({"level": "strict"})
}

fn notation(store: &str, root: &[u8], verification: &Value) -> Notation {
    let certificates = BTreeMap::from([("root.crt".to_owned(), root.to_vec())]);
    Notation::compile(&document(store, SIGNER, verification), &certificates, &BTreeMap::new()).unwrap()
}

fn verify(notation: &Notation, envelope: &Value) -> Result<NotationSigned, NotationRefused> {
    notation.verify(envelope.to_string().as_bytes(), JWS, TARGET, REPOSITORY, now())
}

/// A root, an authority and a signer.
struct Pki {
    root: CertificateParams,
    authority: CertificateParams,
    leaf: CertificateParams,
    keys: [KeyPair; 3],
}

impl Pki {
    fn new() -> Self {
        let keys = [(); 3].map(|()| KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.not_before = date_time_ymd(2026, 1, 1);
            params.not_after = date_time_ymd(2027, 1, 1);
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (kind, value) in [
                (DnType::CountryName, "US"),
                (DnType::StateOrProvinceName, "WA"),
                (DnType::OrganizationName, "acme"),
                (DnType::CommonName, name),
            ] {
                params.distinguished_name.push(kind, value);
            }
            params
        };
        let authority = |name: &str| {
            let mut params = params(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params
        };
        let mut leaf = params("ci");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        Self { root: authority("root"), authority: authority("authority"), leaf, keys }
    }

    /// The chain in DER, leaf first.
    fn chain(&self) -> Vec<Vec<u8>> {
        let [root_key, authority_key, leaf_key] = &self.keys;
        let root = Issuer::from_params(&self.root, root_key);
        let authority = Issuer::from_params(&self.authority, authority_key);
        let ders = [
            self.leaf.signed_by(leaf_key, &authority).unwrap(),
            self.authority.signed_by(authority_key, &root).unwrap(),
            self.root.self_signed(root_key).unwrap(),
        ];
        ders.iter().map(|cert| cert.der().to_vec()).collect()
    }

    fn envelope(&self, chain: &[Vec<u8>], header: &Value, payload: &Value) -> Value {
        signed(&self.keys[2], chain, header, payload)
    }
}

fn signed(key: &KeyPair, chain: &[Vec<u8>], header: &Value, payload: &Value) -> Value {
    let (protected, payload) =
        (URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap();
    let signature = signer.sign(&SystemRandom::new(), format!("{protected}.{payload}").as_bytes()).unwrap();
    let chain: Vec<String> = chain.iter().map(|der| STANDARD.encode(der)).collect();
    json!({
        "payload": payload, "protected": protected, "header": {"x5c": chain},
        "signature": URL_SAFE_NO_PAD.encode(signature)
    })
}

fn header() -> Value {
    json!({
        "alg": "ES256", "cty": "application/vnd.cncf.notary.payload.v1+json",
        "crit": ["io.cncf.notary.signingScheme"], "io.cncf.notary.signingScheme": "notary.x509",
        "io.cncf.notary.signingTime": "2026-03-01T00:00:00Z"
    })
}

fn payload() -> Value {
    json!({"targetArtifact": {"mediaType": MANIFEST, "digest": DIGEST, "size": 16_724, "annotations": {"build": "7"}}})
}

/// The object with these fields, and without those that are null.
fn with(object: Value, changes: &Value) -> Value {
    let mut object = object;
    for (field, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(field);
        } else {
            object[field] = value.clone();
        }
    }
    object
}

/// What the Notary Project's own implementation signed, by every algorithm and both schemes.
#[test]
fn envelopes_of_notation_core_go_are_verified() {
    let made: Vec<Value> = serde_json::from_str(include_str!("oracle/envelopes.json")).unwrap();
    assert_eq!(made.len(), 12);
    for one in &made {
        let authority = one["scheme"] == "notary.x509.signingAuthority";
        let (store, other) =
            if authority { ("signingAuthority:x", "ca:x") } else { ("ca:x", "signingAuthority:x") };
        let root = one["root"].as_str().unwrap().as_bytes();
        let signed = verify(&notation(store, root, &strict()), &one["envelope"]).unwrap();
        let alg = one["alg"].as_str().unwrap();
        assert!(signed.logged.is_empty() && signed.policy == "acme");
        let Signer::Certificate { issuer, subject } = &signed.signer else { panic!("a certificate") };
        assert!(
            issuer.contains(&format!("CN={alg} root")) && subject.contains("CN=ci"),
            "{issuer} {subject}"
        );
        let refused = verify(&notation(other, root, &strict()), &one["envelope"]);
        assert!(matches!(refused, Err(NotationRefused::Untrusted { .. })), "{refused:?}");
        let stranger =
            made.iter().find(|other| other["alg"] != one["alg"]).unwrap()["root"].as_str().unwrap();
        let refused = verify(&notation(store, stranger.as_bytes(), &strict()), &one["envelope"]);
        assert!(matches!(refused, Err(NotationRefused::Untrusted { .. })), "{refused:?}");
    }
}

#[test]
fn an_envelope_is_for_its_artifact_its_repository_and_its_media_type() {
    let pki = Pki::new();
    let chain = pki.chain();
    let notation = notation("ca:x", &chain[2], &strict());
    let envelope = pki.envelope(&chain, &header(), &payload()).to_string();
    let verify = |media_type: &str, target, repository: &str| {
        notation.verify(envelope.as_bytes(), media_type, target, repository, now())
    };
    assert!(verify(JWS, TARGET, REPOSITORY).is_ok());
    for target in [
        Target {
            digest: "sha256:83c803930ea3ba1e54bc25c2bdc53edd0284c62ed651fe7b00369da519a3c333",
            ..TARGET
        },
        Target { size: 16_725, ..TARGET },
        Target { media_type: "application/vnd.oci.image.index.v1+json", ..TARGET },
    ] {
        assert!(matches!(verify(JWS, target, REPOSITORY), Err(NotationRefused::Artifact { .. })));
    }
    let other = verify(JWS, TARGET, "ghcr.io/acme/application").unwrap_err();
    assert_eq!(other.to_string(), "no trust policy is for `ghcr.io/acme/application`");
    assert_eq!(verify("application/cose", TARGET, REPOSITORY), Err(NotationRefused::Cose));
    assert!(matches!(verify("application/json", TARGET, REPOSITORY), Err(NotationRefused::MediaType(_))));
}

#[test]
fn headers_that_are_not_understood_are_refused() {
    const SCHEME: &str = "io.cncf.notary.signingScheme";
    const TIME: &str = "io.cncf.notary.signingTime";
    const AUTHENTIC: &str = "io.cncf.notary.authenticSigningTime";
    const EXPIRY: &str = "io.cncf.notary.expiry";
    let pki = Pki::new();
    let chain = pki.chain();
    let notation = notation("ca:x", &chain[2], &strict());
    for (changes, part) in [
        (json!({"alg": "ES384"}), "`alg` is `ES384`"),
        (json!({"alg": "none"}), "`alg` is `none`"),
        (json!({"alg": "HS256"}), "`alg` is `HS256`"),
        (json!({"alg": null}), "missing field `alg`"),
        (json!({"cty": "application/json"}), "the header `cty` is `application/json`"),
        (json!({"crit": null}), "missing field `crit`"),
        (json!({"crit": []}), "`crit` does not name"),
        (json!({"crit": [SCHEME, SCHEME]}), "`crit` does not name"),
        (json!({"crit": [SCHEME, "com.example.other"]}), "`com.example.other` is critical"),
        (json!({"crit": [SCHEME, "alg"]}), "`alg` is critical"),
        (json!({"crit": [SCHEME, EXPIRY]}), "is critical and not known, or not there"),
        (json!({EXPIRY: "2026-06-01T00:00:00Z"}), "`crit` does not name"),
        (json!({EXPIRY: "tomorrow", "crit": [SCHEME, EXPIRY]}), "the protected header cannot be read"),
        (json!({SCHEME: "notary.x509.other"}), "`notary.x509.other`, which is not known"),
        (json!({SCHEME: null}), "missing field"),
        (json!({TIME: null}), "do not fit together"),
        (json!({AUTHENTIC: "2026-03-01T00:00:00Z", "crit": [SCHEME, AUTHENTIC]}), "do not fit together"),
        (json!({SCHEME: "notary.x509.signingAuthority"}), "do not fit together"),
        (json!({"io.cncf.notary.verificationPlugin": "com.example.plugin"}), "verification plugin"),
        (json!({"io.cncf.notary.verificationPluginMinVersion": "1.0.0"}), "verification plugin"),
    ] {
        let envelope = pki.envelope(&chain, &with(header(), &changes), &payload());
        let told = verify(&notation, &envelope).unwrap_err().to_string();
        assert!(told.contains(part), "wanted `{part}`: {told}");
    }
    let extended = with(header(), &json!({"com.example.other": "not critical"}));
    assert!(verify(&notation, &pki.envelope(&chain, &extended, &payload())).is_ok());
}

#[test]
fn each_part_that_is_tampered_with_is_refused() {
    let pki = Pki::new();
    let chain = pki.chain();
    let notation = notation("ca:x", &chain[2], &strict());
    let good = pki.envelope(&chain, &header(), &payload());
    let other = with(payload(), &json!({"more": 1}));
    let stranger = Pki::new();
    let strange = stranger.envelope(&stranger.chain(), &header(), &payload());
    let swapped = |field: &str, from: &Value| with(good.clone(), &json!({field: from[field]}));
    for (envelope, part) in [
        (swapped("payload", &pki.envelope(&chain, &header(), &other)), "not by the key"),
        (
            swapped("protected", &pki.envelope(&chain, &with(header(), &json!({"x": 1})), &payload())),
            "not by the key",
        ),
        (swapped("signature", &pki.envelope(&chain, &header(), &other)), "not by the key"),
        (swapped("signature", &strange), "not by the key"),
        (swapped("header", &strange), "not by the key"),
        (strange.clone(), "is in a trust store"),
        (with(good.clone(), &json!({"signature": ""})), "not by the key"),
        (with(good.clone(), &json!({"signature": "===="})), "`signature` is not encoded"),
        (
            with(good.clone(), &json!({"payload": format!("{}=", good["payload"].as_str().unwrap())})),
            "`payload` is not",
        ),
        (with(good.clone(), &json!({"signatures": []})), "unknown field `signatures`"),
        (with(good.clone(), &json!({"header": {}})), "missing field `x5c`"),
        (with(good.clone(), &json!({"header": {"x5c": []}})), "there are 0 certificates"),
        (with(good.clone(), &json!({"header": {"x5c": vec!["AA=="; 17]}})), "there are 17 certificates"),
        (with(good.clone(), &json!({"header": {"x5c": ["AA=="]}})), "certificate 1 cannot be read"),
        (with(good.clone(), &json!({"header": {"x5c": ["%"]}})), "`x5c` is not encoded"),
        (
            json!([good["payload"], good["protected"], good["header"], good["signature"]]),
            "it is not an object",
        ),
        (json!("x"), "it is not an object"),
        (pki.envelope(&chain, &header(), &json!([])), "the payload cannot be read"),
        (
            pki.envelope(&chain, &header(), &json!({"targetArtifact": {"digest": DIGEST}})),
            "the payload cannot be read",
        ),
    ] {
        let told = verify(&notation, &envelope).unwrap_err().to_string();
        assert!(told.contains(part), "wanted `{part}`: {told}");
    }
    let agent =
        with(good.clone(), &json!({"header": {"x5c": good["header"]["x5c"], "agent": "?"}})).to_string();
    assert!(notation.verify(agent.as_bytes(), JWS, TARGET, REPOSITORY, now()).is_ok());
    let broken: Vec<u8> = agent.bytes().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
    let told = notation.verify(&broken, JWS, TARGET, REPOSITORY, now()).unwrap_err().to_string();
    assert!(told.contains("not UTF-8"), "{told}");
    let huge = with(good, &json!({"header": {"x5c": [], "pad": "a".repeat(1 << 20)}}));
    assert_eq!(verify(&notation, &huge), Err(NotationRefused::TooLarge));
}

/// A change to the certificates that must make the chain useless, and what is said of it.
type Broken = (fn(&mut Pki), &'static str);

#[test]
fn certificates_that_are_not_as_the_specification_wants_them_are_refused() {
    let broken: &[Broken] = &[
        (|pki| pki.leaf.key_usages.clear(), "states no key usage"),
        (|pki| pki.leaf.key_usages.push(KeyUsagePurpose::KeyCertSign), "not for digital signatures alone"),
        (
            |pki| pki.leaf.key_usages.push(KeyUsagePurpose::KeyEncipherment),
            "not for digital signatures alone",
        ),
        (
            |pki| pki.leaf.key_usages = vec![KeyUsagePurpose::ContentCommitment],
            "not for digital signatures alone",
        ),
        (|pki| pki.leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "is an authority's"),
        (
            |pki| pki.leaf.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth),
            "something else than signing",
        ),
        (
            |pki| pki.leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any],
            "something else than signing",
        ),
        (
            |pki| pki.leaf.extended_key_usages.push(ExtendedKeyUsagePurpose::TimeStamping),
            "something else than signing",
        ),
        (|pki| pki.authority.is_ca = IsCa::ExplicitNoCa, "is not an authority's"),
        (|pki| pki.authority.is_ca = IsCa::NoCa, "is not an authority's"),
        (|pki| pki.authority.key_usages = vec![KeyUsagePurpose::CrlSign], "may not sign certificates"),
        (|pki| pki.authority.key_usages.clear(), "states no key usage"),
        (|pki| pki.root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), "does not allow so long a chain"),
        (|pki| pki.leaf.not_after = date_time_ymd(2026, 3, 1), "is not valid at 2026-03-02T12:00:00Z"),
        (|pki| pki.leaf.not_before = date_time_ymd(2026, 4, 1), "is not valid at"),
        // CVE-2026-24122's class: an authority whose time is over.
        (|pki| pki.authority.not_after = date_time_ymd(2026, 3, 1), "CN=authority"),
        (|pki| pki.root.not_after = date_time_ymd(2026, 3, 1), "CN=root"),
        (
            |pki| pki.leaf.distinguished_name.push(DnType::CommonName, "other"),
            "not among the trusted identities",
        ),
    ];
    for (change, part) in broken {
        let mut pki = Pki::new();
        change(&mut pki);
        let chain = pki.chain();
        let certificates = BTreeMap::from([("root.crt".to_owned(), chain[2].clone())]);
        let notation =
            Notation::compile(&document("ca:x", SIGNER, &strict()), &certificates, &BTreeMap::new()).unwrap();
        let told = verify(&notation, &pki.envelope(&chain, &header(), &payload())).unwrap_err().to_string();
        assert!(told.contains(part), "wanted `{part}`: {told}");
    }
    let mut fine = Pki::new();
    fine.root.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    fine.authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    fine.leaf.is_ca = IsCa::ExplicitNoCa;
    fine.leaf.extended_key_usages.clear();
    let chain = fine.chain();
    let notation = notation("ca:x", &chain[2], &strict());
    assert!(verify(&notation, &fine.envelope(&chain, &header(), &payload())).is_ok());
}

#[test]
fn chains_are_complete_and_in_order() {
    let pki = Pki::new();
    let good = pki.chain();
    let notation = notation("ca:x", &good[2], &strict());
    let stranger = Pki::new().chain();
    let [leaf, authority, root] = [good[0].clone(), good[1].clone(), good[2].clone()];
    for (chain, part) in [
        (vec![leaf.clone(), authority.clone()], "is no root"),
        (vec![leaf.clone()], "is no root"),
        (vec![leaf.clone(), root.clone()], "is not signed by the next one"),
        (vec![leaf.clone(), root.clone(), authority.clone()], "is not signed by the next one"),
        (
            vec![leaf.clone(), authority.clone(), root.clone(), root.clone()],
            "is a root, and is not the last one",
        ),
        (vec![leaf.clone(), authority.clone(), stranger[2].clone()], "is not signed by the next one"),
        (vec![leaf.clone(), stranger[1].clone(), root.clone()], "is not signed by the next one"),
        (vec![authority.clone(), root.clone()], "not by the key of its certificate"),
    ] {
        let told = verify(&notation, &pki.envelope(&chain, &header(), &payload())).unwrap_err().to_string();
        assert!(told.contains(part), "wanted `{part}`: {told}");
    }
    // The leaf's own signature is flipped.
    let mut flipped = leaf;
    *flipped.last_mut().unwrap() ^= 1;
    let told = verify(&notation, &pki.envelope(&[flipped, authority, root], &header(), &payload()));
    assert!(told.is_err(), "{told:?}");
}

#[test]
fn a_signer_that_signs_itself_may_be_trusted_itself() {
    let pki = Pki::new();
    let own = pki.leaf.self_signed(&pki.keys[2]).unwrap();
    let chain = vec![own.der().to_vec()];
    let envelope = pki.envelope(&chain, &header(), &payload());
    assert!(verify(&notation("ca:x", own.pem().as_bytes(), &strict()), &envelope).is_ok());
    let other = Pki::new();
    let other = other.leaf.self_signed(&other.keys[2]).unwrap();
    let refused = verify(&notation("ca:x", other.der(), &strict()), &envelope);
    assert!(matches!(refused, Err(NotationRefused::Untrusted { .. })), "{refused:?}");
}

#[test]
fn identities_narrow_whom_an_authority_may_vouch_for() {
    let pki = Pki::new();
    let chain = pki.chain();
    let certificates = BTreeMap::from([("root.crt".to_owned(), chain[2].clone())]);
    let envelope = pki.envelope(&chain, &header(), &payload());
    for (identity, met) in [
        ("*", true),
        (SIGNER, true),
        ("x509.subject: C=US, ST=WA, O=acme", true),
        ("x509.subject: C=US, ST=WA, O=acme, CN=release", false),
        ("x509.subject: C=US, ST=WA, O=acme, CN=ci, OU=x", false),
        ("x509.subject: C=US, ST=OR, O=acme", false),
    ] {
        let document = document("ca:x", identity, &strict());
        let notation = Notation::compile(&document, &certificates, &BTreeMap::new()).unwrap();
        let result = verify(&notation, &envelope);
        assert_eq!(result.is_ok(), met, "{identity} {result:?}");
        if !met {
            assert!(matches!(result, Err(NotationRefused::Stranger { .. })));
        }
    }
}

#[test]
fn a_level_decides_what_is_only_logged() {
    const AUTHENTIC: &str = "io.cncf.notary.authenticSigningTime";
    let mut pki = Pki::new();
    pki.leaf.not_after = date_time_ymd(2026, 3, 1);
    pki.leaf.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 31], vec![0x30, 0x00]));
    let chain = pki.chain();
    let expiring = with(
        header(),
        &json!({"io.cncf.notary.expiry": "2026-03-02T12:00:00Z",
                "crit": ["io.cncf.notary.signingScheme", "io.cncf.notary.expiry"]}),
    );
    let envelope = pki.envelope(&chain, &expiring, &payload());
    let judge = |verification: Value| verify(&notation("ca:x", &chain[2], &verification), &envelope);
    let signed = judge(json!({"level": "permissive"})).unwrap();
    assert!(matches!(
        signed.logged.as_slice(),
        [Failure::Expired(_), Failure::Validity { .. }, Failure::Revocation { .. }]
    ));
    let skipped = judge(json!({"level": "permissive", "override": {"revocation": "skip"}})).unwrap();
    assert_eq!(skipped.logged.len(), 2);
    for (overrides, part) in [
        (json!({}), "expired at 2026-03-02T12:00:00Z"),
        (json!({"expiry": "log"}), "is not valid at"),
        (json!({"expiry": "log", "authenticTimestamp": "log"}), "override `revocation` with `log` or `skip`"),
    ] {
        let told = judge(json!({"level": "strict", "override": overrides})).unwrap_err().to_string();
        assert!(told.contains(part), "wanted `{part}`: {told}");
    }
    // A signing authority's word for the time counts, and only for the past.
    let by_authority = |time: &str| {
        let header = with(
            header(),
            &json!({"io.cncf.notary.signingScheme": "notary.x509.signingAuthority", "io.cncf.notary.signingTime": null,
                    AUTHENTIC: time, "crit": ["io.cncf.notary.signingScheme", AUTHENTIC]}),
        );
        let verification = json!({"level": "strict", "override": {"revocation": "skip"}});
        let notation = notation("signingAuthority:x", &chain[2], &verification);
        verify(&notation, &pki.envelope(&chain, &header, &payload())).map_err(|refused| refused.to_string())
    };
    assert!(by_authority("2026-02-01T00:00:00Z").is_ok());
    assert!(by_authority("2025-02-01T00:00:00Z").unwrap_err().contains("is not valid at 2025-02-01"));
    assert!(by_authority("2026-03-02T13:00:00Z").unwrap_err().contains("has not come yet"));
}

#[test]
fn what_nobody_is_known_to_have_signed_is_refused_at_every_level() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let envelope = stranger.envelope(&stranger.chain(), &header(), &payload());
    let chain = pki.chain();
    let root = &chain[2];
    let refused = verify(&notation("ca:x", root, &json!({"level": "audit"})), &envelope);
    assert!(matches!(refused, Err(NotationRefused::Untrusted { .. })), "{refused:?}");
    let good = pki.envelope(&chain, &header(), &payload());
    assert!(verify(&notation("ca:x", root, &json!({"level": "audit"})), &good).is_ok());
    let skip = json!({"version": "1.0", "trustPolicies": [
        {"name": "free", "registryScopes": [REPOSITORY], "signatureVerification": {"level": "skip"}}
    ]});
    let skip = Notation::compile(skip.to_string().as_bytes(), &BTreeMap::new(), &BTreeMap::new()).unwrap();
    assert_eq!(verify(&skip, &good), Err(NotationRefused::Skipped("free".into())));
}

#[test]
fn certificates_go_to_the_stores_that_they_are_meant_for() {
    let (one, two) = (Pki::new(), Pki::new());
    let chain = two.chain();
    let files = BTreeMap::from([
        ("one.crt".to_owned(), one.chain()[2].clone()),
        ("two.pem".to_owned(), chain[2].clone()),
    ]);
    let policy = |name: &str, scope: &str, store: &str| {
        json!({"name": name, "registryScopes": [scope], "signatureVerification": {"level": "strict"},
               "trustStores": [store], "trustedIdentities": ["*"]})
    };
    let document =
        json!({"version": "1.0", "trustPolicies": [policy("a", REPOSITORY, "ca:one"), policy("b", "*", "ca:two")]})
            .to_string()
            .into_bytes();
    let stores = |stores: Value| serde_json::from_value::<BTreeMap<String, Vec<String>>>(stores).unwrap();
    let compile = |named: Value| Notation::compile(&document, &files, &stores(named));
    let notation = compile(json!({"ca:one": ["one.crt"], "ca:two": ["two.pem"]})).unwrap();
    let envelope = two.envelope(&chain, &header(), &payload()).to_string();
    let verify = |repository: &str| notation.verify(envelope.as_bytes(), JWS, TARGET, repository, now());
    assert!(verify("ghcr.io/other/app").is_ok());
    assert!(matches!(verify(REPOSITORY), Err(NotationRefused::Untrusted { .. })));
    for (named, part) in [
        (json!({}), "is not the only one"),
        (json!({"ca:one": ["one.crt"]}), "the trust store `ca:two` has no certificates"),
        (json!({"ca:one": ["one.crt"], "ca:two": []}), "`ca:two` has no certificates"),
        (json!({"ca:one": ["one.crt"], "ca:two": ["three.crt"]}), "has no file `three.crt`"),
        (json!({"ca:one": ["one.crt"], "ca:two": ["two.pem"], "ca:x": []}), "named by no trust policy"),
    ] {
        let told = compile(named).unwrap_err().to_string();
        assert!(told.contains(part), "wanted `{part}`: {told}");
    }
    let leaf = BTreeMap::from([("leaf.crt".to_owned(), one.chain()[0].clone())]);
    let document = self::document("ca:x", "*", &strict());
    let told = |files: &BTreeMap<String, Vec<u8>>| {
        Notation::compile(&document, files, &BTreeMap::new()).unwrap_err().to_string()
    };
    assert!(told(&leaf).contains("neither an authority nor signed by itself"));
    assert!(told(&BTreeMap::new()).contains("has no certificates"));
    let broken = BTreeMap::from([("a.pem".to_owned(), format!("{BEGIN}\n!\n").into_bytes())]);
    assert!(told(&broken).contains("the certificates of `a.pem` cannot be used"));
}

#[test]
fn a_secret_is_read_as_flux_has_it() {
    let pki = Pki::new();
    let chain = pki.chain();
    let secret = |values: &[(&str, &[u8])]| {
        let origin = Origin { file: "f.yaml".into(), line: 1 };
        let meta = Meta {
            key: ObjectKey::new("security", "notation"),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            origin,
            unsupported: Vec::new(),
        };
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), SecretValue::new(value.to_vec())));
        Secret { meta, values: values.collect() }
    };
    let trust =
        NotationTrust { secret: ObjectKey::new("security", "notation"), trust_stores: BTreeMap::new() };
    let document = document("ca:x", SIGNER, &strict());
    let whole = secret(&[("trustpolicy.json", &document), ("a.crt", &chain[2]), ("notes.txt", b"x")]);
    let notation = Notation::from_secret(&whole, &trust).unwrap();
    assert!(verify(&notation, &pki.envelope(&chain, &header(), &payload())).is_ok());
    let told = |secret: &Secret| Notation::from_secret(secret, &trust).unwrap_err().to_string();
    assert_eq!(told(&secret(&[("a.crt", &chain[2])])), "there is no `trustpolicy.json`");
    assert!(told(&secret(&[("trustpolicy.json", &document)])).contains("has no certificates"));
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let mut pki = Pki::new();
    pki.keys[2] = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let chain = pki.chain();
    let signer = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let refused =
        verify(&notation("ca:x", &chain[2], &strict()), &signed(&signer, &chain, &header(), &payload()));
    assert_eq!(refused, Err(NotationRefused::Signature));
}

proptest! {
    /// Any one byte of an envelope that is changed makes it worthless, or changes nothing that is looked at.
    #[test]
    fn no_changed_envelope_is_taken_for_another_artifact(at in any::<prop::sample::Index>(), byte in any::<u8>(), made in 0_usize..12) {
        let all: Vec<Value> = serde_json::from_str(include_str!("oracle/envelopes.json")).unwrap();
        let one = &all[made];
        let store = if one["scheme"] == "notary.x509" { "ca:x" } else { "signingAuthority:x" };
        let notation = notation(store, one["root"].as_str().unwrap().as_bytes(), &strict());
        let mut bytes = one["envelope"].to_string().into_bytes();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let other = Target { size: 1, ..TARGET };
        prop_assert!(notation.verify(&bytes, JWS, other, REPOSITORY, now()).is_err());
        if notation.verify(&bytes, JWS, TARGET, REPOSITORY, now()).is_ok() {
            let changed: Value = serde_json::from_slice(&bytes).unwrap();
            for field in ["payload", "protected", "signature"] {
                prop_assert_eq!(&changed[field], &one["envelope"][field]);
            }
            prop_assert_eq!(&changed["header"]["x5c"], &one["envelope"]["header"]["x5c"]);
        }
    }

    #[test]
    fn whatever_bytes_are_they_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let pki = Pki::new();
        let notation = notation("ca:x", &pki.chain()[2], &strict());
        prop_assert!(notation.verify(&bytes, JWS, TARGET, REPOSITORY, now()).is_err());
        prop_assert!(Notation::compile(&bytes, &BTreeMap::new(), &BTreeMap::new()).is_err());
    }
}
