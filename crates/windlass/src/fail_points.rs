//! Arming the fail points, in programs with debug assertions: for the trials of `cargo xtask chaos`.

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Signal as UnixSignal, getpid, kill_process};
use windlass_failpoint::{Action, Hanging, Means, Plan, Point, Signal, VARIABLE, arm as arm_with};

/// Reads the variable and arms the points. Without it, nothing happens anywhere.
///
/// # Errors
/// The variable is no plan.
#[expect(clippy::disallowed_methods, reason = "the binary reads the environment, here for a trial")]
pub(crate) fn arm() -> anyhow::Result<()> {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let text = text.to_str().with_context(|| format!("{VARIABLE} is not text"))?;
    let plan: Plan = text.parse()?;
    tracing::warn!(plan = text, "fail points are armed: this process is to be broken");
    arm_with(plan, Means { tell, signal, hang });
    Ok(())
}

fn tell(point: Point, action: Action) {
    tracing::warn!("fail point {point}: {action}");
}

fn signal(signal: Signal) {
    let signal = match signal {
        Signal::Kill => UnixSignal::KILL,
        Signal::Stop => UnixSignal::STOP,
    };
    if let Err(error) = kill_process(getpid(), signal) {
        tracing::error!(%error, "a fail point could not send its signal");
    }
}

fn hang(point: Point, time: Duration) -> Hanging {
    Box::pin(async move {
        let _over = Over(point);
        tokio::time::sleep(time).await;
    })
}

/// Tells of the end also where whoever waited gave up.
struct Over(Point);

impl Drop for Over {
    fn drop(&mut self) {
        tracing::warn!("fail point {}: over", self.0);
    }
}
