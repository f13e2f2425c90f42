//! Why there is nothing to verify by, and why an envelope is no proof, in words for people.

use jiff::Timestamp;
use windlass_model::guard::NotationTrust;

use super::JWS;
use super::chain::ChainError;
use crate::bounds;

/// Why there is nothing to verify by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    /// The Secret holds no document.
    #[error("there is no `{key}`", key = NotationTrust::POLICY)]
    NoDocument,
    /// Past the limit.
    #[error("the trust policy document has more than {limit} bytes", limit = bounds::TRUST_POLICY_BYTES)]
    TooLarge,
    /// It does not parse.
    #[error("the trust policy document cannot be read: {0}")]
    Malformed(String),
    /// It is of another version.
    #[error("the trust policy document is of version `{0}`, and only `1.0` is known")]
    Version(String),
    /// One of its policies is wrong.
    #[error("the trust policy `{name}` cannot be used: {why}")]
    Policy {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A trusted identity is none.
    #[error("the trusted identity `{text}` cannot be used: {why}")]
    Identity {
        /// As written.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Two identities of one policy could be one.
    #[error("the trusted identities `{0}` and `{1}` overlap")]
    Overlap(String, String),
    /// A store has no certificates, or it is not clear which.
    #[error("the trust store `{store}` {why}")]
    Store {
        /// As policies name it.
        store: String,
        /// What is wrong.
        why: String,
    },
    /// A file of certificates is none.
    #[error("the certificates of `{file}` cannot be used: {why}")]
    Certificate {
        /// Its name.
        file: String,
        /// What is wrong.
        why: String,
    },
}

/// A validation that failed and that a policy may choose to log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The signer's own "best by" has passed.
    #[error("the signature expired at {0}")]
    Expired(Timestamp),
    /// A certificate was not valid when the signature was made, as far as that is known.
    #[error("the certificate of `{subject}` is not valid at {at}, the time that counts for this signature")]
    Validity {
        /// Whose.
        subject: String,
        /// The authentic time of signing, or now.
        at: Timestamp,
    },
    /// An authority states a time that has not come.
    #[error("the signature was made at {0}, which has not come yet")]
    Future(Timestamp),
    /// Revocation is asked for, and cannot be looked up.
    #[error(
        "whether the certificate of `{subject}` is revoked is not looked up by this version: to go without, override \
         `revocation` with `log` or `skip` in the trust policy"
    )]
    Revocation {
        /// Whose.
        subject: String,
    },
}

/// Why an envelope is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotationRefused {
    /// COSE is not verified.
    #[error("the signature is a COSE envelope, and only JWS (`{JWS}`) is verified")]
    Cose,
    /// Neither JWS nor COSE.
    #[error("the signature's media type `{0}` is not that of an envelope")]
    MediaType(String),
    /// No policy is for this repository.
    #[error("no trust policy is for `{0}`")]
    NoPolicy(String),
    /// The policy skips verification.
    #[error("the trust policy `{0}` skips verification, so nobody is known to have signed")]
    Skipped(String),
    /// Past the limit.
    #[error("the envelope has more than {limit} bytes", limit = bounds::BUNDLE_BYTES)]
    TooLarge,
    /// A part does not parse.
    #[error("the {what} cannot be read: {why}")]
    Malformed {
        /// Which.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A part is not in its base 64.
    #[error("`{0}` is not encoded as it should be")]
    Encoding(&'static str),
    /// A header has a value that is not known.
    #[error("the header `{field}` is `{found}`, which is not known")]
    Header {
        /// Which.
        field: &'static str,
        /// What it says.
        found: String,
    },
    /// A critical header is not known.
    #[error("the header `{0}` is critical and not known, or not there")]
    Critical(String),
    /// A header that must be critical is not, or is so twice.
    #[error("`crit` does not name each critical header once")]
    NotCritical,
    /// The times do not fit the signing scheme.
    #[error("the signing scheme and the times of signing do not fit together")]
    SigningTime,
    /// A plugin would have to be run.
    #[error("the signature asks for a verification plugin, and none is run")]
    Plugin,
    /// The algorithm is not that of the leaf's key.
    #[error("`alg` is `{0}`, which is not that of the signer's key")]
    Algorithm(String),
    /// The signature is not by the leaf's key.
    #[error("the signature is not by the key of its certificate")]
    Signature,
    /// It is about something else.
    #[error("the signature is for another artifact: {digest}")]
    Artifact {
        /// For which.
        digest: String,
    },
    /// The certificates are no chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The chain is whole, and nothing in it is trusted.
    #[error(
        "no certificate of `{subject}`'s chain is in a trust store of type `{store}` of the policy `{policy}`"
    )]
    Untrusted {
        /// The signer.
        subject: String,
        /// Which stores count for its signing scheme.
        store: &'static str,
        /// By which policy.
        policy: String,
    },
    /// Somebody else signed.
    #[error("it was signed by `{subject}`, who is not among the trusted identities of the policy `{policy}`")]
    Stranger {
        /// Who.
        subject: String,
        /// By which policy.
        policy: String,
    },
    /// A validation failed, and the policy enforces it.
    #[error(transparent)]
    Failed(#[from] Failure),
}
