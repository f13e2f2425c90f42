//! Drives a store for measurements: `cargo run --release -p windlass-store --example queue_rate FOLDER [NATS-URL]`.
//!
//! The store is embedded in FOLDER, or shared over the server with whatever other such programs use it. Each line of
//! the input is an order, and is answered by a line of JSON; the first line of the output says that it is ready.
//!
//! | order | what is done |
//! |---|---|
//! | `append CALLERS MS` | so many callers append deliveries for so long, each the next one when the last is durable |
//! | `backlog KEYS` | one delivery for each of so many keys |
//! | `pace COUNT RATE` | appends so many deliveries a second, whatever becomes of them |
//! | `claim COUNT` | claims and completes until so many hints came; how old each was when it was claimed |
//! | `events COUNT RATE` | both of these at once |
//! | `drain` | claims and completes until nothing waits |
//! | `tags IMAGES TAGS` | records as many tags for as many images, as first looks do |
//! | `log` | how much the log holds on the server |
//! | `copy` | makes a copy of the database as a snapshot is made; its size |
//! | `bare CALLERS MS` | the baseline: messages published to JetStream, or commits of one row in SQLite |

mod bare;
mod drive;

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_model::Clock;
use windlass_store::{NatsOptions, Store};

/// The stream that is shared.
const STREAM: &str = "bench";

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy)]
struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "a measurement runs on the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Where the store is.
struct Place {
    folder: PathBuf,
    server: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("give a folder")?.into();
    let place = Place { folder, server: arguments.next() };
    let started = Instant::now();
    let store = open(&place).await?;
    println!("{}", json!({"ready_ms": milliseconds(started)}));
    let mut orders = drive::Driver::new(store.clone());
    for line in std::io::stdin().lock().lines() {
        println!("{}", obey(&place, &mut orders, &line?).await?);
    }
    drop(orders);
    store.close().await?;
    Ok(())
}

async fn open(place: &Place) -> Result<Store, Failure> {
    let clock = Arc::new(WallClock);
    let Some(server) = &place.server else { return Ok(Store::open(&place.folder, clock).await?) };
    let options =
        NatsOptions { servers: server.clone(), stream: STREAM.to_owned(), ..NatsOptions::default() };
    Ok(Store::connect(&place.folder, &options, clock).await?)
}

async fn obey(place: &Place, driver: &mut drive::Driver, order: &str) -> Result<Value, Failure> {
    let mut words = order.split_whitespace();
    let name = words.next().unwrap_or_default();
    let numbers = words.map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    match (name, numbers.as_slice()) {
        ("append", [callers, time]) => driver.append(*callers, *time).await,
        ("backlog", [keys]) => driver.backlog(*keys).await,
        ("pace", [count, rate]) => driver.pace(*count, *rate).await,
        ("claim", [count]) => driver.claim(*count).await,
        ("events", [count, rate]) => driver.events(*count, *rate).await,
        ("drain", []) => driver.drain().await,
        ("tags", [images, tags]) => driver.tags(*images, *tags).await,
        ("copy", []) => bare::copy(&place.folder),
        ("log", []) => bare::log(place.server.as_deref().ok_or("there is no log without a server")?).await,
        ("bare", [callers, time]) => match &place.server {
            Some(server) => bare::publishes(server, *callers, *time).await,
            None => bare::commits(&place.folder, *time),
        },
        _ => Err(format!("`{order}` is no order").into()),
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// `{"count", "seconds", "p50_ms", "p99_ms"}`
fn rates(mut waits: Vec<f64>, since: Instant) -> Value {
    waits.sort_unstable_by(f64::total_cmp);
    let quantile = |percent: usize| {
        let rank = (waits.len() * percent).div_ceil(100).saturating_sub(1);
        waits.get(rank).copied().unwrap_or_default()
    };
    json!({
        "count": waits.len(), "seconds": since.elapsed().as_secs_f64(),
        "p50_ms": quantile(50), "p99_ms": quantile(99),
    })
}

/// Where the database of a store in this folder is.
fn database(folder: &Path) -> PathBuf {
    folder.join("windlass.db")
}
