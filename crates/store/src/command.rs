//! What can be asked of the state. Every change is a value: an embedded store runs it at once, and processes that share
//! a queue run it when the log brings it to them, all in the same order. So its outcome must depend on nothing but
//! itself, the [`Transaction`] and the state.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use windlass_model::ObjectRef;

use crate::board::{Board, Returned};
use crate::column::object_text;
use crate::error::Cause;
use crate::inbox::{self, Appended, Arrival};
use crate::intervention::{self, Intervened, Intervention};
use crate::lease;
use crate::ledger::{self, LedgerWrite};
use crate::outbox::{self, Outgoing};
use crate::prune::{self, Pruned, Retention};
use crate::queue::{self, Work};
use crate::record::{self, Record};
use crate::shared;
use crate::writer::Transaction;

/// One change of the state, done whole or not at all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Command {
    Append(Arrival),
    Claim {
        targets: Vec<String>,
        now: Timestamp,
    },
    Complete {
        target: ObjectRef,
        generation: u64,
        #[serde(with = "plain")]
        record: Arc<Record>,
    },
    Retry {
        target: ObjectRef,
        generation: u64,
        not_before: Timestamp,
        reason: String,
    },
    Record(#[serde(with = "plain")] Arc<Record>),
    /// A piece of a long list.
    Ledger(LedgerWrite),
    OutboxTake {
        ids: Vec<String>,
        now: Timestamp,
    },
    OutboxSent {
        id: String,
        at: Timestamp,
    },
    OutboxRetry {
        id: String,
        not_before: Timestamp,
        error: String,
        unknown: bool,
    },
    OutboxFailed {
        id: String,
        error: String,
    },
    Prune {
        now: Timestamp,
        retention: Retention,
    },
    Lease {
        name: String,
    },
    GiveBack(Returned),
    /// A member of a shared queue is gone.
    Remove {
        member: i64,
    },
    Intervene(Intervention),
    /// Changes nothing, durably.
    Ping,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) enum Reply {
    Done,
    Appended(Appended),
    Claimed(Vec<Work>),
    ToSend(Vec<Outgoing>),
    Pruned(Pruned),
    /// The lease, if it was free, as it is given back.
    Leased(Option<Returned>),
    Intervened(Intervened),
}

impl Command {
    /// Runs in the request's savepoint.
    pub(crate) fn run(&self, transaction: &mut Transaction<'_>) -> Result<Reply, Cause> {
        match self {
            Self::Append(arrival) => inbox::append(transaction, arrival).map(Reply::Appended),
            Self::Claim { targets, now } => queue::claim(transaction, targets, *now).map(Reply::Claimed),
            Self::Complete { target, generation, record } => {
                queue::complete(transaction, target, *generation, record)?;
                Ok(Reply::Done)
            }
            Self::Retry { target, generation, not_before, reason } => {
                queue::retry(transaction, target, *generation, *not_before, reason.clone())?;
                Ok(Reply::Done)
            }
            Self::Record(record) => done(record::write(transaction, record)),
            Self::Ledger(write) => done(ledger::write(transaction, write)),
            Self::Prune { now, retention } => prune::prune(transaction, *now, *retention).map(Reply::Pruned),
            Self::Lease { name } => {
                let lease = |term| Returned::Lease { name: name.clone(), term };
                Ok(Reply::Leased(lease::take(transaction, name)?.map(lease)))
            }
            Self::GiveBack(returned) => done(give_back(transaction, returned)),
            Self::Intervene(intervention) => {
                intervention::run(transaction, intervention).map(Reply::Intervened)
            }
            Self::Remove { member } => done(shared::remove(transaction, *member)),
            Self::Ping => {
                transaction.db.prepare_cached("UPDATE work SET id = id WHERE false")?.execute([])?;
                Ok(Reply::Done)
            }
            Self::OutboxTake { .. }
            | Self::OutboxSent { .. }
            | Self::OutboxRetry { .. }
            | Self::OutboxFailed { .. } => self.run_on_outbox(transaction),
        }
    }

    fn run_on_outbox(&self, transaction: &mut Transaction<'_>) -> Result<Reply, Cause> {
        match self {
            Self::OutboxTake { ids, now } => outbox::take(transaction, ids, *now).map(Reply::ToSend),
            Self::OutboxSent { id, at } => done(outbox::sent(transaction, id, *at)),
            Self::OutboxRetry { id, not_before, error, unknown } => {
                done(outbox::retry(transaction, id, *not_before, error.clone(), *unknown))
            }
            Self::OutboxFailed { id, error } => done(outbox::failed(transaction, id, error.clone())),
            _ => unreachable!("only the outbox's commands come here"),
        }
    }
}

fn done(outcome: Result<(), Cause>) -> Result<Reply, Cause> {
    outcome.map(|()| Reply::Done)
}

fn give_back(transaction: &mut Transaction<'_>, returned: &Returned) -> Result<(), Cause> {
    match returned {
        Returned::Work { target, generation } => queue::give_back(transaction, target, *generation),
        Returned::Notice { id, begun } => outbox::give_back(transaction, id, *begun),
        Returned::Lease { name, term } => lease::give_back(transaction, name, *term),
    }
}

/// A reply on its way to whoever asked. What it hands over is given back if nobody takes it (the future was dropped).
#[must_use = "what is not taken is given back"]
#[derive(Debug)]
pub(crate) struct Answer {
    reply: Reply,
    board: Arc<Board>,
}

impl Answer {
    pub(crate) fn new(reply: Reply, board: Arc<Board>) -> Self {
        Self { reply, board }
    }

    /// The caller has it now.
    pub(crate) fn take(mut self) -> Reply {
        std::mem::replace(&mut self.reply, Reply::Done)
    }

    fn held(&self) -> Vec<Returned> {
        match &self.reply {
            Reply::Claimed(works) => {
                works.iter().map(|work| work_returned(&work.target, work.generation)).collect()
            }
            Reply::ToSend(notices) => {
                let unsent = |notice: &Outgoing| Returned::Notice { id: notice.id.clone(), begun: false };
                notices.iter().map(unsent).collect()
            }
            Reply::Leased(lease) => lease.iter().cloned().collect(),
            Reply::Done | Reply::Appended(_) | Reply::Pruned(_) | Reply::Intervened(_) => Vec::new(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let held = self.held();
        if !held.is_empty() {
            self.board.give_back(held);
        }
    }
}

pub(crate) fn work_returned(target: &ObjectRef, generation: u64) -> Returned {
    Returned::Work {
        target: object_text(target).unwrap_or_default(),
        generation: i64::try_from(generation).unwrap_or_default(),
    }
}

/// Records are shared with whoever repeats a write; on the way they are plain values.
mod plain {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::record::Record;

    pub(super) fn serialize<S: Serializer>(record: &Arc<Record>, serializer: S) -> Result<S::Ok, S::Error> {
        (**record).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Record>, D::Error> {
        Record::deserialize(deserializer).map(Arc::new)
    }
}
