//! Lanes: one writer for each (repository, branch). What arrives while a push is in flight goes together into the
//! next one; nothing waits for a timer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_model::resource::{GitRepository, ImageUpdateAutomation, Resource};
use windlass_model::{ImageRef, Kind, ObjectKey, ObjectRef, Spec};

use crate::board::Severity;
use crate::lane::Lane;
use crate::work::Shared;

/// Flux's branch where neither the automation nor the GitRepository names one (image-automation-controller 1.2).
const DEFAULT_BRANCH: &str = "master";

/// Every lane, and what each automation is known to have written.
#[derive(Debug)]
pub(crate) struct Lanes {
    senders: Mutex<HashMap<LaneKey, mpsc::UnboundedSender<Request>>>,
    written: Mutex<HashMap<ObjectKey, BTreeMap<ObjectKey, ImageRef>>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

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
    pub(crate) causes: Vec<Cause>,
    pub(crate) reply: oneshot::Sender<Result<(), LaneFailure>>,
}

/// Why an automation is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    /// The policy whose choice changed.
    pub(crate) policy: ObjectKey,
    /// The event that brought it.
    pub(crate) event: Option<String>,
    /// When the event that named the chosen tag was accepted; the start of event → commit.
    pub(crate) pushed_at: Option<Timestamp>,
}

/// Why an automation could not be brought up to date.
#[derive(Debug, Clone)]
pub(crate) struct LaneFailure {
    pub(crate) reason: String,
    pub(crate) severity: Severity,
}

/// An automation with everything that it refers to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) automation: Arc<ImageUpdateAutomation>,
    pub(crate) source: Arc<GitRepository>,
    pub(crate) checkout: String,
    pub(crate) push: String,
}

impl Target {
    /// Resolves an automation's references.
    ///
    /// # Errors
    /// Which reference is dangling.
    pub(crate) fn resolve(spec: &Spec, automation: &Arc<ImageUpdateAutomation>) -> Result<Self, String> {
        let key = &automation.source;
        let source =
            spec.git_repositories.get(key).ok_or_else(|| format!("GitRepository {key} does not exist"))?;
        let checkout = automation.checkout_branch.as_ref().or(source.branch.as_ref());
        let checkout = checkout.map_or(DEFAULT_BRANCH, String::as_str).to_owned();
        let push = automation.push_branch.clone().unwrap_or_else(|| checkout.clone());
        Ok(Self { automation: automation.clone(), source: source.clone(), checkout, push })
    }

    /// The lane that writes it.
    pub(crate) fn lane(&self) -> LaneKey {
        LaneKey { source: self.source.meta.key.clone(), branch: self.push.clone() }
    }
}

impl Lanes {
    /// No lane yet; each starts with its first request and ends with `cancel`.
    pub(crate) fn new(cancel: CancellationToken) -> Self {
        Self { senders: Mutex::default(), written: Mutex::default(), tasks: TaskTracker::new(), cancel }
    }

    /// Brings an automation up to date; returns when its commit landed, or when none was needed.
    pub(crate) async fn write(
        &self,
        shared: &Arc<Shared>,
        automation: ObjectKey,
        causes: Vec<Cause>,
    ) -> Result<(), LaneFailure> {
        let spec = shared.spec();
        let Some(resource) = spec.automations.get(&automation) else { return Ok(()) };
        let object = resource.object_ref();
        if resource.suspend || shared.not_ready(&object) {
            return Ok(());
        }
        let target = match Target::resolve(&spec, resource) {
            Ok(target) if target.source.suspend => return Ok(()),
            Ok(target) if shared.not_ready(&target.source.object_ref()) => {
                let reason = format!("GitRepository {} is not ready", target.source.meta.key);
                shared.failing(&object, reason.clone(), Severity::Lasting).await;
                return Err(LaneFailure { reason, severity: Severity::Lasting });
            }
            Ok(target) => target,
            Err(reason) => {
                shared.failing(&object, reason.clone(), Severity::Lasting).await;
                return Err(LaneFailure { reason, severity: Severity::Lasting });
            }
        };
        let (reply, answer) = oneshot::channel();
        self.send(shared, target.lane(), Request { automation, causes, reply });
        answer.await.unwrap_or_else(|_| {
            Err(LaneFailure {
                reason: "the process is shutting down".to_owned(),
                severity: Severity::Passing,
            })
        })
    }

    /// Whether the automation has already brought this choice of the policy to Git, in this process.
    pub(crate) fn has_written(&self, automation: &ObjectKey, policy: &ObjectKey, image: &ImageRef) -> bool {
        self.written().get(automation).and_then(|policies| policies.get(policy)) == Some(image)
    }

    /// The automation's places hold these choices, or refuse them with a diagnostic.
    pub(crate) fn set_written(&self, automation: &ObjectKey, choices: BTreeMap<ObjectKey, ImageRef>) {
        self.written().insert(automation.clone(), choices);
    }

    /// The configuration changed: what was written counts no longer, and lanes of removed repositories end.
    pub(crate) fn reconfigure(&self, spec: &Spec) {
        self.written().clear();
        self.senders().retain(|lane, _| spec.git_repositories.contains_key(&lane.source));
    }

    /// Waits until every lane has finished what it was doing. Call it after cancelling.
    pub(crate) async fn drained(&self) {
        self.senders().clear();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn send(&self, shared: &Arc<Shared>, key: LaneKey, request: Request) {
        let mut senders = self.senders();
        let sender = senders.entry(key.clone()).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            self.tasks.spawn(drive(Lane::new(shared.clone(), key), receiver, self.cancel.clone()));
            sender
        });
        // A lane ends only on shutdown; the request's reply is then dropped, which its sender sees.
        drop(sender.send(request));
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<LaneKey, mpsc::UnboundedSender<Request>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, HashMap<ObjectKey, BTreeMap<ObjectKey, ImageRef>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes whatever waits, writes it in one go, answers, and starts again. A batch that has begun is finished even when
/// the process is asked to stop.
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
        lane.land(std::mem::take(&mut batch)).await;
        if requests.is_empty() {
            lane.maintain().await;
        }
    }
}

/// The board's key of an automation.
pub(crate) fn object(automation: &ObjectKey) -> ObjectRef {
    ObjectRef::new(Kind::ImageUpdateAutomation, automation.clone())
}
