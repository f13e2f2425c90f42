//! A real nats-server with JetStream, its files in memory unless told otherwise.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream::{self, Context};
use tempfile::TempDir;

use crate::folder::{Storage, fresh};
use crate::process::Process;
use crate::{eventually, locate, port};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    folder: TempDir,
    address: SocketAddr,
    process: Option<Process>,
}

impl NatsServer {
    /// Starts a server that asks for no login.
    ///
    /// # Errors
    /// When there is no program (`cargo xtask setup` builds it), or it does not start.
    pub async fn start() -> Result<Self> {
        Self::with("").await
    }

    /// Starts a server with more lines of configuration: who may log in, TLS, bounds of JetStream.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn with(configuration: &str) -> Result<Self> {
        let mut server = Self::stopped(configuration)?;
        server.restart().await?;
        Ok(server)
    }

    /// Starts a server that keeps everything in this folder, with more lines in its block for JetStream:
    /// `sync_interval: always`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn keeping(folder: TempDir, jetstream: &str) -> Result<Self> {
        let mut server = Self::configured(folder, jetstream, "")?;
        server.restart().await?;
        Ok(server)
    }

    /// A server that is not started yet.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn stopped(configuration: &str) -> Result<Self> {
        Self::configured(fresh(Storage::Memory)?, "", configuration)
    }

    fn configured(folder: TempDir, jetstream: &str, configuration: &str) -> Result<Self> {
        let (program, address) = (locate::nats_server()?, port::free()?);
        let files = folder.path().join("jetstream");
        let text = format!(
            "listen: \"{address}\"\nstore_dir: \"{}\"\njetstream {{\n{jetstream}\n}}\n{configuration}\n",
            files.display()
        );
        fs::write(folder.path().join("nats.conf"), text).context("writing the server's configuration")?;
        Ok(Self { program, folder, address, process: None })
    }

    /// `nats://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A folder of this server's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Deletes a stream with all that it holds, as an operator may. The server asks for no login.
    ///
    /// # Errors
    /// When there is none.
    pub async fn delete_stream(&self, name: &str) -> Result<()> {
        self.jetstream().await?.delete_stream(name).await.context("deleting a stream").map(drop)
    }

    /// Kills the server, as a crash does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Ends the server in order, as an operator does.
    ///
    /// # Errors
    /// When it goes on.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process {
            process.terminate(PATIENCE).await?;
        }
        self.kill();
        Ok(())
    }

    /// Whether it was started and not killed.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// A client of it. The server asks for no login.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn jetstream(&self) -> Result<Context> {
        Ok(jetstream::new(async_nats::connect(self.url()).await.context("connecting to the server")?))
    }

    /// Starts it (again), with what it had stored.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.launch()?;
        self.listens().await
    }

    /// Waits until it takes connections.
    ///
    /// # Errors
    /// When it does not; its output says why.
    pub async fn listens(&self) -> Result<()> {
        let listening = async || Ok(TcpStream::connect(self.address).ok());
        let listens = eventually(PATIENCE, "nats-server to listen", listening).await;
        let output = || self.process.as_ref().map(Process::log_text).unwrap_or_default();
        listens.map(drop).with_context(output)
    }

    /// Starts it, without waiting for it to listen.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn launch(&mut self) -> Result<()> {
        self.kill();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.path().join("nats.conf"));
        let log = self.folder.path().join("log");
        self.process = Some(Process::spawn("nats-server", &mut command, &log)?);
        Ok(())
    }
}
