//! `windlass edit`: images written into files by hand or by CI, as the promoter writes them. Owns the arguments and the
//! order of the work; what a file becomes is `windlass_manifest`'s business.

mod files;
mod outcome;
mod replace;
mod report;
mod wanted;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, ValueEnum};
use windlass_manifest::glob::Glob;
use windlass_manifest::path::{DocumentSelector, KeyPath};

use report::Report;
use wanted::{PartArg, Setting, Wanted};

/// Something would change, and `--check` asked.
const WOULD_CHANGE: u8 = 3;
/// Something was left alone that should not have been.
const DIAGNOSTICS: u8 = 2;

/// What is asked.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("kind").args(["kustomize", "helm", "yaml_path"]), after_help = AFTER_HELP)]
pub(crate) struct EditArgs {
    /// Files or directories; of a directory, every *.yaml, *.yml and Kustomization below it
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The image that is written; NS:NAME= says for which markers, and is not needed for the other kinds of places
    #[arg(long, required = true, value_name = "[NS:NAME=]IMAGE:TAG[@DIGEST]")]
    set: Vec<Setting>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Print the difference instead of writing
    #[arg(long)]
    dry_run: bool,
    /// Write nothing; exit with 3 if something would change
    #[arg(long)]
    check: bool,
    /// Exit with 2 if a marker was left alone, or if there is none for a --set
    #[arg(long)]
    strict: bool,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: EditOutput,
}

const AFTER_HELP: &str = "\
Only the bytes of the values change. What cannot be changed safely is left alone and reported with
file, line and cause. Symbolic links are never followed; .git and submodules are never entered.

Exit status: 0 where files were changed or are right already; 3 with --check where something would
change; 2 where an argument is invalid, where a file cannot be read or written, where the place of
--kustomize, --helm or --yaml-path is refused, or, with --strict, where a marker is left alone.

Examples:
  windlass edit clusters/production --set apps:podinfo=ghcr.io/stefanprodan/podinfo:6.7.1
  windlass edit charts --template 'templates/**' --set apps:web=ghcr.io/org/web:2.0.0 --dry-run
  windlass edit overlays/production --kustomize --set ghcr.io/org/web:2.0.0
  windlass edit overlays/production --kustomize=web --set ghcr.io/org/web:2.0.0
  windlass edit values.yaml --helm api.image --set ghcr.io/org/api:1.4.0
  windlass edit app.yaml --yaml-path 'spec.template.spec.containers[name=app].image' \\
      --document Deployment/web --set ghcr.io/org/web:2.0.0
  windlass edit . --set apps:web=ghcr.io/org/web:2.0.0 --check --strict --output json";

/// Which places are edited: by default those with a marker.
#[derive(Debug, Args)]
#[command(next_help_heading = "Places (by default, those with a marker)")]
struct PlaceArgs {
    /// Read files of this pattern as Helm templates: marked lines without `{{` are edited
    #[arg(long, value_name = "GLOB", conflicts_with = "kind")]
    template: Vec<Glob>,
    /// The entry NAME of a kustomization's images, as `kustomize edit set image` (default: the image's own name)
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    kustomize: Option<String>,
    /// The image of Helm values at this key: repository and tag, or a single value
    #[arg(long, value_name = "KEY")]
    helm: Option<KeyPath>,
    /// The single value at this path
    #[arg(long, value_name = "PATH")]
    yaml_path: Option<KeyPath>,
    /// The document of --yaml-path: its position from 0, KIND/NAME or KIND/NAMESPACE/NAME
    #[arg(long, value_name = "DOCUMENT", requires = "yaml_path", conflicts_with_all = ["kustomize", "helm"])]
    document: Option<DocumentSelector>,
    /// Which part of the image --yaml-path takes
    #[arg(long, value_enum, default_value = "image", requires = "yaml_path", conflicts_with_all = ["kustomize", "helm"])]
    part: PartArg,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EditOutput {
    /// What changed, a line each; with --dry-run a unified diff
    Text,
    /// One JSON document
    Json,
}

/// Edits, prints, and says by the exit status what happened.
///
/// # Errors
/// An argument is invalid, or a file cannot be read or written.
pub(crate) fn run(args: EditArgs) -> anyhow::Result<ExitCode> {
    let EditArgs { paths, set, place, dry_run, check, strict, output } = args;
    let PlaceArgs { template, kustomize, helm, yaml_path, document, part } = place;
    let wanted = match (kustomize, helm, yaml_path) {
        (Some(name), _, _) => Wanted::kustomize(&name, set)?,
        (_, Some(key), _) => Wanted::helm(key, set)?,
        (_, _, Some(path)) => Wanted::path(path, document, part, set)?,
        (None, None, None) => Wanted::markers(set)?,
    };
    let found = files::find(&paths, &wanted, &template)?;
    let mut report = Report::default();
    for file in &found.files {
        report.take(file, outcome::edit(file, &wanted));
    }
    report.finish(found.problems, &wanted);
    let writes = !dry_run && !check;
    if writes {
        report.write()?;
    }
    report.print(output, dry_run, writes)?;
    let refused = report.has_diagnostics() && (strict || !wanted.is_markers());
    Ok(match report.changes_anything() {
        _ if refused => ExitCode::from(DIAGNOSTICS),
        true if check => ExitCode::from(WOULD_CHANGE),
        _ => ExitCode::SUCCESS,
    })
}
