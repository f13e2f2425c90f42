//! The random `kill -9` loop, on both kinds of queue.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use windlass_testkit::endurance::kills::{self, KillOptions, Killed};
use windlass_testkit::endurance::troop::Queue;

use super::Stage;
use super::report::Outcome;
use crate::figures::{Figure, Samples};

/// As many releases are on their way at any moment.
const IMAGES: usize = 48;
/// Processes on one nats-server.
const PROCESSES: usize = 3;

/// What the loop is asked for.
#[derive(Debug, Args)]
#[command(next_help_heading = "The kills trial")]
pub(super) struct KillsArgs {
    /// Kills, half of them on each kind of queue
    #[arg(long, value_name = "N", default_value_t = 300)]
    kills: usize,
    /// Events that are accepted, half of them on each kind of queue
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    events: usize,
}

/// Runs it.
pub(super) async fn run(stage: &Stage, options: &KillsArgs) -> Result<Outcome> {
    let seed = stage.seeds.start;
    let mut columns = Vec::new();
    for (name, queue) in [("embedded", Queue::Embedded), ("--queue", Queue::Nats(PROCESSES))] {
        eprintln!("  {name}: {} kills among {} events", options.kills / 2, options.events / 2);
        let trial = KillOptions {
            seed,
            queue,
            kills: options.kills.div_ceil(2),
            events: options.events.div_ceil(2),
            images: IMAGES,
            windlass_program: Some(stage.released()?),
            registry_program: Some(stage.registry.clone()),
        };
        columns.push((name, kills::run(&trial).await.with_context(|| name.to_owned())?));
    }
    let title = format!(
        "kills: random kill -9 under load, {IMAGES} images, seed {seed}; one process, and {PROCESSES} on one nats-server"
    );
    let mut outcome = Outcome::new(title, std::iter::once("").chain(columns.iter().map(|(name, _)| *name)));
    for (what, cell) in ROWS {
        outcome.row(std::iter::once(what.to_owned()).chain(columns.iter().map(|(_, killed)| cell(killed))));
    }
    outcome.note(
        "Until what was accepted of an image before a kill had landed, no list of its tags was to be had: only stored events could bring it in.",
    );
    for (name, killed) in &columns {
        for violation in &killed.verdict.violations {
            outcome.violation(format!("{name}, seed {seed}: {violation}"));
        }
    }
    Ok(outcome)
}

type Row = (&'static str, fn(&Killed) -> String);

const ROWS: [Row; 16] = [
    ("kills of processes", |killed| number(killed.kills)),
    ("kills of starting processes", |killed| number(killed.starting)),
    ("kills of the nats-server", |killed| number(killed.servers)),
    ("requests sent", |killed| number(killed.requests)),
    ("requests repeated", |killed| number(killed.repeats)),
    ("events accepted", |killed| number(killed.accepted)),
    ("releases under way at a kill", |killed| number(killed.under_way)),
    ("decisions", |killed| number(killed.verdict.decisions)),
    ("commits", |killed| number(killed.verdict.commits)),
    ("lost", |killed| number(killed.verdict.lost)),
    ("double", |killed| number(killed.verdict.double)),
    ("notices of commits", |killed| number(killed.verdict.told)),
    ("notices sent again, marked", |killed| number(killed.verdict.told_again)),
    ("kills that stopped promoting", |killed| number(killed.recoveries.len())),
    ("recovery from them, median", |killed| time(&killed.recoveries, 50)),
    ("recovery from them, longest", |killed| time(&killed.recoveries, 100)),
];

fn number(number: usize) -> String {
    Figure::number(number).text()
}

fn time(times: &[Duration], percent: usize) -> String {
    Figure::time(Samples::new(times.to_vec()).quantile(percent)).text()
}
