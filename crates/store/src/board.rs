//! What the writer shows to everyone else, and what others leave for it: change counters, the number of claims, and
//! claims whose caller went away before it had them.

use std::collections::BTreeSet;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};

use crate::keys::Keys;
use crate::writer::Request;

/// Shared by the writer, the store's handles and undelivered claims.
#[derive(Debug)]
pub(crate) struct Board {
    work: Bell,
    outbox: Bell,
    leases: watch::Sender<u64>,
    losses: watch::Sender<u64>,
    claimed: AtomicU64,
    rewritten: Arc<AtomicU64>,
    returned: Mutex<Vec<Returned>>,
    something_returned: Notify,
    writer: mpsc::WeakSender<Request>,
}

/// Wakes those who wait for what concerns them.
#[derive(Debug, Default)]
struct Bell(Mutex<Vec<(Keys, watch::Sender<u64>)>>);

impl Bell {
    fn listen(&self, of: &Keys) -> watch::Receiver<u64> {
        let (sender, receiver) = watch::channel(0);
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|(_, listener)| listener.receiver_count() > 0);
        listeners.push((of.clone(), sender));
        receiver
    }

    fn ring(&self, touched: &Touched) {
        if *touched == Touched::Nothing {
            return;
        }
        for (keys, listener) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let concerned = match touched {
                Touched::Nothing => false,
                Touched::In(namespaces) => namespaces.iter().any(|namespace| keys.are_in(namespace)),
                Touched::All => true,
            };
            if concerned {
                listener.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }
}

/// Of which keys something changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Touched {
    #[default]
    Nothing,
    /// Of keys in these namespaces.
    In(BTreeSet<String>),
    /// Of any.
    All,
}

impl Touched {
    pub(crate) fn add(&mut self, namespace: &str) {
        match self {
            Self::Nothing => *self = Self::In(BTreeSet::from([namespace.to_owned()])),
            Self::In(namespaces) if namespaces.contains(namespace) => {}
            Self::In(namespaces) => drop(namespaces.insert(namespace.to_owned())),
            Self::All => {}
        }
    }
}

/// What one commit changed for those who wait.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// A key became claimable, or its time moved.
    pub(crate) work: Touched,
    /// A notice became due, or its time moved.
    pub(crate) outbox: Touched,
    /// A key was claimed or given back.
    pub(crate) claims: bool,
    /// A lease was taken or became free.
    pub(crate) leases: bool,
}

/// What somebody held and gives up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Returned {
    Work {
        target: String,
        generation: i64,
    },
    Notice {
        id: String,
        /// Whether its send may have begun.
        begun: bool,
    },
    Lease {
        name: String,
        term: i64,
    },
}

impl Board {
    pub(crate) fn new(writer: mpsc::WeakSender<Request>) -> Arc<Self> {
        Arc::new(Self {
            work: Bell::default(),
            outbox: Bell::default(),
            leases: watch::Sender::new(0),
            losses: watch::Sender::new(0),
            claimed: AtomicU64::new(0),
            rewritten: Arc::default(),
            returned: Mutex::default(),
            something_returned: Notify::new(),
            writer,
        })
    }

    pub(crate) fn work(&self, of: &Keys) -> watch::Receiver<u64> {
        self.work.listen(of)
    }

    pub(crate) fn outbox(&self, of: &Keys) -> watch::Receiver<u64> {
        self.outbox.listen(of)
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

    /// How often the database was written anew, in another file.
    pub(crate) fn rewritten(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.rewritten)
    }

    pub(crate) fn claimed(&self) -> u64 {
        self.claimed.load(Ordering::Relaxed)
    }

    pub(crate) fn show_claimed(&self, claimed: u64) {
        self.claimed.store(claimed, Ordering::Relaxed);
    }

    /// Wakes those who wait for what changed. Called after the commit only.
    pub(crate) fn announce(&self, changes: &Changes) {
        self.work.ring(&changes.work);
        self.outbox.ring(&changes.outbox);
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
