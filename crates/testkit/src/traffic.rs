//! Watching and steering the requests of an in-process server: record them, hold them at a gate, answer them with
//! something else, or drop their connections.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::HeaderMap;
pub use http::Method;
use tokio::sync::watch;

use crate::http_server::Canned;

/// The request line and headers, as a rule sees them.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The path, still percent-encoded.
    pub path: String,
    /// The query without its question mark; empty when there is none.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
}

/// Which requests a rule concerns.
#[derive(Clone)]
pub struct Match {
    what: String,
    test: Arc<dyn Fn(&RequestHead) -> bool + Send + Sync>,
}

impl Match {
    /// Requests for which `test` holds; `what` names them in messages.
    pub fn new(what: impl Into<String>, test: impl Fn(&RequestHead) -> bool + Send + Sync + 'static) -> Self {
        Self { what: what.into(), test: Arc::new(test) }
    }

    /// Every request.
    pub fn any() -> Self {
        Self::new("any request", |_| true)
    }

    /// Requests with this method.
    pub fn method(method: Method) -> Self {
        Self::new(format!("{method} request"), move |head| head.method == method)
    }

    /// Requests whose path contains this text.
    pub fn path_contains(part: impl Into<String>) -> Self {
        let part = part.into();
        Self::new(format!("request of …{part}…"), move |head| head.path.contains(&part))
    }

    /// Requests whose path ends with this text.
    pub fn path_ends_with(end: impl Into<String>) -> Self {
        let end = end.into();
        Self::new(format!("request of …{end}"), move |head| head.path.ends_with(&end))
    }

    /// Requests of which both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::new(format!("{} and {}", self.what, other.what), move |head| {
            self.matches(head) && other.matches(head)
        })
    }

    /// Whether this request is meant.
    pub fn matches(&self, head: &RequestHead) -> bool {
        (self.test)(head)
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Where a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before the server did anything.
    Before,
    /// After the server did everything, before the client hears of it.
    After,
}

/// What becomes of a request at a point.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    Pass,
    Answer(Canned),
    Disconnect,
}

/// A request and how it ended.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The request line and headers.
    pub head: RequestHead,
    /// The status that the client was sent; `None` when its connection was dropped instead.
    pub status: Option<u16>,
    /// When the request's headers had arrived.
    pub started: Instant,
    /// When the answer's headers were ready.
    pub answered: Instant,
}

/// The recorder and the rules of one server. Clones share both.
#[derive(Clone, Default)]
pub struct Traffic {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Vec<Arc<Rule>>>,
    exchanges: Mutex<Vec<Exchange>>,
    /// Woken whenever an exchange was added.
    recorded: watch::Sender<()>,
}

struct Rule {
    matches: Match,
    point: Point,
    effect: Effect,
    hits: AtomicUsize,
    /// How many requests it applies to; `usize::MAX` for all.
    limit: usize,
}

enum Effect {
    Hold { arrived: watch::Sender<usize>, verdict: watch::Sender<Option<Verdict>> },
    Answer(Box<dyn Fn(&RequestHead) -> Canned + Send + Sync>),
    Disconnect,
    Complete,
}

impl Traffic {
    /// Holds matching requests at a point until the gate is opened.
    #[must_use = "dropping the gate opens it"]
    pub fn hold(&self, matches: Match, point: Point) -> Gate {
        let effect = Effect::Hold { arrived: watch::Sender::new(0), verdict: watch::Sender::new(None) };
        Gate { rule: self.add(matches, point, effect, usize::MAX), traffic: self.clone() }
    }

    /// Answers matching requests in the server's place, until the fault is lifted.
    #[must_use = "dropping the fault lifts it"]
    pub fn answer(&self, matches: Match, canned: Canned) -> Fault {
        self.answer_with(matches, move |_| canned.clone())
    }

    /// Answers matching requests in the server's place with what `make` gives for each.
    #[must_use = "dropping the fault lifts it"]
    pub fn answer_with(
        &self,
        matches: Match,
        make: impl Fn(&RequestHead) -> Canned + Send + Sync + 'static,
    ) -> Fault {
        self.fault(matches, Point::Before, Effect::Answer(Box::new(make)), usize::MAX)
    }

    /// Answers the next `count` matching requests in the server's place.
    #[must_use = "dropping the fault lifts it"]
    pub fn answer_next(&self, count: usize, matches: Match, canned: Canned) -> Fault {
        self.fault(matches, Point::Before, Effect::Answer(Box::new(move |_| canned.clone())), count)
    }

    /// Drops the connections of matching requests at a point, without an answer. A client may ask again by itself:
    /// curl, and with it git, does when the connection had served a request before.
    #[must_use = "dropping the fault lifts it"]
    pub fn disconnect(&self, matches: Match, point: Point) -> Fault {
        self.fault(matches, point, Effect::Disconnect, usize::MAX)
    }

    /// Passes matching answers on only when the server has finished them: their exchanges then tell when its work was
    /// done, not when its answer began. Git's server begins to answer a push before it has looked at it.
    #[must_use = "dropping the fault lifts it"]
    pub fn complete(&self, matches: Match) -> Fault {
        self.fault(matches, Point::After, Effect::Complete, usize::MAX)
    }

    /// Everything that was asked so far, in the order of the answers.
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.shared.exchanges).clone()
    }

    /// How many matching requests were answered or dropped so far.
    pub fn count(&self, matches: &Match) -> usize {
        lock(&self.shared.exchanges).iter().filter(|exchange| matches.matches(&exchange.head)).count()
    }

    /// A place in the record, for [`Traffic::next_after`].
    pub fn mark(&self) -> usize {
        lock(&self.shared.exchanges).len()
    }

    /// The first matching exchange that was recorded after the mark; waits for it.
    ///
    /// # Errors
    /// When there is none `within` that time.
    pub async fn next_after(&self, mark: usize, matches: &Match, within: Duration) -> Result<Exchange> {
        let mut recorded = self.shared.recorded.subscribe();
        let mut found = None;
        let wait = recorded.wait_for(|()| {
            let exchanges = lock(&self.shared.exchanges);
            found = exchanges.iter().skip(mark).find(|exchange| matches.matches(&exchange.head)).cloned();
            found.is_some()
        });
        // Either it was found, or the time is over.
        drop(tokio::time::timeout(within, wait).await);
        found.with_context(|| format!("waited {within:?} for a {matches:?}"))
    }

    /// What the rules want at this point; waits while a gate holds the request.
    pub(crate) async fn pass(&self, point: Point, head: &RequestHead) -> Verdict {
        let concerned: Vec<Arc<Rule>> =
            lock(&self.shared.rules).iter().filter(|rule| rule.concerns(point, head)).cloned().collect();
        for rule in concerned {
            match rule.apply(head).await {
                Verdict::Pass => {}
                verdict => return verdict,
            }
        }
        Verdict::Pass
    }

    /// Whether any rule acts on this request after the server: only then is its answer held back as a whole.
    pub(crate) fn concerns(&self, point: Point, head: &RequestHead) -> bool {
        lock(&self.shared.rules).iter().any(|rule| rule.concerns(point, head))
    }

    pub(crate) fn record(&self, exchange: Exchange) {
        lock(&self.shared.exchanges).push(exchange);
        self.shared.recorded.send_replace(());
    }

    fn fault(&self, matches: Match, point: Point, effect: Effect, limit: usize) -> Fault {
        Fault { rule: self.add(matches, point, effect, limit), traffic: self.clone() }
    }

    fn add(&self, matches: Match, point: Point, effect: Effect, limit: usize) -> Arc<Rule> {
        let rule = Arc::new(Rule { matches, point, effect, hits: AtomicUsize::new(0), limit });
        lock(&self.shared.rules).push(Arc::clone(&rule));
        rule
    }

    fn remove(&self, rule: &Arc<Rule>) {
        lock(&self.shared.rules).retain(|other| !Arc::ptr_eq(other, rule));
    }
}

impl Rule {
    fn concerns(&self, point: Point, head: &RequestHead) -> bool {
        self.point == point && self.hits.load(Ordering::SeqCst) < self.limit && self.matches.matches(head)
    }

    async fn apply(&self, head: &RequestHead) -> Verdict {
        if self.hits.fetch_add(1, Ordering::SeqCst) >= self.limit {
            return Verdict::Pass;
        }
        match &self.effect {
            Effect::Answer(make) => Verdict::Answer(make(head)),
            Effect::Disconnect => Verdict::Disconnect,
            Effect::Complete => Verdict::Pass,
            Effect::Hold { arrived, verdict } => {
                let mut verdict = verdict.subscribe();
                arrived.send_modify(|count| *count += 1);
                let verdict = verdict.wait_for(Option::is_some).await.expect("the sender lives in self");
                verdict.clone().expect("waited for a verdict")
            }
        }
    }
}

/// A rule that holds requests. Dropping it opens the gate.
#[must_use = "dropping the gate opens it"]
pub struct Gate {
    rule: Arc<Rule>,
    traffic: Traffic,
}

impl Gate {
    /// Waits until a request stands at the gate (or has stood there).
    ///
    /// # Errors
    /// When none came `within` that time.
    pub async fn arrived(&self, within: Duration) -> Result<()> {
        self.arrivals(1, within).await
    }

    /// Waits until `count` requests have come to the gate.
    ///
    /// # Errors
    /// When fewer came `within` that time.
    pub async fn arrivals(&self, count: usize, within: Duration) -> Result<()> {
        let Effect::Hold { arrived, .. } = &self.rule.effect else { return Ok(()) };
        let mut arrived = arrived.subscribe();
        let in_time = tokio::time::timeout(within, arrived.wait_for(|seen| *seen >= count)).await.is_ok();
        let (seen, matches) = (*arrived.borrow(), &self.rule.matches);
        ensure!(in_time, "waited {within:?} for {count} at the gate for {matches:?}; {seen} came");
        Ok(())
    }

    /// Lets everything pass, now and later.
    pub fn open(self) {
        self.end(Verdict::Pass);
    }

    /// Drops the connections of those that are held; later requests pass.
    pub fn disconnect(self) {
        self.end(Verdict::Disconnect);
    }

    /// Gives those that are held this answer; later requests pass.
    pub fn answer(self, canned: Canned) {
        self.end(Verdict::Answer(canned));
    }

    fn end(&self, with: Verdict) {
        self.traffic.remove(&self.rule);
        if let Effect::Hold { verdict, .. } = &self.rule.effect {
            verdict.send_if_modified(|verdict| {
                let undecided = verdict.is_none();
                if undecided {
                    *verdict = Some(with);
                }
                undecided
            });
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.end(Verdict::Pass);
    }
}

/// A rule that answers or disconnects. Dropping it lifts the fault.
#[must_use = "dropping the fault lifts it"]
pub struct Fault {
    rule: Arc<Rule>,
    traffic: Traffic,
}

impl Fault {
    /// How many requests it has met.
    pub fn hits(&self) -> usize {
        self.rule.hits.load(Ordering::SeqCst).min(self.rule.limit)
    }

    /// Ends the fault.
    pub fn lift(self) {}
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.traffic.remove(&self.rule);
    }
}

/// A panicking test must not hide its message behind a poisoned lock: the guarded values are valid between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
