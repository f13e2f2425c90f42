//! Chains of certificates (Notary Project, "Certificate Requirements"): leaf first, root last, each signed by the next.
//! Owns what each must be; whether the chain is trusted is judged against the stores.
//!
//! Beside the extensions that are checked here, the specification wants none to be honoured.

use jiff::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::time::Time;

use super::key::Key;
use crate::attest::shown;
use crate::bounds;

const CRL_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
const AUTHORITY_ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
/// `id-ad-ocsp` (RFC 6960), as DER.
const OCSP: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
/// Uses that a signing certificate must not have: any, servers, clients, mail, timestamps.
const FOREIGN_USES: [ObjectIdentifier; 5] = [
    ObjectIdentifier::new_unwrap("2.5.29.37.0"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8"),
];

/// One certificate, with the bytes that it was read from.
#[derive(Debug, Clone)]
pub(super) struct Cert {
    pub(super) parsed: Certificate,
    der: Vec<u8>,
}

/// Certificates in order, at least one.
#[derive(Debug)]
pub(super) struct Chain(Vec<Cert>);

/// Why certificates are no chain of a signer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// None, or too many.
    #[error("there are {0} certificates, and not 1 to {limit}", limit = bounds::CERTIFICATES)]
    Count(usize),
    /// One does not parse.
    #[error("certificate {at} cannot be read: {why}")]
    Malformed {
        /// Its place, from 1.
        at: usize,
        /// What is wrong.
        why: String,
    },
    /// One is not as the specification wants it.
    #[error("the certificate of `{subject}` {why}")]
    Certificate {
        /// Whose.
        subject: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl Cert {
    pub(super) fn read(der: &[u8]) -> Result<Self, String> {
        let parsed = Certificate::from_der(der).map_err(|error| error.to_string())?;
        // What was signed is encoded anew below, so it must be the same bytes.
        if parsed.to_der().as_deref() != Ok(der) {
            return Err("it is not in its canonical form".to_owned());
        }
        Ok(Self { parsed, der: der.to_vec() })
    }

    pub(super) fn subject(&self) -> String {
        shown(&self.parsed.tbs_certificate.subject.to_string())
    }

    /// Whether it can vouch for others, or for itself: what a trust store may hold.
    pub(super) fn is_anchor(&self) -> bool {
        let constraints = self.extension::<BasicConstraints>();
        matches!(constraints, Ok(Some((_, constraints))) if constraints.ca) || self.is_signed_by(self)
    }

    pub(super) fn key(&self) -> Option<Key<'_>> {
        Key::of(&self.parsed.tbs_certificate.subject_public_key_info)
    }

    /// Whether it is valid then, both ends included.
    pub(super) fn is_valid_at(&self, time: Timestamp) -> bool {
        let validity = &self.parsed.tbs_certificate.validity;
        let seconds = |time: &Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
        match (seconds(&validity.not_before), seconds(&validity.not_after)) {
            (Some(from), Some(to)) => (from..=to).contains(&time.as_second()),
            _ => false,
        }
    }

    /// Whether it says where one may ask for its revocation.
    pub(super) fn names_revocation(&self) -> bool {
        let extensions = self.parsed.tbs_certificate.extensions.as_deref().unwrap_or_default();
        extensions.iter().any(|extension| {
            let value = extension.extn_value.as_bytes();
            extension.extn_id == CRL_POINTS
                || extension.extn_id == AUTHORITY_ACCESS
                    && value.windows(OCSP.len()).any(|window| window == OCSP)
        })
    }

    fn is_signed_by(&self, issuer: &Self) -> bool {
        let own = &self.parsed.tbs_certificate;
        let (Some(key), Some(signature), Ok(message)) =
            (issuer.key(), self.parsed.signature.as_bytes(), own.to_der())
        else {
            return false;
        };
        own.issuer == issuer.parsed.tbs_certificate.subject
            && own.signature == self.parsed.signature_algorithm
            && key.signed_certificate(own.signature.oid, &message, signature)
    }

    /// An extension and whether it is critical; twice is an error.
    fn extension<'a, T: Decode<'a> + AssociatedOid>(&'a self) -> Result<Option<(bool, T)>, ChainError> {
        let unreadable = |_| self.wrong("has an extension that cannot be read");
        self.parsed.tbs_certificate.get::<T>().map_err(unreadable)
    }

    fn wrong(&self, why: &'static str) -> ChainError {
        ChainError::Certificate { subject: self.subject(), why }
    }

    fn key_usage(&self) -> Result<KeyUsage, ChainError> {
        match self.extension::<KeyUsage>()? {
            Some((true, usage)) => Ok(usage),
            Some((false, _)) => Err(self.wrong("has a key usage that is not critical")),
            None => Err(self.wrong("states no key usage")),
        }
    }

    fn check_leaf(&self) -> Result<(), ChainError> {
        if self.extension::<BasicConstraints>()?.is_some_and(|(_, constraints)| constraints.ca) {
            return Err(self.wrong("is an authority's, and signs an image"));
        }
        let usage = self.key_usage()?.0;
        let allowed = KeyUsages::DigitalSignature | KeyUsages::NonRepudiation;
        if !usage.contains(KeyUsages::DigitalSignature) || !(usage - allowed).is_empty() {
            return Err(self.wrong("is not for digital signatures alone"));
        }
        let uses = self.extension::<ExtendedKeyUsage>()?;
        if uses.is_some_and(|(_, uses)| uses.0.iter().any(|one| FOREIGN_USES.contains(one))) {
            return Err(self.wrong("is for something else than signing code"));
        }
        let algorithm = self.key().and_then(|key| key.envelope_algorithm());
        algorithm.map(drop).ok_or_else(|| self.wrong("has a key of a kind or size that is not allowed"))
    }

    /// `below`: how many authorities are between this one and the leaf.
    fn check_authority(&self, below: usize) -> Result<(), ChainError> {
        match self.extension::<BasicConstraints>()? {
            Some((true, constraints)) if constraints.ca => {
                if constraints.path_len_constraint.is_some_and(|longest| usize::from(longest) < below) {
                    return Err(self.wrong("does not allow so long a chain"));
                }
            }
            _ => return Err(self.wrong("is not an authority's")),
        }
        if !self.key_usage()?.0.contains(KeyUsages::KeyCertSign) {
            return Err(self.wrong("may not sign certificates"));
        }
        Ok(())
    }
}

impl Chain {
    pub(super) fn read(ders: &[Vec<u8>]) -> Result<Self, ChainError> {
        if !(1..=bounds::CERTIFICATES).contains(&ders.len()) {
            return Err(ChainError::Count(ders.len()));
        }
        let read = |(at, der): (usize, &Vec<u8>)| {
            Cert::read(der).map_err(|why| ChainError::Malformed { at: at + 1, why: shown(&why) })
        };
        ders.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn leaf(&self) -> &Cert {
        &self.0[0]
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = &Cert> {
        self.0.iter()
    }

    /// Whether it is one chain, complete from a leaf for signing to a root.
    pub(super) fn check(&self) -> Result<(), ChainError> {
        self.leaf().check_leaf()?;
        for (at, authority) in self.0.iter().enumerate().skip(1) {
            authority.check_authority(at - 1)?;
        }
        for pair in self.0.windows(2) {
            if !pair[0].is_signed_by(&pair[1]) {
                return Err(pair[0].wrong("is not signed by the next one of the chain"));
            }
            if pair[0].is_signed_by(&pair[0]) {
                return Err(pair[0].wrong("is a root, and is not the last one of the chain"));
            }
        }
        let root = &self.0[self.0.len() - 1];
        if root.is_signed_by(root) { Ok(()) } else { Err(root.wrong("ends the chain, and is no root")) }
    }

    /// The first certificate that is trusted itself.
    pub(super) fn anchor(&self, store: &[&Cert]) -> Option<&Cert> {
        self.0.iter().find(|cert| store.iter().any(|trusted| trusted.der == cert.der))
    }
}
