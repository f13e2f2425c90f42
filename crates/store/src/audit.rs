//! The audit: what happened, in order, never changed and forgotten after its retention.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use windlass_model::ObjectRef;

use crate::column::{
    limit as sql_limit, micros, object_text, parse_json, parse_object, timestamp, unreadable,
};
use crate::error::Cause;
use crate::writer::Transaction;

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
}

/// What can happen, from an event to its confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuditKind {
    /// A delivery was accepted.
    Received,
    /// A registry was read.
    Scanned,
    /// A policy chose another image.
    Selected,
    /// A commit was confirmed on the remote.
    Committed,
    /// The branch holds what the policies choose; nothing was written.
    Unchanged,
    /// A place or an image was refused, with the reason.
    Refused,
    /// An object began to fail.
    Failed,
    /// An object works again.
    Recovered,
    /// A notice was sent.
    Notified,
    /// A notice was given up.
    Undeliverable,
    /// A person asked for something.
    Requested,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: [AuditKind; 11] = [
        AuditKind::Received,
        AuditKind::Scanned,
        AuditKind::Selected,
        AuditKind::Committed,
        AuditKind::Unchanged,
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
            AuditKind::Unchanged => "unchanged",
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

pub(crate) fn insert(transaction: &Transaction<'_>, entry: &AuditEntry) -> Result<(), Cause> {
    let AuditEntry { at, kind, object, detail, event } = entry;
    transaction
        .db
        .prepare_cached("INSERT INTO audit (at, kind, object, detail, event) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            micros(*at),
            kind.as_str(),
            object_text(object)?,
            serde_json::to_string(detail)?,
            event
        ])?;
    Ok(())
}

/// The newest entries first, of one object (as text) or of all.
pub(crate) fn recent(
    db: &Connection,
    object: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<AuditEntry>> {
    let limit = sql_limit(limit);
    if let Some(object) = object {
        let sql =
            "SELECT at, kind, object, detail, event FROM audit WHERE object = ?1 ORDER BY id DESC LIMIT ?2";
        let mut statement = db.prepare_cached(sql)?;
        statement.query_map(params![object, limit], entry)?.filter_map(Result::transpose).collect()
    } else {
        let sql = "SELECT at, kind, object, detail, event FROM audit ORDER BY id DESC LIMIT ?1";
        let mut statement = db.prepare_cached(sql)?;
        statement.query_map([limit], entry)?.filter_map(Result::transpose).collect()
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Option<AuditEntry>> {
    let object = row.get_ref(2)?.as_str()?;
    let parts = AuditKind::parse(row.get_ref(1)?.as_str()?)
        .zip(parse_object(object))
        .zip(parse_json(row.get_ref(3)?.as_str()?));
    let Some(((kind, object), detail)) = parts else {
        unreadable("audit", object);
        return Ok(None);
    };
    Ok(Some(AuditEntry { at: timestamp(row.get(0)?), kind, object, detail, event: row.get(4)? }))
}
