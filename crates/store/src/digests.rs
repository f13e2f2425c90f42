//! When contents were first seen, whatever tags they had. They are remembered as long as they are seen again.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use windlass_model::Digest;

use crate::column::{micros, timestamp};
use crate::error::Cause;

/// How exact `last_seen` is, in microseconds: seeing the same again within it writes nothing.
const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// It was seen; the first time stays.
pub(crate) fn seen(db: &Connection, repository: &str, digest: &Digest, at: Timestamp) -> Result<(), Cause> {
    db.prepare_cached(
        "INSERT INTO digests (repository, digest, first_seen, last_seen) VALUES (?1, ?2, ?3, ?3)
         ON CONFLICT (repository, digest) DO UPDATE SET last_seen = excluded.last_seen
         WHERE last_seen < excluded.last_seen - ?4",
    )?
    .execute(params![repository, digest.as_str(), micros(at), DAY])?;
    Ok(())
}

/// When this content was first seen.
pub(crate) fn first_seen(
    db: &Connection,
    repository: &str,
    digest: &Digest,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement =
        db.prepare_cached("SELECT first_seen FROM digests WHERE repository = ?1 AND digest = ?2")?;
    let at = statement.query_row(params![repository, digest.as_str()], |row| row.get(0)).optional()?;
    Ok(at.map(timestamp))
}
