use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::fixture::{automation, automation_ref, key, policy, repository, repository_ref, spec};

/// One repository each five minutes, one automation each half hour.
fn fleet() -> Spec {
    let mut spec = spec(vec![repository("app", "ghcr.io/org/app")], vec![]);
    spec.automations.insert(key("fleet"), Arc::new(automation("fleet", "fleet")));
    spec
}

fn edit(spec: &mut Spec, change: impl FnOnce(&mut windlass_model::resource::ImageRepository)) {
    change(Arc::make_mut(spec.image_repositories.get_mut(&key("app")).unwrap()));
}

/// When the next timers fire, and which.
fn next(timers: &mut Timers, start: Instant) -> (Duration, Vec<ObjectRef>) {
    let due = timers.next().unwrap();
    (due - start, timers.fire(due).into_iter().collect())
}

fn within_jitter(took: Duration, interval: Duration) -> bool {
    (interval * 9 / 10..=interval * 11 / 10).contains(&took)
}

#[test]
fn each_object_fires_at_its_own_interval_within_ten_percent() {
    let start = Instant::now();
    let mut timers = Timers::new(7);
    timers.apply(&fleet(), start);
    assert!(timers.fire(start).is_empty(), "nothing is due at once");
    let mut last = start;
    let mut gaps = Vec::new();
    for _ in 0..5 {
        let (gap, targets) = next(&mut timers, last);
        assert_eq!(targets, [repository_ref("app")]);
        assert!(within_jitter(gap, Duration::from_mins(5)), "{gap:?}");
        gaps.push(gap);
        last += gap;
    }
    gaps.dedup();
    assert!(gaps.len() > 1, "the jitter differs from poll to poll: {gaps:?}");
    let all = timers.fire(start + Duration::from_mins(33));
    assert!(all.contains(&automation_ref("fleet")), "{all:?}");
}

#[test]
fn late_timers_fire_once_and_start_anew() {
    let start = Instant::now();
    let mut timers = Timers::new(7);
    timers.apply(&fleet(), start);
    let late = start + Duration::from_hours(10);
    assert_eq!(timers.fire(late).len(), 2);
    assert!(timers.fire(late).is_empty());
    assert!(timers.next().unwrap() > late);
}

#[test]
fn a_reload_moves_only_the_timers_that_differ() {
    let start = Instant::now();
    let mut timers = Timers::new(7);
    let mut spec = fleet();
    timers.apply(&spec, start);
    let due = timers.next();
    timers.apply(&spec, start + Duration::from_mins(2));
    assert_eq!(timers.next(), due, "an unchanged timer keeps its time");

    edit(&mut spec, |repository| repository.interval = Duration::from_mins(1));
    timers.apply(&spec, start);
    let (at, _) = next(&mut timers, start);
    assert!(within_jitter(at, Duration::from_mins(1)), "{at:?}");

    edit(&mut spec, |repository| repository.suspend = true);
    timers.apply(&spec, start);
    assert_eq!(timers.fire(start + Duration::from_hours(1)).len(), 1, "the automation alone");

    timers.apply(&Spec::default(), start);
    assert_eq!(timers.next(), None);
    assert!(timers.entries.is_empty());
}

#[test]
fn a_policy_that_always_reflects_digests_polls_its_repository() {
    let start = Instant::now();
    let always = DigestReflection::Always(Duration::from_secs(10));
    let with = |policies: Vec<windlass_model::resource::ImagePolicy>| {
        let mut spec = spec(vec![repository("app", "ghcr.io/org/app")], vec![]);
        for policy in policies {
            spec.image_policies.insert(policy.meta.key.clone(), Arc::new(policy));
        }
        let mut timers = Timers::new(7);
        timers.apply(&spec, start);
        next(&mut timers, start)
    };
    let (at, targets) = with(vec![policy("p", "app", always)]);
    assert!(within_jitter(at, Duration::from_secs(10)), "{at:?}");
    assert_eq!(targets, [repository_ref("app")]);

    let mut suspended = policy("s", "app", always);
    suspended.suspend = true;
    let others = vec![
        policy("never", "app", DigestReflection::Never),
        policy("once", "app", DigestReflection::IfNotPresent),
        policy("astray", "missing", always),
        suspended,
    ];
    let (at, _) = with(others);
    assert!(within_jitter(at, Duration::from_mins(5)), "the repository's own interval alone: {at:?}");
}

#[test]
fn a_policy_and_its_repository_that_are_due_together_are_one_target() {
    let start = Instant::now();
    let mut spec = spec(vec![repository("app", "ghcr.io/org/app")], vec![]);
    let always = DigestReflection::Always(Duration::from_mins(5));
    spec.image_policies.insert(key("p"), Arc::new(policy("p", "app", always)));
    let mut timers = Timers::new(7);
    timers.apply(&spec, start);
    assert_eq!(timers.due.len(), 2);
    assert_eq!(timers.fire(start + Duration::from_mins(6)).len(), 1);
}

#[test]
fn extreme_intervals_are_bounded() {
    for (interval, expected) in [
        (Duration::ZERO, MIN_INTERVAL),
        (Duration::from_millis(1), MIN_INTERVAL),
        (Duration::MAX, MAX_INTERVAL),
    ] {
        let start = Instant::now();
        let mut spec = fleet();
        spec.automations.clear();
        edit(&mut spec, |repository| repository.interval = interval);
        let mut timers = Timers::new(7);
        timers.apply(&spec, start);
        let (at, _) = next(&mut timers, start);
        assert!(within_jitter(at, expected), "{interval:?} {at:?}");
    }
}

proptest! {
    #[test]
    fn jitter_stays_within_ten_percent(seed in any::<u64>(), millis in 1_000u64..100_000_000) {
        let interval = Duration::from_millis(millis);
        prop_assert!(within_jitter(Jitter(seed).apply(interval), interval));
    }
}
