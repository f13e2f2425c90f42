//! The request budget of one registry: how many requests may be under way, and the pause that it asked for.
//!
//! The limit adapts as TCP does: halved when the registry throttles, raised by one after a run of answers. Waiting
//! and counting is all that happens here; nothing is sent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Answers without throttling after which one more request may be under way. From 8 back to 16 takes 256 answers,
/// which is some seconds at full use.
const RAISE_AFTER: usize = 32;
/// The shortest pause. GHCR asks for microseconds, which would be no pause at all.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a registry can impose.
const MAX_PAUSE: Duration = Duration::from_mins(15);
/// The longest pause where the registry names none; it doubles up to here from [`MIN_PAUSE`].
const MAX_GUESSED_PAUSE: Duration = Duration::from_secs(64);
/// A pause up to this long is waited for inside an operation. A longer one fails it, so that the work is planned
/// again instead of holding a worker.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The budget that everything shares which reaches one registry in one way.
#[derive(Debug)]
pub(crate) struct Budget {
    permits: Semaphore,
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many requests may be under way.
    limit: usize,
    /// Permits still in use that vanish when they come back, because the limit fell below what was in use.
    debt: usize,
    /// Answers since the last change of the limit.
    answers: usize,
    /// Consecutive throttlings, each counted once however many requests were under way.
    throttlings: u32,
    throttled_at: Option<Instant>,
    paused_until: Option<Instant>,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        let max = max.max(1);
        let state =
            State { limit: max, debt: 0, answers: 0, throttlings: 0, throttled_at: None, paused_until: None };
        Self { permits: Semaphore::new(max), max, state: Mutex::new(state) }
    }

    /// Waits for a place and for the end of a short pause. A longer pause is an error: its remaining time.
    pub(crate) async fn enter(&self) -> Result<Permit<'_>, Duration> {
        loop {
            self.wait_out_pause().await?;
            let place = self.permits.acquire().await.expect("the semaphore is never closed");
            let permit = Permit { budget: self, place: Some(place), entered: Instant::now() };
            // The registry may have asked for a pause while this request stood in line.
            if self.pause_left().is_zero() {
                return Ok(permit);
            }
        }
    }

    /// How long the present pause still lasts; zero when there is none.
    pub(crate) fn pause_left(&self) -> Duration {
        self.lock()
            .paused_until
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether the present pause is short enough to be waited for inside an operation.
    pub(crate) fn is_worth_waiting(&self) -> bool {
        self.pause_left() <= MAX_WAIT
    }

    /// The registry answered 429: halve the limit and pause. Requests that were already under way when it first said
    /// so tell nothing new, and change the limit no further.
    pub(crate) fn throttled(&self, permit: &Permit<'_>, wanted: Option<Duration>) -> Duration {
        let mut state = self.lock();
        if state.throttled_at.is_none_or(|at| permit.entered > at) {
            state.throttled_at = Some(Instant::now());
            state.throttlings = state.throttlings.saturating_add(1);
            state.answers = 0;
            let limit = (state.limit / 2).max(1);
            let surplus = state.limit - limit;
            state.debt += surplus - self.permits.forget_permits(surplus);
            state.limit = limit;
        }
        let guessed =
            MIN_PAUSE.saturating_mul(1 << state.throttlings.saturating_sub(1).min(16)).min(MAX_GUESSED_PAUSE);
        state.pause(wanted.unwrap_or(guessed))
    }

    /// The registry asked for a pause without throttling (503 with `Retry-After`): the limit stays.
    pub(crate) fn unavailable(&self, wanted: Duration) -> Duration {
        self.lock().pause(wanted)
    }

    /// The registry answered.
    pub(crate) fn answered(&self) {
        let mut state = self.lock();
        state.throttlings = 0;
        if state.limit == self.max {
            return;
        }
        state.answers += 1;
        if state.answers >= RAISE_AFTER {
            state.answers = 0;
            state.limit += 1;
            if state.debt > 0 {
                state.debt -= 1;
            } else {
                self.permits.add_permits(1);
            }
        }
    }

    async fn wait_out_pause(&self) -> Result<(), Duration> {
        loop {
            let left = self.pause_left();
            if left.is_zero() {
                return Ok(());
            }
            if left > MAX_WAIT {
                return Err(left);
            }
            tokio::time::sleep(left).await;
        }
    }

    /// A panic while the lock is held leaves only counters behind, all of them valid.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause(&mut self, wanted: Duration) -> Duration {
        let pause = wanted.clamp(MIN_PAUSE, MAX_PAUSE);
        let until = Instant::now() + pause;
        self.paused_until = Some(self.paused_until.map_or(until, |present| present.max(until)));
        pause
    }
}

/// A place among the requests under way, given back when dropped.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub(crate) struct Permit<'a> {
    budget: &'a Budget,
    place: Option<SemaphorePermit<'a>>,
    entered: Instant,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        if state.debt > 0 {
            state.debt -= 1;
            if let Some(place) = self.place.take() {
                place.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(budget: &Budget) -> usize {
        budget.lock().limit
    }

    async fn enter_all(budget: &Budget, count: usize) -> Vec<Permit<'_>> {
        let mut permits = Vec::new();
        for _ in 0..count {
            permits.push(budget.enter().await.unwrap());
        }
        permits
    }

    fn enters_at_once(budget: &Budget) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(budget.enter()).poll(&mut context).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn one_burst_of_throttling_halves_the_limit_once() {
        let budget = Budget::new(16);
        let permits = enter_all(&budget, 16).await;
        for permit in &permits {
            budget.throttled(permit, None);
        }
        assert_eq!(limit(&budget), 8);
        drop(permits);
        tokio::time::advance(MIN_PAUSE).await;
        let _eight = enter_all(&budget, 8).await;
        assert!(!enters_at_once(&budget), "a ninth request must wait");
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_never_falls_below_one_and_rises_slowly_to_the_maximum() {
        let budget = Budget::new(4);
        for _ in 0..5 {
            let permit = budget.enter().await.unwrap();
            budget.throttled(&permit, Some(Duration::ZERO));
            drop(permit);
            tokio::time::advance(MAX_WAIT).await;
        }
        assert_eq!(limit(&budget), 1);
        for wanted in 2..=4 {
            for _ in 0..RAISE_AFTER {
                budget.answered();
            }
            assert_eq!(limit(&budget), wanted);
        }
        for _ in 0..RAISE_AFTER * 3 {
            budget.answered();
        }
        assert_eq!(limit(&budget), 4);
        let _four = enter_all(&budget, 4).await;
        assert!(!enters_at_once(&budget));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_are_kept_between_one_second_and_fifteen_minutes() {
        for (wanted, pause) in [
            (Duration::from_nanos(880_092), MIN_PAUSE),
            (Duration::from_secs(30), Duration::from_secs(30)),
            (Duration::from_hours(24), MAX_PAUSE),
            (Duration::MAX, MAX_PAUSE),
        ] {
            let budget = Budget::new(2);
            let permit = budget.enter().await.unwrap();
            assert_eq!(budget.throttled(&permit, Some(wanted)), pause);
            assert_eq!(budget.pause_left(), pause);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn short_pauses_are_waited_for_and_long_ones_fail_at_once() {
        let budget = Budget::new(2);
        let start = Instant::now();
        assert_eq!(budget.unavailable(Duration::from_secs(3)), Duration::from_secs(3));
        drop(budget.enter().await.unwrap());
        assert!(start.elapsed() >= Duration::from_secs(3));

        budget.unavailable(Duration::from_mins(1));
        assert_eq!(budget.enter().await.unwrap_err(), Duration::from_mins(1));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(budget.enter().await.is_ok());
        assert_eq!(limit(&budget), 2, "a pause alone leaves the limit");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_pause_does_not_end_a_longer_one() {
        let budget = Budget::new(2);
        budget.unavailable(Duration::from_mins(1));
        budget.unavailable(Duration::from_secs(2));
        assert_eq!(budget.pause_left(), Duration::from_mins(1));
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_without_a_named_pause_doubles_until_answered() {
        let budget = Budget::new(2);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            tokio::time::advance(MAX_PAUSE).await;
            let permit = budget.enter().await.unwrap();
            pauses.push(budget.throttled(&permit, None).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64]);
        budget.answered();
        tokio::time::advance(MAX_PAUSE).await;
        let permit = budget.enter().await.unwrap();
        assert_eq!(budget.throttled(&permit, None), MIN_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_line_when_the_pause_begins_waits_for_its_end() {
        let budget = Budget::new(1);
        let first = budget.enter().await.unwrap();
        let start = Instant::now();
        let second = budget.enter();
        let throttle = async {
            budget.throttled(&first, Some(Duration::from_secs(4)));
            drop(first);
        };
        let (permit, ()) = tokio::join!(second, throttle);
        assert!(permit.is_ok() && start.elapsed() >= Duration::from_secs(4));
    }
}
