//! Counters of the webhook side. Owns names and labels; a label is an exhaustive enum, never text from a request.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use windlass_model::resource::SenderType;

/// Seconds. From a bare append on a fast disk up to the longest time that any known sender waits (Event Grid, zot:
/// 30 s); 0.1 is the target for p99, 1 the distribution registry's default time limit, 3 Harbor's.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 30.0];

/// How a webhook request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Authentic, and durable in the queue.
    Accepted,
    /// Authentic, but its delivery id was seen before.
    Duplicate,
    /// Authentic, but not a push, or of an image that the Receiver does not concern.
    Ignored,
    /// The token or signature is missing or wrong.
    Unauthorized,
    /// Authentic, but not readable as this sender's payload; or the body broke off.
    Malformed,
    /// The body is over the limit.
    TooLarge,
    /// No Receiver has this path.
    UnknownPath,
    /// The body did not arrive in time.
    Timeout,
    /// The store did not take it, or too much is in flight.
    Unavailable,
    /// The Receiver is suspended or not ready.
    Suspended,
}

impl Outcome {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Duplicate => "duplicate",
            Outcome::Ignored => "ignored",
            Outcome::Unauthorized => "unauthorized",
            Outcome::Malformed => "malformed",
            Outcome::TooLarge => "too_large",
            Outcome::UnknownPath => "unknown_path",
            Outcome::Timeout => "timeout",
            Outcome::Unavailable => "unavailable",
            Outcome::Suspended => "suspended",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    sender: &'static str,
    outcome: &'static str,
}

/// The webhook metrics; clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    duration: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { requests: Family::default(), duration: Histogram::new(BUCKETS) }
    }
}

impl Metrics {
    /// Registers `windlass_webhooks_total{sender,outcome}` and `windlass_webhook_duration_seconds`. The registry must
    /// have no prefix of its own: the names are complete.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "windlass_webhooks",
            "Webhook requests by sender and outcome",
            self.requests.clone(),
        );
        registry.register(
            "windlass_webhook_duration_seconds",
            "Time from the head of a webhook request to its answer",
            self.duration.clone(),
        );
    }

    /// How many requests of this sender ended so; `None` is a request on an unknown path.
    pub fn count(&self, sender: Option<SenderType>, outcome: Outcome) -> u64 {
        self.requests.get_or_create(&labels(sender, outcome)).get()
    }

    pub(crate) fn observe(&self, sender: Option<SenderType>, outcome: Outcome, took: Duration) {
        self.requests.get_or_create(&labels(sender, outcome)).inc();
        self.duration.observe(took.as_secs_f64());
    }
}

fn labels(sender: Option<SenderType>, outcome: Outcome) -> Labels {
    Labels { sender: sender.map_or("unknown", SenderType::as_str), outcome: outcome.as_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_exposed_under_their_documented_names() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.observe(Some(SenderType::GenericHmac), Outcome::TooLarge, Duration::from_millis(2));
        metrics.observe(None, Outcome::UnknownPath, Duration::from_millis(2));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains(r#"windlass_webhooks_total{sender="generic-hmac",outcome="too_large"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"windlass_webhooks_total{sender="unknown",outcome="unknown_path"} 1"#),
            "{text}"
        );
        assert!(text.contains(r#"windlass_webhook_duration_seconds_bucket{le="0.0025"} 2"#), "{text}");
    }
}
