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

#[cfg(test)]
mod tests {
    use windlass_verify::{GuardVerdict, Outcome};

    use super::*;

    fn denied(again: Option<Timestamp>) -> Denied {
        let digest = Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        let guard = GuardVerdict {
            guard: "signed".to_owned(),
            outcome: Outcome::Denied,
            reasons: vec!["there is no signature by `ci`".to_owned()],
            evidence: Vec::new(),
            again,
        };
        let mut denied = Denied::default();
        let verdict = Arc::new(Verdict::of(digest, vec![guard]));
        denied.push(Tag::parse("1.2.0").unwrap(), verdict.clone());
        denied.push(Tag::parse("1.1.0").unwrap(), verdict);
        denied
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn an_unsigned_tag_is_looked_at_again_until_the_grace_is_over_and_then_told() {
        let denied = denied(None);
        let mut now = 0;
        let mut looks = Vec::new();
        while let Some(again) = denied.prospects(at(0), at(now)).again {
            assert!(!denied.prospects(at(0), at(now)).told, "{now}");
            now += i64::try_from(again.as_secs()).unwrap();
            looks.push(now);
        }
        assert_eq!(looks, LOOKS);
        assert!(denied.prospects(at(0), at(now)).told);
        let set_back = denied.prospects(at(100), at(0));
        assert_eq!(
            set_back,
            Prospects { again: Some(Duration::from_secs(2)), told: false },
            "a clock set back"
        );
    }

    #[test]
    fn a_tag_that_is_only_too_young_is_looked_at_when_it_is_old_enough_and_not_told() {
        let denied = denied(Some(at(7_200)));
        let prospects = denied.prospects(at(0), at(600));
        assert_eq!(prospects, Prospects { again: Some(Duration::from_mins(110)), told: false });
    }

    #[test]
    fn the_best_of_several_is_named_with_its_reason() {
        let reason = denied(None).reason().unwrap();
        assert_eq!(reason, "1.2.0 (and 1 more) is not allowed: Guard/signed: there is no signature by `ci`");
        assert!(Denied::default().reason().is_none());
    }
}
