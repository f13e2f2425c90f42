//! The smart HTTP exchange (gitprotocol-http): one GET to learn, one POST per request.
//!
//! It decides where credentials may go, follows redirects by its own rule and turns every failure into a
//! [`RemoteError`] that names no credential. It knows nothing of packets, refs or objects.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use url::Url;

use crate::remote::{Auth, has_userinfo};
use crate::sideband;
use crate::transport::{RemoteError, Service};

/// Git follows up to 20; a repository that moved twice needs two.
const MAX_REDIRECTS: usize = 5;
/// Longest pause that a server's `Retry-After` may ask of us.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// A repository behind a web server.
pub(crate) struct Endpoint {
    /// The configured URL, without trailing slash.
    pub(crate) configured: Url,
    pub(crate) auth: Auth,
    pub(crate) client: Client,
    /// Presented to whoever asks in the TLS handshake, so it counts as a credential.
    pub(crate) has_identity: bool,
    /// Longest duration of one request with its whole response.
    pub(crate) timeout: Duration,
}

impl Endpoint {
    /// Asks for the service's advertisement, following redirects. The repository's location that answered is returned
    /// beside the response.
    pub(crate) async fn advertise(&self, service: Service) -> Result<(Url, Response), RemoteError> {
        let mut base = self.configured.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut url = below(&base, "info/refs");
            url.set_query(Some(&format!("service={}", service.name())));
            let mut request = self.client.get(url.clone()).header(CACHE_CONTROL, "no-cache");
            if service == Service::UploadPack {
                request = request.header("Git-Protocol", "version=2");
            }
            let response = self.send(request, &base).await?;
            if response.status().is_redirection() {
                base = self.redirected(&url, response.headers())?;
                continue;
            }
            let expected = format!("application/x-{}-advertisement", service.name());
            return Ok((base, checked(response, &expected)?));
        }
        Err(RemoteError::Redirect { target: authority(&base), reason: "too many redirects" })
    }

    /// Posts one request to the service at `base` and returns the answer.
    pub(crate) async fn post(
        &self,
        base: &Url,
        service: Service,
        version2: bool,
        body: Bytes,
    ) -> Result<Response, RemoteError> {
        let name = service.name();
        let result = format!("application/x-{name}-result");
        let mut request = self
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
        checked(response, &result)
    }

    async fn send(&self, request: RequestBuilder, base: &Url) -> Result<Response, RemoteError> {
        let request = request.timeout(self.timeout);
        let response = if base.origin() == self.configured.origin() {
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
        let Self { auth, client, .. } = self;
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
        let has_secrets = self.auth.is_secret() || self.has_identity;
        if has_secrets && target.origin() != self.configured.origin() {
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

/// The response, if it is a Git server's.
fn checked(response: Response, expected: &str) -> Result<Response, RemoteError> {
    let value = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if kind.eq_ignore_ascii_case(expected.as_bytes()) {
        return Ok(response);
    }
    let shown = &value[..value.len().min(100)];
    Err(RemoteError::NotGit { content_type: sideband::clean(shown) })
}

fn below(base: &Url, name: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{name}", base.path().trim_end_matches('/')));
    url
}

fn authority(url: &Url) -> String {
    url.origin().ascii_serialization()
}

pub(crate) fn transport_error(error: reqwest::Error) -> RemoteError {
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

    fn endpoint(url: &str, auth: Auth) -> Endpoint {
        let client = Client::builder().build().unwrap();
        let configured = url.parse().unwrap();
        Endpoint { configured, auth, client, has_identity: false, timeout: Duration::from_secs(5) }
    }

    fn follow(endpoint: &Endpoint, location: &str) -> Result<String, &'static str> {
        let from = below(&endpoint.configured, "info/refs");
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        match endpoint.redirected(&from, &headers) {
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
            let result = follow(&endpoint(url, auth), location);
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
