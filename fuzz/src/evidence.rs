//! Signatures: what cosign signed once, and whatever can be made of it; and whatever a signer can sign.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use windlass_model::guard::{Identity, TextRule};
use windlass_model::load::{self, assemble};
use windlass_model::{Digest, ImageName, Spec};
use windlass_verify::{
    Artifact, Demands, Evidence, Form, Found, Identities, Judge, Key, Outcome, Signed, Subject, TrustRoot,
    Trusted, verify_bundle,
};

use crate::fields;
use crate::guard::Anything;

/// `cargo xtask fuzz --renew-evidence` makes it, with both lines of cosign.
const MADE: &str = include_str!("../evidence.json");
const IMAGE: &str = "registry.example.org/team/app";
const NOW: &str = "2030-01-01T00:00:00Z";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const APPROVAL: &str = "https://example.org/approval/v1";
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The annotations of a layer, in the order of an input's fields.
const ANNOTATIONS: [&str; 5] = [
    "dev.cosignproject.cosign/signature",
    "dev.sigstore.cosign/certificate",
    "dev.sigstore.cosign/chain",
    "dev.sigstore.cosign/bundle",
    "dev.sigstore.cosign/rfc3161timestamp",
];
/// What precedes the 32 bytes of an Ed25519 key in its DER (RFC 8410, section 4).
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What was signed, and everything by which it is believed.
struct Oracle {
    digest: Digest,
    sha256: [u8; 32],
    key: Key,
    identities: Identities,
    root: TrustRoot,
    /// What the bundles say.
    known: Vec<Signed>,
    /// What the layers hold.
    contents: Vec<String>,
    /// Wants a signature in the log by the identity, or one in no log by the key.
    judge: Judge,
}

fn oracle() -> &'static Oracle {
    static ORACLE: OnceLock<Oracle> = OnceLock::new();
    ORACLE.get_or_init(|| {
        let made: Value = serde_json::from_str(MADE).expect("the data");
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        let digest = Digest::parse(&text("digest")).expect("a digest");
        let exact = |name: &str| TextRule::Exact(text(name));
        let identity = Identity { issuer: exact("issuer"), subject: exact("subject") };
        let authorities = json!([
            {
                "name": "identity", "trustRoot": {"secretRef": {"namespace": "x", "name": "root"}},
                "keyless": {"identities": [{"issuer": text("issuer"), "subject": text("subject")}]},
            },
            {"name": "key", "key": {"pem": text("key")}, "insecureIgnoreTlog": true},
        ]);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "x", "name": "root"},
            "stringData": {"trusted_root.json": made["root"].to_string()},
        });
        let require = json!({"signatures": {"anyOf": ["identity", "key"]}});
        let mut oracle = Oracle {
            sha256: sha256(&digest),
            digest,
            key: Key::from_pem(&text("key")).expect("a key").remove(0),
            identities: Identities::new(&[identity]).expect("an identity"),
            root: TrustRoot::from_json(&made["root"].to_string()).expect("a root"),
            known: Vec::new(),
            contents: Vec::new(),
            judge: judge(&authorities, &require, &secret.to_string()),
        };
        for bundle in made["bundles"].as_array().expect("bundles") {
            let signed = oracle.verified(bundle.to_string().as_bytes());
            assert_eq!(signed.len(), 1, "each bundle of the data is good by one way");
            oracle.known.extend(signed);
        }
        for layer in made["layers"].as_array().expect("layers") {
            let content = layer["content"].as_str().expect("a text").to_owned();
            let annotations: BTreeMap<String, String> =
                serde_json::from_value(layer["annotations"].clone()).expect("texts");
            let evidence = evidence(Form::Signature(annotations), content.clone().into_bytes());
            assert!(is_allowed(&oracle.judge, &oracle.digest, evidence), "each layer of the data is good");
            oracle.contents.push(content);
        }
        oracle
    })
}

impl Oracle {
    /// What a bundle proves of the image, by the identity and by the key.
    fn verified(&self, bundle: &[u8]) -> Vec<Signed> {
        let by_key = Demands { tlog: false, ..Demands::default() };
        [(Trusted::Keyless(&self.identities), Demands::default()), (Trusted::Key(&self.key), by_key)]
            .into_iter()
            .filter_map(|(trusted, demands)| {
                verify_bundle(bundle, Artifact::Sha256(self.sha256), trusted, demands, &self.root).ok()
            })
            .collect()
    }
}

fn sha256(digest: &Digest) -> [u8; 32] {
    let hex = digest.as_str().strip_prefix("sha256:").expect("a SHA-256");
    std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal digits"))
}

/// A Guard for every image; further documents follow it.
fn judge(authorities: &Value, require: &Value, others: &str) -> Judge {
    let guard = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "Guard", "metadata": {"name": "guard"},
        "spec": {"match": {"images": ["**"]}, "authorities": authorities, "require": require},
    });
    let file = load::read("f.yaml", &format!("{guard}\n---\n{others}\n"), &Anything);
    let spec: Spec = assemble([&file], &BTreeMap::new()).spec;
    let judge = Judge::new(spec.guards.values().next().expect("a Guard"), &spec);
    assert!(judge.problems().is_empty(), "{:?}", judge.problems());
    judge
}

fn evidence(form: Form, bytes: Vec<u8>) -> Evidence {
    let digest = Digest::parse(&format!("sha256:{}", "0".repeat(64))).expect("a digest");
    Evidence { digest, place: "somewhere".to_owned(), form, bytes: Bytes::from(bytes) }
}

fn is_allowed(judge: &Judge, digest: &Digest, evidence: Evidence) -> bool {
    let image = ImageName::parse(IMAGE).expect("a name");
    let now = NOW.parse().expect("a time");
    let found = Found { evidence: vec![evidence], ..Found::default() };
    let assessment = judge.assess(&image, digest, &BTreeMap::from([(image.clone(), found)]), now);
    let subject = Subject { tenant: "", image: &image, digest, tag: None, first_seen: None };
    judge.judge(subject, assessment, now).outcome == Outcome::Allowed
}

/// One field: a bundle.
///
/// # Panics
/// Where it proves something that nobody has signed.
pub fn bundle(data: &[u8]) {
    let oracle = oracle();
    for signed in oracle.verified(data) {
        assert!(oracle.known.contains(&signed), "nobody has signed {signed:?}");
    }
}

/// The content of a layer, and its annotations.
///
/// # Panics
/// Where it is a signature, and its content is none of those that were signed.
pub fn layer(data: &[u8]) {
    let oracle = oracle();
    let [content, annotations @ ..] = fields::<6>(data);
    let stated = ANNOTATIONS.iter().zip(annotations).filter(|(_, value)| !value.is_empty());
    let texts =
        stated.map(|(name, value)| Some(((*name).to_owned(), std::str::from_utf8(value).ok()?.to_owned())));
    let Some(annotations) = texts.collect::<Option<BTreeMap<String, String>>>() else { return };
    let attestation = evidence(Form::Attestation(annotations.clone()), content.to_vec());
    assert!(!is_allowed(&oracle.judge, &oracle.digest, attestation), "an attestation is no signature");
    let signature = evidence(Form::Signature(annotations), content.to_vec());
    if is_allowed(&oracle.judge, &oracle.digest, signature) {
        assert!(
            oracle.contents.iter().any(|known| known.as_bytes() == content),
            "nobody has signed {content:?}"
        );
    }
}

/// A signer who signs anything.
struct Signer {
    key: Ed25519KeyPair,
    digest: Digest,
    signed: Judge,
    approved: Judge,
}

fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(|| {
        let key = Ed25519KeyPair::generate().expect("a key");
        let der = [&ED25519, key.public_key().as_ref()].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        let authorities = json!([{"name": "a", "key": {"pem": pem}, "insecureIgnoreTlog": true}]);
        let attestations = json!({"attestations": [{"predicateType": APPROVAL, "authorities": ["a"]}]});
        Signer {
            key,
            digest: oracle().digest.clone(),
            signed: judge(&authorities, &json!({"signatures": {"anyOf": ["a"]}}), ""),
            approved: judge(&authorities, &attestations, ""),
        }
    })
}

impl Signer {
    fn sign(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.key.sign(bytes))
    }

    /// A bundle with a statement.
    fn bundle(&self, statement: &[u8]) -> Evidence {
        let mut encoded = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), statement.len()).into_bytes();
        encoded.extend_from_slice(statement);
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "x"}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(statement), "payloadType": IN_TOTO,
                "signatures": [{"sig": self.sign(&encoded), "keyid": ""}],
            },
        });
        evidence(Form::Bundle, bundle.to_string().into_bytes())
    }
}

/// One field: what somebody signs, as a payload and as a statement.
///
/// # Panics
/// Where it counts for this image, and does not say so to whoever else reads it.
pub fn payload(data: &[u8]) {
    let signer = signer();
    let digest = signer.digest.as_str();
    let said =
        |why: &str| -> Value { serde_json::from_slice(data).unwrap_or_else(|_| panic!("{why}: no JSON")) };
    let annotations = BTreeMap::from([(ANNOTATIONS[0].to_owned(), signer.sign(data))]);
    if is_allowed(&signer.signed, &signer.digest, evidence(Form::Signature(annotations), data.to_vec())) {
        let critical = said("a payload")["critical"].take();
        assert_eq!(critical["image"]["docker-manifest-digest"], digest);
        assert_eq!(critical["type"], "cosign container image signature");
    }
    for (judge, kind) in [(&signer.signed, SIGN), (&signer.approved, APPROVAL)] {
        if is_allowed(judge, &signer.digest, signer.bundle(data)) {
            let statement = said("a statement");
            assert_eq!(statement["predicateType"], kind);
            assert!(
                statement["_type"]
                    .as_str()
                    .is_some_and(|kind| kind.starts_with("https://in-toto.io/Statement/v"))
            );
            let subjects = statement["subject"].as_array().into_iter().flatten();
            let hashes = subjects.filter_map(|subject| subject["digest"]["sha256"].as_str());
            assert!(
                hashes.into_iter().any(|hash| digest.strip_prefix("sha256:") == Some(hash)),
                "{statement}"
            );
        }
    }
}
