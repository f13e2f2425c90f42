//! The schedule: polls that make up for lost events, and a first look at what is new or changed.
//!
//! Owns when an object is looked at without anybody asking. It only emits rescans; the queue makes them durable and
//! coalesces them, and the registry's request budget spreads the work, so ten thousand at once are ten thousand rows
//! and no stampede.

mod changes;
mod timers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use windlass_model::signal::RescanReason;
use windlass_model::{Clock, Hint, ObjectRef, Signal, Spec};
use windlass_store::{Disposition, Store, StoreError};

use changes::changed;
use timers::Timers;

/// Signals of one write. Small enough that a webhook waits little behind it.
const BATCH: usize = 500;
/// After a write that failed, doubled up to the maximum.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A store that works again is used within half a minute.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// Emits rescans into the store: at each object's interval, and at once for one that is new or changed.
pub struct Schedule {
    store: Store,
    spec: watch::Receiver<Arc<Spec>>,
    clock: Arc<dyn Clock>,
    timers: Timers,
    known: Arc<Spec>,
    pending: Pending,
}

impl Schedule {
    /// `seed` drives the jitter: different processes should have different ones, so that they do not poll in step.
    pub fn new(store: Store, spec: watch::Receiver<Arc<Spec>>, clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self {
            store,
            spec,
            clock,
            timers: Timers::new(seed),
            known: Arc::default(),
            pending: Pending::default(),
        }
    }

    /// Runs until `stop`, or until the configuration's sender is gone. Signals that were due and not stored are given
    /// up then: a start looks at everything.
    ///
    /// # Errors
    /// The store is broken beyond another try ([`Disposition::Fatal`]); after any other error it is tried again.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        self.spec.mark_changed();
        loop {
            let wake = [self.timers.next(), self.pending.retry_at].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                changed = self.spec.changed() => match changed {
                    Ok(()) => self.reload(),
                    Err(_) => return Ok(()),
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            self.pending.due.append(&mut self.timers.fire(Instant::now()));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                flushed = self.pending.flush(&self.store, self.clock.as_ref()) => flushed?,
            }
        }
    }

    fn reload(&mut self) {
        let spec = Arc::clone(&self.spec.borrow_and_update());
        self.timers.apply(&spec, Instant::now());
        self.pending.changed.append(&mut changed(&self.known, &spec));
        self.known = spec;
    }
}

/// Signals on their way into the store. They stay here until it has them.
#[derive(Default)]
struct Pending {
    changed: BTreeSet<ObjectRef>,
    due: BTreeSet<ObjectRef>,
    retry_at: Option<Instant>,
    failures: u32,
}

impl Pending {
    async fn flush(&mut self, store: &Store, clock: &dyn Clock) -> Result<(), StoreError> {
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            return Ok(());
        }
        match self.write(store, clock).await {
            Ok(()) => {
                self.retry_at = None;
                self.failures = 0;
            }
            Err(error) if error.disposition() == Disposition::Fatal => return Err(error),
            Err(error) => {
                let pause = FIRST_RETRY.saturating_mul(1 << self.failures.min(5)).min(MAX_RETRY);
                self.retry_at = Some(Instant::now() + pause);
                self.failures += 1;
                let waiting = self.changed.len() + self.due.len();
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, waiting, ?pause, "scheduled rescans were not stored, trying again");
            }
        }
        Ok(())
    }

    /// What changed goes first: a person is waiting for it.
    async fn write(&mut self, store: &Store, clock: &dyn Clock) -> Result<(), StoreError> {
        write(store, clock, &mut self.changed, RescanReason::Configuration, "config").await?;
        write(store, clock, &mut self.due, RescanReason::Interval, "poll").await
    }
}

/// Writes a set in batches; what is written leaves it. The event of a batch is its origin and its time.
async fn write(
    store: &Store,
    clock: &dyn Clock,
    targets: &mut BTreeSet<ObjectRef>,
    reason: RescanReason,
    origin: &str,
) -> Result<(), StoreError> {
    while !targets.is_empty() {
        let batch: Vec<ObjectRef> = targets.iter().take(BATCH).cloned().collect();
        let hint = Hint::Rescan { reason };
        let signals =
            batch.iter().map(|target| Signal { target: target.clone(), hint: hint.clone() }).collect();
        let event = format!("{origin}-{}", clock.now().strftime("%Y%m%dT%H%M%SZ"));
        store.signal(signals, &event).await?;
        for target in &batch {
            targets.remove(target);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
