//! `windlass select`: a policy over tags, to try it or to use it in a script. Owns the arguments and what is printed;
//! what is chosen and why is `windlass_policy`'s business.

mod rule;
mod tags;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgGroup, Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use windlass_model::Tag;
use windlass_model::resource::{LeadingOrder, Order};
use windlass_policy::explain::{self, Explanation, TagVerdict};

use crate::table;
use rule::Chooser;
use tags::TagsSeen;

/// What is asked.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("rule").required(true).args(["policy", "semver", "numerical", "alphabetical"]),
    after_help = AFTER_HELP
)]
pub(crate) struct SelectArgs {
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    tags: TagArgs,
    /// Print every tag, and why it was chosen, beaten or dropped
    #[arg(long)]
    explain: bool,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: SelectOutput,
}

const AFTER_HELP: &str = "\
Tags stand one a line, each optionally followed by the time at which it was first seen
(2026-01-15T10:00:00Z), which the order newest-pushed compares. Tags that hold signatures are
never candidates. The exclusion list is that of the ImageRepository where the file of --policy
has it, else Flux's default.

Exit status: 0 where a tag is chosen, 1 where none is, 2 where the policy or another argument is
invalid, or where the tags cannot be read.

Examples:
  git tag | windlass select --semver '>=1.0.0'
  windlass select --policy podinfo.yaml --image ghcr.io/stefanprodan/podinfo --explain
  windlass select --numerical asc --pattern '^main-.*-([0-9]+)$' --extract '$1' --tags tags.txt
  windlass select --alphabetical asc --order 'calver:YYYY.0M.0D[-MICRO]' --tags tags.txt
  windlass select --semver 1.x --variant-lock --current 1.2.3-alpine --tags tags.txt -o json";

/// The policy, as a file or as flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Policy")]
struct RuleArgs {
    /// File with the ImagePolicy
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pattern", "extract", "order", "variant_lock"])]
    policy: Option<PathBuf>,
    /// Which ImagePolicy, where the file has several: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "NAME", requires = "policy")]
    name: Option<String>,
    /// The highest version in this range
    #[arg(long, value_name = "RANGE")]
    semver: Option<String>,
    /// The largest number (asc), or the smallest (desc)
    #[arg(long, value_name = "asc|desc", value_parser = direction)]
    numerical: Option<Order>,
    /// The last text, bytewise (asc), or the first (desc)
    #[arg(long, value_name = "asc|desc", value_parser = direction)]
    alphabetical: Option<Order>,
    /// Only tags that match this regular expression, in Go's syntax
    #[arg(long, value_name = "RE")]
    pattern: Option<String>,
    /// What is compared instead of the tag: a template with the pattern's groups
    #[arg(long, value_name = "TEMPLATE", requires = "pattern")]
    extract: Option<String>,
    /// What is compared first: newest-pushed, or calver:FORMAT
    #[arg(long, value_name = "ORDER")]
    order: Option<LeadingOrder>,
    /// Only tags of the variant of --current (-alpine, -slim); without it, tags without a variant
    #[arg(long)]
    variant_lock: bool,
    /// The tag that stands in Git: what a variant lock keeps
    #[arg(long, value_name = "TAG")]
    current: Option<Tag>,
}

/// Where the tags come from; by default standard input.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tags (by default from standard input)")]
struct TagArgs {
    /// File with the tags; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    tags: Option<PathBuf>,
    /// Repository whose tags are read from its registry
    #[arg(long, value_name = "REPO")]
    image: Option<String>,
    /// Docker configuration with the registry's credentials; credential helpers are never run
    #[arg(long, value_name = "FILE", requires = "image")]
    docker_config: Option<PathBuf>,
    /// Allow plain HTTP to the registry
    #[arg(long, requires = "image")]
    insecure: bool,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SelectOutput {
    /// The tag alone; with --explain a table
    Text,
    /// One JSON document
    Json,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Document<'e> {
    chosen: Option<&'e str>,
    reason: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'e [TagVerdict]>,
}

/// Chooses, prints, and says by the exit status whether anything was chosen.
///
/// # Errors
/// The policy or another argument is invalid, or the tags cannot be read.
pub(crate) async fn run(args: &SelectArgs) -> anyhow::Result<ExitCode> {
    // The policy first: an invalid one is told whatever the tags are, and without waiting for them.
    let chooser = Chooser::new(&args.rule)?;
    let seen = tags::read(&args.tags).await?;
    chooser.check_times(&seen)?;
    let mut explanation = explain::explain(&chooser.selector, &chooser.exclusions, seen.candidates());
    if seen.is_empty() {
        explanation.reason = Some("there are no tags".to_owned());
    }
    print(&rendered(args, &chooser, &explanation)?).context("the result could not be printed")?;
    let Some(reason) = &explanation.reason else { return Ok(ExitCode::SUCCESS) };
    eprintln!("no tag is chosen: {reason}{}", hint(args, &seen));
    Ok(ExitCode::FAILURE)
}

/// The way to the cause of each tag, unless it was taken or there is nothing to see.
fn hint(args: &SelectArgs, seen: &TagsSeen) -> String {
    if args.explain || seen.is_empty() {
        return String::new();
    }
    format!(" ({} tags were read; --explain says why each was dropped)", seen.len())
}

fn rendered(args: &SelectArgs, chooser: &Chooser, explanation: &Explanation) -> anyhow::Result<String> {
    let Explanation { chosen, reason, tags } = explanation;
    Ok(match args.output {
        SelectOutput::Json => {
            let (chosen, reason) = (chosen.as_deref(), reason.as_deref());
            let document = Document { chosen, reason, tags: args.explain.then_some(tags) };
            serde_json::to_string_pretty(&document)? + "\n"
        }
        SelectOutput::Text if args.explain && chooser.selector.is_led_by_time() => {
            let rows = tags.iter().map(|tag| {
                let first_seen = tag.first_seen.map_or("unknown".to_owned(), seconds);
                [tag.tag.clone(), value(tag), first_seen, tag.verdict.to_string()]
            });
            table::render(&["TAG", "COMPARED", "FIRST SEEN", "VERDICT"], rows)
        }
        SelectOutput::Text if args.explain => {
            let rows = tags.iter().map(|tag| [tag.tag.clone(), value(tag), tag.verdict.to_string()]);
            table::render(&["TAG", "COMPARED", "VERDICT"], rows)
        }
        SelectOutput::Text => chosen.as_ref().map_or(String::new(), |tag| format!("{tag}\n")),
    })
}

/// What was compared, where that is not the tag itself.
fn value(tag: &TagVerdict) -> String {
    tag.value.as_ref().map_or_else(|| "-".to_owned(), |value| value.escape_debug().to_string())
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn direction(text: &str) -> Result<Order, String> {
    match text {
        "asc" => Ok(Order::Asc),
        "desc" => Ok(Order::Desc),
        _ => Err("write `asc` or `desc`".to_owned()),
    }
}

/// A reader that has seen enough, as `head`, closes the pipe: that is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
