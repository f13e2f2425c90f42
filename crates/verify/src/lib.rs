//! From signatures to what they say: who signed an artifact, by which rules, and why a signature is refused.
//!
//! This crate owns the bounds on what is looked at, what counts as a signature, and whose it is. It never asks a
//! network, never writes, and never decides what is promoted. The Sigstore crates are behind one module, `sigstore`.

mod attest;
mod bounds;
mod identity;
mod key;
mod notation;
mod root;
mod sigstore;
mod statement;

pub use attest::{Age, AttestationCheck, AttestationError, CelError, CelFault, Fault, Unmet};
pub use identity::{Identities, IdentityError};
pub use key::{Key, KeyError};
pub use notation::{ChainError, Failure, Notation, NotationError, NotationRefused, NotationSigned, Target};
pub use root::{RootError, TrustRoot};
pub use sigstore::{Artifact, Demands, Refused, Signed, Signer, Trusted, verify_bundle};
pub use statement::{Statement, StatementError};
