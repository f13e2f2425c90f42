//! Trust roots from repositories of The Update Framework: from a first root, which the configuration has, to the trust
//! root that is in force now.
//!
//! This crate owns fetching within bounds, the folder in which fetched files outlive the process, and when a root is
//! fetched anew. It never judges a signature of an image, and believes neither a mirror nor the folder: whatever comes
//! from there is verified from the first root on, by `sigstore-tuf`. That crate's own mirror, files and client are not
//! used: they follow redirects and symbolic links, read files without a bound, and keep half of a look that broke off.
//!
//! ```text
//! mirror or folder ── Update ──► files that vouch for each other ──► Roots ──► windlass-verify
//!                    (whole, or nothing)        └──► folder
//! ```

mod folder;
mod held;
mod metrics;
mod mirror;
mod refresher;
mod roots;
mod source;
mod staging;
mod update;

pub use metrics::Metrics;
pub use refresher::{Parts, Refresher};
pub use roots::{Cache, Prepared, Roots, fetch, fetch_one, prepare};

/// Where an instance keeps what it fetched, below its data directory.
pub const FOLDER: &str = "trust-roots";
