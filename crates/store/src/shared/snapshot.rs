//! Snapshots: what the log's beginning came to, so that it need not be kept. A snapshot is a copy of the state, under a
//! name that says of which log and up to which message; one that is there is never changed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::ObjectStore;
use async_nats::jetstream::stream::State;
use futures_util::StreamExt as _;
use rusqlite::Connection;
use rusqlite::backup::Backup;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{MissedTickBehavior, interval};

use crate::board::{Changes, Touched};
use crate::database;
use crate::error::Cause;
use crate::shared::entry::Position;
use crate::shared::follower::{FollowError, server};
use crate::shared::stream::log_of;
use crate::shared::{Link, member};
use crate::writer::Transaction;

/// The copy on its way, beside the database.
const FILE: &str = "snapshot.db";
/// Up to this size, a state is copied whenever the log has grown: it takes less than a second.
const SMALL: u64 = 64 << 20;
/// A larger one is copied when the log has come to this part of its size, so that copying is not most of the work,
const PART: u64 = 4;
/// and no later than after as many times the messages: half a minute of a newcomer's time.
const LATEST: u64 = 10;
/// Between two looks whether the snapshot is still there: a newcomer waits no longer than this.
const LOOK: Duration = Duration::from_secs(10);

/// Replaces the log's beginning by a snapshot, whenever it has grown, and where somebody deleted the snapshot. One of
/// all processes does it.
pub(super) async fn make(link: Arc<Link>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = link.grown.notified() => if let Err(error) = link.replace_beginning().await {
                tracing::warn!(%error, "no snapshot of the shared queue could be made; its log grows until one can");
            },
            _ = look.tick() => if let Err(error) = link.keep_reachable().await {
                tracing::debug!(%error, "whether there is a snapshot of the shared queue cannot be seen");
            },
        }
    }
}

impl Link {
    /// Whether this process is the one: the longest-standing.
    async fn makes_snapshots(&self) -> Result<bool, Cause> {
        let looked = |transaction: &mut Transaction<'_>| {
            Ok(member::all(transaction.db)?.first() == Some(&Position::read(transaction.db)?.member))
        };
        self.writer.run(looked).await
    }

    async fn replace_beginning(&self) -> Result<(), FollowError> {
        if !self.makes_snapshots().await? {
            return Ok(());
        }
        let stream = self.names.open(&self.jetstream).await.map_err(server)?;
        let State { bytes, messages, .. } = stream.get_info().await.map_err(server)?.state;
        let grown = Grown { bytes, messages };
        if !grown.is_worth_a_copy(self.readers.read(size).await.map_err(server)?, self.snapshot_every) {
            return Ok(());
        }
        self.snapshot().await
    }

    /// Without a snapshot that reaches the log's beginning, no newcomer can join.
    async fn keep_reachable(&self) -> Result<(), FollowError> {
        if self.expect_connection().is_err() || !self.makes_snapshots().await? {
            return Ok(());
        }
        let info =
            self.names.open(&self.jetstream).await.map_err(server)?.get_info().await.map_err(server)?;
        let (log, first) = (log_of(&info), info.state.first_sequence);
        let Some(bucket) = self.names.snapshots(&self.jetstream).await.map_err(server)? else {
            return Ok(());
        };
        let reached = |(name, sequence): &(String, i64)| {
            *name == self::name(&log, *sequence) && reaches(*sequence, first)
        };
        if first <= 1 || snapshots(&bucket).await?.iter().any(reached) {
            return Ok(());
        }
        tracing::warn!("the snapshot of the shared queue was deleted; another one is made");
        self.snapshot().await
    }

    async fn snapshot(&self) -> Result<(), FollowError> {
        let stream = self.names.open(&self.jetstream).await.map_err(server)?;
        let Some(bucket) = self.names.snapshots(&self.jetstream).await.map_err(server)? else {
            return Ok(());
        };
        let file = self.folder.join(FILE);
        remove(&file).await?;
        let target = file.to_string_lossy().into_owned();
        let copied = self.readers.read(move |db| db.execute("VACUUM INTO ?1", [target]).map(drop)).await;
        copied.map_err(server)?;
        let position = Position::read(&Connection::open(&file).map_err(Cause::from)?).map_err(Cause::from)?;
        if position.log != log_of(&stream.get_info().await.map_err(server)?) {
            return Ok(());
        }
        let mut reader = File::open(&file).await.map_err(server)?;
        let name = name(&position.log, position.sequence);
        bucket.put(name.as_str(), &mut reader).await.map_err(server)?;
        remove(&file).await?;
        let next = u64::try_from(position.sequence).unwrap_or(0) + 1;
        stream.purge().sequence(next).await.map_err(server)?;
        for (older, _) in snapshots(&bucket).await?.into_iter().filter(|(other, _)| *other != name) {
            bucket.delete(older).await.map_err(server)?;
        }
        tracing::info!(sequence = position.sequence, "the shared queue's log was replaced by a snapshot");
        Ok(())
    }

    /// Makes the copy anew: from the newest snapshot of the log, if one is needed or there.
    pub(super) async fn restore_newest(
        &self,
        log: &str,
        state: &State,
        member: i64,
    ) -> Result<(), FollowError> {
        let bucket = self.names.snapshots(&self.jetstream).await.map_err(server)?;
        let (first, last) = (state.first_sequence, state.last_sequence);
        // One that goes further than the log is of messages that the server lost since.
        let usable = |(name, sequence): &(String, i64)| {
            *name == self::name(log, *sequence) && u64::try_from(*sequence).is_ok_and(|up_to| up_to <= last)
        };
        let newest = match &bucket {
            Some(bucket) => {
                snapshots(bucket).await?.into_iter().filter(usable).max_by_key(|(_, up_to)| *up_to)
            }
            None => None,
        };
        match bucket.zip(newest) {
            Some((bucket, (name, sequence))) if reaches(sequence, first) => {
                let file = self.folder.join(FILE);
                download(&bucket, &name, &file).await?;
                self.replace(Some(&file), log, member).await?;
                remove(&file).await
            }
            _ if first <= 1 => Ok(self.replace(None, log, member).await?),
            _ => Err(FollowError::Gap { first }),
        }
    }

    /// Puts another state into the database. Who reads it at this moment sees the former one to the end.
    async fn replace(&self, from: Option<&Path>, log: &str, member: i64) -> Result<(), Cause> {
        let (from, log) = (from.map(Path::to_owned), log.to_owned());
        let replaced = move |db: &mut Connection| {
            let source = match from {
                Some(file) => Connection::open(file)?,
                None => database::empty_copy()?,
            };
            Backup::new(&source, db)?.run_to_completion(i32::MAX, Duration::ZERO, None)?;
            db.execute("UPDATE position SET log = ?1, member = ?2", rusqlite::params![log, member])?;
            Ok(())
        };
        self.writer.outside(replaced).await?;
        // Whoever waits for a change looks at the other state.
        let changed = |transaction: &mut Transaction<'_>| {
            *transaction.changes =
                Changes { work: Touched::All, outbox: Touched::All, claims: true, leases: true };
            Ok(())
        };
        self.writer.run(changed).await
    }
}

/// Bytes of the state, without pages that are free.
fn size(db: &Connection) -> rusqlite::Result<u64> {
    let used = "SELECT (page_count - freelist_count) * page_size
                FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()";
    let bytes: i64 = db.query_row(used, [], |row| row.get(0))?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// What the log has come to since it was last replaced.
#[derive(Debug, Clone, Copy)]
struct Grown {
    bytes: u64,
    messages: u64,
}

impl Grown {
    /// Whether the log is to be replaced by a copy of a state of so many bytes.
    fn is_worth_a_copy(self, state: u64, snapshot_every: u64) -> bool {
        state <= SMALL || self.bytes >= state / PART || self.messages >= snapshot_every * LATEST
    }
}

/// Whether the log goes on where a snapshot ends.
fn reaches(sequence: i64, first: u64) -> bool {
    u64::try_from(sequence).unwrap_or(0) + 1 >= first
}

/// The snapshots that are there, with the message that each goes up to.
async fn snapshots(bucket: &ObjectStore) -> Result<Vec<(String, i64)>, FollowError> {
    let mut list = bucket.list().await.map_err(server)?;
    let mut found = Vec::new();
    while let Some(object) = list.next().await {
        let name = object.map_err(server)?.name;
        let sequence = name.rsplit_once('/').and_then(|(_, sequence)| sequence.parse().ok());
        found.extend(sequence.map(|sequence| (name, sequence)));
    }
    Ok(found)
}

async fn download(bucket: &ObjectStore, name: &str, file: &Path) -> Result<(), FollowError> {
    let mut object = bucket.get(name).await.map_err(server)?;
    let mut target = File::create(file).await.map_err(server)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        // The end is an error where the content's digest is another than the object's.
        let length = object.read(&mut buffer).await.map_err(server)?;
        if length == 0 {
            break;
        }
        target.write_all(&buffer[..length]).await.map_err(server)?;
    }
    target.sync_all().await.map_err(server)
}

async fn remove(file: &Path) -> Result<(), FollowError> {
    match fs::remove_file(file).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(server(error)),
        _ => Ok(()),
    }
}

fn name(log: &str, sequence: i64) -> String {
    format!("{log}/{sequence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_state_is_copied_when_its_log_is_worth_it_or_long() {
        for (state, bytes, messages, expected) in [
            (SMALL, 1_000, 20_000, true),
            (SMALL + 4, 1_000, 20_000, false),
            (1 << 30, (1 << 28) - 1, 20_000, false),
            (1 << 30, 1 << 28, 20_000, true),
            (1 << 40, 1 << 28, 199_999, false),
            (1 << 40, 1 << 28, 200_000, true),
        ] {
            let grown = Grown { bytes, messages };
            assert_eq!(grown.is_worth_a_copy(state, 20_000), expected, "{state} {grown:?}");
        }
    }

    #[test]
    fn the_size_of_a_state_is_that_of_its_copy() {
        let folder = tempfile::tempdir().unwrap();
        let db = database::empty_copy().unwrap();
        let insert = "INSERT INTO audit (at, kind, object, detail) VALUES (0, 'test', '', ?1)";
        db.execute(insert, ["x".repeat(1 << 20)]).unwrap();
        db.execute(insert, ["y".repeat(1 << 20)]).unwrap();
        db.execute("DELETE FROM audit WHERE id = 1", []).unwrap();
        let copy = folder.path().join(FILE);
        db.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).unwrap();
        assert_eq!(size(&db).unwrap(), std::fs::metadata(copy).unwrap().len());
    }
}
