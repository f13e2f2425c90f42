//! The way into the log: whatever waits goes into the next message (group commit), one message at a time.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::command::{Answer, Command, Reply};
use crate::error::Cause;
use crate::shared::entry::{Envelope, Outcome, Position, What};
use crate::shared::{ANSWER, Expected, Link, PAUSE};

/// Most commands in one message.
const BATCH: usize = 512;
/// A message that is not acknowledged within this is sent again. That costs nothing, for it comes under the same id; and
/// where a cluster's leader was lost with it, it is what finds the next one.
const AGAIN: Duration = Duration::from_secs(1);

/// A request to the publisher.
pub(super) enum Asked {
    Run {
        command: Box<Command>,
        reply: oneshot::Sender<Result<Answer, Cause>>,
    },
    /// Finish, leave, and take no more.
    Leave {
        reply: oneshot::Sender<Result<(), Cause>>,
    },
}

/// This process's membership of a log. The default is none.
#[derive(Debug, Clone, Default)]
struct Seat {
    log: String,
    member: i64,
    number: i64,
}

/// What waits for the next message.
#[derive(Default)]
struct Batch {
    commands: Vec<Command>,
    /// The commands' callers; what was given back comes first and has none.
    replies: Vec<oneshot::Sender<Result<Answer, Cause>>>,
    leave: Option<oneshot::Sender<Result<(), Cause>>>,
}

impl Batch {
    fn take(&mut self, asked: Asked) {
        match asked {
            Asked::Run { command, reply } => {
                self.commands.push(*command);
                self.replies.push(reply);
            }
            Asked::Leave { reply } => self.leave = Some(reply),
        }
    }
}

/// Publishes until it is asked to leave.
pub(super) async fn publish(link: Arc<Link>, mut requests: mpsc::Receiver<Asked>) {
    let mut seat = Seat::default();
    // Whoever gave something back is gone and will not do it again.
    let mut owed = false;
    loop {
        let mut batch = Batch::default();
        tokio::select! {
            asked = requests.recv() => match asked {
                Some(asked) => batch.take(asked),
                None => return,
            },
            () = link.board.something_returned() => {}
            () = sleep(PAUSE), if owed => {}
        }
        while batch.commands.len() < BATCH
            && batch.leave.is_none()
            && let Ok(asked) = requests.try_recv()
        {
            batch.take(asked);
        }
        let leave = batch.leave.take();
        owed = !link.run_batch(&mut seat, batch).await;
        if let Some(reply) = leave {
            requests.close();
            let _ = reply.send(link.leave(seat).await);
            return;
        }
    }
}

impl Link {
    /// Whether what was given back is in the log.
    async fn run_batch(&self, seat: &mut Seat, batch: Batch) -> bool {
        let returned = self.board.take_returned();
        let mut commands: Vec<Command> = returned.iter().cloned().map(Command::GiveBack).collect();
        let given_back = commands.len();
        commands.extend(batch.commands);
        if commands.is_empty() {
            return true;
        }
        match self.run(seat, &commands).await {
            Ok(outcomes) => {
                let outcomes = outcomes.into_iter().skip(given_back);
                for (reply, outcome) in batch.replies.into_iter().zip(outcomes) {
                    let answer = outcome.map(|value: Reply| Answer::new(value, Arc::clone(&self.board)));
                    // Nobody waits any more: the answer's own drop gives claims back.
                    let _ = reply.send(answer);
                }
                true
            }
            Err(cause) => {
                let owed = !returned.is_empty();
                self.board.put_returned(returned);
                for reply in batch.replies {
                    let _ = reply.send(Err(cause.clone()));
                }
                !owed
            }
        }
    }

    /// Brings commands into the log and answers with their outcomes. An error means that none was or will be run.
    async fn run(&self, seat: &mut Seat, commands: &[Command]) -> Result<Vec<Result<Reply, Cause>>, Cause> {
        let body = serde_json::to_vec(commands)?;
        self.expect_connection()?;
        loop {
            if seat.member == 0 {
                *seat = self.join().await?;
                continue;
            }
            match self.send_body(seat, &body).await? {
                Some(outcomes) => return Ok(outcomes),
                // The others took this process for dead, or the log is another one: in a new membership, then. What was
                // run all the same (the copy had to be made anew meanwhile) bears to be run again.
                None => *seat = Seat::default(),
            }
        }
    }

    async fn leave(&self, mut seat: Seat) -> Result<(), Cause> {
        if seat.member == 0 {
            return Ok(());
        }
        let member = seat.member;
        self.run(&mut seat, &[Command::Remove { member }]).await.map(drop)
    }

    /// Becomes a member, but where the log was replaced meanwhile. What an earlier process held that ran on the same folder is free from then on.
    async fn join(&self) -> Result<Seat, Cause> {
        let position = self.writer.run(|transaction| Ok(Position::read(transaction.db)?)).await?;
        let envelope = Envelope {
            log: position.log.clone(),
            from: 0,
            number: 0,
            at: self.clock.now(),
            what: What::Join { replaces: position.member },
        };
        // The client makes inboxes that no other client makes.
        let id = self.client.new_inbox();
        match self.send(id, envelope.seal(&[])?).await? {
            Some(Outcome::Joined(member)) => Ok(Seat { log: position.log, member, number: 0 }),
            _ => Ok(Seat::default()),
        }
    }

    /// Sends the body, in parts if it is long. `None` where this process is no member any more.
    async fn send_body(
        &self,
        seat: &mut Seat,
        body: &[u8],
    ) -> Result<Option<Vec<Result<Reply, Cause>>>, Cause> {
        // Half of what the server takes leaves room for the envelope and the headers.
        let longest = (self.client.server_info().max_payload / 2).max(1024);
        let mut parts = body.chunks(longest).peekable();
        let mut begins = true;
        while let Some(part) = parts.next() {
            seat.number += 1;
            let what = if parts.peek().is_some() { What::Part { begins } } else { What::Commands { begins } };
            begins = false;
            let (log, at) = (seat.log.clone(), self.clock.now());
            let envelope = Envelope { log, from: seat.member, number: seat.number, at, what };
            let id = format!("{}.{}.{}", seat.log, seat.member, seat.number);
            match self.send(id, envelope.seal(part)?).await? {
                Some(Outcome::Kept) => {}
                Some(Outcome::Ran(outcomes)) => return Ok(Some(outcomes)),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Publishes a message until it is seen in the log; `None` where the log was replaced meanwhile. An error means
    /// that it is not in the log and will not be.
    async fn send(&self, id: String, message: Vec<u8>) -> Result<Option<Outcome>, Cause> {
        let (seen, mut outcome) = oneshot::channel();
        *self.expected() = Some(Expected { id: id.clone(), seen });
        let mut unknown = false;
        loop {
            if unknown && self.expect_connection().is_err() {
                // The client keeps what it cannot send yet: once is enough.
                if let Ok(outcome) = timeout(PAUSE, &mut outcome).await {
                    return Ok(outcome.ok());
                }
                continue;
            }
            let publish = timeout(AGAIN, self.publish_once(&id, message.clone()));
            let published = tokio::select! {
                biased;
                outcome = &mut outcome => return Ok(outcome.ok()),
                published = publish => published,
            };
            match published {
                // One that was taken is seen at once, unless the server lost it since.
                Ok(Ok(())) => {
                    if let Ok(outcome) = timeout(ANSWER, &mut outcome).await {
                        return Ok(outcome.ok());
                    }
                }
                Ok(Err(error)) if !unknown && is_refusal(&error) => {
                    self.expected().take();
                    return Err(self.unavailable(shown(&error)));
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, id, "a message may not have reached the log; it is sent again");
                    sleep(PAUSE).await;
                }
                Err(_) => tracing::debug!(id, "a message was not acknowledged; it is sent again"),
            }
            unknown = true;
        }
    }

    async fn publish_once(&self, id: &str, message: Vec<u8>) -> Result<(), PublishError> {
        let message = PublishMessage::build().payload(message.into()).message_id(id);
        self.jetstream.send_publish(self.names.subject(), message).await?.await.map(drop)
    }
}

/// Whether the server said no. Otherwise nobody knows whether it has the message.
fn is_refusal(error: &PublishError) -> bool {
    match error.kind() {
        PublishErrorKind::StreamNotFound | PublishErrorKind::MaxPayloadExceeded => true,
        // With a source, it is the server's answer.
        PublishErrorKind::Other => std::error::Error::source(error).is_some(),
        _ => false,
    }
}

fn shown(error: &PublishError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
