//! The HTTP side of the test server: runs `git http-backend` per request, as a web server would, and misbehaves as told.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::git::ISOLATION;

/// Status, headers and body.
pub(crate) type Canned = (u16, Vec<(&'static str, String)>, &'static str);
type Action = Box<dyn FnOnce() + Send>;

/// What the server does besides serving. All off by default.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent faults that a test combines")]
pub(crate) struct Switches {
    /// Requests without exactly this `Authorization` are answered 401.
    pub(crate) authorization: Option<String>,
    /// The server speaks version 0 alone.
    pub(crate) old_protocol: bool,
    /// Capabilities that the advertisement does not show.
    pub(crate) hidden: Vec<&'static str>,
    /// Runs before the next push reaches Git.
    pub(crate) before_push: Option<Action>,
    /// Runs after the next push was done by Git, before it is answered.
    pub(crate) after_push: Option<Action>,
    /// Takes the next push, does it, and breaks the connection instead of answering.
    pub(crate) drop_report: bool,
    /// Takes the next push, does it, and answers with a web page.
    pub(crate) garble_report: bool,
    /// Breaks the connection when the next push arrives, and does not do it.
    pub(crate) drop_push: bool,
    /// Breaks the connection after this many bytes of a fetched pack's answer.
    pub(crate) cut_fetch: Option<usize>,
    /// Never answers.
    pub(crate) hang: bool,
    /// Answers everything with this instead.
    pub(crate) answer: Option<Canned>,
    /// Redirects requests below the first path to the second location.
    pub(crate) redirect: Option<(String, String)>,
}

/// One request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `GET info/refs?service=git-upload-pack`, without the repository.
    pub(crate) what: String,
    pub(crate) authorization: Option<String>,
}

#[derive(Clone)]
struct Shared {
    root: PathBuf,
    switches: Arc<Mutex<Switches>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A running server; it stops when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Shared,
    _task: JoinSet<io::Result<()>>,
}

impl Server {
    /// Serves the repositories below `root`.
    pub(crate) async fn start(root: PathBuf) -> Self {
        let shared = Shared { root, switches: Arc::default(), seen: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, app).await });
        Self { address, shared, _task: task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn switches(&self) -> MutexGuard<'_, Switches> {
        self.shared.switches.lock().unwrap()
    }

    /// The switches, for an action that runs inside the server.
    pub(crate) fn handle(&self) -> Arc<Mutex<Switches>> {
        Arc::clone(&self.shared.switches)
    }

    /// What arrived since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }

    /// [`Self::take_seen`], requests alone.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.take_seen().into_iter().map(|seen| seen.what).collect()
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().unwrap().as_str().to_owned();
    let what = target.split_once(".git/").map_or(target.as_str(), |(_, rest)| rest);
    let authorization =
        parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let seen = Seen { what: format!("{} {what}", parts.method), authorization: authorization.clone() };
    shared.seen.lock().unwrap().push(seen);
    let body = to_bytes(body, usize::MAX).await.unwrap();
    if let Some(response) = interfere(&shared, &target, authorization).await {
        return response;
    }
    let pushing = parts.method == "POST" && what == "git-receive-pack";
    if pushing {
        let action = shared.switches.lock().unwrap().before_push.take();
        run(action).await;
        if std::mem::take(&mut shared.switches.lock().unwrap().drop_push) {
            return broken(Bytes::new());
        }
    }
    let output = backend(&shared, parts.method.as_str(), &parts.uri, &parts.headers, &body).await;
    if pushing {
        let action = shared.switches.lock().unwrap().after_push.take();
        run(action).await;
        if std::mem::take(&mut shared.switches.lock().unwrap().drop_report) {
            return broken(Bytes::new());
        }
        if std::mem::take(&mut shared.switches.lock().unwrap().garble_report) {
            return Response::builder()
                .header(header::CONTENT_TYPE, "text/html")
                .body(Body::empty())
                .unwrap();
        }
    }
    let response = parse_cgi(&output, &shared.switches.lock().unwrap().hidden);
    let cut = shared.switches.lock().unwrap().cut_fetch;
    match cut {
        Some(size) if what == "git-upload-pack" => {
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            if body.len() <= size {
                return Response::from_parts(parts, Body::from(body));
            }
            let mut response = broken(body.slice(..size));
            *response.headers_mut() = parts.headers;
            response
        }
        _ => response,
    }
}

async fn interfere(shared: &Shared, target: &str, authorization: Option<String>) -> Option<Response<Body>> {
    if shared.switches.lock().unwrap().hang {
        std::future::pending::<()>().await;
    }
    let switches = shared.switches.lock().unwrap();
    if let Some((status, headers, body)) = &switches.answer {
        let mut response = Response::builder().status(*status);
        for (name, value) in headers {
            response = response.header(*name, value);
        }
        return Some(response.body(Body::from(*body)).unwrap());
    }
    if let Some((from, to)) = &switches.redirect
        && let Some(rest) = target.strip_prefix(from.as_str())
    {
        let response = Response::builder().status(StatusCode::FOUND);
        return Some(response.header(header::LOCATION, format!("{to}{rest}")).body(Body::empty()).unwrap());
    }
    if switches.authorization.is_some() && switches.authorization != authorization {
        return Some(Response::builder().status(StatusCode::UNAUTHORIZED).body(Body::empty()).unwrap());
    }
    None
}

/// Runs a test's action, which may start programs, off the async threads.
async fn run(action: Option<Action>) {
    if let Some(action) = action {
        tokio::task::spawn_blocking(action).await.unwrap();
    }
}

/// A response that ends in a connection error after `start`.
fn broken(start: Bytes) -> Response<Body> {
    let pieces = futures_util::stream::iter([Ok(start), Err(io::Error::other("broken on purpose"))]);
    let kind = "application/x-git-receive-pack-result";
    Response::builder().header(header::CONTENT_TYPE, kind).body(Body::from_stream(pieces)).unwrap()
}

async fn backend(
    shared: &Shared,
    method: &str,
    uri: &axum::http::Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Vec<u8> {
    let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .envs(ISOLATION)
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if !shared.switches.lock().unwrap().old_protocol {
        command.env("GIT_PROTOCOL", header("git-protocol"));
    }
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let body = body.to_vec();
    let mut feeding = JoinSet::new();
    // The program may end before it has read everything.
    feeding.spawn(async move { stdin.write_all(&body).await });
    child.wait_with_output().await.unwrap().stdout
}

/// Splits a CGI answer into status, headers and body.
fn parse_cgi(output: &[u8], hidden: &[&str]) -> Response<Body> {
    let split = output.windows(4).position(|w| w == b"\r\n\r\n").expect("a CGI answer has headers");
    let head = String::from_utf8(output[..split].to_vec()).unwrap();
    let mut body = output[split + 4..].to_vec();
    for name in hidden {
        // Replaced by as many letters, so that the packet's length stays right.
        while let Some(at) = body.windows(name.len()).position(|w| w == name.as_bytes()) {
            body[at..at + name.len()].fill(b'x');
        }
    }
    let mut response = Response::builder();
    for line in head.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap().parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(body)).unwrap()
}
