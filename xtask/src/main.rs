//! The one door for a contributor: install the tools, run the demonstration, run every check, measure.

mod bench;
mod build;
mod chaos;
mod checks;
mod demo;
mod figures;
mod fuzz;
mod machine;
mod run;
mod setup;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The one door for a contributor to Windlass")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the pinned tools that are missing, into the target folder
    Setup,
    /// Run the main job on real servers and show each step with its time
    Demo(demo::Demo),
    /// Run every check: format, lints, tidy, dependency policy, documentation, tests
    Test(checks::Checks),
    /// Measure speed and memory beside their targets and beside a bare `git push`
    Bench(bench::Bench),
    /// Break things on purpose, and check that nothing is lost, doubled or told twice
    Chaos(chaos::Chaos),
    /// Plan memory, disk, processors and processes for a number of images and events, from measured costs
    Sizing(bench::Sizing),
    /// Run the fuzz targets: random inputs for the parsers and the editor
    Fuzz(fuzz::Fuzz),
    /// Check the crate graph, purity, file sizes, manifests and links
    Tidy,
}

fn main() -> ExitCode {
    match dispatch(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command) -> Result<()> {
    match command {
        Command::Setup => setup::everything().map(drop),
        Command::Demo(demo) => demo::run(demo),
        Command::Test(checks) => checks::run(checks),
        Command::Bench(bench) => bench::run(bench),
        Command::Chaos(chaos) => chaos::run(chaos),
        Command::Sizing(sizing) => bench::size(sizing),
        Command::Fuzz(fuzz) => fuzz::run(fuzz),
        Command::Tidy => tidy::run(),
    }
}

/// The workspace's folder: the parent of this package's.
fn root() -> Result<PathBuf> {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(package.parent().context("xtask lies in the workspace's folder")?.to_owned())
}
