//! What must outlive the process: the queue of work, the ledger, the outbox and the audit, in one SQLite database.
//!
//! This crate owns the folder, its format and its durability. It never decides anything: it does not look into a
//! hint, choose a retry's delay or send a notice. It reads no clock and no environment.
//!
//! Correctness does not rest on it. Whoever deletes the folder loses first-seen times and history; the next resync
//! finds the rest in the registry and in Git.

mod agreement;
mod audit;
mod backlog;
mod board;
mod column;
mod command;
mod database;
mod digests;
mod error;
mod folder;
mod inbox;
mod intervention;
mod keys;
mod lease;
mod ledger;
mod outbox;
mod place;
mod prune;
mod queue;
mod read_only;
mod readers;
mod record;
mod shared;
mod store;
mod subject;
mod writer;

pub use agreement::Agreement;
pub use audit::{AuditEntry, AuditKind};
pub use backlog::Backlog;
pub use error::{Disposition, StoreError, StoreErrorKind};
pub use folder::OpenError;
pub use inbox::{Appended, Delivery};
pub use intervention::{Intervened, Intervention, Item};
pub use keys::Keys;
pub use lease::Lease;
pub use ledger::{Commit, Health, Intent, LatestImage, LedgerWrite, ReportedState};
pub use outbox::{DeadNotice, NewNotice, OutboxDepth, Outgoing, RetriedNotice};
pub use prune::{Pruned, Retention};
pub use queue::{QueueDepth, QueuedWork, Work};
pub use read_only::ReadOnly;
pub use record::Record;
pub use shared::{ConnectError, NatsOptions};
pub use store::Store;
pub use subject::Subject;
