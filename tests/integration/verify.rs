//! `windlass verify`: images that real cosign signed, on real registries, judged by Guards; and registries that want to
//! have something allowed that nobody signed.

mod attacks;
mod attestations;
mod hostile;
mod limits;
mod places;
mod signed;
mod trust_roots;
