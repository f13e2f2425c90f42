//! The client against real servers on the loopback: honest, odd and hostile ones.

#![expect(clippy::unwrap_used, reason = "in the helpers of tests, a panic is the test's failure")]

mod authentication;
mod budget;
mod digests;
mod limits;
mod paging;
mod referrers;
mod server;
mod tls;

use std::time::Duration;

use prometheus_client::registry::Registry;
use windlass_model::resource::SecretValue;
use windlass_model::{Digest, ImageName, Tag};
use windlass_registry::{Credentials, Metrics, Pool, PoolConfig, Repository, RepositoryConfig};

use crate::server::Server;

/// Longer than any test takes; tests of timeouts move the clock.
const TIMEOUT: Duration = Duration::from_hours(10);

fn pool() -> Pool {
    Pool::new(PoolConfig::default(), Metrics::register(&mut Registry::default()))
}

/// `team/app` on a plain-HTTP server, without credentials.
fn config(server: &Server) -> RepositoryConfig {
    RepositoryConfig { insecure: true, ..secure(server) }
}

/// The same, with HTTPS demanded.
fn secure(server: &Server) -> RepositoryConfig {
    RepositoryConfig::new(ImageName::parse(&format!("{}/team/app", server.host())).unwrap(), TIMEOUT)
}

fn open(server: &Server) -> Repository {
    pool().repository(config(server)).unwrap()
}

fn with(server: &Server, credentials: Credentials) -> Repository {
    pool().repository(RepositoryConfig { credentials, ..config(server) }).unwrap()
}

fn basic() -> Credentials {
    Credentials::Basic { username: "robot".into(), password: secret("hunter22") }
}

fn secret(text: &str) -> SecretValue {
    SecretValue::new(text.as_bytes().to_vec())
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

fn digest_of(fill: char) -> Digest {
    Digest::parse(&format!("sha256:{}", fill.to_string().repeat(64))).unwrap()
}

/// Moves the clock ahead and lets it run on. A clock that stays paused would jump to the next deadline whenever a
/// socket is waited for.
async fn skip(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

/// Runs `work` while the clock moves ahead in small steps: only sockets are waited for.
async fn hurry<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            () = tokio::task::yield_now() => {}
        }
        skip(Duration::from_millis(20)).await;
    }
}
