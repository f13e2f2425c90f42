//! One cell of the matrix with one seed, and everything that follows from it.

use std::fmt;

use super::Seed;
use super::point::{Fault, POINTS};

/// Where the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// In the process itself: after a kill it is started again on the same data.
    Embedded,
    /// Shared over NATS: after a kill a second process takes over.
    Nats,
}

/// What is done to whom.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// One of [`POINTS`].
    pub point: &'static str,
    /// What happens there.
    pub fault: Fault,
    /// Where the queue is.
    pub queue: Queue,
    /// Decides the rest.
    pub seed: u64,
}

impl Case {
    /// `recorded/kill/nats`, as the command line has it.
    pub fn name(&self) -> String {
        let fault = match self.fault {
            Fault::Kill => "kill",
            Fault::Error => "error",
            Fault::Hang(_) => "hang",
            Fault::Stop => "stop",
        };
        let queue = match self.queue {
            Queue::Embedded => "embedded",
            Queue::Nats => "nats",
        };
        format!("{}/{fault}/{queue}", self.point)
    }

    /// Whether a notice may rightly come twice: it was taken by the service, and the process ended before it could
    /// write that down, or the answer was lost. No chat service lets one ask.
    pub(super) fn has_window(&self) -> bool {
        self.fault.takes_the_process() || (self.point == "notified" && self.fault == Fault::Error)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with seed {}", self.name(), self.seed)
    }
}

/// How the automations stand to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One automation for all applications: one commit has whatever is due.
    One,
    /// One for each application, in one lane: commits are chained in one push.
    Chained,
    /// One for each application, each in a lane of its own: they race each other.
    Racing,
}

/// What a seed decides of a run.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a draw of its own")]
pub(super) struct Plot {
    pub(super) applications: u64,
    pub(super) shape: Shape,
    /// Otherwise only events can bring a tag in.
    pub(super) lists_served: bool,
    /// Whether a person pushes to the branch too.
    pub(super) people: bool,
    /// Rounds of pushes before the last one.
    pub(super) rounds: u64,
    /// At which passing of the point it happens.
    pub(super) passing: u64,
    /// Whether senders wait for an answer for longer than anything hangs.
    pub(super) patient: bool,
    /// Whether a Guard wants signatures, and values are pinned to what was signed.
    pub(super) guarded: bool,
    pub(super) seed: Seed,
}

impl Plot {
    pub(super) fn of(case: &Case) -> Self {
        // Neighbouring cells with one seed differ.
        let place = POINTS.iter().position(|point| *point == case.point).unwrap_or_default() as u64;
        let mut seed = Seed::new(case.seed.wrapping_mul(1_000).wrapping_add(place));
        let applications = seed.among(2..=5);
        let shape = [Shape::One, Shape::Chained, Shape::Racing]
            [usize::from(seed.one_in(2)) + usize::from(seed.one_in(2))];
        // Work on an image is not done while its list cannot be read.
        let lists_served = seed.one_in(2) || case.point == "acked";
        let automations = if shape == Shape::One { 1 } else { applications };
        // A start looks at everything once; what is meant to happen later waits until that is over.
        let at_start = match case.point {
            "claimed" | "acked" => applications + automations,
            "verified" => applications,
            _ => 0,
        };
        let later = case.fault == Fault::Stop || seed.one_in(2);
        let passing = if later { at_start + seed.among(1..=3) } else { seed.among(1..=at_start.max(3)) };
        Self {
            applications,
            shape,
            lists_served,
            people: seed.one_in(2),
            rounds: seed.among(1..=2),
            passing,
            patient: seed.one_in(2),
            guarded: seed.one_in(3) || case.point == "verified",
            seed,
        }
    }
}
