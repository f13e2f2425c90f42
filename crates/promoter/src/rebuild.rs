//! A push branch whose checkout branch has moved on. Flux documents such a branch as overwritten; here it is rebuilt on
//! the checkout branch where that changes what would be merged, and only while everything on it is ours. What a person
//! added to it stays.

use std::collections::BTreeSet;

use windlass_git::{Ahead, CommitId, GitError, Mirror};
use windlass_model::resource::Resource as _;

use crate::adopted::Adopted;
use crate::agreements::Agreements;
use crate::checkouts::{self, Head};
use crate::commit_text;
use crate::draft::{Desk, DraftError};
use crate::lane::{Job, Lane};
use crate::lanes::{Standing, Target};
use crate::markers::Overlay;
use crate::round::Drafted;

/// How a push branch stands to its checkout branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apart {
    /// It has everything that the checkout branch has.
    Current,
    /// It is behind, and all that it has beyond is ours.
    Behind,
    /// It is behind, and has commits of others.
    Shared,
}

impl Lane {
    /// Compares the branches, once for each pair of tips.
    pub(crate) async fn compare(
        &mut self,
        spec: &Adopted,
        mirror: &Mirror,
        push: CommitId,
        checkout: CommitId,
    ) -> Result<Apart, GitError> {
        if let Some((pair, apart)) = self.apart
            && pair == (push, checkout)
        {
            return Ok(apart);
        }
        let ahead = mirror.ahead(push, checkout).await?;
        let apart = match ahead {
            Ahead { contains: true, .. } => Apart::Current,
            ahead if self.is_ours(spec, &ahead) => Apart::Behind,
            _ => Apart::Shared,
        };
        self.apart = Some(((push, checkout), apart));
        Ok(apart)
    }

    /// Whether our automations made every commit: the trailer says so, and nobody has amended it since. One that is
    /// suspended or fails does not write its part again, so it counts as somebody else.
    fn is_ours(&self, spec: &Adopted, ahead: &Ahead) -> bool {
        let writers = spec.automations.values().filter(|automation| automation.source == self.key.source);
        let emails: BTreeSet<&str> = writers.map(|automation| automation.author_email.as_str()).collect();
        let present: BTreeSet<String> =
            self.everyone(spec).iter().map(|target| target.automation.meta.key.to_string()).collect();
        let absent: BTreeSet<String> =
            spec.automations.keys().map(ToString::to_string).filter(|key| !present.contains(key)).collect();
        let ours = |message: &str| {
            let mut lines = message.lines();
            let automation = lines.find_map(|line| line.strip_prefix(commit_text::AUTOMATION));
            automation.is_some_and(|automation| !absent.contains(automation.trim()))
        };
        !ahead.more && ahead.commits.iter().all(|c| emails.contains(c.committer.as_str()) && ours(&c.message))
    }

    /// Commits anew on the checkout branch, for every automation of the lane: their commits are replaced together.
    /// Nothing is left to push where the branch would be merged just as well as it is. `None` where not all of them can
    /// do their part in one push.
    pub(crate) async fn rebuild(
        &mut self,
        job: Job<'_>,
        mirror: &mut Mirror,
        head: Head,
        onto: CommitId,
    ) -> Result<Option<(Head, Drafted)>, GitError> {
        let everyone = self.everyone(job.spec);
        let Some(first) = everyone.first() else { return Ok(None) };
        if everyone.iter().any(|target| target.delivery() != first.delivery()) {
            return Ok(None);
        }
        checkouts::fetch(mirror, &first.checkout, onto).await?;
        let head = Head { base: onto, replaces: Some(head.base), ..head };
        let mut drafted = self.make(Job { targets: &everyone, ..job }, mirror, head).await?;
        if !drafted.failed.is_empty() {
            return Ok(None);
        }
        if let Some(old) = head.replaces
            && holds(mirror, old, &drafted.files).await?
        {
            drafted.idle.extend(drafted.made.drain(..).map(|made| (made.automation, made.draft)));
        }
        Ok(Some((head, drafted)))
    }

    /// Every automation that writes to this lane's branch, in the order in which they commit.
    fn everyone(&self, spec: &Adopted) -> Vec<Target> {
        let target = |automation| match Target::resolve(spec, automation) {
            Standing::Active(target) if target.lane() == self.key => Some(target),
            Standing::Active(_) | Standing::Idle => None,
        };
        spec.automations.keys().filter_map(target).collect()
    }

    /// The agreements that count on the checkout branch while the push branch is rebuilt. What we wrote to the push
    /// branch and nobody has merged is missing there, which is no person's doing. What a person holds is held on the
    /// push branch too, for it was built on that.
    pub(crate) async fn still_held(
        &mut self,
        job: Job<'_>,
        mirror: &Mirror,
        target: &Target,
        replaced: CommitId,
        agreements: Agreements,
    ) -> Result<Agreements, DraftError> {
        let overlay = Overlay::new();
        let desk = Desk {
            shared: &self.shared,
            spec: job.spec,
            mirror,
            base: replaced,
            overlay: &overlay,
            agreements: &agreements,
            history: None,
        };
        let draft = desk.draft(&mut self.index, target).await?;
        tracing::debug!(automation = %target.automation.object_ref(), held = draft.holds.len(), "rebuilding");
        Ok(agreements.held_by(&draft.holds))
    }
}

/// Whether a commit has each of these files with this content.
async fn holds(mirror: &Mirror, commit: CommitId, files: &Overlay) -> Result<bool, GitError> {
    let wanted: BTreeSet<String> = files.keys().cloned().collect();
    let count = wanted.len();
    let entries = mirror.files(commit, "", move |path| wanted.contains(path)).await?;
    if entries.len() != count {
        return Ok(false);
    }
    for entry in entries {
        let content = mirror.read_blob(entry.blob).await?;
        if files.get(&entry.path).is_none_or(|wanted| wanted[..] != content[..]) {
            return Ok(false);
        }
    }
    Ok(true)
}
