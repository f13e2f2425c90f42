//! The servers that many runs share, each run with repositories and a stream of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use crate::git_server::{GitOptions, GitServer};
use crate::http_fault::Proxy;
use crate::image::Pusher;
use crate::nats::NatsServer;
use crate::registry::{Registry, RegistryOptions};

/// A registry behind a proxy, a Git server and a NATS server.
pub struct Ground {
    /// Pushes through the proxy, whose address is the images' host.
    pub(super) images: Pusher,
    pub(super) proxy: Proxy,
    pub(super) git: GitServer,
    pub(super) nats: NatsServer,
    pub(super) program: Option<PathBuf>,
    runs: AtomicUsize,
    _registry: Registry,
}

impl Ground {
    /// Starts them. `windlass` and `registry` are programs; by default, what `locate` finds.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(windlass: Option<PathBuf>, registry: Option<PathBuf>) -> Result<Self> {
        let registry =
            Registry::start(RegistryOptions { program: registry, ..RegistryOptions::default() }).await?;
        let proxy = Proxy::start(registry.url())?;
        Ok(Self {
            images: Pusher::new(proxy.url(), None)?,
            proxy,
            git: GitServer::start(GitOptions::default())?,
            nats: NatsServer::start().await?,
            program: windlass,
            runs: AtomicUsize::new(0),
            _registry: registry,
        })
    }

    /// A name that no other run on these servers has.
    pub(super) fn name(&self) -> String {
        format!("run-{}", self.runs.fetch_add(1, Ordering::Relaxed))
    }
}
