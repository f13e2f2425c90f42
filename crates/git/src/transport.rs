//! What Git's protocol needs of a connection, whatever carries it: an advertisement, a request with its answer, both
//! read as packets up to a number of bytes.
//!
//! Over HTTP each is an exchange of its own. Over SSH a conversation has a state: whoever has read an advertisement to
//! its end and lets it go on says so by [`Body::keep`]. This module knows nothing of refs or objects.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use url::Url;
use windlass_failpoint::Injected;

use crate::github_app::GitHubAppError;
use crate::http;
use crate::pktline::{Decoder, Packet, PktLineError};
use crate::program::ProgramError;
use crate::remote::{ConfigError, Remote};
use crate::sideband::{self, Frame, Words};
use crate::ssh::{self, SshError};

/// The two programs of a Git server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Reading.
    UploadPack,
    /// Writing.
    ReceivePack,
}

impl Service {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }
}

/// Why a request to the Git server brought no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No credentials could be obtained.
    #[error(transparent)]
    GitHubApp(#[from] GitHubAppError),
    /// Below Git's protocol, over SSH.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The `git` program, where it is used.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// HTTP 401 or 403.
    #[error("the Git server refuses the credentials (HTTP {status})")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
    },
    /// HTTP 404 or 410. Many servers say this for a private repository when credentials lack access.
    #[error(
        "the Git server knows no such repository, or the credentials give no access to it (HTTP {status})"
    )]
    NotFound {
        /// 404 or 410.
        status: u16,
    },
    /// Another HTTP status.
    #[error("the Git server answered HTTP {status}")]
    Status {
        /// Neither 2xx, 3xx, 401, 403, 404 nor 410.
        status: u16,
        /// What the server asks to wait, at most an hour.
        retry_after: Option<Duration>,
    },
    /// A redirect that must not be followed.
    #[error("the Git server redirects to {target}, which is not followed: {reason}")]
    Redirect {
        /// Scheme and host that the redirect names.
        target: String,
        /// The rule.
        reason: &'static str,
    },
    /// A POST was redirected: the repository moved since its location was learned.
    #[error("the Git server redirected a request that must not be redirected (HTTP {status})")]
    Moved {
        /// 3xx
        status: u16,
    },
    /// No connection, so no request was sent.
    #[error("cannot connect to the Git server")]
    Connect(#[source] reqwest::Error),
    /// The connection failed while in use.
    #[error("the connection to the Git server failed")]
    Network(#[source] reqwest::Error),
    /// The response ended early.
    #[error("the Git server's answer ends in the middle")]
    Truncated,
    /// No answer in time.
    #[error("the Git server did not answer in time")]
    Timeout,
    /// Some other web server, or a proxy's or sign-in page.
    #[error("the answer is not from a Git server that speaks smart HTTP (content type `{content_type}`)")]
    NotGit {
        /// What came, cleaned.
        content_type: String,
    },
    /// The answer breaks Git's protocol.
    #[error("the Git server's answer breaks the protocol: {0}")]
    Protocol(&'static str),
    /// The server stopped with a message.
    #[error("the Git server gave up: {message}")]
    Server {
        /// Its words, cleaned.
        message: String,
    },
    /// Larger than allowed.
    #[error("the Git server's answer is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// More refs than are read.
    #[error(
        "the Git server lists more than {limit} refs; with protocol version 2 it would list those asked for alone"
    )]
    TooManyRefs {
        /// How many are read.
        limit: usize,
    },
    /// Neither SHA-1 nor SHA-256.
    #[error("the repository's object format `{0}` is not supported: only sha1 and sha256 are")]
    ObjectFormat(String),
    /// A push was reported as done, yet the branch still points where it did: perhaps a replica that lags behind.
    #[error("the Git server accepted the push, but the branch does not show it")]
    NotShown,
    /// The push was answered without a report.
    #[error("the Git server did not report what became of the push")]
    NoReport,
}

impl RemoteError {
    /// Whether the server may have changed since its abilities were learned, so that learning again can help.
    pub(crate) fn disagrees(&self) -> bool {
        match self {
            Self::Status { status, .. } => (400..500).contains(status) && !matches!(status, 408 | 429),
            Self::NotFound { .. } | Self::Moved { .. } | Self::NotGit { .. } | Self::Protocol(_) => true,
            _ => false,
        }
    }

    /// Whether the server certainly did not act on the request.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Ssh(error) if error.is_refusal())
            || matches!(self, Self::Program(error) if error.is_refusal())
            || matches!(
                self,
                Self::Config(_)
                    | Self::Unauthorized { .. }
                    | Self::NotFound { .. }
                    | Self::Redirect { .. }
                    | Self::Moved { .. }
                    | Self::Connect(_)
                    | Self::ObjectFormat(_)
            )
    }
}

impl RemoteError {
    /// Whether it says by its type what the server, or the way to it, has against the request. Any client would meet it.
    pub(crate) fn is_typed_refusal(&self) -> bool {
        match self {
            Self::Unauthorized { .. }
            | Self::NotFound { .. }
            | Self::Status { .. }
            | Self::Redirect { .. }
            | Self::NotGit { .. }
            | Self::Connect(_)
            | Self::GitHubApp(_) => true,
            // What our own client alone may lack is none of the program's troubles.
            Self::Ssh(error) => !matches!(
                error,
                SshError::Handshake(_)
                    | SshError::NoCommonAlgorithm { .. }
                    | SshError::HostKeyKinds { .. }
                    | SshError::KeyNotEnough { .. }
                    | SshError::Sha1Only
                    | SshError::Lost
            ),
            _ => false,
        }
    }
}

impl From<Injected> for RemoteError {
    fn from(_: Injected) -> Self {
        Self::Truncated
    }
}

impl From<PktLineError> for RemoteError {
    fn from(error: PktLineError) -> Self {
        Self::Protocol(match error {
            PktLineError::Length => "a packet's length is not four hexadecimal digits",
            PktLineError::Size => "a packet states a length that the format does not allow",
        })
    }
}

/// What carries a remote's conversations.
pub(crate) enum Transport {
    Http(http::Endpoint),
    Ssh(ssh::Endpoint),
    /// A folder of this machine, which the `git` program alone goes to.
    Local,
}

impl Remote {
    /// Asks for the service's advertisement. The repository's location that answered is returned beside the body.
    pub(crate) async fn advertise(&self, service: Service, limit: u64) -> Result<(Url, Body), RemoteError> {
        match &self.0.transport {
            Transport::Http(http) => {
                let (base, response) = http.advertise(service).await?;
                Ok((base, Body::new(Source::Http(response), limit)))
            }
            Transport::Ssh(ssh) => {
                let conversation = ssh.advertise(service).await?;
                let base = ssh.url().map_err(ConfigError::Ssh)?;
                Ok((base, Body::new(Source::Ssh(Box::new(conversation)), limit)))
            }
            Transport::Local => Err(ConfigError::Scheme("file".to_owned()).into()),
        }
    }

    /// Sends one request to the service at `base` and returns the answer's body.
    pub(crate) async fn post(
        &self,
        base: &Url,
        service: Service,
        version2: bool,
        body: Bytes,
        limit: u64,
    ) -> Result<Body, RemoteError> {
        let source = match &self.0.transport {
            Transport::Http(http) => Source::Http(http.post(base, service, version2, body).await?),
            Transport::Ssh(ssh) => Source::Ssh(Box::new(ssh.post(service, version2, body).await?)),
            Transport::Local => return Err(ConfigError::Scheme("file".to_owned()).into()),
        };
        Ok(Body::new(source, limit))
    }
}

/// Where a body's bytes come from.
#[derive(Debug)]
enum Source {
    Http(Response),
    Ssh(Box<ssh::Conversation>),
    /// Read to its end, and given back.
    Done,
}

impl Source {
    /// The next bytes; `None` after the last.
    async fn chunk(&mut self) -> Result<Option<Bytes>, RemoteError> {
        match self {
            Self::Http(response) => response.chunk().await.map_err(http::transport_error),
            Self::Ssh(conversation) => conversation.chunk().await,
            Self::Done => Ok(None),
        }
    }
}

/// An answer that is read packet by packet, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct Body {
    source: Source,
    decoder: Decoder,
    limit: u64,
    left: u64,
}

impl Body {
    fn new(source: Source, limit: u64) -> Self {
        Self { source, decoder: Decoder::default(), limit, left: limit }
    }

    /// The next packet; `None` at the end of the response.
    pub(crate) async fn packet(&mut self) -> Result<Option<Packet>, RemoteError> {
        loop {
            if let Some(packet) = self.decoder.next()? {
                return Ok(Some(packet));
            }
            match self.source.chunk().await? {
                Some(bytes) => {
                    let size = bytes.len() as u64;
                    self.left =
                        self.left.checked_sub(size).ok_or(RemoteError::TooLarge { limit: self.limit })?;
                    self.decoder.feed(&bytes);
                }
                None if self.decoder.is_drained() => return Ok(None),
                None => return Err(RemoteError::Truncated),
            }
        }
    }

    /// The next packet's payload; `None` at a flush, delimiter or response-end packet. The end of the response is an
    /// error. An `ERR` packet (gitprotocol-pack) is the server's refusal.
    pub(crate) async fn line(&mut self) -> Result<Option<Bytes>, RemoteError> {
        match self.packet().await? {
            Some(Packet::Data(line)) => match line.strip_prefix(b"ERR ") {
                Some(message) => Err(RemoteError::Server { message: sideband::clean(message) }),
                None => Ok(Some(line)),
            },
            Some(Packet::Flush | Packet::Delimiter | Packet::ResponseEnd) => Ok(None),
            None => Err(RemoteError::Truncated),
        }
    }

    /// The next piece of channel 1; `None` at the flush packet that ends the stream. Channel 2 goes to `words`.
    pub(crate) async fn data(&mut self, words: &mut Words) -> Result<Option<Bytes>, RemoteError> {
        while let Some(packet) = self.line().await? {
            match Frame::parse(packet) {
                Some(Frame::Data(piece)) => return Ok(Some(piece)),
                Some(Frame::Progress(piece)) => words.push(&piece),
                Some(Frame::Fatal(message)) => {
                    return Err(RemoteError::Server { message: sideband::clean(&message) });
                }
                None => return Err(RemoteError::Protocol("a packet on an unknown side-band channel")),
            }
        }
        Ok(None)
    }

    /// An advertisement was read to its end, and a request will follow.
    pub(crate) async fn keep(&mut self) -> Result<(), RemoteError> {
        match mem::replace(&mut self.source, Source::Done) {
            // What came unasked would be taken for the answer.
            Source::Ssh(conversation) if self.decoder.is_drained() => conversation.keep(),
            Source::Ssh(_) | Source::Done => {}
            http @ Source::Http(_) => {
                self.source = http;
                self.end().await?;
            }
        }
        Ok(())
    }

    /// What the server said to people beside the answer, cleaned, one line each.
    pub(crate) fn asides(&mut self) -> Vec<String> {
        match &mut self.source {
            Source::Ssh(conversation) => conversation.take_words(),
            Source::Http(_) | Source::Done => Vec::new(),
        }
    }

    /// Reads to the end of the answer, so that the connection can be used again.
    pub(crate) async fn end(&mut self) -> Result<(), RemoteError> {
        match mem::replace(&mut self.source, Source::Done) {
            Source::Ssh(conversation) => match conversation.finish(self.decoder.is_drained()).await {
                Some(rest) => self.source = Source::Ssh(Box::new(rest)),
                None => return Ok(()),
            },
            other => self.source = other,
        }
        while self.packet().await?.is_some() {}
        Ok(())
    }
}
