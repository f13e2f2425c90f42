//! One lane at work: takes a batch, repeats rounds until the branch holds still, and answers each request.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use windlass_git::{AheadCommit, CommitId, GitError, Limits, Mirror, Remote, Retry};
use windlass_model::ObjectKey;

use crate::access;
use crate::adopted::Adopted;
use crate::agreements::Agreements;
use crate::board::Severity;
use crate::history::History;
use crate::lanes::{self, LaneFailure, LaneKey, Request, Standing, Target};
use crate::markers::MarkerIndex;
use crate::metrics::PushResult;
use crate::plan::{BranchPlan, Tracks};
use crate::rebuild::Apart;
use crate::shared::Shared;

/// Races lost in a row before the work goes back to the queue, which tries again with backoff.
const MAX_RACES: u32 = 30;
/// The longest pause after each lost race, in milliseconds; the last counts for all further ones. The first repetitions
/// come soon, for most races are with one other writer. Whoever still loses is among many and steps back; whoever lost
/// more often than that goes first, so that none waits for ever while others that came later land.
const RACE_PAUSES: [u64; 8] = [0, 100, 400, 1_600, 1_200, 800, 400, 100];
/// A lane that has not pushed yet waits this long for what is on its way: about what a push to a near server takes.
const FIRST_PUSH: Duration = Duration::from_millis(50);

/// A lane's state between pushes.
pub(crate) struct Lane {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: LaneKey,
    pub(crate) index: MarkerIndex,
    /// Whether intents of earlier pushes may be waiting to be settled.
    pub(crate) unsettled: bool,
    /// Where the branch was last seen.
    pub(crate) tip: Option<CommitId>,
    /// Nobody else moved the branch before it was last seen: the next round may start from `tip` without a look.
    pub(crate) quiet: bool,
    /// What each automation and its policies agreed upon; loaded from the ledger on the first use.
    pub(crate) agreements: BTreeMap<ObjectKey, Agreements>,
    /// What each automation had written where the ledger knew nothing of it on the first use, until a person lifts its
    /// holds.
    pub(crate) histories: BTreeMap<ObjectKey, Option<Arc<History>>>,
    /// The commits up to one, while a batch is worked on.
    pub(crate) recent: Option<(CommitId, Arc<[AheadCommit]>)>,
    /// Automations whose last commit is on the branch, but perhaps not on the further ref of their refspec.
    pub(crate) behind: BTreeSet<ObjectKey>,
    /// How the push branch stood to the checkout branch, for a pair of their tips.
    pub(crate) apart: Option<((CommitId, CommitId), Apart)>,
    /// How long the last push took.
    pub(crate) push_time: Duration,
    /// How many images are on their way here.
    approaching: watch::Receiver<usize>,
    connection: Option<Connection>,
    pause: Option<Pause>,
}

/// The Git server asked to be left alone. Another configuration may mean another server, so it ends the pause.
struct Pause {
    until: Instant,
    failure: LaneFailure,
    spec: Arc<Adopted>,
}

/// What a batch asks for.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) spec: &'a Arc<Adopted>,
    /// In the order in which they commit.
    pub(crate) targets: &'a [Target],
}

/// The mirror, and what it was connected by: a changed secret connects anew.
struct Connection {
    spec: Arc<Adopted>,
    mirror: Mirror,
}

/// How one automation of a batch ended.
pub(crate) type Answers = BTreeMap<ObjectKey, Result<(), LaneFailure>>;

/// What one round came to.
pub(crate) enum Round {
    /// Every automation has an answer.
    Settled(Answers),
    /// Somebody else moved the branch while the round ran.
    Raced,
    /// The branch has to be looked at: it was moved since it was last seen, or there is nothing to push, so that nothing
    /// has shown where it is.
    Unseen,
    /// The server refused the push, or nobody knows what became of it.
    Refused(LaneFailure),
}

impl Lane {
    /// A lane that has not connected yet.
    pub(crate) fn new(shared: Arc<Shared>, key: LaneKey) -> Self {
        let index = MarkerIndex::default();
        let approaching = shared.lanes.approaches.to(&key);
        Self {
            shared,
            key,
            index,
            unsettled: true,
            tip: None,
            quiet: false,
            agreements: BTreeMap::new(),
            histories: BTreeMap::new(),
            recent: None,
            behind: BTreeSet::new(),
            apart: None,
            push_time: FIRST_PUSH,
            approaching,
            connection: None,
            pause: None,
        }
    }

    /// Waits for the images that are on their way, at most as long as a push takes: one that comes just too late for a
    /// push would wait as long. Where none is on its way, nothing waits.
    pub(crate) async fn gather(
        &mut self,
        batch: &mut Vec<Request>,
        requests: &mut mpsc::UnboundedReceiver<Request>,
    ) {
        let push_time = tokio::time::sleep(self.push_time);
        tokio::pin!(push_time);
        while *self.approaching.borrow_and_update() > 0 {
            tokio::select! {
                () = self.shared.cancel.cancelled() => break,
                () = &mut push_time => break,
                changed = self.approaching.changed() => if changed.is_err() { break },
            }
        }
        while let Ok(request) = requests.try_recv() {
            batch.push(request);
        }
    }

    /// Brings every automation of the batch up to date, and answers each request.
    pub(crate) async fn land(&mut self, batch: Vec<Request>) {
        let spec = self.shared.spec();
        let asked: BTreeSet<&ObjectKey> = batch.iter().map(|request| &request.automation).collect();
        // A configuration that changed while the request waited may have suspended the automation, or moved it to
        // another lane.
        let mine = |automation: &ObjectKey| match Target::resolve(&spec, automation) {
            Standing::Active(target) if target.lane() == self.key => Some(target),
            Standing::Active(_) | Standing::Idle => None,
        };
        let mut targets: Vec<Target> = asked.iter().copied().filter_map(mine).collect();
        // A push has one set of options and of further refs. Within it, the order stays.
        targets.sort_by(|a, b| a.delivery().cmp(&b.delivery()));
        for automation in asked.into_iter().filter(|automation| self.shared.lanes.takes_resumed(automation)) {
            self.agreements.remove(automation);
            self.histories.insert(automation.clone(), None);
        }
        let mut answers = Answers::new();
        for targets in targets.chunk_by(|a, b| a.delivery() == b.delivery()) {
            answers.extend(self.land_all(Job { spec: &spec, targets }).await);
        }
        self.recent = None;
        for target in &targets {
            let automation = &target.automation.meta.key;
            if let Some(Err(failure)) = answers.get(automation) {
                let object = lanes::object(automation);
                self.shared.lanes.forget_written(automation);
                self.shared.failing(&object, failure.reason.clone(), failure.severity).await;
            }
        }
        for request in batch {
            let answer = answers.get(&request.automation).cloned().unwrap_or_else(|| Err(moved_away()));
            // Nobody waits for the answer of a task that was ended.
            drop(request.reply.send(answer));
        }
    }

    /// Tidies the mirror up. Called when nothing waits.
    pub(crate) async fn maintain(&mut self) {
        let (Some(connection), Some(tip)) = (&mut self.connection, self.tip) else { return };
        match connection.mirror.maintain(&self.key.branch, tip).await {
            Ok(true) => tracing::debug!(source = %self.key.source, "a mirror with many packs was renewed"),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "a mirror could not be renewed; the next fetch tries again");
            }
        }
    }

    /// All together first; where the server refuses the push, one by one, so that one bad automation does not stop
    /// the others.
    async fn land_all(&mut self, job: Job<'_>) -> Answers {
        if let Some(failure) = self.paused(job.spec) {
            return all(job.targets, &failure);
        }
        match self.land_some(job).await {
            Ok(answers) => answers,
            Err(failure) if job.targets.len() == 1 || failure.severity == Severity::Passing => {
                self.pause = failure.pause.map(|pause| Pause {
                    until: Instant::now() + pause,
                    failure: failure.clone(),
                    spec: job.spec.clone(),
                });
                all(job.targets, &failure)
            }
            Err(_) => {
                let mut answers = Answers::new();
                for target in job.targets {
                    let alone = Job { targets: std::slice::from_ref(target), ..job };
                    let landed = self.land_some(alone).await;
                    answers.extend(landed.unwrap_or_else(|failure| all(alone.targets, &failure)));
                }
                answers
            }
        }
    }

    /// Why the server is not asked at present.
    fn paused(&self, spec: &Arc<Adopted>) -> Option<LaneFailure> {
        let pause = self.pause.as_ref().filter(|pause| Arc::ptr_eq(&pause.spec, spec))?;
        let left = pause.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        Some(LaneFailure { pause: Some(left), ..pause.failure.clone() })
    }

    /// Rounds until the branch holds still.
    async fn land_some(&mut self, job: Job<'_>) -> Result<Answers, LaneFailure> {
        for race in 0..MAX_RACES {
            match self.round(job).await {
                Ok(Round::Settled(answers)) => return Ok(answers),
                Ok(Round::Refused(failure)) => return Err(failure),
                Ok(Round::Unseen) => {}
                Ok(Round::Raced) => {
                    tracing::info!(source = %self.key.source, branch = %self.key.branch, race, "the branch moved; starting again");
                    tokio::time::sleep(self.race_pause(race)).await;
                }
                Err(error) => {
                    self.shared.metrics.push(PushResult::Failed);
                    return Err(git_failure(&error));
                }
            }
        }
        let reason = format!("branch {} was moved by others {MAX_RACES} times in a row", self.key.branch);
        Err(LaneFailure::passing(reason))
    }

    /// Somewhere between nothing and a bound: writers that lost to each other must not return together. What spreads them
    /// is the lane and the instant, which two processes do not share.
    fn race_pause(&self, race: u32) -> Duration {
        let place = usize::try_from(race).unwrap_or(usize::MAX).min(RACE_PAUSES.len() - 1);
        let bound = Duration::from_millis(RACE_PAUSES[place]);
        let mut hasher = DefaultHasher::new();
        (self.lane_id(), self.shared.mirrors.as_path(), self.shared.now().as_nanosecond()).hash(&mut hasher);
        bound.mul_f64(
            f64::from(u16::try_from(hasher.finish() >> 48).unwrap_or(u16::MAX)) / f64::from(u16::MAX),
        )
    }

    async fn round(&mut self, job: Job<'_>) -> Result<Round, GitError> {
        let Some(first) = job.targets.first() else { return Ok(Round::Settled(Answers::new())) };
        let mut connection = match self.connect(job.spec, first).await {
            Ok(connection) => connection,
            Err(Connect::Config(reason)) => {
                return Ok(Round::Refused(LaneFailure::lasting(reason)));
            }
            Err(Connect::Git(error)) => return Err(error),
        };
        let result = self.round_on(job, &mut connection.mirror).await;
        self.connection = Some(connection);
        result
    }

    /// As a round, up to the prepared commits and no further.
    pub(crate) async fn plan(
        &mut self,
        job: Job<'_>,
        branch: &mut BranchPlan,
    ) -> Result<Tracks, LaneFailure> {
        let Some(first) = job.targets.first() else { return Ok(Tracks::new()) };
        let connection = self.connect(job.spec, first).await.map_err(|error| match error {
            Connect::Config(reason) => LaneFailure::lasting(reason),
            Connect::Git(error) => git_failure(&error),
        });
        let mut connection = connection?;
        let result = self.plan_on(job, &mut connection.mirror, branch).await;
        self.connection = Some(connection);
        result
    }

    /// Connects, or connects anew where the repository or the configuration changed.
    async fn connect(&mut self, spec: &Arc<Adopted>, target: &Target) -> Result<Connection, Connect> {
        if let Some(connection) = self.connection.take() {
            if Arc::ptr_eq(&connection.spec, spec) {
                return Ok(connection);
            }
            drop(connection);
        }
        self.apart = None;
        self.quiet = false;
        let config = access::git(spec, &target.source, &self.shared.clock).map_err(Connect::Config)?;
        let remote =
            Remote::pooled(config, &self.shared.git_clients).map_err(|error| Connect::Git(error.into()))?;
        let mirror = Mirror::open(&self.folder(&target.source.url), remote, Limits::default())
            .await
            .map_err(Connect::Git)?;
        Ok(Connection { spec: spec.clone(), mirror })
    }

    /// A lane's own mirror: the URL is part of the name, so another repository never meets an old mirror.
    fn folder(&self, url: &str) -> PathBuf {
        let name = hex::encode(&Sha256::digest(format!("{} {url}", self.lane_id()))[..12]);
        self.shared.mirrors.join(name)
    }

    pub(crate) fn lane_id(&self) -> String {
        format!("{}@{}", self.key.source, self.key.branch)
    }
}

/// Why there is no connection.
enum Connect {
    Config(String),
    Git(GitError),
}

pub(crate) fn all(targets: &[Target], failure: &LaneFailure) -> Answers {
    targets.iter().map(|target| (target.automation.meta.key.clone(), Err(failure.clone()))).collect()
}

pub(crate) fn git_failure(error: &GitError) -> LaneFailure {
    let reason = describe(error);
    match error.retry() {
        Retry::Now | Retry::Backoff => LaneFailure::passing(reason),
        Retry::After(pause) => LaneFailure { pause: Some(pause), ..LaneFailure::passing(reason) },
        Retry::OnChange => LaneFailure::lasting(reason),
    }
}

fn moved_away() -> LaneFailure {
    LaneFailure::passing("the configuration changed meanwhile".to_owned())
}

/// The error with its causes, each once.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
