//! The command line.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use windlass_model::{ObjectKey, ObjectRef};
use windlass_web::Resume;

use crate::logs::LogFormat;
use crate::queue::QueueArgs;
use crate::retention::RetentionArgs;
use crate::{
    audit, backlog, client, config, edit, guard_import, logs, plan, run, select, trust_roots, verify,
    verify_bundle,
};

/// A registry push becomes a verified, pinned Git commit in about a second.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  windlass check --config ./config                 Validate a configuration directory
  windlass plan --config ./config                  See what a run would commit now
  windlass run --config ./config --data ./data     Run, with webhooks on 127.0.0.1:9292
  windlass status --data ./data                    See what works, what fails, and why
  windlass reconcile ImageRepository/apps/podinfo --data ./data
                                                   Look at an image now
  windlass queue --data ./data                     See what waits and what is tried in vain
  windlass audit ghcr.io/stefanprodan/podinfo:6.7.1 --data ./data
                                                   See what happened to an image
  git tag | windlass select --semver '>=1.0.0'     Try a policy over any tags
  windlass edit ./clusters --set apps:podinfo=ghcr.io/stefanprodan/podinfo:6.7.1
                                                   Write an image where its markers are";

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive webhooks, poll registries, and commit what the policies choose
    Run(RunArgs),
    /// Validate a configuration directory and show what is in it
    Check(CheckArgs),
    /// Show what a run would commit now, with diffs, and what it waits for
    Plan(plan::PlanArgs),
    /// Show each resource of a running instance: ready, or why not
    Status(StatusArgs),
    /// Ask a running instance to look at an object now
    Reconcile(ReconcileArgs),
    /// Let a running instance write again where a person had set an older value
    Resume(ResumeArgs),
    /// Show what waits, fails and was given up; try it now, or drop it
    Queue(Box<backlog::BacklogArgs>),
    /// Show what happened to an image or a commit, from the event to the confirmation
    Audit(Box<audit::AuditArgs>),
    /// Choose among tags as a policy does, and explain why
    Select(select::SelectArgs),
    /// Write images into files: marked values, kustomizations, Helm values, any value by path
    Edit(edit::EditArgs),
    /// Verify an image by Guards, or by a key or identities
    Verify(Box<verify::VerifyArgs>),
    /// Verify one Sigstore bundle over a file or a digest
    VerifyBundle(verify_bundle::VerifyBundleArgs),
    /// Fetch the trust roots that Guards take from TUF repositories, for an instance without a network
    TrustRoots(trust_roots::TrustRootsArgs),
    /// Make Guards out of other tools' policies
    #[command(subcommand)]
    Guard(guard_import::GuardCommand),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windlass run --config /etc/windlass --data /var/lib/windlass --listen 0.0.0.0:9292
  windlass run --config ./config --data ./data --admin-listen 127.0.0.1:9293 --log-format json

Resources are read from every *.yaml and *.yml below --config and followed while running.
Metrics are on /metrics, probes on /healthz and /readyz: on --listen, or on --admin-listen where it is given.")]
struct RunArgs {
    /// Directory with the resources, as YAML files
    #[arg(long, value_name = "DIR", env = "WINDLASS_CONFIG")]
    config: PathBuf,
    /// Directory for the queue, the ledger and the Git mirrors; created if it does not exist
    #[arg(long, value_name = "DIR", env = "WINDLASS_DATA")]
    data: PathBuf,
    /// Address for webhooks (port 0 takes a free one)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9292", env = "WINDLASS_LISTEN")]
    listen: SocketAddr,
    /// Move metrics, probes and the local API to this address, off the webhooks' port
    #[arg(long, value_name = "ADDR", env = "WINDLASS_ADMIN_LISTEN")]
    admin_listen: Option<SocketAddr>,
    /// Refuse images that no Guard concerns
    #[arg(long, env = "WINDLASS_REQUIRE_GUARD")]
    require_guard: bool,
    #[command(flatten)]
    retention: RetentionArgs,
    /// How log lines look
    #[arg(long, value_enum, default_value = "human", env = "WINDLASS_LOG_FORMAT")]
    log_format: LogFormat,
    /// What is logged: a level, or a filter such as `info,windlass_git=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "WINDLASS_LOG_LEVEL")]
    log_level: String,
    #[command(flatten)]
    queue: QueueArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 where everything is right, 1 on any error.

Examples:
  windlass check --config ./config
  windlass check --config ./config --output json | jq '.problems'")]
struct CheckArgs {
    /// Directory with the resources, as YAML files
    #[arg(long, value_name = "DIR", env = "WINDLASS_CONFIG")]
    config: PathBuf,
    /// Refuse images that no Guard concerns
    #[arg(long, env = "WINDLASS_REQUIRE_GUARD")]
    require_guard: bool,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 where nothing fails, 1 where a resource fails, 2 where no instance answers.

Examples:
  windlass status --data ./data
  windlass status --data ./data --output json | jq '.resources[] | select(.ready == \"failing\")'")]
struct StatusArgs {
    /// The data directory of the running instance
    #[arg(long, value_name = "DIR", env = "WINDLASS_DATA")]
    data: PathBuf,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windlass reconcile ImageRepository/apps/podinfo --data ./data
  windlass reconcile ImageUpdateAutomation/apps/fleet --data ./data")]
struct ReconcileArgs {
    /// KIND/NAMESPACE/NAME
    object: ObjectRef,
    /// The data directory of the running instance
    #[arg(long, value_name = "DIR", env = "WINDLASS_DATA")]
    data: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A value that a person set back to an older release is held: Windlass leaves it alone until something newer than the
rejected release is chosen, or the policy changes. `windlass status` shows what is held.

Examples:
  windlass resume apps/fleet --data ./data                    Lift every hold of the automation
  windlass resume apps/fleet --policy podinfo --data ./data   Lift the holds of one policy")]
struct ResumeArgs {
    /// The ImageUpdateAutomation: NAMESPACE/NAME
    #[arg(value_name = "NAMESPACE/NAME", value_parser = automation)]
    automation: ObjectKey,
    /// Only the holds of this ImagePolicy of the automation's namespace
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// The data directory of the running instance
    #[arg(long, value_name = "DIR", env = "WINDLASS_DATA")]
    data: PathBuf,
}

fn automation(text: &str) -> Result<ObjectKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectKey::new(namespace, name))
        }
        _ => Err("write NAMESPACE/NAME, for example apps/fleet".to_owned()),
    }
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns for people.
    Table,
    /// One JSON document.
    Json,
}

/// Parses the arguments and runs the command.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Run(args) => run_command(args),
        Command::Check(args) => check(&args),
        Command::Plan(args) => block_on(plan::run(&args)),
        Command::Status(args) => block_on(status(&args)),
        Command::Reconcile(args) => block_on(reconcile(&args)),
        Command::Resume(args) => block_on(resume(args)),
        Command::Queue(args) => block_on(backlog::run(*args)),
        Command::Audit(args) => block_on(audit::run(*args)),
        Command::Select(args) => block_on(select::run(&args)),
        Command::Edit(args) => edit::run(args),
        Command::Verify(args) => block_on(verify::run(*args)),
        Command::VerifyBundle(args) => block_on(verify_bundle::run(&args)),
        Command::TrustRoots(args) => block_on(trust_roots::run(&args)),
        Command::Guard(command) => guard_import::run(&command),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

fn run_command(args: RunArgs) -> anyhow::Result<ExitCode> {
    let RunArgs {
        config,
        data,
        listen,
        admin_listen,
        require_guard,
        retention,
        log_format,
        log_level,
        queue,
    } = args;
    let (retention, part) = (retention.into(), queue.part()?);
    logs::install(log_format, &log_level)?;
    #[cfg(debug_assertions)]
    crate::fail_points::arm()?;
    let settings = run::Settings { config, data, listen, admin_listen, require_guard, retention, part };
    match block_on(run::run(settings)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            tracing::error!("{error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let report = config::check(&args.config, args.require_guard);
    print(&match args.output {
        Output::Table => report.table(),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    })?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let report = client::status(&args.data).await?;
    print(&match args.output {
        Output::Table => client::render(&report),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    })?;
    Ok(if client::is_failing(&report) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    let ResumeArgs { automation, policy, data } = args;
    for target in client::resume(&data, &Resume { automation, policy }).await? {
        print(&format!("{target} queued\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn reconcile(args: &ReconcileArgs) -> anyhow::Result<ExitCode> {
    for target in client::reconcile(&args.data, &args.object).await? {
        print(&format!("{target} queued\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output cannot be written"),
    }
}

fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().context("the runtime could not be started")?.block_on(task)
}
