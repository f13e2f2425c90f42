//! `cargo xtask chaos`: breaks things on purpose, for longer than `cargo xtask test` has time for, and checks from
//! outside that the promises of ARCHITECTURE.md hold. What is broken, when and how follows from a seed, so that a
//! violation can be seen again.

mod kills;
mod matrix;
mod report;
mod soak;
mod storm;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use windlass_testkit::chaos::point::has_fail_points;

use crate::machine::machine;
use crate::{build, setup};
use report::Outcome;

/// What to try, and how the result is printed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask chaos                                          Every trial
  cargo xtask chaos --only matrix --seeds 2                  The kill matrix, with fewer seeds
  cargo xtask chaos --only matrix --case recorded/kill/nats --first-seed 7 --seeds 1
                                                             One run of it again
  cargo xtask chaos --only kills --kills 20 --events 2000    A short kill loop
  cargo xtask chaos --only soak --minutes 5                  A short soak
  cargo xtask chaos --output json | jq '.trials[].violations'

It exits with 1 when a promise was broken.")]
pub(crate) struct Chaos {
    /// Only this trial; may be given several times
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Trial>,
    /// How many seeds a case is run with
    #[arg(long, value_name = "N", default_value_t = 10)]
    seeds: u64,
    /// The first of the seeds
    #[arg(long, value_name = "N", default_value_t = 1)]
    first_seed: u64,
    #[command(flatten)]
    matrix: matrix::Options,
    #[command(flatten)]
    kills: kills::KillsArgs,
    #[command(flatten)]
    storm: storm::StormArgs,
    #[command(flatten)]
    soak: soak::SoakArgs,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
    /// Try this `windlass` program instead of building one
    #[arg(long, value_name = "FILE")]
    windlass: Option<PathBuf>,
}

/// The trials, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Trial {
    /// Every fail point × SIGKILL, an error, a hang of 30 s × seeds × both kinds of queue
    Matrix,
    /// Random `kill -9` under load, on both kinds of queue
    Kills,
    /// Every event up to twenty times, in any order
    Storm,
    /// A steady stream of events: memory, descriptors and disk do not grow
    Soak,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables for people.
    Table,
    /// One JSON document.
    Json,
}

/// What every trial works with. Progress goes to standard error.
struct Stage {
    /// The program, of the dev profile: it has the fail points.
    windlass: PathBuf,
    /// Whether it is one that was given, to be tried whatever it is.
    given: bool,
    registry: PathBuf,
    seeds: std::ops::Range<u64>,
}

impl Stage {
    /// The program as it is released, for trials that need no fail points.
    fn released(&self) -> Result<PathBuf> {
        if self.given { Ok(self.windlass.clone()) } else { build::windlass(true) }
    }
}

/// Runs the trials.
pub(crate) fn run(chaos: &Chaos) -> Result<()> {
    setup::git()?;
    setup::nats_server()?;
    let windlass = match &chaos.windlass {
        Some(program) => {
            std::fs::canonicalize(program).with_context(|| format!("--windlass {}", program.display()))?
        }
        None => build::windlass(false)?,
    };
    ensure!(windlass.is_file(), "--windlass {} is not a program", windlass.display());
    let tries_matrix = chaos.only.is_empty() || chaos.only.contains(&Trial::Matrix);
    ensure!(
        !tries_matrix || has_fail_points(&windlass)?,
        "{} has no fail points: it was built without debug assertions, and the matrix needs them",
        windlass.display()
    );
    let seeds = chaos.first_seed..chaos.first_seed.saturating_add(chaos.seeds);
    let given = chaos.windlass.is_some();
    let stage = Stage { windlass, given, registry: setup::any_registry()?, seeds };
    let runtime = tokio::runtime::Runtime::new().context("making a runtime")?;
    let outcomes = runtime.block_on(async {
        tokio::select! {
            outcomes = trials(&stage, chaos) => outcomes,
            // An error, so that everything is dropped, which ends it.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })?;
    if chaos.output == Output::Json {
        let trials: Vec<Value> = outcomes.iter().map(Outcome::json).collect();
        println!("{:#}", json!({"machine": machine(), "trials": trials}));
    }
    let violations: usize = outcomes.iter().map(Outcome::violations).sum();
    ensure!(violations == 0, "promises were broken: {violations}");
    Ok(())
}

async fn trials(stage: &Stage, chaos: &Chaos) -> Result<Vec<Outcome>> {
    if chaos.output == Output::Table {
        println!("on {}", machine());
    }
    let mut outcomes = Vec::new();
    for trial in Trial::value_variants() {
        if !chaos.only.is_empty() && !chaos.only.contains(trial) {
            continue;
        }
        eprintln!("trying: {trial:?}");
        let outcome = match trial {
            Trial::Matrix => matrix::run(stage, &chaos.matrix).await,
            Trial::Kills => kills::run(stage, &chaos.kills).await,
            Trial::Storm => storm::run(stage, &chaos.storm).await,
            Trial::Soak => soak::run(stage, &chaos.soak).await,
        };
        let outcome = outcome.with_context(|| format!("trying {trial:?}"))?;
        if chaos.output == Output::Table {
            println!("\n{outcome}");
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
