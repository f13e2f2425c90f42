//! A registry that has the referrers API (OCI distribution specification 1.1), as a child process. Its images are in
//! its memory alone.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::folder::{Storage, fresh};
use crate::http_server::client;
use crate::image::Pusher;
use crate::process::Process;
use crate::registry::{Registry, RegistryOptions};
use crate::{eventually, locate, port};

/// It starts at once; a machine that also compiles takes longer.
const START: Duration = Duration::from_secs(30);

/// A running registry.
pub struct ReferrersRegistry {
    address: SocketAddr,
    pusher: Pusher,
    _process: Process,
    // Last, so that the log outlives the process.
    _folder: TempDir,
}

impl ReferrersRegistry {
    /// Starts an empty one on a free port and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed, or does not answer.
    pub async fn start() -> Result<Self> {
        let (program, address, folder) =
            (locate::referrers_registry()?, port::free()?, fresh(Storage::Memory)?);
        let mut command = Command::new(program);
        command.arg("--address").arg(address.to_string()).env_clear();
        let mut process = Process::spawn("registry", &mut command, &folder.path().join("registry.log"))?;
        let http = client()?;
        eventually(START, "the registry to answer", async || {
            process.expect_running()?;
            let answer = http.get(format!("http://{address}/v2/")).send().await?;
            Ok(answer.status().is_success().then_some(()))
        })
        .await?;
        let pusher = Pusher::new(format!("http://{address}"), None)?;
        Ok(Self { address, pusher, _process: process, _folder: folder })
    }

    /// `127.0.0.1:PORT`: the registry's part of an image's name.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Pushes images and whatever refers to them.
    pub fn images(&self) -> &Pusher {
        &self.pusher
    }
}

/// A registry of either kind: tests that hold for both do not care which.
pub enum AnyRegistry {
    /// Distribution, which has no referrers API.
    Plain(Registry),
    /// With the referrers API.
    WithReferrers(ReferrersRegistry),
}

impl AnyRegistry {
    /// One of each.
    ///
    /// # Errors
    /// When either does not start.
    pub async fn both() -> Result<[Self; 2]> {
        let plain = Registry::start(RegistryOptions::default()).await?;
        Ok([Self::Plain(plain), Self::WithReferrers(ReferrersRegistry::start().await?)])
    }

    /// `127.0.0.1:PORT`: the registry's part of an image's name.
    pub fn host(&self) -> String {
        match self {
            Self::Plain(registry) => registry.host(),
            Self::WithReferrers(registry) => registry.host(),
        }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// Pushes images and whatever refers to them.
    pub fn images(&self) -> &Pusher {
        match self {
            Self::Plain(registry) => registry.images(),
            Self::WithReferrers(registry) => registry.images(),
        }
    }
}
