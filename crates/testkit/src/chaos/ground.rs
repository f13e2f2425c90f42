//! The servers that many runs share, each run with repositories and a stream of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use serde_json::json;

use crate::evidence::{put_layers, signature_tag};
use crate::forge::Forger;
use crate::git_server::{GitOptions, GitServer};
use crate::http_fault::Proxy;
use crate::image::Pusher;
use crate::nats::NatsServer;
use crate::registry::{Registry, RegistryOptions};

/// A registry behind a proxy, a Git server and a NATS server.
pub struct Ground {
    /// Pushes through the proxy, whose address is the images' host.
    images: Pusher,
    pub(super) proxy: Proxy,
    pub(super) git: GitServer,
    pub(super) nats: NatsServer,
    pub(super) program: Option<PathBuf>,
    /// Signs every image.
    signer: Forger,
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
            signer: Forger::new()?,
            runs: AtomicUsize::new(0),
            _registry: registry,
        })
    }

    /// Pushes an image with its signature, and gives its digest.
    pub(super) async fn push(&self, repository: &str, tag: &str) -> Result<String> {
        let digest = self.images.push(repository, tag, tag).await?;
        let layer = self.signer.sign_by_key(&digest)?;
        put_layers(&self.images, repository, &signature_tag(&digest), &[layer]).await?;
        Ok(digest)
    }

    /// A Guard that wants these signatures on every image of a run.
    pub(super) fn guard(&self, run: &str) -> String {
        let key =
            json!({"name": "release", "key": {"pem": self.signer.public_pem()}, "insecureIgnoreTlog": true});
        format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: Guard\nmetadata: {{name: signed}}\nspec:\n  match: {{images: \
             ['{}/{run}/**']}}\n  authorities: [{key}]\n  require: {{signatures: {{anyOf: [release]}}}}\n",
            self.proxy.host()
        )
    }

    /// A name that no other run on these servers has.
    pub(super) fn name(&self) -> String {
        format!("run-{}", self.runs.fetch_add(1, Ordering::Relaxed))
    }
}
