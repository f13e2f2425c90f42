//! One registry, reached in one way: every request to it, and to its token server, passes through here.
//!
//! It keeps the budget, bounds every body, and counts. It attaches no credential, follows no redirect, and gives every
//! status to its caller.

use std::error::Error;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use reqwest::Client;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;
use windlass_model::ImageName;

use crate::authority::Grants;
use crate::budget::{Budget, Permit};
use crate::error::{Cause, Said, quote};
use crate::metrics::{Metrics, Outcome};
use crate::retry_after;
use crate::transport::{ConfigError, SILENCE};

/// How often one request is sent while the registry throttles it, the first time included.
const MAX_TRIES: usize = 3;
/// As much of an error's body as is read: the specification's envelope is far smaller.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// One registry and one way to it.
pub(crate) struct Endpoint {
    /// The registry as images name it; the metrics' label.
    label: Arc<str>,
    https: Url,
    http: Url,
    insecure: bool,
    client: Client,
    budget: Budget,
    /// Lists under way, at most. A quarter of the budget stays free of them: a poll of ten thousand images must not
    /// stand in front of the tag that an event names.
    lists: Semaphore,
    /// Which of the two an insecure registry speaks, once known.
    plain: tokio::sync::Mutex<Option<bool>>,
    pub(crate) grants: Grants,
    metrics: Metrics,
}

/// A request as it goes out.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: &'static str,
    pub(crate) authorization: Option<HeaderValue>,
    /// An `application/x-www-form-urlencoded` body.
    pub(crate) form: Option<String>,
    /// Largest body of a successful answer, in bytes.
    pub(crate) max_bytes: usize,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whole for a success; the first bytes of an error.
    pub(crate) body: Bytes,
}

impl Endpoint {
    pub(crate) fn new(
        image: &ImageName,
        insecure: bool,
        client: Client,
        max_concurrent_requests: usize,
        metrics: Metrics,
    ) -> Result<Self, ConfigError> {
        let base = |scheme: &str| {
            Url::parse(&format!("{scheme}://{}", image.api_host()))
                .map_err(|_| ConfigError::Registry(image.api_host().to_owned()))
        };
        Ok(Self {
            label: image.registry().into(),
            https: base("https")?,
            http: base("http")?,
            insecure,
            client,
            budget: Budget::new(max_concurrent_requests),
            lists: Semaphore::new((max_concurrent_requests - max_concurrent_requests / 4).max(1)),
            plain: tokio::sync::Mutex::new(None),
            grants: Grants::default(),
            metrics,
        })
    }

    /// Waits for a place among the lists under way.
    pub(crate) async fn place_to_list(&self) -> SemaphorePermit<'_> {
        self.lists.acquire().await.expect("the semaphore is never closed")
    }

    pub(crate) fn is_insecure(&self) -> bool {
        self.insecure
    }

    pub(crate) fn is_paused(&self) -> bool {
        !self.budget.pause_left().is_zero()
    }

    /// The registry's base URL. An insecure registry is asked once which scheme it speaks: HTTPS if it answers, as in
    /// Flux (go-containerregistry's ping), plain HTTP otherwise.
    pub(crate) async fn base(&self) -> Result<&Url, Cause> {
        if !self.insecure {
            return Ok(&self.https);
        }
        let mut plain = self.plain.lock().await;
        let is_plain = match *plain {
            Some(known) => known,
            // Boxed, as everything that is seldom done: it would enlarge every waiting request.
            None => *plain.insert(Box::pin(self.speaks_plain_http()).await?),
        };
        Ok(if is_plain { &self.http } else { &self.https })
    }

    async fn speaks_plain_http(&self) -> Result<bool, Cause> {
        let Err(failure) = self.send(&ping(&self.https)).await else { return Ok(false) };
        if !matches!(failure, Cause::Network(_)) {
            return Err(failure);
        }
        match self.send(&ping(&self.http)).await {
            // What a TLS port answers to plain HTTP; the failure of TLS is then the one to report.
            Ok(answer) if answer.status == StatusCode::BAD_REQUEST => Err(failure),
            Ok(_) => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    /// Sends a request and reads its answer, waiting out short pauses. A throttled request is sent again after the
    /// pause, if that is short; else its 429 is returned like every other status.
    pub(crate) async fn exchange(&self, call: &Call) -> Result<Answer, Cause> {
        let mut tries = 1;
        loop {
            let sent = self.send(call).await;
            if let Err(Cause::Network(_)) = &sent {
                // The registry may come back speaking the other scheme.
                *self.plain.lock().await = None;
            }
            let answer = sent?;
            let again = tries < MAX_TRIES && self.budget.is_worth_waiting();
            if answer.status != StatusCode::TOO_MANY_REQUESTS || !again {
                return Ok(answer);
            }
            tries += 1;
        }
    }

    /// What an answer that is no success means.
    pub(crate) fn refusal(&self, said: Said) -> Cause {
        said.into_cause(self.budget.pause_left())
    }

    async fn send(&self, call: &Call) -> Result<Answer, Cause> {
        let permit =
            self.budget.enter().await.map_err(|left| Cause::Throttled { retry_after: left, said: None })?;
        let measure = self.metrics.start(&self.label);
        // Boxed, so that the thousands that may wait for a permit do not each hold room for a request under way.
        let result = Box::pin(self.transfer(call)).await;
        measure.finish(outcome(call, &result));
        if let Ok(answer) = &result {
            tracing::debug!(registry = &*self.label, method = %call.method, status = answer.status.as_u16(), "registry answered");
            self.settle(&permit, answer);
        }
        result
    }

    /// Tells the budget what the answer means for it.
    fn settle(&self, permit: &Permit<'_>, answer: &Answer) {
        let wanted = retry_after::wanted(&answer.headers, &answer.body);
        let pause = match (answer.status, wanted) {
            (StatusCode::TOO_MANY_REQUESTS, wanted) => self.budget.throttled(permit, wanted),
            (StatusCode::SERVICE_UNAVAILABLE, Some(wanted)) => self.budget.unavailable(wanted),
            _ => return self.budget.answered(),
        };
        tracing::warn!(
            registry = &*self.label,
            status = answer.status.as_u16(),
            pause_seconds = pause.as_secs_f64(),
            "registry asks for a pause"
        );
    }

    async fn transfer(&self, call: &Call) -> Result<Answer, Cause> {
        let mut request =
            self.client.request(call.method.clone(), call.url.clone()).header(ACCEPT, call.accept);
        if let Some(authorization) = &call.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(form) = &call.form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone());
        }
        let mut response = request.send().await.map_err(|error| network(&call.url, &error))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body =
            if status.is_success() { read_whole(response, call).await? } else { read_some(response).await };
        Ok(Answer { status, headers, body })
    }
}

fn ping(base: &Url) -> Call {
    let mut url = base.clone();
    url.set_path("/v2/");
    Call {
        method: Method::GET,
        url,
        accept: "*/*",
        authorization: None,
        form: None,
        max_bytes: MAX_ERROR_BYTES,
    }
}

async fn read_whole(mut response: reqwest::Response, call: &Call) -> Result<Bytes, Cause> {
    let too_large = || Cause::TooLarge(format!("the answer is larger than {} bytes", call.max_bytes));
    let max = call.max_bytes;
    if call.method != Method::HEAD && response.content_length().is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| network(&call.url, &error))? {
        if body.len() + chunk.len() > max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// An error's body only explains its status, so a broken or an endless one is cut, not reported.
async fn read_some(mut response: reqwest::Response) -> Bytes {
    let mut body = BytesMut::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ERROR_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    body.freeze()
}

fn network(url: &Url, error: &reqwest::Error) -> Cause {
    if error.is_timeout() && !error.is_connect() {
        return Cause::Silent(SILENCE);
    }
    let host = url.host_str().unwrap_or_default();
    let root = root_cause(error);
    Cause::Network(if error.is_connect() {
        format!("connecting to {host} failed: {root}")
    } else if error.is_body() || error.is_decode() {
        format!("the answer of {host} broke off: {root}")
    } else {
        format!("the request to {host} failed: {root}")
    })
}

/// The innermost error's text: the layers above it only say that something failed. Its URL, which may hold a signed
/// query, is never part of it.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let Some(mut root) = error.source() else { return "no detail is known".to_owned() };
    while let Some(source) = root.source() {
        root = source;
    }
    quote(&root.to_string(), &[])
}

fn outcome(call: &Call, result: &Result<Answer, Cause>) -> Outcome {
    let answer = match result {
        Ok(answer) => answer,
        Err(Cause::Network(_)) => return Outcome::Network,
        Err(Cause::Silent(_)) => return Outcome::Timeout,
        Err(_) => return Outcome::Invalid,
    };
    match answer.status.as_u16() {
        200..=299 => Outcome::Ok,
        300..=399 => Outcome::Redirected,
        401 if call.authorization.is_none() => Outcome::Challenged,
        401 | 403 => Outcome::Unauthorized,
        404 => Outcome::NotFound,
        429 => Outcome::Throttled,
        500..=599 => Outcome::ServerError,
        _ => Outcome::Invalid,
    }
}
