//! The members: the processes that share a queue, as far as the state knows them.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::board::Touched;
use crate::error::Cause;
use crate::writer::Transaction;
use crate::{lease, outbox, queue};

pub(super) fn add(db: &Connection, member: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO members (member, number) VALUES (?1, 0)")?.execute([member]).map(drop)
}

/// The member's last message; `None` where it is no member.
pub(super) fn last_number(db: &Connection, member: i64) -> rusqlite::Result<Option<i64>> {
    let mut statement = db.prepare_cached("SELECT number FROM members WHERE member = ?1")?;
    statement.query_row([member], |row| row.get(0)).optional()
}

pub(super) fn count(db: &Connection, member: i64, number: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE members SET number = ?2 WHERE member = ?1")?
        .execute(params![member, number])
        .map(drop)
}

/// Every member, the longest-standing first.
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<i64>> {
    db.prepare_cached("SELECT member FROM members ORDER BY member")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// The member is gone: what it held is free, and what it was sending is due again, as a possible repeat. One that is no
/// member changes nothing.
pub(crate) fn remove(transaction: &mut Transaction<'_>, member: i64) -> Result<(), Cause> {
    let db = transaction.db;
    if db.prepare_cached("DELETE FROM members WHERE member = ?1")?.execute([member])? == 0 {
        return Ok(());
    }
    queue::release_all(transaction, member)?;
    lease::release_all(transaction, member)?;
    if outbox::interrupt(db, member)? > 0 {
        transaction.changes.outbox = Touched::All;
    }
    forget_parts(db, member)?;
    Ok(())
}

/// Forgets the parts of a message that does not go on.
pub(super) fn forget_parts(db: &Connection, member: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM parts WHERE member = ?1")?.execute([member]).map(drop)
}

pub(super) fn keep_part(db: &Connection, place: i64, member: i64, body: &[u8]) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO parts (place, member, body) VALUES (?1, ?2, ?3)")?
        .execute(params![place, member, body])
        .map(drop)
}

/// The parts of the member's message so far, in order, and forgets them.
pub(super) fn take_parts(db: &Connection, member: i64) -> rusqlite::Result<Vec<u8>> {
    let parts: Vec<Vec<u8>> = db
        .prepare_cached("SELECT body FROM parts WHERE member = ?1 ORDER BY place")?
        .query_map([member], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if !parts.is_empty() {
        forget_parts(db, member)?;
    }
    Ok(parts.concat())
}
