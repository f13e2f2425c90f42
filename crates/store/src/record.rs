//! What a piece of work leaves behind: ledger, outbox and audit, written together.

use serde::{Deserialize, Serialize};
use windlass_model::{ObjectKey, Tag};

use crate::audit::{self, AuditEntry};
use crate::error::Cause;
use crate::ledger::{self, LedgerWrite};
use crate::outbox::{self, NewNotice};
use crate::writer::Transaction;

/// Most tags of one list in one transaction: a few milliseconds of the writer's time, so that a list of 100,000 tags
/// does not hold webhooks up.
const TAGS_AT_ONCE: usize = 1024;

/// The outcome of a piece of work. Writing it twice is the same as writing it once, but for the audit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// What is now known, in order.
    pub ledger: Vec<LedgerWrite>,
    /// Whom to tell.
    pub outbox: Vec<NewNotice>,
    /// What happened.
    pub audit: Vec<AuditEntry>,
}

impl Record {
    /// Whether [`Self::split_tags`] has anything to take out.
    pub(crate) fn has_long_lists(&self) -> bool {
        let tags = |write: &LedgerWrite| match write {
            LedgerWrite::TagsSeen { tags, .. } | LedgerWrite::TagsGone { tags, .. } => tags.len(),
            _ => 0,
        };
        self.ledger.iter().any(|write| tags(write) > TAGS_AT_ONCE)
    }

    /// Takes the excess of long tag lists out, in pieces to be written before the record. That a tag was seen is true
    /// whatever becomes of the work, so the record's other parts need not wait for it in the same transaction.
    pub(crate) fn split_tags(&mut self) -> Vec<LedgerWrite> {
        self.ledger.iter_mut().flat_map(split).collect()
    }
}

fn split(write: &mut LedgerWrite) -> Vec<LedgerWrite> {
    match write {
        LedgerWrite::TagsSeen { repository, tags, at } => {
            let at = *at;
            pieces(repository, tags, |repository, tags| LedgerWrite::TagsSeen { repository, tags, at })
        }
        LedgerWrite::TagsGone { repository, tags, at } => {
            let at = *at;
            pieces(repository, tags, |repository, tags| LedgerWrite::TagsGone { repository, tags, at })
        }
        LedgerWrite::DigestSeen { .. }
        | LedgerWrite::Latest { .. }
        | LedgerWrite::Commit(_)
        | LedgerWrite::Agreed(_)
        | LedgerWrite::HoldTold { .. }
        | LedgerWrite::Resumed { .. }
        | LedgerWrite::Intent(_)
        | LedgerWrite::IntentSettled { .. }
        | LedgerWrite::State { .. } => Vec::new(),
    }
}

fn pieces(
    repository: &ObjectKey,
    tags: &mut Vec<Tag>,
    write: impl Fn(ObjectKey, Vec<Tag>) -> LedgerWrite,
) -> Vec<LedgerWrite> {
    let excess = tags.split_off(tags.len().min(TAGS_AT_ONCE));
    excess.chunks(TAGS_AT_ONCE).map(|chunk| write(repository.clone(), chunk.to_vec())).collect()
}

/// Writes everything in the request's savepoint.
pub(crate) fn write(transaction: &mut Transaction<'_>, record: &Record) -> Result<(), Cause> {
    let Record { ledger, outbox, audit } = record;
    ledger.iter().try_for_each(|write| ledger::write(transaction, write))?;
    outbox.iter().try_for_each(|notice| outbox::insert(transaction, notice))?;
    audit.iter().try_for_each(|entry| audit::insert(transaction, entry))
}
