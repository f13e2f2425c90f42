//! The outbox: notices that were decided on and must be sent, each once but for the one window that no chat service
//! closes: a send of which nobody knows whether it arrived. A row is marked `sending`, durably, before the send, so
//! such a send is known after a crash; it is repeated, and counted.

use std::iter;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass_model::message::Notice;
use windlass_model::{Kind, ObjectKey, ObjectRef};

use crate::audit::{self, AuditEntry, AuditKind};
use crate::board::Touched;
use crate::column::{
    bounded, key_text, limit as sql_limit, micros, parse_json, parse_key, timestamp, unreadable, unsigned,
};
use crate::error::Cause;
use crate::keys::Keys;
use crate::queue::{self, longest};
use crate::subject::Subject;
use crate::writer::Transaction;

/// A notice to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNotice {
    /// Unique for (notice, Notifier). An id that is known, sent or not, is not inserted again.
    pub id: String,
    /// The Notifier that it goes to.
    pub notifier: ObjectKey,
    /// What to tell.
    pub notice: Notice,
}

/// A notice that this process is to send now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Names the row in the report on the send.
    pub id: String,
    /// The Notifier that it goes to.
    pub notifier: ObjectKey,
    /// What to tell.
    pub notice: Notice,
    /// How many sends were begun before this one.
    pub attempts: u32,
    /// An earlier send may have arrived: the process ended, or the answer was lost.
    pub repeat: bool,
}

/// How many notices are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutboxDepth {
    /// To be sent, now or later.
    pub waiting: u64,
    /// Being sent.
    pub sending: u64,
    /// Given up, and kept for people to see.
    pub dead: u64,
    /// Sends of which nobody knows whether they arrived, over the rows that are still kept.
    pub possible_repeats: u64,
}

/// A notice that was given up: a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadNotice {
    /// Names the row.
    pub id: String,
    /// The Notifier that it should have gone to, as `namespace/name`.
    pub notifier: String,
    /// How many sends were begun.
    pub attempts: u32,
    /// Why it was given up.
    pub error: String,
    /// When it was given up.
    pub at: Timestamp,
}

/// A notice that is to be sent once more, after it could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetriedNotice {
    /// Names the row.
    pub id: String,
    /// The Notifier that it goes to, as `namespace/name`.
    pub notifier: String,
    /// How many sends were begun.
    pub attempts: u32,
    /// Why the last one did not arrive.
    pub error: String,
    /// When it is sent again.
    pub not_before: Timestamp,
}

/// Marks what an owner that is gone was sending. Returns how many notices are due again.
pub(crate) fn interrupt(db: &Connection, owner: i64) -> rusqlite::Result<usize> {
    db.execute(
        "UPDATE outbox SET state = 'waiting', interrupted = interrupted + 1 WHERE state = 'sending' AND sender = ?1",
        [owner],
    )
}

pub(crate) fn insert(transaction: &mut Transaction<'_>, new: &NewNotice) -> Result<(), Cause> {
    let NewNotice { id, notifier, notice } = new;
    let inserted = transaction
        .db
        .prepare_cached(
            "INSERT INTO outbox (id, notifier, notice, not_before) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![id, key_text(notifier)?, serde_json::to_string(notice)?, micros(transaction.now)])?;
    if inserted > 0 {
        transaction.changes.outbox.add(&notifier.namespace);
    }
    Ok(())
}

/// The ids of up to `limit` due notices of these Notifiers, the longest due first, as [`take`] takes them.
pub(crate) fn due(db: &Connection, of: &Keys, limit: usize, now: Timestamp) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "SELECT id, notifier FROM outbox WHERE state = 'waiting' AND not_before > ?1 AND not_before <= ?2
         ORDER BY not_before, seq",
    )?;
    let mut ids = Vec::new();
    for (after, up_to) in queue::due_times(now) {
        let mut rows = statement.query([after, up_to])?;
        while ids.len() < limit
            && let Some(row) = rows.next()?
        {
            let notifier = row.get_ref(1)?.as_str()?;
            if of.have(|| parse_key(notifier)) {
                ids.push(row.get(0)?);
            }
        }
    }
    Ok(ids)
}

/// A row that is due.
struct DueRow {
    notifier: String,
    notice: String,
    attempts: u32,
    interrupted: i64,
}

/// Marks those of these notices that are due as being sent.
pub(crate) fn take(
    transaction: &mut Transaction<'_>,
    ids: &[String],
    now: Timestamp,
) -> Result<Vec<Outgoing>, Cause> {
    let mut outgoing = Vec::with_capacity(ids.len());
    for id in ids {
        let row = transaction
            .db
            .prepare_cached(
                "UPDATE outbox SET state = 'sending', sender = ?2, attempts = attempts + 1
                 WHERE id = ?1 AND state = 'waiting' AND (not_before <= ?3 OR not_before > ?4)
                 RETURNING notifier, notice, attempts - 1, interrupted",
            )?
            .query_row(params![id, transaction.owner, micros(now), longest(now)], |row| {
                Ok(DueRow {
                    notifier: row.get(0)?,
                    notice: row.get(1)?,
                    attempts: row.get(2)?,
                    interrupted: row.get(3)?,
                })
            })
            .optional()?;
        let Some(DueRow { notifier, notice, attempts, interrupted }) = row else { continue };
        if let Some((notifier, notice)) = parse_key(&notifier).zip(parse_json(&notice)) {
            outgoing.push(Outgoing { id: id.clone(), notifier, notice, attempts, repeat: interrupted > 0 });
        } else {
            unreadable("outbox", id);
            failed(transaction, id, "written by a version that this one cannot read".into())?;
        }
    }
    Ok(outgoing)
}

/// The send arrived.
pub(crate) fn sent(transaction: &Transaction<'_>, id: &str, at: Timestamp) -> Result<(), Cause> {
    let changed = transaction
        .db
        .prepare_cached(
            "UPDATE outbox SET state = 'sent', done_at = ?2, error = NULL
             WHERE id = ?1 AND state = 'sending' AND sender = ?3",
        )?
        .execute(params![id, micros(at), transaction.owner])?;
    expect_sending(id, changed)?;
    note(transaction, id, AuditKind::Notified, at, json!({}))
}

/// The send did not arrive, or (`unknown`) nobody knows: once more, not before `not_before`.
pub(crate) fn retry(
    transaction: &mut Transaction<'_>,
    id: &str,
    not_before: Timestamp,
    error: String,
    unknown: bool,
) -> Result<(), Cause> {
    let changed = transaction
        .db
        .prepare_cached(
            "UPDATE outbox SET state = 'waiting', not_before = ?2, error = ?3, interrupted = interrupted + ?4
             WHERE id = ?1 AND state = 'sending' AND sender = ?5",
        )?
        .execute(params![
            id,
            micros(not_before).min(longest(transaction.now)),
            bounded(error),
            unknown,
            transaction.owner
        ])?;
    transaction.changes.outbox = Touched::All;
    expect_sending(id, changed)
}

/// The target refuses the notice for good.
pub(crate) fn failed(transaction: &Transaction<'_>, id: &str, error: String) -> Result<(), Cause> {
    let (error, now) = (bounded(error), transaction.now);
    let changed = transaction
        .db
        .prepare_cached(
            "UPDATE outbox SET state = 'dead', done_at = ?2, error = ?3
             WHERE id = ?1 AND state = 'sending' AND sender = ?4",
        )?
        .execute(params![id, micros(now), error, transaction.owner])?;
    expect_sending(id, changed)?;
    note(transaction, id, AuditKind::Undeliverable, now, json!({ "reason": error }))
}

/// Tells the audit what became of a notice. One that another version wrote is passed over: nobody knows what it is about.
pub(crate) fn note(
    transaction: &Transaction<'_>,
    id: &str,
    kind: AuditKind,
    at: Timestamp,
    mut detail: Value,
) -> Result<(), Cause> {
    let sql = "SELECT notifier, notice, attempts FROM outbox WHERE id = ?1";
    let (notifier, notice, attempts): (String, String, u32) = transaction
        .db
        .prepare_cached(sql)?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some((notifier, notice)) = parse_key(&notifier).zip(parse_json::<Notice>(&notice)) else {
        return Ok(());
    };
    let commit = notice.commit.map(|commit| commit.id);
    detail["notice"] = id.into();
    detail["told"] = notice.kind.as_str().into();
    detail["summary"] = notice.summary.into();
    detail["attempts"] = attempts.into();
    if let Some(commit) = &commit {
        detail["commit"] = commit.as_str().into();
    }
    let about = iter::once(Subject::Object(notice.object)).chain(commit.map(Subject::Commit)).collect();
    let object = ObjectRef::new(Kind::Notifier, notifier);
    audit::insert(transaction, &AuditEntry { at, kind, object, detail, event: None, about })
}

/// A notice whose sender never received it, or whose send was `begun` and came to nobody knows what.
pub(crate) fn give_back(transaction: &mut Transaction<'_>, id: &str, begun: bool) -> Result<(), Cause> {
    transaction
        .db
        .prepare_cached(
            "UPDATE outbox SET state = 'waiting', attempts = attempts - NOT ?3, interrupted = interrupted + ?3
             WHERE id = ?1 AND state = 'sending' AND sender = ?2",
        )?
        .execute(params![id, transaction.owner, begun])?;
    transaction.changes.outbox = Touched::All;
    Ok(())
}

fn expect_sending(id: &str, changed: usize) -> Result<(), Cause> {
    if changed == 0 {
        return Err(Cause::Stale(format!("notice `{id}` is not being sent")));
    }
    Ok(())
}

/// The earliest time at which a waiting notice of these Notifiers is due.
pub(crate) fn next_due(db: &Connection, of: &Keys) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = db.prepare_cached(
        "SELECT notifier, not_before FROM outbox WHERE state = 'waiting' ORDER BY not_before",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let notifier = row.get_ref(0)?.as_str()?;
        if of.have(|| parse_key(notifier)) {
            return Ok(Some(timestamp(row.get(1)?)));
        }
    }
    Ok(None)
}

pub(crate) fn depth(db: &Connection) -> rusqlite::Result<OutboxDepth> {
    let sql = "SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'sending'),
                      count(*) FILTER (WHERE state = 'dead'), ifnull(sum(interrupted), 0) FROM outbox";
    db.prepare_cached(sql)?.query_row([], |row| {
        Ok(OutboxDepth {
            waiting: unsigned(row.get(0)?),
            sending: unsigned(row.get(1)?),
            dead: unsigned(row.get(2)?),
            possible_repeats: unsigned(row.get(3)?),
        })
    })
}

/// Notices that wait after a send that failed, the next first.
pub(crate) fn retried(db: &Connection, limit: usize) -> rusqlite::Result<Vec<RetriedNotice>> {
    let sql = "SELECT id, notifier, attempts, ifnull(error, ''), not_before FROM outbox
               WHERE state = 'waiting' AND attempts > 0 ORDER BY not_before, seq LIMIT ?1";
    let retried = |row: &Row<'_>| {
        Ok(RetriedNotice {
            id: row.get(0)?,
            notifier: row.get(1)?,
            attempts: row.get(2)?,
            error: row.get(3)?,
            not_before: timestamp(row.get(4)?),
        })
    };
    db.prepare_cached(sql)?.query_map([sql_limit(limit)], retried)?.collect()
}

/// Notices that were given up, the latest first.
pub(crate) fn dead(db: &Connection, limit: usize) -> rusqlite::Result<Vec<DeadNotice>> {
    let sql = "SELECT id, notifier, attempts, error, done_at FROM outbox WHERE state = 'dead'
               ORDER BY done_at DESC, seq DESC LIMIT ?1";
    db.prepare_cached(sql)?.query_map([sql_limit(limit)], dead_notice)?.collect()
}

fn dead_notice(row: &Row<'_>) -> rusqlite::Result<DeadNotice> {
    Ok(DeadNotice {
        id: row.get(0)?,
        notifier: row.get(1)?,
        attempts: row.get(2)?,
        error: row.get(3)?,
        at: timestamp(row.get(4)?),
    })
}
