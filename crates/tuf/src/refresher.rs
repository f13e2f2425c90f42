//! The task that keeps trust roots fresh while the process runs. Owns when each is looked for; nobody who verifies waits
//! for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use reqwest::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_model::{Clock, Spec};

use crate::folder::Folder;
use crate::held::{Held, News};
use crate::metrics::Metrics;
use crate::mirror::{Mirror, client};
use crate::roots::{Cache, Roots};
use crate::source::Source;
use crate::staging::Files;
use crate::update::{Update, UpdateError, update};

/// A clock that was set is noticed after this at the latest.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_mins(1);

/// What a refresher is made of.
pub struct Parts {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Where files outlive the process.
    pub cache: Cache,
    /// Registered metrics.
    pub metrics: Metrics,
    /// Spreads the looks of several instances.
    pub seed: u64,
}

/// Keeps the trust roots of a configuration.
pub struct Refresher {
    parts: Parts,
    client: Result<Client, String>,
    /// By source; one that is being looked for is not looked for again at the same time.
    held: BTreeMap<Source, (Held, Busy)>,
    published: watch::Sender<Arc<Roots>>,
    looks: u64,
}

/// Whether a look is under way.
type Busy = bool;
/// What a look takes along.
type Ticket = (Source, Arc<Files>, Option<Folder>);
type Tried = (Source, Result<Update, UpdateError>);
type Looks = FuturesUnordered<Pin<Box<dyn Future<Output = Tried> + Send>>>;

impl Refresher {
    /// Takes up what the cache holds of a configuration; no mirror is asked yet.
    pub async fn open(parts: Parts, spec: &Spec) -> (Self, watch::Receiver<Arc<Roots>>) {
        let (published, roots) = watch::channel(Arc::default());
        let mut refresher = Self { parts, client: client(), held: BTreeMap::new(), published, looks: 0 };
        refresher.adopt(spec).await;
        refresher.publish();
        (refresher, roots)
    }

    /// Fetches what is due, and follows the configuration, until it is to end.
    pub async fn run(mut self, mut spec: watch::Receiver<Arc<Spec>>, stop: CancellationToken) {
        let mut looks = Looks::new();
        loop {
            let configured = spec.borrow_and_update().clone();
            self.adopt(&configured).await;
            self.start(&looks);
            self.publish();
            tokio::select! {
                () = stop.cancelled() => return,
                changed = spec.changed() => if changed.is_err() {
                    stop.cancelled().await;
                    return;
                },
                Some((source, tried)) = looks.next() => self.conclude(&source, tried),
                () = tokio::time::sleep(self.pause()) => {}
            }
        }
    }

    /// Follows a configuration: new repositories are due at once, others are forgotten.
    async fn adopt(&mut self, spec: &Spec) {
        let now = self.parts.clock.now();
        let wanted = Source::all(spec);
        let Self { held, parts, .. } = self;
        held.retain(|source, _| {
            let stays = wanted.contains(source);
            if !stays {
                parts.metrics.forget(&source.repository.mirror);
            }
            stays
        });
        for source in wanted {
            if !self.held.contains_key(&source) {
                let mut held = self.parts.cache.held(source.clone(), now);
                held.load(now).await;
                self.held.insert(source, (held, false));
            }
        }
    }

    fn start(&mut self, looks: &Looks) {
        let now = self.parts.clock.now();
        for (held, busy) in self.held.values_mut() {
            held.expire(now);
            if held.is_due(now) && !*busy {
                *busy = true;
                looks.push(Box::pin(look(held.ticket(), self.client.clone(), now)));
            }
        }
    }

    fn conclude(&mut self, source: &Source, tried: Result<Update, UpdateError>) {
        self.looks += 1;
        let (now, spread) = (self.parts.clock.now(), spread(self.parts.seed, source, self.looks));
        let Some((held, busy)) = self.held.get_mut(source) else { return };
        *busy = false;
        let news = held.conclude(tried, now, spread);
        let mirror = &source.repository.mirror;
        self.parts.metrics.refreshed(mirror, news != News::Failure);
        match (news, &held.latest) {
            (News::None, _) => {}
            (News::Root | News::Failure, Err(why)) => {
                tracing::error!(mirror, %why, "what this trust root is needed for is not verified");
            }
            (News::Root, Ok(latest)) => {
                let (sha256, until) = (latest.root.sha256(), latest.until);
                tracing::info!(mirror, sha256, %until, "trust root fetched");
            }
            (News::Failure, Ok(latest)) => {
                let (why, until) = (latest.failure.as_deref().unwrap_or_default(), latest.until);
                tracing::warn!(mirror, why, %until, "a trust root could not be fetched anew: the last one stays");
            }
        }
    }

    /// Tells of what changed.
    fn publish(&self) {
        let roots: BTreeMap<_, _> =
            self.held.iter().map(|(source, (held, _))| (source.clone(), held.latest.clone())).collect();
        for (source, latest) in &roots {
            let until = latest.as_ref().map_or(0, |latest| latest.until.as_second());
            self.parts.metrics.expires(&source.repository.mirror, until);
        }
        self.published.send_if_modified(|published| {
            let changed = published.0 != roots;
            if changed {
                *published = Arc::new(Roots(roots));
            }
            changed
        });
    }

    /// How long nothing has to be done.
    fn pause(&self) -> Duration {
        let now = self.parts.clock.now();
        let next = |(held, busy): &(Held, Busy)| match busy {
            // Its end is waited for.
            true => held.latest.as_ref().map_or(Timestamp::MAX, |latest| latest.until),
            false => held.next(),
        };
        let next = self.held.values().map(next).min().unwrap_or(Timestamp::MAX);
        Duration::try_from(next.duration_since(now)).unwrap_or_default().min(LOOK_AT_THE_CLOCK)
    }
}

/// Looks for a repository's trust root, where the configuration says.
pub(crate) async fn look(
    (source, files, folder): Ticket,
    client: Result<Client, String>,
    now: Timestamp,
) -> Tried {
    let tried = match (source.repository.offline, folder.clone()) {
        (true, Some(from)) => update(&source, from, files, None, now).await,
        (true, None) => Err(UpdateError::NoFolder),
        (false, _) => match client {
            Err(why) => Err(UpdateError::Client(why)),
            Ok(client) => match Mirror::new(&source.repository.mirror, client) {
                Ok(mirror) => update(&source, mirror, files, folder, now).await,
                Err(error) => Err(error.into()),
            },
        },
    };
    (source, tried)
}

/// A function of what it is for: no randomness is needed.
fn spread(seed: u64, source: &Source, look: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, source.folder(), look).hash(&mut hasher);
    f64::from(u16::try_from(hasher.finish() & 0xffff).unwrap_or_default()) / f64::from(u16::MAX)
}
