//! Where the state is that `windlass queue` and `windlass audit` look at: a data directory, or a shared queue. Owns who is
//! asked for it: the instance that runs there, the database, or the queue's server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use tempfile::TempDir;
use windlass_store::{NatsOptions, OpenError, ReadOnly, Store};

use crate::client;
use crate::clock::SystemClock;
use crate::queue::SharedQueueArgs;

const NOWHERE: &str = "say where the state is, with --data DIR or --queue URL";

/// Which state is meant.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The data directory of an instance, running or not
    #[arg(long, value_name = "DIR", env = "WINDLASS_DATA", required_unless_present = "queue")]
    data: Option<PathBuf>,
    #[command(flatten)]
    queue: SharedQueueArgs,
}

/// Where a state is.
#[derive(Debug)]
pub(crate) struct Place {
    data: Option<PathBuf>,
    shared: Option<NatsOptions>,
}

/// A state to read, and what must last as long.
pub(crate) struct View {
    pub(crate) store: ReadOnly,
    _scratch: Option<TempDir>,
}

/// A state to change, and what must last as long.
pub(crate) struct Open {
    pub(crate) store: Store,
    _scratch: Option<TempDir>,
}

impl PlaceArgs {
    /// # Errors
    /// The stream's name is none.
    pub(crate) fn place(self) -> anyhow::Result<Place> {
        Ok(Place { data: self.data, shared: self.queue.options()? })
    }
}

impl Place {
    /// The data directory, where a running instance may be asked.
    pub(crate) fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// The state as it is: the database of the data directory, or what the shared queue's server has. Nothing is written
    /// there.
    ///
    /// # Errors
    /// There is no such state, or it cannot be read.
    pub(crate) async fn view(&self) -> anyhow::Result<View> {
        match (&self.data, &self.shared) {
            (Some(data), None) => {
                let store = ReadOnly::open(data).await;
                let store = store.with_context(|| format!("--data {}", data.display()))?;
                if store.is_copy().await? && !runs(data).await? {
                    bail!(stale_copy(data));
                }
                Ok(View { store, _scratch: None })
            }
            (Some(data), Some(shared)) => match ReadOnly::open(data).await {
                // The copy of a running process is as good as its server, and nearer.
                Ok(store) if store.is_copy().await? && runs(data).await? => {
                    Ok(View { store, _scratch: None })
                }
                _ => observe(shared).await,
            },
            (None, Some(shared)) => observe(shared).await,
            (None, None) => bail!(NOWHERE),
        }
    }

    /// The state to change it, where no instance runs on the data directory: its store, or as a member of the shared
    /// queue that soon leaves.
    ///
    /// # Errors
    /// There is no such state, it cannot be written, or an instance runs on it after all.
    pub(crate) async fn open(&self) -> anyhow::Result<Open> {
        match (&self.data, &self.shared) {
            (_, Some(shared)) => {
                let scratch = scratch()?;
                let store = Store::visit(scratch.path(), shared, Arc::new(SystemClock)).await;
                let store = store.with_context(|| format!("--queue {}", shared.servers))?;
                Ok(Open { store, _scratch: Some(scratch) })
            }
            (Some(data), None) => {
                let shown = || format!("--data {}", data.display());
                // A folder that holds no store gets none by this.
                if ReadOnly::open(data).await.with_context(shown)?.is_copy().await? {
                    bail!(stale_copy(data));
                }
                let store = match Store::open(data, Arc::new(SystemClock)).await {
                    Err(error @ OpenError::AlreadyOpen { .. }) => Err(error)
                        .context("its local API does not answer: see whether it hangs, or stop it first"),
                    opened => opened.with_context(shown),
                };
                Ok(Open { store: store?, _scratch: None })
            }
            (None, None) => bail!(NOWHERE),
        }
    }
}

/// Whether an instance answers on the data directory. Where it does, a copy of a shared state is kept up with the others.
async fn runs(data: &Path) -> anyhow::Result<bool> {
    Ok(client::backlog(data).await?.is_some())
}

fn stale_copy(data: &Path) -> String {
    format!(
        "{} is a copy of a queue on NATS, and no windlass runs there to keep it up: say --queue URL",
        data.display()
    )
}

async fn observe(shared: &NatsOptions) -> anyhow::Result<View> {
    let scratch = scratch()?;
    let store = ReadOnly::observe(scratch.path(), shared, Arc::new(SystemClock)).await;
    let store = store.with_context(|| format!("--queue {}", shared.servers))?;
    Ok(View { store, _scratch: Some(scratch) })
}

fn scratch() -> anyhow::Result<TempDir> {
    tempfile::Builder::new().prefix("windlass-").tempdir().context("a scratch folder could not be made")
}
