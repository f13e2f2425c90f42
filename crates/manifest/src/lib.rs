//! Image markers in YAML manifests: where they are, and how the scalars that they mark are changed.
//!
//! A marker is a YAML comment that is, as a whole, a JSON object with the key `$imagepolicy`:
//!
//! ```yaml
//! image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
//! ```
//!
//! This crate owns finding markers ([`scan()`]), changing the marked scalars as byte splices ([`apply`]), and showing
//! the difference ([`unified`]). It never serialises a user's YAML, so every byte outside the changed scalars stays as
//! it was: comments, indentation, line endings, document separators. It does no I/O, reads no clock and never logs.
//!
//! Every marker ends either as a [`Place`] or in a [`Problem`]; none is skipped in silence. The marker syntax is that
//! of Flux's image-automation-controller 1.2, with the suffix `:tag@digest` added.

pub mod diff;
pub mod edit;
pub mod problem;
pub mod scan;
pub mod screen;

mod events;
mod frames;
mod marker;
mod outline;
mod resolve;
mod scalar;

pub use diff::unified;
pub use edit::{Edit, EditError, apply};
pub use problem::{Problem, ProblemCause};
pub use scan::{Place, Scan, scan};
pub use windlass_model::place::{Marker, ObjectIdentifier, Part};
