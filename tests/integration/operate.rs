//! Operating Windlass: the commands, health, metrics, logs, signals, and that no secret is shown anywhere.

use std::ffi::OsString;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::Result;
use windlass_testkit::windlass::command;

mod commands;
mod lifecycle;
mod secrets;
mod serving;

/// An end in order is a matter of milliseconds. This is what a machine that also compiles may need.
const SOON: Duration = Duration::from_secs(10);

/// Runs the program with these words, of which the last is a path.
async fn windlass(words: &[&str], path: &Path) -> Result<Output> {
    let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    arguments.push(path.into());
    command(&arguments).await
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
