//! One round of a lane: observe the branch, draft and commit for each automation, push by compare-and-swap, confirm,
//! record.

use std::collections::BTreeSet;

use windlass_failpoint::{self as failpoint, Point};
use windlass_git::{CommitText, GitError, Identity, Mirror, Prepared};
use windlass_model::{Hint, ObjectKey, Signal, Spec};
use windlass_store::Record;

use crate::adopted::Adopted;
use crate::agreements::{Agreements, Hold, NewAgreement};
use crate::checkouts::{Head, Sight};
use crate::commit_text;
use crate::draft::{Desk, Draft, DraftError};
use crate::images;
use crate::landing::{self, Landing, LandingCommit};
use crate::lane::{Answers, Job, Lane, Round, all};
use crate::lanes::{self, LaneFailure, Target, Written};
use crate::markers::Overlay;
use crate::metrics::PushResult;

/// Flux requires only the author's address; a commit needs a name too.
const DEFAULT_AUTHOR: &str = "Windlass";

/// A draft that became a commit.
pub(crate) struct Made {
    pub(crate) automation: ObjectKey,
    pub(crate) draft: Draft,
    events: BTreeSet<String>,
    pub(crate) text: CommitText,
    prepared: Prepared,
}

/// Why there is no draft.
enum Undrafted {
    /// The repository could not be read.
    Git(GitError),
    /// The automation alone fails.
    Failed(LaneFailure),
}

impl From<LaneFailure> for Undrafted {
    fn from(failure: LaneFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<DraftError> for Undrafted {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Git(error) => Self::Git(error),
            DraftError::Automation(reason) => Self::Failed(LaneFailure::lasting(reason)),
        }
    }
}

/// What the automations of a batch came to, before anything is pushed.
#[derive(Default)]
pub(crate) struct Drafted {
    pub(crate) made: Vec<Made>,
    /// Automations that have nothing to write once those before them have landed: not settled before that.
    pub(crate) idle: Vec<(ObjectKey, Draft)>,
    pub(crate) failed: Answers,
    /// Every file that `made` writes.
    pub(crate) files: Overlay,
}

impl Lane {
    /// One try. What is not an answer for each automation makes the lane start again, or fail.
    pub(crate) async fn round_on(&mut self, job: Job<'_>, mirror: &mut Mirror) -> Result<Round, GitError> {
        let (head, drafted) = match self.prepare(job, mirror).await? {
            Ok(prepared) => prepared,
            Err(reason) => return Ok(Round::Refused(LaneFailure::lasting(reason))),
        };
        let Drafted { made, mut idle, failed: mut answers, .. } = drafted;
        if let Some(last) = made.last() {
            let landing = self.landing(&made, mirror);
            if let Err(failure) = self.store_at(Point::Committed, landing.intent(&self.lane_id())).await {
                return Ok(Round::Settled(all(job.targets, &failure)));
            }
            let pushed = match self.push(job, mirror, head, &last.prepared, &landing).await? {
                Ok(pushed) => pushed,
                Err(round) => return Ok(round),
            };
            let recorded = self.landed(job, &landing, &made, &pushed.messages).await;
            let automations = made.into_iter().map(|made| made.automation).collect();
            answers.extend(self.everywhere(automations, &recorded.and_then(|()| pushed.complete(&self.key))));
        } else if head.sight == Sight::Remembered {
            return Ok(Round::Unseen);
        } else {
            answers.extend(self.bring_along(job, mirror, head).await?);
            idle.retain(|(automation, _)| !answers.contains_key(automation));
        }
        for (automation, draft) in idle {
            let settled = self.up_to_date(job.spec, &automation, draft).await;
            answers.insert(automation, settled);
        }
        self.quiet = head.sight != Sight::Moved;
        Ok(Round::Settled(answers))
    }

    /// Steps 1 and 2: where the branch is, and what each automation commits there; or why there is nothing to build on.
    /// Nothing leaves the process.
    pub(crate) async fn prepare(
        &mut self,
        job: Job<'_>,
        mirror: &mut Mirror,
    ) -> Result<Result<(Head, Drafted), String>, GitError> {
        let (head, onto) = match self.observe(job, mirror).await? {
            Ok(observed) => observed,
            Err(reason) => return Ok(Err(reason)),
        };
        self.tip = head.expected;
        self.settle_intents(job.spec, mirror, head.expected).await?;
        if let Some(onto) = onto
            && let Some(rebuilt) = self.rebuild(job, mirror, head, onto).await?
        {
            return Ok(Ok(rebuilt));
        }
        Ok(Ok((head, self.make(job, mirror, head).await?)))
    }

    /// Drafts and commits, each automation on top of the one before.
    pub(crate) async fn make(
        &mut self,
        job: Job<'_>,
        mirror: &Mirror,
        head: Head,
    ) -> Result<Drafted, GitError> {
        let mut drafted = Drafted::default();
        for target in job.targets {
            let automation = &target.automation.meta.key;
            let mut draft = match self.draft(job, mirror, head, target, &drafted.files).await {
                Ok(draft) => draft,
                Err(Undrafted::Git(error)) => return Err(error),
                Err(Undrafted::Failed(failure)) => {
                    drafted.failed.insert(automation.clone(), Err(failure));
                    continue;
                }
            };
            if head.shared {
                draft.diagnostics.push(format!(
                    "branch {} is behind {} and has commits of others, so it is not rebuilt: merge {} into it, or \
                     delete it",
                    self.key.branch, target.checkout, target.checkout
                ));
            }
            let events = self.events_of(&draft);
            let text = match self.text(job.spec, target, &draft, &events) {
                Ok(text) => text,
                Err(reason) => {
                    drafted.failed.insert(automation.clone(), Err(LaneFailure::lasting(reason)));
                    continue;
                }
            };
            let base = drafted.made.last().map(|made| made.prepared.clone());
            let prepared = match &base {
                Some(previous) => mirror.commit(previous, draft.files.clone(), &text).await?,
                None => mirror.commit(head.base, draft.files.clone(), &text).await?,
            };
            if let Some(prepared) = prepared {
                drafted
                    .files
                    .extend(draft.files.iter().map(|(path, bytes)| (path.clone(), bytes.clone().into())));
                drafted.made.push(Made { automation: automation.clone(), draft, events, text, prepared });
            } else {
                drafted.idle.push((automation.clone(), draft));
            }
        }
        Ok(drafted)
    }

    async fn draft(
        &mut self,
        job: Job<'_>,
        mirror: &Mirror,
        head: Head,
        target: &Target,
        overlay: &Overlay,
    ) -> Result<Draft, Undrafted> {
        let mut agreements = self.agreements_of(&target.automation.meta.key).await?;
        let mut history = None;
        if let Some(replaced) = head.replaces {
            agreements = self.still_held(job, mirror, target, replaced, agreements).await?;
        } else {
            let found = self.history_of(&target.automation.meta.key, &agreements, mirror, head.base).await;
            history = found.map_err(Undrafted::Git)?;
        }
        let desk = Desk {
            shared: &self.shared,
            spec: job.spec,
            mirror,
            base: head.base,
            overlay,
            agreements: &agreements,
            history: history.as_deref(),
        };
        let draft = desk.draft(&mut self.index, target).await?;
        failpoint::pass(Point::Edited).await.map_err(|injected| Undrafted::Git(injected.into()))?;
        Ok(draft)
    }

    /// The events behind what the draft moves.
    fn events_of(&self, draft: &Draft) -> BTreeSet<String> {
        draft.images.iter().filter_map(|(track, image)| self.shared.choices.event_of(track, image)).collect()
    }

    fn text(
        &self,
        spec: &Adopted,
        target: &Target,
        draft: &Draft,
        events: &BTreeSet<String>,
    ) -> Result<CommitText, String> {
        let automation = &target.automation;
        let signer = spec.signers().of(automation)?;
        let author = Identity {
            name: automation.author_name.clone().unwrap_or_else(|| DEFAULT_AUTHOR.to_owned()),
            email: automation.author_email.clone(),
        };
        let message = commit_text::with_trailers(
            &draft.message,
            &automation.meta.key,
            draft.images.values().map(ToString::to_string),
            draft.verdicts.iter().filter_map(|(track, verdict)| Some((draft.images.get(track)?, &**verdict))),
            events,
        );
        Ok(CommitText { committer: author.clone(), author, time: self.shared.now(), message, signer })
    }

    fn landing(&self, made: &[Made], mirror: &Mirror) -> Landing {
        let parents = made.first().map(|first| first.prepared.start()).into_iter();
        let parents = parents.chain(made.iter().map(|made| made.prepared.id()));
        let commits = made.iter().zip(parents).map(|(made, parent)| LandingCommit {
            automation: made.automation.clone(),
            id: made.prepared.id().to_string(),
            parent: Some(parent.to_string()),
            files: made.draft.files.iter().map(|(path, _)| path.clone()).collect(),
            changes: made.draft.changes.clone(),
            events: made.events.clone(),
            agreements: made.draft.agreements.clone(),
            verdicts: made
                .draft
                .verdicts
                .iter()
                .map(|(track, verdict)| landing::verdict(track, verdict))
                .collect(),
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
            for pushed_at in draft.images.iter().filter_map(|(track, image)| choices.landed(track, image)) {
                self.shared
                    .metrics
                    .event_to_commit(now.duration_since(pushed_at).try_into().unwrap_or_default());
            }
        }
        if let Err(failure) = self.store_at(Point::Recorded, landing.landed(job.spec, now)).await {
            self.unsettled = true;
            return Err(failure);
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
            self.written(job.spec, &made.automation, made.draft.choices.clone()).await;
            self.learn(&made.automation, &made.draft.agreements);
            self.tell_holds(job.spec, &made.automation, made.draft.holds.clone()).await;
        }
        Ok(())
    }

    /// Writes what a point is named after.
    pub(crate) async fn store_at(&self, point: Point, record: Record) -> Result<(), LaneFailure> {
        let injected = |injected| LaneFailure::passing(format!("the store: {injected}"));
        failpoint::error(point).map_err(injected)?;
        self.shared.store.record(record).await.map_err(|error| store_failure(&error))?;
        failpoint::pause(point).await;
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
        self.written(spec, automation, choices).await;
        Ok(())
    }

    /// The branch holds these choices, or refuses them. What it has variants of that nothing was chosen for yet is asked
    /// for: their images come with the next look.
    async fn written(&self, spec: &Spec, automation: &ObjectKey, choices: Written) {
        let images = self.shared.choices.found_in_git(spec, choices.keys());
        self.shared.lanes.set_written(automation, choices);
        if images.is_empty() {
            return;
        }
        let signal = |image| Signal { target: images::target(&image), hint: Hint::VariantFound };
        let signals = images.into_iter().map(signal).collect();
        if let Err(error) = self.shared.store.signal(signals, "variant-found").await {
            tracing::error!(%automation, %error, "variants in Git could not be asked for; the next poll sees to them");
        }
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
            tracing::error!(%object, %error, "a hold could not be recorded; it is told in the next round");
            self.agreements.remove(automation);
        }
    }
}

fn store_failure(error: &windlass_store::StoreError) -> LaneFailure {
    LaneFailure::passing(format!("the store: {error}"))
}
