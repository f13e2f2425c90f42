//! `windlass guard import`: other tools' policies as Guards. Owns the arguments and what is printed; what is carried over
//! is `windlass_model::load::import`'s business.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::ensure;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use windlass_model::load::import::{Import, Remark, Weight, import};

use crate::cli::print;
use crate::config::PolicySemantics;
use crate::docker_config;

/// Stands for standard input.
const STDIN: &str = "-";

/// What is done with Guards.
#[derive(Debug, Subcommand)]
pub(crate) enum GuardCommand {
    /// Turn policies of policy-controller, Kyverno and Flux into Guards
    Import(ImportArgs),
}

/// Which policies.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads ClusterImagePolicy (policy.sigstore.dev), ClusterPolicy and Policy with verifyImages rules
(kyverno.io), ImageValidatingPolicy (policies.kyverno.io), and OCIRepository and HelmChart with
spec.verify (source.toolkit.fluxcd.io). Give the Secrets and HelmRepositories that they name as well.
The Guards are printed, and what could not be carried over is told on standard error. A Guard is never
weaker than its source: what would make it so refuses the policy.

Exit status: 0 where everything is carried over, 1 where something is left out or refused, 2 where
there is no policy in the files or an argument is wrong.

Examples:
  windlass guard import policy.yaml > config/guard.yaml
  kubectl get clusterimagepolicies,secrets -A -o yaml | windlass guard import -
  windlass guard import policy.yaml --output json | jq '.remarks[]'")]
pub(crate) struct ImportArgs {
    /// YAML files; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value = "yaml")]
    output: Form,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Guards, and remarks on standard error.
    Yaml,
    /// One JSON document with both.
    Json,
}

/// The whole result, for machines.
#[derive(Serialize)]
struct Document<'a> {
    guards: Vec<Guard<'a>>,
    remarks: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Guard<'a> {
    name: &'a str,
    yaml: &'a str,
}

#[derive(Serialize)]
struct Told<'a> {
    weight: &'static str,
    file: &'a str,
    line: usize,
    object: &'a str,
    field: &'a str,
    message: &'a str,
}

impl<'a> Document<'a> {
    fn of(found: &'a Import) -> Self {
        let guard = |imported: &'a windlass_model::load::import::Imported| Guard {
            name: &imported.guard.meta.key.name,
            yaml: &imported.yaml,
        };
        let told = |remark: &'a Remark| Told {
            weight: remark.weight.as_str(),
            file: &remark.origin.file,
            line: remark.origin.line,
            object: &remark.object,
            field: &remark.field,
            message: &remark.message,
        };
        Self {
            guards: found.guards.iter().map(guard).collect(),
            remarks: found.remarks.iter().map(told).collect(),
        }
    }
}

/// Imports, prints, and says by the exit status whether everything was carried over.
///
/// # Errors
/// A file cannot be read, or there is no policy in any.
pub(crate) fn run(command: &GuardCommand) -> anyhow::Result<ExitCode> {
    let GuardCommand::Import(args) = command;
    let files = args.files.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let found = import(&files, &PolicySemantics);
    ensure!(
        found.policies > 0 || !found.remarks.is_empty(),
        "there is no policy of policy-controller, Kyverno or Flux in the input that asks for signatures"
    );
    if args.output == Form::Json {
        print(&(serde_json::to_string_pretty(&Document::of(&found))? + "\n"))?;
    } else {
        for remark in &found.remarks {
            eprintln!("{remark}");
        }
        let documents: Vec<&str> = found.guards.iter().map(|guard| guard.yaml.as_str()).collect();
        print(&documents.join("---\n"))?;
    }
    let whole = found.remarks.iter().all(|remark| remark.weight == Weight::Note);
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A file's name and text.
fn read(path: &Path) -> anyhow::Result<(String, String)> {
    if path != Path::new(STDIN) {
        return Ok((path.display().to_string(), docker_config::read_text(path)?));
    }
    let text = docker_config::bounded(std::io::stdin().lock(), "standard input")?;
    Ok(("standard input".to_owned(), text))
}
