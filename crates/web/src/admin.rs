//! `/healthz`, `/readyz`, `/metrics` and the local API that `windlass status`, `reconcile`, `resume` and
//! `queue` talk to.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use windlass_model::status::ObjectStatus;
use windlass_model::{ObjectKey, ObjectRef};
use windlass_store::{Backlog, Intervention, Item};

/// OpenMetrics text, as Prometheus negotiates it.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A reconcile request names one object.
const MAX_BODY: usize = 16 * 1024;

/// What the server shows and passes on to.
pub trait Instance: Send + Sync + 'static {
    /// The state of every resource.
    fn status(&self) -> StatusReport;
    /// What must hold before traffic should come.
    fn checks(&self) -> impl Future<Output = Vec<Check>> + Send;
    /// The metrics as OpenMetrics text.
    fn metrics(&self) -> impl Future<Output = String> + Send;
    /// Queues an object to be looked at now.
    fn reconcile(&self, object: ObjectRef) -> impl Future<Output = ReconcileAnswer> + Send;
    /// Queues the lifting of holds.
    fn resume(&self, resume: Resume) -> impl Future<Output = ReconcileAnswer> + Send;
    /// What waits, fails and was given up; an error says why it cannot be read.
    fn backlog(&self) -> impl Future<Output = Result<Backlog, String>> + Send;
    /// Tries what waits now, or drops it.
    fn intervene(&self, intervention: Intervention) -> impl Future<Output = QueueAnswer> + Send;
}

/// What came of a person's hand in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum QueueAnswer {
    /// These were changed.
    Changed {
        /// Work and notices.
        items: Vec<Item>,
    },
    /// It is due already.
    Due,
    /// It is being worked on or sent at this moment.
    Busy,
    /// Nothing of this name waits.
    Unknown {
        /// What waits and has a name like it, the likest first.
        near: Vec<String>,
    },
    /// The queue could not take it.
    Unavailable {
        /// What failed.
        why: String,
    },
}

/// Which holds a person lifts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The ImageUpdateAutomation.
    pub automation: ObjectKey,
    /// The ImagePolicy, of the automation's namespace; `None` for all.
    pub policy: Option<String>,
}

/// What `windlass status` shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusReport {
    /// The running version.
    pub version: String,
    /// Which configuration is in force: counts up with each reload.
    pub configuration: u64,
    /// How much of the work is this process's.
    pub shares: Shares,
    /// Mistakes in the configuration, as `windlass check` words them.
    pub problems: Vec<String>,
    /// Every resource of these shares.
    pub resources: Vec<ObjectStatus>,
}

/// How much of an installation's work one process does: all of it, or what it has of several shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// The shares that it has.
    pub held: usize,
    /// All shares.
    pub of: usize,
}

/// One condition of readiness.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// More, for people.
    pub detail: String,
}

/// What came of asking for a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum ReconcileAnswer {
    /// These objects were queued.
    Queued {
        /// The queue's keys.
        targets: Vec<ObjectRef>,
    },
    /// No such object, or nothing is run for it.
    Unknown {
        /// What to do instead.
        why: String,
    },
    /// The queue could not take it.
    Unavailable {
        /// What failed.
        why: String,
    },
}

/// The secret that the local API asks for. The running process writes it where only its own user can read it.
#[derive(Clone)]
pub struct AdminToken(Arc<str>);

impl AdminToken {
    /// Takes the token over.
    pub fn new(token: &str) -> Self {
        Self(token.into())
    }

    fn matches(&self, request: &Request) -> bool {
        let presented = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = presented.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        token.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken")
    }
}

/// The routes. Health, readiness and metrics are open, as probes expect; the API asks for the token.
pub fn admin_router<I: Instance>(instance: Arc<I>, token: AdminToken) -> Router {
    let api = Router::new()
        .route("/api/v1/status", get(status::<I>))
        .route("/api/v1/reconcile", post(reconcile::<I>))
        .route("/api/v1/resume", post(resume::<I>))
        .route("/api/v1/queue", get(backlog::<I>).post(intervene::<I>))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        // Of the routes alone: a layer would also guard the fallback, and answer 401 to every unknown path.
        .route_layer(middleware::from_fn_with_state(token, authorize));
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready::<I>))
        .route("/metrics", get(metrics::<I>))
        .merge(api)
        .with_state(instance)
}

async fn authorize(State(token): State<AdminToken>, request: Request, next: Next) -> Response {
    if token.matches(&request) {
        return next.run(request).await;
    }
    let hint = "the local API needs the token of the data directory: use `windlass status --data DIR`\n";
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], hint).into_response()
}

async fn ready<I: Instance>(State(instance): State<Arc<I>>) -> Response {
    let checks = instance.checks().await;
    let status =
        if checks.iter().all(|check| check.ok) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(checks)).into_response()
}

async fn metrics<I: Instance>(State(instance): State<Arc<I>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], instance.metrics().await).into_response()
}

async fn status<I: Instance>(State(instance): State<Arc<I>>) -> Json<StatusReport> {
    Json(instance.status())
}

async fn reconcile<I: Instance>(State(instance): State<Arc<I>>, Json(object): Json<ObjectRef>) -> Response {
    queued(instance.reconcile(object).await)
}

async fn resume<I: Instance>(State(instance): State<Arc<I>>, Json(resume): Json<Resume>) -> Response {
    queued(instance.resume(resume).await)
}

async fn backlog<I: Instance>(State(instance): State<Arc<I>>) -> Response {
    match instance.backlog().await {
        Ok(backlog) => Json(backlog).into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn intervene<I: Instance>(
    State(instance): State<Arc<I>>,
    Json(intervention): Json<Intervention>,
) -> Response {
    let answer = instance.intervene(intervention).await;
    let status = match &answer {
        QueueAnswer::Changed { .. } | QueueAnswer::Due => StatusCode::OK,
        QueueAnswer::Busy => StatusCode::CONFLICT,
        QueueAnswer::Unknown { .. } => StatusCode::NOT_FOUND,
        QueueAnswer::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(answer)).into_response()
}

fn queued(answer: ReconcileAnswer) -> Response {
    let status = match &answer {
        ReconcileAnswer::Queued { .. } => StatusCode::ACCEPTED,
        ReconcileAnswer::Unknown { .. } => StatusCode::NOT_FOUND,
        ReconcileAnswer::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(answer)).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::server::{Limits, serve};

    struct Fixed {
        ready: bool,
    }

    impl Instance for Fixed {
        fn status(&self) -> StatusReport {
            let shares = Shares { held: 1, of: 1 };
            StatusReport {
                version: "0".into(),
                configuration: 3,
                shares,
                problems: vec![],
                resources: vec![],
            }
        }
        async fn checks(&self) -> Vec<Check> {
            vec![Check { name: "store".into(), ok: self.ready, detail: String::new() }]
        }
        async fn metrics(&self) -> String {
            "# EOF\n".into()
        }
        async fn reconcile(&self, object: ObjectRef) -> ReconcileAnswer {
            ReconcileAnswer::Queued { targets: vec![object] }
        }
        async fn resume(&self, resume: Resume) -> ReconcileAnswer {
            let target = ObjectRef::new(windlass_model::Kind::ImageUpdateAutomation, resume.automation);
            ReconcileAnswer::Queued { targets: vec![target] }
        }
        async fn backlog(&self) -> Result<Backlog, String> {
            Err("the store is full".into())
        }
        async fn intervene(&self, intervention: Intervention) -> QueueAnswer {
            match intervention {
                Intervention::Retry(item) => QueueAnswer::Changed { items: vec![item] },
                Intervention::Drop(_) => QueueAnswer::Unknown { near: vec!["ImageRepository/a/b".into()] },
                Intervention::RetryAll => QueueAnswer::Busy,
            }
        }
    }

    /// Starts a server and returns its address and the token that stops it.
    async fn start(ready: bool, limits: Limits) -> (std::net::SocketAddr, CancellationToken, JoinServer) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = admin_router(Arc::new(Fixed { ready }), AdminToken::new("secret"));
        let mut running = tokio::task::JoinSet::new();
        running.spawn(serve(listener, router, limits, stop.clone()));
        (address, stop, running)
    }

    type JoinServer = tokio::task::JoinSet<()>;

    async fn ask(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_is_open_and_the_api_asks_for_the_token() {
        let (address, stop, mut running) = start(true, Limits::default()).await;
        let get = |path: &str, extra: &str| {
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}\r\n")
        };
        assert!(ask(address, &get("/healthz", "")).await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, &get("/readyz", "")).await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, &get("/metrics", "")).await.ends_with("# EOF\n"));
        assert!(ask(address, &get("/api/v1/status", "")).await.starts_with("HTTP/1.1 401"));
        assert!(ask(address, &get("/api/v1/nothing", "")).await.starts_with("HTTP/1.1 404"));
        assert!(ask(address, &get("/", "")).await.starts_with("HTTP/1.1 404"));
        let wrong = get("/api/v1/status", "Authorization: Bearer secre\r\n");
        assert!(ask(address, &wrong).await.starts_with("HTTP/1.1 401"));
        let right = get("/api/v1/status", "Authorization: Bearer secret\r\n");
        assert!(ask(address, &right).await.contains("\"configuration\":3"));
        stop.cancel();
        running.join_next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn hand_in_the_queue_is_answered_with_a_status_of_its_own() {
        let (address, _stop, _running) = start(true, Limits::default()).await;
        let request = |method: &str, path: &str, body: &str| {
            format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer secret\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let post = |body: &str| request("POST", "/api/v1/queue", body);
        for (body, status, text) in [
            (r#"{"retry": {"notice": "1/a/b"}}"#, "200", r#""items":[{"notice":"1/a/b"}]"#),
            (r#"{"drop": {"notice": "1/a/b"}}"#, "404", r#""near":["ImageRepository/a/b"]"#),
            (r#""retry-all""#, "409", r#""outcome":"busy""#),
            (r#""everything""#, "422", ""),
        ] {
            let answer = ask(address, &post(body)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            assert!(answer.contains(text), "{answer}");
        }
        let answer = ask(address, &request("GET", "/api/v1/queue", "")).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("the store is full"), "{answer}");
    }

    #[tokio::test]
    async fn readiness_fails_while_a_check_fails() {
        let (address, _stop, _running) = start(false, Limits::default()).await;
        let answer = ask(address, "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_whose_time_is_over_takes_no_further_request_and_is_closed() {
        let limits = Limits { lifetime: Duration::from_millis(50), ..Limits::default() };
        let (address, _stop, _running) = start(true, limits).await;
        // The sender keeps the connection open; the server's end is what ends the answer.
        let answer = ask(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_holds_no_connection_for_ever() {
        let limits = Limits {
            connections: 1,
            lifetime: Duration::from_millis(50),
            drain: Duration::from_millis(50),
            ..Limits::default()
        };
        let (address, _stop, _running) = start(true, limits).await;
        let mut lazy = TcpStream::connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        // Until the kernel takes no more: the answers fill what it holds for us.
        while let Ok(sent) =
            tokio::time::timeout(Duration::from_millis(20), lazy.write(request.as_bytes())).await
        {
            if sent.is_err() {
                break;
            }
        }
        let answer = ask(address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(lazy);
    }

    #[tokio::test]
    async fn a_sender_that_never_ends_its_head_is_cut_off() {
        let limits = Limits { head: Duration::from_millis(50), ..Limits::default() };
        let (address, _stop, _running) = start(true, limits).await;
        let answer = ask(address, "GET /healthz HTTP/1.1\r\nHost:").await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}
