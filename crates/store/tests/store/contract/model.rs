//! Random histories against a model of a few lines: what the queue hands out, to whom, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use windlass_store::{Keys, QueueDepth, Store, Work};

use crate::support::{World, complete, pushed, repository, signal};

#[derive(Debug, Clone)]
enum Step {
    Signal { key: usize, hint: usize },
    Claim { limit: usize },
    Complete { which: usize },
    Retry { which: usize, delay: i64 },
    Advance { seconds: i64 },
    Reopen { close: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_usize, 0..3_usize).prop_map(|(key, hint)| Step::Signal { key, hint }),
        4 => (1..4_usize).prop_map(|limit| Step::Claim { limit }),
        3 => (0..4_usize).prop_map(|which| Step::Complete { which }),
        2 => (0..4_usize, 0..40_i64).prop_map(|(which, delay)| Step::Retry { which, delay }),
        3 => (1..20_i64).prop_map(|seconds| Step::Advance { seconds }),
        1 => any::<bool>().prop_map(|close| Step::Reopen { close }),
    ]
}

/// One key of the model. Times are seconds.
#[derive(Debug, Clone, Default)]
struct Key {
    due: i64,
    attempts: u32,
    waiting: BTreeSet<usize>,
    /// When the earliest hint came that no claim has.
    waiting_since: i64,
    taken: Option<BTreeSet<usize>>,
}

#[derive(Default)]
struct Model {
    keys: BTreeMap<usize, Key>,
    held: Vec<(usize, Work)>,
}

impl Model {
    fn signal(&mut self, key: usize, hint: usize, now: i64) {
        let entry = self.keys.entry(key).or_insert(Key { due: now, waiting_since: now, ..Key::default() });
        entry.due = entry.due.min(now);
        if entry.waiting.is_empty() {
            entry.waiting_since = now;
        }
        entry.waiting.insert(hint);
    }

    /// Checks a claim's answer: exactly the longest due free keys, each with all that waits.
    fn claimed(&mut self, works: Vec<Work>, limit: usize, now: i64) {
        let mut free: Vec<i64> = self
            .keys
            .values()
            .filter(|key| key.taken.is_none() && key.due <= now)
            .map(|key| key.due)
            .collect();
        free.sort_unstable();
        free.truncate(limit);
        let mut order = Vec::new();
        for work in works {
            let number = (0..4).find(|key| repository(&format!("app-{key}")) == work.target).unwrap();
            let key = self.keys.get_mut(&number).expect("only keys with work are handed out");
            assert!(key.taken.is_none(), "one holder at a time");
            order.push(key.due);
            assert_eq!(work.attempts, key.attempts);
            let waiting = std::mem::take(&mut key.waiting);
            let hints: Vec<_> = work.hints.iter().map(|received| received.hint.clone()).collect();
            assert_eq!(hints.len(), waiting.len(), "each hint once");
            assert!(waiting.iter().all(|hint| hints.contains(&pushed(&format!("1.{hint}")))));
            key.taken = Some(waiting);
            self.held.push((number, work));
        }
        assert_eq!(order, free, "the longest due come first, and all that fit");
    }

    fn completed(&mut self, number: usize, now: i64) {
        let key = self.keys.get_mut(&number).unwrap();
        key.taken = None;
        key.attempts = 0;
        key.due = key.waiting_since.min(now);
        if key.waiting.is_empty() {
            self.keys.remove(&number);
        }
    }

    fn retried(&mut self, number: usize, not_before: i64, now: i64) {
        let key = self.keys.get_mut(&number).unwrap();
        key.due = if key.waiting.is_empty() { not_before } else { now };
        key.attempts += 1;
        key.waiting.extend(key.taken.take().unwrap());
    }

    fn reopened(&mut self) {
        self.held.clear();
        for key in self.keys.values_mut() {
            key.waiting.extend(key.taken.take().unwrap_or_default());
        }
    }

    fn take_held(&mut self, which: usize) -> Option<(usize, Work)> {
        (!self.held.is_empty()).then(|| self.held.remove(which % self.held.len()))
    }
}

async fn follow(steps: Vec<Step>) {
    let world = super::world();
    let mut store = Some(world.open().await);
    let mut model = Model::default();
    for step in steps {
        let open = store.as_ref().expect("reopened at once");
        let now = world.now();
        match step {
            Step::Signal { key, hint } => {
                open.signal(vec![signal(&format!("app-{key}"), &format!("1.{hint}"))], "event")
                    .await
                    .unwrap();
                model.signal(key, hint, now.as_second());
            }
            Step::Claim { limit } => {
                let works = open.claim(&Keys::ALL, limit, now).await.unwrap();
                model.claimed(works, limit, now.as_second());
            }
            Step::Complete { which } => {
                if let Some((number, work)) = model.take_held(which) {
                    complete(open, &work).await;
                    model.completed(number, now.as_second());
                }
            }
            Step::Retry { which, delay } => {
                if let Some((number, work)) = model.take_held(which) {
                    let not_before = world.after(delay);
                    open.retry(&work.target, work.generation, not_before, "again").await.unwrap();
                    model.retried(number, not_before.as_second(), now.as_second());
                }
            }
            Step::Advance { seconds } => world.clock.advance(seconds),
            Step::Reopen { close } => {
                if close {
                    store.take().unwrap().close().await.unwrap();
                } else {
                    drop(store.take());
                }
                store = Some(world.open().await);
                model.reopened();
            }
        }
    }
    drain(&world, &store.unwrap(), model).await;
}

/// Whatever the history was, all that was ever signalled is handed out and completed in the end.
async fn drain(world: &World, store: &Store, mut model: Model) {
    world.clock.advance(1000);
    let now = world.now();
    for _ in 0..3 {
        while let Some((number, work)) = model.take_held(0) {
            complete(store, &work).await;
            model.completed(number, now.as_second());
        }
        let works = store.claim(&Keys::ALL, 100, now).await.unwrap();
        model.claimed(works, 100, now.as_second());
    }
    assert!(model.keys.is_empty(), "left over: {:?}", model.keys);
    assert_eq!(store.depth().await.unwrap(), QueueDepth::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::HISTORIES, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_hint_is_handed_out_in_a_claim_that_is_completed_after_it(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follow(steps));
    }
}
