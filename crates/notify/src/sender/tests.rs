//! Deliveries against a real HTTP server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response as Reply;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use windlass_model::message::{ChangeNotice, CommitNotice};
use windlass_model::name::{Kind, ObjectKey, ObjectRef};
use windlass_model::resource::{Meta, NoticeKind, Origin, SecretValue};

use super::*;

/// Part of an address or a token; no error may hold it.
const SECRET: &str = "s3cr3t";

/// What the server saw of one request.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    headers: HeaderMap,
    body: Value,
}

/// A server that gives one answer and keeps what it was sent.
struct Server {
    base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: Bytes,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(status: u16, headers: &[(&'static str, &'static str)], body: impl Into<Bytes>) -> Self {
        let seen = Arc::default();
        let answer = Answer { status, headers: headers.to_vec(), body: body.into(), seen: Arc::clone(&seen) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(keep).with_state(answer);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { base, seen, _tasks: tasks }
    }

    fn only(&self) -> Seen {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }
}

async fn keep(State(answer): State<Answer>, request: Request) -> Reply {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    answer.seen.lock().unwrap().push(Seen { path: head.uri.to_string(), headers: head.headers, body });
    let mut response = Reply::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).unwrap()
}

fn sender() -> Sender {
    Sender::new(&SenderConfig { system_proxy: false, ..SenderConfig::default() }).unwrap()
}

fn secret(values: &[(&str, &str)]) -> Secret {
    Secret {
        meta: Meta {
            key: ObjectKey::new("apps", "chat"),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            origin: Origin { file: "chat.yaml".into(), line: 1 },
            unsupported: Vec::new(),
        },
        values: values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), SecretValue::new(value.as_bytes().to_vec())))
            .collect(),
    }
}

fn notice() -> Notice {
    Notice {
        id: "4b2f89a6-548d".into(),
        kind: NoticeKind::Committed,
        object: ObjectRef::new(Kind::ImageUpdateAutomation, ObjectKey::new("apps", "fleet")),
        at: "2026-01-02T03:04:05Z".parse().unwrap(),
        commit: Some(CommitNotice {
            repository: "https://git.example/fleet.git".into(),
            branch: "main".into(),
            id: "1a2b3c4d5e6f708192a3b4c5d6e7f80912345678".into(),
            url: None,
            parent: None,
            files: vec!["deploy/app.yaml".into()],
            changes: vec![ChangeNotice {
                policy: "apps/app".into(),
                image: "ghcr.io/org/app".into(),
                from: "1.0.0".into(),
                to: "1.1.0".into(),
                digest: None,
                files: vec!["deploy/app.yaml".into()],
            }],
        }),
        summary: "1 image moved".into(),
    }
}

fn slack_webhook() -> NotifierTarget {
    NotifierTarget::SlackWebhook { secret: "chat".into() }
}

fn webhook() -> NotifierTarget {
    NotifierTarget::Webhook { secret: "chat".into() }
}

fn bot(base: &str) -> NotifierTarget {
    NotifierTarget::SlackBot {
        secret: "chat".into(),
        channel: "#releases".into(),
        api_url: format!("{base}/api/"),
    }
}

#[tokio::test]
async fn an_incoming_webhook_gets_the_message_at_its_secret_address() {
    let server = Server::start(200, &[], "ok").await;
    let secret = secret(&[("address", &format!("{}/services/T0/B0/{SECRET}\n", server.base))]);
    sender().deliver(&notice(), &slack_webhook(), &secret, false).await.unwrap();
    let seen = server.only();
    assert_eq!(seen.path, format!("/services/T0/B0/{SECRET}"));
    assert_eq!(seen.body, slack::message(&notice(), false));
    assert_eq!(seen.headers["content-type"], "application/json");
}

#[tokio::test]
async fn a_bot_posts_to_its_channel_with_its_token() {
    let server = Server::start(200, &[], r#"{"ok":true,"channel":"C1","ts":"1.2"}"#).await;
    let secret = secret(&[("token", SECRET)]);
    sender().deliver(&notice(), &bot(&server.base), &secret, true).await.unwrap();
    let seen = server.only();
    assert_eq!(seen.path, "/api/chat.postMessage");
    assert_eq!(seen.headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(seen.body["channel"], "#releases");
    assert_eq!(seen.body["blocks"], slack::message(&notice(), true)["blocks"]);
}

#[tokio::test]
async fn a_json_webhook_gets_the_documented_body() {
    let server = Server::start(204, &[], "").await;
    let secret = secret(&[("address", &server.base), ("token", SECRET)]);
    sender().deliver(&notice(), &webhook(), &secret, true).await.unwrap();
    let seen = server.only();
    assert_eq!(seen.headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(seen.headers["idempotency-key"], "4b2f89a6-548d");
    assert_eq!(
        seen.body,
        json!({
            "schema": "windlass.dev/notice/v1",
            "id": "4b2f89a6-548d",
            "kind": "committed",
            "repeat": true,
            "at": "2026-01-02T03:04:05Z",
            "object": { "kind": "ImageUpdateAutomation", "namespace": "apps", "name": "fleet" },
            "summary": "1 image moved",
            "commit": {
                "repository": "https://git.example/fleet.git",
                "branch": "main",
                "id": "1a2b3c4d5e6f708192a3b4c5d6e7f80912345678",
                "url": null,
                "changes": [{
                    "policy": "apps/app",
                    "image": "ghcr.io/org/app",
                    "from": "1.0.0",
                    "to": "1.1.0",
                    "digest": null,
                    "files": ["deploy/app.yaml"],
                }],
            },
        })
    );
}

#[tokio::test]
async fn a_json_webhook_without_token_sends_no_authorization_and_a_failure_has_no_commit() {
    let server = Server::start(200, &[], "").await;
    let secret = secret(&[("address", &server.base)]);
    let failed = Notice { kind: NoticeKind::Failed, commit: None, ..notice() };
    sender().deliver(&failed, &webhook(), &secret, false).await.unwrap();
    let seen = server.only();
    assert!(!seen.headers.contains_key("authorization"));
    assert_eq!((&seen.body["kind"], &seen.body["commit"]), (&json!("failed"), &Value::Null));
}

#[tokio::test]
async fn answers_decide_between_retry_and_rejection() {
    let slow = Some(Duration::from_secs(30));
    for (status, headers, body, expected) in [
        (429, &[("retry-after", "30")][..], "", Err(("retry", slow))),
        (503, &[], "", Err(("retry", None))),
        (500, &[("retry-after", "30")], "rollup_error", Err(("retry", slow))),
        (302, &[("location", "/elsewhere")], "", Err(("rejected", None))),
        (404, &[], "no_service", Err(("rejected", None))),
        (200, &[], r#"{"ok":true}"#, Ok(())),
        (200, &[("retry-after", "30")], r#"{"ok":false,"error":"ratelimited"}"#, Err(("retry", slow))),
        (200, &[], r#"{"ok":false,"error":"internal_error"}"#, Err(("retry", None))),
        (200, &[], r#"{"ok":false,"error":"channel_not_found"}"#, Err(("rejected", None))),
        (200, &[], r#"{"ok":false,"error":"<odd> s3cr3t"}"#, Err(("retry", None))),
        (200, &[], r#"{"ok":false}"#, Err(("retry", None))),
        (200, &[], "<html>s3cr3t</html>", Err(("retry", None))),
        (200, &[], "", Err(("retry", None))),
    ] {
        let server = Server::start(status, headers, body).await;
        let result =
            sender().deliver(&notice(), &bot(&server.base), &secret(&[("token", SECRET)]), false).await;
        let seen = result.as_ref().map_err(|error| {
            let after = match error {
                DeliveryError::Retry { after, .. } => *after,
                DeliveryError::Unknown { .. } | DeliveryError::Rejected { .. } => None,
            };
            (error.kind(), after)
        });
        assert_eq!(seen.copied(), expected, "{status} {body}");
        assert!(!format!("{result:?}").contains(SECRET), "{result:?}");
        server.only();
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let server = Server::start(200, &[], vec![b' '; 1 << 20]).await;
    let result = sender().deliver(&notice(), &bot(&server.base), &secret(&[("token", "t")]), false).await;
    assert!(
        matches!(&result, Err(DeliveryError::Retry { reason, .. }) if reason.contains("too large")),
        "{result:?}"
    );
}

#[tokio::test]
async fn an_unreachable_address_is_retried_and_not_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let secret = secret(&[("address", &format!("http://{closed}/services/{SECRET}"))]);
    let error = sender().deliver(&notice(), &slack_webhook(), &secret, false).await.unwrap_err();
    assert_eq!(error.kind(), "retry");
    assert!(error.to_string().starts_with("not delivered: cannot connect"), "{error}");
    assert!(!format!("{error:?} {error}").contains(SECRET), "{error:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_runs_into_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let config =
        SenderConfig { timeout: Duration::from_millis(50), system_proxy: false, ..SenderConfig::default() };
    let secret = secret(&[("address", &format!("http://{silent}/{SECRET}"))]);
    let error =
        Sender::new(&config).unwrap().deliver(&notice(), &webhook(), &secret, false).await.unwrap_err();
    assert_eq!(
        error,
        DeliveryError::Unknown { reason: "no answer within 50ms".into() },
        "it may have arrived"
    );
}

#[tokio::test]
async fn an_unusable_secret_is_rejected_by_the_name_of_its_key() {
    let bot = bot("http://127.0.0.1:1");
    for (target, values, expected) in [
        (slack_webhook(), vec![], "refused: Secret `apps/chat` has no text in key `address`"),
        (
            slack_webhook(),
            vec![("address", " \n")],
            "refused: Secret `apps/chat` has no text in key `address`",
        ),
        (bot.clone(), vec![("address", "x")], "refused: Secret `apps/chat` has no text in key `token`"),
        (
            bot,
            vec![("token", "s3cr3t\nx")],
            "refused: key `token` of Secret `apps/chat` has characters that a header cannot hold",
        ),
        (
            webhook(),
            vec![("address", "ftp://s3cr3t")],
            "refused: key `address` of Secret `apps/chat` is not an http or https URL",
        ),
        (
            webhook(),
            vec![("address", "s3cr3t")],
            "refused: key `address` of Secret `apps/chat` is not an http or https URL",
        ),
        (
            webhook(),
            vec![("address", "http://127.0.0.1:1"), ("token", "")],
            "refused: Secret `apps/chat` has no text in key `token`",
        ),
    ] {
        let error = sender().deliver(&notice(), &target, &secret(&values), false).await.unwrap_err();
        assert_eq!(error.to_string(), expected, "{target:?}");
    }
}

#[tokio::test]
async fn a_reconciler_is_nudged_by_a_signed_request_and_its_refusals_are_judged() {
    for (status, kind) in
        [(200, None), (404, Some("rejected")), (400, Some("rejected")), (503, Some("retry"))]
    {
        let server = Server::start(status, &[], "").await;
        let hook = secret(&[("address", &format!("{}/hook/{SECRET}", server.base)), ("token", "shared\n")]);
        let target = NotifierTarget::FluxReceiver { secret: "chat".into() };
        let result = sender().deliver(&notice(), &target, &hook, false).await;
        assert_eq!(result.as_ref().err().map(DeliveryError::kind), kind, "{status}");
        assert!(!format!("{result:?}").contains(SECRET), "{result:?}");
        let seen = server.only();
        assert_eq!(seen.path, format!("/hook/{SECRET}"));
        let nudge = reconciler::flux(
            notice().commit.as_ref().unwrap(),
            server.base.parse().unwrap(),
            Some(b"shared"),
        );
        assert_eq!(seen.headers["x-signature"], nudge.headers["x-signature"]);
        assert_eq!(seen.headers["content-type"], "application/json");
    }
    // Nothing landed, so there is nothing to look at.
    let server = Server::start(200, &[], "").await;
    let hook = secret(&[("address", &server.base)]);
    let failed = Notice { kind: NoticeKind::Failed, commit: None, ..notice() };
    let target = NotifierTarget::ArgoCd { secret: "chat".into() };
    sender().deliver(&failed, &target, &hook, false).await.unwrap();
    assert!(server.seen.lock().unwrap().is_empty());
}
