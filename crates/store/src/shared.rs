//! A state that several processes share over NATS JetStream.
//!
//! The stream is a log of commands. Every process runs all of them, in the log's order, on a copy of the state of its
//! own: a SQLite database like that of an embedded store. A process changes the state by publishing a batch of commands
//! and waiting until its own copy has run it; what the commands came to on its copy is what they came to on all. So a
//! batch is one message, done whole or not at all, and reads cost no request.
//!
//! A message is published under an id until it is seen in the log, however often that takes; the state knows the last
//! message of each member and runs none twice. Members tell each other that they live; one that is not heard of is
//! removed by a command, which frees what it held and refuses what it still says.

mod beat;
mod entry;
mod follower;
mod member;
mod options;
mod publisher;
mod snapshot;
mod stream;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::{self, Context};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use windlass_model::Clock;

use crate::board::Board;
use crate::command::{Answer, Command};
use crate::error::Cause;
use crate::readers::Readers;
use crate::shared::entry::Outcome;
use crate::shared::follower::FollowError;
use crate::shared::publisher::Asked;
use crate::shared::stream::Names;
use crate::writer::{Use, Writer};

pub(crate) use member::remove;
pub use options::{ConnectError, NatsOptions};

/// Requests that may wait for the next message; past this, callers wait for room.
const WAITING: usize = 4096;
/// The server answers a request of ours within this, or is asked again.
const ANSWER: Duration = Duration::from_secs(5);
/// Before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// How often an observer tries to read the log to its end.
const LOOKS: u32 = 3;
/// Messages after which the log is replaced by a snapshot, unless the state is large: a few seconds of a newcomer's time.
const SNAPSHOT_EVERY: u64 = 20_000;

/// What the tasks of a shared store work with.
struct Link {
    client: Client,
    jetstream: Context,
    names: Names,
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    folder: Box<Path>,
    expected: Mutex<Option<Expected>>,
    snapshot_every: u64,
    /// The log may have grown enough for a snapshot.
    grown: Notify,
}

/// The message that the publisher waits to see in the log.
struct Expected {
    id: String,
    seen: oneshot::Sender<Outcome>,
}

impl Link {
    async fn open(
        dir: &Path,
        options: &NatsOptions,
        clock: Arc<dyn Clock>,
        presence: Presence,
    ) -> Result<Arc<Self>, ConnectError> {
        let client = options::connect(options).await?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(ANSWER);
        let names = match presence {
            Presence::Member => Names::new(options, &client.server_info()),
            Presence::Visitor => Names::as_found(options, &client.server_info()),
        };
        names.open(&jetstream).await?;
        let (writer, board, path) = Writer::start(dir, Use::Shared, Arc::clone(&clock)).await?;
        Ok(Arc::new(Self {
            client,
            jetstream,
            names,
            writer: Arc::new(writer),
            readers: Readers::new(path, Vec::new(), board.rewritten()),
            board,
            clock,
            folder: dir.into(),
            expected: Mutex::default(),
            snapshot_every: options.snapshot_every.unwrap_or(SNAPSHOT_EVERY),
            grown: Notify::new(),
        }))
    }

    fn expected(&self) -> MutexGuard<'_, Option<Expected>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails at once where there is no connection: nothing is begun then that nobody could tell the end of.
    fn expect_connection(&self) -> Result<(), Cause> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            state => Err(self.unavailable(state)),
        }
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> Cause {
        Cause::Unavailable(format!("the queue on {} cannot be reached: {why}", self.names.servers))
    }
}

/// The running parts of a shared store. Dropping it ends them as a crash would: what this process held is taken over
/// when the others miss it, or when it starts again on the same folder.
pub(crate) struct Shared {
    requests: mpsc::Sender<Asked>,
    link: Arc<Link>,
    tasks: Mutex<JoinSet<()>>,
}

/// What a process is to a shared state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// One of those that run on it: the stream is made where it is missing, and must be as it should.
    Member,
    /// One that looks, or comes for one change: what is there is taken as it is.
    Visitor,
}

/// What [`Shared::start`] made.
pub(crate) struct Started {
    pub(crate) shared: Shared,
    pub(crate) writer: Arc<Writer>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) board: Arc<Board>,
}

impl Shared {
    /// Connects, checks the stream, opens the copy in the folder and starts to follow the log.
    pub(crate) async fn start(
        dir: &Path,
        options: &NatsOptions,
        clock: Arc<dyn Clock>,
        presence: Presence,
    ) -> Result<Started, ConnectError> {
        let link = Link::open(dir, options, clock, presence).await?;
        link.names.snapshots(&link.jetstream).await?;
        let (requests, inbox) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        tasks.spawn(follower::follow(Arc::clone(&link)));
        tasks.spawn(publisher::publish(Arc::clone(&link), inbox));
        tasks.spawn(beat::watch(Arc::clone(&link), requests.clone()));
        tasks.spawn(snapshot::make(Arc::clone(&link)));
        let (writer, readers) = (Arc::clone(&link.writer), Arc::clone(&link.readers));
        let board = Arc::clone(&link.board);
        let shared = Self { requests, link, tasks: Mutex::new(tasks) };
        Ok(Started { shared, writer, readers, board })
    }

    /// Makes a copy of the shared state, as it is now, in an empty folder. Nothing is published, and no member sees it.
    pub(crate) async fn observe(
        dir: &Path,
        options: &NatsOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<(), ConnectError> {
        let link = Link::open(dir, options, clock, Presence::Visitor).await?;
        let mut caught_up = link.catch_up().await;
        // The log's beginning may become a snapshot while it is read.
        for _ in 1..LOOKS {
            if caught_up.is_ok() {
                break;
            }
            sleep(PAUSE).await;
            caught_up = link.catch_up().await;
        }
        let closed = link.writer.close().await.map_err(FollowError::from);
        caught_up.and(closed).map_err(|error| ConnectError::Follow {
            servers: options.servers.clone(),
            reason: error.to_string(),
        })
    }

    /// Runs a command on the shared state, and answers once this copy has run it.
    pub(crate) async fn ask(&self, command: Command) -> Result<Answer, Cause> {
        self.link.expect_connection()?;
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(Asked::Run { command: Box::new(command), reply })
            .await
            .map_err(|_| Cause::Closed)?;
        answer.await.unwrap_or(Err(Cause::Closed))
    }

    /// Finishes what was accepted and leaves, so that what this process holds is free at once.
    pub(crate) async fn close(&self) -> Result<(), Cause> {
        let (reply, left) = oneshot::channel();
        self.requests.send(Asked::Leave { reply }).await.map_err(|_| Cause::Closed)?;
        let late = || Err(self.link.unavailable("it did not take this process's leave in time"));
        let left =
            timeout(ANSWER, left).await.map_or_else(|_| late(), |left| left.unwrap_or(Err(Cause::Closed)));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        let closed = self.link.writer.close().await;
        left.and(closed)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The tasks have the writer too; it is what holds the folder.
        self.link.writer.end();
    }
}
