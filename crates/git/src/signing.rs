//! Signatures of commits, made in this process: SSH keys here, OpenPGP keys in `openpgp`. It owns the keys, which it
//! wipes and never shows, and never decides which commit is signed.

#[cfg(feature = "openpgp")]
mod openpgp;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use ssh_key::private::KeypairData;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};

/// The namespace of SSH signatures that Git makes and looks for (gitformat-signature, `gpg.format=ssh`).
const SSH_NAMESPACE: &str = "git";
/// Shorter RSA keys are refused, as Flux does and as OpenSSH by default does.
const MIN_RSA_BITS: u32 = 2048;

/// A key that signs commits. Cheap to clone; the key is wiped with the last clone.
#[derive(Clone)]
pub struct Signer(Arc<Key>);

enum Key {
    Ssh(Box<PrivateKey>),
    #[cfg(feature = "openpgp")]
    OpenPgp(openpgp::Key),
}

/// Why a key cannot sign. Each reads as the end of a sentence that starts with the key's name, and repeats nothing of
/// the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// Not OpenSSH's own format: PKCS#1, PKCS#8, a public key, or no key at all.
    #[error("is not a private key in OpenSSH's format: `ssh-keygen -p -f FILE` converts older formats")]
    NotOpenSsh,
    /// An algorithm that is too weak, or that needs a hardware token.
    #[error("is a key of type {0}, which cannot be used: use Ed25519, ECDSA, or RSA of at least 2048 bits")]
    Algorithm(String),
    /// An RSA key that is too short.
    #[error("is an RSA key of {0} bits: use at least 2048, or Ed25519")]
    Short(u32),
    /// There is no passphrase.
    #[error("is protected by a passphrase, and the Secret has none")]
    Locked,
    /// The passphrase does not open it, or the key is damaged.
    #[error("cannot be opened with the passphrase that the Secret has")]
    Passphrase,
    /// Not an armored OpenPGP secret key.
    #[error("is not an armored OpenPGP secret key: export it with `gpg --armor --export-secret-keys ID`")]
    NotOpenPgp,
    /// No key, or several.
    #[error("holds {0} OpenPGP keys and must hold one")]
    Entities(usize),
    /// No part of the key may sign data, or its secret is not there.
    #[error("has no key that may sign and whose secret part is there")]
    NoSigningKey,
    /// Signing something failed at the first try.
    #[error("does not make signatures: it is damaged, or of an algorithm that is not supported")]
    Unusable,
    /// Built without the feature.
    #[error(
        "is an OpenPGP key, and this build is without OpenPGP: build it with the feature `openpgp`, or use an SSH key \
         (`type: ssh`)"
    )]
    NoOpenPgp,
}

/// Why a commit could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// Every key that may sign has expired.
    #[error("the commit cannot be signed: the signing key expired at {0}")]
    Expired(Timestamp),
    /// The cryptography failed.
    #[error("the commit cannot be signed with this key")]
    Failed,
}

impl Signer {
    /// Takes an SSH private key in OpenSSH's format. Opening one with a passphrase takes a fraction of a second by
    /// design, so a key is opened once, not for each commit.
    pub fn ssh(key: &[u8], passphrase: Option<&[u8]>) -> Result<Self, SigningKeyError> {
        let mut key = PrivateKey::from_openssh(key).map_err(|_| SigningKeyError::NotOpenSsh)?;
        if key.is_encrypted() {
            let passphrase = passphrase.filter(|text| !text.is_empty()).ok_or(SigningKeyError::Locked)?;
            key = key.decrypt(passphrase).map_err(|_| SigningKeyError::Passphrase)?;
        }
        match (key.algorithm(), key.key_data()) {
            (_, KeypairData::Rsa(pair)) if pair.key_size() < MIN_RSA_BITS => {
                return Err(SigningKeyError::Short(pair.key_size()));
            }
            (Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. }, _) => {}
            (other, _) => return Err(SigningKeyError::Algorithm(other.as_str().to_owned())),
        }
        Self::tried(Key::Ssh(Box::new(key)))
    }

    /// Takes one armored OpenPGP key: its newest part that may sign does, a subkey before the primary key.
    #[cfg(feature = "openpgp")]
    pub fn openpgp(armored: &[u8], passphrase: Option<&[u8]>) -> Result<Self, SigningKeyError> {
        Self::tried(Key::OpenPgp(openpgp::Key::open(armored, passphrase)?))
    }

    /// Refuses OpenPGP keys: this build is without them.
    #[cfg(not(feature = "openpgp"))]
    pub fn openpgp(_armored: &[u8], _passphrase: Option<&[u8]>) -> Result<Self, SigningKeyError> {
        Err(SigningKeyError::NoOpenPgp)
    }

    /// A key that cannot sign is found when it is configured, not when it is needed.
    fn tried(key: Key) -> Result<Self, SigningKeyError> {
        let signer = Self(Arc::new(key));
        match signer.sign(b"", Timestamp::UNIX_EPOCH) {
            Ok(_) => Ok(signer),
            Err(_) => Err(SigningKeyError::Unusable),
        }
    }

    /// The armored signature of a commit's bytes, made at this time.
    #[cfg_attr(not(feature = "openpgp"), expect(unused_variables, reason = "SSH signatures state no time"))]
    pub(crate) fn sign(&self, payload: &[u8], time: Timestamp) -> Result<String, SigningError> {
        match &*self.0 {
            Key::Ssh(key) => {
                let signature = key.sign(SSH_NAMESPACE, HashAlg::Sha512, payload);
                signature.and_then(|made| made.to_pem(LineEnding::LF)).map_err(|_| SigningError::Failed)
            }
            #[cfg(feature = "openpgp")]
            Key::OpenPgp(key) => key.sign(payload, time),
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Key::Ssh(key) => write!(f, "Signer({})", key.fingerprint(HashAlg::Sha256)),
            #[cfg(feature = "openpgp")]
            Key::OpenPgp(key) => write!(f, "Signer({})", key.fingerprint()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_key_are_refused_without_being_repeated() {
        let texts: [&[u8]; 4] = [
            b"",
            b"hunter2",
            b"-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\n",
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nhunter2\n-----END PGP PUBLIC KEY BLOCK-----\n",
        ];
        for text in texts {
            for error in
                [Signer::ssh(text, None).unwrap_err(), Signer::openpgp(text, Some(b"hunter2")).unwrap_err()]
            {
                assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
            }
            assert_eq!(Signer::ssh(text, None).unwrap_err(), SigningKeyError::NotOpenSsh);
        }
    }
}
