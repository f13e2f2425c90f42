//! Delivering notices: from the outbox to Slack and the others, retried until they are taken or refused. Never in the
//! way of a promotion: it runs beside the dispatcher and shares nothing with it but the store.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_notify::DeliveryError;
use windlass_store::{Outgoing, StoreError};

use crate::metrics::NoticeResult;
use crate::work::Shared;

/// Deliveries under way at once: one service that hangs must not hold the others up.
const MAX_SENDING: usize = 8;
/// The first retry comes after this; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Retries are never further apart than this.
const LAST_RETRY: Duration = Duration::from_mins(5);
/// How long to wait where the store says nothing of a next notice.
const IDLE: Duration = Duration::from_mins(1);

/// Delivers until `cancel`. What is not delivered stays in the outbox. A notice is taken only when it is sent at once,
/// so that a crash leaves no doubt about any other.
pub(crate) async fn deliver(shared: Arc<Shared>, cancel: CancellationToken) {
    let mut changed = shared.store.outbox_changed();
    let mut sending: JoinSet<()> = JoinSet::new();
    while !cancel.is_cancelled() {
        changed.mark_unchanged();
        let free = MAX_SENDING - sending.len();
        let due = if free == 0 { Ok(Vec::new()) } else { shared.store.outbox_due(free, shared.now()).await };
        match due {
            Ok(due) => due.into_iter().for_each(|outgoing| send(&shared, outgoing, &mut sending)),
            Err(error) => tracing::error!(%error, "the outbox could not be read"),
        }
        let next = match shared.store.outbox_next_due().await {
            Ok(Some(due)) if sending.len() < MAX_SENDING => {
                Duration::try_from(due.duration_since(shared.now())).unwrap_or_default().min(IDLE)
            }
            _ => IDLE,
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            _ = changed.changed(), if sending.len() < MAX_SENDING => {}
            Some(_) = sending.join_next() => {}
            () = tokio::time::sleep(next) => {}
        }
    }
    while sending.join_next().await.is_some() {}
}

fn send(shared: &Arc<Shared>, outgoing: Outgoing, sending: &mut JoinSet<()>) {
    let shared = shared.clone();
    sending.spawn(async move {
        if let Err(error) = deliver_one(&shared, &outgoing).await {
            tracing::error!(notice = %outgoing.id, %error, "the outcome of a notice could not be recorded");
        }
    });
}

async fn deliver_one(shared: &Shared, outgoing: &Outgoing) -> Result<(), StoreError> {
    let spec = shared.spec();
    let Some(notifier) = spec.notifiers.get(&outgoing.notifier) else {
        return reject(shared, outgoing, "its Notifier is configured no more").await;
    };
    let Some(secret) = spec.secret(&notifier.meta.key.namespace, notifier.target.secret()) else {
        let missing = format!("Secret {} of its Notifier does not exist", notifier.target.secret());
        return put_back(shared, outgoing, None, &missing, false).await;
    };
    if outgoing.repeat {
        shared.metrics.notice_repeat();
    }
    match shared.sender.deliver(&outgoing.notice, &notifier.target, secret, outgoing.repeat).await {
        Ok(()) => {
            shared.metrics.notice(NoticeResult::Sent);
            shared.store.outbox_sent(&outgoing.id, shared.now()).await
        }
        Err(DeliveryError::Retry { after, reason }) => {
            put_back(shared, outgoing, after, &reason, false).await
        }
        Err(DeliveryError::Unknown { reason }) => put_back(shared, outgoing, None, &reason, true).await,
        Err(DeliveryError::Rejected { reason }) => reject(shared, outgoing, &reason).await,
    }
}

async fn put_back(
    shared: &Shared,
    outgoing: &Outgoing,
    after: Option<Duration>,
    reason: &str,
    may_have_arrived: bool,
) -> Result<(), StoreError> {
    tracing::warn!(notice = %outgoing.id, notifier = %outgoing.notifier, %reason, "a notice was not delivered; it is tried again");
    shared.metrics.notice(NoticeResult::Retried);
    let backoff = FIRST_RETRY.saturating_mul(1 << outgoing.attempts.min(9)).min(LAST_RETRY);
    let delay =
        SignedDuration::try_from(after.unwrap_or_default().max(backoff)).unwrap_or(SignedDuration::MAX);
    let at = shared.now().checked_add(delay).unwrap_or(Timestamp::MAX);
    if may_have_arrived {
        return shared.store.outbox_unknown(&outgoing.id, at, reason).await;
    }
    shared.store.outbox_retry(&outgoing.id, at, reason).await
}

async fn reject(shared: &Shared, outgoing: &Outgoing, reason: &str) -> Result<(), StoreError> {
    tracing::error!(notice = %outgoing.id, notifier = %outgoing.notifier, %reason, "a notice was refused");
    shared.metrics.notice(NoticeResult::Rejected);
    shared.store.outbox_failed(&outgoing.id, reason).await
}
