use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SigningKey as _};
use sha2::{Digest as _, Sha256};
use windlass_model::guard::{Identity, TextRule};

use super::*;
use crate::KeyError;

const ARTIFACT: &[u8] = b"what was built";
const V1: &str = "https://in-toto.io/Statement/v1";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// A key demands no certificate, and these bundles stand in no log.
const BY_KEY_ALONE: Demands = Demands { tlog: false, sct: true, timestamps: false };

fn pair() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn key(pair: &KeyPair) -> Key {
    Key::from_pem(&pair.public_key_pem()).unwrap().remove(0)
}

fn bundle(content: &str) -> String {
    format!(
        r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{{"publicKey":{{"hint":"x"}}}},{content}}}"#
    )
}

/// A bundle with a plain signature, as `cosign sign-blob` makes it.
fn message(pair: &KeyPair, artifact: &[u8]) -> String {
    let signature = STANDARD.encode(pair.sign(artifact).unwrap());
    let digest = STANDARD.encode(Sha256::digest(artifact));
    bundle(&format!(
        r#""messageSignature":{{"messageDigest":{{"algorithm":"SHA2_256","digest":"{digest}"}},"signature":"{signature}"}}"#
    ))
}

/// A bundle with a statement about the artifact, as `cosign sign` and `cosign attest` make it.
fn statement(pair: &KeyPair, kind: &str, predicate: &str, artifact: &[u8]) -> String {
    const TYPE: &str = "application/vnd.in-toto+json";
    let digest = hex::encode(Sha256::digest(artifact));
    let payload = format!(
        r#"{{"_type":"{kind}","subject":[{{"name":"app","digest":{{"sha256":"{digest}"}}}}],"predicateType":"{predicate}","predicate":{{}}}}"#
    );
    // DSSE's pre-authentication encoding (secure-systems-lab/dsse, protocol.md).
    let encoded = format!("DSSEv1 {} {TYPE} {} {payload}", TYPE.len(), payload.len());
    let signature = STANDARD.encode(pair.sign(encoded.as_bytes()).unwrap());
    let payload = STANDARD.encode(payload);
    bundle(&format!(
        r#""dsseEnvelope":{{"payload":"{payload}","payloadType":"{TYPE}","signatures":[{{"sig":"{signature}","keyid":""}}]}}"#
    ))
}

fn verify(json: &str, artifact: &[u8], key: &Key, demands: Demands) -> Result<Signed, Refused> {
    let root = TrustRoot::public_good().unwrap();
    let by_bytes =
        verify_bundle(json.as_bytes(), Artifact::Bytes(artifact), Trusted::Key(key), demands, &root);
    let digest = Artifact::Sha256(Sha256::digest(artifact).into());
    let by_digest = verify_bundle(json.as_bytes(), digest, Trusted::Key(key), demands, &root);
    assert_eq!(by_bytes.is_ok(), by_digest.is_ok(), "{by_bytes:?} {by_digest:?}");
    by_bytes
}

#[test]
fn a_signature_by_the_key_is_accepted_and_names_the_key() {
    let pair = pair();
    let signed = verify(&message(&pair, ARTIFACT), ARTIFACT, &key(&pair), BY_KEY_ALONE).unwrap();
    assert_eq!(signed, Signed { signer: Signer::Key(key(&pair).fingerprint().into()), statement: None });
}

#[test]
fn another_key_another_artifact_and_a_changed_signature_are_refused() {
    let pair = pair();
    let good = message(&pair, ARTIFACT);
    let stranger = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    assert!(matches!(verify(&good, ARTIFACT, &key(&stranger), BY_KEY_ALONE), Err(Refused::Unverified(_))));
    assert!(verify(&good, b"what was not built", &key(&pair), BY_KEY_ALONE).is_err());
    let spliced = good.replace(&signature_of(&good), &signature_of(&message(&pair, b"other")));
    assert_ne!(spliced, good);
    assert!(verify(&spliced, ARTIFACT, &key(&pair), BY_KEY_ALONE).is_err());
}

fn signature_of(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value["messageSignature"]["signature"].as_str().unwrap().to_owned()
}

#[test]
fn the_defaults_ask_for_the_transparency_log_and_timestamps_can_be_asked_for() {
    let pair = pair();
    let good = message(&pair, ARTIFACT);
    assert!(matches!(verify(&good, ARTIFACT, &key(&pair), Demands::default()), Err(Refused::Unverified(_))));
    let demands = Demands { timestamps: true, ..BY_KEY_ALONE };
    assert_eq!(verify(&good, ARTIFACT, &key(&pair), demands), Err(Refused::NoTimestamp));
}

#[test]
fn a_key_is_no_certificate_and_a_bundle_by_key_satisfies_no_identity() {
    let pair = pair();
    let identity = Identity { issuer: TextRule::Exact("i".into()), subject: TextRule::Exact("s".into()) };
    let identities = Identities::new(&[identity]).unwrap();
    let root = TrustRoot::public_good().unwrap();
    let demands = Demands { tlog: false, sct: false, timestamps: false };
    let json = message(&pair, ARTIFACT);
    let artifact = Artifact::Bytes(ARTIFACT);
    let refused = verify_bundle(json.as_bytes(), artifact, Trusted::Keyless(&identities), demands, &root);
    assert!(matches!(refused, Err(Refused::Unverified(_))), "{refused:?}");
}

#[test]
fn a_statement_is_read_from_the_signed_bytes_and_must_be_about_the_artifact() {
    let pair = pair();
    let good = statement(&pair, V1, SIGN, ARTIFACT);
    let signed = verify(&good, ARTIFACT, &key(&pair), BY_KEY_ALONE).unwrap();
    assert_eq!(signed.statement.unwrap().predicate_type, SIGN);
    assert!(verify(&good, b"other", &key(&pair), BY_KEY_ALONE).is_err());
    let other = statement(&pair, "https://example.com/Statement", SIGN, ARTIFACT);
    let refused = verify(&other, ARTIFACT, &key(&pair), BY_KEY_ALONE);
    assert_eq!(refused, Err(Refused::Statement(StatementError::Type)));
}

#[test]
fn floods_are_refused_before_anything_is_verified() {
    let pair = pair();
    let good = message(&pair, ARTIFACT);
    let stamps = vec![r#"{"signedTimestamp":"AA=="}"#; bounds::TIMESTAMPS + 1].join(",");
    let flooded = good.replace(
        r#""verificationMaterial":{"#,
        &format!(
            r#""verificationMaterial":{{"timestampVerificationData":{{"rfc3161Timestamps":[{stamps}]}},"#
        ),
    );
    let limit = bounds::TIMESTAMPS;
    let expected = Err(Refused::TooMuch { what: "signed timestamps", limit });
    assert_eq!(verify(&flooded, ARTIFACT, &key(&pair), BY_KEY_ALONE), expected);
    let huge = format!("{}{good}", " ".repeat(bounds::BUNDLE_BYTES));
    assert!(matches!(
        verify(&huge, ARTIFACT, &key(&pair), BY_KEY_ALONE),
        Err(Refused::TooMuch { what: "bytes", .. })
    ));
    for broken in ["", "{", "[]", "{}", &good[..good.len() - 1]] {
        let refused = verify(broken, ARTIFACT, &key(&pair), BY_KEY_ALONE);
        assert!(matches!(refused, Err(Refused::Malformed(_))), "{broken}");
    }
}

#[test]
fn a_changed_byte_anywhere_that_is_accepted_changes_nothing_that_was_signed() {
    let pair = pair();
    let good = message(&pair, ARTIFACT);
    let whole = verify(&good, ARTIFACT, &key(&pair), BY_KEY_ALONE).unwrap();
    let root = TrustRoot::public_good().unwrap();
    let key = key(&pair);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let answer =
                verify_bundle(&bytes, Artifact::Bytes(ARTIFACT), Trusted::Key(&key), BY_KEY_ALONE, &root);
            let Ok(signed) = answer else { continue };
            assert_eq!(signed, whole);
            let mutated = String::from_utf8(bytes).unwrap();
            assert_eq!(signature_of(&mutated), signature_of(&good), "{mutated}");
        }
    }
}

#[test]
fn keys_of_several_kinds_are_read_and_others_are_refused_by_name() {
    for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let pem = KeyPair::generate_for(kind).unwrap().public_key_pem();
        assert_eq!(Key::from_pem(&pem).unwrap().len(), 1);
        assert_eq!(Key::from_pem(&format!("{pem}\n{pem}")).unwrap().len(), 2);
    }
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap().public_key_pem();
    assert_eq!(Key::from_pem(&p521).unwrap_err(), KeyError::Unsupported("ECDSA on P-521"));
    assert_eq!(Key::from_pem("nothing").unwrap_err(), KeyError::NoPem);
    let private = pair().serialize_pem();
    assert!(matches!(Key::from_pem(&private), Err(KeyError::Malformed(_))));
}
