//! The one place that speaks to the Sigstore crates, whose API changes with every version. Owns what they leave open:
//! bounds, identities by pattern, the type of a statement, the demand for timestamps.

use std::fmt;

use sha2::{Digest as _, Sha256};
use sigstore_verify::crypto::{KeyAlgorithm, VerificationKey};
use sigstore_verify::trust_root::{
    SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT, TrustedRoot,
};
use sigstore_verify::types::bundle::VerificationMaterialContent;
use sigstore_verify::types::{
    Artifact as SigstoreArtifact, ArtifactDigest, Bundle, DerPublicKey, Sha256Hash, SignatureContent,
};
use sigstore_verify::{
    Policy, PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult, Verifier,
};

use crate::bounds;
use crate::identity::Identities;
use crate::key::Key;
use crate::root::TrustRoot;
use crate::statement::{Statement, StatementError};
use crate::strict;

/// `payloadType` of every attestation that is read.
const IN_TOTO: &str = "application/vnd.in-toto+json";

mod windows;

/// The crates' form of a trust root.
pub(crate) struct Roots {
    verifier: Verifier,
    root: TrustedRoot,
}

impl Roots {
    pub(crate) const PUBLIC_GOOD: &str = SIGSTORE_PRODUCTION_TRUSTED_ROOT;
    pub(crate) const STAGING: &str = SIGSTORE_STAGING_TRUSTED_ROOT;

    pub(crate) fn from_json(json: &str) -> Result<Self, String> {
        let mut root = TrustedRoot::from_json(json).map_err(|error| error.to_string())?;
        windows::narrow(&mut root)?;
        let verifier = Verifier::new(&root).map_err(|error| error.to_string())?;
        Ok(Self { verifier, root })
    }

    /// Verifies, and once more without the logs that had been retired when the signature was made, if there are any.
    fn verify(
        &self,
        artifact: Artifact<'_>,
        bundle: &Bundle,
        policy: &dyn Policy,
    ) -> Result<VerificationResult, Refused> {
        let by = |verifier: &Verifier| {
            let artifact = match artifact {
                Artifact::Bytes(bytes) => SigstoreArtifact::from_blob(bytes),
                Artifact::Sha256(hash) => {
                    SigstoreArtifact::from_digest(ArtifactDigest::sha256(Sha256Hash::new(hash)))
                }
            };
            verifier.verify(artifact, bundle, policy).map_err(|error| Refused::Unverified(error.to_string()))
        };
        let result = by(&self.verifier)?;
        match windows::without_retired(&self.root, result.verified_timestamps()) {
            None => Ok(result),
            Some(root) => by(&Verifier::new(&root).map_err(|error| Refused::Unverified(error.to_string()))?),
        }
    }
}

/// The crates' form of a public key.
#[derive(Clone)]
pub(crate) struct PublicKey(DerPublicKey);

impl PublicKey {
    /// The key, and its DER.
    pub(crate) fn from_pem(pem: &str) -> Result<(Self, Vec<u8>), String> {
        let key = DerPublicKey::from_pem(pem).map_err(|error| error.to_string())?;
        let der = key.as_bytes().to_vec();
        Ok((Self(key), der))
    }

    pub(crate) fn is_supported(&self) -> bool {
        KeyAlgorithm::from_spki(&self.0).is_ok()
    }
}

/// What was signed.
#[derive(Debug, Clone, Copy)]
pub enum Artifact<'a> {
    /// The bytes.
    Bytes(&'a [u8]),
    /// Their SHA-256: enough for an image, whose digest is known.
    Sha256([u8; 32]),
}

/// Whose signature is believed.
#[derive(Debug, Clone, Copy)]
pub enum Trusted<'a> {
    /// The holder of this key.
    Key(&'a Key),
    /// Whoever has a certificate for one of these identities.
    Keyless(&'a Identities),
}

/// What a signature must have beside being right. The default asks for both logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demands {
    /// An entry in a transparency log.
    pub tlog: bool,
    /// A certificate that is publicly logged. It has no meaning for a key.
    pub sct: bool,
    /// A signed timestamp (RFC 3161).
    pub timestamps: bool,
}

impl Default for Demands {
    fn default() -> Self {
        Self { tlog: true, sct: true, timestamps: false }
    }
}

/// A signature that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Whose it is.
    pub signer: Signer,
    /// What it states, where it is an attestation; absent for a plain signature over the artifact.
    pub statement: Option<Statement>,
}

/// Who signed. Two signatures of one signer count once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signer {
    /// The holder of the key with this fingerprint.
    Key(String),
    /// The subject of a certificate.
    Certificate {
        /// Who vouched for the subject.
        issuer: String,
        /// The certificate's first e-mail address or URI.
        subject: String,
    },
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signer::Key(fingerprint) => write!(f, "the key {fingerprint}"),
            Signer::Certificate { issuer, subject } => write!(f, "{subject} (issuer {issuer})"),
        }
    }
}

/// Why a bundle is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Past a limit.
    #[error("the bundle has more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much is looked at.
        limit: usize,
    },
    /// It does not parse.
    #[error("the bundle cannot be read: {0}")]
    Malformed(String),
    /// Its statement is not one.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A signed timestamp was asked for.
    #[error("the signature has no signed timestamp")]
    NoTimestamp,
    /// It does not verify.
    #[error("{0}")]
    Unverified(String),
    /// It verifies, and somebody else made it.
    #[error("it was signed by {subject} (issuer {issuer}), who is not among the identities")]
    Stranger {
        /// The issuer, as the certificate states it.
        issuer: String,
        /// The subject.
        subject: String,
    },
}

/// Verifies one bundle over one artifact.
///
/// # Errors
/// The bundle is no proof that one of `trusted` signed the artifact as demanded.
pub fn verify_bundle(
    json: &[u8],
    artifact: Artifact<'_>,
    trusted: Trusted<'_>,
    demands: Demands,
    root: &TrustRoot,
) -> Result<Signed, Refused> {
    let bundle = read(json)?;
    let statement = match &bundle.content {
        SignatureContent::DsseEnvelope(envelope) => Some(Statement::read(envelope.payload.as_bytes())?),
        _ => None,
    };
    // Those that are there are all verified, or it is an error.
    let timestamps = &bundle.verification_material.timestamp_verification_data.rfc3161_timestamps;
    if demands.timestamps && timestamps.is_empty() {
        return Err(Refused::NoTimestamp);
    }
    let verify = |policy: &dyn Policy| root.roots.verify(artifact, &bundle, policy);
    let signer = match trusted {
        Trusted::Key(key) => {
            if !demands.tlog && bundle.verification_material.tlog_entries.is_empty() && timestamps.is_empty()
            {
                by_key_alone(&bundle, artifact, key, statement.as_ref())?;
            } else {
                let policy = PublicKeyVerificationPolicy::new(key.public.0.clone());
                let policy = if demands.tlog { policy } else { policy.skip_tlog_unsafe() };
                check_flags(&verify(&policy)?, demands, false)?;
            }
            Signer::Key(key.fingerprint().to_owned())
        }
        Trusted::Keyless(identities) => {
            let policy = VerificationPolicy::any_identity();
            let policy = if demands.tlog { policy } else { policy.skip_tlog_unsafe() };
            let policy = if demands.sct { policy } else { policy.skip_sct() };
            let result = verify(&policy)?;
            check_flags(&result, demands, true)?;
            signer(&result, identities)?
        }
    };
    Ok(Signed { signer, statement })
}

/// A signature that stands in no log and has no time: the crates refuse it whatever they are told. Only its bytes
/// and the key are left to check.
fn by_key_alone(
    bundle: &Bundle,
    artifact: Artifact<'_>,
    key: &Key,
    statement: Option<&Statement>,
) -> Result<(), Refused> {
    if !matches!(bundle.verification_material.content, VerificationMaterialContent::PublicKey(_)) {
        return Err(Refused::Unverified("it was made with a certificate, not with a key".to_owned()));
    }
    let unverified = |error: sigstore_verify::crypto::Error| Refused::Unverified(error.to_string());
    let verifier = VerificationKey::from_spki(&key.public.0).map_err(unverified)?;
    match (&bundle.content, statement) {
        (SignatureContent::DsseEnvelope(envelope), Some(statement)) => {
            if envelope.payload_type != IN_TOTO {
                return Err(Refused::Unverified("its payload is not of in-toto's type".to_owned()));
            }
            verifier.verify(envelope.pae(), &envelope.signature.sig).map_err(unverified)?;
            let about = match artifact {
                Artifact::Bytes(bytes) => Sha256::digest(bytes).into(),
                Artifact::Sha256(hash) => hash,
            };
            if !statement.is_about(about) {
                return Err(Refused::Unverified("its statement is about something else".to_owned()));
            }
            Ok(())
        }
        (SignatureContent::MessageSignature(message), None) => match artifact {
            Artifact::Bytes(bytes) => verifier.verify(bytes, &message.signature),
            Artifact::Sha256(hash) => verifier.verify_prehashed(&hash, &message.signature),
        }
        .map_err(unverified),
        _ => Err(Refused::Unverified("its content is of a kind that is not known".to_owned())),
    }
}

/// Parses within the bounds.
fn read(json: &[u8]) -> Result<Bundle, Refused> {
    at_most("bytes", json.len(), bounds::BUNDLE_BYTES)?;
    strict::check(json).map_err(|error| Refused::Malformed(error.to_string()))?;
    let text = std::str::from_utf8(json).map_err(|error| Refused::Malformed(error.to_string()))?;
    let bundle = Bundle::from_json(text).map_err(|error| Refused::Malformed(error.to_string()))?;
    let material = &bundle.verification_material;
    at_most("log entries", material.tlog_entries.len(), bounds::LOG_ENTRIES)?;
    let timestamps = material.timestamp_verification_data.rfc3161_timestamps.len();
    at_most("signed timestamps", timestamps, bounds::TIMESTAMPS)?;
    if let VerificationMaterialContent::X509CertificateChain { certificates } = &material.content {
        at_most("certificates", certificates.len(), bounds::CERTIFICATES)?;
    }
    Ok(bundle)
}

fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), Refused> {
    if count > limit { Err(Refused::TooMuch { what, limit }) } else { Ok(()) }
}

/// What the crates say that they did must be what was asked: a change of their defaults must not loosen ours.
fn check_flags(result: &VerificationResult, demands: Demands, certificate: bool) -> Result<(), Refused> {
    let missing = if demands.tlog && !result.tlog_verified() {
        Some("its entry in the transparency log")
    } else if certificate && !result.certificate_verified() {
        Some("its certificate")
    } else if certificate && demands.sct && !result.sct_verified() {
        Some("the public log of its certificate")
    } else {
        None
    };
    match missing {
        Some(what) => Err(Refused::Unverified(format!("{what} was not verified"))),
        None => Ok(()),
    }
}

fn signer(result: &VerificationResult, identities: &Identities) -> Result<Signer, Refused> {
    let (Some(issuer), Some(subject)) = (result.issuer(), result.identity()) else {
        return Err(Refused::Unverified("its certificate names no issuer or no subject".to_owned()));
    };
    let (issuer, subject) = (issuer.to_owned(), subject.as_str().to_owned());
    if !identities.admit(&issuer, &subject) {
        return Err(Refused::Stranger { issuer, subject });
    }
    Ok(Signer::Certificate { issuer, subject })
}

#[cfg(test)]
mod tests;
