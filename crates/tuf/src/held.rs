//! What is held of one repository: the files that were verified, the trust root, and when it is looked for again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use windlass_verify::{FetchedRoot, NotFetched};

use crate::folder::{Folder, MAX_FILE};
use crate::source::Source;
use crate::staging::Files;
use crate::update::{Update, UpdateError, update};

/// The first new try after a failure; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_mins(1);
/// New tries are never further apart than this: a mirror is not burdened by it, and an outage may end before a root expires.
const LAST_RETRY: Duration = Duration::from_mins(10);
/// An expiry that comes near brings the next look forward, but no further than this.
const LAST_LOOK: Duration = Duration::from_mins(1);

/// One repository.
pub(crate) struct Held {
    pub(crate) source: Source,
    /// Verified, in this process.
    pub(crate) files: Arc<Files>,
    folder: Option<Folder>,
    saves: bool,
    pub(crate) latest: Result<FetchedRoot, NotFetched>,
    failures: u32,
    /// When it is to be looked for again.
    pub(crate) due: Timestamp,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing, or an expiry that lies further away.
    None,
    /// There is another trust root.
    Root,
    /// The try failed.
    Failure,
}

impl Held {
    /// Nothing but the first root. It is due at once.
    pub(crate) fn new(source: Source, folder: Option<Folder>, saves: bool, now: Timestamp) -> Self {
        let (files, latest) = (Arc::default(), Err(NotFetched::Pending));
        Self { source, files, folder, saves, latest, failures: 0, due: now }
    }

    /// What the folder holds, from an earlier process or from a person. Nothing there is no failure.
    pub(crate) async fn load(&mut self, now: Timestamp) {
        let Some(folder) = self.folder.clone() else { return };
        match update(&self.source, folder, self.files.clone(), None, now).await {
            Ok(update) => self.adopt(update),
            Err(error) => {
                let mirror = &self.source.repository.mirror;
                tracing::debug!(mirror, %error, "the folder holds no trust root that is valid now");
            }
        }
    }

    /// What a try takes along: it runs while the rest of the process goes on.
    pub(crate) fn ticket(&self) -> (Source, Arc<Files>, Option<Folder>) {
        (self.source.clone(), self.files.clone(), self.folder.clone())
    }

    /// Takes over what came of a try. `spread` is between 0 and 1.
    pub(crate) fn conclude(
        &mut self,
        tried: Result<Update, UpdateError>,
        now: Timestamp,
        spread: f64,
    ) -> News {
        let before = self.latest.as_ref().ok().map(|latest| latest.root.clone());
        let news = match tried {
            Ok(update) => {
                self.failures = 0;
                self.adopt(update);
                self.save();
                let after = self.latest.as_ref().ok().map(|latest| latest.root.clone());
                if before == after { News::None } else { News::Root }
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let why = self.explain(&error);
                match &mut self.latest {
                    Ok(latest) => latest.failure = Some(why),
                    Err(latest) => *latest = NotFetched::Failed(why),
                }
                News::Failure
            }
        };
        self.due = now.checked_add(self.pause(now, spread)).unwrap_or(Timestamp::MAX);
        self.expire(now);
        news
    }

    /// A root of which a signature expired is none.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        if let Ok(FetchedRoot { until, failure, .. }) = &self.latest
            && *until <= now
        {
            let why = failure.as_ref().map(|why| format!(", and could not be fetched anew: {why}"));
            let why = format!("the last one expired at {until}{}", why.unwrap_or_default());
            self.latest = Err(NotFetched::Failed(why));
        }
    }

    /// Whether it is to be looked for now. A look that lies further ahead than any is meant for a clock that was set back
    /// since.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let longest = SignedDuration::try_from(self.source.repository.refresh_interval);
        self.due <= now || self.due.duration_since(now) > longest.unwrap_or(SignedDuration::MAX)
    }

    /// When something is to be done next: a try, or the end of the present root.
    pub(crate) fn next(&self) -> Timestamp {
        self.latest.as_ref().map_or(self.due, |latest| latest.until.min(self.due))
    }

    fn explain(&self, error: &UpdateError) -> String {
        match &self.folder {
            Some(folder) if self.source.repository.offline => {
                format!("{folder} holds none that is valid now, and the mirror is not to be asked: {error}")
            }
            _ => error.to_string(),
        }
    }

    fn adopt(&mut self, Update { files, root, until }: Update) {
        let mut all = Files::clone(&self.files);
        all.extend(files);
        self.files = Arc::new(all);
        self.latest = Ok(FetchedRoot { root, until, failure: None });
    }

    /// The folder gets what is known, unless that came from there.
    fn save(&self) {
        let Some(folder) = self.folder.as_ref().filter(|_| self.saves && !self.source.repository.offline)
        else {
            return;
        };
        if let Err(error) = save(folder, &self.files) {
            let mirror = &self.source.repository.mirror;
            let told = "a trust root cannot be saved: without its mirror the next start has none";
            tracing::warn!(mirror, %error, "{told}");
        }
    }

    /// Up to a tenth earlier than is asked for, so that many instances do not come at once.
    fn pause(&self, now: Timestamp, spread: f64) -> SignedDuration {
        let interval = self.source.repository.refresh_interval;
        let pause = if self.failures == 0 {
            let left = self.latest.as_ref().map_or(Duration::ZERO, |latest| {
                Duration::try_from(latest.until.duration_since(now)).unwrap_or_default()
            });
            interval.min((left / 2).max(LAST_LOOK))
        } else {
            interval.min(FIRST_RETRY.saturating_mul(1 << (self.failures - 1).min(10)).min(LAST_RETRY))
        };
        let pause = pause.mul_f64(1.0 - spread.clamp(0.0, 1.0) / 10.0);
        SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX)
    }
}

/// The timestamp last: what it leads to is there by then. A file that was tampered with, or that is gone, is mended.
fn save(folder: &Folder, files: &Files) -> io::Result<()> {
    let (last, first): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| *name == "timestamp.json");
    for (name, bytes) in first.into_iter().chain(last) {
        let there = folder.read(name, MAX_FILE).ok().flatten();
        if there.as_ref() != Some(bytes) {
            folder.write(name, bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use windlass_model::Spec;
    use windlass_model::guard::{TufAnchor, TufRepository};
    use windlass_verify::TrustRoot;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn after(hours: i64) -> Timestamp {
        now() + SignedDuration::from_hours(hours)
    }

    /// Of Sigstore's own repository, whose first root is built in.
    fn held() -> Held {
        let repository = TufRepository {
            mirror: TufRepository::SIGSTORE.into(),
            anchor: TufAnchor::PublicGood,
            target: TufRepository::TRUSTED_ROOT.into(),
            refresh_interval: TufRepository::REFRESH_INTERVAL,
            offline: false,
        };
        Held::new(Source::of(&repository, &Spec::default()).unwrap(), None, false, now())
    }

    fn found(until: Timestamp) -> Update {
        Update { files: Files::new(), root: TrustRoot::public_good().unwrap(), until }
    }

    #[test]
    fn a_look_comes_after_the_interval_or_well_before_the_end() {
        let mut held = held();
        for (until, spread, minutes) in [
            (after(1_000), 0.0, 24 * 60),
            (after(1_000), 1.0, 24 * 60 * 9 / 10),
            (after(10), 0.0, 5 * 60),
            (now() + SignedDuration::from_secs(3), 0.0, 1),
        ] {
            held.conclude(Ok(found(until)), now(), spread);
            assert_eq!(held.due, now() + SignedDuration::from_mins(minutes), "{until} {spread}");
            assert_eq!(held.next(), held.due.min(until));
            assert!(held.is_due(held.due) && !held.is_due(now()));
            assert!(held.is_due(after(-24 * 30)), "the clock was set back");
        }
    }

    #[test]
    fn failures_are_tried_again_ever_more_seldom_and_the_root_stays_until_its_end() {
        let mut held = held();
        assert_eq!(held.conclude(Err(UpdateError::NotText), now(), 0.0), News::Failure);
        assert!(matches!(held.latest, Err(NotFetched::Failed(_))));
        assert_eq!(held.conclude(Ok(found(after(1))), now(), 0.0), News::Root);
        assert_eq!(held.conclude(Ok(found(after(2))), now(), 0.0), News::None, "the same root, for longer");
        for minutes in [1, 2, 4, 8, 10, 10] {
            assert_eq!(held.conclude(Err(UpdateError::NotText), now(), 0.0), News::Failure);
            assert_eq!(held.due, now() + SignedDuration::from_mins(minutes));
            assert!(held.latest.as_ref().is_ok_and(|latest| latest.failure.is_some()));
        }
        held.expire(after(2));
        let Err(NotFetched::Failed(why)) = &held.latest else { panic!("{:?}", held.latest) };
        assert!(why.contains("expired at") && why.contains("not text"), "{why}");
        assert_eq!(held.conclude(Ok(found(after(3))), after(2), 0.0), News::Root);
        assert!(held.latest.as_ref().is_ok_and(|latest| latest.failure.is_none()));
    }
}
