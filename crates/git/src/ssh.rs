//! Git over SSH (gitprotocol-pack, "SSH Transport"): which connection and which channel a request goes through, and
//! when a channel serves another. It reads packets as far as the end of an advertisement and no further.
//!
//! A program of Git's on the server has a state. `git-receive-pack` tells its refs, takes one push and ends.
//! `git-upload-pack` of version 2 answers one request after the other, but reads the refs only once: after a listing
//! it is used for objects alone. One of version 0 tells its refs, takes one request and ends.

mod connection;
mod error;
mod identity;
mod known_hosts;
mod line;
mod target;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;
use zeroize::Zeroizing;

use self::connection::{Connection, Purpose};
pub use self::error::{SshConfigError, SshError};
pub(crate) use self::identity::Identity;
use self::known_hosts::HostKeys;
use self::line::Line;
use self::target::Target;
use crate::capabilities::MAX_ADVERTISEMENT;
use crate::pktline::{self, Decoder, Packet};
use crate::sideband;
use crate::transport::{RemoteError, Service};

/// A handshake that takes longer will not get better. Longer than for TLS: servers look up our name first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A warm connection that does not open a channel within this time is dead.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence: Git servers send a keep-alive every 5 s.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// A repository on an SSH server.
pub(crate) struct Endpoint {
    target: Target,
    hosts: Arc<HostKeys>,
    identity: Arc<Identity>,
    /// Longest duration of one request with its whole answer.
    timeout: Duration,
    warm: Mutex<Option<Arc<Connection>>>,
}

impl Endpoint {
    pub(crate) fn new(
        url: &str,
        identity: &[u8],
        passphrase: Option<Zeroizing<String>>,
        known_hosts: &[u8],
        timeout: Duration,
    ) -> Result<Self, SshConfigError> {
        let target = Target::parse(url)?;
        let hosts = Arc::new(HostKeys::read(known_hosts, &target.known_name())?);
        let identity = Arc::new(Identity::new(identity, passphrase)?);
        Ok(Self { target, hosts, identity, timeout, warm: Mutex::default() })
    }

    /// The user whose repository it is.
    pub(crate) fn user(&self) -> &str {
        &self.target.user
    }

    /// The key, for another client.
    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    /// The location for people and logs.
    pub(crate) fn url(&self) -> Result<Url, SshConfigError> {
        self.target.url()
    }

    /// Starts the service and hands out its advertisement.
    pub(crate) async fn advertise(&self, service: Service) -> Result<Conversation, RemoteError> {
        let deadline = Instant::now() + self.timeout;
        let (connection, line) = self.start(service, service == Service::UploadPack, deadline).await?;
        let purpose = match service {
            Service::UploadPack => Purpose::Anything,
            Service::ReceivePack => Purpose::Push,
        };
        Ok(Conversation { connection, line, deadline, phase: Phase::Advertisement(purpose) })
    }

    /// Sends a request, on a line that waits for one where there is such a line.
    pub(crate) async fn post(
        &self,
        service: Service,
        version2: bool,
        request: Bytes,
    ) -> Result<Conversation, RemoteError> {
        let deadline = Instant::now() + self.timeout;
        let (purposes, next): (&[Purpose], _) = match (service, version2) {
            (Service::ReceivePack, _) => (&[Purpose::Push], None),
            (Service::UploadPack, false) => (&[], None),
            (Service::UploadPack, true) if is_listing(&request) => {
                (&[Purpose::Anything], Some(Purpose::Objects))
            }
            (Service::UploadPack, true) => (&[Purpose::Objects, Purpose::Anything], Some(Purpose::Objects)),
        };
        let phase = Phase::Answer(next);
        if let Some((connection, line)) = self.waiting(purposes) {
            let mut conversation = Conversation { connection, line, deadline, phase };
            match conversation.ask(service, request.clone()).await {
                Err(RemoteError::Timeout) => return Err(RemoteError::Timeout),
                // The line was dead. Asking again is safe; a push is not sent again here, for the server may have it.
                Err(_) if service == Service::UploadPack => {}
                result => return result.map(|()| conversation),
            }
        }
        let (connection, line) = self.start(service, version2, deadline).await?;
        let mut conversation = Conversation { connection, line, deadline, phase };
        conversation.skip_advertisement(version2 && service == Service::UploadPack).await?;
        conversation.ask(service, request).await?;
        Ok(conversation)
    }

    fn waiting(&self, purposes: &[Purpose]) -> Option<(Arc<Connection>, Line)> {
        let connection = self.warm()?;
        let line = connection.unpark(purposes)?;
        Some((connection, line))
    }

    /// A new line, on the warm connection if that works. Whatever its trouble is, a new connection is what any other
    /// client would use.
    async fn start(
        &self,
        service: Service,
        version2: bool,
        deadline: Instant,
    ) -> Result<(Arc<Connection>, Line), RemoteError> {
        if let Some(connection) = self.warm() {
            let starting = connection.start(&self.target, service, version2);
            if let Ok(Ok(line)) = timeout(CHANNEL_TIMEOUT.min(self.timeout), starting).await {
                return Ok((connection, line));
            }
            self.forget(&connection);
        }
        let patience = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let connecting = async {
            let key = self.identity.key().await?;
            let connection = Arc::new(Connection::open(&self.target, &self.hosts, key).await?);
            match connection.start(&self.target, service, version2).await {
                Ok(line) => Ok((connection, line)),
                Err(russh::Error::ChannelOpenFailure(_)) => Err(SshError::Refused { message: None }.into()),
                Err(error) => Err(RemoteError::Ssh(SshError::Handshake(error.into()))),
            }
        };
        let (connection, line) =
            timeout_at(patience, connecting).await.map_err(|_| RemoteError::Timeout)??;
        *self.warm.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&connection));
        Ok((connection, line))
    }

    fn warm(&self) -> Option<Arc<Connection>> {
        let mut warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        if warm.as_ref().is_some_and(|connection| connection.is_closed()) {
            *warm = None;
        }
        warm.clone()
    }

    fn forget(&self, connection: &Arc<Connection>) {
        let mut warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        if warm.as_ref().is_some_and(|warm| Arc::ptr_eq(warm, connection)) {
            *warm = None;
        }
    }
}

/// An advertisement or an answer on its way.
pub(crate) struct Conversation {
    connection: Arc<Connection>,
    line: Line,
    deadline: Instant,
    phase: Phase,
}

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversation").field("phase", &self.phase).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The server then waits for a request of this kind.
    Advertisement(Purpose),
    /// The server then waits for the next request of this kind, or ends.
    Answer(Option<Purpose>),
}

impl Conversation {
    /// The server's next bytes; `None` when its program has ended.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RemoteError> {
        let patience = self.deadline.min(Instant::now() + IDLE_TIMEOUT);
        timeout_at(patience, self.line.chunk()).await.map_err(|_| RemoteError::Timeout)?
    }

    /// The advertisement is read, and a request will follow.
    pub(crate) fn keep(self) {
        if let Phase::Advertisement(purpose) = self.phase {
            self.connection.park(self.line, purpose);
        }
    }

    /// Nothing more is wanted. Hands itself back when the program ends by itself, which is to be waited for. A line from
    /// which more was read than was asked for serves no other request.
    pub(crate) async fn finish(self, is_drained: bool) -> Option<Self> {
        match self.phase {
            Phase::Advertisement(_) => {
                let mut line = self.line;
                // So that the server need not take us for dead (gitprotocol-pack, "Packfile Negotiation").
                let farewell = line.send(Bytes::from_static(pktline::FLUSH));
                drop(timeout_at(self.deadline, farewell).await);
                line.finish().await;
                None
            }
            Phase::Answer(Some(purpose)) => {
                if is_drained {
                    self.connection.park(self.line, purpose);
                }
                None
            }
            Phase::Answer(None) => Some(self),
        }
    }

    /// The program's words for people, beside the protocol.
    pub(crate) fn take_words(&mut self) -> Vec<String> {
        self.line.take_words()
    }

    /// Sends the request. A request that can be repeated is waited for, so that a dead line shows.
    async fn ask(&mut self, service: Service, request: Bytes) -> Result<(), RemoteError> {
        timeout_at(self.deadline, self.line.send(request)).await.map_err(|_| RemoteError::Timeout)??;
        match service {
            Service::ReceivePack => self.line.finish().await,
            Service::UploadPack => {
                let patience = self.deadline.min(Instant::now() + IDLE_TIMEOUT);
                timeout_at(patience, self.line.listen()).await.map_err(|_| RemoteError::Timeout)??;
            }
        }
        Ok(())
    }

    /// Reads to the flush packet behind the refs or capabilities.
    async fn skip_advertisement(&mut self, version2: bool) -> Result<(), RemoteError> {
        let mut decoder = Decoder::default();
        let (mut first, mut left) = (true, MAX_ADVERTISEMENT);
        loop {
            match decoder.next()? {
                Some(Packet::Flush) if decoder.is_drained() => return Ok(()),
                Some(Packet::Data(line)) if line.starts_with(b"ERR ") => {
                    return Err(RemoteError::Server { message: sideband::clean(&line[4..]) });
                }
                Some(Packet::Data(line)) if first => {
                    first = false;
                    if (pktline::trim(&line) == b"version 2") != version2 {
                        return Err(RemoteError::Protocol("the server changed its protocol version"));
                    }
                }
                Some(Packet::Data(_)) => {}
                Some(_) => return Err(RemoteError::Protocol("an advertisement with more than one section")),
                None => match self.chunk().await? {
                    Some(bytes) => {
                        left = left
                            .checked_sub(bytes.len() as u64)
                            .ok_or(RemoteError::TooLarge { limit: MAX_ADVERTISEMENT })?;
                        decoder.feed(&bytes);
                    }
                    None => return Err(RemoteError::Truncated),
                },
            }
        }
    }
}

/// Whether the request makes the server read its refs.
fn is_listing(request: &[u8]) -> bool {
    request.get(4..).is_some_and(|request| request.starts_with(b"command=ls-refs"))
}
