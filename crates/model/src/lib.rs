//! The values that every other crate speaks: image references, resources, signals, facts and plans.
//!
//! This crate is pure: it reads no file, no clock and no environment, and it never logs. Behaviour that needs any
//! of these lives above it.

pub mod checkout;
pub mod clock;
pub mod git;
pub mod guard;
pub mod image;
pub mod load;
pub mod message;
pub mod name;
pub mod place;
pub mod resource;
pub mod share;
mod short_text;
pub mod signal;
pub mod status;

pub use clock::Clock;
pub use image::{Digest, ImageName, ImageRef, Tag};
pub use name::{Kind, ObjectKey, ObjectRef};
pub use resource::Spec;
pub use share::Share;
pub use signal::{Hint, Signal};
