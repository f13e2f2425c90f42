//! The kill matrix.

use anyhow::{Result, bail};
use clap::Args;

use super::Stage;
use super::report::Outcome;

/// What the matrix is asked for.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only this case of the matrix: POINT/FAULT/QUEUE, each of which may be `any`
    #[arg(long, value_name = "CASE", default_value = "any/any/any")]
    case: String,
}

/// Runs it.
pub(super) async fn run(stage: &Stage, options: &Options) -> Result<Outcome> {
    bail!("no case {} for {} with {:?}", options.case, stage.windlass.display(), stage.seeds)
}
