//! The election under Guards: from the policy's best tag down, the first that every Guard allows. Owns when a denied
//! one is looked at again; what is chosen and allowed is `policy`'s and `windlass-verify`'s business.
//!
//! CI signs after it pushes. A better tag that is denied is therefore looked at again shortly after, and people are told
//! only when it stays denied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use windlass_model::resource::ImageRepository;
use windlass_model::{Digest, ImageName, Spec, Tag};
use windlass_registry::{Pool, Repository};
use windlass_verify::{Repositories, Verdict};

/// After how long a denied tag is looked at again, in seconds since it was first denied. The last is the grace: from
/// then on it is told, and only polls and announced signatures lead to another look.
const LOOKS: [i64; 5] = [2, 5, 15, 60, 120];
/// How far down an election goes. A fleet of releases that are all denied is a Guard that means something else.
pub(crate) const MAX_DENIED: usize = 32;

/// The tags above the chosen one that the Guards deny, best first.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    pub(crate) tags: Vec<(Tag, Digest)>,
    /// What is said of the best of them.
    best: Option<Arc<Verdict>>,
}

impl Denied {
    pub(crate) fn push(&mut self, tag: Tag, verdict: Arc<Verdict>) {
        self.tags.push((tag, verdict.digest.clone()));
        self.best.get_or_insert(verdict);
    }

    pub(crate) fn names(&self) -> BTreeSet<Tag> {
        self.tags.iter().map(|(tag, _)| tag.clone()).collect()
    }

    /// What people are told of the best one.
    pub(crate) fn reason(&self) -> Option<String> {
        let (tag, _) = self.tags.first()?;
        let reasons = self.best.as_ref()?.reasons().join("; ");
        let others = match self.tags.len() {
            1 => String::new(),
            more => format!(" (and {} more)", more - 1),
        };
        Some(format!("{tag}{others} is not allowed: {reasons}"))
    }

    /// When the best one is worth another look, and whether people are to know.
    pub(crate) fn prospects(&self, since: Timestamp, now: Timestamp) -> Prospects {
        let age = now.duration_since(since).as_secs().max(0);
        let next = LOOKS.into_iter().find(|look| *look > age);
        let old_enough = self.best.as_ref().and_then(|verdict| verdict.again());
        let wait = |seconds: i64| Duration::from_secs(u64::try_from(seconds.max(1)).unwrap_or(1));
        let next = next.map(|look| wait(look - age));
        // Age alone changes it, at a time that is known: nothing else needs to be looked for.
        let aged = old_enough.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        Prospects { again: next.into_iter().chain(aged).min(), told: next.is_none() && old_enough.is_none() }
    }
}

/// What is to be expected of a denied tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prospects {
    /// After how long it is looked at again.
    pub(crate) again: Option<Duration>,
    /// Whether it has been denied for so long that people should know.
    pub(crate) told: bool,
}

/// How evidence about an ImageRepository's image is reached.
pub(crate) struct EvidenceAccess<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) spec: &'a Spec,
    pub(crate) repository: &'a ImageRepository,
}

impl Repositories for EvidenceAccess<'_> {
    fn repository(&self, image: &ImageName) -> Result<Repository, String> {
        let config = crate::access::signatures(self.spec, self.repository, image)?;
        self.pool.repository(config).map_err(|error| error.to_string())
    }
}
