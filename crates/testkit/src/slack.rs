//! A stand-in for Slack: incoming webhooks, `chat.postMessage`, and a plain JSON webhook beside them. It checks what
//! Slack checks and keeps what it accepted.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::http_server::{Backend, Body, Canned, HttpServer, plain};
use crate::port;
use crate::traffic::{Fault, Match, RequestHead, Traffic, lock};

/// The bot token that is accepted.
pub const BOT_TOKEN: &str = "xoxb-token-for-tests";
const WEBHOOK_PATH: &str = "/services/T0/B0/secret-for-tests";
const BOT_PATH: &str = "/api/chat.postMessage";
const JSON_PATH: &str = "/json";
/// Slack's messages hold at most 40,000 characters.
const MAX_BODY: usize = 1 << 20;

/// A message that was accepted.
#[derive(Debug, Clone)]
pub struct Message {
    /// How it came.
    pub via: Via,
    /// The JSON body.
    pub body: Value,
    /// When its body had arrived.
    pub at: Instant,
}

/// The ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// An incoming webhook.
    Webhook,
    /// `chat.postMessage`
    Bot,
    /// The plain JSON webhook.
    Json,
}

impl Message {
    /// The message's `text`: Slack shows it where there is no room for blocks.
    pub fn text(&self) -> &str {
        self.body["text"].as_str().unwrap_or_default()
    }
}

/// A running stand-in.
pub struct Slack {
    address: SocketAddr,
    server: Option<HttpServer>,
    traffic: Traffic,
    workspace: Arc<Workspace>,
}

impl Slack {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start() -> Result<Self> {
        let workspace = Arc::new(Workspace::default());
        let mut slack = Self { address: port::free()?, server: None, traffic: Traffic::default(), workspace };
        slack.up()?;
        Ok(slack)
    }

    /// The incoming webhook's address: a secret, as Slack's are.
    pub fn webhook_url(&self) -> String {
        Self::webhook_url_at(self.address)
    }

    /// The same, reached at another address if a link stands before it.
    pub fn webhook_url_at(address: SocketAddr) -> String {
        format!("http://{address}{WEBHOOK_PATH}")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base of Slack's API, for a Notifier's `apiURL`.
    pub fn api_url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// The plain JSON webhook's address.
    pub fn json_url(&self) -> String {
        format!("http://{}{JSON_PATH}", self.address)
    }

    /// The requests, refused ones too: what was asked, gates and faults.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What was accepted so far, in order.
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.workspace.messages).clone()
    }

    /// Waits until at least `count` messages were accepted, and gives all.
    ///
    /// # Errors
    /// When fewer came `within` that time; the message has those that came.
    pub async fn wait_for(&self, count: usize, within: Duration) -> Result<Vec<Message>> {
        let mut received = self.workspace.received.subscribe();
        let in_time = tokio::time::timeout(within, received.wait_for(|seen| *seen >= count)).await.is_ok();
        let messages = self.messages();
        ensure!(in_time, "waited {within:?} for {count} messages; {} came: {messages:#?}", messages.len());
        Ok(messages)
    }

    /// Answers the next `count` requests with 429 and this `Retry-After`.
    #[must_use = "dropping the fault lifts it"]
    pub fn limit_rate(&self, count: usize, retry_after_seconds: u32) -> Fault {
        let canned = Canned::status(429).header("retry-after", &retry_after_seconds.to_string());
        self.traffic.answer_next(count, Match::any(), canned)
    }

    /// Answers the next `count` requests with 500.
    #[must_use = "dropping the fault lifts it"]
    pub fn fail(&self, count: usize) -> Fault {
        self.traffic.answer_next(count, Match::any(), Canned::status(500).body("internal_error"))
    }

    /// Stops listening: connections are refused until [`Slack::up`].
    pub fn down(&mut self) {
        self.server = None;
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// When something else took the port.
    pub fn up(&mut self) -> Result<()> {
        if self.server.is_none() {
            let workspace = Arc::clone(&self.workspace);
            self.server = Some(HttpServer::start(self.address, self.traffic.clone(), workspace)?);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Workspace {
    messages: Mutex<Vec<Message>>,
    received: watch::Sender<usize>,
}

impl Backend for Workspace {
    async fn respond(&self, head: &RequestHead, body: Incoming) -> Response<Body> {
        if head.method != Method::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "POST only");
        }
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "too large or cut off");
        };
        let body = serde_json::from_slice::<Value>(&body.to_bytes()).ok().filter(Value::is_object);
        match head.path.as_str() {
            WEBHOOK_PATH => self.webhook(body),
            BOT_PATH => self.post_message(head, body),
            JSON_PATH => match body {
                Some(body) => {
                    self.keep(Via::Json, body);
                    plain(StatusCode::NO_CONTENT, "")
                }
                None => plain(StatusCode::BAD_REQUEST, "not a JSON object"),
            },
            _ => plain(StatusCode::NOT_FOUND, "no_service"),
        }
    }
}

impl Workspace {
    /// Slack: "Sending messages using incoming webhooks", the error strings.
    fn webhook(&self, body: Option<Value>) -> Response<Body> {
        match body {
            None => plain(StatusCode::BAD_REQUEST, "invalid_payload"),
            Some(body) if !has_content(&body) => plain(StatusCode::BAD_REQUEST, "no_text"),
            Some(body) => {
                self.keep(Via::Webhook, body);
                plain(StatusCode::OK, "ok")
            }
        }
    }

    /// Slack's Web API answers 200 with `"ok": false` for errors of the application.
    fn post_message(&self, head: &RequestHead, body: Option<Value>) -> Response<Body> {
        let wanted = format!("Bearer {BOT_TOKEN}");
        let error = match (head.headers.get(AUTHORIZATION), &body) {
            (None, _) => Some("not_authed"),
            (Some(token), _) if token.as_bytes() != wanted.as_bytes() => Some("invalid_auth"),
            (_, None) => Some("invalid_json"),
            (_, Some(body)) if !body["channel"].is_string() => Some("channel_not_found"),
            (_, Some(body)) if !has_content(body) => Some("no_text"),
            _ => None,
        };
        let answer = match (error, body) {
            (Some(error), _) => json!({"ok": false, "error": error}),
            (None, body) => {
                let channel = body.as_ref().map(|body| body["channel"].clone());
                let number = self.keep(Via::Bot, body.unwrap_or_default());
                json!({"ok": true, "channel": channel, "ts": format!("1700000000.{number:06}")})
            }
        };
        let mut response = plain(StatusCode::OK, answer.to_string());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn keep(&self, via: Via, body: Value) -> usize {
        let mut messages = lock(&self.messages);
        messages.push(Message { via, body, at: Instant::now() });
        self.received.send_replace(messages.len());
        messages.len()
    }
}

fn has_content(body: &Value) -> bool {
    ["text", "blocks", "attachments"].iter().any(|key| match &body[*key] {
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_server::client;

    const SOON: Duration = Duration::from_secs(30);

    async fn post(url: &str, token: Option<&str>, body: Value) -> (u16, String) {
        let mut request = client().unwrap().post(url).body(body.to_string());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    #[tokio::test]
    async fn keeps_what_slack_would_accept() {
        let slack = Slack::start().unwrap();
        assert_eq!(post(&slack.webhook_url(), None, json!({"text": "hello"})).await, (200, "ok".to_owned()));
        let (_, answer) = post(
            &format!("{}/chat.postMessage", slack.api_url()),
            Some(BOT_TOKEN),
            json!({"channel": "C1", "text": "by bot"}),
        )
        .await;
        assert!(answer.contains("\"ok\":true"), "{answer}");
        assert_eq!(post(&slack.json_url(), None, json!({"kind": "committed"})).await.0, 204);
        let messages = slack.wait_for(3, SOON).await.unwrap();
        assert_eq!(messages.iter().map(|m| m.via).collect::<Vec<_>>(), [Via::Webhook, Via::Bot, Via::Json]);
        assert_eq!(messages[0].text(), "hello");
    }

    #[tokio::test]
    async fn refuses_what_slack_would_refuse() {
        let slack = Slack::start().unwrap();
        let bot = format!("{}/chat.postMessage", slack.api_url());
        let cases = [
            (slack.webhook_url(), None, json!({"blocks": []}), 400, "no_text"),
            (slack.webhook_url(), None, json!("text"), 400, "invalid_payload"),
            (format!("{}x", slack.webhook_url()), None, json!({"text": "a"}), 404, "no_service"),
            (bot.clone(), None, json!({"channel": "C1", "text": "a"}), 200, "not_authed"),
            (bot.clone(), Some("wrong"), json!({"channel": "C1", "text": "a"}), 200, "invalid_auth"),
            (bot.clone(), Some(BOT_TOKEN), json!({"text": "a"}), 200, "channel_not_found"),
            (bot, Some(BOT_TOKEN), json!({"channel": "C1"}), 200, "no_text"),
        ];
        for (url, token, body, status, text) in cases {
            let answer = post(&url, token, body.clone()).await;
            assert!(answer.0 == status && answer.1.contains(text), "{body}: {answer:?}");
        }
        assert!(slack.messages().is_empty());
    }

    #[tokio::test]
    async fn limits_fails_and_goes_down_on_demand() {
        let mut slack = Slack::start().unwrap();
        let limited = slack.limit_rate(1, 7);
        let response = client().unwrap().post(slack.webhook_url()).body("{}").send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (429, &"7".parse().unwrap())
        );
        assert_eq!(limited.hits(), 1);
        let _failing = slack.fail(1);
        assert_eq!(post(&slack.webhook_url(), None, json!({"text": "a"})).await.0, 500);
        slack.down();
        assert!(client().unwrap().post(slack.webhook_url()).body("{}").send().await.is_err());
        slack.up().unwrap();
        assert_eq!(post(&slack.webhook_url(), None, json!({"text": "a"})).await.0, 200);
        assert_eq!(slack.traffic().count(&Match::any()), 3);
    }
}
