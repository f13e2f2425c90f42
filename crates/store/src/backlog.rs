//! What waits, fails and was given up: one picture of the queue and the outbox, for people.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::column::{limit as sql_limit, micros, timestamp, unsigned};
use crate::outbox::{self, DeadNotice, OutboxDepth, RetriedNotice};
use crate::queue::{self, QueuedWork};

/// The queue and the outbox at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// The moment that `due` and `later` are counted at.
    pub at: Timestamp,
    /// Keys that wait and are due.
    pub due: u64,
    /// Keys that wait for a later time.
    pub later: u64,
    /// Keys that somebody works on.
    pub claimed: u64,
    /// When the earliest outstanding hint was received, waiting or claimed.
    pub oldest: Option<Timestamp>,
    /// Keys that were tried and not done, whether they wait or are being tried.
    pub failing: u64,
    /// Those of them that are due first, as many as were asked for.
    pub work: Vec<QueuedWork>,
    /// How many notices are in which state.
    pub outbox: OutboxDepth,
    /// Notices that wait after a send that failed, the next first.
    pub retried: Vec<RetriedNotice>,
    /// Dead letters: notices that were given up, the latest first.
    pub dead: Vec<DeadNotice>,
}

/// Where claims are to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claims {
    /// In this connection or database.
    Here,
    /// In another process's memory, or nowhere.
    Elsewhere,
}

impl Claims {
    /// Whether this database has them: a copy of a shared state does.
    pub(crate) fn of(db: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'claims')";
        let here = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(if here { Self::Here } else { Self::Elsewhere })
    }

    /// An expression that says whether somebody works on a row of `work`.
    fn held(self) -> &'static str {
        match self {
            Claims::Here => "EXISTS (SELECT 1 FROM claims WHERE work = work.id)",
            Claims::Elsewhere => "false",
        }
    }
}

/// The picture, with at most `limit` of each list.
pub(crate) fn read(
    db: &Connection,
    claims: Claims,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Backlog> {
    let held = claims.held();
    let sql = format!(
        "SELECT count(*) FILTER (WHERE NOT held AND not_before <= ?1),
                count(*) FILTER (WHERE NOT held AND not_before > ?1),
                count(*) FILTER (WHERE held), min(first_at), count(*) FILTER (WHERE attempts > 0)
         FROM (SELECT not_before, first_at, attempts, {held} AS held FROM work)"
    );
    let (due, later, claimed, oldest, failing) =
        db.prepare_cached(&sql)?.query_row([micros(now)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, Option<i64>>(3)?, row.get(4)?))
        })?;
    let sql = format!(
        "SELECT target, not_before, attempts, first_at, reason, {held} FROM work WHERE attempts > 0
         ORDER BY not_before, id LIMIT ?1"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let work = statement.query_map(params![sql_limit(limit)], queue::queued_work)?;
    Ok(Backlog {
        at: now,
        due: unsigned(due),
        later: unsigned(later),
        claimed: unsigned(claimed),
        oldest: oldest.map(timestamp),
        failing: unsigned(failing),
        work: work.filter_map(Result::transpose).collect::<rusqlite::Result<_>>()?,
        outbox: outbox::depth(db)?,
        retried: outbox::retried(db, limit)?,
        dead: outbox::dead(db, limit)?,
    })
}
