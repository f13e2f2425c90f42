//! The audit: what happened, in order, never changed and forgotten after its retention.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use windlass_model::ObjectRef;

use crate::column::{
    limit as sql_limit, micros, object_text, parse_json, parse_object, timestamp, unreadable,
};
use crate::error::Cause;
use crate::subject::{self, Subject};
use crate::writer::Transaction;

/// The columns that [`entry`] reads.
const COLUMNS: &str = "at, kind, object, detail, event,
    (SELECT json_group_array(about) FROM audit_about WHERE entry = audit.id)";

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: AuditKind,
    /// To which object.
    pub object: ObjectRef,
    /// What else there is to say, for people and tools. Never a secret.
    pub detail: serde_json::Value,
    /// The visible id of the event that led to it.
    pub event: Option<String>,
    /// What else it is about, and is found by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub about: BTreeSet<Subject>,
}

/// What can happen, from an event to its confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditKind {
    /// A delivery was accepted.
    Received,
    /// A registry was looked at because of an event, or a look found news.
    Scanned,
    /// A policy chose another image.
    Selected,
    /// A commit was confirmed on the remote.
    Committed,
    /// An image was refused by a Guard, or a place in Git is left to a person, with the reason.
    Refused,
    /// An object began to fail.
    Failed,
    /// An object works again.
    Recovered,
    /// A notice was sent.
    Notified,
    /// A notice was given up: it is a dead letter.
    Undeliverable,
    /// A person asked for something.
    Requested,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: [AuditKind; 10] = [
        AuditKind::Received,
        AuditKind::Scanned,
        AuditKind::Selected,
        AuditKind::Committed,
        AuditKind::Refused,
        AuditKind::Failed,
        AuditKind::Recovered,
        AuditKind::Notified,
        AuditKind::Undeliverable,
        AuditKind::Requested,
    ];

    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditKind::Received => "received",
            AuditKind::Scanned => "scanned",
            AuditKind::Selected => "selected",
            AuditKind::Committed => "committed",
            AuditKind::Refused => "refused",
            AuditKind::Failed => "failed",
            AuditKind::Recovered => "recovered",
            AuditKind::Notified => "notified",
            AuditKind::Undeliverable => "undeliverable",
            AuditKind::Requested => "requested",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An entry as the tables take it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EntryRow {
    at: i64,
    kind: AuditKind,
    object: String,
    detail: String,
    event: Option<String>,
    about: Vec<String>,
}

impl EntryRow {
    pub(crate) fn new(entry: &AuditEntry) -> Result<Self, Cause> {
        let AuditEntry { at, kind, object, detail, event, about } = entry;
        Ok(Self {
            at: micros(*at),
            kind: *kind,
            object: object_text(object)?,
            detail: serde_json::to_string(detail)?,
            event: event.clone(),
            about: about.iter().map(ToString::to_string).collect(),
        })
    }

    pub(crate) fn insert(&self, transaction: &Transaction<'_>) -> Result<(), Cause> {
        let db = transaction.db;
        let Self { at, kind, object, detail, event, about } = self;
        db.prepare_cached("INSERT INTO audit (at, kind, object, detail, event) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![at, kind.as_str(), object, detail, event])?;
        if about.is_empty() {
            return Ok(());
        }
        let entry = db.last_insert_rowid();
        let mut statement = db.prepare_cached("INSERT INTO audit_about (entry, about) VALUES (?1, ?2)")?;
        for about in about {
            statement.execute(params![entry, about])?;
        }
        Ok(())
    }
}

pub(crate) fn insert(transaction: &Transaction<'_>, entry: &AuditEntry) -> Result<(), Cause> {
    EntryRow::new(entry)?.insert(transaction)
}

/// The newest entries first, of one object (as text) or of all.
pub(crate) fn recent(
    db: &Connection,
    object: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<AuditEntry>> {
    let limit = sql_limit(limit);
    if let Some(object) = object {
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE object = ?1 ORDER BY id DESC LIMIT ?2");
        let mut statement = db.prepare_cached(&sql)?;
        statement.query_map(params![object, limit], entry)?.filter_map(Result::transpose).collect()
    } else {
        let sql = format!("SELECT {COLUMNS} FROM audit ORDER BY id DESC LIMIT ?1");
        let mut statement = db.prepare_cached(&sql)?;
        statement.query_map([limit], entry)?.filter_map(Result::transpose).collect()
    }
}

/// The newest entries first that are about any of these, or about anything where none is named, from `since` on.
pub(crate) fn about(
    db: &Connection,
    subjects: Option<&[Subject]>,
    since: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<AuditEntry>> {
    let (since, limit) = (micros(since), sql_limit(limit));
    let Some(subjects) = subjects else {
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE at >= ?1 ORDER BY at DESC, id DESC LIMIT ?2");
        let mut statement = db.prepare_cached(&sql)?;
        return statement.query_map(params![since, limit], entry)?.filter_map(Result::transpose).collect();
    };
    let texts: Vec<String> = subjects.iter().map(ToString::to_string).collect();
    let events: Vec<&str> = subjects
        .iter()
        .filter_map(|subject| match subject {
            Subject::Event(event) => Some(event.as_str()),
            Subject::Object(_) | Subject::Commit(_) | Subject::Image(_) => None,
        })
        .collect();
    let sql = format!(
        "SELECT {COLUMNS} FROM audit WHERE at >= ?3 AND id IN (
             SELECT id FROM audit WHERE object IN (SELECT value FROM json_each(?1))
             UNION SELECT id FROM audit WHERE event IN (SELECT value FROM json_each(?2))
             UNION SELECT entry FROM audit_about WHERE about IN (SELECT value FROM json_each(?1)))
         ORDER BY at DESC, id DESC LIMIT ?4"
    );
    let list = |texts: serde_json::Value| texts.to_string();
    let (texts, events) = (list(texts.into()), list(events.into()));
    let mut statement = db.prepare_cached(&sql)?;
    statement.query_map(params![texts, events, since, limit], entry)?.filter_map(Result::transpose).collect()
}

/// The ids of the commits that begin with these hexadecimal digits, in order.
pub(crate) fn commits(db: &Connection, prefix: &str, limit: usize) -> rusqlite::Result<Vec<String>> {
    let (first, end) = subject::commit_range(prefix);
    let sql =
        "SELECT DISTINCT about FROM audit_about WHERE about >= ?1 AND about < ?2 ORDER BY about LIMIT ?3";
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_map(params![first, end, sql_limit(limit)], |row| row.get::<_, String>(0))?;
    let ids = found.map(|text| Ok(subject::commit_of(&text?).map(str::to_owned)));
    ids.filter_map(Result::transpose).collect()
}

/// When the oldest entry happened that is still kept.
pub(crate) fn begins(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let at: Option<i64> = db.prepare_cached("SELECT min(at) FROM audit")?.query_row([], |row| row.get(0))?;
    Ok(at.map(timestamp))
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<AuditEntry>> {
    let object = row.get_ref(2)?.as_str()?;
    let parts = AuditKind::parse(row.get_ref(1)?.as_str()?)
        .zip(parse_object(object))
        .zip(parse_json(row.get_ref(3)?.as_str()?))
        .zip(parse_json::<Vec<String>>(row.get_ref(5)?.as_str()?));
    let Some((((kind, object), detail), about)) = parts else {
        unreadable("audit", object);
        return Ok(None);
    };
    // A subject that a newer version wrote is one that nobody here asks for.
    let about = about.iter().filter_map(|text| text.parse().ok()).collect();
    Ok(Some(AuditEntry { at: timestamp(row.get(0)?), kind, object, detail, event: row.get(4)?, about }))
}
