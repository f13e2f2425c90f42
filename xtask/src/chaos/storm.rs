//! The storm of duplicates.

use anyhow::Result;
use clap::Args;
use windlass_testkit::endurance::storm::{self, StormOptions};

use super::Stage;
use super::report::Outcome;
use crate::figures::Figure;

const IMAGES: usize = 48;
/// Polls fall into every stage of a release.
const INTERVAL: &str = "2s";

/// What the storm is asked for.
#[derive(Debug, Args)]
#[command(next_help_heading = "The storm trial")]
pub(super) struct StormArgs {
    /// Releases of each image, one after the other
    #[arg(long, value_name = "N", default_value_t = 40)]
    releases: usize,
}

/// Runs it.
pub(super) async fn run(stage: &Stage, options: &StormArgs) -> Result<Outcome> {
    let seed = stage.seeds.start;
    let trial = StormOptions {
        seed,
        images: IMAGES,
        releases: options.releases,
        interval: INTERVAL.to_owned(),
        windlass_program: Some(stage.released()?),
        registry_program: Some(stage.registry.clone()),
    };
    let stormed = storm::run(&trial).await?;
    let title = format!(
        "storm: every event 1 to 20 times, in any order, polls every {INTERVAL}; {IMAGES} images, seed {seed}"
    );
    let mut outcome = Outcome::new(title, ["", "number"]);
    for (what, number) in [
        ("events, so decisions to make", stormed.events),
        ("deliveries", stormed.deliveries),
        ("tag lists read by polls", stormed.polls),
        ("decisions made", stormed.verdict.decisions),
        ("commits", stormed.verdict.commits),
        ("lost", stormed.verdict.lost),
        ("double", stormed.verdict.double),
        ("notices of commits", stormed.verdict.told),
    ] {
        outcome.row([what.to_owned(), Figure::number(number).text()]);
    }
    let mut violations = stormed.verdict.violations;
    if stormed.verdict.commits != stormed.events {
        violations.push(format!("{} decisions gave {} commits", stormed.events, stormed.verdict.commits));
    }
    for violation in violations {
        outcome.violation(format!("seed {seed}: {violation}"));
    }
    Ok(outcome)
}
