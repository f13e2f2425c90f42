//! The webhook endpoint: one request in, durable signals out, and only then an answer of 2xx.
//!
//! Owns the order of checks and the meaning of each answer; [`sender`] owns what a payload says. No
//! registry and no Git server is called within a request: senders wait as little as one second.
//!
//! | answer | when |
//! |---|---|
//! | 200 | durable, seen before, or authentic and of no concern |
//! | 400 | authentic, but not this sender's payload; or the body broke off |
//! | 401 | the token or signature is missing or wrong |
//! | 404 | no Receiver has this path |
//! | 408 | the body did not arrive in time |
//! | 413 | the body is over the limit |
//! | 503 + `Retry-After` | the Receiver is suspended or not ready (as Flux answers), the store did not take it, or too much is in flight |
//!
//! Before a request is authentic, its answer says no more than the status does.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{HeaderMap, header};
use tokio::sync::watch;
use windlass_failpoint::{self as failpoint, Point};
use windlass_model::{Clock, Spec};
use windlass_store::Store;

use crate::body::{self, BodyError, Budget};
use crate::metrics::{Metrics, Outcome};
use crate::routes::{Route, Routes};
use crate::sender::{self, Malformed};

mod answer;
mod intake;
mod trail;

/// Bounds on what requests may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body, in bytes: 3 MiB, as in notification-controller 1.9.
    pub body: usize,
    /// From the head of a request to the end of its body: 10 s. A sender's own patience is 1 to 30 s.
    pub read: Duration,
    /// For the store to make a delivery durable: 10 s. The sender then tries again, or has given up already.
    pub append: Duration,
    /// Bodies in memory at one time, in bytes: 64 MiB, that is 1,024 ordinary requests or 21 of the largest.
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 3 * 1024 * 1024,
            read: Duration::from_secs(10),
            append: Duration::from_secs(10),
            in_flight: 64 * 1024 * 1024,
        }
    }
}

/// What all requests share.
#[derive(Clone)]
pub struct WebhookState(Arc<Shared>);

struct Shared {
    store: Store,
    clock: Arc<dyn Clock>,
    routes: Mutex<Current>,
    metrics: Metrics,
    limits: Limits,
    budget: Budget,
    /// Distinguishes the events of one microsecond.
    sequence: AtomicU64,
}

/// The table, and the configuration that it is kept up with.
struct Current {
    spec: watch::Receiver<Arc<Spec>>,
    routes: Arc<Routes>,
}

impl fmt::Debug for WebhookState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookState").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

impl WebhookState {
    /// Accepts for these Receivers into this store. A change of the configuration holds from the next request on.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        spec: watch::Receiver<Arc<Spec>>,
        metrics: Metrics,
    ) -> Self {
        Self::with_limits(store, clock, spec, metrics, Limits::default())
    }

    /// As [`WebhookState::new`], with other limits.
    pub fn with_limits(
        store: Store,
        clock: Arc<dyn Clock>,
        mut spec: watch::Receiver<Arc<Spec>>,
        metrics: Metrics,
        limits: Limits,
    ) -> Self {
        let routes = Arc::new(Routes::new(&spec.borrow_and_update()));
        Self(Arc::new(Shared {
            store,
            clock,
            routes: Mutex::new(Current { spec, routes }),
            metrics,
            limits,
            budget: Budget::new(limits.in_flight),
            sequence: AtomicU64::new(0),
        }))
    }
}

impl Shared {
    fn routes(&self) -> Arc<Routes> {
        let mut current = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        // An error means that the configuration will not change any more.
        if current.spec.has_changed().unwrap_or(false) {
            let routes = Routes::new(&current.spec.borrow_and_update());
            current.routes = Arc::new(routes);
        }
        Arc::clone(&current.routes)
    }
}

/// Serves `/hook/{path}` for any method, as Flux does. The path must be equal to a Receiver's; a query string is no
/// part of it.
pub fn router(state: WebhookState) -> Router {
    Router::new().route("/hook/{path}", any(receive)).with_state(state)
}

/// What became of an authentic request.
#[derive(Debug)]
struct Receipt {
    outcome: Outcome,
    /// The visible id of the first event, where one was stored or seen before.
    event: Option<String>,
    /// How many signals were stored.
    signals: usize,
    /// Why nothing was stored.
    ignored: Option<&'static str>,
}

/// Why a request was not taken.
#[derive(Debug)]
enum Refusal {
    UnknownPath,
    Closed,
    Body(BodyError),
    Unauthorized,
    Malformed(Malformed),
    /// The store did not take it.
    Store,
}

impl Refusal {
    fn outcome(&self) -> Outcome {
        match self {
            Refusal::UnknownPath => Outcome::UnknownPath,
            Refusal::Closed => Outcome::Suspended,
            Refusal::Body(BodyError::TooLarge) => Outcome::TooLarge,
            Refusal::Body(BodyError::Timeout) => Outcome::Timeout,
            Refusal::Body(BodyError::Broken) | Refusal::Malformed(_) => Outcome::Malformed,
            Refusal::Body(BodyError::Busy) | Refusal::Store => Outcome::Unavailable,
            Refusal::Unauthorized => Outcome::Unauthorized,
        }
    }
}

async fn receive(State(state): State<WebhookState>, request: Request) -> Response {
    let started = Instant::now();
    let shared = &state.0;
    let route = shared.routes().get(request.uri().path()).cloned();
    let result = match &route {
        Some(route) => accept(shared, route, request).await,
        None => Err(Refusal::UnknownPath),
    };
    let outcome = match &result {
        Ok(receipt) => receipt.outcome,
        Err(refusal) => refusal.outcome(),
    };
    if let Some(route) = &route {
        log(route, &result);
    }
    shared.metrics.observe(route.map(|route| route.sender), outcome, started.elapsed());
    result.map_or_else(|refusal| answer::refused(&refusal), |receipt| answer::taken(&receipt))
}

async fn accept(shared: &Shared, route: &Route, request: Request) -> Result<Receipt, Refusal> {
    if route.closed {
        return Err(Refusal::Closed);
    }
    let (head, body) = request.into_parts();
    let limits = &shared.limits;
    let body = body::read(body, announced(&head.headers), limits.body, limits.read, &shared.budget)
        .await
        .map_err(Refusal::Body)?;
    failpoint::pass(Point::Received).await.map_err(|_| Refusal::Body(BodyError::Timeout))?;
    if !sender::authenticate(route.sender, route.token.expose(), &head.headers, &body.bytes) {
        return Err(Refusal::Unauthorized);
    }
    failpoint::pass(Point::Authenticated).await.map_err(|_| Refusal::Body(BodyError::Busy))?;
    let content = sender::parse(route.sender, &body.bytes).map_err(Refusal::Malformed)?;
    intake::store(shared, route, content).await
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// One line a request, never with its path, its headers or its body: each may hold a secret.
fn log(route: &Route, result: &Result<Receipt, Refusal>) {
    let (receiver, sender) = (&route.receiver, route.sender.as_str());
    match result {
        Ok(receipt) => {
            let (outcome, event) = (receipt.outcome.as_str(), receipt.event.as_deref());
            let (signals, ignored) = (receipt.signals, receipt.ignored);
            tracing::debug!(receiver, sender, outcome, event, signals, ignored, "webhook");
        }
        // `intake` has logged the store's error.
        Err(refusal) => {
            let outcome = refusal.outcome().as_str();
            let problem = match refusal {
                Refusal::Malformed(problem) => Some(problem.to_string()),
                _ => None,
            };
            tracing::info!(receiver, sender, outcome, problem, "webhook refused");
        }
    }
}

#[cfg(test)]
mod tests;
