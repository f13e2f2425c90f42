//! Leases: a name that one holder has at a time, over all processes that share a queue.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::board::Returned;
use crate::error::{Cause, StoreError};
use crate::store::Store;
use crate::writer::Transaction;

/// A name that this value holds until it is dropped, or until its process is taken for dead by the others.
#[derive(Debug)]
#[must_use = "a lease that is dropped is free for others"]
pub struct Lease {
    store: Store,
    name: String,
    term: i64,
}

impl Lease {
    pub(crate) fn new(store: Store, name: String, term: i64) -> Self {
        Self { store, name, term }
    }

    /// What is held.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Answers once the lease is lost: the other processes did not hear of this one for a while and took its place, or
    /// the shared state is gone. In an embedded store that never happens.
    ///
    /// # Errors
    /// The state cannot be read; the lease may or may not be held.
    pub async fn lost(&self) -> Result<(), StoreError> {
        let mut changed = self.store.board().leases();
        loop {
            changed.mark_unchanged();
            if !self.store.holds_lease(&self.name, self.term).await? {
                return Ok(());
            }
            if changed.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let returned = Returned::Lease { name: self.name.clone(), term: self.term };
        self.store.board().give_back([returned]);
    }
}

/// Takes the lease if it is free. Returns its term, which no other holding has.
pub(crate) fn take(transaction: &mut Transaction<'_>, name: &str) -> Result<Option<i64>, Cause> {
    let term = transaction.next_generation();
    let taken = transaction
        .db
        .prepare_cached(
            "INSERT INTO leases (name, term, owner) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![name, term, transaction.owner])?;
    transaction.changes.leases |= taken > 0;
    Ok((taken > 0).then_some(term))
}

/// Whether somebody holds the lease.
pub(crate) fn is_held(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM leases WHERE name = ?1)")?
        .query_row([name], |row| row.get(0))
}

/// The leases that somebody holds and whose names begin with this, in bytewise order.
pub(crate) fn held(db: &Connection, prefix: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare_cached("SELECT name FROM leases ORDER BY name")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.filter(|name| name.as_ref().map_or(true, |name| name.starts_with(prefix))).collect()
}

/// Whether this holding of the lease lasts.
pub(crate) fn holds(db: &Connection, name: &str, term: i64) -> rusqlite::Result<bool> {
    let held =
        db.prepare_cached("SELECT term FROM leases WHERE name = ?1")?.query_row([name], |row| row.get(0));
    Ok(held.optional()? == Some(term))
}

pub(crate) fn give_back(transaction: &mut Transaction<'_>, name: &str, term: i64) -> Result<(), Cause> {
    let freed = transaction
        .db
        .prepare_cached("DELETE FROM leases WHERE name = ?1 AND term = ?2")?
        .execute(params![name, term])?;
    transaction.changes.leases |= freed > 0;
    Ok(())
}

/// The leases of an owner that is gone.
pub(crate) fn release_all(transaction: &mut Transaction<'_>, owner: i64) -> Result<(), Cause> {
    let freed = transaction.db.prepare_cached("DELETE FROM leases WHERE owner = ?1")?.execute([owner])?;
    transaction.changes.leases |= freed > 0;
    Ok(())
}
