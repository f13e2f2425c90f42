//! One round of a lane: observe the branch, draft and commit for each automation, push by compare-and-swap, confirm,
//! record.

use std::collections::BTreeSet;

use tokio::time::Instant;
use windlass_git::{CommitId, CommitText, GitError, Identity, Mirror, Prepared, PushOutcome, PushRequest};
use windlass_model::{ObjectKey, Spec};
use windlass_store::Record;

use crate::agreements::{Agreements, Hold, NewAgreement};
use crate::board::Severity;
use crate::commit_text;
use crate::draft::{Desk, Draft, DraftError};
use crate::landing::{Landing, LandingCommit};
use crate::lane::{Answers, Job, Lane, Round, all, git_failure};
use crate::lanes::{self, LaneFailure, Target};
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

/// What the automations of a batch came to, before anything is pushed.
#[derive(Default)]
struct Drafted {
    made: Vec<Made>,
    /// Automations that have nothing to write once those before them have landed: not settled before that.
    idle: Vec<(ObjectKey, Draft)>,
    failed: Answers,
}

impl Lane {
    /// One try. What is not an answer for each automation makes the lane start again, or fail.
    pub(crate) async fn round_on(&mut self, job: Job<'_>, mirror: &mut Mirror) -> Result<Round, GitError> {
        let head = match self.observe(mirror, job.targets).await? {
            Ok(head) => head,
            Err(reason) => return Ok(Round::Refused(LaneFailure::lasting(reason))),
        };
        self.tip = head.expected;
        self.settle_intents(job.spec, mirror, head.expected).await?;
        let Drafted { made, idle, failed: mut answers } = self.make(job, mirror, head).await?;
        if let Some(last) = made.last() {
            let landing = self.landing(&made, mirror);
            if let Err(error) = self.shared.store.record(landing.intent(&self.lane_id())).await {
                return Ok(Round::Settled(all(job.targets, &store_failure(&error))));
            }
            let messages = match self.push(mirror, head, &last.prepared, &landing).await? {
                Ok(messages) => messages,
                Err(round) => return Ok(round),
            };
            let recorded = self.landed(job, &landing, &made, &messages).await;
            answers.extend(made.into_iter().map(|made| (made.automation, recorded.clone())));
        }
        for (automation, draft) in idle {
            let settled = self.up_to_date(job.spec, &automation, draft).await;
            answers.insert(automation, settled);
        }
        Ok(Round::Settled(answers))
    }

    /// Pushes, and sees to the intent where the commits did not land. The server's words, or how the round ends.
    async fn push(
        &mut self,
        mirror: &mut Mirror,
        head: Head,
        tip: &Prepared,
        landing: &Landing,
    ) -> Result<Result<Vec<String>, Round>, GitError> {
        let branch = self.key.branch.clone();
        let request = PushRequest { branch: &branch, expected_old: head.expected, tip, rewrite: false };
        let started = Instant::now();
        let outcome = mirror.push(request).await;
        self.push_time = started.elapsed();
        match outcome {
            Ok(PushOutcome::Landed { messages }) => {
                self.tip = Some(tip.id());
                Ok(Ok(messages))
            }
            Ok(PushOutcome::Moved { .. }) => {
                self.withdraw(landing).await;
                Ok(Err(Round::Raced))
            }
            Ok(PushOutcome::Rejected { reason, messages }) => {
                self.withdraw(landing).await;
                self.shared.metrics.push(PushResult::Rejected);
                let words =
                    if messages.is_empty() { String::new() } else { format!(": {}", messages.join("; ")) };
                let reason = format!("the Git server refused the push to {branch}: {reason}{words}");
                Ok(Err(Round::Refused(LaneFailure::lasting(reason))))
            }
            Ok(PushOutcome::Unknown { error }) => {
                self.unsettled = true;
                self.shared.metrics.push(PushResult::Unknown);
                // Whatever made it unknown, the next look at the branch tells.
                let failure = LaneFailure { severity: Severity::Passing, ..git_failure(&error) };
                Ok(Err(Round::Refused(failure)))
            }
            Err(error) => {
                self.withdraw(landing).await;
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
            (None, None) => {
                return Ok(Err(format!(
                    "branch {checkout} does not exist in the repository: create it, or name another one in \
                     spec.git.checkout.ref.branch"
                )));
            }
        };
        mirror.fetch(if head.expected.is_some() { push } else { checkout }, head.base).await?;
        Ok(Ok(head))
    }

    /// Drafts and commits, each automation on top of the one before.
    async fn make(&mut self, job: Job<'_>, mirror: &Mirror, head: Head) -> Result<Drafted, GitError> {
        let mut overlay = Overlay::new();
        let mut drafted = Drafted::default();
        for target in job.targets {
            let automation = &target.automation.meta.key;
            let agreements = match self.agreements_of(automation).await {
                Ok(agreements) => agreements,
                Err(failure) => {
                    drafted.failed.insert(automation.clone(), Err(failure));
                    continue;
                }
            };
            let desk = Desk {
                shared: &self.shared,
                spec: job.spec,
                mirror,
                base: head.base,
                overlay: &overlay,
                agreements: &agreements,
            };
            let draft = match desk.draft(&mut self.index, target).await {
                Ok(draft) => draft,
                Err(DraftError::Git(error)) => return Err(error),
                Err(DraftError::Automation(reason)) => {
                    drafted.failed.insert(automation.clone(), Err(LaneFailure::lasting(reason)));
                    continue;
                }
            };
            let events = self.events_of(&draft);
            let text = self.text(target, &draft, &events);
            let base = drafted.made.last().map(|made| made.prepared.clone());
            let prepared = match &base {
                Some(previous) => mirror.commit(previous, draft.files.clone(), &text).await?,
                None => mirror.commit(head.base, draft.files.clone(), &text).await?,
            };
            if let Some(prepared) = prepared {
                overlay.extend(draft.files.iter().map(|(path, bytes)| (path.clone(), bytes.clone().into())));
                drafted.made.push(Made { automation: automation.clone(), draft, events, prepared });
            } else {
                drafted.idle.push((automation.clone(), draft));
            }
        }
        Ok(drafted)
    }

    /// The events behind what the draft moves.
    fn events_of(&self, draft: &Draft) -> BTreeSet<String> {
        draft.moved().filter_map(|(policy, image)| self.shared.choices.event_of(policy, image)).collect()
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
            agreements: made.draft.agreements.clone(),
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
        for message in messages {
            tracing::info!(source = %self.key.source, %message, "the Git server says");
        }
        for made in made {
            let Made { automation, draft, prepared, .. } = made;
            tracing::info!(%automation, commit = %prepared.id(), branch = %self.key.branch, changes = draft.changes.len(), "committed");
            let choices = &self.shared.choices;
            for pushed_at in draft.moved().filter_map(|(policy, image)| choices.landed(policy, image)) {
                self.shared
                    .metrics
                    .event_to_commit(now.duration_since(pushed_at).try_into().unwrap_or_default());
            }
        }
        if let Err(error) = self.shared.store.record(landing.landed(job.spec, now)).await {
            self.unsettled = true;
            return Err(store_failure(&error));
        }
        self.shared.metrics.landed(made.len());
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
            self.learn(&made.automation, &made.draft.agreements);
            self.tell_holds(job.spec, &made.automation, made.draft.holds.clone()).await;
        }
        Ok(())
    }

    async fn up_to_date(
        &mut self,
        spec: &Spec,
        automation: &ObjectKey,
        draft: Draft,
    ) -> Result<(), LaneFailure> {
        let Draft { choices, diagnostics, agreements, holds, .. } = draft;
        if !agreements.is_empty() {
            let now = self.shared.now();
            let ledger = agreements.iter().map(|new| new.write(automation, now)).collect();
            let record = Record { ledger, ..Record::default() };
            self.shared.store.record(record).await.map_err(|error| store_failure(&error))?;
            self.learn(automation, &agreements);
        }
        self.tell_holds(spec, automation, holds).await;
        let message = "repository up-to-date".to_owned();
        let object = lanes::object(automation);
        self.shared.succeeded(&object, message, |details| details.diagnostics = diagnostics).await;
        self.shared.lanes.set_written(automation, choices);
        Ok(())
    }

    /// What the automation agreed upon with its policies, from the ledger on the first use.
    async fn agreements_of(&mut self, automation: &ObjectKey) -> Result<Agreements, LaneFailure> {
        if let Some(known) = self.agreements.get(automation) {
            return Ok(known.clone());
        }
        let loaded = Agreements::load(&self.shared.store, automation).await.map_err(|e| store_failure(&e))?;
        Ok(self.agreements.entry(automation.clone()).or_insert(loaded).clone())
    }

    fn learn(&mut self, automation: &ObjectKey, new: &[NewAgreement]) {
        self.agreements.entry(automation.clone()).or_default().learn(new);
    }

    async fn tell_holds(&mut self, spec: &Spec, automation: &ObjectKey, holds: Vec<Hold>) {
        let (object, now) = (lanes::object(automation), self.shared.now());
        let record = self.agreements.entry(automation.clone()).or_default().tell(spec, &object, holds, now);
        if record == Record::default() {
            return;
        }
        if let Err(error) = self.shared.store.record(record).await {
            tracing::error!(%object, %error, "a hold could not be recorded; it is told again after a restart");
        }
    }
}

fn store_failure(error: &windlass_store::StoreError) -> LaneFailure {
    LaneFailure::passing(format!("the store: {error}"))
}
