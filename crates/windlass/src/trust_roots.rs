//! `windlass trust-roots`: the trust roots that a configuration's Guards take from TUF repositories, fetched now. Owns
//! the arguments and what is printed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use windlass_model::Clock as _;
use windlass_tuf::Prepared;

use crate::cli::{Output, print};
use crate::clock::SystemClock;
use crate::{config, table};

/// What is asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Asks the mirrors also of Guards that say `offline: true`: the directory is then what an instance
without a network needs, as `trust-roots` of its data directory. Nothing in it is secret, and nothing
in it is believed without being verified again.

Exit status: 0 where every trust root was fetched, 1 where one was not, 2 where an argument is wrong.

Examples:
  windlass trust-roots --config ./config --into ./trust-roots
  rsync -a ./trust-roots/ bastion:/var/lib/windlass/trust-roots/")]
pub(crate) struct TrustRootsArgs {
    /// Directory with the resources, as YAML files
    #[arg(long, value_name = "DIR", env = "WINDLASS_CONFIG")]
    config: PathBuf,
    /// Keep what is fetched in this directory
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

/// One trust root.
#[derive(Debug, Serialize)]
struct Row {
    mirror: String,
    target: String,
    /// The folder below `--into`.
    folder: String,
    /// SHA-256 of the trust root, if it was fetched.
    sha256: Option<String>,
    /// When it expires.
    until: Option<String>,
    /// Why it was not fetched.
    failure: Option<String>,
}

impl Row {
    fn new(prepared: Prepared) -> Self {
        let Prepared { mirror, target, folder, root } = prepared;
        let (sha256, until, failure) = match root {
            Ok(root) => (Some(root.root.sha256().to_owned()), Some(root.until.to_string()), root.failure),
            Err(why) => (None, None, Some(why.to_string())),
        };
        Self { mirror, target, folder, sha256, until, failure }
    }
}

/// Fetches, prints, and says by the exit status whether all of them are there.
///
/// # Errors
/// The configuration cannot be read.
pub(crate) async fn run(args: &TrustRootsArgs) -> anyhow::Result<ExitCode> {
    let configuration = config::read(&args.config)?;
    for problem in configuration.problems.iter().filter(|problem| problem.is_error()) {
        eprintln!("{problem}");
    }
    let prepared = windlass_tuf::prepare(&configuration.spec, &args.into, SystemClock.now()).await;
    let rows: Vec<Row> = prepared.into_iter().map(Row::new).collect();
    print(&match args.output {
        Output::Table if rows.is_empty() => "no Guard names a TUF repository\n".to_owned(),
        Output::Table => {
            let shown = rows.iter().map(|row| {
                let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
                [row.mirror.clone(), or_none(&row.sha256), or_none(&row.until), or_none(&row.failure)]
            });
            table::render(&["MIRROR", "TRUST ROOT", "UNTIL", "FAILURE"], shown)
        }
        Output::Json => serde_json::to_string_pretty(&rows)? + "\n",
    })?;
    let whole = rows.iter().all(|row| row.failure.is_none());
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
