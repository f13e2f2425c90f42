//! The HTTP server under the in-process servers: one thread, HTTP/1.1, every request recorded and steered by
//! [`Traffic`]. Unlike a web framework, it can drop a connection without an answer.

use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::traffic::{Exchange, Point, RequestHead, Traffic, Verdict};

/// How long a port that is ours may seem taken; long beside the start of a program.
const FREED: Duration = Duration::from_secs(5);

/// An answer's body: whole, or a stream.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What stands behind the server. It must not fail: a failure is an answer too.
pub(crate) trait Backend: Send + Sync + 'static {
    fn respond(&self, head: &RequestHead, body: Incoming) -> impl Future<Output = Response<Body>> + Send;
}

/// A listening server. Dropping it closes the listener and every connection, and waits for that.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    pub(crate) fn start(address: SocketAddr, traffic: Traffic, backend: Arc<impl Backend>) -> Result<Self> {
        let listener = bind(address).with_context(|| format!("listening on {address}"))?;
        listener.set_nonblocking(true).context("making a listener non-blocking")?;
        let address = listener.local_addr().context("reading a listener's address")?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("making a runtime")?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("http {}", address.port()))
            .spawn(move || runtime.block_on(accept(listener, traffic, backend, stopped)))
            .context("starting a server's thread")?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // Either is already done only when the thread has ended by itself.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A port that was just closed may seem taken for a moment: a program that another thread starts right now holds a copy of
/// every open socket until it has replaced itself.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let deadline = Instant::now() + FREED;
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            bound => return bound,
        }
    }
}

async fn accept(
    listener: TcpListener,
    traffic: Traffic,
    backend: Arc<impl Backend>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener =
        tokio::net::TcpListener::from_std(listener).expect("a non-blocking listener, inside a runtime");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // Out of file handles, or a client that is already gone: the next accept decides.
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let (traffic, backend) = (traffic.clone(), Arc::clone(&backend));
                let service = service_fn(move |request| answer(traffic.clone(), Arc::clone(&backend), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move {
                    // A dropped connection is what a fault asks for, and what a killed client does.
                    let _ = connection.await;
                });
            }
        }
    }
}

/// Tells hyper to close the connection without an answer.
#[derive(Debug)]
struct Disconnected;

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is dropped on purpose")
    }
}

impl std::error::Error for Disconnected {}

async fn answer(
    traffic: Traffic,
    backend: Arc<impl Backend>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Disconnected> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let head = RequestHead {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
    };
    let result = steer(&traffic, &*backend, &head, body).await;
    let status = result.as_ref().ok().map(|response| response.status().as_u16());
    traffic.record(Exchange { head, status, started, answered: Instant::now() });
    result
}

async fn steer(
    traffic: &Traffic,
    backend: &impl Backend,
    head: &RequestHead,
    body: Incoming,
) -> Result<Response<Body>, Disconnected> {
    match traffic.pass(Point::Before, head).await {
        Verdict::Pass => {}
        Verdict::Answer(canned) => return Ok(canned.into_response()),
        Verdict::Disconnect => return Err(Disconnected),
    }
    let mut response = backend.respond(head, body).await;
    if traffic.concerns(Point::After, head) {
        // The server's work is done only when its answer is complete.
        response = collect(response).await;
    }
    match traffic.pass(Point::After, head).await {
        Verdict::Pass => Ok(response),
        Verdict::Answer(canned) => Ok(canned.into_response()),
        Verdict::Disconnect => Err(Disconnected),
    }
}

async fn collect(response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(whole) => Response::from_parts(parts, full(whole.to_bytes())),
        Err(error) => failure(&error),
    }
}

/// An answer that stands in for the server's.
#[derive(Debug, Clone)]
pub struct Canned {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: CannedBody,
}

#[derive(Debug, Clone)]
enum CannedBody {
    Whole(Bytes),
    /// This chunk, so many times: a body that is larger than anyone should hold.
    Repeated(Bytes, usize),
    /// This chunk, over and over, with a pause before each.
    Dripping(Bytes, Duration),
}

impl Canned {
    /// An empty answer with this status.
    ///
    /// # Panics
    /// When the status is not between 100 and 999.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a test states a valid status");
        Self { status, headers: Vec::new(), body: CannedBody::Whole(Bytes::new()) }
    }

    /// With one more header.
    ///
    /// # Panics
    /// When the name or the value is not valid in HTTP.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a test states a valid header");
        self.headers.push((HeaderName::from_static(name), value));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = CannedBody::Whole(body.into());
        self
    }

    /// With a body of `times` copies of a chunk, sent as a stream of unknown length.
    #[must_use]
    pub fn repeated(mut self, chunk: impl Into<Bytes>, times: usize) -> Self {
        self.body = CannedBody::Repeated(chunk.into(), times);
        self
    }

    /// With a body that never ends, of this chunk after each pause.
    #[must_use]
    pub fn dripping(mut self, chunk: impl Into<Bytes>, pause: Duration) -> Self {
        self.body = CannedBody::Dripping(chunk.into(), pause);
        self
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let body = match self.body {
            CannedBody::Whole(bytes) => full(bytes),
            CannedBody::Repeated(chunk, times) => {
                streamed(stream::iter(std::iter::repeat_n(chunk, times).map(Ok)))
            }
            CannedBody::Dripping(chunk, pause) => {
                let pauses = tokio::time::interval(pause);
                streamed(stream::unfold(pauses, move |mut pauses| {
                    let chunk = chunk.clone();
                    async move {
                        pauses.tick().await;
                        Some((Ok(chunk), pauses))
                    }
                }))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
    }
}

/// A body that is known as a whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that comes in pieces.
pub(crate) fn streamed(
    chunks: impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Body {
    use futures_util::StreamExt as _;
    StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

/// A plain answer.
pub(crate) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}

/// The answer of a server that could not do its work.
pub(crate) fn failure(error: &dyn fmt::Display) -> Response<Body> {
    plain(StatusCode::BAD_GATEWAY, error.to_string())
}

/// A client for loopback servers: no proxy, no redirects, a deadline.
///
/// # Errors
/// When the client cannot be built.
pub fn client() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_mins(1))
        .build()
        .context("building an HTTP client")
}
