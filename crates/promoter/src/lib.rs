//! The promoter: observes registries and Git, lets `policy` decide, and executes the plan.
//!
//! It owns the dispatcher, the lanes and the outbox's delivery. It never decides what is chosen or written: that is
//! `policy`'s; and it never receives from the outside: that is the watcher's. Everything reaches it through the queue.

mod access;
mod adopted;
mod agreements;
mod approach;
mod board;
mod checkouts;
mod choices;
mod commit_text;
mod deliver;
mod draft;
mod electing;
mod file_edit;
mod guards;
mod history;
mod images;
mod known;
mod landing;
mod lane;
mod lanes;
mod look;
mod markers;
mod metrics;
mod notices;
mod outbox;
mod plan;
mod rebuild;
mod round;
mod rules;
mod settle;
mod shared;
mod sightings;
mod signing;
#[cfg(test)]
mod testing;
mod trail;
mod wanted;
mod work;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_git::ClientPool;
use windlass_model::resource::Resource;
use windlass_model::signal::RescanReason;
use windlass_model::status::ObjectStatus;
use windlass_model::{Clock, Hint, Kind, ObjectRef, Signal, Spec};
use windlass_notify::Sender;
use windlass_policy::lock::Track;
use windlass_registry::Pool;
use windlass_store::{Health, Store, StoreError};
use windlass_tuf::Roots;
use windlass_verify::Verifier;

use crate::board::Board;
use crate::lanes::Lanes;
use crate::shared::Shared;

pub use crate::metrics::Metrics;
pub use crate::plan::{BranchPlan, CommitPlan, FilePlan, Plan, WaitingPlan, plan};
pub use crate::signing::signing_problems;

/// What a promoter is made of. Cheap to clone: a process that shares a queue starts a promoter for each of its turns.
#[derive(Clone)]
pub struct Parts {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The queue, ledger and outbox.
    pub store: Store,
    /// The registries.
    pub pool: Pool,
    /// The chat services and webhooks.
    pub sender: Sender,
    /// Registered metrics.
    pub metrics: Metrics,
    /// The configuration and its changes, or the share of it that is worked on.
    pub spec: watch::Receiver<Arc<Spec>>,
    /// The trust roots that are fetched, and their changes.
    pub roots: watch::Receiver<Arc<Roots>>,
    /// The folder of the Git mirrors.
    pub mirrors: PathBuf,
    /// What is shared by the connections to Git servers.
    pub git_clients: ClientPool,
}

/// The promoter. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct Promoter {
    shared: Arc<Shared>,
}

impl Promoter {
    /// Takes up where the last process ended: known choices and told failures come from the ledger.
    pub async fn start(parts: Parts, cancel: CancellationToken) -> Result<Self, StoreError> {
        Self::start_with(parts, Lanes::new(cancel.clone()), cancel).await
    }

    async fn start_with(parts: Parts, lanes: Lanes, cancel: CancellationToken) -> Result<Self, StoreError> {
        let Parts { clock, store, pool, sender, metrics, spec, roots, mirrors, git_clients } = parts;
        let shared = Arc::new(Shared {
            clock,
            store,
            pool,
            git_clients,
            sender,
            metrics,
            offered: spec,
            roots,
            adopted: RwLock::default(),
            lanes,
            cancel,
            mirrors,
            board: Board::default(),
            images: images::Images::default(),
            choices: choices::Choices::default(),
            verifier: Verifier::default(),
        });
        let promoter = Self { shared };
        promoter.remember().await?;
        Ok(promoter)
    }

    /// Runs until the token given to [`Self::start`] is cancelled, then finishes what is in flight.
    pub async fn run(&self) {
        let dispatch = work::dispatch(self.shared.clone());
        let deliver = outbox::deliver(self.shared.clone());
        tokio::join!(dispatch, deliver, self.follow_configuration());
        self.shared.lanes.drained().await;
    }

    /// Each resource's state.
    pub fn status(&self) -> Vec<ObjectStatus> {
        self.shared.board.list()
    }

    /// Whether every resource was tried once, whatever came of it.
    pub fn all_tried(&self) -> bool {
        self.shared.board.all_tried()
    }

    /// Adopts each configuration and each trust root even where no work asks for it, tells people of what it broke or
    /// mended, and looks again at everything that waits or fails, since the change may have mended it, and at what
    /// Guards judge by something else now.
    async fn follow_configuration(&self) {
        let shared = &self.shared;
        let (mut offered, mut roots) = (shared.offered.clone(), shared.roots.clone());
        offered.mark_unchanged();
        roots.mark_unchanged();
        let mut before = shared.spec();
        loop {
            for (object, kind, message) in shared.board.news_of_configuration() {
                shared.tell(&object, kind, &message).await;
            }
            tokio::select! {
                () = shared.cancel.cancelled() => return,
                changed = offered.changed() => if changed.is_err() { return },
                changed = roots.changed() => if changed.is_err() { return },
            }
            let spec = shared.spec();
            let mut waiting: BTreeSet<_> = shared.board.not_ready().into_iter().collect();
            waiting.extend(spec.guarded_otherwise_than(&before));
            before = spec.clone();
            let signals =
                waiting.iter().flat_map(|object| signals_for(&spec, object, RescanReason::Configuration));
            let signals: Vec<Signal> = signals.collect();
            let queued = || shared.store.signal(signals.clone(), "configuration");
            if let Err(error) = shared.persist("what a new configuration may have mended", queued).await {
                tracing::error!(%error, "resources that a new configuration may have mended were not queued");
            }
        }
    }

    async fn remember(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let spec = shared.spec();
        let latest = shared.store.load_latest().await?;
        let known = latest.into_iter().filter_map(|entry| {
            let policy = spec.image_policies.get(&entry.policy)?;
            let track = Track { policy: entry.policy, variant: entry.variant.into() };
            if policy.variant_lock {
                shared.choices.stands(&track);
            }
            (policy.variant_lock || track.variant.is_empty()).then_some((track, entry.image))
        });
        shared.choices.remember(known.collect::<Vec<_>>());
        let states = shared.store.load_states().await?;
        let failing = states.into_iter().filter(|state| state.health == Health::Failing);
        shared.board.remember_told(failing.map(|state| state.object));
        for commit in shared.store.load_commits().await? {
            shared.board.remember_commit(&lanes::object(&commit.automation), commit.id, commit.at);
        }
        Ok(())
    }
}

/// The signals that make a resource be looked at now: a policy's go to its repository, a GitRepository's to the
/// automations that write to it. Resources that only others use have none.
pub fn signals_for(spec: &Spec, object: &ObjectRef, reason: RescanReason) -> Vec<Signal> {
    let targets: Vec<ObjectRef> = match object.kind {
        Kind::ImageRepository if spec.image_repositories.contains_key(&object.key) => vec![object.clone()],
        Kind::ImageUpdateAutomation if spec.automations.contains_key(&object.key) => vec![object.clone()],
        Kind::ImagePolicy => {
            let repository = spec.image_policies.get(&object.key).map(|policy| &policy.repository);
            let exists = repository.filter(|repository| spec.image_repositories.contains_key(repository));
            exists.map(images::target).into_iter().collect()
        }
        Kind::GitRepository => {
            let uses = spec.automations.values().filter(|automation| automation.source == object.key);
            uses.map(|automation| automation.object_ref()).collect()
        }
        Kind::Receiver => match spec.receivers.get(&object.key) {
            Some(receiver) => receiver.image_repositories(spec).iter().map(|r| r.object_ref()).collect(),
            None => Vec::new(),
        },
        _ => Vec::new(),
    };
    targets.into_iter().map(|target| Signal { target, hint: Hint::Rescan { reason } }).collect()
}
