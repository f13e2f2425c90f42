//! From a payload's content to durable deliveries. Owns delivery ids and the visible ids of events.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use windlass_failpoint::{self as failpoint, Point};
use windlass_model::Signal;
use windlass_store::{Appended, Delivery};

use super::{Receipt, Refusal, Shared, trail};
use crate::metrics::Outcome;
use crate::routes::Route;
use crate::sender::{Content, Push};

/// The longest delivery id that is kept as it is. Known ids are UUIDs; a longer one is kept as its hash.
const MAX_ID: usize = 128;

/// Stores what concerns us, and returns once it is durable.
pub(super) async fn store(shared: &Shared, route: &Route, content: Content) -> Result<Receipt, Refusal> {
    let now = shared.clock.now();
    let deliveries = match content {
        Content::Nothing(reason) => return Ok(ignored(reason)),
        Content::Everything => {
            let signals = route.matcher.everything();
            if signals.is_empty() {
                return Ok(ignored("the receiver has no ImageRepository that is not suspended"));
            }
            vec![delivery(shared, route, now, None, signals)]
        }
        Content::Pushes(pushes) => {
            let deliveries: Vec<Delivery> =
                pushes.into_iter().filter_map(|push| concerning(shared, route, now, push)).collect();
            if deliveries.is_empty() {
                return Ok(ignored("no ImageRepository of the receiver has this image"));
            }
            deliveries
        }
    };
    append(shared, route, deliveries).await
}

fn ignored(reason: &'static str) -> Receipt {
    Receipt { outcome: Outcome::Ignored, event: None, signals: 0, ignored: Some(reason) }
}

/// A push of an image that is not the Receiver's is not stored.
fn concerning(shared: &Shared, route: &Route, now: Timestamp, push: Push) -> Option<Delivery> {
    let signals = route.matcher.signals(&push.images);
    (!signals.is_empty()).then(|| delivery(shared, route, now, push.delivery_id, signals))
}

fn delivery(
    shared: &Shared,
    route: &Route,
    received_at: Timestamp,
    delivery_id: Option<String>,
    signals: Vec<Signal>,
) -> Delivery {
    let event = match &delivery_id {
        Some(id) if is_plain(id) => id.clone(),
        _ => {
            let sequence = shared.sequence.fetch_add(1, Ordering::Relaxed);
            format!("{}-{:x}-{sequence:x}", route.sender.as_str(), received_at.as_microsecond())
        }
    };
    let delivery_id = delivery_id.map(bounded);
    let audit = trail::received(route, delivery_id.as_deref(), &event, received_at, &signals);
    Delivery { receiver: route.receiver.clone(), delivery_id, event, received_at, signals, audit }
}

/// The sender's own id is the visible one, so that its log and a commit's trailer name the same thing: unless it could
/// be taken for something else there.
fn is_plain(id: &str) -> bool {
    id.len() <= MAX_ID
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
}

fn bounded(id: String) -> String {
    if id.len() <= MAX_ID { id } else { hex::encode(Sha256::digest(&id)) }
}

/// Appends all at once, so that the store writes them together. If one is not taken, the sender is asked to repeat
/// the whole: those that were stored are then duplicates.
async fn append(shared: &Shared, route: &Route, deliveries: Vec<Delivery>) -> Result<Receipt, Refusal> {
    failpoint::error(Point::Appended).map_err(|_| Refusal::Store)?;
    let mut receipt = Receipt { outcome: Outcome::Duplicate, event: None, signals: 0, ignored: None };
    receipt.event = deliveries.first().map(|delivery| delivery.event.clone());
    let counts: Vec<usize> = deliveries.iter().map(|delivery| delivery.signals.len()).collect();
    let appends = join_all(deliveries.into_iter().map(|delivery| shared.store.append(delivery)));
    let appended = tokio::time::timeout(shared.limits.append, appends).await.map_err(|_| {
        tracing::warn!(receiver = route.receiver, limit = ?shared.limits.append, "the store did not answer in time");
        Refusal::Store
    })?;
    for (result, signals) in appended.into_iter().zip(counts) {
        match result {
            Ok(Appended::New) => {
                receipt.outcome = Outcome::Accepted;
                receipt.signals += signals;
            }
            Ok(Appended::Duplicate) => {}
            Err(error) => {
                tracing::warn!(
                    receiver = route.receiver,
                    error = &error as &dyn std::error::Error,
                    "a webhook was not stored"
                );
                return Err(Refusal::Store);
            }
        }
    }
    failpoint::pause(Point::Appended).await;
    Ok(receipt)
}
