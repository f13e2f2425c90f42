use std::collections::BTreeMap;

use tempfile::TempDir;
use tokio::task::JoinSet;
use windlass_store::{Keys, Work};

use super::*;
use crate::fixture::{Still, automation, automation_ref, key, repository, repository_ref, secret, spec};

/// A schedule that runs against a real store.
struct World {
    store: Store,
    spec: watch::Sender<Arc<Spec>>,
    stop: CancellationToken,
    running: JoinSet<Result<(), StoreError>>,
    _dir: TempDir,
}

impl World {
    async fn start(spec: Spec) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path(), Arc::new(Still)).await.unwrap();
        let (spec, receiver) = watch::channel(Arc::new(spec));
        let stop = CancellationToken::new();
        let schedule = Schedule::new(store.clone(), receiver, Arc::new(Still), 7);
        let mut running = JoinSet::new();
        running.spawn(schedule.run(stop.clone()));
        Self { store, spec, stop, running, _dir: dir }
    }

    /// Waits until so many keys are due, and takes them.
    async fn take(&self, count: usize) -> BTreeMap<ObjectRef, Vec<String>> {
        let mut changed = self.store.changed(&Keys::ALL);
        let mut taken = BTreeMap::new();
        while taken.len() < count {
            changed.mark_unchanged();
            for Work { target, generation, hints, .. } in
                self.store.claim(&Keys::ALL, 10_000, Still.now()).await.unwrap()
            {
                self.store.complete(&target, generation, windlass_store::Record::default()).await.unwrap();
                taken.insert(
                    target,
                    hints.iter().map(|got| format!("{} by {}", got.hint, got.event)).collect(),
                );
            }
            if taken.len() < count {
                changed.changed().await.unwrap();
            }
        }
        taken
    }

    async fn end(mut self) -> Result<(), StoreError> {
        self.stop.cancel();
        self.running.join_next().await.unwrap().unwrap()
    }
}

fn fleet() -> Spec {
    let mut spec = spec(vec![repository("app", "ghcr.io/org/app"), repository("b", "ghcr.io/org/b")], vec![]);
    spec.automations.insert(key("fleet"), Arc::new(automation("fleet", "fleet")));
    spec
}

const FIRST_LOOK: &str = "rescan (Configuration) by config-20260102T030405Z";

#[tokio::test]
async fn a_start_looks_at_everything_and_a_reload_at_what_changed() {
    let world = World::start(fleet()).await;
    let first = world.take(3).await;
    assert_eq!(
        first.keys().cloned().collect::<Vec<_>>(),
        [repository_ref("app"), repository_ref("b"), automation_ref("fleet")]
    );
    assert!(first.values().all(|hints| *hints == [FIRST_LOOK]), "{first:?}");

    let mut next = fleet();
    let new = repository("new", "ghcr.io/org/new");
    next.image_repositories.insert(key("new"), Arc::new(new));
    next.secrets.insert(key("unrelated"), Arc::new(secret("unrelated", &[])));
    world.spec.send_replace(Arc::new(next));
    let second = world.take(1).await;
    assert_eq!(second, BTreeMap::from([(repository_ref("new"), vec![FIRST_LOOK.to_owned()])]));
    world.end().await.unwrap();
}

#[tokio::test]
async fn polls_come_at_the_interval() {
    let mut spec = fleet();
    let app = Arc::make_mut(spec.image_repositories.get_mut(&key("app")).unwrap());
    app.interval = Duration::from_secs(1);
    let world = World::start(spec).await;
    world.take(3).await;
    let started = Instant::now();
    let polled = world.take(1).await;
    let by = "rescan (Interval) by poll-20260102T030405Z".to_owned();
    assert_eq!(polled, BTreeMap::from([(repository_ref("app"), vec![by])]));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    world.end().await.unwrap();
}

#[tokio::test]
async fn ten_thousand_repositories_are_all_queued() {
    let many =
        (0..10_000).map(|n| repository(&format!("app-{n}"), &format!("ghcr.io/org/app-{n}"))).collect();
    let world = World::start(spec(many, vec![])).await;
    while world.store.depth().await.unwrap().waiting < 10_000 {
        world.store.changed(&Keys::ALL).changed().await.unwrap();
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_gone_ends_the_schedule_with_its_error() {
    let mut world = World::start(Spec::default()).await;
    world.store.clone().close().await.unwrap();
    world.spec.send_replace(Arc::new(fleet()));
    let error = world.running.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.disposition(), Disposition::Fatal);
}

#[tokio::test]
async fn the_schedule_ends_with_the_configuration() {
    let World { spec, mut running, .. } = World::start(Spec::default()).await;
    drop(spec);
    running.join_next().await.unwrap().unwrap().unwrap();
}
