//! One program of Git's that runs on the server, and our line to it: bytes both ways, its words for people, and how it
//! ended. It knows nothing of what the bytes mean.

use std::collections::VecDeque;
use std::mem;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::mpsc::UnboundedSender;

use super::SshError;
use super::connection::Note;
use crate::sideband::Words;
use crate::transport::RemoteError;

/// Most bytes that are held of what the server says while it should listen: far more than any greeting.
const MAX_EARLY: usize = 1 << 20;
/// The data type of standard error (RFC 4254, section 5.2).
const STANDARD_ERROR: u32 = 1;

/// A line to a program. Dropping it ends the program.
#[derive(Debug)]
pub(crate) struct Line {
    read: ChannelReadHalf,
    write: Option<ChannelWriteHalf<Msg>>,
    notes: UnboundedSender<Note>,
    /// What arrived while a request was sent.
    early: VecDeque<Bytes>,
    words: Words,
    state: State,
    /// Whether the program has said anything on its standard output.
    has_spoken: bool,
    exit: Option<u32>,
    /// Counted by the warden.
    busy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The program has closed its output.
    Ended,
    /// The server has closed the channel, or the connection is gone.
    Closed,
}

impl Line {
    pub(super) fn new(
        read: ChannelReadHalf,
        write: ChannelWriteHalf<Msg>,
        notes: UnboundedSender<Note>,
    ) -> Self {
        let mut line = Self {
            read,
            write: Some(write),
            notes,
            early: VecDeque::new(),
            words: Words::default(),
            state: State::Open,
            has_spoken: false,
            exit: None,
            busy: false,
        };
        line.note_busy();
        line
    }

    pub(super) async fn start(&self, command: &str, version2: bool) -> Result<(), russh::Error> {
        let write = self.write()?;
        if version2 {
            // A server that does not accept the variable says nothing, and Git there speaks version 0.
            write.set_env(false, "GIT_PROTOCOL", "version=2").await?;
        }
        write.exec(true, command).await
    }

    pub(super) fn note_busy(&mut self) {
        self.busy = true;
        drop(self.notes.send(Note::Busy));
    }

    pub(super) fn note_idle(&mut self) {
        self.busy = false;
        drop(self.notes.send(Note::Idle));
    }

    /// Whether the server has said nothing since it was last listened to, not even that it is gone.
    pub(super) fn is_quiet(&mut self) -> bool {
        if self.state != State::Open || !self.early.is_empty() {
            return false;
        }
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match pin!(self.read.wait()).poll(&mut context) {
                Poll::Pending => return true,
                Poll::Ready(Some(ChannelMsg::WindowAdjusted { .. } | ChannelMsg::Success)) => {}
                Poll::Ready(_) => return false,
            }
        }
    }

    /// Sends a request, and holds what the server says meanwhile: it would stop to listen if nobody did.
    pub(super) async fn send(&mut self, request: Bytes) -> Result<(), RemoteError> {
        let Some(write) = self.write.take() else { return Err(SshError::Lost.into()) };
        let sent = {
            let mut sending = pin!(write.data_bytes(request));
            loop {
                tokio::select! {
                    sent = &mut sending => break Ok(sent.is_ok()),
                    message = self.read.wait() => {
                        match self.take(message) {
                            Ok(bytes) => self.early.extend(bytes),
                            Err(error) => break Err(error),
                        }
                        if self.early.iter().map(Bytes::len).sum::<usize>() > MAX_EARLY {
                            break Err(RemoteError::Protocol("the server talks instead of listening"));
                        }
                        // It has not heard all, and why may be in its words.
                        if self.state != State::Open {
                            break Ok(true);
                        }
                    }
                }
            }
        };
        self.write = Some(write);
        match sent {
            Ok(true) => Ok(()),
            Ok(false) => Err(SshError::Lost.into()),
            Err(error) => Err(error),
        }
    }

    /// Waits until the program says something.
    pub(super) async fn listen(&mut self) -> Result<(), RemoteError> {
        match self.chunk().await? {
            Some(bytes) => self.early.push_front(bytes),
            None => return Err(RemoteError::Truncated),
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(super) async fn finish(&self) {
        // A connection that is gone shows when the answer is read.
        if let Ok(write) = self.write() {
            drop(write.eof().await);
        }
    }

    /// The program's next bytes; `None` after it has ended well.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, RemoteError> {
        if let Some(bytes) = self.early.pop_front() {
            return Ok(Some(bytes));
        }
        while self.state != State::Closed {
            let message = self.read.wait().await;
            if let Some(bytes) = self.take(message)? {
                return Ok(Some(bytes));
            }
        }
        match (self.exit, self.has_spoken) {
            (Some(0), true) => Ok(None),
            (Some(_), false) => Err(SshError::Refused { message: self.message() }.into()),
            (Some(_), true) => match self.message() {
                Some(message) => Err(RemoteError::Server { message }),
                None => Err(RemoteError::Truncated),
            },
            (None, _) => Err(SshError::Lost.into()),
        }
    }

    /// What the program printed for people.
    pub(super) fn take_words(&mut self) -> Vec<String> {
        mem::take(&mut self.words).into_lines()
    }

    fn message(&mut self) -> Option<String> {
        Some(self.take_words().join("\n")).filter(|message| !message.is_empty())
    }

    /// Notes what a message says, and hands out its bytes.
    fn take(&mut self, message: Option<ChannelMsg>) -> Result<Option<Bytes>, RemoteError> {
        match message {
            Some(ChannelMsg::Data { data }) => {
                self.has_spoken = true;
                return Ok(Some(data));
            }
            Some(ChannelMsg::ExtendedData { data, ext: STANDARD_ERROR }) => self.words.push(&data),
            Some(ChannelMsg::ExitStatus { exit_status }) => self.exit = Some(exit_status),
            Some(ChannelMsg::Eof) => self.state = State::Ended,
            Some(ChannelMsg::Close) | None => self.state = State::Closed,
            // The server does not run commands, or not this one.
            Some(ChannelMsg::Failure) => return Err(SshError::Refused { message: self.message() }.into()),
            Some(_) => {}
        }
        Ok(None)
    }

    fn write(&self) -> Result<&ChannelWriteHalf<Msg>, russh::Error> {
        self.write.as_ref().ok_or(russh::Error::SendError)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.busy {
            self.note_idle();
        }
        if let Some(write) = self.write.take().filter(|_| self.state != State::Closed) {
            drop(self.notes.send(Note::Close(write)));
        }
    }
}
