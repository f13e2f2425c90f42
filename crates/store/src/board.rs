//! What the writer shows to everyone else, and what others leave for it: change counters, the number of claims, and
//! claims whose caller went away before it had them.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};

use crate::writer::Request;

/// Shared by the writer, the store's handles and undelivered claims.
#[derive(Debug)]
pub(crate) struct Board {
    work: watch::Sender<u64>,
    outbox: watch::Sender<u64>,
    leases: watch::Sender<u64>,
    losses: watch::Sender<u64>,
    claimed: AtomicU64,
    returned: Mutex<Vec<Returned>>,
    something_returned: Notify,
    writer: mpsc::WeakSender<Request>,
}

/// What one commit changed for those who wait.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says of something else whether it changed")]
pub(crate) struct Changes {
    /// A key became claimable, or its time moved.
    pub(crate) work: bool,
    /// A notice became due, or its time moved.
    pub(crate) outbox: bool,
    /// A key was claimed or given back.
    pub(crate) claims: bool,
    /// A lease became free.
    pub(crate) leases: bool,
}

/// A claim that its caller never received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Returned {
    Work { target: String, generation: i64 },
    Notice { id: String },
    Lease { name: String, term: i64 },
}

impl Board {
    pub(crate) fn new(writer: mpsc::WeakSender<Request>) -> Arc<Self> {
        Arc::new(Self {
            work: watch::Sender::new(0),
            outbox: watch::Sender::new(0),
            leases: watch::Sender::new(0),
            losses: watch::Sender::new(0),
            claimed: AtomicU64::new(0),
            returned: Mutex::default(),
            something_returned: Notify::new(),
            writer,
        })
    }

    pub(crate) fn work(&self) -> watch::Receiver<u64> {
        self.work.subscribe()
    }

    pub(crate) fn outbox(&self) -> watch::Receiver<u64> {
        self.outbox.subscribe()
    }

    pub(crate) fn leases(&self) -> watch::Receiver<u64> {
        self.leases.subscribe()
    }

    pub(crate) fn losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }

    /// What the queue held is gone.
    pub(crate) fn announce_loss(&self) {
        self.losses.send_modify(|count| *count = count.wrapping_add(1));
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
        if changes.leases {
            self.leases.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    pub(crate) fn take_returned(&self) -> Vec<Returned> {
        mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leaves something for the writer's next transaction.
    pub(crate) fn put_returned(&self, items: impl IntoIterator<Item = Returned>) {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).extend(items);
    }

    /// Waits for something to be given back since the last time. For one waiter.
    pub(crate) async fn something_returned(&self) {
        self.something_returned.notified().await;
    }

    /// As [`Self::put_returned`], and makes sure that there is a next transaction.
    pub(crate) fn give_back(&self, items: impl IntoIterator<Item = Returned>) {
        self.put_returned(items);
        self.something_returned.notify_one();
        if let Some(writer) = self.writer.upgrade() {
            // A full queue needs no wake-up: the writer looks at what was returned before each transaction.
            let _ = writer.try_send(Request::Wake);
        }
    }
}
