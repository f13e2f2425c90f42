//! The keys of certificates and what may be signed with them (Notary Project, "Signature Algorithm Requirements").

use aws_lc_rs::signature::{self, VerificationAlgorithm};
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ECDSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");

/// A key by its kind, and its size where the size decides the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa { bits: usize },
    P256,
    P384,
    P521,
}

/// A certificate's public key.
pub(super) struct Key<'c> {
    kind: Kind,
    bytes: &'c [u8],
}

impl<'c> Key<'c> {
    /// The key, if it is of a kind that Notary Project allows.
    pub(super) fn of(info: &'c SubjectPublicKeyInfoOwned) -> Option<Self> {
        let bytes = info.subject_public_key.as_bytes()?;
        let kind = match info.algorithm.oid {
            RSA => Kind::Rsa { bits: modulus_bits(bytes)? },
            ECDSA => match info.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()? {
                P256 => Kind::P256,
                P384 => Kind::P384,
                P521 => Kind::P521,
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { kind, bytes })
    }

    /// `alg` of an envelope that is signed with this key: the key alone decides it.
    pub(super) fn envelope_algorithm(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Rsa { bits: 2048 } => Some("PS256"),
            Kind::Rsa { bits: 3072 } => Some("PS384"),
            Kind::Rsa { bits: 4096 } => Some("PS512"),
            Kind::Rsa { .. } => None,
            Kind::P256 => Some("ES256"),
            Kind::P384 => Some("ES384"),
            Kind::P521 => Some("ES512"),
        }
    }

    /// Whether an envelope's signature over `message` is by this key.
    pub(super) fn signed_envelope(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.envelope_algorithm() {
            Some("PS256") => &signature::RSA_PSS_2048_8192_SHA256,
            Some("PS384") => &signature::RSA_PSS_2048_8192_SHA384,
            Some("PS512") => &signature::RSA_PSS_2048_8192_SHA512,
            Some("ES256") => &signature::ECDSA_P256_SHA256_FIXED,
            Some("ES384") => &signature::ECDSA_P384_SHA384_FIXED,
            Some("ES512") => &signature::ECDSA_P521_SHA512_FIXED,
            _ => return false,
        };
        self.verify(algorithm, message, signature)
    }

    /// Whether a certificate's signature by this algorithm is by this key. SHA-1 is none of them.
    pub(super) fn signed_certificate(
        &self,
        algorithm: ObjectIdentifier,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match (self.kind, algorithm) {
            (Kind::Rsa { .. }, RSA_SHA256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Kind::Rsa { .. }, RSA_SHA384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Kind::Rsa { .. }, RSA_SHA512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (Kind::P256, ECDSA_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
            (Kind::P256, ECDSA_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
            (Kind::P256, ECDSA_SHA512) => &signature::ECDSA_P256_SHA512_ASN1,
            (Kind::P384, ECDSA_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
            (Kind::P384, ECDSA_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
            (Kind::P384, ECDSA_SHA512) => &signature::ECDSA_P384_SHA512_ASN1,
            (Kind::P521, ECDSA_SHA256) => &signature::ECDSA_P521_SHA256_ASN1,
            (Kind::P521, ECDSA_SHA384) => &signature::ECDSA_P521_SHA384_ASN1,
            (Kind::P521, ECDSA_SHA512) => &signature::ECDSA_P521_SHA512_ASN1,
            _ => return false,
        };
        self.verify(algorithm, message, signature)
    }

    fn verify(&self, algorithm: &dyn VerificationAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        algorithm.verify_sig(self.bytes, message, signature).is_ok()
    }
}

/// How many bits the modulus of an `RSAPublicKey` (RFC 8017, A.1.1) has.
fn modulus_bits(der: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(der).ok()?;
    let modulus = reader
        .sequence(|inner| {
            let modulus = UintRef::decode(inner)?;
            UintRef::decode(inner)?;
            Ok(modulus)
        })
        .ok()?;
    if !reader.is_finished() {
        return None;
    }
    let bytes = modulus.as_bytes();
    let first = bytes.first()?;
    Some(bytes.len() * 8 - usize::try_from(first.leading_zeros()).ok()?)
}
