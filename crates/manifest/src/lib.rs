//! Images in YAML manifests: where they are, and how the scalars that hold them are changed.
//!
//! A marker is a YAML comment that is, as a whole, a JSON object with the key `$imagepolicy`:
//!
//! ```yaml
//! image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "apps:app"}
//! ```
//!
//! This crate owns finding markers ([`scan()`], in Helm templates [`scan_template`]), changing the marked scalars as byte
//! splices ([`apply`]), and showing the difference ([`unified`]). Places without a marker are found by what they are:
//! entries of a kustomization's `images` ([`kustomize::edit`]), the image of Helm values ([`helm::edit`]), any scalar by
//! its path ([`path::edit`]); [`Declaration`] is any of these. It never serialises a user's YAML, so every byte outside the changed scalars, and the lines
//! that are added or removed, stays as it was: comments, indentation, line endings, document separators. It does no
//! I/O, reads no clock and never logs.
//!
//! Every marker ends either as a [`Place`] or in a [`Problem`]; none is skipped in silence. The marker syntax is that
//! of Flux's image-automation-controller 1.2, with the suffix `:tag@digest` added. An edit by path ends as [`Edited`] or
//! in a [`Refusal`].

pub mod declared;
pub mod diff;
pub mod edit;
pub mod glob;
pub mod helm;
pub mod kustomize;
pub mod path;
pub mod problem;
pub mod refusal;
pub mod scan;
pub mod screen;

mod events;
mod frames;
mod grow;
mod layout;
mod marker;
mod outline;
mod resolve;
mod revise;
mod scalar;
mod splice;
mod spot;
mod template;
mod tree;

pub use declared::{Declaration, Standing};
pub use diff::unified;
pub use edit::{Edit, EditError, apply};
pub use problem::{Problem, ProblemCause};
pub use refusal::{Refusal, RefusalCause};
pub use revise::{Changed, Edited};
pub use scan::{Place, Scan, scan, scan_template};
pub use windlass_model::place::{Marker, ObjectIdentifier, Part};
