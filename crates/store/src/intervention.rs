//! What a person asks of the queue and the outbox: try now, or drop. Each is one change, and an entry of the audit.
//!
//! Work is never given up by itself: it is tried again until it is done, so it has no dead letters. Notices have: those
//! that their service refused for good.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use serde_json::json;
use windlass_model::ObjectRef;

use crate::audit::{self, AuditEntry, AuditKind};
use crate::board::Touched;
use crate::column::{micros, object_text, parse_object};
use crate::error::Cause;
use crate::outbox;
use crate::subject::Subject;
use crate::writer::Transaction;

/// Events that an audit entry about dropped work is found by; more are counted only.
const MAX_EVENTS: usize = 100;

/// Something that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Item {
    /// Work, by its key.
    Work(ObjectRef),
    /// A notice, by its id.
    Notice(String),
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Item::Work(target) => target.fmt(f),
            Item::Notice(id) => f.write_str(id),
        }
    }
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intervention {
    /// Work that waits for a later try is due now, as are notices; a dead notice is sent again.
    Retry(Item),
    /// The same for everything that waits for a later try, and for every dead notice.
    RetryAll,
    /// Work is forgotten with all that it was to look at; a notice is never sent.
    Drop(Item),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intervened {
    /// These were changed.
    Changed(Vec<Item>),
    /// It is due already: nothing was changed.
    Due,
    /// Somebody works on it or sends it at this moment: nothing was changed.
    Busy,
    /// Nothing of this name waits.
    Unknown,
}

/// Does what was asked for, and tells the audit.
pub(crate) fn run(
    transaction: &mut Transaction<'_>,
    intervention: &Intervention,
) -> Result<Intervened, Cause> {
    match intervention {
        Intervention::Retry(item) => retry(transaction, item),
        Intervention::RetryAll => retry_all(transaction),
        Intervention::Drop(Item::Work(target)) => drop_work(transaction, target),
        Intervention::Drop(Item::Notice(id)) => drop_notice(transaction, id),
    }
}

fn retry(transaction: &mut Transaction<'_>, item: &Item) -> Result<Intervened, Cause> {
    let due = |not_before: i64, now: Timestamp| not_before <= micros(now);
    match item {
        Item::Work(target) => match Row::find(transaction, target)? {
            None => return Ok(Intervened::Unknown),
            Some(row) if row.claimed => return Ok(Intervened::Busy),
            Some(row) if due(row.not_before, transaction.now) => return Ok(Intervened::Due),
            Some(row) => retry_work(transaction, target, &row)?,
        },
        Item::Notice(id) => match notice(transaction, id)? {
            None => return Ok(Intervened::Unknown),
            Some((state, _)) if state == "sending" => return Ok(Intervened::Busy),
            Some((state, not_before)) if state == "waiting" && due(not_before, transaction.now) => {
                return Ok(Intervened::Due);
            }
            Some(_) => retry_notice(transaction, id)?,
        },
    }
    Ok(Intervened::Changed(vec![item.clone()]))
}

fn retry_all(transaction: &mut Transaction<'_>) -> Result<Intervened, Cause> {
    let now = micros(transaction.now);
    let texts = |sql: &str| -> Result<Vec<String>, Cause> {
        let mut statement = transaction.db.prepare_cached(sql)?;
        Ok(statement.query_map([now], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    };
    let targets = texts(
        "SELECT target FROM work WHERE not_before > ?1
             AND NOT EXISTS (SELECT 1 FROM claims WHERE work = work.id) ORDER BY id",
    )?;
    let notices = texts(
        "SELECT id FROM outbox WHERE state = 'dead' OR (state = 'waiting' AND not_before > ?1) ORDER BY seq",
    )?;
    let mut changed = Vec::with_capacity(targets.len() + notices.len());
    for target in targets.iter().filter_map(|text| parse_object(text)) {
        if let Some(row) = Row::find(transaction, &target)? {
            retry_work(transaction, &target, &row)?;
            changed.push(Item::Work(target));
        }
    }
    for id in notices {
        retry_notice(transaction, &id)?;
        changed.push(Item::Notice(id));
    }
    Ok(Intervened::Changed(changed))
}

/// A row of work, for a change of it.
struct Row {
    id: i64,
    not_before: i64,
    attempts: u32,
    reason: Option<String>,
    claimed: bool,
}

impl Row {
    fn find(transaction: &Transaction<'_>, target: &ObjectRef) -> Result<Option<Self>, Cause> {
        let sql =
            "SELECT id, not_before, attempts, reason, EXISTS (SELECT 1 FROM claims WHERE work = work.id)
                   FROM work WHERE target = ?1";
        let row = transaction.db.prepare_cached(sql)?.query_row([object_text(target)?], |row| {
            Ok(Self {
                id: row.get(0)?,
                not_before: row.get(1)?,
                attempts: row.get(2)?,
                reason: row.get(3)?,
                claimed: row.get(4)?,
            })
        });
        Ok(row.optional()?)
    }
}

/// The attempts stay: they say how long it has been failing, and are forgotten when it succeeds.
fn retry_work(transaction: &mut Transaction<'_>, target: &ObjectRef, row: &Row) -> Result<(), Cause> {
    transaction
        .db
        .prepare_cached("UPDATE work SET not_before = ?2 WHERE id = ?1")?
        .execute(params![row.id, micros(transaction.now)])?;
    transaction.changes.work.add(&target.key.namespace);
    note_work(transaction, target, row, "retry")
}

fn drop_work(transaction: &mut Transaction<'_>, target: &ObjectRef) -> Result<Intervened, Cause> {
    let Some(row) = Row::find(transaction, target)? else { return Ok(Intervened::Unknown) };
    if row.claimed {
        return Ok(Intervened::Busy);
    }
    note_work(transaction, target, &row, "drop")?;
    transaction.db.prepare_cached("DELETE FROM hints WHERE work = ?1")?.execute([row.id])?;
    transaction.db.prepare_cached("DELETE FROM work WHERE id = ?1")?.execute([row.id])?;
    Ok(Intervened::Changed(vec![Item::Work(target.clone())]))
}

/// Tells the audit, which finds the entry by the events that are outstanding.
fn note_work(
    transaction: &Transaction<'_>,
    target: &ObjectRef,
    row: &Row,
    request: &str,
) -> Result<(), Cause> {
    let sql = "SELECT DISTINCT event FROM hints WHERE work = ?1 ORDER BY event";
    let events: Vec<String> = transaction
        .db
        .prepare_cached(sql)?
        .query_map([row.id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let detail = json!({
        "request": request, "attempts": row.attempts, "reason": row.reason, "events": events.len(),
    });
    let about = events.into_iter().take(MAX_EVENTS).map(Subject::Event).collect();
    let (at, kind, object) = (transaction.now, AuditKind::Requested, target.clone());
    audit::insert(transaction, &AuditEntry { at, kind, object, detail, event: None, about })
}

/// The state of a notice that is not done with, and when it is due.
fn notice(transaction: &Transaction<'_>, id: &str) -> Result<Option<(String, i64)>, Cause> {
    let sql =
        "SELECT state, not_before FROM outbox WHERE id = ?1 AND state IN ('waiting', 'sending', 'dead')";
    let mut statement = transaction.db.prepare_cached(sql)?;
    Ok(statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// A dead notice begins anew, as if nothing had been sent: its service took none of it.
fn retry_notice(transaction: &mut Transaction<'_>, id: &str) -> Result<(), Cause> {
    let now = transaction.now;
    outbox::note(transaction, id, AuditKind::Requested, now, json!({ "request": "retry" }))?;
    transaction
        .db
        .prepare_cached(
            "UPDATE outbox SET not_before = ?2, attempts = iif(state = 'dead', 0, attempts), state = 'waiting',
                 done_at = NULL
             WHERE id = ?1",
        )?
        .execute(params![id, micros(now)])?;
    transaction.changes.outbox = Touched::All;
    Ok(())
}

/// The row stays for a while, so that a record that is repeated after a crash does not send it after all.
fn drop_notice(transaction: &mut Transaction<'_>, id: &str) -> Result<Intervened, Cause> {
    match notice(transaction, id)? {
        None => return Ok(Intervened::Unknown),
        Some((state, _)) if state == "sending" => return Ok(Intervened::Busy),
        Some(_) => {}
    }
    let now = transaction.now;
    outbox::note(transaction, id, AuditKind::Requested, now, json!({ "request": "drop" }))?;
    transaction
        .db
        .prepare_cached("UPDATE outbox SET state = 'dropped', done_at = ?2 WHERE id = ?1")?
        .execute(params![id, micros(now)])?;
    Ok(Intervened::Changed(vec![Item::Notice(id.to_owned())]))
}
