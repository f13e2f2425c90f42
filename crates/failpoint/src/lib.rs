//! Fail points: the places on an event's way where something became visible from outside. There a test has the process
//! killed or stopped, an operation fail, or time pass.
//!
//! They are in programs with debug assertions alone. In any other, passing a point is nothing, no variable is read, and
//! an [`Injected`] error cannot exist: its type has no values. Nothing here blocks a thread, reads the environment or
//! knows a runtime; the binary hands in the [`Means`].
//!
//! Where a failed operation must not have had its effect, the two halves of a point stand apart: [`error`] before the
//! effect, and [`pause`] right after it. Elsewhere [`pass`] is both.

#[cfg(any(test, not(debug_assertions)))]
pub mod absent;
#[cfg(debug_assertions)]
mod armed;
#[cfg(debug_assertions)]
mod plan;

#[cfg(not(debug_assertions))]
pub use absent::{Injected, error, pass, pause};
#[cfg(debug_assertions)]
pub use armed::{Hanging, Injected, Means, Signal, arm, error, pass, pause};
#[cfg(debug_assertions)]
pub use plan::{Action, Plan, PlanError, VARIABLE};

/// The places, in the order in which an event comes to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A webhook's body was read.
    Received,
    /// It is from whom it says.
    Authenticated,
    /// Its signals are durable.
    Appended,
    /// A piece of work was taken.
    Claimed,
    /// A registry said where a tag points.
    Resolved,
    /// The Guards that concern an image, if any, said what they think of it.
    Verified,
    /// The files of an automation were edited, in memory.
    Edited,
    /// The commits are made, and the intent to push them is durable.
    Committed,
    /// A push went out, and the server began to answer.
    Sent,
    /// The server reported what it did.
    Taken,
    /// The branch was seen to have the commits.
    Confirmed,
    /// What landed, and what is to be told of it, is durable.
    Recorded,
    /// A piece of work is durably done.
    Acked,
    /// A notice is durably marked as being sent.
    Dispatched,
    /// Somebody took a notice.
    Notified,
}
