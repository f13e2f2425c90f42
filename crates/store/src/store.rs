//! The handle to an open store.
//!
//! Its methods' documentation is the contract that any backend keeps. What holds for all of them: a write that
//! answered is durable; one that failed stored nothing; one whose future was dropped may or may not have been done.
//! Writes are idempotent where that is said, so that a caller may repeat them.

mod notices;
mod reads;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;
use windlass_failpoint::{self as failpoint, Point};
use windlass_model::{Clock, ObjectRef, Signal};

use crate::backlog::{self, Backlog, Claims};
use crate::board::{Board, Returned};
use crate::command::{Answer, Command, Reply, work_returned};
use crate::error::{Cause, StoreError};
use crate::folder::OpenError;
use crate::inbox::{Appended, Arrival, Delivery};
use crate::intervention::{Intervened, Intervention};
use crate::keys::Keys;
use crate::lease::{self, Lease};
use crate::prune::{Pruned, Retention};
use crate::queue::{self, Work};
use crate::readers::Readers;
use crate::record::Record;
use crate::shared::{ConnectError, NatsOptions, Presence, Shared, Started};
use crate::writer::{Transaction, Use, Writer};

/// An open store: queue, ledger, outbox and audit. Cheap to clone; all clones are one store.
///
/// When the last clone is dropped without [`Store::close`], what was accepted is still committed, and the drop waits
/// for that.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    /// Where the state is shared with other processes, the way to it.
    shared: Option<Shared>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", self.inner.readers.path()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in a folder, which is created where it is missing, and keeps other processes out of it. Work
    /// that a dead process had claimed is claimable; notices that it was sending are due, and marked as possible
    /// repeats.
    ///
    /// # Errors
    /// Another process runs on the folder, or what is in it cannot be used; see [`OpenError`].
    pub async fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let (writer, board, path) = Writer::start(dir, Use::Embedded, Arc::clone(&clock)).await?;
        let readers = Readers::new(path, Vec::new(), board.rewritten());
        Ok(Self { inner: Arc::new(Inner { writer: Arc::new(writer), readers, board, clock, shared: None }) })
    }

    /// Joins a state that several processes share over NATS JetStream. This process's copy of it is kept in a folder,
    /// as [`Self::open`] keeps its own state; the folder may be deleted at any time between two runs.
    ///
    /// Work, notices and leases that an earlier process held on this folder are free at once; those of another process
    /// are free within 5 s after the others hear nothing of it.
    ///
    /// # Errors
    /// The server, the stream's configuration or the folder; see [`ConnectError`].
    pub async fn connect(
        dir: &Path,
        options: &NatsOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        Self::join(dir, options, clock, Presence::Member).await
    }

    /// As [`Self::connect`], for a process that comes for one change and leaves: a queue that is not there is not made, and
    /// how it is set up is taken as it is.
    ///
    /// # Errors
    /// As [`Self::connect`]; there is no such queue.
    pub async fn visit(
        dir: &Path,
        options: &NatsOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        Self::join(dir, options, clock, Presence::Visitor).await
    }

    async fn join(
        dir: &Path,
        options: &NatsOptions,
        clock: Arc<dyn Clock>,
        presence: Presence,
    ) -> Result<Self, ConnectError> {
        let Started { shared, writer, readers, board } =
            Shared::start(dir, options, Arc::clone(&clock), presence).await?;
        let store = Self { inner: Arc::new(Inner { writer, readers, board, clock, shared: Some(shared) }) };
        // Once it is answered, the copy has caught up.
        store.ping().await?;
        Ok(store)
    }

    /// Changes whenever the shared state lost what it held: its stream was deleted, or its server came back without
    /// its last messages. Then everything is to be looked at again. An embedded store loses nothing while it is open.
    pub fn losses(&self) -> watch::Receiver<u64> {
        self.inner.board.losses()
    }

    /// Commits what was accepted, brings the log into the database file and releases the folder. From then on every
    /// clone answers `Closed`.
    pub async fn close(self) -> Result<(), StoreError> {
        self.inner.readers.close().await;
        let closed = match &self.inner.shared {
            Some(shared) => shared.close().await,
            None => self.inner.writer.close().await,
        };
        closed.map_err(|cause| self.failed(cause))
    }

    /// Queues what a delivery hints at. A delivery is dropped only when the same receiver took the same delivery id
    /// within the retention (7 days at least); its content never matters, since a tag may move from A to B to A.
    ///
    /// Each signal raises its key's generation and makes the key due at once, whatever retry it was waiting for; its
    /// `attempts` stay. Hints that equal one that waits already are coalesced into that one, with the earlier
    /// `received_at` and its event. More than 4,096 waiting hints of one key become one rescan, which covers them.
    pub async fn append(&self, delivery: Delivery) -> Result<Appended, StoreError> {
        let arrival = Arrival::new(delivery).map_err(|cause| self.failed(cause))?;
        match self.ask(Command::Append(arrival)).await? {
            Reply::Appended(appended) => Ok(appended),
            other => unreachable!("an append is answered by {other:?}"),
        }
    }

    /// As [`Self::append`], for signals that have no delivery: timers, polls, commands.
    pub async fn signal(&self, signals: Vec<Signal>, event: &str) -> Result<(), StoreError> {
        let delivery = Delivery {
            receiver: String::new(),
            delivery_id: None,
            event: event.to_owned(),
            received_at: self.inner.clock.now(),
            signals,
            audit: Vec::new(),
        };
        self.append(delivery).await.map(|_| ())
    }

    /// Claims up to `limit` of these keys that are due at `now` and that nobody holds, the longest due first. A key whose time
    /// lies more than five minutes ahead is due too: the clock was set back since it was put off. A key is held by
    /// one caller at a time, until `complete` or `retry`, or until the process ends. If this future is dropped before
    /// it answers, nothing stays claimed.
    pub async fn claim(&self, of: &Keys, limit: usize, now: Timestamp) -> Result<Vec<Work>, StoreError> {
        let of = of.clone();
        let targets = move |db: &Connection| queue::due(db, &of, limit, now);
        match self.ask_for(targets, move |targets| Command::Claim { targets, now }).await? {
            Some(Reply::Claimed(works)) => Ok(works),
            None => Ok(Vec::new()),
            Some(other) => unreachable!("a claim is answered by {other:?}"),
        }
    }

    /// Ends a claim with success and stores its record, all or nothing. The hints that the claim had are forgotten. If
    /// signals came meanwhile, the key is claimable again, with their hints alone and with no attempts.
    ///
    /// # Errors
    /// `Stale` when the claim was ended already; nothing is stored then.
    pub async fn complete(
        &self,
        target: &ObjectRef,
        generation: u64,
        record: impl Into<Arc<Record>>,
    ) -> Result<(), StoreError> {
        let target = target.clone();
        let record = self.write_long_lists(record.into()).await?;
        failpoint::error(Point::Acked).map_err(|injected| self.failed(injected.into()))?;
        self.ask(Command::Complete { target, generation, record }).await?;
        failpoint::pause(Point::Acked).await;
        Ok(())
    }

    /// Ends a claim without success: the key keeps its hints, counts one attempt more and is due at `not_before`, after
    /// five minutes at the latest, or at once if a signal came meanwhile. `reason` is for people, is cut at 1 KiB, and must hold no secret.
    ///
    /// # Errors
    /// `Stale` when the claim was ended already.
    pub async fn retry(
        &self,
        target: &ObjectRef,
        generation: u64,
        not_before: Timestamp,
        reason: &str,
    ) -> Result<(), StoreError> {
        let (target, reason) = (target.clone(), reason.to_owned());
        self.ask(Command::Retry { target, generation, not_before, reason }).await.map(drop)
    }

    /// Gives up a claim whose end the store could not take: the key is claimable again, by anybody, as soon as the store
    /// can be written. Nothing waits for that.
    pub fn abandon(&self, target: &ObjectRef, generation: u64) {
        self.inner.board.give_back([work_returned(target, generation)]);
    }

    /// Stores a record that belongs to no work, all or nothing.
    ///
    /// Here and in [`Self::complete`], tag lists of more than 1,024 tags are the exception: their excess is written
    /// before, in transactions of its own, so that a long list does not hold webhooks up. A tag must be in one list of
    /// a record only.
    pub async fn record(&self, record: impl Into<Arc<Record>>) -> Result<(), StoreError> {
        let record = self.write_long_lists(record.into()).await?;
        self.ask(Command::Record(record)).await.map(drop)
    }

    /// When the next of these keys is due that nobody holds; `now` if one is due already, `None` if none waits.
    pub async fn next_due(&self, of: &Keys, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let of = of.clone();
        let due = self.look(move |transaction| Ok(queue::next_due(transaction.db, &of)?)).await?;
        Ok(due.map(|due| due.max(now)))
    }

    /// Changes whenever one of these keys became claimable or its time moved, and now and then for another. Subscribe, then claim, then wait for a change or for
    /// [`Self::next_due`]: no wake-up is lost and nothing polls.
    pub fn changed(&self, of: &Keys) -> watch::Receiver<u64> {
        self.inner.board.work(of)
    }

    /// The queue and the outbox as they are, with at most `limit` of each list.
    pub async fn backlog(&self, now: Timestamp, limit: usize) -> Result<Backlog, StoreError> {
        self.look(move |transaction| Ok(backlog::read(transaction.db, Claims::Here, now, limit)?)).await
    }

    /// Does what a person asks for, and tells the audit. What somebody works on or sends at this moment is left alone.
    pub async fn intervene(&self, intervention: Intervention) -> Result<Intervened, StoreError> {
        match self.ask(Command::Intervene(intervention)).await? {
            Reply::Intervened(intervened) => Ok(intervened),
            other => unreachable!("an intervention is answered by {other:?}"),
        }
    }

    /// Whether the store can be written: a transaction that changes nothing is made durable.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask(Command::Ping).await.map(drop)
    }

    /// Deletes up to 500 rows that are past their retention. Call it again while there is more.
    pub async fn prune(&self, now: Timestamp, retention: Retention) -> Result<Pruned, StoreError> {
        match self.ask(Command::Prune { now, retention }).await? {
            Reply::Pruned(pruned) => Ok(pruned),
            other => unreachable!("pruning is answered by {other:?}"),
        }
    }

    /// Waits until nobody holds this name, and holds it: over all processes that share the queue, there is one holder at
    /// a time. It is free again when the lease is dropped, or within 5 s after its process is gone. The holder learns
    /// from [`Lease::lost`] when the others took it for dead; until it does, two may act, so whatever it does outside
    /// the store must bear that (Git's compare-and-swap does).
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn lease(&self, name: &str) -> Result<Lease, StoreError> {
        let mut changed = self.inner.board.leases();
        loop {
            changed.mark_unchanged();
            let wanted = name.to_owned();
            let free = move |db: &Connection| {
                Ok(if lease::is_held(db, &wanted)? { Vec::new() } else { vec![wanted] })
            };
            let command = |mut free: Vec<String>| Command::Lease { name: free.remove(0) };
            match self.ask_for(free, command).await? {
                Some(Reply::Leased(Some(Returned::Lease { name, term }))) => {
                    return Ok(Lease::new(self.clone(), name, term));
                }
                Some(Reply::Leased(_)) | None => {}
                Some(other) => unreachable!("a lease is answered by {other:?}"),
            }
            if changed.changed().await.is_err() {
                return Err(self.failed(Cause::Closed));
            }
        }
    }

    /// The names that begin with this and that somebody holds, in bytewise order.
    pub async fn leases(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.look(move |transaction| Ok(lease::held(transaction.db, &prefix)?)).await
    }

    /// Changes whenever somebody took a lease, or lost one.
    pub fn leases_changed(&self) -> watch::Receiver<u64> {
        self.inner.board.leases()
    }

    pub(crate) async fn holds_lease(&self, name: &str, term: i64) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.look(move |transaction| Ok(lease::holds(transaction.db, &name, term)?)).await
    }

    pub(crate) fn board(&self) -> &Board {
        &self.inner.board
    }

    async fn write_long_lists(&self, record: Arc<Record>) -> Result<Arc<Record>, StoreError> {
        if !record.has_long_lists() {
            return Ok(record);
        }
        let mut record = Arc::unwrap_or_clone(record);
        for piece in record.split_tags() {
            self.ask(Command::Ledger(piece)).await?;
        }
        Ok(Arc::new(record))
    }

    /// Looks what there is, and asks for it; for nothing where there is nothing. A look need not go through a log, and
    /// what another process takes meanwhile is left out of the answer. An embedded store does both in one transaction.
    async fn ask_for<L, C>(&self, look: L, command: C) -> Result<Option<Reply>, StoreError>
    where
        L: FnOnce(&Connection) -> rusqlite::Result<Vec<String>> + Send + 'static,
        C: FnOnce(Vec<String>) -> Command + Send + 'static,
    {
        if self.inner.shared.is_some() {
            let found = self.look(move |transaction| Ok(look(transaction.db)?)).await?;
            if found.is_empty() {
                return Ok(None);
            }
            return self.ask(command(found)).await.map(Some);
        }
        let board = Arc::clone(&self.inner.board);
        let work = move |transaction: &mut Transaction<'_>| {
            let found = look(transaction.db)?;
            let reply = if found.is_empty() { None } else { Some(command(found).run(transaction)?) };
            Ok(reply.map(|reply| Answer::new(reply, board)))
        };
        Ok(self.look(work).await?.map(Answer::take))
    }

    async fn ask(&self, command: Command) -> Result<Reply, StoreError> {
        if let Some(shared) = &self.inner.shared {
            let answer = shared.ask(command).await.map_err(|cause| self.failed(cause))?;
            return Ok(answer.take());
        }
        let board = Arc::clone(&self.inner.board);
        let answer = self.look(move |transaction| Ok(Answer::new(command.run(transaction)?, board))).await?;
        Ok(answer.take())
    }

    /// Runs where claims and leases can be seen.
    async fn look<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> Result<T, Cause> + Send + 'static,
    {
        self.inner.writer.run(work).await.map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: Cause) -> StoreError {
        StoreError::new(self.inner.readers.path(), cause)
    }
}
