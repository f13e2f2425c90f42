//! The program's fail points, as an operator of a trial sees them: names in an environment variable.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use memchr::memmem;

/// The variable that arms them. A release program does not contain its name.
pub const VARIABLE: &str = "WINDLASS_FAIL_POINTS";

/// Every fail point, in the order in which an event comes to them.
pub const POINTS: [&str; 15] = [
    "received",
    "authenticated",
    "appended",
    "claimed",
    "resolved",
    "verified",
    "edited",
    "committed",
    "sent",
    "taken",
    "confirmed",
    "recorded",
    "acked",
    "dispatched",
    "notified",
];

/// What happens at a fail point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// The operation fails.
    Error,
    /// The operation takes this much longer.
    Hang(Duration),
    /// SIGSTOP: the process sleeps until others have done its work.
    Stop,
}

impl Fault {
    /// The value of [`VARIABLE`] for this fault at a passing of a point, counted from 1.
    pub fn at(self, point: &str, passing: u64) -> String {
        let action = match self {
            Self::Kill => "kill".to_owned(),
            Self::Error => "error".to_owned(),
            Self::Hang(time) => format!("hang({}ms)", time.as_millis()),
            Self::Stop => "stop".to_owned(),
        };
        format!("{point}={action}@{passing}")
    }

    /// Whether the process is gone, or as good as gone, from there on.
    pub fn takes_the_process(self) -> bool {
        matches!(self, Self::Kill | Self::Stop)
    }
}

/// Whether a program was built with fail points.
///
/// # Errors
/// When the file cannot be read.
pub fn has_fail_points(program: &Path) -> Result<bool> {
    let bytes = std::fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    Ok(memmem::find(&bytes, VARIABLE.as_bytes()).is_some())
}
