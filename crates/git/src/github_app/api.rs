//! The exchange with GitHub's API (version 2022-11-28): a signed token for an installation's token. Every answer has a
//! limit and a deadline, and no redirect is followed.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

use super::Installation;
use super::error::GitHubAppError;
use super::jwt::Signer;
use crate::credentials;
use crate::http::retry_after;
use crate::sideband;

/// An answer about one repository has about 8 kB.
const MAX_ANSWER: usize = 256 * 1024;
/// More of the API's words is not shown.
const MAX_WORDS: usize = 200;
/// A longer wait than this is this one.
const MAX_PAUSE: Duration = Duration::from_hours(1);
/// Clocks that are so far apart are worth a word.
const CLOCK_TOLERANCE: i64 = 30;
/// GitHub's API wants an agent.
const AGENT: &str = concat!("windlass/", env!("CARGO_PKG_VERSION"));

pub(super) struct Api {
    /// Without trailing slash.
    pub(super) base: Url,
    pub(super) signer: Signer,
    pub(super) installation: Installation,
    /// The repository's name without its owner.
    pub(super) repository: String,
    pub(super) timeout: Duration,
}

/// What an installation is given.
pub(super) struct Token {
    pub(super) token: Zeroizing<String>,
    pub(super) expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Given {
    token: String,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Found {
    id: u64,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Api {
    /// A new token, for the one repository.
    pub(super) async fn token(&self, client: &Client, now: Timestamp) -> Result<Token, GitHubAppError> {
        let signed = self.signer.token(now)?;
        let id = match &self.installation {
            Installation::Id(id) => id.clone(),
            Installation::Owner(owner) => self.find(client, owner, &signed, now).await?,
        };
        let path = format!("app/installations/{id}/access_tokens");
        let request = self.request(client, Method::POST, &path, &signed)?;
        let body = serde_json::json!({ "repositories": [self.repository] });
        let Given { token, expires_at } = self.answer(request.json(&body), &signed, now).await?;
        Ok(Token { token: token.into(), expires_at })
    }

    /// The installation of an organisation, or else of a user.
    async fn find(
        &self,
        client: &Client,
        owner: &str,
        signed: &str,
        now: Timestamp,
    ) -> Result<String, GitHubAppError> {
        let ask = async |path: String| {
            let request = self.request(client, Method::GET, &path, signed)?;
            self.answer::<Found>(request, signed, now).await
        };
        let found = match ask(format!("orgs/{owner}/installation")).await {
            Err(GitHubAppError::NoInstallation { .. }) => ask(format!("users/{owner}/installation")).await?,
            other => other?,
        };
        Ok(found.id.to_string())
    }

    fn request(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        signed: &str,
    ) -> Result<RequestBuilder, GitHubAppError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        let bearer = Zeroizing::new(format!("Bearer {signed}"));
        let header = credentials::sensitive(&bearer, "token").map_err(|_| GitHubAppError::Signature)?;
        Ok(client
            .request(method, url)
            .timeout(self.timeout)
            .header("User-Agent", AGENT)
            .header(ACCEPT, "application/vnd.github+json")
            .header("X-GitHub-Api-Version", "2022-11-28")
            .header(AUTHORIZATION, header))
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        signed: &str,
        now: Timestamp,
    ) -> Result<T, GitHubAppError> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() {
            return Err(GitHubAppError::Redirect { status: status.as_u16() });
        }
        if status.is_success() {
            let body = read(response).await?;
            return serde_json::from_slice(&body).map_err(|_| {
                GitHubAppError::Answer("it is not the JSON that the API's documentation shows")
            });
        }
        let pause = pause(&headers, now);
        let limited = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        if limited || (status == StatusCode::FORBIDDEN && pause.is_some()) {
            return Err(GitHubAppError::Status { status: status.as_u16(), retry_after: pause });
        }
        let said = said(&read(response).await.unwrap_or_default(), signed);
        Err(match status {
            StatusCode::UNAUTHORIZED => GitHubAppError::Unauthorized { said, clock: skew(&headers, now) },
            StatusCode::FORBIDDEN => GitHubAppError::Forbidden { said },
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                let (Installation::Id(installation) | Installation::Owner(installation)) = &self.installation;
                GitHubAppError::NoInstallation { installation: installation.clone(), said }
            }
            StatusCode::UNPROCESSABLE_ENTITY => {
                GitHubAppError::NoRepository { repository: self.repository.clone(), said }
            }
            _ => GitHubAppError::Status { status: status.as_u16(), retry_after: pause },
        })
    }
}

/// The body, which holds a token.
async fn read(mut response: Response) -> Result<Zeroizing<Vec<u8>>, GitHubAppError> {
    let mut body = Zeroizing::new(Vec::with_capacity(MAX_ANSWER.min(16 * 1024)));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(GitHubAppError::Answer("it is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The API's words, as `: words`. Words that repeat a part of the token are dropped.
fn said(body: &[u8], signed: &str) -> String {
    let Ok(Refusal { message }) = serde_json::from_slice(body) else { return String::new() };
    if signed.split('.').any(|part| message.contains(part)) {
        return String::new();
    }
    let words = sideband::clean(message.as_bytes()).replace('\n', " ");
    let words: String = words.chars().take(MAX_WORDS).collect();
    if words.is_empty() { words } else { format!(": {words}") }
}

/// What the API asks to wait: `Retry-After`, or until its limit on requests is lifted.
fn pause(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let lifted = || {
        let reset = number("x-ratelimit-reset").filter(|_| number("x-ratelimit-remaining") == Some(0))?;
        let now = date(headers).unwrap_or(now).as_second();
        u64::try_from(reset.saturating_sub(now)).ok().map(Duration::from_secs)
    };
    let wait = retry_after(headers).or_else(lifted)?;
    Some(wait.clamp(Duration::from_secs(1), MAX_PAUSE))
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(headers.get(DATE)?.as_bytes()).ok()
}

/// How far this machine's clock is from the API's.
fn skew(headers: &HeaderMap, now: Timestamp) -> String {
    let Some(theirs) = date(headers) else { return String::new() };
    let ahead = now.as_second() - theirs.as_second();
    match ahead {
        _ if ahead.abs() < CLOCK_TOLERANCE => String::new(),
        1.. => format!(", which is {ahead} s ahead of GitHub's"),
        _ => format!(", which is {} s behind GitHub's", -ahead),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn limits_on_requests_are_waited_for() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (pairs, seconds) in [
            (vec![("retry-after", "30")], Some(30)),
            (vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000060")], Some(60)),
            (vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "999000")], None),
            (vec![("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "1000060")], None),
            (vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9999999")], Some(3600)),
            (vec![], None),
        ] {
            assert_eq!(pause(&headers(&pairs), now), seconds.map(Duration::from_secs), "{pairs:?}");
        }
    }

    #[test]
    fn words_are_shown_unless_they_repeat_the_token() {
        let body = |message: &str| serde_json::json!({ "message": message }).to_string();
        for (message, shown) in [
            ("Integration not found", ": Integration not found"),
            ("bad\u{1b}[31m\nthing", ": bad[31m thing"),
            ("cannot decode head.claims.sign", ""),
            ("cannot decode claims", ""),
            ("", ""),
        ] {
            assert_eq!(said(body(message).as_bytes(), "head.claims.sign"), shown);
        }
        assert_eq!(said(b"<html>", "a.b.c"), "");
    }

    #[test]
    fn a_clock_that_is_off_is_named() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for (date, text) in [
            ("Fri, 02 Jan 2026 03:04:00 GMT", ""),
            ("Fri, 02 Jan 2026 02:54:05 GMT", ", which is 600 s ahead of GitHub's"),
            ("Fri, 02 Jan 2026 03:14:05 GMT", ", which is 600 s behind GitHub's"),
        ] {
            assert_eq!(skew(&headers(&[("date", date)]), now), text);
        }
    }
}
