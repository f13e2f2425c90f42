//! The private key that we show to servers: reading OpenSSH and PEM forms, and their passphrases. No text that it makes
//! contains any of a key or a passphrase.

use std::fmt;
use std::sync::Arc;

use russh::keys::{self, Algorithm, PrivateKey};
use zeroize::Zeroizing;

use super::SshConfigError;
use crate::remote::ConfigError;
use crate::transport::RemoteError;

/// A private key, or one that has yet to be opened by its passphrase: that takes a fraction of a second by design, so
/// it is done when the key is first needed.
pub(crate) struct Identity {
    text: Zeroizing<String>,
    passphrase: Option<Zeroizing<String>>,
    opened: tokio::sync::OnceCell<Arc<PrivateKey>>,
}

impl Identity {
    pub(crate) fn new(pem: &[u8], passphrase: Option<Zeroizing<String>>) -> Result<Self, SshConfigError> {
        // Editors and YAML leave blanks at the ends of lines.
        let text = std::str::from_utf8(pem).map_err(|_| SshConfigError::PrivateKey)?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let text = Zeroizing::new(lines.join("\n"));
        let passphrase = passphrase.filter(|text| !text.is_empty());
        let opened = tokio::sync::OnceCell::new();
        match (is_locked(&text)?, &passphrase) {
            (true, None) => return Err(SshConfigError::NoPassphrase),
            (true, Some(_)) => {}
            (false, _) => opened.set(Arc::new(open(&text, None)?)).expect("the cell is new"),
        }
        Ok(Self { text, passphrase, opened })
    }

    /// The key, ready to sign.
    pub(crate) async fn key(&self) -> Result<Arc<PrivateKey>, RemoteError> {
        let failed = |error| RemoteError::Config(ConfigError::Ssh(error));
        let opened = self.opened.get_or_try_init(|| async {
            let (text, passphrase) = (self.text.clone(), self.passphrase.clone());
            let opening = move || open(&text, passphrase.as_ref().map(|text| text.as_str()));
            match tokio::task::spawn_blocking(opening).await {
                Ok(key) => key.map(Arc::new).map_err(failed),
                // The runtime shuts down, or the key's file made its reader panic.
                Err(_) => Err(failed(SshConfigError::PrivateKey)),
            }
        });
        opened.await.map(Arc::clone)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

/// Whether the key needs a passphrase.
fn is_locked(text: &str) -> Result<bool, SshConfigError> {
    if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
        let key = PrivateKey::from_openssh(text).map_err(|_| SshConfigError::PrivateKey)?;
        return Ok(key.is_encrypted());
    }
    Ok(text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("\nProc-Type: 4,ENCRYPTED"))
}

fn open(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, SshConfigError> {
    // RFC 1421 encryption with another cipher would be read as an unencrypted key.
    if text.contains("\nDEK-Info: ") && !text.contains("\nDEK-Info: AES-128-CBC,") {
        return Err(SshConfigError::PrivateKeyCipher);
    }
    let failed = if passphrase.is_some() { SshConfigError::Passphrase } else { SshConfigError::PrivateKey };
    // The library's error may tell what the bytes are.
    let key = keys::decode_secret_key(text, passphrase).map_err(|_| failed)?;
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => Ok(key),
        other => Err(SshConfigError::PrivateKeyKind(other.to_string())),
    }
}
