//! The outbox's part of the contract.

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;

use super::Store;
use crate::board::Returned;
use crate::command::{Command, Reply};
use crate::error::StoreError;
use crate::keys::Keys;
use crate::outbox::{self, DeadNotice, OutboxDepth, Outgoing};

impl Store {
    /// Takes up to `limit` notices of these Notifiers that are due at `now` (as keys are, see [`Self::claim`]), the longest
    /// due first, and marks them durably as being sent. Each is with one caller until `outbox_sent`, `outbox_retry`, `outbox_unknown` or `outbox_failed`, or until
    /// the process ends; then it is due again with `repeat` set. If this future is dropped before it answers, nothing
    /// stays marked.
    pub async fn outbox_due(
        &self,
        of: &Keys,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Outgoing>, StoreError> {
        let of = of.clone();
        let ids = move |db: &Connection| outbox::due(db, &of, limit, now);
        match self.ask_for(ids, move |ids| Command::OutboxTake { ids, now }).await? {
            Some(Reply::ToSend(notices)) => Ok(notices),
            None => Ok(Vec::new()),
            Some(other) => unreachable!("a look for notices is answered by {other:?}"),
        }
    }

    /// The notice arrived.
    ///
    /// # Errors
    /// Here and in the other reports, `Stale` when the notice is not being sent.
    pub async fn outbox_sent(&self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.ask(Command::OutboxSent { id, at }).await.map(drop)
    }

    /// The notice did not arrive: send it again, not before `not_before`, after five minutes at the latest. `error` is for people, is cut at 1 KiB, and
    /// must hold no secret.
    pub async fn outbox_retry(&self, id: &str, not_before: Timestamp, error: &str) -> Result<(), StoreError> {
        let (id, error) = (id.to_owned(), error.to_owned());
        self.ask(Command::OutboxRetry { id, not_before, error, unknown: false }).await.map(drop)
    }

    /// Nobody knows whether the notice arrived (the answer was lost): as [`Self::outbox_retry`], but the next send is
    /// marked and counted as a possible repeat.
    pub async fn outbox_unknown(
        &self,
        id: &str,
        not_before: Timestamp,
        error: &str,
    ) -> Result<(), StoreError> {
        let (id, error) = (id.to_owned(), error.to_owned());
        self.ask(Command::OutboxRetry { id, not_before, error, unknown: true }).await.map(drop)
    }

    /// The target refuses the notice for good: it is kept as dead, with the reason, for 30 days.
    pub async fn outbox_failed(&self, id: &str, error: &str) -> Result<(), StoreError> {
        let (id, error) = (id.to_owned(), error.to_owned());
        self.ask(Command::OutboxFailed { id, error }).await.map(drop)
    }

    /// Gives up a notice whose outcome the store could not take: it is due again, marked as a possible repeat, as soon as
    /// the store can be written. Nothing waits for that.
    pub fn outbox_abandon(&self, id: &str) {
        self.inner.board.give_back([Returned::Notice { id: id.to_owned(), begun: true }]);
    }

    /// When the next waiting notice of these Notifiers is due; it may be in the past.
    pub async fn outbox_next_due(&self, of: &Keys) -> Result<Option<Timestamp>, StoreError> {
        let of = of.clone();
        self.inner.readers.read(move |db| outbox::next_due(db, &of)).await
    }

    /// Changes whenever a notice of these Notifiers became due or its time moved, and now and then for another.
    pub fn outbox_changed(&self, of: &Keys) -> watch::Receiver<u64> {
        self.inner.board.outbox(of)
    }

    /// How many notices wait, are being sent, are dead, or may have been sent twice.
    pub async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        self.inner.readers.read(outbox::depth).await
    }

    /// Up to `limit` notices that were given up, the latest first.
    pub async fn outbox_dead(&self, limit: usize) -> Result<Vec<DeadNotice>, StoreError> {
        self.inner.readers.read(move |db| outbox::dead(db, limit)).await
    }
}
