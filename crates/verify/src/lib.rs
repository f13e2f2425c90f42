//! From signatures to what they say: who signed an image, by which rules, and why a signature is refused.
//!
//! This crate owns the bounds on what is looked at, what counts as a signature, whose it is, and whether it is enough
//! for a Guard. It never writes, never decides what is promoted, and asks no network but the registry that it is given.
//! The Sigstore crates are behind one module, `sigstore`.
//!
//! ```text
//! Repository ── gather ──► Found ── Judge::judge ──► GuardVerdict ──► Verdict
//!   (bounded)                 (pure: keys, identities, roots, thresholds)
//! ```

#[cfg(test)]
mod attacks;
mod attest;
mod authority;
mod bounds;
mod evidence;
mod gather;
mod identity;
mod judge;
mod key;
mod legacy;
#[cfg(test)]
mod mutations;
mod notation;
mod platform;
mod root;
mod sigstore;
mod statement;
mod strict;
#[cfg(test)]
mod testing;
mod verdict;
mod verifier;

pub use attest::{Age, AttestationCheck, AttestationError, CelError, CelFault, Fault, Unmet};
pub use evidence::{Evidence, Form, Found, Wanted};
pub use gather::gather;
pub use identity::{Identities, IdentityError};
pub use judge::{Assessment, Judge, Latest, Subject};
pub use key::{Key, KeyError};
pub use notation::{ChainError, Failure, Notation, NotationError, NotationRefused, NotationSigned, Target};
pub use root::{FetchedRoot, FetchedRoots, NotFetched, NothingFetched, RootError, TrustRoot};
pub use sigstore::{Artifact, Demands, Refused, Signed, Signer, Trusted, verify_bundle};
pub use statement::{Statement, StatementError};
pub use verdict::{GuardVerdict, Outcome, Proof, Verdict};
pub use verifier::{Freshness, Repositories, Verifier};
