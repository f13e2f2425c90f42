//! `cargo xtask bench`: the numbers that this project holds itself to, each beside its target and beside a baseline of
//! the same run, because machines differ more than programs do. Everything is observed from outside.

mod bare;
mod engine;
mod event;
mod fleet;
mod hooks;
mod memory;
mod mirror;
mod program;
mod pure;
mod queue;
mod report;
mod sizing;
mod stage;
mod webhooks;
mod writers;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use windlass_testkit::chaos::point::has_fail_points;

use crate::{build, setup};
pub(crate) use sizing::{Sizing, run as size};

use report::{Report, Table};
use stage::Stage;

/// What to measure, and how the result is printed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench                            Everything: about five minutes after the release build
  cargo xtask bench --quick                    Fewer and smaller: to see that it works, not to quote
  cargo xtask bench --only event --only fleet
  cargo xtask bench --output json | jq '.tables[].rows[] | select(.met == false)'

A target that is missed is marked; it is no error.")]
pub(crate) struct Bench {
    /// Fewer iterations and smaller worlds
    #[arg(long)]
    quick: bool,
    /// Only this measurement; may be given several times
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Measurement>,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
    /// Measure this `windlass` program instead of building one: to compare two versions
    #[arg(long, value_name = "FILE")]
    windlass: Option<PathBuf>,
}

/// The measurements, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// From a webhook to the commit on the remote, beside a bare `git push`
    Event,
    /// The Git engine alone, beside bare pushes, clones and libgit2
    Engine,
    /// Mirrors: first looks, polls, commits by others, the scan for markers
    Mirror,
    /// Durable webhooks accepted per second
    Webhooks,
    /// The queue alone, embedded and over NATS, beside bare SQLite and bare JetStream
    Queue,
    /// Resident memory
    Memory,
    /// A thousand images updated at once in one repository
    Fleet,
    /// Many writers on one branch
    Writers,
    /// Selection among very many tags, scanning and editing of manifests
    Pure,
    /// Verdicts on signed images, beside the cosign program
    Verify,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables for people.
    Table,
    /// One JSON document.
    Json,
}

/// Runs the measurements.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    setup::git()?;
    let windlass = windlass(bench.windlass.as_deref())?;
    let stage = Stage { windlass, registry: setup::any_registry()?, quick: bench.quick };
    let runtime = tokio::runtime::Runtime::new().context("making a runtime")?;
    let measured = runtime.block_on(async {
        tokio::select! {
            measured = measure(&stage, bench) => measured,
            // An error, so that everything is dropped, which ends it.
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        }
    });
    let report = measured?;
    if bench.output == Output::Json {
        println!("{:#}", report.json());
    }
    Ok(())
}

/// The program that is measured: the one that is given, or one that is built.
fn windlass(given: Option<&Path>) -> Result<PathBuf> {
    let Some(program) = given else { return build::windlass(true) };
    let found =
        std::fs::canonicalize(program).with_context(|| format!("--windlass {}", program.display()))?;
    ensure!(found.is_file(), "--windlass {} is not a program", found.display());
    ensure!(
        !has_fail_points(&found)?,
        "{} was built with debug assertions: it has fail points, and its figures mean nothing",
        found.display()
    );
    Ok(found)
}

async fn measure(stage: &Stage, bench: &Bench) -> Result<Report> {
    let mut report = Report::new(bench.quick);
    if bench.output == Output::Table {
        println!("{}", report.heading());
    }
    for name in Measurement::value_variants() {
        if !bench.only.is_empty() && !bench.only.contains(name) {
            continue;
        }
        eprintln!("measuring: {name:?}");
        let tables = match name {
            Measurement::Event => event::measure(stage).await,
            Measurement::Engine => engine::measure(stage).await,
            Measurement::Mirror => mirror::measure(stage).await,
            Measurement::Webhooks => webhooks::measure(stage).await,
            Measurement::Queue => queue::measure(stage).await,
            Measurement::Memory => memory::measure(stage).await,
            Measurement::Fleet => fleet::measure(stage).await,
            Measurement::Writers => writers::measure(stage).await,
            Measurement::Pure => pure::measure(stage),
            Measurement::Verify => pure::verification(stage),
        };
        for table in tables.with_context(|| format!("measuring {name:?}"))? {
            show(bench.output, &table);
            report.tables.push(table);
        }
    }
    Ok(report)
}

/// Each table as soon as it is there: the whole takes minutes.
fn show(output: Output, table: &Table) {
    if output == Output::Table {
        println!("\n{table}");
    }
}
