//! The kill matrix: every fail point, every fault, both kinds of queue, each with several seeds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use windlass_testkit::chaos::point::{Fault, POINTS};
use windlass_testkit::chaos::{Case, Ground, Queue, Tally, run as run_case};

use super::Stage;
use super::report::Outcome;

/// Longer than webhooks, notices and the queue's servers wait for anything.
const HANG: Duration = Duration::from_secs(30);
/// Every column. A process that sleeps is missed on a shared queue alone.
const COLUMNS: [(Fault, Queue); 7] = [
    (Fault::Hang(HANG), Queue::Embedded),
    (Fault::Hang(HANG), Queue::Nats),
    (Fault::Kill, Queue::Embedded),
    (Fault::Kill, Queue::Nats),
    (Fault::Error, Queue::Embedded),
    (Fault::Error, Queue::Nats),
    (Fault::Stop, Queue::Nats),
];
/// What runs at a time: a run that mostly waits takes one place, another takes [`BUSY`]. More make two processors slower
/// than whatever is awaited.
const PLACES: u32 = 16;
const BUSY: u32 = 3;
/// Runs between two words about progress.
const WORD_EVERY: usize = 25;

/// What the matrix is asked for.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only these cases of the matrix: POINT/FAULT/QUEUE, each of which may be `any`
    #[arg(long, value_name = "CASE", default_value = "any/any/any")]
    case: String,
}

/// Runs it, on one thread: what takes time is done by other processes.
pub(super) async fn run(stage: &Stage, options: &Options) -> Result<Outcome> {
    let cases = cases(stage, &options.case)?;
    LocalSet::new().run_until(run_all(stage, cases)).await
}

async fn run_all(stage: &Stage, cases: Vec<Case>) -> Result<Outcome> {
    let ground = Arc::new(Ground::start(Some(stage.windlass.clone()), Some(stage.registry.clone())).await?);
    let (started, all) = (Instant::now(), cases.len());
    let places = Arc::new(Semaphore::new(PLACES as usize));
    let mut running = JoinSet::new();
    for case in cases {
        let (ground, places) = (ground.clone(), places.clone());
        running.spawn_local(async move {
            let needed = if matches!(case.fault, Fault::Hang(_)) { 1 } else { BUSY };
            let _place = places.acquire_many(needed).await.context("places are never closed")?;
            anyhow::Ok((case, run_case(&ground, case).await))
        });
    }
    let mut results = Results::default();
    while let Some(done) = running.join_next().await {
        let (case, result) = done.context("a run panicked")??;
        results.add(case, result);
        if results.runs % WORD_EVERY == 0 {
            eprintln!("{} of {all} runs after {:.0} s", results.runs, started.elapsed().as_secs_f64());
        }
    }
    Ok(results.outcome(started.elapsed()))
}

/// Every case that the text names.
fn cases(stage: &Stage, text: &str) -> Result<Vec<Case>> {
    // In this order, those that mostly wait run beside those that do not.
    let cells = POINTS.into_iter().flat_map(|point| COLUMNS.map(|column| (point, column)));
    let cells: Vec<_> = cells.collect();
    let with_seeds = stage.seeds.clone().flat_map(|seed| {
        cells.iter().map(move |(point, (fault, queue))| Case { point, fault: *fault, queue: *queue, seed })
    });
    let wanted: Vec<&str> = text.split('/').collect();
    let is_wanted = |case: &Case| {
        let name = case.name();
        let parts: Vec<&str> = name.split('/').collect();
        parts.len() == wanted.len()
            && parts.iter().zip(&wanted).all(|(part, wanted)| *wanted == "any" || part == wanted)
    };
    let cases: Vec<Case> = with_seeds.filter(is_wanted).collect();
    if cases.is_empty() {
        bail!("--case {text}: none is called so; points are {}", POINTS.join(", "));
    }
    Ok(cases)
}

/// Kept promises and broken ones.
#[derive(Default)]
struct Results {
    runs: usize,
    cells: BTreeMap<String, (usize, usize)>,
    sum: Tally,
    /// By case, how many notices came again.
    repeats: BTreeMap<String, usize>,
    violations: Vec<String>,
}

impl Results {
    fn add(&mut self, case: Case, result: Result<Tally>) {
        self.runs += 1;
        let cell = self.cells.entry(case.name()).or_default();
        cell.1 += 1;
        match result {
            Ok(tally) => {
                cell.0 += 1;
                self.sum.deliveries += tally.deliveries;
                self.sum.commits += tally.commits;
                self.sum.decisions += tally.decisions;
                self.sum.notices += tally.notices;
                self.sum.repeats += tally.repeats;
                if tally.repeats > 0 {
                    *self.repeats.entry(case.point.to_owned()).or_default() += tally.repeats;
                }
            }
            Err(error) => {
                eprintln!("{case}: {error:?}\n");
                let again = format!(
                    "cargo xtask chaos --only matrix --case {} --first-seed {} --seeds 1",
                    case.name(),
                    case.seed
                );
                let reason = error.root_cause().to_string();
                // The rest is above, with the logs.
                let reason = reason.lines().next().unwrap_or_default();
                self.violations.push(format!("{case}: {reason}; again with `{again}`"));
            }
        }
    }

    fn outcome(self, took: Duration) -> Outcome {
        let headings = ["fail point", "kill", "error", "hang 30 s", "kill", "error", "hang 30 s", "stop"];
        let mut outcome = Outcome::new(
            "The kill matrix: runs that kept every promise, of all; the queue embedded (first three) and on NATS",
            headings,
        );
        for point in POINTS {
            let columns = [
                "kill/embedded",
                "error/embedded",
                "hang/embedded",
                "kill/nats",
                "error/nats",
                "hang/nats",
                "stop/nats",
            ];
            let cells = columns.map(|column| match self.cells.get(&format!("{point}/{column}")) {
                Some((kept, of)) => format!("{kept}/{of}"),
                None => "-".to_owned(),
            });
            if cells.iter().any(|cell| cell != "-") {
                outcome.row(std::iter::once(point.to_owned()).chain(cells));
            }
        }
        let Tally { deliveries, commits, decisions, notices, repeats } = self.sum;
        let (runs, minutes) = (self.runs, took.as_secs_f64() / 60.0);
        outcome.note(format!(
            "{runs} runs in {minutes:.1} min: {deliveries} webhooks accepted, {decisions} decisions in {commits} commits, {notices} \
             messages about them"
        ));
        let places: Vec<String> =
            self.repeats.iter().map(|(point, count)| format!("{count} at {point}")).collect();
        let places = if places.is_empty() { String::new() } else { format!(" ({})", places.join(", ")) };
        outcome.note(format!(
            "{repeats} messages came again, marked as such and with the same id{places}: taken by the chat service, and the process was \
             gone before it could write that down"
        ));
        for violation in self.violations {
            outcome.violation(violation);
        }
        outcome
    }
}
