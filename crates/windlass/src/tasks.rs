//! The lifecycle of the process's tasks: each has a name, a task that ends by itself is an outage, and the end comes
//! in two stages.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// After the first signal, tasks have this long to finish what is in flight; Kubernetes kills after 30 s.
const DRAIN: Duration = Duration::from_secs(25);

/// The named tasks of the process.
#[derive(Debug)]
pub(crate) struct Tasks {
    running: JoinSet<&'static str>,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { running: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// Cancelled when the process should end.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. It must run until [`Self::stop`] is cancelled.
    pub(crate) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async move {
            task.await;
            name
        });
    }

    /// Waits for SIGTERM or SIGINT, then for the tasks to finish. A second signal, or a task that takes too long,
    /// ends the process at once; what was in flight is found again at the next start.
    ///
    /// # Errors
    /// A task ended before it was asked to.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut signals = Signals::install()?;
        let early = tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "stopping: finishing what is in flight");
                None
            }
            ended = self.running.join_next() => Some(describe(ended)),
        };
        self.stop.cancel();
        let drained = async { while self.running.join_next().await.is_some() {} };
        tokio::select! {
            () = drained => {}
            () = tokio::time::sleep(DRAIN) => tracing::warn!("some tasks did not end in time"),
            name = signals.next() => bail!("stopped at once by a second {name}"),
        }
        early.map_or(Ok(()), |what| Err(anyhow::anyhow!("{what}")))
    }
}

fn describe(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> String {
    match ended {
        Some(Ok(name)) => format!("the task `{name}` ended although nothing asked it to"),
        Some(Err(error)) => format!("a task failed: {error}"),
        None => "no task is running".to_owned(),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> anyhow::Result<Self> {
        let install = |kind| signal(kind).context("signal handlers could not be installed");
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
