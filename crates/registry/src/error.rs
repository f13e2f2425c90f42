//! Why a registry did not give what was asked, in words that name the next step.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use windlass_failpoint::Injected;
use windlass_model::{Digest, ImageName, Tag};

use crate::manifest::Reference;

/// Longest text that is quoted from a registry, in characters.
const MAX_QUOTE: usize = 200;
/// Secrets shorter than this are not searched for in quoted text: they would blank out ordinary words.
const MIN_REDACTED: usize = 4;

/// A failed operation on one repository. Its text is one line without secrets, fit for a log and for a status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{image}: {asked}: {cause}")]
pub struct RegistryError {
    image: Box<ImageName>,
    asked: Box<Asked>,
    cause: Cause,
}

impl RegistryError {
    pub(crate) fn new(image: ImageName, asked: Asked, cause: Cause) -> Self {
        Self { image: Box::new(image), asked: Box::new(asked), cause }
    }

    /// What sort of failure it is, for matching and for metric labels.
    pub fn kind(&self) -> ErrorKind {
        match &self.cause {
            Cause::NotFound(_) => ErrorKind::NotFound,
            Cause::Unauthorized(_) => ErrorKind::Unauthorized,
            Cause::Forbidden(_) => ErrorKind::Forbidden,
            Cause::Throttled { retry_after, .. } => ErrorKind::Throttled { retry_after: *retry_after },
            Cause::Server(_) => ErrorKind::Server,
            Cause::Network(_) => ErrorKind::Network,
            Cause::Timeout(_) | Cause::Silent(_) => ErrorKind::Timeout,
            Cause::Invalid(_) => ErrorKind::Invalid,
            Cause::TooLarge(_) => ErrorKind::TooLarge,
            Cause::Refused(_) => ErrorKind::Refused,
        }
    }

    /// When to ask again.
    pub fn retry(&self) -> Retry {
        match self.kind() {
            ErrorKind::Server | ErrorKind::Network | ErrorKind::Timeout => Retry::Backoff,
            ErrorKind::Throttled { retry_after } => Retry::After(retry_after),
            ErrorKind::NotFound
            | ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::Invalid
            | ErrorKind::TooLarge
            | ErrorKind::Refused => Retry::NextInterval,
        }
    }
}

/// The sort of a [`RegistryError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The registry knows no such repository (HTTP 404). Some registries also say so to hide a private one.
    NotFound,
    /// No credentials, or wrong ones (HTTP 401).
    Unauthorized,
    /// The credentials do not allow it (HTTP 403).
    Forbidden,
    /// The registry wants fewer requests (HTTP 429), or asked for a pause that is not over.
    Throttled {
        /// How long the pause lasts from now; at most 15 minutes.
        retry_after: Duration,
    },
    /// The registry or its token server failed (HTTP 5xx).
    Server,
    /// No connection, no valid TLS, or an answer that broke off.
    Network,
    /// The repository's timeout elapsed, or the registry went silent for a minute.
    Timeout,
    /// An answer that the specification does not allow.
    Invalid,
    /// An answer or a list past a size limit.
    TooLarge,
    /// A rule of ours forbids the next step: a redirect, a `Link` or a token realm leads where it must not.
    Refused,
}

impl ErrorKind {
    /// The kind as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "not_found",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::Throttled { .. } => "throttled",
            ErrorKind::Server => "server_error",
            ErrorKind::Network => "network",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Invalid => "invalid",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::Refused => "refused",
        }
    }
}

/// When a failed operation may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Soon, with growing delays: the failure is likely to pass by itself.
    Backoff,
    /// Not before this much time has passed.
    After(Duration),
    /// Only after someone changes something, here or at the registry: the ordinary interval is soon enough.
    NextInterval,
}

/// The operation that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Tags,
    Digest(Tag),
    Manifest(Reference),
    Referrers(Digest),
    Blob(Digest),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Tags => f.write_str("listing tags"),
            Asked::Digest(tag) => write!(f, "resolving tag `{tag}`"),
            Asked::Manifest(reference) => write!(f, "reading manifest `{reference}`"),
            Asked::Referrers(digest) => write!(f, "listing what refers to `{digest}`"),
            Asked::Blob(digest) => write!(f, "reading blob `{digest}`"),
        }
    }
}

/// What went wrong, before it is known for which repository and operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    #[error("{0}; check the repository's name, and whether it is private (`spec.secretRef`)")]
    NotFound(Said),
    #[error("{0}; check that `spec.secretRef` names a Secret with valid credentials for this registry")]
    Unauthorized(Said),
    #[error("{0}; the credentials of `spec.secretRef` need permission to pull this repository")]
    Forbidden(Said),
    #[error("the registry asks to be left alone for {}{}", Seconds(*.retry_after), Quoted(.said.as_ref()))]
    Throttled { retry_after: Duration, said: Option<Said> },
    #[error("{0}")]
    Server(Said),
    #[error("{0}")]
    Network(String),
    #[error("no answer within the timeout of {}; see `spec.timeout`", Seconds(*.0))]
    Timeout(Duration),
    #[error("the registry went silent for {}", Seconds(*.0))]
    Silent(Duration),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Refused(String),
}

impl From<Injected> for Cause {
    fn from(injected: Injected) -> Self {
        Self::Network(injected.to_string())
    }
}

/// An answer that is not the one wanted: who gave it, its status, and the error that its body names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// The token server's host; absent for the registry itself.
    token_server: Option<String>,
    status: StatusCode,
    /// `CODE: message`, cleaned and shortened.
    detail: Option<String>,
}

impl Said {
    /// Reads what a body says. The texts of `secrets` are blanked out, should the server repeat them.
    pub(crate) fn read(status: StatusCode, body: &[u8], secrets: &[&str]) -> Self {
        Self { token_server: None, status, detail: error_detail(body).map(|text| quote(&text, secrets)) }
    }

    /// The same, said by a token server.
    pub(crate) fn by_token_server(mut self, host: &str) -> Self {
        self.token_server = Some(quote(host, &[]));
        self
    }

    /// Sorts an answer that is no success by its status alone.
    pub(crate) fn into_cause(self, pause: Duration) -> Cause {
        match self.status.as_u16() {
            401 => Cause::Unauthorized(self),
            403 => Cause::Forbidden(self),
            404 => Cause::NotFound(self),
            429 => Cause::Throttled { retry_after: pause, said: Some(self) },
            // 408 is a server that gave up on the request: as passing as a failure of its own.
            408 | 500..=599 => Cause::Server(self),
            _ => Cause::Invalid(format!("{self}, which is not expected here")),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.token_server {
            Some(host) => write!(f, "the token server {host} answered HTTP {}", self.status)?,
            None => write!(f, "the registry answered HTTP {}", self.status)?,
        }
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

struct Quoted<'a>(Option<&'a Said>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |said| write!(f, ": {said}"))
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

/// The first error of a body: the specification's envelope `{"errors":[{"code","message"}]}`, OAuth's
/// `{"error","error_description"}` (RFC 6749, section 5.2), and Docker Hub's `{"details"}`.
fn error_detail(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = body.pointer("/errors/0");
    let text = |value: Option<&serde_json::Value>| {
        value.and_then(|v| v.as_str()).filter(|s| !s.is_empty()).map(str::to_owned)
    };
    let code = text(first.and_then(|e| e.get("code"))).or_else(|| text(body.get("error")));
    let message = text(first.and_then(|e| e.get("message")))
        .or_else(|| text(body.get("error_description")))
        .or_else(|| text(body.get("message")))
        .or_else(|| text(body.get("details")));
    match (code, message) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, message) => code.or(message),
    }
}

/// Makes a foreign text safe to show: secrets blanked out, one line, bounded.
pub(crate) fn quote(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= MIN_REDACTED) {
        text = text.replace(secret, "<secret>");
    }
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_QUOTE + 1).collect();
    if line.chars().count() > MAX_QUOTE {
        line.pop();
        line.push('…');
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> RegistryError {
        let said = Said::read(StatusCode::from_u16(status).unwrap(), body.as_bytes(), &["hunter22"]);
        let cause = said.into_cause(Duration::from_secs(7));
        RegistryError::new(ImageName::parse("ghcr.io/org/app").unwrap(), Asked::Tags, cause)
    }

    #[test]
    fn messages_name_image_request_status_code_and_next_step() {
        let body = r#"{"errors":[{"code":"DENIED","message":"requested access\nis denied"}]}"#;
        assert_eq!(
            error(401, body).to_string(),
            "ghcr.io/org/app: listing tags: the registry answered HTTP 401 Unauthorized (DENIED: requested access is \
             denied); check that `spec.secretRef` names a Secret with valid credentials for this registry"
        );
        assert_eq!(
            error(429, "").to_string(),
            "ghcr.io/org/app: listing tags: the registry asks to be left alone for 7.0 s: the registry answered HTTP \
             429 Too Many Requests"
        );
    }

    #[test]
    fn bodies_of_every_known_shape_are_quoted() {
        for (body, shown) in [
            (r#"{"errors":[{"code":"X","message":"y"}]}"#, "(X: y)"),
            (r#"{"errors":[{"code":"X"}]}"#, "(X)"),
            (r#"{"error":"invalid_grant","error_description":"expired"}"#, "(invalid_grant: expired)"),
            (r#"{"details":"incorrect username or password"}"#, "(incorrect username or password)"),
            (r#"{"message":"no"}"#, "(no)"),
        ] {
            assert!(error(500, body).to_string().ends_with(shown), "{body}: {}", error(500, body));
        }
        for silent in ["", "<html>", "[]", r#"{"errors":[]}"#, r#"{"errors":[{"code":7}]}"#, "null"] {
            assert!(error(500, silent).to_string().ends_with("HTTP 500 Internal Server Error"), "{silent}");
        }
    }

    #[test]
    fn quotes_hide_secrets_and_are_short_single_lines() {
        assert_eq!(quote("password hunter22\r\nrefused", &["hunter22"]), "password <secret>  refused");
        assert_eq!(quote("a cat", &["a"]), "a cat");
        let long = quote(&"é".repeat(5000), &[]);
        assert_eq!(long.chars().count(), MAX_QUOTE + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn each_status_has_its_kind_and_its_retry() {
        let after = Duration::from_secs(7);
        for (status, kind, retry) in [
            (401, ErrorKind::Unauthorized, Retry::NextInterval),
            (403, ErrorKind::Forbidden, Retry::NextInterval),
            (404, ErrorKind::NotFound, Retry::NextInterval),
            (408, ErrorKind::Server, Retry::Backoff),
            (418, ErrorKind::Invalid, Retry::NextInterval),
            (429, ErrorKind::Throttled { retry_after: after }, Retry::After(after)),
            (500, ErrorKind::Server, Retry::Backoff),
            (503, ErrorKind::Server, Retry::Backoff),
        ] {
            assert_eq!((error(status, "").kind(), error(status, "").retry()), (kind, retry), "{status}");
        }
    }
}
