//! The queue: one row of work per key, claimed by one worker at a time.
//!
//! A claim is (key, generation, owner). An embedded store keeps claims in a table of the writer's connection that lives
//! in memory alone: they cost no disk write and end with the process, while the work itself stays. Processes that share
//! a queue keep them with the rest of the state, and they end with their owner's membership (`member.rs`).

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use windlass_model::signal::{Received, RescanReason};
use windlass_model::{Hint, ObjectRef};

use crate::board::Touched;
use crate::column::{
    bounded, limit as sql_limit, micros, object_text, parse_json, parse_object, timestamp, unreadable,
    unsigned,
};
use crate::error::Cause;
use crate::keys::Keys;
use crate::record::{self, Record};
use crate::writer::Transaction;

/// Nothing is put off for longer. So a time that lies further ahead was set by a clock that ran ahead, or was set back
/// since, and says nothing: what has it is due.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// A key to work on, held by whoever claimed it until `complete` or `retry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The key.
    pub target: ObjectRef,
    /// Names this claim in `complete` and `retry`. A signal that comes meanwhile raises the row's generation.
    pub generation: u64,
    /// How often the key was retried since it last completed.
    pub attempts: u32,
    /// What is known to have happened, each hint once, the earliest first. Never empty.
    pub hints: Vec<Received>,
    /// When the earliest outstanding hint was received.
    pub first_at: Timestamp,
}

/// How much is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueDepth {
    /// Keys that nobody works on, due or not.
    pub waiting: u64,
    /// Keys that someone works on.
    pub claimed: u64,
    /// When the earliest outstanding hint was received, waiting or claimed.
    pub oldest: Option<Timestamp>,
}

/// A row of work, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedWork {
    /// The key.
    pub target: ObjectRef,
    /// When it is due.
    pub not_before: Timestamp,
    /// How often it was retried since it last completed.
    pub attempts: u32,
    /// When the earliest outstanding hint was received.
    pub first_at: Timestamp,
    /// Why it was retried last.
    pub reason: Option<String>,
    /// Whether somebody works on it; false where that cannot be seen (see [`ReadOnly`](crate::ReadOnly)).
    pub claimed: bool,
}

/// A due row that nobody works on.
struct DueRow {
    id: i64,
    generation: i64,
    attempts: u32,
    first_at: i64,
}

/// Up to `limit` of these keys that are due and that nobody holds, the longest due first, as [`claim`] takes them.
pub(crate) fn due(db: &Connection, of: &Keys, limit: usize, now: Timestamp) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "SELECT target FROM work
         WHERE not_before > ?1 AND not_before <= ?2 AND NOT EXISTS (SELECT 1 FROM claims WHERE work = work.id)
         ORDER BY not_before, id",
    )?;
    let mut targets = Vec::new();
    for (after, up_to) in due_times(now) {
        let mut rows = statement.query([after, up_to])?;
        while targets.len() < limit
            && let Some(row) = rows.next()?
        {
            let target = row.get_ref(0)?.as_str()?;
            if of.have(|| parse_object(target).map(|object| object.key)) {
                targets.push(target.to_owned());
            }
        }
    }
    Ok(targets)
}

/// What is due lies in one of these spans of time, after the first and up to the second: before `now`, or so far ahead
/// that the clock was set back since it was put off.
pub(crate) fn due_times(now: Timestamp) -> [(i64, i64); 2] {
    [(i64::MIN, micros(now)), (longest(now), i64::MAX)]
}

/// Takes those of these keys that are due and that nobody holds, in this order.
pub(crate) fn claim(
    transaction: &mut Transaction<'_>,
    targets: &[String],
    now: Timestamp,
) -> Result<Vec<Work>, Cause> {
    let mut claimed = Vec::with_capacity(targets.len());
    for target in targets {
        let row = transaction
            .db
            .prepare_cached(
                "SELECT id, generation, attempts, first_at FROM work
                 WHERE target = ?1 AND (not_before <= ?2 OR not_before > ?3)
                     AND NOT EXISTS (SELECT 1 FROM claims WHERE work = work.id)",
            )?
            .query_row(params![target, micros(now), longest(now)], |row| {
                Ok(DueRow {
                    id: row.get(0)?,
                    generation: row.get(1)?,
                    attempts: row.get(2)?,
                    first_at: row.get(3)?,
                })
            })
            .optional()?;
        let Some(row) = row else { continue };
        transaction
            .db
            .prepare_cached("INSERT INTO claims (work, generation, owner) VALUES (?1, ?2, ?3)")?
            .execute(params![row.id, row.generation, transaction.owner])?;
        transaction.changes.claims = true;
        let Some(object) = parse_object(target) else {
            // It stays claimed, so that it is not found again and again.
            unreadable("work", target);
            continue;
        };
        claimed.push(Work {
            target: object,
            generation: unsigned(row.generation),
            attempts: row.attempts,
            hints: hints(transaction.db, row.id)?,
            first_at: timestamp(row.first_at),
        });
    }
    Ok(claimed)
}

/// The hints of a key, each once. Equal ones can be in two rows after a retry or a crash: one that was being worked
/// on, and one that came meanwhile.
fn hints(db: &Connection, work: i64) -> rusqlite::Result<Vec<Received>> {
    let mut statement = db.prepare_cached(
        "SELECT hint, event, min(at), generation FROM hints WHERE work = ?1 GROUP BY hint ORDER BY 3, 4",
    )?;
    let received = statement.query_map([work], |row| {
        let text = row.get_ref(0)?.as_str()?;
        // A hint that a newer version wrote: reading everything covers whatever it said.
        let hint = parse_json(text).unwrap_or_else(|| {
            unreadable("hints", text);
            Hint::Rescan { reason: RescanReason::Webhook }
        });
        Ok(Received { hint, event: row.get(1)?, at: timestamp(row.get(2)?) })
    })?;
    received.collect()
}

/// Ends a claim with success: stores the record, forgets the hints that the claim had, and keeps the newer ones.
pub(crate) fn complete(
    transaction: &mut Transaction<'_>,
    target: &ObjectRef,
    generation: u64,
    record: &Record,
) -> Result<(), Cause> {
    let held = release(transaction, target, generation)?;
    transaction
        .db
        .prepare_cached("DELETE FROM hints WHERE work = ?1 AND generation <= ?2")?
        .execute(params![held.work, held.claimed])?;
    if held.current == held.claimed {
        transaction.db.prepare_cached("DELETE FROM work WHERE id = ?1")?.execute([held.work])?;
    } else {
        // It is due since the earliest of the newer hints, so that a busy key does not overtake the others.
        transaction
            .db
            .prepare_cached(
                "UPDATE work SET attempts = 0, reason = NULL, pending = newer.count, first_at = newer.first_at,
                     not_before = min(?2, newer.first_at)
                 FROM (SELECT count(*) AS count, min(at) AS first_at FROM hints WHERE work = ?1) AS newer
                 WHERE id = ?1",
            )?
            .execute(params![held.work, micros(transaction.now)])?;
        transaction.changes.work.add(&target.key.namespace);
    }
    record::write(transaction, record)
}

/// Ends a claim without success: everything stays, and waits. If a signal came meanwhile, the key is due at once.
pub(crate) fn retry(
    transaction: &mut Transaction<'_>,
    target: &ObjectRef,
    generation: u64,
    not_before: Timestamp,
    reason: String,
) -> Result<(), Cause> {
    let held = release(transaction, target, generation)?;
    let latest =
        if held.current == held.claimed { longest(transaction.now) } else { micros(transaction.now) };
    let due = micros(not_before).min(latest);
    transaction
        .db
        .prepare_cached(
            "UPDATE work SET attempts = attempts + 1, not_before = ?2, reason = ?3 WHERE id = ?1",
        )?
        .execute(params![held.work, due, bounded(reason)])?;
    transaction.changes.work.add(&target.key.namespace);
    Ok(())
}

/// The furthest time for which something can be put off.
pub(crate) fn longest(now: Timestamp) -> i64 {
    micros(now).saturating_add(i64::try_from(LONGEST_WAIT.as_micros()).unwrap_or(i64::MAX))
}

/// Frees a claim whose caller never received it, or cannot say how it ended; nothing else changes.
pub(crate) fn give_back(
    transaction: &mut Transaction<'_>,
    target: &str,
    generation: i64,
) -> Result<(), Cause> {
    let freed = transaction
        .db
        .prepare_cached(
            "DELETE FROM claims
             WHERE generation = ?2 AND owner = ?3 AND work = (SELECT id FROM work WHERE target = ?1)",
        )?
        .execute(params![target, generation, transaction.owner])?;
    transaction.changes.claims |= freed > 0;
    if freed > 0 {
        transaction.changes.work = Touched::All;
    }
    Ok(())
}

/// A claim that was just ended.
struct Held {
    work: i64,
    claimed: i64,
    current: i64,
}

fn release(transaction: &mut Transaction<'_>, target: &ObjectRef, generation: u64) -> Result<Held, Cause> {
    let held = transaction
        .db
        .prepare_cached(
            "SELECT work.id, claims.generation, work.generation
             FROM work JOIN claims ON claims.work = work.id
             WHERE work.target = ?1 AND claims.generation = ?2 AND claims.owner = ?3",
        )?
        .query_row(
            params![object_text(target)?, i64::try_from(generation).unwrap_or(-1), transaction.owner],
            |row| Ok(Held { work: row.get(0)?, claimed: row.get(1)?, current: row.get(2)? }),
        )
        .optional()?;
    let held = held.ok_or_else(|| {
        Cause::Stale(format!("nobody holds {target} at generation {generation}; its work was ended already"))
    })?;
    transaction.db.prepare_cached("DELETE FROM claims WHERE work = ?1")?.execute([held.work])?;
    transaction.changes.claims = true;
    Ok(held)
}

/// The earliest time at which one of these keys is due that nobody holds.
pub(crate) fn next_due(db: &Connection, of: &Keys) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = db.prepare_cached(
        "SELECT target, not_before FROM work WHERE NOT EXISTS (SELECT 1 FROM claims WHERE work = work.id)
         ORDER BY not_before",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let target = row.get_ref(0)?.as_str()?;
        if of.have(|| parse_object(target).map(|object| object.key)) {
            return Ok(Some(timestamp(row.get(1)?)));
        }
    }
    Ok(None)
}

/// How many claims are held.
pub(crate) fn claimed(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT count(*) FROM claims")?.query_row([], |row| row.get(0))
}

/// The highest generation in use. No hint is above its row of work.
pub(crate) fn last_generation(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT ifnull(max(generation), 0) FROM work", [], |row| row.get(0))
}

/// All rows of work, and the earliest hint; `claimed` of them are held.
pub(crate) fn depth(db: &Connection, claimed: u64) -> rusqlite::Result<QueueDepth> {
    db.prepare_cached("SELECT count(*), min(first_at) FROM work")?.query_row([], |row| {
        let total = unsigned(row.get(0)?);
        // Claims are counted a moment later than rows are.
        let claimed = claimed.min(total);
        Ok(QueueDepth {
            waiting: total - claimed,
            claimed,
            oldest: row.get::<_, Option<i64>>(1)?.map(timestamp),
        })
    })
}

/// Rows of work, the earliest due first.
pub(crate) fn list(db: &Connection, limit: usize) -> rusqlite::Result<Vec<QueuedWork>> {
    let mut statement = db.prepare_cached(
        "SELECT target, not_before, attempts, first_at, reason, false FROM work ORDER BY not_before, id LIMIT ?1",
    )?;
    let rows = statement.query_map([sql_limit(limit)], queued_work)?;
    rows.filter_map(Result::transpose).collect()
}

/// Reads target, `not_before`, attempts, `first_at`, reason and claimed, in this order.
pub(crate) fn queued_work(row: &Row<'_>) -> rusqlite::Result<Option<QueuedWork>> {
    let target = row.get_ref(0)?.as_str()?;
    let Some(target) = parse_object(target) else {
        unreadable("work", target);
        return Ok(None);
    };
    Ok(Some(QueuedWork {
        target,
        not_before: timestamp(row.get(1)?),
        attempts: row.get(2)?,
        first_at: timestamp(row.get(3)?),
        reason: row.get(4)?,
        claimed: row.get(5)?,
    }))
}

/// The claims of an owner that is gone: the keys are claimable again.
pub(crate) fn release_all(transaction: &mut Transaction<'_>, owner: i64) -> Result<(), Cause> {
    let freed = transaction.db.prepare_cached("DELETE FROM claims WHERE owner = ?1")?.execute([owner])?;
    transaction.changes.claims |= freed > 0;
    if freed > 0 {
        transaction.changes.work = Touched::All;
    }
    Ok(())
}
