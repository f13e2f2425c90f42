//! The task that keeps trust roots fresh.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_model::guard::{
    Authority, Formats, Guard, GuardRules, Scope, Trust, TrustRootSource, TufRepository as Configured,
};
use windlass_model::resource::{Meta, Origin};
use windlass_model::{Clock, ObjectKey, Spec};
use windlass_testkit::http_server::Canned;
use windlass_testkit::traffic::Match;
use windlass_tuf::{Metrics, Parts, Refresher, Roots};
use windlass_verify::{FetchedRoot, FetchedRoots as _, NotFetched};

use super::{NOW, Setting, overwrite, time};

/// Long beside everything that is awaited.
const PATIENCE: Duration = Duration::from_mins(1);

/// A clock that goes on from where the test sets it.
#[derive(Clone)]
struct TestClock(Arc<Mutex<(Timestamp, Instant)>>);

impl TestClock {
    fn at(text: &str) -> Self {
        Self(Arc::new(Mutex::new((time(text), Instant::now()))))
    }

    fn set(&self, to: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (time(to), Instant::now());
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let (at, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at + since.elapsed()
    }
}

/// A configuration with one Guard whose trust root is this.
fn spec(repository: &Configured) -> Arc<Spec> {
    let authority = Authority {
        trust: Trust::Keyless(Vec::new()),
        source: None,
        formats: Formats::default(),
        tlog: true,
        sct: true,
        timestamps: false,
        annotations: BTreeMap::new(),
        trust_root: Some(TrustRootSource::Tuf(repository.clone())),
    };
    let key = ObjectKey::new("guard", "guard");
    let meta = Meta {
        key: key.clone(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        origin: Origin { file: "guard.yaml".into(), line: 1 },
        unsupported: Vec::new(),
    };
    let rules = GuardRules { authorities: [("ci".to_owned(), authority)].into(), ..GuardRules::default() };
    let mut spec = Spec::default();
    spec.guards.insert(key, Arc::new(Guard { meta, scope: Scope::default(), rules: Ok(rules) }));
    Arc::new(spec)
}

/// A running task.
struct Running {
    clock: TestClock,
    repository: Configured,
    configuration: watch::Sender<Arc<Spec>>,
    roots: watch::Receiver<Arc<Roots>>,
    registry: Registry,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Running {
    async fn start(setting: &Setting) -> Self {
        Self::start_with(setting, setting.configured()).await
    }

    /// Looks every second.
    async fn start_with(setting: &Setting, repository: Configured) -> Self {
        let clock = TestClock::at(NOW);
        let repository = Configured { refresh_interval: Duration::from_secs(1), ..repository };
        let (configuration, offered) = watch::channel(spec(&repository));
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let parts = Parts { clock: Arc::new(clock.clone()), cache: setting.keep(), metrics, seed: 1 };
        let configured = offered.borrow().clone();
        let (refresher, roots) = Refresher::open(parts, &configured).await;
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        tasks.spawn(refresher.run(offered, stop.clone()));
        Self { clock, repository, configuration, roots, registry, tasks, stop }
    }

    fn latest(&self) -> Result<FetchedRoot, NotFetched> {
        self.roots.borrow().latest(&self.repository, &Spec::default())
    }

    /// Waits until what is published is this.
    async fn wait(&mut self, wanted: impl Fn(&Result<FetchedRoot, NotFetched>) -> bool) -> Result<()> {
        let repository = self.repository.clone();
        let published = self.roots.wait_for(|roots| wanted(&roots.latest(&repository, &Spec::default())));
        let published = tokio::time::timeout(PATIENCE, published).await.map(|found| found.map(drop));
        published.with_context(|| format!("{:?}", self.latest()))?.context("the task ended")
    }

    fn metrics(&self) -> Result<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    async fn end(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn news_outages_and_the_end_of_a_root_are_told_without_a_restart() -> Result<()> {
    let mut setting = Setting::new()?;
    setting.repository.expiry.timestamp = "2030-02-01T00:00:00Z".to_owned();
    setting.repository.publish(&setting.roots[0]);
    let mut running = Running::start(&setting).await;
    ensure!(running.latest() == Err(NotFetched::Pending), "{:?}", running.latest());
    running.wait(Result::is_ok).await?;
    let first = running.latest()?;
    setting.is(&first, 0)?;

    setting.repository.publish(&setting.roots[1]);
    running.wait(|latest| latest.as_ref().is_ok_and(|latest| latest.root != first.root)).await?;
    setting.is(&running.latest()?, 1)?;
    let expiry = format!(
        "windlass_trust_root_expiry_timestamp_seconds{{mirror=\"{}\"}} 1896134400",
        running.repository.mirror
    );
    ensure!(running.metrics()?.contains(&expiry), "{}", running.metrics()?);

    let outage = setting.repository.traffic().answer(Match::any(), Canned::status(503));
    running.wait(|latest| latest.as_ref().is_ok_and(|latest| latest.failure.is_some())).await?;
    running.clock.set("2030-02-01T00:00:00Z");
    running.wait(|latest| matches!(latest, Err(NotFetched::Failed(_)))).await?;
    ensure!(running.metrics()?.contains("outcome=\"failed\""), "{}", running.metrics()?);
    outage.lift();
    setting.repository.expiry.timestamp = "2030-03-01T00:00:00Z".to_owned();
    setting.repository.publish(&setting.roots[2]);
    running.wait(Result::is_ok).await?;
    setting.is(&running.latest()?, 2)?;
    running.end().await
}

#[tokio::test]
async fn a_restart_has_the_root_of_before_at_once_and_no_rollback_passes() -> Result<()> {
    let mut setting = Setting::new()?;
    let old = setting.repository.files();
    setting.repository.publish(&setting.roots[1]);
    let current = setting.repository.versions();
    let mut running = Running::start(&setting).await;
    running.wait(Result::is_ok).await?;
    running.end().await?;

    setting.repository.set_files(old);
    let mut running = Running::start(&setting).await;
    setting.is(&running.latest()?, 1)?;
    // Whoever empties the folder makes no running process forget.
    std::fs::remove_dir_all(setting.files()?)?;
    running.wait(|latest| latest.as_ref().is_ok_and(|latest| latest.failure.is_some())).await?;
    let kept = running.latest()?;
    ensure!(kept.failure.is_some_and(|why| why.contains("rollback detected")));
    setting.repository.publish_as(&setting.roots[1], current);
    running.wait(|latest| latest.as_ref().is_ok_and(|latest| latest.failure.is_none())).await?;
    running.end().await?;
    let _outage = setting.repository.traffic().answer(Match::any(), Canned::status(503));
    setting.keeps(1, "503").await
}

#[tokio::test]
async fn a_configuration_that_changes_is_followed() -> Result<()> {
    let setting = Setting::new()?;
    let mut running = Running::start(&setting).await;
    running.wait(Result::is_ok).await?;
    running.configuration.send_replace(Arc::default());
    running.wait(|latest| *latest == Err(NotFetched::Pending)).await?;
    ensure!(!running.metrics()?.contains("expiry_timestamp_seconds{"), "{}", running.metrics()?);
    running.configuration.send_replace(spec(&running.repository));
    running.wait(Result::is_ok).await?;
    running.end().await
}

#[tokio::test]
async fn an_instance_that_asks_nobody_takes_the_folder_that_is_carried_over() -> Result<()> {
    let mut setting = Setting::new()?;
    let offline = Configured { offline: true, ..setting.configured() };
    let mut running = Running::start_with(&setting, offline).await;
    running.wait(|latest| matches!(latest, Err(NotFetched::Failed(_)))).await?;
    ensure!(setting.repository.traffic().mark() == 0, "nobody was asked");
    setting.begin().await?;
    running.wait(Result::is_ok).await?;
    setting.is(&running.latest()?, 0)?;
    let (first, old) = (running.latest()?, setting.repository.files()["timestamp.json"].clone());
    setting.repository.publish(&setting.roots[1]);
    setting.is(&setting.fetch(NOW).await?, 1)?;
    running.wait(|latest| latest.as_ref().is_ok_and(|latest| latest.root != first.root)).await?;

    // Whoever puts an older folder in its place is refused.
    let mark = setting.repository.traffic().mark();
    let folder = setting.files()?;
    overwrite(&folder, "timestamp.json", &old)?;
    running.wait(|latest| latest.as_ref().is_ok_and(|latest| latest.failure.is_some())).await?;
    ensure!(running.latest()?.failure.is_some_and(|why| why.contains("rollback detected")));
    ensure!(setting.repository.traffic().mark() == mark, "nobody was asked");
    running.end().await
}
