//! Fetching a token from a token server.
//!
//! CNCF distribution, "Token Authentication Specification" (GET) and "OAuth2 Token Authentication" (POST with a refresh
//! token, which docker calls an identity token). The realm is checked before anything is sent; redirects are refused.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use crate::challenge::Bearer;
use crate::credentials::{self, Credentials};
use crate::destination;
use crate::endpoint::{Answer, Call, Endpoint};
use crate::error::{Cause, Said};

/// Largest answer of a token server, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// The life of a token whose server states none (Token Authentication Specification, `expires_in`).
const DEFAULT_LIFE: Duration = Duration::from_mins(1);
/// The longest life that is believed: longer than any registry's tokens live.
const MAX_LIFE: Duration = Duration::from_hours(24);
/// By what name we ask for tokens.
const CLIENT_ID: &str = "windlass";

/// A token, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// Marked as sensitive.
    pub(crate) header: HeaderValue,
    fetched: Instant,
    life: Duration,
}

impl Token {
    /// Whether less than 80 % of the life has passed. After that a new one is fetched, while this one still works.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fetched.elapsed() < self.life * 4 / 5
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.fetched.elapsed() < self.life
    }
}

/// Asks the token server of a challenge for a token with this scope.
pub(crate) async fn fetch(
    endpoint: &Endpoint,
    credentials: &Credentials,
    auth_hosts: &[String],
    challenge: &Bearer,
    scope: &str,
) -> Result<Token, Cause> {
    let credential = !matches!(credentials, Credentials::Anonymous);
    let registry = endpoint.base().await?;
    let realm =
        destination::realm(registry, &challenge.realm, endpoint.is_insecure(), auth_hosts, credential)
            .map_err(|why| Cause::Refused(format!("the registry asks for a token, but {why}")))?;
    let started = Instant::now();
    let mut answer = None;
    if let Credentials::Identity { token, .. } = credentials {
        let posted = endpoint.exchange(&refresh(&realm, challenge, scope, token.expose())).await?;
        // A token server without OAuth2 answers 404 or 405; it is then asked in the older way.
        if !matches!(posted.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            answer = Some(posted);
        }
    }
    let answer = match answer {
        Some(answer) => answer,
        None => endpoint.exchange(&query(&realm, challenge, scope, credentials)).await?,
    };
    read(endpoint, &realm, credentials, &answer, started)
}

fn refresh(realm: &Url, challenge: &Bearer, scope: &str, token: &[u8]) -> Call {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token")
        .append_pair("client_id", CLIENT_ID)
        .append_pair("scope", scope);
    if let Some(service) = &challenge.service {
        form.append_pair("service", service);
    }
    form.append_pair("refresh_token", &String::from_utf8_lossy(token));
    call(Method::POST, realm.clone(), None, Some(form.finish()))
}

fn query(realm: &Url, challenge: &Bearer, scope: &str, credentials: &Credentials) -> Call {
    let mut url = realm.clone();
    if let Some(service) = &challenge.service {
        url.query_pairs_mut().append_pair("service", service);
    }
    url.query_pairs_mut().append_pair("scope", scope);
    call(Method::GET, url, credentials.basic_header(), None)
}

fn call(method: Method, url: Url, authorization: Option<HeaderValue>, form: Option<String>) -> Call {
    Call { method, url, accept: "application/json", authorization, form, max_bytes: MAX_BYTES }
}

fn read(
    endpoint: &Endpoint,
    realm: &Url,
    credentials: &Credentials,
    answer: &Answer,
    started: Instant,
) -> Result<Token, Cause> {
    let host = realm.host_str().unwrap_or_default();
    if answer.status.is_redirection() {
        return Err(Cause::Refused(format!(
            "the token server {host} redirects, and credentials follow no redirect"
        )));
    }
    if answer.status != StatusCode::OK {
        let sent = credentials.basic_header();
        let secrets = credentials.secret_texts(sent.as_ref());
        let said = Said::read(answer.status, &answer.body, &secrets).by_token_server(host);
        // OAuth2 reports a revoked or expired refresh token as 400 (RFC 6749, section 5.2).
        return Err(match answer.status {
            StatusCode::BAD_REQUEST => Cause::Unauthorized(said),
            _ => endpoint.refusal(said),
        });
    }
    let invalid = |what: &str| Cause::Invalid(format!("the token server {host} sent {what}"));
    let grant: Grant = serde_json::from_slice(&answer.body).map_err(|_| invalid("no token"))?;
    let token = Zeroizing::new(grant.token().ok_or_else(|| invalid("no token"))?);
    let header = credentials::bearer_header(token.as_bytes())
        .ok_or_else(|| invalid("a token that no header can carry"))?;
    let life = grant.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(MAX_LIFE);
    // Its life began no earlier than the request for it.
    Ok(Token { header, fetched: started, life })
}

/// A token server's answer. `token` and `access_token` mean the same; either may be missing, empty or null.
#[derive(Deserialize)]
struct Grant {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    /// Seconds. What is not a whole positive number counts as not stated.
    #[serde(default, deserialize_with = "lenient_seconds")]
    expires_in: Option<u64>,
}

impl Grant {
    fn token(&self) -> Option<String> {
        [&self.token, &self.access_token].into_iter().flatten().find(|token| !token.is_empty()).cloned()
    }
}

fn lenient_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value
        .as_u64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
        .filter(|seconds| *seconds > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(body: &str) -> Option<(Option<String>, Option<u64>)> {
        let grant: Grant = serde_json::from_str(body).ok()?;
        Some((grant.token(), grant.expires_in))
    }

    #[test]
    fn token_answers_of_every_shape_are_read() {
        let token = |text: &str| Some(text.to_owned());
        for (body, wanted) in [
            (r#"{"token":"t","expires_in":300}"#, Some((token("t"), Some(300)))),
            (r#"{"access_token":"a","expires_in":"300"}"#, Some((token("a"), Some(300)))),
            (r#"{"token":"","access_token":"a"}"#, Some((token("a"), None))),
            (r#"{"token":null,"access_token":"a","expires_in":null}"#, Some((token("a"), None))),
            (r#"{"token":"t","access_token":"a","expires_in":-5}"#, Some((token("t"), None))),
            (r#"{"token":"t","expires_in":0.5}"#, Some((token("t"), None))),
            (r#"{"token":""}"#, Some((None, None))),
            ("{}", Some((None, None))),
            (r#"{"token":7}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(grant(body), wanted, "{body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_fresh_for_four_fifths_of_its_life() {
        let header = HeaderValue::from_static("Bearer t");
        let token = Token { header, fetched: Instant::now(), life: Duration::from_secs(100) };
        for (seconds, fresh, alive) in
            [(79, true, true), (1, false, true), (19, false, true), (1, false, false)]
        {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            assert_eq!((token.is_fresh(), token.is_alive()), (fresh, alive), "{seconds}");
        }
    }
}
