//! One round of a lane: observe the branch, draft and commit for each automation, push by compare-and-swap, confirm,
//! record.

use std::collections::{BTreeMap, BTreeSet};

use windlass_git::{CommitId, CommitText, GitError, Identity, Mirror, Prepared, PushOutcome, PushRequest};
use windlass_model::{ImageRef, ObjectKey, Spec};

use crate::board::Severity;
use crate::commit_text;
use crate::draft::{Desk, Draft, DraftError};
use crate::landing::{self, Landing, LandingCommit};
use crate::lane::{Answers, Job, Lane, Round, all};
use crate::lanes::{self, Cause, LaneFailure, Target};
use crate::markers::Overlay;
use crate::metrics::PushResult;

/// Flux requires only the author's address; a commit needs a name too.
const DEFAULT_AUTHOR: &str = "Windlass";

/// Where the branch is.
#[derive(Debug, Clone, Copy)]
struct Head {
    base: CommitId,
    /// `None` where the push creates the branch.
    expected: Option<CommitId>,
}

/// A draft that became a commit.
struct Made {
    automation: ObjectKey,
    draft: Draft,
    events: BTreeSet<String>,
    prepared: Prepared,
}

impl Lane {
    /// One try. What is not an answer for each automation makes the lane start again, or fail.
    pub(crate) async fn round_on(&mut self, job: Job<'_>, mirror: &mut Mirror) -> Result<Round, GitError> {
        let head = match self.observe(mirror, job.targets).await? {
            Ok(head) => head,
            Err(reason) => return Ok(Round::Refused(LaneFailure { reason, severity: Severity::Lasting })),
        };
        self.tip = head.expected;
        self.settle_intents(job.spec, mirror, head).await?;
        let (made, mut answers) = self.make(job, mirror, head).await?;
        let Some(last) = made.last() else { return Ok(Round::Settled(answers)) };
        let landing = self.landing(&made, mirror);
        if let Err(error) = self.shared.store.record(landing.intent(&self.lane_id())).await {
            return Ok(Round::Settled(all(job.targets, &store_failure(&error))));
        }
        let request = PushRequest {
            branch: &self.key.branch,
            expected_old: head.expected,
            tip: &last.prepared,
            rewrite: false,
        };
        match mirror.push(request).await {
            Ok(PushOutcome::Landed { messages }) => {
                self.tip = Some(last.prepared.id());
                let recorded = self.landed(job, &landing, &made, &messages).await;
                answers.extend(made.iter().map(|made| (made.automation.clone(), recorded.clone())));
                Ok(Round::Settled(answers))
            }
            Ok(PushOutcome::Moved { .. }) => {
                self.withdraw(&landing).await;
                Ok(Round::Raced)
            }
            Ok(PushOutcome::Rejected { reason, messages }) => {
                self.withdraw(&landing).await;
                self.shared.metrics.push(PushResult::Rejected);
                let words =
                    if messages.is_empty() { String::new() } else { format!(": {}", messages.join("; ")) };
                let reason =
                    format!("the Git server refused the push to {}: {reason}{words}", self.key.branch);
                Ok(Round::Refused(LaneFailure { reason, severity: Severity::Lasting }))
            }
            Ok(PushOutcome::Unknown { error }) => {
                self.unsettled = true;
                self.shared.metrics.push(PushResult::Unknown);
                Err(error)
            }
            Err(error) => {
                self.withdraw(&landing).await;
                Err(error)
            }
        }
    }

    /// Where the branch is now, with everything fetched; or why there is nothing to build on.
    async fn observe(
        &self,
        mirror: &mut Mirror,
        targets: &[Target],
    ) -> Result<Result<Head, String>, GitError> {
        let push = self.key.branch.as_str();
        let checkout = targets.first().map_or(push, |target| target.checkout.as_str());
        let tips = mirror.ls_refs(&[push, checkout]).await?;
        let tip = |branch: &str| tips.get(branch).copied().flatten();
        let head = match (tip(push), tip(checkout)) {
            (Some(tip), _) => Head { base: tip, expected: Some(tip) },
            (None, Some(tip)) => Head { base: tip, expected: None },
            (None, None) => return Ok(Err(format!("branch {checkout} does not exist in the repository"))),
        };
        mirror.fetch(if head.expected.is_some() { push } else { checkout }, head.base).await?;
        Ok(Ok(head))
    }

    /// Drafts and commits, each automation on top of the one before.
    async fn make(
        &mut self,
        job: Job<'_>,
        mirror: &Mirror,
        head: Head,
    ) -> Result<(Vec<Made>, Answers), GitError> {
        let mut overlay = Overlay::new();
        let mut made: Vec<Made> = Vec::new();
        let mut answers = Answers::new();
        for target in job.targets {
            let automation = &target.automation.meta.key;
            let desk =
                Desk { shared: &self.shared, spec: job.spec, mirror, base: head.base, overlay: &overlay };
            let draft = match desk.draft(&mut self.index, target).await {
                Ok(draft) => draft,
                Err(DraftError::Git(error)) => return Err(error),
                Err(DraftError::Automation(reason)) => {
                    answers
                        .insert(automation.clone(), Err(LaneFailure { reason, severity: Severity::Lasting }));
                    continue;
                }
            };
            let events = events_of(&draft, job.causes.get(automation));
            let text = self.text(target, &draft, &events);
            let base = made.last().map(|made| made.prepared.clone());
            let prepared = match &base {
                Some(previous) => mirror.commit(previous, draft.files.clone(), &text).await?,
                None => mirror.commit(head.base, draft.files.clone(), &text).await?,
            };
            if let Some(prepared) = prepared {
                overlay.extend(draft.files.iter().map(|(path, bytes)| (path.clone(), bytes.clone().into())));
                made.push(Made { automation: automation.clone(), draft, events, prepared });
            } else {
                self.up_to_date(automation, draft.choices, draft.diagnostics).await;
                answers.insert(automation.clone(), Ok(()));
            }
        }
        Ok((made, answers))
    }

    fn text(&self, target: &Target, draft: &Draft, events: &BTreeSet<String>) -> CommitText {
        let automation = &target.automation;
        let author = Identity {
            name: automation.author_name.clone().unwrap_or_else(|| DEFAULT_AUTHOR.to_owned()),
            email: automation.author_email.clone(),
        };
        let message = commit_text::with_trailers(&draft.message, &automation.meta.key, &draft.images, events);
        CommitText { committer: author.clone(), author, time: self.shared.now(), message }
    }

    fn landing(&self, made: &[Made], mirror: &Mirror) -> Landing {
        let commits = made.iter().map(|made| LandingCommit {
            automation: made.automation.clone(),
            id: made.prepared.id().to_string(),
            changes: made.draft.changes.clone(),
            events: made.events.clone(),
        });
        Landing {
            tip: made.last().map(|made| made.prepared.id().to_string()).unwrap_or_default(),
            branch: self.key.branch.clone(),
            repository: mirror.remote().url().to_owned(),
            at: self.shared.now(),
            commits: commits.collect(),
        }
    }

    /// The commits are on the branch: record them, show them, and only then let the work be acknowledged.
    async fn landed(
        &mut self,
        job: Job<'_>,
        landing: &Landing,
        made: &[Made],
        messages: &[String],
    ) -> Result<(), LaneFailure> {
        let now = self.shared.now();
        self.shared.metrics.push(PushResult::Landed);
        self.shared.metrics.landed(made.len());
        for message in messages {
            tracing::info!(source = %self.key.source, %message, "the Git server says");
        }
        for made in made {
            let Made { automation, draft, prepared, .. } = made;
            tracing::info!(%automation, commit = %prepared.id(), branch = %self.key.branch, changes = draft.changes.len(), "committed");
            let moved = |cause: &&Cause| draft.images.contains_key(&cause.policy);
            for pushed_at in
                job.causes.get(automation).into_iter().flatten().filter(moved).filter_map(|c| c.pushed_at)
            {
                self.shared
                    .metrics
                    .event_to_commit(now.duration_since(pushed_at).try_into().unwrap_or_default());
            }
        }
        if let Err(error) = self.shared.store.record(landing.landed(job.spec, now)).await {
            self.unsettled = true;
            return Err(store_failure(&error));
        }
        for made in made {
            let object = lanes::object(&made.automation);
            let id = made.prepared.id().to_string();
            let message = format!("committed and pushed {id} to branch {}", self.key.branch);
            let diagnostics = made.draft.diagnostics.clone();
            self.shared
                .succeeded(&object, message, |details| {
                    details.last_commit = Some(id);
                    details.last_commit_at = Some(now);
                    details.diagnostics = diagnostics;
                })
                .await;
            self.shared.lanes.set_written(&made.automation, made.draft.choices.clone());
        }
        Ok(())
    }

    async fn up_to_date(
        &self,
        automation: &ObjectKey,
        choices: BTreeMap<ObjectKey, ImageRef>,
        diagnostics: Vec<String>,
    ) {
        let message = "repository up-to-date".to_owned();
        let object = lanes::object(automation);
        self.shared.succeeded(&object, message, |details| details.diagnostics = diagnostics).await;
        self.shared.lanes.set_written(automation, choices);
    }

    /// Looks what became of pushes whose outcome was not recorded: by a crash, or because no answer came.
    async fn settle_intents(&mut self, spec: &Spec, mirror: &Mirror, head: Head) -> Result<(), GitError> {
        if !self.unsettled {
            return Ok(());
        }
        let intents = match self.shared.store.load_intents(&self.lane_id()).await {
            Ok(intents) => intents,
            Err(error) => {
                tracing::error!(%error, "intents could not be read; they are looked at in the next round");
                return Ok(());
            }
        };
        self.unsettled = false;
        for intent in intents {
            let on_branch = match intent.id.parse::<CommitId>() {
                Ok(tip) if head.expected.is_some() => mirror.contains(head.base, tip).await?,
                _ => false,
            };
            let record = match Landing::read(&intent) {
                Some(landing) if on_branch => {
                    tracing::info!(commit = %intent.id, "an earlier push had landed; recording it");
                    self.shared.metrics.landed(landing.commits.len());
                    landing.landed(spec, self.shared.now())
                }
                _ if landing::may_still_land(&intent, self.shared.now()) => {
                    self.unsettled = true;
                    continue;
                }
                _ => landing::withdrawn(&intent.id),
            };
            if let Err(error) = self.shared.store.record(record).await {
                tracing::error!(%error, commit = %intent.id, "an intent could not be settled; it is tried again");
                self.unsettled = true;
            }
        }
        Ok(())
    }

    /// The push certainly did not land. If this is not recorded, looking at the branch says the same later.
    async fn withdraw(&mut self, landing: &Landing) {
        if let Err(error) = self.shared.store.record(landing::withdrawn(&landing.tip)).await {
            tracing::warn!(%error, "an intent could not be withdrawn");
            self.unsettled = true;
        }
    }
}

/// The events behind what the draft moves.
fn events_of(draft: &Draft, causes: Option<&Vec<Cause>>) -> BTreeSet<String> {
    let moved = |cause: &&Cause| draft.images.contains_key(&cause.policy);
    causes.into_iter().flatten().filter(moved).filter_map(|cause| cause.event.clone()).collect()
}

fn store_failure(error: &windlass_store::StoreError) -> LaneFailure {
    LaneFailure { reason: format!("the store: {error}"), severity: Severity::Passing }
}
