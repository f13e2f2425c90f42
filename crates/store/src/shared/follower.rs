//! Follows the log: runs every message on this process's copy of the state, and notices when the log is not the one
//! that the copy was made from.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::stream::{Info, Stream};
use futures_util::StreamExt as _;
use tokio::time::sleep;

use crate::error::Cause;
use crate::shared::entry::{Entry, Envelope, Outcome, Position};
use crate::shared::stream::log_of;
use crate::shared::{Expected, Link, PAUSE};

/// Messages that are run in one transaction, when many wait.
const AT_ONCE: usize = 256;
/// The server says that it is there this often while the log does not grow.
const IDLE: Duration = Duration::from_secs(1);
/// How long one request for messages waits at the server.
const PATIENCE: Duration = Duration::from_secs(30);
/// The server forgets this process's place in the log after this.
const FORGET: Duration = Duration::from_mins(1);

/// Why the log could not be followed further for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    #[error("{0}")]
    Server(String),
    #[error("{0:?}")]
    Copy(Cause),
    #[error("message {0} is none that this version knows: run one version of windlass on the queue")]
    Unknown(i64),
    #[error(
        "the log begins at {first}, and no snapshot reaches it: delete the stream; the next resync converges"
    )]
    Gap { first: u64 },
}

impl From<Cause> for FollowError {
    fn from(cause: Cause) -> Self {
        Self::Copy(cause)
    }
}

/// An answer of the server that is no answer.
pub(super) fn server(error: impl std::fmt::Display) -> FollowError {
    FollowError::Server(error.to_string())
}

/// Follows the log until the process ends.
pub(super) async fn follow(link: Arc<Link>) {
    let mut told = false;
    loop {
        match link.follow_until(u64::MAX, &mut told).await {
            Ok(()) => {}
            Err(FollowError::Copy(Cause::Closed)) => return,
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(%error, "the shared queue cannot be followed; trying until it can");
            }
            Err(error) => tracing::debug!(%error, "the shared queue cannot be followed"),
        }
        sleep(PAUSE).await;
    }
}

impl Link {
    /// Brings the copy to where the log is now.
    pub(super) async fn catch_up(&self) -> Result<(), FollowError> {
        let stream = self.names.open(&self.jetstream).await.map_err(server)?;
        let last = stream.get_info().await.map_err(server)?.state.last_sequence;
        self.follow_until(last, &mut false).await
    }

    /// Brings the copy to the log, then runs what comes, until the message `last` was run, or something fails.
    async fn follow_until(&self, last: u64, told: &mut bool) -> Result<(), FollowError> {
        let stream = self.names.open(&self.jetstream).await.map_err(server)?;
        let info = stream.get_info().await.map_err(server)?;
        let mut position = self.position().await?;
        if !belongs(&position, &stream, &info).await? {
            position = self.restore(&position, &info).await?;
        }
        if following(&position) > last {
            return Ok(());
        }
        let consumer = consumer(&stream, position.sequence).await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(AT_ONCE)
            .expires(PATIENCE)
            .heartbeat(IDLE)
            .messages()
            .await
            .map_err(server)?;
        let mut ready = messages.ready_chunks(AT_ONCE);
        let mut since_snapshot = 0;
        while let Some(messages) = ready.next().await {
            let mut entries = Vec::with_capacity(messages.len());
            let mut failed = None;
            for message in messages {
                match message.map_err(server).and_then(|message| entry(&message)) {
                    Ok(entry) if entry.sequence == position.sequence + 1 => {
                        position.sequence = entry.sequence;
                        entries.push(entry);
                    }
                    Ok(entry) => failed = Some(server(format!("the log goes on at {}", entry.sequence))),
                    Err(error) => failed = Some(error),
                }
                if failed.is_some() {
                    break;
                }
            }
            since_snapshot += u64::try_from(entries.len()).unwrap_or(u64::MAX);
            self.run_entries(entries).await?;
            if let Some(error) = failed {
                return Err(error);
            }
            if following(&position) > last {
                return Ok(());
            }
            if std::mem::take(told) {
                tracing::info!("the shared queue is followed again");
            }
            if since_snapshot >= self.snapshot_every {
                since_snapshot = 0;
                self.grown.notify_one();
            }
        }
        Err(server("the server ended the delivery of messages"))
    }

    async fn position(&self) -> Result<Position, Cause> {
        self.writer.run(|transaction| Ok(Position::read(transaction.db)?)).await
    }

    /// Runs messages in one transaction, then tells the publisher if its own was among them.
    async fn run_entries(&self, entries: Vec<Entry>) -> Result<(), Cause> {
        if entries.is_empty() {
            return Ok(());
        }
        let awaited = self.expected().as_ref().map(|expected| expected.id.clone());
        let outcome = self
            .writer
            .run(move |transaction| {
                let mut own = None;
                for entry in entries {
                    let outcome = entry.run(transaction)?;
                    if awaited.as_ref() == Some(&entry.id) && !matches!(outcome, Outcome::Repeated) {
                        if let Outcome::Joined(member) = &outcome {
                            let own = "UPDATE position SET member = ?1";
                            transaction.db.prepare_cached(own)?.execute([member])?;
                        }
                        own = Some((entry.id, outcome));
                    }
                }
                Ok(own)
            })
            .await?;
        let Some((id, outcome)) = outcome else { return Ok(()) };
        let mut expected = self.expected();
        if expected.as_ref().is_some_and(|expected| expected.id == id)
            && let Some(Expected { seen, .. }) = expected.take()
        {
            let _ = seen.send(outcome);
        }
        Ok(())
    }

    /// The copy is not of this log, or too far behind it: takes the newest snapshot, or begins with nothing.
    async fn restore(&self, position: &Position, info: &Info) -> Result<Position, FollowError> {
        let log = log_of(info);
        // A membership is of one log.
        let member = if position.log == log { position.member } else { 0 };
        self.restore_newest(&log, &info.state, member).await?;
        // Whatever the publisher waits for will not come as it was sent.
        self.expected().take();
        if position.log == log && following(position) < info.state.first_sequence {
            tracing::info!("this process was far behind the shared queue and took a snapshot");
        } else if !position.log.is_empty() {
            tracing::warn!("the shared queue lost what it held; everything is to be looked at again");
            self.board.announce_loss();
        }
        Ok(self.position().await?)
    }
}

/// The place of the message that the copy runs next.
fn following(position: &Position) -> u64 {
    u64::try_from(position.sequence).unwrap_or(0) + 1
}

/// Whether the copy is a state that the log passed through, and what follows is still there.
async fn belongs(position: &Position, stream: &Stream, info: &Info) -> Result<bool, FollowError> {
    let sequence = u64::try_from(position.sequence).unwrap_or(0);
    let (first, last) = (info.state.first_sequence, info.state.last_sequence);
    if position.log != log_of(info) || sequence > last || sequence + 1 < first {
        return Ok(false);
    }
    if sequence == 0 || sequence < first {
        return Ok(true);
    }
    // A server that lost its last messages gives their places to others.
    let message = stream.get_raw_message(sequence).await.map_err(server)?;
    Ok(id(Some(&message.headers)) == position.message)
}

async fn consumer(stream: &Stream, after: i64) -> Result<Consumer<pull::Config>, FollowError> {
    let start_sequence = u64::try_from(after).unwrap_or(0) + 1;
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: FORGET,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.map_err(server)
}

fn entry(message: &Message) -> Result<Entry, FollowError> {
    let sequence = message.info().map_err(server)?.stream_sequence;
    let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
    let (envelope, body) = Envelope::open(&message.payload).ok_or(FollowError::Unknown(sequence))?;
    Ok(Entry { sequence, id: id(message.headers.as_ref()), envelope, body })
}

fn id(headers: Option<&HeaderMap>) -> String {
    headers
        .and_then(|headers| headers.get(async_nats::header::NATS_MESSAGE_ID))
        .map_or_else(String::new, ToString::to_string)
}
