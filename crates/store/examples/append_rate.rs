//! Measures durable appends: `cargo run --release -p windlass-store --example append_rate [PRODUCERS] [SECONDS] [KEYS]`.
//!
//! Each producer appends one delivery with one hint at a time and waits until it is durable, as a webhook does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinSet;
use windlass_model::{Clock, Hint, Kind, ObjectKey, ObjectRef, Signal, Tag};
use windlass_store::{AuditEntry, AuditKind, Delivery, Store};

struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "a measurement runs on the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let producers = numbers.next().transpose()?.unwrap_or(64);
    let seconds = u64::try_from(numbers.next().transpose()?.unwrap_or(5))?;
    let keys = numbers.next().transpose()?.unwrap_or(1000).max(1);
    let folder = tempfile::tempdir_in(".")?;
    let store = Store::open(folder.path(), Arc::new(WallClock)).await?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for producer in 0..producers {
        let store = store.clone();
        tasks.spawn(async move { produce(&store, producer, keys, end).await });
    }
    let mut waits: Vec<Duration> = Vec::new();
    for of_one in tasks.join_all().await {
        waits.extend(of_one.map_err(|error| error.to_string())?);
    }
    waits.sort_unstable();
    let quantile = |percent: usize| waits.get(waits.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "{} durable appends/s with {producers} producers on {keys} keys; p50 {:?}, p99 {:?}",
        waits.len() as u64 / seconds.max(1),
        quantile(50),
        quantile(99)
    );
    store.close().await?;
    Ok(())
}

async fn produce(
    store: &Store,
    producer: usize,
    keys: usize,
    end: Instant,
) -> Result<Vec<Duration>, Box<dyn std::error::Error + Send + Sync>> {
    let mut waits = Vec::new();
    while Instant::now() < end {
        let number = waits.len();
        let key = ObjectKey::new("apps", format!("app-{}", (producer * 7919 + number) % keys));
        let hint = Hint::TagPushed { tag: Tag::parse(&format!("1.{producer}.{number}"))?, digest: None };
        let (target, event) = (ObjectRef::new(Kind::ImageRepository, key), format!("ev-{producer}-{number}"));
        let received = AuditEntry {
            at: WallClock.now(),
            kind: AuditKind::Received,
            object: target.clone(),
            detail: serde_json::json!({ "receiver": "apps/registry", "sender": "harbor", "claim": hint.to_string() }),
            event: Some(event.clone()),
            about: [].into(),
        };
        let delivery = Delivery {
            receiver: "apps/registry".into(),
            delivery_id: Some(format!("{producer:08x}-7c1a-4e1f-9d52-{number:012x}")),
            event,
            received_at: received.at,
            signals: vec![Signal { target, hint }],
            audit: vec![received],
        };
        let begun = Instant::now();
        store.append(delivery).await?;
        waits.push(begun.elapsed());
    }
    Ok(waits)
}
