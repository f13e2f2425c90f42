//! Signatures that real cosign made, of both lines that are in use, on a registry with the referrers API and on one
//! without: what verifies here, and what cosign itself says.

mod certificates;
mod keys;
mod place;
mod statements;
