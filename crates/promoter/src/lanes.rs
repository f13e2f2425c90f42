//! Lanes: one writer for each (repository, branch). What arrives while a push is in flight goes together into the
//! next one; nothing waits for a timer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_model::checkout::Checkout;
use windlass_model::resource::{GitRepository, ImagePolicy, ImageUpdateAutomation, Resource};
use windlass_model::{ImageRef, Kind, ObjectKey, ObjectRef};
use windlass_policy::lock::Track;

use crate::adopted::Adopted;
use crate::approach::Approaches;
use crate::board::Severity;
use crate::lane::Lane;
use crate::shared::Shared;

/// Every lane, and what each automation is known to have written.
#[derive(Debug)]
pub(crate) struct Lanes {
    senders: Mutex<HashMap<LaneKey, mpsc::UnboundedSender<Request>>>,
    written: Mutex<HashMap<ObjectKey, Written>>,
    resumed: Mutex<HashSet<ObjectKey>>,
    pub(crate) approaches: Approaches,
    tasks: TaskTracker,
    cancel: CancellationToken,
    closed: bool,
}

/// What an automation's places hold, or refuse with a diagnostic: the choice for each track, or that there is none.
pub(crate) type Written = BTreeMap<Track, Option<ImageRef>>;

/// What a lane belongs to. The GitRepository is part of it, so that one tenant's credentials never push for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LaneKey {
    /// The GitRepository.
    pub(crate) source: ObjectKey,
    /// The branch that is written.
    pub(crate) branch: String,
}

/// One automation to bring up to date.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) automation: ObjectKey,
    pub(crate) reply: oneshot::Sender<Result<(), LaneFailure>>,
}

/// What becomes of a request; nothing is to be done where there is no receiver.
#[derive(Debug)]
#[must_use = "only the answer says whether the commit landed"]
pub(crate) struct Answer(Option<(oneshot::Receiver<Result<(), LaneFailure>>, CancellationToken)>);

/// Why an automation could not be brought up to date.
#[derive(Debug, Clone)]
pub(crate) struct LaneFailure {
    pub(crate) reason: String,
    pub(crate) severity: Severity,
    /// How long the other side asked to be left alone.
    pub(crate) pause: Option<Duration>,
}

impl LaneFailure {
    /// It may pass by itself.
    pub(crate) fn passing(reason: String) -> Self {
        Self { reason, severity: Severity::Passing, pause: None }
    }

    /// Somebody has to act.
    pub(crate) fn lasting(reason: String) -> Self {
        Self { reason, severity: Severity::Lasting, pause: None }
    }
}

/// An automation with everything that it refers to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) automation: Arc<ImageUpdateAutomation>,
    pub(crate) source: Arc<GitRepository>,
    pub(crate) checkout: Checkout,
    pub(crate) push: String,
}

/// How an automation's commits are pushed, beside their branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Delivery<'a> {
    /// Where a push branch starts.
    pub(crate) checkout: &'a Checkout,
    /// A further ref that gets the commits, in full.
    pub(crate) also: Option<&'a str>,
    /// Push options.
    pub(crate) options: &'a [String],
}

/// What a configuration has to say of an automation.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It is to be brought up to date.
    Active(Target),
    /// It is removed, suspended or not ready, or its GitRepository is: there is nothing to do. The board shows which,
    /// and a change of it brings a signal of its own.
    Idle,
}

impl Target {
    /// Resolves an automation's references.
    pub(crate) fn resolve(spec: &Adopted, automation: &ObjectKey) -> Standing {
        let active = |object: &ObjectRef, suspended: bool| !suspended && spec.why_not_ready(object).is_none();
        let Some(automation) = spec.automations.get(automation) else { return Standing::Idle };
        let Some(source) = spec.git_repositories.get(&automation.source) else { return Standing::Idle };
        if !active(&automation.object_ref(), automation.suspend)
            || !active(&source.object_ref(), source.suspend)
        {
            return Standing::Idle;
        }
        let checkout = automation.checkout_of(source);
        // Without it, the automation is not ready.
        let Some(push) = automation.push_branch_of(source) else { return Standing::Idle };
        Standing::Active(Self { automation: automation.clone(), source: source.clone(), checkout, push })
    }

    /// What must be equal for commits to go in one push.
    pub(crate) fn delivery(&self) -> Delivery<'_> {
        let refspec = self.automation.push_refspec.as_ref();
        Delivery {
            checkout: &self.checkout,
            also: refspec.map(|refspec| refspec.destination.as_str()),
            options: &self.automation.push_options,
        }
    }

    /// The lane that writes it.
    pub(crate) fn lane(&self) -> LaneKey {
        LaneKey { source: self.source.meta.key.clone(), branch: self.push.clone() }
    }
}

impl Lanes {
    /// No lane yet; each starts with its first request and ends with `cancel`.
    pub(crate) fn new(cancel: CancellationToken) -> Self {
        Self {
            senders: Mutex::default(),
            written: Mutex::default(),
            resumed: Mutex::default(),
            approaches: Approaches::default(),
            tasks: TaskTracker::new(),
            cancel,
            closed: false,
        }
    }

    /// Lanes that take no request: nothing is ever written. A plan drafts by itself.
    pub(crate) fn closed(cancel: CancellationToken) -> Self {
        Self { closed: true, ..Self::new(cancel) }
    }

    /// Asks for an automation to be brought up to date. The request is with the lane when this returns.
    pub(crate) fn request(&self, shared: &Arc<Shared>, automation: ObjectKey) -> Answer {
        let Standing::Active(target) = Target::resolve(&shared.spec(), &automation) else {
            return Answer(None);
        };
        if self.closed {
            return Answer(None);
        }
        let (reply, answer) = oneshot::channel();
        self.send(shared, target.lane(), Request { automation, reply });
        Answer(Some((answer, self.cancel.clone())))
    }

    /// The lanes that bring these automations up to date.
    pub(crate) fn of(spec: &Adopted, automations: impl Iterator<Item = ObjectKey>) -> HashSet<LaneKey> {
        let lane = |automation: ObjectKey| match Target::resolve(spec, &automation) {
            Standing::Active(target) => Some(target.lane()),
            Standing::Idle => None,
        };
        automations.filter_map(lane).collect()
    }

    /// Whether the automation has already brought these choices of the policy to Git, in this process. Of a policy with
    /// a variant lock, only the variants that its places have matter.
    pub(crate) fn has_written(
        &self,
        automation: &ObjectKey,
        policy: &ImagePolicy,
        chosen: &BTreeMap<Track, ImageRef>,
    ) -> bool {
        let key = &policy.meta.key;
        match self.written().get(automation) {
            None => false,
            Some(written) if policy.variant_lock => {
                tracks_of(written, key).all(|(track, image)| chosen.get(track) == image.as_ref())
            }
            Some(written) => {
                let only = Track::only(key);
                written.get(&only).is_some_and(|image| image.as_ref() == chosen.get(&only))
            }
        }
    }

    /// The variants of a policy with a variant lock that stand in Git; nothing where one of these automations, which
    /// write it, was not brought up to date yet.
    pub(crate) fn standing(
        &self,
        automations: impl Iterator<Item = ObjectKey>,
        policy: &ObjectKey,
    ) -> Option<BTreeSet<Box<str>>> {
        let written = self.written();
        let mut standing = BTreeSet::new();
        for automation in automations {
            standing
                .extend(tracks_of(written.get(&automation)?, policy).map(|(track, _)| track.variant.clone()));
        }
        Some(standing)
    }

    /// The automation's places hold these choices, or refuse them with a diagnostic.
    pub(crate) fn set_written(&self, automation: &ObjectKey, choices: Written) {
        self.written().insert(automation.clone(), choices);
    }

    /// A person lifted holds of this automation: its agreements are to be read again.
    pub(crate) fn resume(&self, automation: &ObjectKey) {
        self.resumed().insert(automation.clone());
    }

    /// Whether a person lifted holds since the last time that this was asked.
    pub(crate) fn takes_resumed(&self, automation: &ObjectKey) -> bool {
        self.resumed().remove(automation)
    }

    fn resumed(&self) -> MutexGuard<'_, HashSet<ObjectKey>> {
        self.resumed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody knows what the branch holds of this automation.
    pub(crate) fn forget_written(&self, automation: &ObjectKey) {
        self.written().remove(automation);
    }

    /// The configuration changed: what was written counts no longer, and lanes that nothing writes to end.
    pub(crate) fn reconfigure(&self, spec: &Adopted) {
        self.written().clear();
        let used = Self::of(spec, spec.automations.keys().cloned());
        self.senders().retain(|lane, _| used.contains(lane));
        self.approaches.retain(&used);
    }

    /// Waits until every lane has finished what it was doing. Call it after cancelling.
    pub(crate) async fn drained(&self) {
        self.senders().clear();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn send(&self, shared: &Arc<Shared>, key: LaneKey, request: Request) {
        let mut senders = self.senders();
        if senders.get(&key).is_some_and(mpsc::UnboundedSender::is_closed) && !self.cancel.is_cancelled() {
            tracing::error!(source = %key.source, branch = %key.branch, "a lane panicked and starts anew; please report this");
            senders.remove(&key);
        }
        let sender = senders.entry(key.clone()).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            self.tasks.spawn(drive(Lane::new(shared.clone(), key), receiver, self.cancel.clone()));
            sender
        });
        // Should the lane end just now, the request's reply is dropped, which its sender sees.
        drop(sender.send(request));
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<LaneKey, mpsc::UnboundedSender<Request>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, HashMap<ObjectKey, Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    /// Waits until the automation's commit landed, or until it is known that none was needed.
    pub(crate) async fn wait(self) -> Result<(), LaneFailure> {
        let Self(Some((answer, cancel))) = self else { return Ok(()) };
        let ended =
            || if cancel.is_cancelled() { "the process is shutting down" } else { "the lane panicked" };
        answer.await.unwrap_or_else(|_| Err(LaneFailure::passing(ended().to_owned())))
    }
}

/// Takes whatever waits, and what is about to arrive, writes it in one go, answers, and starts again. A batch that has
/// begun is finished even when the process is asked to stop.
async fn drive(mut lane: Lane, mut requests: mpsc::UnboundedReceiver<Request>, cancel: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        let received = tokio::select! {
            biased;
            () = cancel.cancelled() => 0,
            received = requests.recv_many(&mut batch, usize::MAX) => received,
        };
        if received == 0 {
            return;
        }
        lane.gather(&mut batch, &mut requests).await;
        lane.land(std::mem::take(&mut batch)).await;
        if requests.is_empty() && !cancel.is_cancelled() {
            lane.maintain().await;
        }
    }
}

fn tracks_of<'w>(
    written: &'w Written,
    policy: &'w ObjectKey,
) -> impl Iterator<Item = (&'w Track, &'w Option<ImageRef>)> {
    written.range(Track::only(policy)..).take_while(move |(track, _)| track.policy == *policy)
}

/// The board's key of an automation.
pub(crate) fn object(automation: &ObjectKey) -> ObjectRef {
    ObjectRef::new(Kind::ImageUpdateAutomation, automation.clone())
}

#[cfg(test)]
mod tests;
