//! What the disk, SQLite and JetStream do by themselves, and what they hold.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{Failure, STREAM, database, milliseconds, rates};

/// A message that carries one delivery is about as long.
const BODY: [u8; 400] = [b'x'; 400];
const BARE_STREAM: &str = "bare";

/// Commits of one row each, one after the other, in a database of its own with a write-ahead log and
/// `synchronous=FULL`, as the store's is.
pub(crate) fn commits(folder: &Path, time: u32) -> Result<Value, Failure> {
    let file = folder.join("bare.db");
    let connection = Connection::open(&file)?;
    let _: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute("CREATE TABLE IF NOT EXISTS rows (body BLOB NOT NULL)", [])?;
    let (started, mut waits) = (Instant::now(), Vec::new());
    while started.elapsed() < Duration::from_millis(u64::from(time)) {
        let begun = Instant::now();
        connection.prepare_cached("INSERT INTO rows VALUES (?1)")?.execute([BODY])?;
        waits.push(milliseconds(begun));
    }
    Ok(rates(waits, started))
}

/// Messages of one body each in a stream of its own: so many callers, each publishing its next one when the last was
/// acknowledged.
pub(crate) async fn publishes(server: &str, callers: u32, time: u32) -> Result<Value, Failure> {
    let context = jetstream::new(async_nats::connect(server).await?);
    let subjects = vec![BARE_STREAM.to_owned()];
    let config = jetstream::stream::Config { name: BARE_STREAM.to_owned(), subjects, ..Default::default() };
    context.get_or_create_stream(config).await?;
    let started = Instant::now();
    let end = started + Duration::from_millis(u64::from(time));
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let context = context.clone();
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                context.publish(BARE_STREAM, BODY.as_slice().into()).await?.await?;
                waits.push(milliseconds(begun));
            }
            Ok::<_, Failure>(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        waits.extend(ended??);
    }
    Ok(rates(waits, started))
}

/// `{"messages", "bytes"}` of the shared stream, since it was last replaced by a snapshot.
pub(crate) async fn log(server: &str) -> Result<Value, Failure> {
    let context = jetstream::new(async_nats::connect(server).await?);
    let state = context.get_stream(STREAM).await?.get_info().await?.state;
    Ok(json!({"messages": state.messages, "bytes": state.bytes, "last": state.last_sequence}))
}

/// `{"bytes", "seconds"}` of a copy, as a snapshot of a shared state is made.
pub(crate) fn copy(folder: &Path) -> Result<Value, Failure> {
    let target = folder.join("copy.db");
    let started = Instant::now();
    let connection = Connection::open(database(folder))?;
    connection.execute("VACUUM INTO ?1", [target.to_string_lossy()])?;
    let (bytes, seconds) = (std::fs::metadata(&target)?.len(), started.elapsed().as_secs_f64());
    std::fs::remove_file(&target)?;
    Ok(json!({"bytes": bytes, "seconds": seconds}))
}
