//! The binary's parts. Owns the composition of the other crates, and every read of the environment and of the clock.

mod audit;
mod backlog;
mod cli;
mod client;
mod clock;
pub mod config;
mod descriptors;
mod docker_config;
mod edit;
mod endpoint;
#[cfg(debug_assertions)]
mod fail_points;
mod git_program;
mod guard_import;
mod hands;
mod instance;
mod lead;
mod logs;
mod place;
mod plan;
mod queue;
mod retention;
mod run;
mod select;
mod table;
mod tasks;
mod trust_roots;
mod tuf_args;
mod verify;
mod verify_bundle;

use std::process::ExitCode;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    cli::main()
}
