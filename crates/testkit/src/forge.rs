//! Signatures made by hand, in cosign's first format: what cosign would not sign with, because it is too old or of
//! nobody's making, and what it would sign too slowly. The services are real enough to be believed: the log enters what it is sent.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ca::{Authority, Subject, key, pem};
use crate::evidence::{CERTIFICATE, CHAIN, Layer, REKOR, SIGNATURE, SIMPLE_SIGNING};
use crate::http_server::client;
use crate::rekor::Rekor;

/// Whoever holds a key and has certificates made for it.
pub struct Forger {
    key: KeyPair,
}

/// A certificate with those above it.
#[derive(Debug, Clone)]
pub struct Certified {
    /// As DER.
    pub certificate: Vec<u8>,
    /// As PEM; empty where the signature brings none along.
    pub chain: String,
}

impl Forger {
    /// With a key of its own.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self> {
        Ok(Self { key: key()? })
    }

    /// A certificate for its key.
    ///
    /// # Errors
    /// When the authority cannot issue it.
    pub fn certified(&self, authority: &Authority, subject: &Subject) -> Result<Certified> {
        let certificate = authority.certify(&self.key.subject_public_key_info(), subject)?;
        Ok(Certified { certificate, chain: authority.chain_pem() })
    }

    /// Its public key, as PEM.
    pub fn public_pem(&self) -> String {
        self.key.public_key_pem()
    }

    /// A signature by its key alone of the image with this digest: the layer of a `.sig` tag.
    ///
    /// # Errors
    /// When nothing can be signed.
    pub fn sign_by_key(&self, digest: &str) -> Result<Layer> {
        let (content, signature) = self.signed(digest)?;
        let annotations = json!({ SIGNATURE: signature });
        Ok(Layer { content, media_type: SIMPLE_SIGNING.to_owned(), annotations })
    }

    /// A signature of the image with this digest: the layer of a `.sig` tag, entered in a log if one is given.
    ///
    /// # Errors
    /// When the log does not take it.
    pub async fn sign(&self, digest: &str, by: &Certified, log: Option<&Rekor>) -> Result<Layer> {
        let (content, signature) = self.signed(digest)?;
        let certificate = pem(&by.certificate);
        let mut annotations = json!({ SIGNATURE: signature, CERTIFICATE: certificate });
        if !by.chain.is_empty() {
            annotations[CHAIN] = json!(by.chain);
        }
        if let Some(log) = log {
            annotations[REKOR] = json!(enter(log, &content, &signature, &certificate).await?.to_string());
        }
        Ok(Layer { content, media_type: SIMPLE_SIGNING.to_owned(), annotations })
    }

    /// What is signed of an image, and the signature in base64.
    fn signed(&self, digest: &str) -> Result<(Vec<u8>, String)> {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": ""},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let content = payload.to_string().into_bytes();
        let signature = STANDARD.encode(self.key.sign(&content).context("signing a payload")?);
        Ok((content, signature))
    }
}

/// Enters a signature in a log, and gives what cosign keeps of the answer.
async fn enter(log: &Rekor, content: &[u8], signature: &str, certificate: &str) -> Result<Value> {
    let hash = hex::encode(Sha256::digest(content));
    let entry = json!({
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hash}},
            "signature": {"content": signature, "publicKey": {"content": STANDARD.encode(certificate)}},
        },
    });
    let url = format!("{}/api/v1/log/entries", log.url());
    let request = client()?.post(url).header("content-type", "application/json").body(entry.to_string());
    let answer = request.send().await.context("asking the log")?;
    ensure!(answer.status().is_success(), "the log answers {}", answer.status());
    let entries: Value = serde_json::from_slice(&answer.bytes().await?).context("an entry is JSON")?;
    let entry = entries.as_object().and_then(|entries| entries.values().next());
    let entry = entry.context("the log has entered something")?;
    let payload: Value = ["body", "integratedTime", "logIndex", "logID"]
        .iter()
        .map(|name| (*name, entry[*name].clone()))
        .collect();
    Ok(json!({
        "SignedEntryTimestamp": entry["verification"]["signedEntryTimestamp"],
        "Payload": payload,
    }))
}
