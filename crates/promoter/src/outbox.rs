//! Delivering notices: from the outbox to Slack and the others, retried until they are taken or refused. Never in the
//! way of a promotion: it runs beside the dispatcher and shares nothing with it but the store.

mod nudges;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use windlass_failpoint::{self as failpoint, Injected, Point};
use windlass_model::resource::{Notifier, Resource as _, Secret};
use windlass_model::{Kind, ObjectKey, ObjectRef};
use windlass_notify::DeliveryError;
use windlass_store::{Keys, Outgoing, StoreError};

use crate::adopted::Adopted;
use crate::board::Severity;
use crate::metrics::NoticeResult;
use crate::shared::{STORE_PAUSE, Shared};
use nudges::Nudges;

/// Deliveries of one audience under way at once: one service that hangs must not hold the others up.
const MAX_SENDING: usize = 8;
/// The first retry comes after this; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Retries are never further apart than this.
const LAST_RETRY: Duration = Duration::from_mins(5);
/// After a failure, the other notices of a Notifier wait as long as the service asks, and at most this long where it
/// asks for nothing: the service is likely to fail for them too, and others need the places.
const OWN_PAUSE: Duration = Duration::from_secs(10);
/// No service is left alone for longer, whatever it asks for.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// How long to wait where the store says nothing of a next notice.
const IDLE: Duration = Duration::from_mins(1);

/// Who is written to. Each has places of its own, so that a chat service that hangs never delays a reconciler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    People,
    Reconcilers,
}

impl Audience {
    /// The Notifiers of this audience whose notices this promoter delivers; one that is configured no more is a person's.
    fn addressees(self, spec: Arc<Adopted>) -> Keys {
        let notifiers = spec.clone();
        Keys::in_namespaces(move |namespace| spec.division.has(namespace)).that(move |key| {
            let is_reconciler =
                notifiers.notifiers.get(key).is_some_and(|known| known.target.is_reconciler());
            is_reconciler == (self == Self::Reconcilers)
        })
    }
}

/// What deliveries share.
#[derive(Debug, Default)]
struct Known {
    pauses: Pauses,
    nudges: Nudges,
}

/// Delivers until the process is to end. What is not delivered stays in the outbox. A notice is taken only when it is
/// sent at once, so that a crash leaves no doubt about any other.
pub(crate) async fn deliver(shared: Arc<Shared>) {
    tokio::join!(
        deliver_to(Audience::Reconcilers, shared.clone()),
        deliver_to(Audience::People, shared.clone())
    );
}

async fn deliver_to(audience: Audience, shared: Arc<Shared>) {
    let mut offered = shared.offered.clone();
    let mut sending: JoinSet<()> = JoinSet::new();
    let known = Arc::new(Known::default());
    while !shared.cancel.is_cancelled() {
        offered.mark_unchanged();
        let of = audience.addressees(shared.spec());
        let mut changed = shared.store.outbox_changed(&of);
        let pause = match send_due(&of, &shared, &known, &mut sending).await {
            Ok(Some(due)) if sending.len() < MAX_SENDING => {
                Duration::try_from(due.duration_since(shared.now())).unwrap_or_default().min(IDLE)
            }
            Ok(_) => IDLE,
            Err(error) => {
                tracing::error!(%error, "the outbox could not be read; trying again");
                STORE_PAUSE
            }
        };
        tokio::select! {
            () = shared.cancel.cancelled() => {}
            _ = changed.changed(), if sending.len() < MAX_SENDING => {}
            Ok(()) = offered.changed() => {}
            Some(sent) = sending.join_next() => report_panic(sent),
            () = tokio::time::sleep(pause) => {}
        }
    }
    while let Some(sent) = sending.join_next().await {
        report_panic(sent);
    }
}

/// Starts to send what is due. Returns when the next notice is.
async fn send_due(
    of: &Keys,
    shared: &Arc<Shared>,
    known: &Arc<Known>,
    sending: &mut JoinSet<()>,
) -> Result<Option<Timestamp>, StoreError> {
    let free = MAX_SENDING.saturating_sub(sending.len());
    let due = if free == 0 { Vec::new() } else { shared.store.outbox_due(of, free, shared.now()).await? };
    for outgoing in due {
        let (shared, known) = (shared.clone(), known.clone());
        sending.spawn(async move {
            if let Err(error) = deliver_one(&shared, &known, &outgoing).await {
                tracing::error!(notice = %outgoing.id, %error, "the outcome of a notice could not be recorded; it is sent again, and marked so");
                shared.store.outbox_abandon(&outgoing.id);
            }
        });
    }
    shared.store.outbox_next_due(of).await
}

fn report_panic(sent: Result<(), JoinError>) {
    if let Err(error) = sent {
        tracing::error!(%error, "a delivery panicked, and its notice is sent again after a restart; please report this");
    }
}

/// Until when each Notifier that failed is left alone: by time that passes, whatever the clock is set to meanwhile.
#[derive(Debug, Default)]
struct Pauses(Mutex<HashMap<ObjectKey, Instant>>);

impl Pauses {
    /// How much longer.
    fn left(&self, notifier: &ObjectKey) -> Option<Duration> {
        let pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = pauses.get(notifier)?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    fn begin(&self, notifier: &ObjectKey, pause: Duration) {
        let now = Instant::now();
        // What is asked for beyond that is no pause.
        let until = now + pause.min(LONGEST_PAUSE);
        let mut pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.retain(|_, until| *until > now);
        let pause = pauses.entry(notifier.clone()).or_insert(until);
        *pause = until.max(*pause);
    }
}

async fn deliver_one(shared: &Shared, known: &Known, outgoing: &Outgoing) -> Result<(), StoreError> {
    let Known { pauses, nudges } = known;
    let (spec, now) = (shared.spec(), shared.now());
    let Some(notifier) = spec.notifiers.get(&outgoing.notifier) else {
        return reject(shared, outgoing, "its Notifier is configured no more").await;
    };
    let secret = spec.secret(&notifier.meta.key.namespace, notifier.target.secret());
    let (Some(secret), None, false) = (secret, spec.why_not_ready(&notifier.object_ref()), notifier.suspend)
    else {
        return postpone(shared, outgoing, after(now, LAST_RETRY), "its Notifier is suspended or not ready")
            .await;
    };
    let turn = nudges.turn(&notifier.target, outgoing).await;
    let now = shared.now();
    if turn.covers(outgoing) {
        let covered = || shared.store.outbox_sent(&outgoing.id, now);
        return shared.persist("that a later nudge covers this one", covered).await;
    }
    if nudges::is_stale(&notifier.target, outgoing, now) {
        return reject(
            shared,
            outgoing,
            "the reconciler could not be told in time; it has looked at Git by itself",
        )
        .await;
    }
    if let Some(left) = pauses.left(&outgoing.notifier) {
        return postpone(shared, outgoing, after(now, left), "the service failed a moment ago").await;
    }
    if outgoing.repeat {
        shared.metrics.notice_repeat();
    }
    match send(shared, outgoing, notifier, secret).await {
        Ok(()) => {
            turn.arrived(now);
            shared.metrics.notice(NoticeResult::Sent);
            show(shared, &outgoing.notifier, None);
            let sent = || shared.store.outbox_sent(&outgoing.id, shared.now());
            shared.persist("that a notice was sent", sent).await
        }
        Err(DeliveryError::Retry { after: asked, reason }) => {
            let pause = asked.unwrap_or(OWN_PAUSE.min(backoff(outgoing)));
            pauses.begin(&outgoing.notifier, pause);
            put_back(shared, outgoing, asked, &reason, false).await
        }
        Err(DeliveryError::Unknown { reason }) => {
            let pause = OWN_PAUSE.min(backoff(outgoing));
            pauses.begin(&outgoing.notifier, pause);
            put_back(shared, outgoing, None, &reason, true).await
        }
        Err(DeliveryError::Rejected { reason }) => reject(shared, outgoing, &reason).await,
    }
}

/// One request to whoever is told.
async fn send(
    shared: &Shared,
    outgoing: &Outgoing,
    notifier: &Notifier,
    secret: &Secret,
) -> Result<(), DeliveryError> {
    let unsent = |injected: Injected| DeliveryError::Retry { after: None, reason: injected.to_string() };
    failpoint::pass(Point::Dispatched).await.map_err(unsent)?;
    shared.sender.deliver(&outgoing.notice, &notifier.target, secret, outgoing.repeat).await?;
    let unanswered = |injected: Injected| DeliveryError::Unknown { reason: injected.to_string() };
    failpoint::pass(Point::Notified).await.map_err(unanswered)
}

fn backoff(outgoing: &Outgoing) -> Duration {
    FIRST_RETRY.saturating_mul(1 << outgoing.attempts.min(9)).min(LAST_RETRY)
}

fn after(now: Timestamp, pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    now.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// Nothing was sent.
async fn postpone(
    shared: &Shared,
    outgoing: &Outgoing,
    until: Timestamp,
    why: &str,
) -> Result<(), StoreError> {
    tracing::debug!(notice = %outgoing.id, notifier = %outgoing.notifier, why, "a notice waits");
    shared.persist("that a notice waits", || shared.store.outbox_retry(&outgoing.id, until, why)).await
}

async fn put_back(
    shared: &Shared,
    outgoing: &Outgoing,
    asked: Option<Duration>,
    reason: &str,
    may_have_arrived: bool,
) -> Result<(), StoreError> {
    tracing::warn!(notice = %outgoing.id, notifier = %outgoing.notifier, %reason, "a notice was not delivered; it is tried again");
    shared.metrics.notice(NoticeResult::Retried);
    show(
        shared,
        &outgoing.notifier,
        Some(format!("a notice was not delivered, and is tried again: {reason}")),
    );
    let at = after(shared.now(), asked.unwrap_or_default().max(backoff(outgoing)));
    if may_have_arrived {
        let unknown = || shared.store.outbox_unknown(&outgoing.id, at, reason);
        return shared.persist("that a notice may have arrived", unknown).await;
    }
    shared
        .persist("that a notice is tried again", || shared.store.outbox_retry(&outgoing.id, at, reason))
        .await
}

async fn reject(shared: &Shared, outgoing: &Outgoing, reason: &str) -> Result<(), StoreError> {
    tracing::error!(notice = %outgoing.id, notifier = %outgoing.notifier, %reason, "a notice was refused");
    shared.metrics.notice(NoticeResult::Rejected);
    show(shared, &outgoing.notifier, Some(format!("a notice was refused: {reason}")));
    shared.persist("that a notice was refused", || shared.store.outbox_failed(&outgoing.id, reason)).await
}

/// Shows how a Notifier fares. Nobody is told of it: it may be the very one that would have to tell.
fn show(shared: &Shared, notifier: &ObjectKey, failure: Option<String>) {
    let (object, now) = (ObjectRef::new(Kind::Notifier, notifier.clone()), shared.now());
    let _untold = match failure {
        None => shared.board.ready(&object, "the last notice was delivered".to_owned(), now, |_| {}),
        Some(why) => shared.board.failing(&object, why, Severity::Passing, now),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_of_one_notifier_and_the_longest_one_counts() {
        let (pauses, team, other) = (Pauses::default(), key("team"), key("other"));
        let seconds = Duration::from_secs;
        pauses.begin(&team, seconds(30));
        pauses.begin(&team, seconds(5));
        assert_eq!((pauses.left(&team), pauses.left(&other)), (Some(seconds(30)), None));
        tokio::time::advance(seconds(30)).await;
        assert_eq!(pauses.left(&team), None);
        pauses.begin(&other, Duration::MAX);
        assert_eq!(pauses.left(&other), Some(LONGEST_PAUSE));
        assert_eq!(pauses.0.lock().unwrap().len(), 1, "what is over is forgotten");
    }
}
