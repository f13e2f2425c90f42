//! Intervals with jitter. Pure: instants come in, due targets come out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use windlass_model::resource::{DigestReflection, Resource as _};
use windlass_model::{ObjectRef, Spec};

/// A shorter interval is this one: below it, polling would be a load and no gain over events.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// A longer interval is this one, which keeps instants within what the platform can represent.
const MAX_INTERVAL: Duration = Duration::from_hours(365 * 24);
/// Jitter in parts of 100,000: ±10 %.
const JITTER: u64 = 10_000;
const WHOLE: u32 = 100_000;

/// Everything that is looked at again and again.
#[derive(Debug)]
pub(super) struct Timers {
    /// By the object whose interval it is: an ImageRepository, an ImagePolicy or an ImageUpdateAutomation.
    entries: BTreeMap<ObjectRef, Timer>,
    /// The same timers in the order in which they are due.
    due: BTreeSet<(Instant, ObjectRef)>,
    jitter: Jitter,
}

#[derive(Debug)]
struct Timer {
    /// What is signalled. A policy's target is its ImageRepository.
    target: ObjectRef,
    interval: Duration,
    due: Instant,
}

impl Timers {
    pub(super) fn new(seed: u64) -> Self {
        Self { entries: BTreeMap::new(), due: BTreeSet::new(), jitter: Jitter(seed) }
    }

    /// Takes a configuration over: timers that stay as they are keep their time, others start anew, and those of
    /// removed or suspended objects stop.
    pub(super) fn apply(&mut self, spec: &Spec, now: Instant) {
        let wanted = wanted(spec);
        self.entries.retain(|owner, timer| {
            let kept = wanted
                .get(owner)
                .is_some_and(|(target, interval)| *target == timer.target && *interval == timer.interval);
            if !kept {
                self.due.remove(&(timer.due, owner.clone()));
            }
            kept
        });
        for (owner, (target, interval)) in wanted {
            if !self.entries.contains_key(&owner) {
                let due = now + self.jitter.apply(interval);
                self.due.insert((due, owner.clone()));
                self.entries.insert(owner, Timer { target, interval, due });
            }
        }
    }

    /// When the next timer is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The targets that are due, each once; their timers start anew.
    pub(super) fn fire(&mut self, now: Instant) -> BTreeSet<ObjectRef> {
        let mut targets = BTreeSet::new();
        while let Some((due, _)) = self.due.first()
            && *due <= now
        {
            let Some((_, owner)) = self.due.pop_first() else { break };
            let Some(timer) = self.entries.get_mut(&owner) else { continue };
            timer.due = now + self.jitter.apply(timer.interval);
            targets.insert(timer.target.clone());
            self.due.insert((timer.due, owner));
        }
        targets
    }
}

/// Every timer of a configuration: owner, target and interval.
fn wanted(spec: &Spec) -> BTreeMap<ObjectRef, (ObjectRef, Duration)> {
    let repositories = spec
        .image_repositories
        .values()
        .filter(|repository| !repository.suspend)
        .map(|repository| (repository.object_ref(), repository.object_ref(), repository.interval));
    let automations = spec
        .automations
        .values()
        .filter(|automation| !automation.suspend)
        .map(|automation| (automation.object_ref(), automation.object_ref(), automation.interval));
    let policies = spec.image_policies.values().filter(|policy| !policy.suspend).filter_map(|policy| {
        let DigestReflection::Always(interval) = policy.digest else { return None };
        let repository =
            spec.image_repositories.get(&policy.repository).filter(|repository| !repository.suspend)?;
        Some((policy.object_ref(), repository.object_ref(), interval))
    });
    repositories
        .chain(automations)
        .chain(policies)
        .map(|(owner, target, interval)| (owner, (target, interval.clamp(MIN_INTERVAL, MAX_INTERVAL))))
        .collect()
}

/// A small generator (SplitMix64): polls need to be out of step, not unpredictable.
#[derive(Debug)]
struct Jitter(u64);

impl Jitter {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// The interval, ±10 %.
    fn apply(&mut self, interval: Duration) -> Duration {
        let parts = u64::from(WHOLE) - JITTER + self.next() % (2 * JITTER + 1);
        interval * u32::try_from(parts).unwrap_or(WHOLE) / WHOLE
    }
}

#[cfg(test)]
mod tests;
