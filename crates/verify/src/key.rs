//! Public keys. What cannot be verified here is refused by name when the key is read, not when the first signature
//! comes.

use sha2::{Digest as _, Sha256};

use crate::bounds;
use crate::sigstore::PublicKey;

const BEGIN: &str = "-----BEGIN ";
/// The object identifiers of what is refused by name, as DER (RFC 5480, section 2.1.1.1; RFC 4055, section 3.1).
const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];
const RSA_PSS: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];

/// A public key: ECDSA on P-256 or P-384, Ed25519, or RSA with PKCS #1.
#[derive(Clone)]
pub struct Key {
    pub(crate) public: PublicKey,
    fingerprint: String,
}

impl Key {
    /// Reads every public key of a text in PEM. There must be at least one, and nothing else.
    pub fn from_pem(text: &str) -> Result<Vec<Self>, KeyError> {
        let starts: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
        if starts.is_empty() {
            return Err(KeyError::NoPem);
        }
        if starts.len() > bounds::KEYS {
            return Err(KeyError::TooMany);
        }
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        starts.iter().zip(ends).map(|(start, end)| Self::one(&text[*start..end])).collect()
    }

    fn one(pem: &str) -> Result<Self, KeyError> {
        let (public, der) = PublicKey::from_pem(pem).map_err(KeyError::Malformed)?;
        let has = |identifier: &[u8]| der.windows(identifier.len()).any(|window| window == identifier);
        if !public.is_supported() {
            return Err(if has(P521) {
                KeyError::Unsupported("ECDSA on P-521")
            } else if has(RSA_PSS) {
                KeyError::Unsupported("RSA-PSS")
            } else {
                KeyError::Unsupported("of this kind")
            });
        }
        Ok(Self { public, fingerprint: hex::encode(Sha256::digest(&der)) })
    }

    /// SHA-256 of the key's DER, in hex: the signer's name.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Why a text holds no key to verify with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no PEM in it.
    #[error("there is no public key in PEM: it starts with `-----BEGIN PUBLIC KEY-----`")]
    NoPem,
    /// More than are tried.
    #[error("there are more than {} keys", bounds::KEYS)]
    TooMany,
    /// It does not parse.
    #[error("the public key cannot be read: {0}")]
    Malformed(String),
    /// It parses, and cannot be used.
    #[error("keys {0} are not supported: use ECDSA on P-256 or P-384, Ed25519, or RSA with PKCS #1")]
    Unsupported(&'static str),
}
