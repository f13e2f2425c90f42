//! Verdicts for whoever asks: gathers the evidence, lets the Guards judge it, and remembers. Owns the memory: what is
//! remembered is the assessment of a digest by a Guard with its keys and roots, never anything about a tag.
//!
//! *Allowed* is remembered longest, for a signature does not go away; *denied* only shortly, for one may come;
//! *unknown* never.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::task::spawn_blocking;
use windlass_model::{Digest, ImageName};
use windlass_registry::Repository;

use crate::evidence::{Found, Wanted};
use crate::gather::gather;
use crate::judge::{Assessment, Judge, Subject};
use crate::verdict::{Outcome, Verdict};

/// How long *allowed* holds before the registry is asked again: attestations may grow too old for a Guard.
const ALLOWED: SignedDuration = SignedDuration::from_mins(10);
/// How long *denied* holds at most.
const DENIED: SignedDuration = SignedDuration::from_secs(30);
/// Images that are remembered.
const MAX_IMAGES: usize = 8_192;

/// How repositories are reached: the image's own, and those that Guards name for signatures.
pub trait Repositories: Sync {
    /// A handle on a repository.
    ///
    /// # Errors
    /// Why there is none: it makes the verdict *unknown*.
    fn repository(&self, image: &ImageName) -> Result<Repository, String>;
}

/// How old a denial may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// One of a moment ago will do.
    Recent,
    /// Something happened at this time, or whoever asks has reason to look again: older ones do not count.
    Since(Timestamp),
}

/// Asks registries and remembers what came of it. One for the whole process.
#[derive(Debug, Default)]
pub struct Verifier {
    images: Mutex<HashMap<Key, Arc<Image>>>,
}

/// The tenant, the image, its digest.
type Key = (String, ImageName, Digest);

/// What is remembered of one image.
#[derive(Debug, Default)]
struct Image {
    /// Held while its evidence is read, so that it is read once for all who ask.
    reading: tokio::sync::Mutex<()>,
    /// By the Guard's fingerprint.
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    at: Timestamp,
    assessment: Arc<Assessment>,
}

impl Known {
    fn holds(&self, now: Timestamp, freshness: Freshness) -> bool {
        let age = now.duration_since(self.at);
        // A clock that was set back must not keep it for ever.
        let within = |length: SignedDuration| !age.is_negative() && age < length;
        match self.assessment.outcome() {
            Outcome::Allowed => within(ALLOWED),
            Outcome::Denied => match freshness {
                Freshness::Recent => within(DENIED),
                Freshness::Since(earliest) => within(DENIED) && self.at >= earliest,
            },
            Outcome::Unknown => false,
        }
    }
}

impl Verifier {
    /// Judges an image by every Guard.
    pub async fn verify(
        &self,
        subject: Subject<'_>,
        judges: &[Arc<Judge>],
        repositories: &dyn Repositories,
        now: Timestamp,
        freshness: Freshness,
    ) -> Verdict {
        let image = self.image(subject, now);
        let mut assessments = image.recall(judges, now, freshness);
        if assessments.len() < judges.len() {
            let _reading = image.reading.lock().await;
            // Another may have read it meanwhile.
            assessments = image.recall(judges, now, freshness);
            let open: Vec<Arc<Judge>> =
                judges.iter().filter(|j| !assessments.contains_key(j.fingerprint())).cloned().collect();
            if !open.is_empty() {
                assessments.extend(image.assess(subject, open, repositories, now).await);
            }
        }
        let guards = judges.iter().map(|judge| {
            let assessment = assessments.get(judge.fingerprint()).map(|known| Assessment::clone(known));
            let missing = || Assessment::nothing("it was not assessed");
            judge.judge(subject, assessment.unwrap_or_else(missing), now)
        });
        Verdict::of(subject.digest.clone(), guards.collect())
    }

    fn image(&self, subject: Subject<'_>, now: Timestamp) -> Arc<Image> {
        let mut images = lock(&self.images);
        if images.len() >= MAX_IMAGES {
            images.retain(|_, image| Arc::strong_count(image) > 1 || image.is_of_use(now));
        }
        if images.len() >= MAX_IMAGES {
            images.retain(|_, image| Arc::strong_count(image) > 1);
        }
        let key = (subject.tenant.to_owned(), subject.image.clone(), subject.digest.clone());
        images.entry(key).or_default().clone()
    }
}

impl Image {
    fn is_of_use(&self, now: Timestamp) -> bool {
        lock(&self.known).values().any(|known| known.holds(now, Freshness::Recent))
    }

    fn recall(
        &self,
        judges: &[Arc<Judge>],
        now: Timestamp,
        freshness: Freshness,
    ) -> HashMap<String, Arc<Assessment>> {
        let known = lock(&self.known);
        let recall = |judge: &Arc<Judge>| {
            let (key, known) = known.get_key_value(judge.fingerprint())?;
            known.holds(now, freshness).then(|| (key.clone(), Arc::clone(&known.assessment)))
        };
        judges.iter().filter_map(recall).collect()
    }

    /// Reads the evidence once for all of these Guards, and judges it.
    async fn assess(
        &self,
        subject: Subject<'_>,
        judges: Vec<Arc<Judge>>,
        repositories: &dyn Repositories,
        now: Timestamp,
    ) -> HashMap<String, Arc<Assessment>> {
        let mut wanted: BTreeMap<ImageName, Wanted> = BTreeMap::new();
        for (source, forms) in judges.iter().flat_map(|judge| judge.sources(subject.image)) {
            let wanted = wanted.entry(source).or_default();
            *wanted = wanted.or(forms);
        }
        let found = join_all(wanted.into_iter().map(|(source, forms)| async move {
            let found = match repositories.repository(&source) {
                Ok(repository) => gather(&repository, subject.digest, forms).await,
                Err(why) => Found { unread: vec![why], ..Found::default() },
            };
            (source, found)
        }));
        let found: BTreeMap<ImageName, Found> = found.await.into_iter().collect();
        let (image, digest) = (subject.image.clone(), subject.digest.clone());
        let judging = spawn_blocking(move || {
            let assess = |judge: &Arc<Judge>| {
                (judge.fingerprint().to_owned(), Arc::new(judge.assess(&image, &digest, &found, now)))
            };
            judges.iter().map(assess).collect::<HashMap<_, _>>()
        });
        // A panic in a parser is no verdict; whoever asks gets *unknown*.
        let assessed = judging.await.unwrap_or_default();
        let mut known = lock(&self.known);
        known.retain(|_, known| known.holds(now, Freshness::Recent));
        for (fingerprint, assessment) in &assessed {
            let assessment = Arc::clone(assessment);
            known.insert(fingerprint.clone(), Known { at: now, assessment });
        }
        assessed
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use windlass_model::guard::{GuardRules, Quorum};

    use super::*;
    use crate::judge::tests::{judge, rules};
    use crate::testing::{digest, image, pair};

    /// A registry that cannot be reached.
    struct Unreachable;

    impl Repositories for Unreachable {
        fn repository(&self, _: &ImageName) -> Result<Repository, String> {
            Err("there is no route".to_owned())
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_unknown_and_not_remembered() {
        let any_of = Quorum::AnyOf { authorities: vec!["a".into()], minimum: 1 };
        let judges = [Arc::new(judge(GuardRules { signatures: Some(any_of), ..rules(&[&pair()]) }))];
        let (image, digest) = (image(), digest(1));
        let subject = Subject { tenant: "apps", image: &image, digest: &digest, tag: None, first_seen: None };
        let verifier = Verifier::default();
        for _ in 0..2 {
            let verdict = verifier.verify(subject, &judges, &Unreachable, now(), Freshness::Recent).await;
            assert_eq!(verdict.outcome, Outcome::Unknown);
            assert!(verdict.reasons().iter().any(|reason| reason.contains("there is no route")));
        }
        let known = verifier.image(subject, now());
        assert!(known.recall(&judges, now(), Freshness::Recent).is_empty());
    }

    #[test]
    fn tenants_share_no_view_and_the_memory_is_bounded() {
        let (image, verifier) = (image(), Verifier::default());
        let seen = |tenant: &str, number: u8| {
            let digest = digest(number);
            let subject = Subject { tenant, image: &image, digest: &digest, tag: None, first_seen: None };
            verifier.image(subject, now())
        };
        assert!(Arc::ptr_eq(&seen("apps", 1), &seen("apps", 1)));
        assert!(!Arc::ptr_eq(&seen("apps", 1), &seen("others", 1)));
        for tenant in 0..=MAX_IMAGES / 200 {
            (0..200).for_each(|number| drop(seen(&tenant.to_string(), number)));
        }
        assert!(lock(&verifier.images).len() <= MAX_IMAGES);
    }
}
