//! Resources from a directory: found, read, put together, followed while running, and checked. Owns every read of a
//! configuration file, of the environment for Secrets, and of mounted secret files; what the texts mean is
//! `windlass_model::load`'s business.

mod check;
mod configuration;
mod directory;
mod fingerprint;
#[cfg(test)]
mod fixture;
mod follow;
mod semantics;
mod source;

pub use check::{Report, check};
pub use configuration::Configuration;
pub(crate) use semantics::PolicySemantics;
pub use source::Source;

/// Reads a directory, or one file, once.
///
/// # Errors
/// It does not exist or cannot be read.
pub(crate) fn read(path: &std::path::Path) -> anyhow::Result<Configuration> {
    if path.is_file() {
        return Ok(Source::read_file(path));
    }
    Source::open(path, false).map(|(_, configuration)| configuration)
}
