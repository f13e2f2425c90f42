//! Policy: which tag is chosen, why, and what the commit that writes it says.
//!
//! Everything here is a pure function of its arguments. This crate reads no clock, no file, no network and no
//! environment, it never logs, and it never panics on any input. Selection equals Flux's
//! (image-reflector-controller 1.2) wherever Flux is deterministic; each departure is named where it is made.

pub mod calver;
pub mod constraint;
pub mod decimal;
pub mod election;
pub mod exclusion;
pub mod expand;
pub mod explain;
pub mod go_regex;
pub mod lock;
pub mod plan;
pub mod rank;
pub mod selection;
pub mod template;
pub mod variant;
pub mod version;
