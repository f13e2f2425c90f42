//! Notation: envelopes that the Notary Project's own code signed, and whatever can be made of them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;
use windlass_verify::{Notation, Target};

const MADE: &str = include_str!("../../crates/verify/src/notation/oracle/envelopes.json");
const TARGET: Target<'static> = Target {
    media_type: "application/vnd.oci.image.manifest.v1+json",
    digest: "sha256:73c803930ea3ba1e54bc25c2bdc53edd0284c62ed651fe7b00369da519a3c333",
    size: 16_724,
};
const REPOSITORY: &str = "ghcr.io/acme/app";
const NOW: &str = "2026-03-02T12:00:00Z";

/// The envelopes, and one trust policy for all their roots.
struct Oracle {
    notation: Notation,
    made: Vec<Value>,
}

fn oracle() -> &'static Oracle {
    static ORACLE: OnceLock<Oracle> = OnceLock::new();
    ORACLE.get_or_init(|| {
        let made: Vec<Value> = serde_json::from_str(MADE).expect("the tests' data");
        let root = |(number, one): (usize, &Value)| {
            (format!("{number}.crt"), one["root"].as_str().unwrap_or_default().as_bytes().to_vec())
        };
        let roots: BTreeMap<String, Vec<u8>> = made.iter().enumerate().map(root).collect();
        let files: Vec<String> = roots.keys().cloned().collect();
        let stores = ["ca:x", "signingAuthority:x"].map(|store| (store.to_owned(), files.clone()));
        let document = r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"signatureVerification":
            {"level":"strict"},"trustStores":["ca:x","signingAuthority:x"],"trustedIdentities":["*"]}]}"#;
        let notation = Notation::compile(document.as_bytes(), &roots, &BTreeMap::from(stores)).expect("a policy");
        Oracle { notation, made }
    })
}

fn verify(notation: &Notation, envelope: &[u8]) -> bool {
    let now = NOW.parse().expect("a time");
    notation.verify(envelope, "application/jose+json", TARGET, REPOSITORY, now).is_ok()
}

/// One field: an envelope.
///
/// # Panics
/// Where something verifies that nobody has signed.
pub fn envelope(data: &[u8]) {
    let Oracle { notation, made } = oracle();
    if !verify(notation, data) {
        return;
    }
    let found: Value = serde_json::from_slice(data).expect("what verifies is JSON");
    let signed = |one: &Value| {
        let known = &one["envelope"];
        ["payload", "protected", "signature"].iter().all(|field| found[field] == known[field])
            && found["header"]["x5c"] == known["header"]["x5c"]
    };
    assert!(made.iter().any(signed), "nobody has signed {found}");
}

/// One field: a trust policy document.
///
/// # Panics
/// Where a document alone, without certificates, makes anything trusted.
pub fn policy(data: &[u8]) {
    let made = &oracle().made;
    let root = made[0]["root"].as_str().unwrap_or_default().as_bytes().to_vec();
    let _ = Notation::compile(data, &BTreeMap::from([("a.crt".to_owned(), root)]), &BTreeMap::new());
    if let Ok(notation) = Notation::compile(data, &BTreeMap::new(), &BTreeMap::new()) {
        let envelope = made[0]["envelope"].to_string();
        assert!(!verify(&notation, envelope.as_bytes()), "trusted without a certificate");
    }
}
