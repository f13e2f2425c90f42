//! cosign's first format: a signature or an attestation is a layer of the manifest under the tag `sha256-….sig` or
//! `sha256-….att`, and the layer's annotations hold the signature, the certificate, the log entry and the timestamp
//! (cosign, SIGNATURE_SPEC.md). Owns its conversion to a Sigstore bundle of version 0.1, so that one verifier judges
//! both, and the reading of what such a signature states. It believes nothing of what it converts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::strict;

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.1";
/// `critical.type` of every signature that cosign makes.
const SIGNATURE_TYPE: &str = "cosign container image signature";

/// What a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// A simple-signing payload, signed by the annotation.
    Signature,
    /// A DSSE envelope, which holds its signature.
    Attestation,
}

/// Why a layer is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LegacyError {
    /// An annotation is not what cosign writes.
    #[error("its annotation {annotation} {problem}")]
    Annotation {
        /// The annotation's key.
        annotation: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The content is not what its type says.
    #[error("its content cannot be read: {0}")]
    Content(String),
    /// It is a signature of another kind.
    #[error("it is no signature of a container image: its `critical.type` is another")]
    Type,
    /// It signs something else.
    #[error("it signs another image: {0}")]
    OtherImage(String),
}

/// Converts a layer with its annotations to a bundle.
pub(crate) fn to_bundle(
    layer: Layer,
    content: &[u8],
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, LegacyError> {
    let material = material(annotations)?;
    let (key, signed) = match layer {
        Layer::Signature => {
            let signature = annotations.get(SIGNATURE).ok_or_else(|| wrong(SIGNATURE, "is missing"))?;
            let digest = STANDARD.encode(Sha256::digest(content));
            let digest = json!({"algorithm": "SHA2_256", "digest": digest});
            ("messageSignature", json!({"messageDigest": digest, "signature": signature}))
        }
        Layer::Attestation => {
            let envelope: Value = strict::from_slice(content).map_err(|e| unreadable(&e))?;
            ("dsseEnvelope", envelope)
        }
    };
    let bundle = json!({"mediaType": BUNDLE_TYPE, "verificationMaterial": material, key: signed});
    Ok(bundle.to_string().into_bytes())
}

/// The certificate or the word that there is only a key, the log entry, the timestamp.
fn material(annotations: &BTreeMap<String, String>) -> Result<Value, LegacyError> {
    let stated = |key: &str| annotations.get(key).map(String::as_str).filter(|text| !text.is_empty());
    let mut material = serde_json::Map::new();
    if let Some(pem) = stated(CERTIFICATE) {
        let mut certificates = certificates(CERTIFICATE, pem)?;
        if certificates.len() != 1 {
            return Err(wrong(CERTIFICATE, "must be one certificate"));
        }
        if let Some(pem) = stated(CHAIN) {
            certificates.extend(self::certificates(CHAIN, pem)?);
        }
        let certificates: Vec<Value> =
            certificates.iter().map(|der| json!({"rawBytes": STANDARD.encode(der)})).collect();
        material.insert("x509CertificateChain".to_owned(), json!({"certificates": certificates}));
    } else {
        material.insert("publicKey".to_owned(), json!({"hint": ""}));
    }
    let entries: Vec<Value> = stated(LOG_ENTRY).map(log_entry).transpose()?.into_iter().collect();
    material.insert("tlogEntries".to_owned(), Value::Array(entries));
    if let Some(text) = stated(TIMESTAMP) {
        let stamp: Timestamp =
            strict::from_slice(text.as_bytes()).map_err(|error| malformed(TIMESTAMP, &error))?;
        let stamps = json!({"rfc3161Timestamps": [{"signedTimestamp": stamp.token}]});
        material.insert("timestampVerificationData".to_owned(), stamps);
    }
    Ok(Value::Object(material))
}

#[derive(Deserialize)]
struct Timestamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LogEntry {
    signed_entry_timestamp: String,
    payload: LogPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogPayload {
    body: String,
    integrated_time: i64,
    log_index: u64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogBody {
    kind: String,
    api_version: String,
}

fn log_entry(text: &str) -> Result<Value, LegacyError> {
    let entry: LogEntry =
        strict::from_slice(text.as_bytes()).map_err(|error| malformed(LOG_ENTRY, &error))?;
    let LogPayload { body, integrated_time, log_index, log_id } = entry.payload;
    let key_id = hex::decode(log_id).map_err(|_| wrong(LOG_ENTRY, "has a logID that is not hexadecimal"))?;
    let raw = STANDARD.decode(&body).map_err(|_| wrong(LOG_ENTRY, "has a body that is not base64"))?;
    let stated: LogBody = strict::from_slice(&raw).map_err(|error| malformed(LOG_ENTRY, &error))?;
    Ok(json!({
        "logIndex": log_index.to_string(),
        "logId": {"keyId": STANDARD.encode(key_id)},
        "kindVersion": {"kind": stated.kind, "version": stated.api_version},
        "integratedTime": integrated_time.to_string(),
        "inclusionPromise": {"signedEntryTimestamp": entry.signed_entry_timestamp},
        "canonicalizedBody": body,
    }))
}

/// Certificates in PEM and nothing else: a public key in their place would pass for one that needs no chain
/// (GHSA-fx35-mq7g-6g98).
fn certificates(annotation: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, LegacyError> {
    let blocks = pem.matches("-----BEGIN ").count();
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(read) if read.len() == blocks && blocks > 0 => Ok(read),
        _ => Err(wrong(annotation, "is not made of certificates in PEM")),
    }
}

fn wrong(annotation: &'static str, problem: &str) -> LegacyError {
    LegacyError::Annotation { annotation, problem: problem.to_owned() }
}

fn malformed(annotation: &'static str, error: &serde_json::Error) -> LegacyError {
    let (line, column) = (error.line(), error.column());
    wrong(annotation, &format!("is not what cosign writes (line {line}, column {column})"))
}

fn unreadable(error: &serde_json::Error) -> LegacyError {
    LegacyError::Content(format!("line {}, column {}", error.line(), error.column()))
}

#[derive(Deserialize)]
struct SimpleSigning {
    critical: Critical,
    #[serde(default)]
    optional: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct Critical {
    #[serde(rename = "type")]
    kind: String,
    image: Image,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// What a verified simple-signing payload states beside the image: its annotations (cosign, SIGNATURE_SPEC.md).
/// `docker-reference` is a hint by that document, and is not looked at.
///
/// # Errors
/// It is not a signature of the image with this digest.
pub(crate) fn read_payload(payload: &[u8], digest: &str) -> Result<BTreeMap<String, String>, LegacyError> {
    let payload: SimpleSigning = strict::from_slice(payload).map_err(|error| unreadable(&error))?;
    if payload.critical.kind != SIGNATURE_TYPE {
        return Err(LegacyError::Type);
    }
    if payload.critical.image.digest != digest {
        let stated: String = payload.critical.image.digest.chars().take(80).collect();
        return Err(LegacyError::OtherImage(stated));
    }
    Ok(annotations(payload.optional.unwrap_or_default()))
}

/// Annotations as texts: cosign compares what it prints.
pub(crate) fn annotations(stated: impl IntoIterator<Item = (String, Value)>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    stated.into_iter().map(|(key, value)| (key, text(value))).collect()
}
