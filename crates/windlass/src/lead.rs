//! Promoting, divided among the processes that share a queue. The installation's work is in shares; each share is one
//! process's at a time, by a lease, and that process polls, chooses and commits for it. So what a promoter has in memory
//! is never older than what another one did. A process that has a queue of its own has the one and only share from its
//! start to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use windlass_model::{Share, Spec};
use windlass_promoter::{Parts, Promoter};
use windlass_store::{Disposition, Lease, Store, StoreError};
use windlass_watcher::Schedule;

/// A share is held under this and its name.
const SHARE: &str = "promoter ";
/// Who wants shares holds a name under this.
const CANDIDATE: &str = "candidate ";
/// Shares of a queue that several processes share: as many can promote at a time. Few, since each is a dispatcher and a
/// schedule of its own; a change of it is a change of the log's format.
pub(crate) const SHARES: u16 = 16;
/// After the store could not be asked.
const PAUSE: Duration = Duration::from_secs(1);

/// The promoters of the shares that this process has at present.
pub(crate) type Promoters = Arc<BTreeMap<Share, Promoter>>;

/// What a turn is made of, and who has which.
pub(crate) struct Lead {
    parts: Parts,
    /// Spreads the polls of several instances.
    seed: u64,
    stop: CancellationToken,
    current: Arc<watch::Sender<Promoters>>,
}

/// A share that this process has begun to work on: everything in it is looked at anew, as after a start.
struct Turn {
    share: Share,
    lease: Lease,
    spec: watch::Receiver<Arc<Spec>>,
    /// Follows the configuration for as long as the turn lasts.
    dividing: JoinSet<()>,
    promoter: Promoter,
    /// Ends this turn alone.
    end: CancellationToken,
    /// Tells when the queue lost what it held: a new turn looks at everything.
    losses: watch::Receiver<u64>,
}

impl Lead {
    pub(crate) fn new(parts: Parts, seed: u64, stop: CancellationToken) -> Self {
        Self { parts, seed, stop, current: Arc::default() }
    }

    /// The promoters of this process's shares.
    pub(crate) fn current(&self) -> watch::Receiver<Promoters> {
        self.current.subscribe()
    }

    /// Begins the turn of a process that has a queue of its own.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) async fn begin(self) -> Result<Begun, StoreError> {
        let turn = self.turn(Share::WHOLE, self.stop.child_token()).await?;
        Ok(Begun { lead: Arc::new(self), how: How::Alone(Box::new(turn)) })
    }

    /// Takes its shares of a queue that others share. The name must be no other process's.
    pub(crate) fn stand_by(self, name: &str) -> Begun {
        Begun { lead: Arc::new(self), how: How::Shared { name: format!("{CANDIDATE}{name}") } }
    }

    /// Waits until nobody else has the share, and takes it.
    async fn turn(&self, share: Share, end: CancellationToken) -> Result<Turn, StoreError> {
        let losses = self.parts.store.losses();
        let lease = self.parts.store.lease(&format!("{SHARE}{share}")).await?;
        let (spec, dividing) = divided(self.parts.spec.clone(), share);
        let parts = Parts { spec: spec.clone(), ..self.parts.clone() };
        let promoter = Promoter::start(parts, end.clone()).await?;
        self.show(|current| current.insert(share, promoter.clone()));
        Ok(Turn { share, lease, spec, dividing, promoter, end, losses })
    }

    fn show<T>(&self, change: impl FnOnce(&mut BTreeMap<Share, Promoter>) -> T) {
        self.current.send_modify(|current| drop(change(Arc::make_mut(current))));
    }

    /// Works on the share until the turn is ended or lost; what is in flight is finished, and then others have it.
    async fn run_turn(&self, turn: Turn) {
        let Turn { share, lease, spec, dividing, promoter, end, mut losses } = turn;
        let Parts { store, clock, .. } = &self.parts;
        let schedule = Schedule::new(store.clone(), spec, clock.clone(), self.seed);
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
                    Err(_) => "the store cannot say who has the share",
                },
            }
        };
        let why = tokio::select! {
            _ = &mut work => None,
            why = over => Some(why),
        };
        if let Some(why) = why {
            tracing::warn!(%share, why, "this process lost a share of the work");
            end.cancel();
            work.await;
        }
        drop(dividing);
        self.show(|current| current.remove(&share));
    }

    /// Has the share until `end`, again and again if it is lost.
    async fn have(&self, share: Share, end: CancellationToken) {
        while !end.is_cancelled() {
            let taken = tokio::select! {
                () = end.cancelled() => return,
                taken = self.turn(share, end.child_token()) => taken,
            };
            match taken {
                Ok(turn) => {
                    tracing::info!(%share, "this process polls, chooses and commits for a share of the work");
                    Box::pin(self.run_turn(turn)).await;
                }
                Err(error) => {
                    tracing::warn!(%share, %error, "a share of the work could not be taken; trying again");
                    pause(&end).await;
                }
            }
        }
    }
}

/// A configuration's share, and what follows the configuration until it is dropped.
fn divided(mut all: watch::Receiver<Arc<Spec>>, share: Share) -> (watch::Receiver<Arc<Spec>>, JoinSet<()>) {
    let mut following = JoinSet::new();
    if share == Share::WHOLE {
        return (all, following);
    }
    let first = all.borrow_and_update().divided(share);
    let (sender, receiver) = watch::channel(Arc::new(first));
    following.spawn(async move {
        while all.changed().await.is_ok() {
            let spec = all.borrow_and_update().clone();
            sender.send_replace(Arc::new(spec.divided(share)));
        }
        // Whoever follows takes an end for the end of all.
        std::future::pending::<()>().await;
    });
    (receiver, following)
}

async fn pause(end: &CancellationToken) {
    tokio::select! {
        () = end.cancelled() => {}
        () = tokio::time::sleep(PAUSE) => {}
    }
}

/// Turns that have begun, or are about to.
pub(crate) struct Begun {
    lead: Arc<Lead>,
    how: How,
}

enum How {
    /// The only process has the only share.
    Alone(Box<Turn>),
    /// One of several, under a name of its own.
    Shared { name: String },
}

impl Begun {
    /// Takes turns until the process is to end.
    pub(crate) async fn run(self) {
        match self.how {
            How::Alone(turn) => {
                Box::pin(self.lead.run_turn(*turn)).await;
                // What a store of one's own loses is no longer there to be taken again.
                self.lead.have(Share::WHOLE, self.lead.stop.clone()).await;
            }
            How::Shared { name } => Sharing { lead: self.lead, name, held: BTreeMap::new() }.run().await,
        }
    }
}

/// The shares of one process among several.
struct Sharing {
    lead: Arc<Lead>,
    name: String,
    /// What ends each share that this process has or waits for, and the task that sees to it.
    held: BTreeMap<Share, (CancellationToken, Id)>,
}

impl Sharing {
    async fn run(mut self) {
        let stop = self.lead.stop.clone();
        let store = self.lead.parts.store.clone();
        let mut tasks = JoinSet::new();
        while !stop.is_cancelled() {
            let candidacy = tokio::select! {
                () = stop.cancelled() => break,
                candidacy = self.candidacy(&store) => candidacy,
            };
            let ended = match candidacy {
                Ok(candidacy) => self.follow(&candidacy, &mut tasks).await,
                Err(error) => Err(error),
            };
            match ended {
                // The others have divided the work without this process.
                Ok(()) => self.end_all(),
                Err(error) if error.disposition() == Disposition::Fatal => {
                    tracing::error!(%error, "the store is broken");
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "the store cannot be asked who promotes; trying again");
                    pause(&stop).await;
                }
            }
        }
        self.end_all();
        while tasks.join_next().await.is_some() {}
    }

    /// Waits until no other process has this one's name.
    async fn candidacy(&self, store: &Store) -> Result<Lease, StoreError> {
        if store.leases(&self.name).await?.contains(&self.name) {
            let name = self.name.trim_start_matches(CANDIDATE);
            tracing::warn!(
                name,
                "another process has the name of this one (--queue-member), or had it until a moment ago; waiting for it"
            );
        }
        store.lease(&self.name).await
    }

    /// Takes and gives up shares as other processes come and go; answers when this one is a candidate no longer.
    async fn follow(&mut self, candidacy: &Lease, tasks: &mut JoinSet<()>) -> Result<(), StoreError> {
        let store = self.lead.parts.store.clone();
        let mut changed = store.leases_changed();
        loop {
            changed.mark_unchanged();
            let candidates = store.leases(CANDIDATE).await?;
            for (share, holder) in Share::holders(SHARES, &candidates) {
                self.want(share, holder == self.name, tasks);
            }
            tokio::select! {
                () = self.lead.stop.cancelled() => return Ok(()),
                lost = candidacy.lost() => return lost,
                _ = changed.changed() => {}
                Some(ended) = tasks.join_next_with_id() => self.forget(ended),
            }
        }
    }

    fn end_all(&self) {
        for (end, _) in self.held.values() {
            end.cancel();
        }
    }

    fn want(&mut self, share: Share, is_ours: bool, tasks: &mut JoinSet<()>) {
        match self.held.get(&share) {
            None if is_ours => {
                let end = self.lead.stop.child_token();
                let (lead, until) = (self.lead.clone(), end.clone());
                let task = tasks.spawn(async move { lead.have(share, until).await });
                self.held.insert(share, (end, task.id()));
            }
            // It is forgotten when its task has ended; one that is wanted again meanwhile begins then.
            Some((end, _)) if !is_ours && !end.is_cancelled() => {
                tracing::info!(%share, "another process takes over a share of the work");
                end.cancel();
            }
            None | Some(_) => {}
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let task = match ended {
            Ok((task, ())) => task,
            // What it held would stay with this process: that ends, as one without a shared queue does.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => error.id(),
        };
        self.held.retain(|_, (_, held)| *held != task);
    }
}
