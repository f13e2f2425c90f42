//! Evidence made by hand for the tests of this crate: keys, cosign's two formats, what a registry would hold.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey as _};
use sha2::{Digest as _, Sha256};
use windlass_model::{Digest, ImageName};

use crate::evidence::{Evidence, Form, Found};

pub(crate) const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

pub(crate) fn pair() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

pub(crate) fn image() -> ImageName {
    ImageName::parse("registry.example.com/acme/app").unwrap()
}

/// The digest of an image that is told apart by a number.
pub(crate) fn digest(number: u8) -> Digest {
    Digest::parse(&format!("sha256:{}", hex::encode(Sha256::digest([number])))).unwrap()
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::parse(&format!("sha256:{}", hex::encode(Sha256::digest(bytes)))).unwrap()
}

/// What `cosign sign` of the first format puts into a layer.
pub(crate) fn payload(about: &Digest, optional: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"elsewhere"}},"image":{{"docker-manifest-digest":"{about}"}},"type":"cosign container image signature"}},"optional":{optional}}}"#
    )
}

/// A layer of cosign's first format.
pub(crate) fn legacy(pair: &KeyPair, payload: &str) -> Evidence {
    let signature = STANDARD.encode(pair.sign(payload.as_bytes()).unwrap());
    let annotations = BTreeMap::from([("dev.cosignproject.cosign/signature".to_owned(), signature)]);
    Evidence {
        digest: digest_of(payload.as_bytes()),
        place: "the tag sha256-….sig".to_owned(),
        form: Form::Signature(annotations),
        bytes: Bytes::from(payload.to_owned()),
    }
}

/// A DSSE envelope with a statement about an image.
pub(crate) fn envelope(pair: &KeyPair, about: &Digest, kind: &str, annotations: &str) -> String {
    const TYPE: &str = "application/vnd.in-toto+json";
    let hash = about.as_str().trim_start_matches("sha256:");
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"app","digest":{{"sha256":"{hash}"}},"annotations":{annotations}}}],"predicateType":"{kind}","predicate":{{}}}}"#
    );
    // DSSE's pre-authentication encoding (secure-systems-lab/dsse, protocol.md).
    let encoded = format!("DSSEv1 {} {TYPE} {} {statement}", TYPE.len(), statement.len());
    let signature = STANDARD.encode(pair.sign(encoded.as_bytes()).unwrap());
    let statement = STANDARD.encode(statement);
    format!(
        r#"{{"payload":"{statement}","payloadType":"{TYPE}","signatures":[{{"sig":"{signature}","keyid":""}}]}}"#
    )
}

/// A bundle of version 0.3, as cosign 3 makes it by a key.
pub(crate) fn bundle(pair: &KeyPair, about: &Digest, kind: &str, annotations: &str) -> Evidence {
    let envelope = envelope(pair, about, kind, annotations);
    let json = format!(
        r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{{"publicKey":{{"hint":"x"}}}},"dsseEnvelope":{envelope}}}"#
    );
    Evidence {
        digest: digest_of(json.as_bytes()),
        place: "a referrer".to_owned(),
        form: Form::Bundle,
        bytes: Bytes::from(json),
    }
}

/// A DSSE envelope under the tag `sha256-….att`.
pub(crate) fn attestation(pair: &KeyPair, about: &Digest, kind: &str) -> Evidence {
    let json = envelope(pair, about, kind, "null");
    Evidence {
        digest: digest_of(json.as_bytes()),
        place: "the tag sha256-….att".to_owned(),
        form: Form::Attestation(BTreeMap::new()),
        bytes: Bytes::from(json),
    }
}

/// A registry that answered every question.
pub(crate) fn holds(evidence: Vec<Evidence>) -> BTreeMap<ImageName, Found> {
    BTreeMap::from([(image(), Found { evidence, ..Found::default() })])
}
