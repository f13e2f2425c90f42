//! Notation signatures (Notary Project): a trust policy document and its trust stores, and JWS envelopes judged by them
//! ("Signature Verification"). It never asks a network: no revocation list, no OCSP responder, no timestamp authority,
//! and it runs no plugin.
//!
//! A Guard counts signers that are known. So an authenticity that a policy only logs (`audit`) is refused like one that
//! it enforces, and so is an image that a policy skips: neither says who signed.

mod chain;
mod envelope;
mod error;
mod key;
mod policy;
mod subject;

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use windlass_model::guard::NotationTrust;
use windlass_model::resource::Secret;

use crate::bounds;
use crate::sigstore::Signer;
use chain::Cert;
use envelope::{Envelope, Scheme};
use policy::{Action, Document, Rules};

pub use chain::ChainError;
pub use error::{Failure, NotationError, NotationRefused};

/// Media type of the envelopes that are verified.
const JWS: &str = "application/jose+json";
const COSE: &str = "application/cose";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// Clocks may differ by this much.
const SKEW: std::time::Duration = std::time::Duration::from_mins(5);

/// A trust policy document with its trust stores.
#[derive(Debug, Clone)]
pub struct Notation {
    document: Document,
    /// By `type:name`, as policies name them.
    stores: BTreeMap<String, Vec<Cert>>,
    sha256: String,
}

/// What was signed: the descriptor that a tag resolved to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The manifest's media type.
    pub media_type: &'a str,
    /// `sha256:…`
    pub digest: &'a str,
    /// The manifest's bytes.
    pub size: u64,
}

/// A signature that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotationSigned {
    /// Whose it is: the leaf's subject, and the subject of the trusted certificate that vouches for it.
    pub signer: Signer,
    /// The policy by which it is believed.
    pub policy: String,
    /// What failed, and what that policy only logs.
    pub logged: Vec<Failure>,
}

impl Notation {
    /// Reads what an authority's Secret holds: the document, and every certificate.
    pub fn from_secret(secret: &Secret, trust: &NotationTrust) -> Result<Self, NotationError> {
        let document = secret.get(NotationTrust::POLICY).ok_or(NotationError::NoDocument)?;
        let keys = secret.values.keys().filter(|key| NotationTrust::is_certificates(key));
        let certificates = keys.filter_map(|key| Some((key.clone(), secret.get(key)?.to_vec()))).collect();
        Self::compile(document, &certificates, &trust.trust_stores)
    }

    /// Reads a trust policy document and its certificates.
    ///
    /// `certificates` are files by name, in PEM or DER. `stores` says which of them are in which store (`ca:acme`).
    /// Where it is empty, all certificates are in the one store that the document names: with several, it would not be
    /// clear whom each was meant to be trusted for.
    pub fn compile(
        document: &[u8],
        certificates: &BTreeMap<String, Vec<u8>>,
        stores: &BTreeMap<String, Vec<String>>,
    ) -> Result<Self, NotationError> {
        let sha256 = fingerprint(document, certificates, stores);
        let document = Document::read(document)?;
        let named = document.stores();
        let store =
            |store: &str, why: &str| NotationError::Store { store: store.to_owned(), why: why.to_owned() };
        if let Some(extra) = stores.keys().find(|store| !named.contains(store.as_str())) {
            return Err(store(extra, "is named by no trust policy"));
        }
        if let (true, Some(second)) = (stores.is_empty(), named.iter().nth(1)) {
            return Err(store(second, "is not the only one: say which certificates belong to which store"));
        }
        let mut filled = BTreeMap::new();
        for name in &named {
            let files: Vec<&String> = match stores.get(*name) {
                Some(files) => files.iter().collect(),
                None if stores.is_empty() => certificates.keys().collect(),
                None => return Err(store(name, "has no certificates")),
            };
            let mut anchors = Vec::new();
            for file in files {
                let Some(content) = certificates.get(file) else {
                    return Err(store(name, &format!("has no file `{file}`")));
                };
                anchors.extend(read_certificates(file, content)?);
            }
            if anchors.is_empty() {
                return Err(store(name, "has no certificates"));
            }
            filled.insert((*name).to_owned(), anchors);
        }
        Ok(Self { stores: filled, document, sha256 })
    }

    /// SHA-256 of the document, the certificates and how they are sorted into stores, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Verifies one envelope over one artifact, by the policy for its repository (`registry/repository`, as
    /// [`ImageName`](windlass_model::ImageName) prints it).
    ///
    /// # Errors
    /// The envelope is no proof that somebody whom the policy trusts signed the artifact.
    pub fn verify(
        &self,
        envelope: &[u8],
        media_type: &str,
        target: Target<'_>,
        repository: &str,
        now: Timestamp,
    ) -> Result<NotationSigned, NotationRefused> {
        let policy = self.document.policy_for(repository);
        let policy = policy.ok_or_else(|| NotationRefused::NoPolicy(crate::attest::shown(repository)))?;
        let Some(rules) = &policy.rules else { return Err(NotationRefused::Skipped(policy.name.clone())) };
        match media_type {
            JWS => {}
            COSE => return Err(NotationRefused::Cose),
            other => return Err(NotationRefused::MediaType(crate::attest::shown(other))),
        }
        let envelope = Envelope::open(envelope)?;
        envelope.check_target(target)?;
        let signer = self.authenticate(&envelope, rules, &policy.name)?;
        let mut logged = Vec::new();
        let checks: [(Action, Option<Failure>); 3] = [
            (rules.actions.expiry, envelope.expired(now)),
            (rules.actions.timestamp, envelope.untimely(now)),
            (rules.actions.revocation, envelope.unasked()),
        ];
        for (action, failure) in checks {
            match (action, failure) {
                (Action::Enforce, Some(failure)) => return Err(failure.into()),
                (Action::Log, Some(failure)) => logged.push(failure),
                (_, None) | (Action::Skip, _) => {}
            }
        }
        Ok(NotationSigned { signer, policy: policy.name.clone(), logged })
    }

    /// Who signed, if the policy trusts it.
    fn authenticate(
        &self,
        envelope: &Envelope,
        rules: &Rules,
        policy: &str,
    ) -> Result<Signer, NotationRefused> {
        let chain = &envelope.chain;
        chain.check()?;
        let kind = envelope.scheme.store();
        let of_kind = |name: &&String| name.split_once(':').is_some_and(|(store, _)| store == kind);
        let stores = rules.stores.iter().filter(of_kind).filter_map(|name| self.stores.get(name));
        let store: Vec<&Cert> = stores.flatten().collect();
        let subject = chain.leaf().subject();
        let Some(anchor) = chain.anchor(&store) else {
            return Err(NotationRefused::Untrusted { subject, store: kind, policy: policy.to_owned() });
        };
        if !rules.identities.admit(&chain.leaf().parsed.tbs_certificate.subject) {
            return Err(NotationRefused::Stranger { subject, policy: policy.to_owned() });
        }
        Ok(Signer::Certificate { issuer: anchor.subject(), subject })
    }
}

impl Envelope {
    fn expired(&self, now: Timestamp) -> Option<Failure> {
        self.expiry.filter(|expiry| now >= *expiry).map(Failure::Expired)
    }

    /// Every certificate must be valid when the signature was made, and nobody but a signing authority vouches for a
    /// time in the past.
    fn untimely(&self, now: Timestamp) -> Option<Failure> {
        let at = match self.scheme {
            Scheme::X509 => now,
            Scheme::SigningAuthority(time)
                if time.duration_since(now) > SKEW.try_into().unwrap_or_default() =>
            {
                return Some(Failure::Future(time));
            }
            Scheme::SigningAuthority(time) => time,
        };
        let invalid = self.chain.certificates().find(|cert| !cert.is_valid_at(at));
        invalid.map(|cert| Failure::Validity { subject: cert.subject(), at })
    }

    /// A certificate that names no place to ask counts as not revoked ("Certificate Revocation Evaluation").
    fn unasked(&self) -> Option<Failure> {
        let cert = self.chain.certificates().find(|cert| cert.names_revocation());
        cert.map(|cert| Failure::Revocation { subject: cert.subject() })
    }
}

/// The certificates of one file, in PEM or DER. Each can vouch for others, or for itself.
fn read_certificates(file: &str, content: &[u8]) -> Result<Vec<Cert>, NotationError> {
    let wrong = |why: String| NotationError::Certificate { file: file.to_owned(), why };
    let certificates = match std::str::from_utf8(content) {
        Ok(text) if text.contains(BEGIN) => {
            let blocks = text.match_indices(BEGIN).map(|(at, _)| &text[at..]);
            let blocks: Vec<&str> = blocks.take(bounds::KEYS + 1).collect();
            if blocks.len() > bounds::KEYS {
                return Err(wrong(format!("there are more than {}", bounds::KEYS)));
            }
            let read = |block: &str| {
                let end = block.find(END).ok_or("a certificate has no end")?;
                let (_, der) = x509_cert::der::pem::decode_vec(&block.as_bytes()[..end + END.len()])
                    .map_err(|error| error.to_string())?;
                Cert::read(&der)
            };
            blocks.into_iter().map(read).collect::<Result<Vec<_>, String>>().map_err(wrong)?
        }
        _ => vec![Cert::read(content).map_err(wrong)?],
    };
    match certificates.iter().find(|cert| !cert.is_anchor()) {
        Some(cert) => {
            Err(wrong(format!("`{}` is neither an authority nor signed by itself", cert.subject())))
        }
        None => Ok(certificates),
    }
}

fn fingerprint(
    document: &[u8],
    certificates: &BTreeMap<String, Vec<u8>>,
    stores: &BTreeMap<String, Vec<String>>,
) -> String {
    let mut hasher = Sha256::new();
    let stores = format!("{stores:?}");
    let files = certificates.iter().flat_map(|(name, content)| [name.as_bytes(), content]);
    for part in [document, stores.as_bytes()].into_iter().chain(files) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests;
