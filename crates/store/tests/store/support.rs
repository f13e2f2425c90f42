//! A folder, a clock that tests set, and short names for the model's values.

use std::future::ready;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;
use windlass_model::{Clock, Hint, Kind, ObjectKey, ObjectRef, Signal, Tag};
use windlass_store::{Delivery, Keys, NatsOptions, Record, Store, Work};
use windlass_testkit::nats::NatsServer;
use windlass_testkit::nats_cluster::NatsCluster;

/// 2026-01-01, in seconds.
const START: i64 = 1_767_225_600;

/// Stands still until it is told.
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(START)))
    }

    /// As its [`Clock`] says; for those who do not import that.
    pub(crate) fn now_at(&self) -> Timestamp {
        self.now()
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).expect("tests stay near 2026")
    }
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<TestClock>,
    /// Where the state is shared.
    queue: Queue,
}

/// Where a world's state is.
enum Queue {
    Embedded,
    Server(NatsServer),
    /// One for all worlds, each with a stream of its own.
    Cluster {
        cluster: Arc<NatsCluster>,
        stream: String,
    },
}

/// Servers of a cluster take seconds to find each other. They end with the last world that has them.
static CLUSTER: Mutex<Weak<NatsCluster>> = Mutex::new(Weak::new());
static STREAMS: AtomicUsize = AtomicUsize::new(0);

fn shared_cluster() -> Arc<NatsCluster> {
    let mut shared = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let mut cluster = NatsCluster::stopped().unwrap();
        cluster.launch().unwrap();
        let cluster = Arc::new(cluster);
        *shared = Arc::downgrade(&cluster);
        cluster
    })
}

impl World {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: TestClock::new(), queue: Queue::Embedded }
    }

    /// A world whose store is shared over a server of its own.
    pub(crate) fn on_nats() -> Self {
        let mut server = NatsServer::stopped("").unwrap();
        server.launch().unwrap();
        Self { queue: Queue::Server(server), ..Self::new() }
    }

    /// A world whose store is shared over a cluster.
    pub(crate) fn on_cluster() -> Self {
        let stream = format!("windlass-{}", STREAMS.fetch_add(1, Ordering::SeqCst));
        Self { queue: Queue::Cluster { cluster: shared_cluster(), stream }, ..Self::new() }
    }

    pub(crate) async fn open(&self) -> Store {
        let options = match &self.queue {
            Queue::Embedded => return Store::open(self.folder.path(), self.clock.clone()).await.unwrap(),
            Queue::Server(server) => {
                server.listens().await.unwrap();
                options(server)
            }
            Queue::Cluster { cluster, stream } => {
                cluster.forms().await.unwrap();
                NatsOptions { stream: stream.clone(), ..on(cluster.url()) }
            }
        };
        Store::connect(self.folder.path(), &options, self.clock.clone()).await.unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The instant that many seconds from now.
    pub(crate) fn after(&self, seconds: i64) -> Timestamp {
        at(self.now(), seconds)
    }

    pub(crate) async fn claim(&self, store: &Store) -> Vec<Work> {
        store.claim(&Keys::ALL, 100, self.now()).await.unwrap()
    }

    /// Claims the one key that is due.
    pub(crate) async fn claim_one(&self, store: &Store) -> Work {
        let mut claimed = self.claim(store).await;
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        claimed.remove(0)
    }
}

/// How to join the queue of a server.
pub(crate) fn options(server: &NatsServer) -> NatsOptions {
    on(server.url())
}

/// How to join the queue on these servers.
pub(crate) fn on(servers: String) -> NatsOptions {
    NatsOptions { servers, stream: "windlass".into(), ..NatsOptions::default() }
}

pub(crate) fn at(from: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(from.as_second() + seconds).unwrap()
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new("apps", name)
}

pub(crate) fn repository(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::ImageRepository, key(name))
}

pub(crate) fn pushed(tag: &str) -> Hint {
    Hint::TagPushed { tag: Tag::parse(tag).unwrap(), digest: None }
}

pub(crate) fn signal(name: &str, tag: &str) -> Signal {
    Signal { target: repository(name), hint: pushed(tag) }
}

pub(crate) fn delivery(id: Option<&str>, received_at: Timestamp, signals: Vec<Signal>) -> Delivery {
    Delivery {
        receiver: "apps/registry".into(),
        delivery_id: id.map(str::to_owned),
        event: format!("event-{}", id.unwrap_or("none")),
        received_at,
        signals,
        audit: Vec::new(),
    }
}

pub(crate) fn hints(work: &Work) -> Vec<Hint> {
    work.hints.iter().map(|received| received.hint.clone()).collect()
}

pub(crate) async fn complete(store: &Store, work: &Work) {
    store.complete(&work.target, work.generation, Record::default()).await.unwrap();
}

/// Starts a future and drops it, as a caller that is cancelled does; its answer, if it came at once.
pub(crate) async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        answer = future => Some(answer),
        () = ready(()) => None,
    }
}

/// Waits for a change that must come; without it the test fails instead of hanging.
pub(crate) async fn expect_change(changed: &mut watch::Receiver<u64>) {
    timeout(Duration::from_secs(30), changed.changed()).await.expect("no change came").unwrap();
}
