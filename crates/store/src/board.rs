//! What the writer shows to everyone else, and what others leave for it: change counters, the number of claims, and
//! claims whose caller went away before it had them.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::writer::Request;

/// Shared by the writer, the store's handles and undelivered claims.
#[derive(Debug)]
pub(crate) struct Board {
    work: watch::Sender<u64>,
    outbox: watch::Sender<u64>,
    claimed: AtomicU64,
    returned: Mutex<Vec<Returned>>,
    writer: mpsc::WeakSender<Request>,
}

/// What one commit changed for those who wait.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Changes {
    /// A key became claimable, or its time moved.
    pub(crate) work: bool,
    /// A notice became due, or its time moved.
    pub(crate) outbox: bool,
    /// A key was claimed or given back.
    pub(crate) claims: bool,
}

/// A claim that its caller never received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Returned {
    Work { target: String, generation: i64 },
    Notice { id: String },
}

impl Board {
    pub(crate) fn new(writer: mpsc::WeakSender<Request>) -> Arc<Self> {
        Arc::new(Self {
            work: watch::Sender::new(0),
            outbox: watch::Sender::new(0),
            claimed: AtomicU64::new(0),
            returned: Mutex::default(),
            writer,
        })
    }

    pub(crate) fn work(&self) -> watch::Receiver<u64> {
        self.work.subscribe()
    }

    pub(crate) fn outbox(&self) -> watch::Receiver<u64> {
        self.outbox.subscribe()
    }

    pub(crate) fn claimed(&self) -> u64 {
        self.claimed.load(Ordering::Relaxed)
    }

    pub(crate) fn show_claimed(&self, claimed: u64) {
        self.claimed.store(claimed, Ordering::Relaxed);
    }

    /// Wakes those who wait for what changed. Called after the commit only.
    pub(crate) fn announce(&self, changes: Changes) {
        if changes.work {
            self.work.send_modify(|count| *count = count.wrapping_add(1));
        }
        if changes.outbox {
            self.outbox.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    pub(crate) fn take_returned(&self) -> Vec<Returned> {
        mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leaves something for the writer's next transaction.
    pub(crate) fn put_returned(&self, items: impl IntoIterator<Item = Returned>) {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).extend(items);
    }

    /// As [`Self::put_returned`], and makes sure that there is a next transaction.
    fn give_back(&self, items: impl IntoIterator<Item = Returned>) {
        self.put_returned(items);
        if let Some(writer) = self.writer.upgrade() {
            // A full queue needs no wake-up: the writer looks at what was returned before each transaction.
            let _ = writer.try_send(Request::Wake);
        }
    }
}

/// Claims on their way to the caller. If the caller is gone (its future was dropped), they are given back.
#[must_use = "claims that are not accepted are given back"]
pub(crate) struct Handover<T: Claim> {
    items: Vec<T>,
    board: Arc<Board>,
}

/// Something that one caller holds until it reports on it.
pub(crate) trait Claim {
    /// What to tell the writer when the caller never had it.
    fn returned(&self) -> Returned;
}

impl<T: Claim> Handover<T> {
    pub(crate) fn new(items: Vec<T>, board: Arc<Board>) -> Self {
        Self { items, board }
    }

    /// The caller has them now.
    pub(crate) fn accept(mut self) -> Vec<T> {
        mem::take(&mut self.items)
    }
}

impl<T: Claim> Drop for Handover<T> {
    fn drop(&mut self) {
        if !self.items.is_empty() {
            self.board.give_back(self.items.iter().map(Claim::returned));
        }
    }
}
