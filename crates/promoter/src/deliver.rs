//! Pushing what a round made, and bringing the further refs of a refspec along.

use std::collections::BTreeSet;

use tokio::time::Instant;
use windlass_git::{CommitId, GitError, Mirror, Prepared, PushOutcome, PushRequest, Refusal};
use windlass_model::ObjectKey;

use crate::board::Severity;
use crate::checkouts::{Head, Sight};
use crate::landing::Landing;
use crate::lane::{Answers, Job, Lane, Round, git_failure};
use crate::lanes::{LaneFailure, LaneKey, Target};
use crate::metrics::PushResult;
use crate::rebuild::Apart;

/// The branch has the commits.
pub(crate) struct Pushed {
    /// The server's words.
    pub(crate) messages: Vec<String>,
    /// Further refs that do not have them.
    refusals: Vec<Refusal>,
}

impl Lane {
    /// Pushes, and sees to the intent where the commits did not land. What came of it, or how the round ends.
    pub(crate) async fn push(
        &mut self,
        job: Job<'_>,
        mirror: &mut Mirror,
        head: Head,
        tip: &Prepared,
        landing: &Landing,
    ) -> Result<Result<Pushed, Round>, GitError> {
        let branch = self.key.branch.clone();
        let (also, options) = delivery(job.targets);
        let request = PushRequest {
            rewrite: head.replaces.is_some(),
            also: &also,
            options: &options,
            ..PushRequest::new(&branch, head.expected, tip)
        };
        let started = Instant::now();
        let outcome = mirror.push(request).await;
        self.push_time = started.elapsed();
        match outcome {
            Ok(PushOutcome::Landed { messages }) => {
                self.advanced(head, tip.id());
                Ok(Ok(Pushed { messages, refusals: Vec::new() }))
            }
            Ok(PushOutcome::Partly { refusals, messages }) => {
                self.advanced(head, tip.id());
                Ok(Ok(Pushed { messages, refusals }))
            }
            Ok(PushOutcome::Moved { .. }) => {
                self.withdraw(landing).await;
                self.shared.metrics.push(PushResult::Moved);
                Ok(Err(if head.sight == Sight::Remembered { Round::Unseen } else { Round::Raced }))
            }
            Ok(PushOutcome::Rejected { refusals, messages }) => {
                self.withdraw(landing).await;
                self.shared.metrics.push(PushResult::Rejected);
                let reason = told(&branch, &refusals, &messages);
                let reason = format!("the Git server refused the push to {branch}: {reason}");
                Ok(Err(Round::Refused(LaneFailure::lasting(reason))))
            }
            Ok(PushOutcome::Unknown { error }) => {
                self.unsettled = true;
                if !also.is_empty() {
                    self.behind.extend(landing.commits.iter().map(|commit| commit.automation.clone()));
                }
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

    /// The branch points to our commit now: how it stands to its checkout branch follows, without another request.
    fn advanced(&mut self, head: Head, tip: CommitId) {
        self.tip = Some(tip);
        if let Some(((push, checkout), apart)) = self.apart
            && head.expected == Some(push)
        {
            let apart = if head.replaces.is_some() { Apart::Current } else { apart };
            self.apart = Some(((tip, checkout), apart));
        }
    }

    /// Answers automations whose commits landed. Those that are not everywhere are brought along later.
    pub(crate) fn everywhere(
        &mut self,
        automations: BTreeSet<ObjectKey>,
        complete: &Result<(), LaneFailure>,
    ) -> Answers {
        self.behind.retain(|automation| !automations.contains(automation));
        if complete.is_err() {
            self.behind.extend(automations.iter().cloned());
        }
        automations.into_iter().map(|automation| (automation, complete.clone())).collect()
    }

    /// Brings the further ref to where the branch is, for automations of which it is not known to be there. An answer
    /// for each that it did not work for.
    pub(crate) async fn bring_along(
        &mut self,
        job: Job<'_>,
        mirror: &Mirror,
        head: Head,
    ) -> Result<Answers, GitError> {
        let keys = job.targets.iter().map(|target| &target.automation.meta.key);
        let late: BTreeSet<ObjectKey> = keys.filter(|key| self.behind.contains(*key)).cloned().collect();
        let (also, options) = delivery(job.targets);
        let Some(tip) = head.expected.filter(|_| !late.is_empty()) else { return Ok(Answers::new()) };
        let outcome = mirror.bring_along(&self.key.branch, tip, &also, &options).await?;
        let refusals = match outcome {
            PushOutcome::Partly { refusals, messages } => Pushed { messages, refusals },
            _ => Pushed { messages: Vec::new(), refusals: Vec::new() },
        };
        let complete = refusals.complete(&self.key);
        let mut answers = self.everywhere(late, &complete);
        answers.retain(|_, answer| answer.is_err());
        Ok(answers)
    }
}

impl Pushed {
    /// A failure where a further ref does not have the commits.
    pub(crate) fn complete(&self, lane: &LaneKey) -> Result<(), LaneFailure> {
        if self.refusals.is_empty() {
            return Ok(());
        }
        let branch = &lane.branch;
        let reason = told(branch, &self.refusals, &self.messages);
        Err(LaneFailure::lasting(format!("branch {branch} has the commits, a further ref has not: {reason}")))
    }
}

/// The further refs and the push options of a batch, which has one of each.
fn delivery(targets: &[Target]) -> (Vec<String>, Vec<String>) {
    let Some(first) = targets.first() else { return Default::default() };
    let delivery = first.delivery();
    (delivery.also.into_iter().map(str::to_owned).collect(), delivery.options.to_vec())
}

/// Refusals for people. The branch need not be named where it is the only ref.
fn told(branch: &str, refusals: &[Refusal], messages: &[String]) -> String {
    let reason = |refusal: &Refusal| {
        let alone = refusals.len() == 1 && refusal.name.strip_prefix("refs/heads/") == Some(branch);
        if alone { refusal.reason.clone() } else { format!("{}: {}", refusal.name, refusal.reason) }
    };
    let reasons = refusals.iter().map(reason).collect::<Vec<_>>().join(", ");
    if messages.is_empty() { reasons } else { format!("{reasons}: {}", messages.join("; ")) }
}
