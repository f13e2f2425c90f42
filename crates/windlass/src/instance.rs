//! The running instance, as the local API sees it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use windlass_model::resource::Receiver;
use windlass_model::signal::RescanReason;
use windlass_model::status::{ObjectStatus, Readiness};
use windlass_model::{Clock, Hint, Kind, ObjectKey, ObjectRef, Signal, Spec};
use windlass_promoter::{Promoter, signals_for};
use windlass_store::{AuditEntry, AuditKind, Backlog, Delivery, Intervention, Store};
use windlass_web::{Check, Instance, QueueAnswer, ReconcileAnswer, Resume, Shares, StatusReport};

use crate::backlog::MAX_LISTED;
use crate::config::Configuration;
use crate::hands;
use crate::lead::Promoters;

/// Answers for the process.
pub(crate) struct RunningInstance {
    store: Store,
    clock: Arc<dyn Clock>,
    configuration: watch::Receiver<Arc<Configuration>>,
    spec: watch::Receiver<Arc<Spec>>,
    registry: Registry,
    /// Those of the shares that are this process's at present.
    promoters: watch::Receiver<Promoters>,
    /// Of how many.
    shares: usize,
    gauges: Gauges,
}

/// Set when they are asked for: the queue knows its depth at no cost.
struct Gauges {
    waiting: Gauge,
    running: Gauge,
    oldest_seconds: Gauge,
    outbox: Gauge,
    unguarded: Gauge,
}

impl RunningInstance {
    pub(crate) fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        configuration: watch::Receiver<Arc<Configuration>>,
        spec: watch::Receiver<Arc<Spec>>,
        mut registry: Registry,
        promoters: watch::Receiver<Promoters>,
        shares: usize,
    ) -> Self {
        let gauges = Gauges::register(&mut registry);
        Self { store, clock, configuration, spec, registry, promoters, shares, gauges }
    }
}

impl Gauges {
    fn register(registry: &mut Registry) -> Self {
        let gauges = Self {
            waiting: Gauge::default(),
            running: Gauge::default(),
            oldest_seconds: Gauge::default(),
            outbox: Gauge::default(),
            unguarded: Gauge::default(),
        };
        registry.register("windlass_queue_waiting", "Keys that wait to be worked on", gauges.waiting.clone());
        registry.register("windlass_queue_running", "Keys that are being worked on", gauges.running.clone());
        registry.register(
            "windlass_queue_oldest_seconds",
            "Age of the oldest signal that is not acknowledged",
            gauges.oldest_seconds.clone(),
        );
        registry.register(
            "windlass_outbox_waiting",
            "Notices that are not delivered yet",
            gauges.outbox.clone(),
        );
        registry.register(
            "windlass_unguarded_policies",
            "ImagePolicies whose image no Guard concerns",
            gauges.unguarded.clone(),
        );
        gauges
    }
}

impl RunningInstance {
    /// In the order of kinds and names. Shares have no resource in common.
    fn statuses(&self) -> Vec<ObjectStatus> {
        let promoters = self.promoters.borrow().clone();
        let mut statuses: Vec<_> = promoters.values().flat_map(Promoter::status).collect();
        statuses.sort_by(|a, b| a.object.cmp(&b.object));
        statuses
    }

    /// What a person asked for, as it enters the queue and the audit.
    fn request(&self, signals: Vec<Signal>) -> Delivery {
        let now = self.clock.now();
        let event = format!("requested-{}", now.strftime("%Y%m%dT%H%M%SZ"));
        let entry = |signal: &Signal| AuditEntry {
            at: now,
            kind: AuditKind::Requested,
            object: signal.target.clone(),
            detail: serde_json::json!({ "request": signal.hint.to_string() }),
            event: Some(event.clone()),
            about: BTreeSet::new(),
        };
        let audit = signals.iter().map(entry).collect();
        Delivery { receiver: String::new(), delivery_id: None, event, received_at: now, signals, audit }
    }

    async fn queue(&self, signals: Vec<Signal>) -> ReconcileAnswer {
        let targets = signals.iter().map(|signal| signal.target.clone()).collect();
        match self.store.append(self.request(signals)).await {
            Ok(_) => ReconcileAnswer::Queued { targets },
            Err(error) => ReconcileAnswer::Unavailable { why: error.to_string() },
        }
    }
}

impl Instance for RunningInstance {
    fn status(&self) -> StatusReport {
        let configuration = self.configuration.borrow().clone();
        let spec = self.spec.borrow().clone();
        let mut resources = self.statuses();
        for status in &mut resources {
            if status.object.kind == Kind::Receiver {
                let receiver = spec.receivers.get(&status.object.key);
                status.details.webhook_path = receiver.and_then(|receiver| webhook_path(&spec, receiver));
            }
        }
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: configuration.generation,
            shares: Shares { held: self.promoters.borrow().len(), of: self.shares },
            problems: configuration.problems.iter().map(ToString::to_string).collect(),
            resources,
        }
    }

    async fn checks(&self) -> Vec<Check> {
        let writable = self.store.ping().await;
        // Who has no share has nothing to try, and takes webhooks as well as another.
        let promoters = self.promoters.borrow().clone();
        let (tried, resources) = match promoters.values().all(Promoter::all_tried) {
            true if promoters.is_empty() => (true, "other processes try them"),
            true => (true, "each was tried"),
            false => (false, "some were not tried yet"),
        };
        let check = |name: &str, ok: bool, detail: String| Check { name: name.to_owned(), ok, detail };
        vec![
            check("configuration", true, format!("generation {}", self.configuration.borrow().generation)),
            check(
                "store",
                writable.is_ok(),
                writable.err().map_or_else(|| "writable".to_owned(), |e| e.to_string()),
            ),
            check("resources", tried, resources.to_owned()),
        ]
    }

    async fn metrics(&self) -> String {
        if let Ok(depth) = self.store.depth().await {
            let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            self.gauges.waiting.set(count(depth.waiting));
            self.gauges.running.set(count(depth.claimed));
            self.gauges.oldest_seconds.set(depth.oldest.map_or(0, |at| age(at, self.clock.now())));
        }
        if let Ok(outbox) = self.store.outbox_depth().await {
            self.gauges.outbox.set(i64::try_from(outbox.waiting + outbox.sending).unwrap_or(i64::MAX));
        }
        let unguarded = self.spec.borrow().unguarded().count();
        self.gauges.unguarded.set(i64::try_from(unguarded).unwrap_or(i64::MAX));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a String cannot fail");
        text
    }

    async fn reconcile(&self, object: ObjectRef) -> ReconcileAnswer {
        let spec = self.spec.borrow().clone();
        let signals = signals_for(&spec, &object, RescanReason::Requested);
        if signals.is_empty() {
            let why = format!(
                "{object} is not in the configuration, or nothing is run for it; see `windlass status`"
            );
            return ReconcileAnswer::Unknown { why };
        }
        let status = self.statuses().into_iter().find(|status| status.object == object);
        if let Some(status) = status.filter(|status| status.ready == Readiness::Suspended) {
            let why = format!("{object} is not looked at ({}): resume it first", status.message);
            return ReconcileAnswer::Unknown { why };
        }
        self.queue(signals).await
    }

    async fn backlog(&self) -> Result<Backlog, String> {
        self.store.backlog(self.clock.now(), MAX_LISTED).await.map_err(|error| error.to_string())
    }

    async fn intervene(&self, intervention: Intervention) -> QueueAnswer {
        hands::intervene(&self.store, intervention).await
    }

    async fn resume(&self, resume: Resume) -> ReconcileAnswer {
        let spec = self.spec.borrow().clone();
        let Resume { automation, policy } = resume;
        if !spec.automations.contains_key(&automation) {
            let why = format!(
                "ImageUpdateAutomation {automation} is not in the configuration; see `windlass status`"
            );
            return ReconcileAnswer::Unknown { why };
        }
        let policy = policy.map(|name| ObjectKey::new(automation.namespace.clone(), name));
        if let Some(policy) = policy.as_ref().filter(|policy| !spec.image_policies.contains_key(policy)) {
            return ReconcileAnswer::Unknown {
                why: format!("ImagePolicy {policy} is not in the configuration"),
            };
        }
        let target = ObjectRef::new(Kind::ImageUpdateAutomation, automation);
        self.queue(vec![Signal { target, hint: Hint::Resume { policy } }]).await
    }
}

/// The Receiver's path, where its token is known.
pub(crate) fn webhook_path(spec: &Spec, receiver: &Receiver) -> Option<String> {
    let secret = spec.secret(&receiver.meta.key.namespace, &receiver.secret)?;
    secret.get("token").map(|token| receiver.webhook_path(token))
}

fn age(since: Timestamp, now: Timestamp) -> i64 {
    now.duration_since(since).as_secs().max(0)
}
