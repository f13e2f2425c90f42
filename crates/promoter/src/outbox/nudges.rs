//! Nudges are hints, so few are needed: which ones a later one has covered, and which ones come too late.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use windlass_model::ObjectKey;
use windlass_model::resource::NotifierTarget;
use windlass_store::Outgoing;

/// A reconciler that could not be told for so long has looked by itself: Argo CD does so every 3 minutes, Flux usually
/// every 10 at most.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Branches that are remembered. Beyond that all are forgotten, which costs a few needless nudges.
const MAX_BRANCHES: usize = 4096;

/// A Notifier, a repository and a branch.
type Branch = (ObjectKey, String, String);

/// When the last nudge that arrived was sent. Nudges for one branch take turns, so that those that wait together are one
/// request.
#[derive(Debug, Default)]
pub(super) struct Nudges(Mutex<HashMap<Branch, Arc<AsyncMutex<Option<Timestamp>>>>>);

/// The turn to nudge for a branch; for whatever is told of each commit, nothing.
pub(super) struct Turn(Option<OwnedMutexGuard<Option<Timestamp>>>);

impl Nudges {
    /// Waits until no other nudge for the same branch is under way. Flux fetches the branch as it is then; Argo CD
    /// refreshes by the files of each commit, so that it hears of every one.
    pub(super) async fn turn(&self, target: &NotifierTarget, outgoing: &Outgoing) -> Turn {
        let Some(branch) = branch_of(target, outgoing) else { return Turn(None) };
        let last = {
            let mut branches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if branches.len() >= MAX_BRANCHES {
                branches.clear();
            }
            Arc::clone(branches.entry(branch).or_default())
        };
        Turn(Some(last.lock_owned().await))
    }
}

impl Turn {
    /// Whether a nudge that arrived was sent after this commit landed.
    pub(super) fn covers(&self, outgoing: &Outgoing) -> bool {
        self.0.as_deref().copied().flatten().is_some_and(|sent| outgoing.notice.at < sent)
    }

    /// The nudge was sent at this time and arrived.
    pub(super) fn arrived(mut self, at: Timestamp) {
        if let Some(last) = self.0.as_deref_mut() {
            *last = Some(at);
        }
    }
}

/// Whether it is a nudge that comes too late to be of use.
pub(super) fn is_stale(target: &NotifierTarget, outgoing: &Outgoing, now: Timestamp) -> bool {
    target.is_reconciler() && now.duration_since(outgoing.notice.at) > LIFE
}

fn branch_of(target: &NotifierTarget, outgoing: &Outgoing) -> Option<Branch> {
    let commit = outgoing.notice.commit.as_ref()?;
    let flux = matches!(target, NotifierTarget::FluxReceiver { .. });
    flux.then(|| (outgoing.notifier.clone(), commit.repository.clone(), commit.branch.clone()))
}

#[cfg(test)]
mod tests {
    use windlass_model::Kind;
    use windlass_model::message::{CommitNotice, Notice};
    use windlass_model::resource::NoticeKind;

    use super::*;
    use crate::testing::{key, object};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn nudge(branch: &str, landed: i64) -> Outgoing {
        let commit = CommitNotice {
            repository: "https://git.example/fleet.git".into(),
            branch: branch.into(),
            id: "c".into(),
            url: None,
            parent: None,
            files: Vec::new(),
            changes: Vec::new(),
        };
        let notice = Notice {
            id: "c".into(),
            kind: NoticeKind::Committed,
            object: object(Kind::ImageUpdateAutomation, "fleet"),
            at: at(landed),
            commit: Some(commit),
            summary: String::new(),
        };
        Outgoing { id: "c/flux".into(), notifier: key("flux"), notice, attempts: 0, repeat: false }
    }

    #[tokio::test]
    async fn a_nudge_of_flux_covers_what_landed_before_it_was_sent() {
        let (nudges, secret) = (Nudges::default(), "s".to_owned());
        let flux = NotifierTarget::FluxReceiver { secret: secret.clone() };
        nudges.turn(&flux, &nudge("main", 10)).await.arrived(at(20));
        for (branch, landed, covered) in [
            ("main", 10, true),
            ("main", 19, true),
            ("main", 20, false),
            ("main", 21, false),
            ("dev", 10, false),
        ] {
            let outgoing = nudge(branch, landed);
            assert_eq!(nudges.turn(&flux, &outgoing).await.covers(&outgoing), covered, "{branch} {landed}");
        }
        let argocd = NotifierTarget::ArgoCd { secret };
        nudges.turn(&argocd, &nudge("main", 10)).await.arrived(at(20));
        let again = nudge("main", 10);
        assert!(!nudges.turn(&argocd, &again).await.covers(&again), "each has its own files");
    }

    #[tokio::test]
    async fn nudges_that_wait_together_are_one_request() {
        let nudges = Nudges::default();
        let flux = NotifierTarget::FluxReceiver { secret: "s".to_owned() };
        let (first, second) = (nudge("main", 10), nudge("main", 11));
        let turn = nudges.turn(&flux, &first).await;
        let waiting = nudges.turn(&flux, &second);
        let sending = async { turn.arrived(at(20)) };
        let (turn, ()) = tokio::join!(waiting, sending);
        assert!(turn.covers(&second));
    }

    #[test]
    fn a_nudge_is_given_up_when_the_reconciler_has_looked_by_itself() {
        let secret = || "s".to_owned();
        let (flux, chat) =
            (NotifierTarget::FluxReceiver { secret: secret() }, NotifierTarget::Webhook { secret: secret() });
        for (target, now, stale) in [(&flux, 600, false), (&flux, 601, true), (&chat, 9000, false)] {
            assert_eq!(is_stale(target, &nudge("main", 0), at(now)), stale, "{now}");
        }
    }
}
