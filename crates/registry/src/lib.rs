//! A thin client of the OCI distribution API: the tags of a repository, the digest of a tag, a manifest, what refers
//! to it, a blob.
//!
//! This crate owns everything that is said to a registry: authentication and its tokens, pagination, the request
//! budget per registry, size and time limits, and the rules by which a URL that a registry supplies may be
//! followed. It never trusts a host that it was not configured for with a credential, never decides which image is
//! wanted, and never executes a credential helper.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use prometheus_client::registry::Registry;
//! # use windlass_model::ImageName;
//! # use windlass_registry::{Metrics, Pool, PoolConfig, RepositoryConfig};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::new(PoolConfig::default(), Metrics::register(&mut Registry::default()));
//! let image = ImageName::parse("ghcr.io/org/app")?;
//! let repository = pool.repository(RepositoryConfig::new(image, Duration::from_secs(60)))?;
//! for tag in repository.tags().await?.tags {
//!     println!("{tag} {:?}", repository.resolve(&tag).await?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Specification: OCI distribution-spec 1.1. Token authentication: CNCF distribution, "Token Authentication
//! Specification" and "OAuth2 Token Authentication".

mod authority;
mod budget;
mod challenge;
mod destination;
mod endpoint;
mod error;
mod link;
mod manifest;
mod metrics;
mod pool;
mod referrers;
mod repository;
mod retry_after;
mod tags;
mod token;
mod transport;

pub mod credentials;

pub use credentials::Credentials;
pub use error::{ErrorKind, RegistryError, Retry};
pub use manifest::{Manifest, Reference};
pub use metrics::Metrics;
pub use pool::{Pool, PoolConfig, RepositoryConfig};
pub use referrers::Referrer;
pub use repository::Repository;
pub use tags::{TagLimits, TagList};
pub use transport::{ClientIdentity, ConfigError, ProxyConfig};
