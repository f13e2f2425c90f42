//! With fail points: what the binary armed them with, and what passing one does then.

use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use crate::Point;
use crate::plan::{Action, Plan};

// Process-wide, because a place on an event's way has no other way to the command line; written once, by the binary.
static ARMED: OnceLock<(Plan, Means)> = OnceLock::new();

/// A hang under way.
pub type Hanging = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What only the binary can do.
#[derive(Clone, Copy)]
pub struct Means {
    /// Tells people that something is about to happen.
    pub tell: fn(Point, Action),
    /// Sends a signal to this very process.
    pub signal: fn(Signal),
    /// Waits without blocking a thread, and tells when that is over or was broken off.
    pub hang: fn(Point, Duration) -> Hanging,
}

/// A signal that cannot be caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL
    Kill,
    /// SIGSTOP
    Stop,
}

/// The error that a fail point injects. Each place turns it into the error that its operation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injected(Point);

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fail point `{}`", self.0)
    }
}

impl std::error::Error for Injected {}

/// From here on, passing a point does what the plan says. Only the first call counts.
pub fn arm(plan: Plan, means: Means) {
    drop(ARMED.set((plan, means)));
}

/// The half of a point that stands before the effect.
///
/// # Errors
/// Where the plan says so: the effect must not come.
pub fn error(point: Point) -> Result<(), Injected> {
    let Some((plan, means)) = ARMED.get() else { return Ok(()) };
    match plan.due(point, |action| action == Action::Error) {
        None => Ok(()),
        Some(action) => {
            (means.tell)(point, action);
            Err(Injected(point))
        }
    }
}

/// The half of a point that stands after the effect.
pub async fn pause(point: Point) {
    let Some((plan, means)) = ARMED.get() else { return };
    let Some(action) = plan.due(point, |action| action != Action::Error) else { return };
    (means.tell)(point, action);
    match action {
        Action::Kill => {
            (means.signal)(Signal::Kill);
            // Nothing of this task comes after it.
            std::future::pending::<()>().await;
        }
        Action::Stop => (means.signal)(Signal::Stop),
        Action::Hang(time) => (means.hang)(point, time).await,
        Action::Error => {}
    }
}

/// Both halves.
///
/// # Errors
/// Where the plan says so.
pub async fn pass(point: Point) -> Result<(), Injected> {
    error(point)?;
    pause(point).await;
    Ok(())
}
