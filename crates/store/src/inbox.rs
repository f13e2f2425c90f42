//! The way into the queue: deliveries are recognised by their id, hints are coalesced into one row of work per key.

use jiff::Timestamp;
use rusqlite::params;
use serde::{Deserialize, Serialize};
use windlass_model::signal::RescanReason;
use windlass_model::{Hint, Signal};

use crate::audit::{AuditEntry, EntryRow};
use crate::column::{micros, namespace_of, object_text};
use crate::error::Cause;
use crate::writer::Transaction;

/// Most waiting hints of one key. Past this, listing everything once is cheaper than looking at each.
const MAX_HINTS: i64 = 4096;
/// Longest delivery id that is remembered. Senders use UUIDs; a longer one is treated as absent, which can cost a
/// run without effect, while a cut one could lose an event.
const MAX_DELIVERY_ID: usize = 512;

/// What a sender delivered, authenticated and parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Which receiver took it: delivery ids are compared within one receiver only.
    pub receiver: String,
    /// The sender's id of the delivery, where it has one. Ids over 512 bytes count as absent.
    pub delivery_id: Option<String>,
    /// The visible event id that Windlass gave it; it ends up in commits, notices and the audit.
    pub event: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// What it hints at. It may be empty: the delivery is remembered all the same.
    pub signals: Vec<Signal>,
    /// What the audit says of it; stored where the delivery is.
    pub audit: Vec<AuditEntry>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is in the queue, durably.
    New,
    /// Its receiver has seen its delivery id: nothing was stored.
    Duplicate,
}

/// A delivery as the tables take it. Encoding is done before the writer's turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Arrival {
    delivery: Option<(String, String)>,
    event: String,
    at: i64,
    hints: Vec<(String, String)>,
    audit: Vec<EntryRow>,
}

impl Arrival {
    pub(crate) fn new(delivery: Delivery) -> Result<Self, Cause> {
        let Delivery { receiver, delivery_id, event, received_at, signals, audit } = delivery;
        let delivery_id = delivery_id.filter(|id| id.len() <= MAX_DELIVERY_ID);
        Ok(Self {
            delivery: delivery_id.map(|id| (receiver, id)),
            event,
            at: micros(received_at),
            hints: signals
                .iter()
                .map(|Signal { target, hint }| Ok((object_text(target)?, serde_json::to_string(hint)?)))
                .collect::<Result<_, Cause>>()?,
            audit: audit.iter().map(EntryRow::new).collect::<Result<_, Cause>>()?,
        })
    }
}

/// Remembers the delivery and queues its hints.
pub(crate) fn append(transaction: &mut Transaction<'_>, arrival: &Arrival) -> Result<Appended, Cause> {
    if let Some((receiver, delivery)) = &arrival.delivery {
        let new = transaction
            .db
            .prepare_cached(
                "INSERT INTO deliveries (receiver, delivery, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )?
            .execute(params![receiver, delivery, arrival.at])?;
        if new == 0 {
            return Ok(Appended::Duplicate);
        }
    }
    for (target, hint) in &arrival.hints {
        queue_hint(transaction, target, hint, arrival)?;
    }
    arrival.audit.iter().try_for_each(|entry| entry.insert(transaction))?;
    Ok(Appended::New)
}

/// Raises the key's generation, makes it due, and keeps the hint unless an equal one waits already.
fn queue_hint(
    transaction: &mut Transaction<'_>,
    target: &str,
    hint: &str,
    arrival: &Arrival,
) -> Result<(), Cause> {
    let generation = transaction.next_generation();
    // A key that is due keeps its place in the order, however often it is named.
    let (work, pending, claimed) = transaction
        .db
        .prepare_cached(
            "INSERT INTO work (target, generation, not_before, first_at, pending) VALUES (?1, ?2, ?3, ?4, 1)
             ON CONFLICT (target) DO UPDATE SET
                 generation = excluded.generation, not_before = min(not_before, excluded.not_before),
                 first_at = min(first_at, excluded.first_at), pending = pending + 1
             RETURNING id, pending, (SELECT generation FROM claims WHERE work = work.id)",
        )?
        .query_row(params![target, generation, micros(transaction.now), arrival.at], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?))
        })?;
    let worked_on = claimed.unwrap_or(0);
    // Hints up to the claimed generation are being worked on: an equal one that comes now is news.
    let coalesced = transaction
        .db
        .prepare_cached(
            "UPDATE hints SET event = iif(?1 < at, ?2, event), at = min(at, ?1)
             WHERE work = ?3 AND hint = ?4 AND generation > ?5",
        )?
        .execute(params![arrival.at, arrival.event, work, hint, worked_on])?;
    if coalesced == 0 {
        insert_hint(transaction, work, hint, generation, &arrival.event, arrival.at)?;
    }
    if pending > MAX_HINTS {
        bound_hints(transaction, target, work, worked_on, generation)?;
    }
    // A key that somebody works on is not claimable: its completion or retry tells of the newer hint. Waking the
    // dispatcher for it would make it look at every claimed key, with each of a thousand webhooks.
    if claimed.is_none() {
        transaction.changes.work.add(namespace_of(target));
    }
    Ok(())
}

fn insert_hint(
    transaction: &Transaction<'_>,
    work: i64,
    hint: &str,
    generation: i64,
    event: &str,
    at: i64,
) -> Result<(), Cause> {
    transaction
        .db
        .prepare_cached("INSERT INTO hints (work, hint, generation, event, at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![work, hint, generation, event, at])?;
    Ok(())
}

/// Counts the waiting hints, and puts one rescan in the place of too many: it reads all that they hint at.
fn bound_hints(
    transaction: &mut Transaction<'_>,
    target: &str,
    work: i64,
    claimed: i64,
    generation: i64,
) -> Result<(), Cause> {
    let (mut count, oldest) = transaction
        .db
        .prepare_cached(
            "SELECT count(*), min(at),
                 (SELECT event FROM hints WHERE work = ?1 AND generation > ?2 ORDER BY at, generation LIMIT 1)
             FROM hints WHERE work = ?1 AND generation > ?2",
        )?
        .query_row(params![work, claimed], |row| {
            let oldest = row.get::<_, Option<i64>>(1)?.zip(row.get::<_, Option<String>>(2)?);
            Ok((row.get::<_, i64>(0)?, oldest))
        })?;
    if let Some((at, event)) = oldest
        && count > MAX_HINTS
    {
        tracing::info!(
            target,
            hints = count,
            "too many hints wait for one key: one rescan takes their place"
        );
        transaction
            .db
            .prepare_cached("DELETE FROM hints WHERE work = ?1 AND generation > ?2")?
            .execute(params![work, claimed])?;
        let rescan = serde_json::to_string(&Hint::Rescan { reason: RescanReason::Webhook })?;
        insert_hint(transaction, work, &rescan, generation, &event, at)?;
        count = 1;
    }
    transaction
        .db
        .prepare_cached("UPDATE work SET pending = ?1 WHERE id = ?2")?
        .execute(params![count, work])?;
    Ok(())
}
