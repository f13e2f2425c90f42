//! `windlass plan`: what `windlass run` would commit now. Owns the arguments, the scratch folder and what is printed; what
//! is planned and why is the promoter's business.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::watch;
use windlass_model::{Clock as _, Spec};
use windlass_notify::{Sender, SenderConfig};
use windlass_promoter::{BranchPlan, CommitPlan, Parts, Plan, plan};
use windlass_registry::{Pool, PoolConfig};
use windlass_store::{ReadOnly, Store};
use windlass_tuf::{Cache, Roots};

use crate::cli::print;
use crate::clock::SystemClock;
use crate::config;
use crate::git_program;

/// The status of `--check` where something would change.
const WOULD_CHANGE: u8 = 3;

/// What is asked.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct PlanArgs {
    /// Directory with the resources, as YAML files
    #[arg(long, value_name = "DIR", env = "WINDLASS_CONFIG")]
    config: PathBuf,
    /// The data directory of an instance, running or not: its holds, digests and first-seen times count
    #[arg(long, value_name = "DIR", env = "WINDLASS_DATA")]
    data: Option<PathBuf>,
    /// Refuse images that no Guard concerns
    #[arg(long, env = "WINDLASS_REQUIRE_GUARD")]
    require_guard: bool,
    /// Exit with 3 where something would be committed
    #[arg(long)]
    check: bool,
    /// How the plan is printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: PlanOutput,
}

const AFTER_HELP: &str = "\
Reads the registries and the branches' heads, decides and edits as a run does, and stops before the
push. Nothing is pushed, told or recorded; the data directory is only read. Without it, what only
the ledger knows is missing: values that people set back are not held, and digests that were
reflected before are read anew.

Exit status: 0, or with --check 3 where something would be committed; 1 where a resource fails or a
branch cannot be read, so that the plan may lack something; 2 where the configuration or the data
cannot be read.

Examples:
  windlass plan --config ./config
  windlass plan --config ./config --data ./data
  windlass plan --config ./config --check > /dev/null || echo 'not up to date'
  windlass plan --config ./config --output json | jq -r '.branches[].commits[].files[].diff' | git apply";

/// How the plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlanOutput {
    /// Commits with their diffs, then what is waited for.
    Text,
    /// One JSON document.
    Json,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Document<'p> {
    /// Whether anything would be committed.
    changes: bool,
    #[serde(flatten)]
    plan: &'p Plan,
}

/// Plans, prints, and says by the exit status what was found.
///
/// # Errors
/// The configuration or the data cannot be read.
pub(crate) async fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let PlanArgs { config, data, require_guard, check, output } = args;
    let (_, configuration) = config::Source::open(config, *require_guard)?;
    for problem in &configuration.problems {
        eprintln!("{problem}");
    }
    let scratch = tempfile::Builder::new().prefix("windlass-plan-").tempdir();
    let scratch = scratch.context("a scratch folder could not be made")?;
    let store = scratch_store(scratch.path(), data.as_deref()).await?;
    let cache = data.as_ref().map_or(Cache::Nowhere, |data| Cache::Read(data.join(windlass_tuf::FOLDER)));
    let roots = windlass_tuf::fetch(&configuration.spec, &cache, SystemClock.now()).await;
    let plan = planned(scratch.path(), store.clone(), configuration.spec, roots).await;
    store.close().await.context("the scratch store")?;
    let plan = plan?;
    print(&match output {
        PlanOutput::Text => render(&plan),
        PlanOutput::Json => {
            let document = Document { changes: plan.changes(), plan: &plan };
            serde_json::to_string_pretty(&document)? + "\n"
        }
    })?;
    Ok(match (*check && plan.changes(), plan.is_complete()) {
        (true, _) => ExitCode::from(WOULD_CHANGE),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

/// A store that the plan may write to: a copy of the instance's, or an empty one.
async fn scratch_store(scratch: &Path, data: Option<&Path>) -> anyhow::Result<Store> {
    if let Some(data) = data {
        let shown = || format!("--data {}", data.display());
        let store = ReadOnly::open(data).await.with_context(shown)?;
        store.copy(scratch).await.with_context(shown)?;
    }
    Store::open(scratch, Arc::new(SystemClock)).await.context("the scratch store")
}

async fn planned(scratch: &Path, store: Store, spec: Arc<Spec>, roots: Roots) -> anyhow::Result<Plan> {
    let mut registry = Registry::default();
    let pool_config = PoolConfig { proxy_from_environment: true, ..PoolConfig::default() };
    let parts = Parts {
        clock: Arc::new(SystemClock),
        store,
        pool: Pool::new(pool_config, windlass_registry::Metrics::register(&mut registry)),
        // Nothing delivers what is told.
        sender: Sender::new(&SenderConfig::default()).context("the notifier")?,
        metrics: windlass_promoter::Metrics::register(&mut registry),
        spec: watch::channel(spec).1,
        roots: watch::channel(Arc::new(roots)).1,
        mirrors: scratch.join("mirrors"),
        git_clients: git_program::clients(),
    };
    plan(parts, &|what| eprintln!("{what}")).await.context("the ledger could not be read")
}

/// For people, and for `git apply`, which passes over everything between the diffs.
fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for branch in &plan.branches {
        push_branch(&mut text, branch);
    }
    if !plan.changes() {
        text.push_str("nothing would be committed\n");
    }
    if !plan.not_ready.is_empty() {
        text.push_str("\nNot ready:\n");
    }
    for status in &plan.not_ready {
        line(&mut text, &format!("  {} {}: {}", status.object, status.ready.as_str(), status.message));
    }
    text
}

fn push_branch(text: &mut String, branch: &BranchPlan) {
    let BranchPlan { git_repository, url, branch: name, head, commits, waiting, failures } = branch;
    let head = head.as_ref().map(|head| format!(" at {head}")).unwrap_or_default();
    line(text, &format!("GitRepository {git_repository} ({url}), branch {name}{head}:"));
    let count = commits.len();
    line(text, &format!("  {count} commit{}", if count == 1 { "" } else { "s" }));
    for reason in failures {
        line(text, &format!("  failed: {reason}"));
    }
    for waiting in waiting {
        for place in &waiting.places {
            line(text, &format!("  {}: {place}", waiting.automation));
        }
    }
    text.push('\n');
    for commit in commits {
        push_commit(text, commit);
    }
}

/// As `git log -p` shows one.
fn push_commit(text: &mut String, commit: &CommitPlan) {
    let CommitPlan { automation, author, message, files } = commit;
    line(text, &format!("commit by ImageUpdateAutomation/{automation}"));
    line(text, &format!("Author: {author}\n"));
    for message_line in message.trim_end().lines() {
        line(text, format!("    {message_line}").trim_end());
    }
    text.push('\n');
    for file in files {
        text.push_str(&file.diff);
        text.push('\n');
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}
