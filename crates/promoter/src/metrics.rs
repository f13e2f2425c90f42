//! The promoter's metrics. Label values come from exhaustive enums.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds in seconds: the target is about one second, a bare push takes a tenth, an outage takes minutes.
const EVENT_TO_COMMIT_SECONDS: [f64; 14] =
    [0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// Counters and histograms; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    event_to_commit: Histogram,
    pushes: Family<PushLabels, Counter>,
    commits: Counter,
    runs: Family<RunLabels, Counter>,
    resync_found: Counter,
    notices: Family<NoticeLabels, Counter>,
    notice_repeats: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PushLabels {
    outcome: PushResult,
}

/// How a push ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PushResult {
    /// The branch contains the commit.
    Landed,
    /// Somebody else moved the branch; started again.
    Moved,
    /// The server refused it.
    Rejected,
    /// The outcome could not be learned.
    Unknown,
    /// The server could not be reached, or refused the credentials.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    kind: &'static str,
    outcome: RunResult,
}

/// How one piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RunResult {
    /// Acknowledged.
    Done,
    /// Put back, to be tried again.
    Retried,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoticeLabels {
    outcome: NoticeResult,
}

/// How one delivery of a notice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NoticeResult {
    /// Accepted by the other side.
    Sent,
    /// To be tried again.
    Retried,
    /// Refused for good.
    Rejected,
}

impl PushResult {
    fn as_str(self) -> &'static str {
        match self {
            PushResult::Landed => "landed",
            PushResult::Moved => "moved",
            PushResult::Rejected => "rejected",
            PushResult::Unknown => "unknown",
            PushResult::Failed => "failed",
        }
    }
}

impl RunResult {
    fn as_str(self) -> &'static str {
        match self {
            RunResult::Done => "done",
            RunResult::Retried => "retried",
        }
    }
}

impl NoticeResult {
    fn as_str(self) -> &'static str {
        match self {
            NoticeResult::Sent => "sent",
            NoticeResult::Retried => "retried",
            NoticeResult::Rejected => "rejected",
        }
    }
}

macro_rules! label {
    ($($outcome:ident),*) => {$(
        impl EncodeLabelValue for $outcome {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), fmt::Error> {
                EncodeLabelValue::encode(&self.as_str(), encoder)
            }
        }
    )*};
}
label!(PushResult, RunResult, NoticeResult);

impl Metrics {
    /// Registers the metrics; their names are complete, so the registry must have no prefix of its own.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            event_to_commit: Histogram::new(EVENT_TO_COMMIT_SECONDS),
            pushes: Family::default(),
            commits: Counter::default(),
            runs: Family::default(),
            resync_found: Counter::default(),
            notices: Family::default(),
            notice_repeats: Counter::default(),
        };
        registry.register(
            "windlass_event_to_commit_seconds",
            "Time from accepting an event to its commit on the remote branch",
            metrics.event_to_commit.clone(),
        );
        registry.register("windlass_pushes", "Pushes by outcome", metrics.pushes.clone());
        registry.register("windlass_commits", "Commits that landed", metrics.commits.clone());
        registry.register("windlass_runs", "Pieces of work by kind and outcome", metrics.runs.clone());
        registry.register(
            "windlass_resync_found",
            "Tags that a full listing found and that no event had announced, in repositories with a Receiver",
            metrics.resync_found.clone(),
        );
        registry.register("windlass_notices", "Notices by outcome", metrics.notices.clone());
        registry.register(
            "windlass_notice_repeats",
            "Notices sent again because the process ended between sending and recording",
            metrics.notice_repeats.clone(),
        );
        metrics
    }

    pub(crate) fn landed(&self, commits: usize) {
        self.commits.inc_by(commits as u64);
    }

    pub(crate) fn event_to_commit(&self, took: Duration) {
        self.event_to_commit.observe(took.as_secs_f64());
    }

    pub(crate) fn push(&self, outcome: PushResult) {
        self.pushes.get_or_create(&PushLabels { outcome }).inc();
    }

    pub(crate) fn run(&self, kind: &'static str, outcome: RunResult) {
        self.runs.get_or_create(&RunLabels { kind, outcome }).inc();
    }

    pub(crate) fn resync_found(&self, tags: usize) {
        self.resync_found.inc_by(tags as u64);
    }

    pub(crate) fn notice(&self, outcome: NoticeResult) {
        self.notices.get_or_create(&NoticeLabels { outcome }).inc();
    }

    pub(crate) fn notice_repeat(&self) {
        self.notice_repeats.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_in_lower_case() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.push(PushResult::Moved);
        metrics.run("ImageRepository", RunResult::Retried);
        metrics.notice(NoticeResult::Sent);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "windlass_pushes_total{outcome=\"moved\"} 1",
            "windlass_runs_total{kind=\"ImageRepository\",outcome=\"retried\"} 1",
            "windlass_notices_total{outcome=\"sent\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
