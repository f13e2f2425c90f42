//! The smart HTTP exchange (gitprotocol-http): one GET to learn, one POST per request, responses read as packets.
//!
//! It decides where credentials may go, follows redirects by its own rule, caps what is read and turns every failure
//! into a [`RemoteError`] that names no credential. It knows nothing of refs or objects.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{RequestBuilder, Response, StatusCode};
use url::Url;

use crate::github_app::GitHubAppError;
use crate::pktline::{Decoder, Packet, PktLineError};
use crate::remote::{ConfigError, Remote, RemoteState, has_userinfo};
use crate::sideband::{self, Frame, Words};

/// Git follows up to 20; a repository that moved twice needs two.
const MAX_REDIRECTS: usize = 5;
/// Longest pause that a server's `Retry-After` may ask of us.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The two halves of Git's smart HTTP.
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
        matches!(
            self,
            Self::Config(_)
                | Self::GitHubApp(_)
                | Self::Unauthorized { .. }
                | Self::NotFound { .. }
                | Self::Redirect { .. }
                | Self::Moved { .. }
                | Self::Connect(_)
                | Self::ObjectFormat(_)
        )
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

impl Remote {
    /// Asks for the service's advertisement, following redirects. The repository's location that answered is returned
    /// beside the body.
    pub(crate) async fn advertise(&self, service: Service, limit: u64) -> Result<(Url, Body), RemoteError> {
        let mut base = self.0.configured.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut url = below(&base, "info/refs");
            url.set_query(Some(&format!("service={}", service.name())));
            let mut request = self.0.client.get(url.clone()).header(CACHE_CONTROL, "no-cache");
            if service == Service::UploadPack {
                request = request.header("Git-Protocol", "version=2");
            }
            let response = self.send(request, &base).await?;
            if response.status().is_redirection() {
                base = self.redirected(&url, response.headers())?;
                continue;
            }
            let expected = format!("application/x-{}-advertisement", service.name());
            return Ok((base, Body::new(response, &expected, limit)?));
        }
        Err(RemoteError::Redirect { target: authority(&base), reason: "too many redirects" })
    }

    /// Posts one request to the service at `base` and returns the answer's body.
    pub(crate) async fn post(
        &self,
        base: &Url,
        service: Service,
        version2: bool,
        body: Bytes,
        limit: u64,
    ) -> Result<Body, RemoteError> {
        let name = service.name();
        let result = format!("application/x-{name}-result");
        let mut request = self
            .0
            .client
            .post(below(base, name))
            .header(CONTENT_TYPE, format!("application/x-{name}-request"))
            .header(ACCEPT, &result)
            .body(body);
        if version2 {
            request = request.header("Git-Protocol", "version=2");
        }
        let response = self.send(request, base).await?;
        if response.status().is_redirection() {
            return Err(RemoteError::Moved { status: response.status().as_u16() });
        }
        Body::new(response, &result, limit)
    }

    async fn send(&self, request: RequestBuilder, base: &Url) -> Result<Response, RemoteError> {
        let request = request.timeout(self.0.timeout);
        let response = if base.origin() == self.0.configured.origin() {
            self.authorized(request).await?
        } else {
            request.send().await.map_err(transport_error)?
        };
        let status = response.status();
        match status {
            _ if status.is_success() || status.is_redirection() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(RemoteError::Unauthorized { status: status.as_u16() })
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(RemoteError::NotFound { status: status.as_u16() })
            }
            _ => Err(RemoteError::Status {
                status: status.as_u16(),
                retry_after: retry_after(response.headers()),
            }),
        }
    }

    /// Sends a request with credentials, and once more where the server refuses ones that new ones may replace.
    async fn authorized(&self, request: RequestBuilder) -> Result<Response, RemoteError> {
        let RemoteState { auth, client, .. } = &*self.0;
        let Some(used) = auth.authorization(client).await? else {
            return request.send().await.map_err(transport_error);
        };
        let again = if used.renewable { request.try_clone() } else { None };
        let request = request.header(AUTHORIZATION, used.header.clone());
        let response = request.send().await.map_err(transport_error)?;
        let Some(again) = again.filter(|_| response.status() == StatusCode::UNAUTHORIZED) else {
            return Ok(response);
        };
        drop(response);
        auth.forget(&used).await;
        let Some(new) = auth.authorization(client).await? else {
            return Err(RemoteError::Unauthorized { status: StatusCode::UNAUTHORIZED.as_u16() });
        };
        again.header(AUTHORIZATION, new.header).send().await.map_err(transport_error)
    }

    /// The repository's new location, if it may be followed: same origin always; another origin only when there is
    /// nothing to leak; never from https to http.
    fn redirected(&self, from: &Url, headers: &HeaderMap) -> Result<Url, RemoteError> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(mut target) = location.and_then(|text| from.join(text).ok()) else {
            return Err(RemoteError::Protocol("a redirect without a valid Location"));
        };
        let refuse = |target: &Url, reason| Err(RemoteError::Redirect { target: authority(target), reason });
        if !matches!(target.scheme(), "http" | "https") || has_userinfo(&target) {
            return refuse(&target, "only http and https without credentials are followed");
        }
        if from.scheme() == "https" && target.scheme() == "http" {
            return refuse(&target, "a redirect must not leave https");
        }
        let has_secrets = self.0.auth.is_secret() || self.0.has_identity;
        if has_secrets && target.origin() != self.0.configured.origin() {
            return refuse(
                &target,
                "credentials are for the configured host only; configure the new URL if it is right",
            );
        }
        let Some(path) = target.path().strip_suffix("/info/refs").map(str::to_owned) else {
            return refuse(&target, "it does not name a Git repository");
        };
        target.set_path(&path);
        target.set_query(None);
        target.set_fragment(None);
        Ok(target)
    }
}

/// A response that is read packet by packet, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct Body {
    response: Response,
    decoder: Decoder,
    limit: u64,
    left: u64,
}

impl Body {
    fn new(response: Response, expected: &str, limit: u64) -> Result<Self, RemoteError> {
        let value = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let kind = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        if kind.eq_ignore_ascii_case(expected.as_bytes()) {
            Ok(Self { response, decoder: Decoder::default(), limit, left: limit })
        } else {
            let shown = &value[..value.len().min(100)];
            Err(RemoteError::NotGit { content_type: sideband::clean(shown) })
        }
    }

    /// The next packet; `None` at the end of the response.
    pub(crate) async fn packet(&mut self) -> Result<Option<Packet>, RemoteError> {
        loop {
            if let Some(packet) = self.decoder.next()? {
                return Ok(Some(packet));
            }
            match self.response.chunk().await.map_err(transport_error)? {
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

    /// Reads to the end of the response, so that the connection can be used again.
    pub(crate) async fn end(&mut self) -> Result<(), RemoteError> {
        while self.packet().await?.is_some() {}
        Ok(())
    }
}

fn below(base: &Url, name: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{name}", base.path().trim_end_matches('/')));
    url
}

fn authority(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn transport_error(error: reqwest::Error) -> RemoteError {
    let error = error.without_url();
    if error.is_connect() {
        RemoteError::Connect(error)
    } else if error.is_timeout() {
        RemoteError::Timeout
    } else {
        RemoteError::Network(error)
    }
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3); the date form is rare and ignored.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Auth, RemoteConfig};

    fn remote(url: &str, auth: Auth) -> Remote {
        let timeout = Duration::from_secs(5);
        let url = url.to_owned();
        let config =
            RemoteConfig { url, auth, ca_pem: None, client_identity_pem: None, proxy: None, timeout };
        Remote::new(config).unwrap()
    }

    fn follow(remote: &Remote, location: &str) -> Result<String, &'static str> {
        let from = below(&remote.0.configured, "info/refs");
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        match remote.redirected(&from, &headers) {
            Ok(url) => Ok(url.to_string()),
            Err(RemoteError::Redirect { reason, .. } | RemoteError::Protocol(reason)) => Err(reason),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn redirects_are_followed_only_where_nothing_can_leak() {
        let token = || Auth::Bearer { token: "t".to_owned().into() };
        let elsewhere = "https://other/r/info/refs?service=git-upload-pack";
        let moved = "/new/r.git/info/refs?service=git-upload-pack";
        for (url, auth, location, accepted) in [
            ("https://host/r", token(), moved, Some("https://host/new/r.git")),
            ("https://host/r", Auth::None, elsewhere, Some("https://other/r")),
            ("http://host/r", Auth::None, elsewhere, Some("https://other/r")),
            ("https://host/r", token(), elsewhere, None),
            ("http://host/r", token(), "https://host/r/info/refs", None),
            ("https://host/r", token(), "https://host:444/r/info/refs", None),
            ("https://host/r", Auth::None, "http://host/r/info/refs", None),
            ("https://host/r", Auth::None, "https://u:p@host/r/info/refs", None),
            ("https://host/r", Auth::None, "ftp://host/r/info/refs", None),
            ("https://host/r", token(), "/login", None),
            ("https://host/r", token(), "https://[", None),
        ] {
            let result = follow(&remote(url, auth), location);
            assert_eq!(result.as_deref().ok(), accepted, "{url} -> {location}: {result:?}");
        }
    }

    #[test]
    fn retry_after_is_read_and_bounded() {
        let wait = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
