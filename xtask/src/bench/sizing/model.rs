//! The model: what a number of images, events and repositories needs of each part, from what one of each costs.
//!
//! It is linear, and each line says where its terms come from. What it leaves out is named in `docs/sizing.md`.

use super::constants::Constants;

const DAY: f64 = 24.0 * 3600.0;
/// More promoters than anybody plans with.
const MOST_PARTS: u32 = 64;
/// Requests that may be under way to one registry.
const REGISTRY_REQUESTS: f64 = 16.0;
/// A snapshot replaces the log after so many messages, where the state is small; a larger one when the log has come to a
/// part of its size, and after ten times the messages at the latest.
const SNAPSHOT_EVERY: f64 = 20_000.0;
const SMALL: f64 = 67_108_864.0;
const LOG_PART: f64 = 0.25;
const LATEST: f64 = 10.0;

/// What is to be served. One event names one tag of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) images: f64,
    /// Of each image.
    pub(crate) tags: f64,
    pub(crate) events_per_day: f64,
    /// How many times the mean the busiest minutes are.
    pub(crate) peak: f64,
    /// Which share of events changes a file in Git.
    pub(crate) promoted: f64,
    /// Each with one branch that is written.
    pub(crate) repositories: f64,
    /// Of each repository.
    pub(crate) files: f64,
    /// Seconds between two polls of an image.
    pub(crate) interval: f64,
    /// Registry hosts, with this answering time in seconds.
    pub(crate) registries: f64,
    pub(crate) registry: f64,
    /// Seconds of a push, with the look that confirms it.
    pub(crate) push: f64,
    /// Days that delivery ids are kept (`--keep-deliveries`),
    pub(crate) delivery_days: f64,
    /// and the audit, commits and sent notices (`--keep-history`).
    pub(crate) history_days: f64,
    /// Parts of the configuration, each with a promoter of its own; more than one share a queue over NATS.
    pub(crate) parts: f64,
}

/// What each process has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Machine {
    pub(crate) cores: f64,
    /// In bytes.
    pub(crate) memory: f64,
    pub(crate) disk: f64,
}

/// How much of one part is used at the peak.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Use {
    pub(crate) part: &'static str,
    pub(crate) used: f64,
    pub(crate) has: f64,
    pub(crate) unit: &'static str,
}

impl Use {
    pub(crate) fn share(&self) -> f64 {
        self.used / self.has
    }
}

impl Scenario {
    /// One process with nothing to do, and a registry that answers at once.
    pub(crate) fn nothing() -> Self {
        Self {
            images: 0.0,
            tags: 0.0,
            events_per_day: 0.0,
            peak: 1.0,
            promoted: 0.0,
            repositories: 0.0,
            files: 0.0,
            interval: DAY,
            registries: 1.0,
            registry: 0.0,
            push: 1.0,
            delivery_days: 0.0,
            history_days: 0.0,
            parts: 1.0,
        }
    }

    /// Events a second in the busiest minutes.
    pub(crate) fn rate(&self) -> f64 {
        self.events_per_day / DAY * self.peak
    }

    fn is_shared(&self) -> bool {
        self.parts > 1.0
    }

    /// Edits that share a push at the peak: those that come during one go together into the next.
    pub(crate) fn edits_per_push(&self) -> f64 {
        (self.rate() * self.promoted / self.repositories * self.push).max(1.0)
    }

    /// Pushes a second at the peak, to all repositories.
    pub(crate) fn pushes(&self) -> f64 {
        self.rate() * self.promoted / self.edits_per_push()
    }

    /// Memory of the process that promotes a part. Every process holds the whole configuration; tags and mirrors are
    /// its part's.
    pub(crate) fn memory(&self, costs: &Constants) -> f64 {
        let tags = self.images * self.tags * costs.image_tag / self.parts;
        let mirrors = self.repositories / self.parts * (costs.mirror + self.files * costs.mirror_file);
        costs.idle + self.images * costs.image + tags + mirrors
    }

    /// The state on disk, of which every process has a copy.
    pub(crate) fn state(&self, costs: &Constants) -> f64 {
        let images = self.images * (costs.state_image + self.tags * costs.state_image_tag);
        let deliveries = self.events_per_day * self.delivery_days * costs.state_delivery;
        let events = self.events_per_day * self.history_days * costs.state_event;
        let commits_a_day = (self.events_per_day * self.promoted).min(self.repositories * DAY / self.push);
        images + deliveries + events + commits_a_day * self.history_days * costs.state_commit
    }

    /// With room for a snapshot beside it, where the state is shared.
    fn disk(&self, costs: &Constants) -> f64 {
        let copies = if self.is_shared() { 2.0 } else { 1.0 };
        let mirrors =
            self.repositories / self.parts * (costs.mirror_disk + self.files * costs.mirror_disk_file);
        self.state(costs) * copies + mirrors
    }

    /// Cores that the process needs which promotes a part, at the peak. It is taken to receive its share of webhooks
    /// too, and runs the shared log along for all others.
    fn cores(&self, costs: &Constants) -> f64 {
        let polls = self.images / self.interval * costs.first_start_image;
        let commits = self.pushes() * (costs.commit_cpu - costs.event_cpu).max(0.0);
        let own = (self.rate() * costs.event_cpu + commits + polls) / self.parts;
        let others = if self.is_shared() { self.rate() * costs.follow_cpu } else { 0.0 };
        own + others
    }

    /// Which share of the time one process spends on copies of the state for snapshots. The log grows with the mean,
    /// not with the peak: messages take more commands then.
    fn snapshots(&self, costs: &Constants) -> f64 {
        let (events, state) = (self.events_per_day / DAY, self.state(costs));
        let (every, latest) =
            (SNAPSHOT_EVERY / costs.log_messages, LATEST * SNAPSHOT_EVERY / costs.log_messages);
        let until =
            if state <= SMALL { every } else { (state * LOG_PART / costs.log_bytes).clamp(every, latest) };
        events / until * state / costs.copy_rate
    }

    /// Seconds of the first start with an empty folder, until every image was read: by the registry's answers, or by
    /// the processor.
    pub(crate) fn first_start(&self, costs: &Constants) -> f64 {
        // Three quarters of the requests may be for lists.
        let asked = self.images * self.registry / (REGISTRY_REQUESTS * 0.75) / self.registries;
        asked.max(self.images * costs.first_start_image) / self.parts
    }

    /// Every part's use, at the peak.
    pub(crate) fn uses(&self, machine: &Machine, costs: &Constants) -> Vec<Use> {
        let use_of = |part, used, has, unit| Use { part, used, has, unit };
        let requests = (self.rate() + self.images / self.interval) / self.registries / self.parts;
        let (appends, works) = if self.is_shared() {
            (costs.shared_appends, costs.shared_works)
        } else {
            (costs.embedded_appends, costs.embedded_works)
        };
        let mut uses = vec![
            use_of("memory of a promoter", self.memory(costs) / 1e9, machine.memory / 1e9, "GB"),
            use_of("disk of a process", self.disk(costs) / 1e9, machine.disk / 1e9, "GB"),
            use_of("cores of a promoter", self.cores(costs), machine.cores, ""),
            use_of("queue: events appended", self.rate(), appends, "/s"),
            use_of("queue: works claimed and completed", self.rate(), works, "/s"),
            use_of("requests to one registry", requests, REGISTRY_REQUESTS / self.registry, "/s"),
        ];
        if self.is_shared() {
            uses.push(use_of("time spent on snapshots", self.snapshots(costs) * 100.0, 100.0, "%"));
        }
        uses
    }

    /// The part that is used most.
    pub(crate) fn limit(&self, machine: &Machine, costs: &Constants) -> Use {
        let uses = self.uses(machine, costs);
        uses.into_iter().max_by(|a, b| a.share().total_cmp(&b.share())).expect("there are some parts")
    }

    /// The same with the fewest parts of the configuration that leave nothing used beyond this share; where no number
    /// does, with the one that comes nearest.
    pub(crate) fn divided(self, machine: &Machine, costs: &Constants, share: f64) -> Self {
        let with = |parts: u32| Self { parts: f64::from(parts), ..self };
        let most = |scenario: &Self| scenario.limit(machine, costs).share();
        let nearest = || (1..=MOST_PARTS).map(with).min_by(|a, b| most(a).total_cmp(&most(b)));
        (1..=MOST_PARTS).map(with).find(|divided| most(divided) <= share).or_else(nearest).unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round numbers, so that sums can be done by head.
    const COSTS: Constants = Constants {
        idle: 20e6,
        image: 10e3,
        image_tag: 100.0,
        mirror: 1e6,
        mirror_file: 500.0,
        state_image: 1e3,
        state_image_tag: 50.0,
        state_delivery: 100.0,
        state_event: 200.0,
        state_commit: 1e3,
        mirror_disk: 1e6,
        mirror_disk_file: 1e3,
        event_cpu: 0.001,
        commit_cpu: 0.011,
        follow_cpu: 0.0001,
        embedded_appends: 10_000.0,
        shared_appends: 5_000.0,
        embedded_works: 20_000.0,
        shared_works: 10_000.0,
        log_bytes: 1_000.0,
        log_messages: 3.0,
        copy_rate: 100e6,
        first_start_image: 0.001,
        start_image: 0.0005,
    };
    const MACHINE: Machine = Machine { cores: 4.0, memory: 8e9, disk: 100e9 };

    fn scenario() -> Scenario {
        Scenario {
            images: 1_000.0,
            tags: 100.0,
            events_per_day: 864_000.0,
            peak: 10.0,
            promoted: 0.1,
            repositories: 10.0,
            files: 1_000.0,
            interval: 1_000.0,
            registries: 1.0,
            registry: 0.05,
            push: 1.0,
            delivery_days: 7.0,
            history_days: 30.0,
            parts: 1.0,
        }
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < expected.abs() * 1e-9 + 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn one_process_needs_the_sum_of_what_each_thing_costs() {
        let scenario = scenario();
        assert_near(scenario.rate(), 100.0);
        assert_near(scenario.memory(&COSTS), 20e6 + 10e6 + 10e6 + 15e6);
        let state = 1e6 + 5e6 + 864_000.0 * (7.0 * 100.0 + 30.0 * 200.0) + 86_400.0 * 30.0 * 1e3;
        assert_near(scenario.state(&COSTS), state);
        assert_near(scenario.disk(&COSTS), state + 10.0 * 2e6);
        // Ten edits a second on ten branches, each of which takes one push a second.
        assert_near(scenario.edits_per_push(), 1.0);
        assert_near(scenario.cores(&COSTS), 0.1 + 0.1 + 0.001);
    }

    #[test]
    fn edits_beyond_a_branchs_pushes_share_them() {
        let busy = Scenario { promoted: 1.0, ..scenario() };
        assert_near(busy.edits_per_push(), 10.0);
        assert_near(busy.pushes(), 10.0);
    }

    #[test]
    fn the_limit_is_what_is_used_most_and_parts_divide_it() {
        let scenario = scenario();
        let limit = scenario.limit(&MACHINE, &COSTS);
        assert_eq!(limit.part, "requests to one registry");
        assert_near(limit.share(), 101.0 / 320.0);
        let divided = scenario.divided(&MACHINE, &COSTS, 0.2);
        assert_near(divided.parts, 2.0);
        assert!(divided.uses(&MACHINE, &COSTS).iter().any(|of| of.part == "time spent on snapshots"));
    }

    #[test]
    fn a_limit_that_parts_do_not_move_is_named() {
        let flood = Scenario { events_per_day: 864e6, registries: 1e3, ..scenario() };
        let machine = Machine { cores: 1e3, disk: 1e15, ..MACHINE };
        let divided = flood.divided(&machine, &COSTS, 0.7);
        assert_near(divided.parts, 1.0);
        assert_eq!(divided.limit(&machine, &COSTS).part, "queue: events appended");
    }
}
