//! The promoter's turn. Of all processes that share a queue, one polls, chooses and commits; the others stand by. So what
//! a promoter has in memory is never older than what another one did. A process that has a queue of its own is at it
//! from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_promoter::{Parts, Promoter};
use windlass_store::{Disposition, Lease, StoreError};
use windlass_watcher::Schedule;

/// The name that the one process holds.
const LEASE: &str = "promoter";
/// After the store could not be asked.
const PAUSE: Duration = Duration::from_secs(1);

/// What a turn is made of, and whose turn it is.
pub(crate) struct Lead {
    parts: Parts,
    /// Spreads the polls of several instances.
    seed: u64,
    stop: CancellationToken,
    current: Arc<watch::Sender<Option<Promoter>>>,
}

/// A turn that has begun: everything is looked at anew, as after a start.
struct Turn {
    lease: Lease,
    promoter: Promoter,
    /// Ends this turn alone.
    end: CancellationToken,
    /// Tells when the queue lost what it held: a new turn looks at everything.
    losses: watch::Receiver<u64>,
}

impl Lead {
    pub(crate) fn new(parts: Parts, seed: u64, stop: CancellationToken) -> Self {
        Self { parts, seed, stop, current: Arc::new(watch::Sender::new(None)) }
    }

    /// The promoter while it is this process's turn.
    pub(crate) fn current(&self) -> watch::Receiver<Option<Promoter>> {
        self.current.subscribe()
    }

    /// Begins the first turn, where nobody else can have it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) async fn begin(self) -> Result<Begun, StoreError> {
        let first = self.turn().await?;
        Ok(Begun { lead: self, first: Some(first) })
    }

    /// Leaves the first turn to the process that gets it.
    pub(crate) fn stand_by(self) -> Begun {
        Begun { lead: self, first: None }
    }

    async fn turn(&self) -> Result<Turn, StoreError> {
        let losses = self.parts.store.losses();
        let lease = self.parts.store.lease(LEASE).await?;
        let end = self.stop.child_token();
        let promoter = Promoter::start(self.parts.clone(), end.clone()).await?;
        self.current.send_replace(Some(promoter.clone()));
        Ok(Turn { lease, promoter, end, losses })
    }

    async fn run_turn(&self, turn: Turn) {
        let Turn { lease, promoter, end, mut losses } = turn;
        let Parts { store, spec, clock, .. } = &self.parts;
        let schedule = Schedule::new(store.clone(), spec.clone(), clock.clone(), self.seed);
        let polling = async {
            if let Err(error) = schedule.run(end.clone()).await {
                tracing::error!(%error, "polling ended");
            }
        };
        let work = async { tokio::join!(promoter.run(), polling) };
        tokio::pin!(work);
        let over = async {
            tokio::select! {
                Ok(()) = losses.changed() => "the queue lost what it held",
                lost = lease.lost() => match lost {
                    Ok(()) => "the others did not hear of this process, or the queue lost what it held",
                    Err(_) => "the store cannot say whose turn it is",
                },
            }
        };
        let why = tokio::select! {
            _ = &mut work => None,
            why = over => Some(why),
        };
        if let Some(why) = why {
            tracing::warn!(why, "this process's turn is over");
            end.cancel();
            work.await;
        }
        self.current.send_replace(None);
    }

    /// Waits for this process's turn; `None` when it is to end, or when the store is broken.
    async fn next(&self) -> Option<Turn> {
        loop {
            let turn = tokio::select! {
                () = self.stop.cancelled() => return None,
                turn = self.turn() => turn,
            };
            match turn {
                Ok(turn) => {
                    tracing::info!("it is this process's turn to poll, choose and commit");
                    return Some(turn);
                }
                Err(error) if error.disposition() == Disposition::Fatal => {
                    tracing::error!(%error, "the store is broken");
                    return None;
                }
                Err(error) => {
                    tracing::warn!(%error, "the store cannot be asked whose turn it is; trying again");
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// Turns, one after the other.
pub(crate) struct Begun {
    lead: Lead,
    first: Option<Turn>,
}

impl Begun {
    /// Takes turns until the process is to end.
    pub(crate) async fn run(self) {
        let Self { lead, mut first } = self;
        while !lead.stop.is_cancelled() {
            let turn = match first.take() {
                Some(turn) => turn,
                None => match lead.next().await {
                    Some(turn) => turn,
                    None => return,
                },
            };
            lead.run_turn(turn).await;
        }
    }
}
