//! Retention: forgets what has served its purpose, a little at a time.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use crate::column::micros;
use crate::error::Cause;
use crate::writer::Transaction;

/// Rows deleted in one step: a few milliseconds of the writer's time (deleting 10,000 at once takes half a second).
const STEP: usize = 500;
const DAY: Duration = Duration::from_hours(24);

/// How long finished things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Delivery ids and notices that were sent or dropped, by which a repetition is recognised. 7 days; no sender repeats for longer.
    pub repetitions: Duration,
    /// Audit entries, superseded commits, dead notices, tags that are gone and contents that were not seen since. 30 days.
    pub history: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { repetitions: 7 * DAY, history: 30 * DAY }
    }
}

/// What one step deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "there may be more to prune"]
pub struct Pruned {
    /// Rows deleted, at most 500.
    pub rows: usize,
    /// Call again: the step ended at its bound.
    pub more: bool,
}

/// One step. What waits, and the last commit of each automation, are never touched.
pub(crate) fn prune(
    transaction: &Transaction<'_>,
    now: Timestamp,
    retention: Retention,
) -> Result<Pruned, Cause> {
    let before =
        |age: Duration| micros(now).saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
    let (repetitions, history) = (before(retention.repetitions), before(retention.history));
    let steps = [
        (
            "DELETE FROM deliveries WHERE (receiver, delivery) IN
                 (SELECT receiver, delivery FROM deliveries WHERE at < ?1
                  ORDER BY at, receiver, delivery LIMIT ?2)",
            repetitions,
        ),
        (
            "DELETE FROM outbox WHERE seq IN
                 (SELECT seq FROM outbox WHERE state = 'sent' AND done_at < ?1 ORDER BY done_at, seq LIMIT ?2)",
            repetitions,
        ),
        (
            "DELETE FROM outbox WHERE seq IN
                 (SELECT seq FROM outbox WHERE state = 'dropped' AND done_at < ?1 ORDER BY done_at, seq LIMIT ?2)",
            repetitions,
        ),
        (
            "DELETE FROM outbox WHERE seq IN
                 (SELECT seq FROM outbox WHERE state = 'dead' AND done_at < ?1 ORDER BY done_at, seq LIMIT ?2)",
            history,
        ),
        (
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 ORDER BY at, id LIMIT ?2)",
            history,
        ),
        (
            "DELETE FROM commits WHERE seq IN
                 (SELECT seq FROM commits AS old WHERE at < ?1 AND EXISTS
                      (SELECT 1 FROM commits AS new WHERE new.automation = old.automation AND new.seq > old.seq)
                  ORDER BY at, seq LIMIT ?2)",
            history,
        ),
        (
            "DELETE FROM digests WHERE (repository, digest) IN
                 (SELECT repository, digest FROM digests WHERE last_seen < ?1
                  ORDER BY last_seen, repository, digest LIMIT ?2)",
            history,
        ),
        (
            "DELETE FROM tags WHERE (repository, tag) IN
                 (SELECT repository, tag FROM tags WHERE gone_at < ?1
                  ORDER BY gone_at, repository, tag LIMIT ?2)",
            history,
        ),
    ];
    let mut left = STEP;
    for (sql, cutoff) in steps {
        if left > 0 {
            let bound = i64::try_from(left).expect("at most a step");
            left -= transaction.db.prepare_cached(sql)?.execute(params![cutoff, bound])?;
        }
    }
    Ok(Pruned { rows: STEP - left, more: left == 0 })
}
