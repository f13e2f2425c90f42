//! Everything that keyless signing needs, without the Internet: an authority for certificates with its public log, a
//! transparency log, a timestamp authority, and the trust root that names them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::ca::Authority;
use crate::folder::{Storage, fresh};
use crate::fulcio::Fulcio;
use crate::rekor::{ORIGIN, Rekor};
use crate::tsa::TimestampAuthority;

/// Before anything that is made here.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";
const ROOT_FILE: &str = "trusted_root.json";

/// The running services. No two have a key in common.
pub struct Sigstore {
    /// Issues certificates.
    pub authority: Arc<Authority>,
    /// Asks the authority on cosign's behalf.
    pub fulcio: Fulcio,
    /// Logs signatures.
    pub rekor: Rekor,
    /// Signs timestamps.
    pub tsa: TimestampAuthority,
    folder: TempDir,
}

impl Sigstore {
    /// Starts all of them on free ports.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start() -> Result<Self> {
        let authority = Arc::new(Authority::new("test")?);
        let fulcio = Fulcio::start(Arc::clone(&authority))?;
        let rekor = Rekor::start()?;
        let tsa = TimestampAuthority::start("test timestamps")?;
        let sigstore = Self { authority, fulcio, rekor, tsa, folder: fresh(Storage::Memory)? };
        sigstore.file(ROOT_FILE, &sigstore.trusted_root().to_string())?;
        Ok(sigstore)
    }

    /// The trust root: Sigstore's `TrustedRoot` message as JSON, version 0.1.
    pub fn trusted_root(&self) -> Value {
        self.trusted_root_with(&self.authority)
    }

    /// The same with another authority in the place of its own.
    pub fn trusted_root_with(&self, fulcio: &Authority) -> Value {
        let start = json!({"start": LONG_AGO});
        let log = |url: &str, key: &[u8]| {
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(key),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": start,
                },
                "logId": {"keyId": STANDARD.encode(Sha256::digest(key))},
            })
        };
        let authority = |uri: &str, chain: &[Vec<u8>]| {
            let certificates: Vec<Value> =
                chain.iter().map(|der| json!({"rawBytes": STANDARD.encode(der)})).collect();
            json!({
                "subject": {"organization": "Windlass tests", "commonName": "test"},
                "uri": uri,
                "certChain": {"certificates": certificates},
                "validFor": start,
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&format!("https://{ORIGIN}"), &self.rekor.public_key())],
            "certificateAuthorities": [authority("https://fulcio.test", &fulcio.chain())],
            "ctlogs": [log("https://ctfe.test", &fulcio.log_key())],
            "timestampAuthorities": [authority("https://tsa.test", self.tsa.chain())],
        })
    }

    /// The file with [`Sigstore::trusted_root`].
    pub fn trusted_root_file(&self) -> PathBuf {
        self.folder.path().join(ROOT_FILE)
    }

    /// Writes Sigstore's `SigningConfig` message, version 0.2, for Rekor's second version, and says where.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn signing_config(&self) -> Result<PathBuf> {
        let service = |url: &str, version: u8| {
            json!([{
                "url": url,
                "majorApiVersion": version,
                "validFor": {"start": LONG_AGO},
                "operator": "test",
            }])
        };
        let config = json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": service(&self.fulcio.url(), 1),
            "rekorTlogUrls": service(&self.rekor.url(), 2),
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": service(&self.tsa.url(), 1),
            "tsaConfig": {"selector": "ANY"},
        });
        self.file("signing_config.json", &config.to_string())
    }

    /// Writes a file of the folder that lives as long as the services, and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}
