//! What a run would commit now: steps 1 and 2 of it, up to the prepared commits and no further.
//!
//! It works on parts of its own (a scratch store and scratch mirrors), so that it may observe, decide and edit with the
//! very code that a run uses. It never pushes, never tells anybody, and its lanes take no requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_git::{CommitId, GitError, Mirror};
use windlass_manifest::diff::unified;
use windlass_model::signal::{Received, RescanReason};
use windlass_model::status::{ObjectStatus, Readiness};
use windlass_model::{Hint, Kind, ObjectKey};
use windlass_policy::lock::Track;
use windlass_store::{StoreError, Work};

use crate::adopted::Adopted;
use crate::draft::Draft;
use crate::lane::{Job, Lane, git_failure};
use crate::lanes::{LaneFailure, LaneKey, Lanes, Standing, Target};
use crate::round::{Drafted, Made};
use crate::shared::Shared;
use crate::{Parts, Promoter, images};

/// Which event stands behind a plan; it never reaches a commit.
const EVENT: &str = "plan";

/// What would be committed now, and what is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Every branch that automations write, in the order of GitRepositories and branches.
    pub branches: Vec<BranchPlan>,
    /// The resources that are not ready, each with the cause.
    pub not_ready: Vec<ObjectStatus>,
}

/// What would happen to one branch: one push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BranchPlan {
    /// The GitRepository: `namespace/name`.
    pub git_repository: String,
    /// Its URL, without credentials.
    pub url: String,
    /// The branch that is written.
    pub branch: String,
    /// The commit that would be built upon; absent where the branch could not be read.
    pub head: Option<String>,
    /// The commits, in their order; none where everything is up to date.
    pub commits: Vec<CommitPlan>,
    /// What is not written although a marker asks for it.
    pub waiting: Vec<WaitingPlan>,
    /// What could not be looked at.
    pub failures: Vec<String>,
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitPlan {
    /// The ImageUpdateAutomation: `namespace/name`.
    pub automation: String,
    /// `name <address>`
    pub author: String,
    /// The whole message. A run adds a `Windlass-Event` for each event that it knows of.
    pub message: String,
    /// The changed files, in their order.
    pub files: Vec<FilePlan>,
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilePlan {
    /// Relative to the repository's root.
    pub path: String,
    /// The unified diff.
    pub diff: String,
}

/// What one automation does not write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingPlan {
    /// The ImageUpdateAutomation: `namespace/name`.
    pub automation: String,
    /// Each with file, line and cause.
    pub places: Vec<String>,
}

impl Plan {
    /// Whether a run would change anything.
    pub fn changes(&self) -> bool {
        self.branches.iter().any(|branch| !branch.commits.is_empty())
    }

    /// Whether everything could be looked at: where it could not, a run may find more.
    pub fn is_complete(&self) -> bool {
        self.branches.iter().all(|branch| branch.failures.is_empty())
            && self.not_ready.iter().all(|status| status.ready != Readiness::Failing)
    }
}

/// Makes the plan. The parts must be nobody else's: the store is written to. `progress` is told what is being done.
///
/// # Errors
/// The store could not be read.
pub async fn plan(parts: Parts, progress: &(dyn Fn(String) + Send + Sync)) -> Result<Plan, StoreError> {
    let cancel = CancellationToken::new();
    let promoter = Promoter::start_with(parts, Lanes::closed(cancel.clone()), cancel).await?;
    let shared = &promoter.shared;
    let spec = shared.spec();
    progress(format!("looking at {} images", spec.image_repositories.len()));
    let rescan = Hint::Rescan { reason: RescanReason::Requested };
    look(shared, spec.image_repositories.keys().cloned(), &rescan).await;
    let mut lanes = lanes(shared, &spec);
    loop {
        progress(format!("reading {} branches", lanes.len()));
        let mut found = BTreeSet::new();
        let mut drafting = JoinSet::new();
        for Planned { lane, targets, .. } in lanes {
            let spec = spec.clone();
            drafting.spawn(draft(lane, targets, spec));
        }
        lanes = drafting.join_all().await;
        lanes
            .sort_by_cached_key(|planned| (planned.lane.key.source.clone(), planned.lane.key.branch.clone()));
        for planned in &lanes {
            found.extend(shared.choices.found_in_git(&spec, planned.variants.iter()));
        }
        if found.is_empty() {
            break;
        }
        look(shared, found.into_iter(), &Hint::VariantFound).await;
    }
    let branches = lanes.into_iter().map(|planned| planned.branch).collect();
    Ok(Plan { branches, not_ready: not_ready(shared) })
}

/// Looks at these images as a run does. What comes of it is with the choices and on the board.
async fn look(shared: &Arc<Shared>, repositories: impl Iterator<Item = ObjectKey>, hint: &Hint) {
    let mut looks = JoinSet::new();
    for repository in repositories {
        let (shared, hint, now) = (shared.clone(), hint.clone(), shared.now());
        let hints = vec![Received { hint, event: EVENT.to_owned(), at: now }];
        let work =
            Work { target: images::target(&repository), generation: 0, attempts: 0, hints, first_at: now };
        looks.spawn(async move { drop(images::run(&shared, &work).await) });
    }
    looks.join_all().await;
    shared.choices.forget_causes();
}

/// The tracks that automations have places on.
pub(crate) type Tracks = BTreeSet<Track>;

/// A lane with what it came to.
struct Planned {
    lane: Lane,
    targets: Vec<Target>,
    branch: BranchPlan,
    /// The tracks that its automations have places on.
    variants: Tracks,
}

/// Every lane that an automation writes by, with its automations in the order in which a run takes them.
fn lanes(shared: &Arc<Shared>, spec: &Adopted) -> Vec<Planned> {
    let mut lanes: BTreeMap<(ObjectKey, String), Vec<Target>> = BTreeMap::new();
    for automation in spec.automations.keys() {
        if let Standing::Active(target) = Target::resolve(spec, automation) {
            let LaneKey { source, branch } = target.lane();
            lanes.entry((source, branch)).or_default().push(target);
        }
    }
    let planned = lanes.into_iter().map(|((source, branch), targets)| Planned {
        lane: Lane::new(shared.clone(), LaneKey { source, branch }),
        branch: BranchPlan::of(&targets),
        targets,
        variants: BTreeSet::new(),
    });
    planned.collect()
}

async fn draft(mut lane: Lane, targets: Vec<Target>, spec: Arc<Adopted>) -> Planned {
    let mut branch = BranchPlan::of(&targets);
    let mut variants = BTreeSet::new();
    let job = Job { spec: &spec, targets: &targets };
    match lane.plan(job, &mut branch).await {
        Ok(tracks) => variants = tracks,
        Err(LaneFailure { reason, .. }) => branch.failures.push(reason),
    }
    Planned { lane, targets, branch, variants }
}

impl Lane {
    /// A round up to the prepared commits. Returns the tracks that were decided upon.
    pub(crate) async fn plan_on(
        &mut self,
        job: Job<'_>,
        mirror: &mut Mirror,
        branch: &mut BranchPlan,
    ) -> Result<Tracks, LaneFailure> {
        let prepared = self.prepare(job, mirror).await.map_err(|error| git_failure(&error))?;
        let (head, Drafted { made, idle, failed, .. }) = prepared.map_err(LaneFailure::lasting)?;
        branch.head = Some(head.base.to_string());
        let failed = failed.into_iter().filter_map(|(automation, answer)| Some((automation, answer.err()?)));
        branch.failures =
            failed.map(|(automation, failure)| format!("{automation}: {}", failure.reason)).collect();
        let mut tracks = BTreeSet::new();
        let drafts = made.iter().map(|made| (&made.automation, &made.draft));
        for (automation, draft) in drafts.chain(idle.iter().map(|(automation, draft)| (automation, draft))) {
            tracks.extend(draft.choices.keys().cloned());
            branch.waiting.extend(waiting(automation, draft));
        }
        let mut before = BTreeMap::new();
        for made in made {
            let commit = commit(mirror, head.base, made, &mut before).await;
            branch.commits.push(commit.map_err(|error| git_failure(&error))?);
        }
        Ok(tracks)
    }
}

impl BranchPlan {
    fn of(targets: &[Target]) -> Self {
        let first = targets.first();
        Self {
            git_repository: first.map(|target| target.source.meta.key.to_string()).unwrap_or_default(),
            url: first.map(|target| target.source.url.clone()).unwrap_or_default(),
            branch: first.map(|target| target.push.clone()).unwrap_or_default(),
            head: None,
            commits: Vec::new(),
            waiting: Vec::new(),
            failures: Vec::new(),
        }
    }
}

/// What a commit shows. `before` has the files as the commits before it leave them.
async fn commit(
    mirror: &Mirror,
    base: CommitId,
    made: Made,
    before: &mut BTreeMap<String, Vec<u8>>,
) -> Result<CommitPlan, GitError> {
    let Made { automation, draft, text, .. } = made;
    let author = format!("{} <{}>", text.author.name, text.author.email);
    let message = text.message;
    let mut files = Vec::new();
    for (path, new) in draft.files {
        let old = match before.get(&path) {
            Some(old) => old.clone(),
            None => read(mirror, base, &path).await?,
        };
        files.push(FilePlan { diff: unified(&path, &old, &new), path: path.clone() });
        before.insert(path, new);
    }
    Ok(CommitPlan { automation: automation.to_string(), author, message, files })
}

/// A file's bytes at a commit; empty where it does not exist.
async fn read(mirror: &Mirror, commit: CommitId, path: &str) -> Result<Vec<u8>, GitError> {
    let wanted = path.to_owned();
    let files = mirror.files(commit, path, move |path| path == wanted).await?;
    match files.first() {
        Some(file) => mirror.read_blob(file.blob).await,
        None => Ok(Vec::new()),
    }
}

fn waiting(automation: &ObjectKey, draft: &Draft) -> Option<WaitingPlan> {
    let places = draft.diagnostics.clone();
    (!places.is_empty()).then(|| WaitingPlan { automation: automation.to_string(), places })
}

/// What the board shows of resources that are not ready. Automations are tried by lanes, whose failures the branches
/// tell.
fn not_ready(shared: &Shared) -> Vec<ObjectStatus> {
    let tried = |status: &ObjectStatus| {
        status.ready != Readiness::Pending || status.object.kind != Kind::ImageUpdateAutomation
    };
    let not_ready = |status: &ObjectStatus| status.ready != Readiness::Ready && tried(status);
    shared.board.list().into_iter().filter(not_ready).collect()
}
