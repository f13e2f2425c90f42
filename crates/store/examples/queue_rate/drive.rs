//! The store's callers: what takes webhooks, and what promotes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use windlass_model::{Clock as _, Hint, Kind, ObjectKey, ObjectRef, Signal, Tag};
use windlass_store::{AuditEntry, AuditKind, Delivery, Keys, LedgerWrite, Record, Store, Work};

use crate::{Failure, WallClock, milliseconds, rates};

/// Images that `append` names in turn.
const IMAGES: u32 = 1_000;
/// As many works are in progress in the promoter at most.
const IN_PROGRESS: usize = 8192;
/// As many first looks record their tags at one time.
const LOOKS: u32 = 64;
const TAGS_A_SECOND: u32 = 1_000_000;

/// One process's use of a store.
pub(crate) struct Driver {
    store: Store,
    /// Deliveries so far, by which each has an id of its own.
    deliveries: u32,
}

/// What the deliveries of one order are like.
#[derive(Clone, Copy)]
struct Run {
    /// Tells the order from earlier ones.
    first: u32,
    /// Images that are named in turn.
    keys: u32,
}

impl Driver {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, deliveries: 0 }
    }

    fn run(&mut self, keys: u32) -> Run {
        self.deliveries += 1;
        Run { first: self.deliveries, keys: keys.max(1) }
    }

    pub(crate) async fn append(&mut self, callers: u32, time: u32) -> Result<Value, Failure> {
        let (run, started) = (self.run(IMAGES), Instant::now());
        let end = started + Duration::from_millis(u64::from(time));
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let store = self.store.clone();
            tasks.spawn(async move {
                let mut waits = Vec::new();
                for number in 0.. {
                    if Instant::now() >= end {
                        break;
                    }
                    let begun = Instant::now();
                    store.append(delivery(run, caller, number)).await?;
                    waits.push(milliseconds(begun));
                }
                Ok::<_, Failure>(waits)
            });
        }
        Ok(rates(joined(tasks).await?.concat(), started))
    }

    pub(crate) async fn backlog(&mut self, keys: u32) -> Result<Value, Failure> {
        let (run, started) = (self.run(keys), Instant::now());
        let mut tasks = JoinSet::new();
        for caller in 0..LOOKS.min(keys) {
            let store = self.store.clone();
            tasks.spawn(async move {
                for number in (caller..keys).step_by(LOOKS as usize) {
                    store.append(delivery(run, 0, number)).await?;
                }
                Ok::<_, Failure>(())
            });
        }
        joined(tasks).await?;
        Ok(json!({"count": keys, "seconds": started.elapsed().as_secs_f64()}))
    }

    /// Each at its time, whether or not those before it are durable: how late one is shows in its age.
    pub(crate) async fn pace(&mut self, count: u32, rate: u32) -> Result<Value, Failure> {
        let (run, started) = (self.run(count), Instant::now());
        let mut every = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        let mut tasks = JoinSet::new();
        for number in 0..count {
            every.tick().await;
            let (store, delivery) = (self.store.clone(), delivery(run, 0, number));
            tasks.spawn(async move {
                store.append(delivery).await?;
                Ok::<_, Failure>(())
            });
        }
        joined(tasks).await?;
        Ok(json!({"count": count, "seconds": started.elapsed().as_secs_f64()}))
    }

    pub(crate) async fn claim(&mut self, count: u32) -> Result<Value, Failure> {
        claim(self.store.clone(), Some(count)).await
    }

    pub(crate) async fn events(&mut self, count: u32, rate: u32) -> Result<Value, Failure> {
        let claiming = claim(self.store.clone(), Some(count));
        let (_, claimed) = tokio::try_join!(self.pace(count, rate), claiming)?;
        Ok(claimed)
    }

    pub(crate) async fn drain(&mut self) -> Result<Value, Failure> {
        claim(self.store.clone(), None).await
    }

    pub(crate) async fn tags(&mut self, images: u32, tags: u32) -> Result<Value, Failure> {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for first in 0..LOOKS {
            let store = self.store.clone();
            tasks.spawn(async move {
                for image in (first..images).step_by(LOOKS as usize) {
                    let names = (0..tags).map(|tag| Tag::parse(&format!("1.0.{tag}")));
                    let tags = names.collect::<Result<_, _>>()?;
                    let (repository, at) = (key(image), WallClock.now());
                    let seen = LedgerWrite::TagsSeen { repository, tags, at };
                    store.record(Record { ledger: vec![seen], ..Record::default() }).await?;
                }
                Ok::<_, Failure>(())
            });
        }
        joined(tasks).await?;
        Ok(json!({"count": images * tags, "seconds": started.elapsed().as_secs_f64()}))
    }
}

fn key(image: u32) -> ObjectKey {
    ObjectKey::new("apps", format!("app-{image}"))
}

/// A push of a tag that no other delivery of this process names.
fn delivery(run: Run, caller: u32, number: u32) -> Delivery {
    let (process, first) = (std::process::id(), run.first);
    let image = caller.wrapping_mul(7919).wrapping_add(number) % run.keys;
    let tag = Tag::parse(&format!(
        "1.{first}.{}",
        u64::from(caller) * u64::from(TAGS_A_SECOND) + u64::from(number)
    ));
    let hint = Hint::TagPushed { tag: tag.expect("digits and dots are a tag"), digest: None };
    let (target, at) = (ObjectRef::new(Kind::ImageRepository, key(image)), WallClock.now());
    let event = format!("ev-{process:x}-{first}-{caller}-{number}");
    // What a webhook says of itself, as the watcher writes it.
    let detail = json!({ "receiver": "apps/registry", "sender": "distribution", "claim": hint.to_string() });
    let received = AuditEntry {
        at,
        kind: AuditKind::Received,
        object: target.clone(),
        detail,
        event: Some(event.clone()),
        about: BTreeSet::new(),
    };
    Delivery {
        receiver: "apps/registry".into(),
        delivery_id: Some(format!("{process:08x}-{first:04x}-4e1f-{caller:04x}-{number:012x}")),
        event,
        received_at: at,
        signals: vec![Signal { target, hint }],
        audit: vec![received],
    }
}

/// Claims as the promoter does, and completes each work by itself. Ends after so many hints, or when nothing waits.
async fn claim(store: Store, count: Option<u32>) -> Result<Value, Failure> {
    let (started, mut changed) = (Instant::now(), store.changed(&Keys::ALL));
    let (mut ages, mut completions) = (Vec::new(), JoinSet::new());
    while count.is_none_or(|count| ages.len() < count as usize) {
        changed.mark_unchanged();
        let works = store.claim(&Keys::ALL, IN_PROGRESS, WallClock.now()).await?;
        let now = WallClock.now();
        let nothing = works.is_empty();
        for work in works {
            let Work { target, generation, hints, .. } = work;
            ages.extend(hints.iter().map(|hint| now.duration_since(hint.at).as_secs_f64() * 1000.0));
            let store = store.clone();
            completions.spawn(async move {
                store.complete(&target, generation, Record::default()).await?;
                Ok::<_, Failure>(())
            });
        }
        if nothing && count.is_none() {
            break;
        }
        if nothing {
            changed.changed().await?;
        }
    }
    joined(completions).await?;
    Ok(rates(ages, started))
}

async fn joined<T: 'static>(mut tasks: JoinSet<Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    let mut values = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        values.push(ended??);
    }
    Ok(values)
}
