//! One delivery over HTTP. Owns the client, its deadlines and redirect rule, and the use of the Secret.

use std::error::Error as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use serde::{Deserialize, Serialize};
use url::Url;
use windlass_model::message::{CommitNotice, Notice};
use windlass_model::resource::{NotifierTarget, Secret};

use crate::delivery::{DeliveryError, judge_slack_code, judge_status};
use crate::reconciler::Nudge;
use crate::retry_after::retry_after;
use crate::{reconciler, slack, webhook};

/// The key of an address in a Notifier's Secret.
const ADDRESS: &str = "address";
/// The key of a token in a Notifier's Secret.
const TOKEN: &str = "token";
/// Equal in every delivery of one notice (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// More of an answer is not read: Slack's are a few hundred bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// How deliveries are made.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// For one delivery, from connecting to the end of the answer: 10 s by default.
    pub timeout: Duration,
    /// `User-Agent`
    pub user_agent: String,
    /// Whether the proxy that the process's environment or system names is used: yes by default.
    pub system_proxy: bool,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), user_agent: "windlass".to_owned(), system_proxy: true }
    }
}

/// Why there is no sender.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for notifications cannot be built")]
pub struct BuildError(#[source] reqwest::Error);

/// Delivers notices. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    timeout: Duration,
}

/// What Slack's Web API answers.
#[derive(Deserialize)]
struct SlackAnswer {
    ok: bool,
    error: Option<String>,
}

impl Sender {
    /// Builds the client. No redirect is followed: it would carry a secret to a place that nobody configured.
    pub fn new(config: &SenderConfig) -> Result<Self, BuildError> {
        let SenderConfig { timeout, user_agent, system_proxy } = config;
        let mut builder =
            Client::builder().timeout(*timeout).redirect(Policy::none()).user_agent(user_agent.as_str());
        if !system_proxy {
            builder = builder.no_proxy();
        }
        Ok(Self { client: builder.build().map_err(BuildError)?, timeout: *timeout })
    }

    /// Makes one delivery. `repeat` says that an earlier one may have arrived; the message shows it, under the same
    /// visible id. `secret` is the one that the target names.
    pub async fn deliver(
        &self,
        notice: &Notice,
        target: &NotifierTarget,
        secret: &Secret,
        repeat: bool,
    ) -> Result<(), DeliveryError> {
        match target {
            NotifierTarget::SlackWebhook { secret: _ } => {
                let address = address(secret)?;
                self.post(address, HeaderMap::new(), &slack::message(notice, repeat)).await.map(drop)
            }
            NotifierTarget::SlackBot { secret: _, channel, api_url } => {
                let headers = HeaderMap::from_iter([bearer(secret)?]);
                let mut message = slack::message(notice, repeat);
                message["channel"] = channel.as_str().into();
                let answer = self.post(slack_method(api_url)?, headers, &message).await?;
                judge_slack(answer).await
            }
            NotifierTarget::Webhook { secret: _ } => {
                let address = address(secret)?;
                let mut headers = HeaderMap::from_iter([idempotency_key(&notice.id)?]);
                if secret.get(TOKEN).is_some() {
                    headers.extend([bearer(secret)?]);
                }
                self.post(address, headers, &webhook::Body::new(notice, repeat)).await.map(drop)
            }
            NotifierTarget::FluxReceiver { secret: _ } => {
                self.nudge(notice, secret, reconciler::flux).await.map(drop)
            }
            NotifierTarget::ArgoCd { secret: _ } => {
                self.nudge(notice, secret, reconciler::argocd).await.map(drop)
            }
        }
    }

    /// Tells a reconciler of a commit; of anything else there is nothing to tell.
    async fn nudge(
        &self,
        notice: &Notice,
        secret: &Secret,
        request: fn(&CommitNotice, Url, Option<&[u8]>) -> Nudge,
    ) -> Result<(), DeliveryError> {
        let Some(commit) = &notice.commit else { return Ok(()) };
        let token = secret.get(TOKEN).map(|_| text(secret, TOKEN)).transpose()?;
        let Nudge { address, headers, body } = request(commit, address(secret)?, token.map(str::as_bytes));
        let request = self.client.post(address).headers(headers).body(body);
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        judge_status(answer.status(), retry_after(answer.headers()))
    }

    async fn post(
        &self,
        address: Url,
        headers: HeaderMap,
        body: &impl Serialize,
    ) -> Result<Response, DeliveryError> {
        let request: RequestBuilder = self.client.post(address).headers(headers).json(body);
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        judge_status(answer.status(), retry_after(answer.headers()))?;
        Ok(answer)
    }

    /// A network error, described without the address. Only the innermost cause is named: it is the operating
    /// system's or the TLS library's, which know a host at most.
    fn unreachable(&self, error: &reqwest::Error) -> DeliveryError {
        if error.is_timeout() && !error.is_connect() {
            return DeliveryError::unknown(format!("no answer within {:?}", self.timeout));
        }
        if error.is_builder() {
            return DeliveryError::rejected("the request cannot be made: check the Secret's values");
        }
        let what = if error.is_connect() { "cannot connect" } else { "the connection failed" };
        let mut cause = error.source();
        while let Some(inner) = cause.and_then(std::error::Error::source) {
            cause = Some(inner);
        }
        let reason = cause.map_or_else(|| what.to_owned(), |cause| format!("{what}: {cause}"));
        if error.is_connect() { DeliveryError::retry(reason) } else { DeliveryError::unknown(reason) }
    }
}

/// Slack's Web API answers 200 to nearly everything; the body tells.
async fn judge_slack(mut answer: Response) -> Result<(), DeliveryError> {
    let after = retry_after(answer.headers());
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(DeliveryError::retry("Slack's answer is too large to be its own")),
            Ok(None) => break,
            Err(_) => return Err(DeliveryError::unknown("Slack's answer broke off")),
        }
    }
    match serde_json::from_slice(&body) {
        Ok(SlackAnswer { ok: true, .. }) => Ok(()),
        Ok(SlackAnswer { ok: false, error: Some(code) }) if is_code(&code) => {
            Err(judge_slack_code(&code, after))
        }
        Ok(_) => Err(DeliveryError::retry("Slack answered that it failed, and not why")),
        Err(_) => Err(DeliveryError::retry("the answer is not Slack's: a proxy may have given it")),
    }
}

/// Slack's codes are words. Anything else is not repeated.
fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn slack_method(api_url: &str) -> Result<Url, DeliveryError> {
    let invalid = || DeliveryError::rejected("`spec.slack.bot.apiURL` is not an http or https URL");
    http_url(&format!("{}/chat.postMessage", api_url.trim_end_matches('/'))).ok_or_else(invalid)
}

fn address(secret: &Secret) -> Result<Url, DeliveryError> {
    http_url(text(secret, ADDRESS)?).ok_or_else(|| {
        DeliveryError::rejected(format!(
            "key `{ADDRESS}` of Secret `{}` is not an http or https URL",
            secret.meta.key
        ))
    })
}

fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
}

fn bearer(secret: &Secret) -> Result<(HeaderName, HeaderValue), DeliveryError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text(secret, TOKEN)?)).map_err(|_| {
        DeliveryError::rejected(format!(
            "key `{TOKEN}` of Secret `{}` has characters that a header cannot hold",
            secret.meta.key
        ))
    })?;
    value.set_sensitive(true);
    Ok((header::AUTHORIZATION, value))
}

fn idempotency_key(id: &str) -> Result<(HeaderName, HeaderValue), DeliveryError> {
    let value = HeaderValue::from_str(id)
        .map_err(|_| DeliveryError::rejected("the event's id has characters that a header cannot hold"))?;
    Ok((IDEMPOTENCY_KEY, value))
}

/// A value without the white space that files end in.
fn text<'a>(secret: &'a Secret, key: &str) -> Result<&'a str, DeliveryError> {
    let value = secret.text(key).map(str::trim).filter(|value| !value.is_empty());
    value.ok_or_else(|| {
        DeliveryError::rejected(format!("Secret `{}` has no text in key `{key}`", secret.meta.key))
    })
}

#[cfg(test)]
mod tests;
