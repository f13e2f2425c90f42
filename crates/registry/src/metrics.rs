//! The counters of this crate. Registries are labelled by their configured names, so that nothing outside the
//! configuration can add a time series.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

/// From a warm request in the same network to the longest usual timeout.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Counts HTTP requests to registries and to their token servers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<HostLabel, Histogram>,
}

impl Metrics {
    /// Registers `windlass_registry_requests_total{host,outcome}` and
    /// `windlass_registry_request_duration_seconds{host}`.
    #[must_use = "a pool needs the metrics that were registered"]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        };
        registry.register(
            "windlass_registry_requests",
            "HTTP requests to registries and their token servers, by the image's registry",
            metrics.requests.clone(),
        );
        registry.register(
            "windlass_registry_request_duration_seconds",
            "Time from sending a request to the end of its answer, in seconds",
            metrics.durations.clone(),
        );
        metrics
    }

    /// Starts to measure one request.
    pub(crate) fn start(&self, host: &Arc<str>) -> Measure {
        Measure {
            metrics: self.clone(),
            host: host.clone(),
            begun: Instant::now(),
            outcome: Outcome::Timeout,
        }
    }
}

/// One request under way. It is recorded when dropped: as a timeout, unless an outcome was set before.
#[must_use = "dropping it records the request"]
pub(crate) struct Measure {
    metrics: Metrics,
    host: Arc<str>,
    begun: Instant,
    outcome: Outcome,
}

impl Measure {
    pub(crate) fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        let host = HostLabel { host: self.host.clone() };
        self.metrics.durations.get_or_create(&host).observe(self.begun.elapsed().as_secs_f64());
        let labels = RequestLabels { host: self.host.clone(), outcome: self.outcome };
        self.metrics.requests.get_or_create(&labels).inc();
    }
}

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// 2xx.
    Ok,
    /// 3xx.
    Redirected,
    /// 401 to a request without credentials: the ordinary start of authentication.
    Challenged,
    /// 401 to credentials, or 403.
    Unauthorized,
    /// 404.
    NotFound,
    /// 429.
    Throttled,
    /// 5xx.
    ServerError,
    /// No connection, or one that broke.
    Network,
    /// Given up when the operation's time was over, or at shutdown.
    Timeout,
    /// Any other status, or an answer past its size limit.
    Invalid,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Redirected => "redirected",
            Outcome::Challenged => "challenged",
            Outcome::Unauthorized => "unauthorized",
            Outcome::NotFound => "not_found",
            Outcome::Throttled => "throttled",
            Outcome::ServerError => "server_error",
            Outcome::Network => "network",
            Outcome::Timeout => "timeout",
            Outcome::Invalid => "invalid",
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    host: Arc<str>,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostLabel {
    host: Arc<str>,
}
