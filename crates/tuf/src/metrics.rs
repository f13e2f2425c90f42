//! What is measured of trust roots, by mirror. Few mirrors are configured.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters and gauges; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    refreshes: Family<RefreshLabels, Counter>,
    expiry: Family<MirrorLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefreshLabels {
    mirror: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MirrorLabels {
    mirror: String,
}

impl Metrics {
    /// Registers the metrics; their names are complete, so the registry must have no prefix of its own.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { refreshes: Family::default(), expiry: Family::default() };
        registry.register(
            "windlass_trust_root_refreshes",
            "Looks for a newer trust root by mirror and outcome",
            metrics.refreshes.clone(),
        );
        registry.register(
            "windlass_trust_root_expiry_timestamp_seconds",
            "When the trust root of a mirror expires; 0 where there is none",
            metrics.expiry.clone(),
        );
        metrics
    }

    pub(crate) fn refreshed(&self, mirror: &str, succeeded: bool) {
        let outcome = if succeeded { "succeeded" } else { "failed" };
        self.refreshes.get_or_create(&RefreshLabels { mirror: mirror.to_owned(), outcome }).inc();
    }

    /// `until` in seconds since 1970.
    pub(crate) fn expires(&self, mirror: &str, until: i64) {
        self.expiry.get_or_create(&MirrorLabels { mirror: mirror.to_owned() }).set(until);
    }

    pub(crate) fn forget(&self, mirror: &str) {
        self.expiry.remove(&MirrorLabels { mirror: mirror.to_owned() });
    }
}
