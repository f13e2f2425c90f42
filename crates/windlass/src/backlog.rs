//! `windlass queue`: what waits, what fails and why, and what was given up; and a person's hand in it.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use windlass_model::Clock as _;
use windlass_store::{Backlog, Intervention, Item};
use windlass_web::QueueAnswer;

use crate::cli::{Output, print};
use crate::client;
use crate::clock::SystemClock;
use crate::hands;
use crate::place::{Place, PlaceArgs};
use crate::table;

/// Most of each list that an instance tells of.
pub(crate) const MAX_LISTED: usize = 1000;

/// What is asked.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = AFTER_HELP)]
pub(crate) struct BacklogArgs {
    #[command(subcommand)]
    command: Option<BacklogCommand>,
    #[command(flatten)]
    list: ListArgs,
}

const AFTER_HELP: &str = "\
Work is never given up: what fails is tried again until it is done, and is shown here with its
attempts, its reason and its next try. Dead letters are notices that their service refused for
good; they are kept for 30 days.

Exit status of the list: 0 where nothing fails, 1 where work fails or a notice is dead, 2 where the
queue cannot be read.

Examples:
  windlass queue --data ./data
  windlass queue --queue nats://nats:4222
  windlass queue --data ./data --output json | jq '.work[] | {target, reason}'
  windlass queue retry ImageRepository/apps/podinfo --data ./data
  windlass queue retry --all --data ./data
  windlass queue drop 3f6c…/apps/slack --data ./data";

#[derive(Debug, Subcommand)]
enum BacklogCommand {
    /// Show what waits, what fails and why, and what was given up (as without a subcommand)
    List(ListArgs),
    /// Try work now, or send a dead notice again
    Retry(RetryArgs),
    /// Remove work or notices, for good
    Drop(DropArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Show at most this much work, and this many notices
    #[arg(long, value_name = "N", default_value = "100", value_parser = limit)]
    limit: usize,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The attempts are counted on. A registry or a service that asked to be left alone for a while is
still left alone.

Examples:
  windlass queue retry ImageRepository/apps/podinfo --data ./data
  windlass queue retry ImageUpdateAutomation/apps/fleet --queue nats://nats:4222
  windlass queue retry --all --data ./data")]
struct RetryArgs {
    /// KIND/NAMESPACE/NAME of the work, or a notice's id, as `windlass queue` shows them
    #[arg(value_name = "WORK|NOTICE", required_unless_present = "all", conflicts_with = "all")]
    items: Vec<String>,
    /// All work that waits for a later try, and all dead notices
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Work that is dropped is forgotten with the events that led to it; the next poll looks at the image
all the same. A notice that is dropped is never sent. The audit keeps that a person asked for it.
What is being worked on at this moment is left alone.

Examples:
  windlass queue drop ImageRepository/apps/podinfo --data ./data
  windlass queue drop 3f6c…/apps/slack --queue nats://nats:4222")]
struct DropArgs {
    /// KIND/NAMESPACE/NAME of the work, or a notice's id, as `windlass queue` shows them
    #[arg(value_name = "WORK|NOTICE", required = true)]
    items: Vec<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

fn limit(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_LISTED).contains(number));
    number.ok_or_else(|| format!("write a number from 1 to {MAX_LISTED}"))
}

/// Shows the queue, or changes it.
///
/// # Errors
/// The queue cannot be reached, or there is nothing of a name.
pub(crate) async fn run(args: BacklogArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        None => list(args.list).await,
        Some(BacklogCommand::List(args)) => list(args).await,
        Some(BacklogCommand::Retry(RetryArgs { items, all, place })) => {
            let place = place.place()?;
            if all {
                return ask_all(&place).await;
            }
            ask(&place, items, Intervention::Retry, "is due now").await
        }
        Some(BacklogCommand::Drop(DropArgs { items, place })) => {
            ask(&place.place()?, items, Intervention::Drop, "dropped").await
        }
    }
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let ListArgs { limit, output, place } = args;
    let mut backlog = read(&place.place()?).await?;
    let hidden = hide(&mut backlog, limit);
    print(&match output {
        Output::Table => render(&backlog, hidden),
        Output::Json => serde_json::to_string_pretty(&backlog)? + "\n",
    })?;
    let fails = backlog.failing > 0 || backlog.outbox.dead > 0;
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// From the running instance, which alone knows what it works on; else from the state itself.
async fn read(place: &Place) -> anyhow::Result<Backlog> {
    if let Some(data) = place.data()
        && let Some(backlog) = client::backlog(data).await?
    {
        return Ok(backlog);
    }
    Ok(place.view().await?.store.backlog(SystemClock.now(), MAX_LISTED).await?)
}

/// Shortens the lists. Returns how much is not shown of all that there is.
fn hide(backlog: &mut Backlog, limit: usize) -> u64 {
    let all = backlog.failing + backlog.retried.len() as u64 + backlog.outbox.dead;
    backlog.work.truncate(limit);
    backlog.dead.truncate(limit);
    backlog.retried.truncate(limit);
    let shown = backlog.work.len() + backlog.dead.len() + backlog.retried.len();
    all.saturating_sub(shown as u64)
}

async fn ask_all(place: &Place) -> anyhow::Result<ExitCode> {
    match answer(place, Intervention::RetryAll).await? {
        QueueAnswer::Changed { items } if items.is_empty() => print("nothing waits for a later try\n")?,
        QueueAnswer::Changed { items } => {
            let lines: Vec<String> = items.iter().map(|item| format!("{item} is due now\n")).collect();
            print(&lines.concat())?;
        }
        QueueAnswer::Unavailable { why } => bail!("{why}"),
        other => bail!("the instance answered {other:?}: is it another version of windlass that runs?"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(
    place: &Place,
    items: Vec<String>,
    intervention: impl Fn(Item) -> Intervention,
    done: &str,
) -> anyhow::Result<ExitCode> {
    for text in items {
        match answer(place, intervention(item(&text))).await? {
            QueueAnswer::Changed { .. } => print(&format!("{text} {done}\n"))?,
            QueueAnswer::Due => print(&format!("{text} is due already\n"))?,
            QueueAnswer::Busy => bail!(
                "{text} is being worked on at this moment: it is done soon, or waits again with a reason; look at \
                 `windlass queue` then"
            ),
            QueueAnswer::Unknown { near } => bail!(unknown(&text, &near)),
            QueueAnswer::Unavailable { why } => bail!("{why}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// From the running instance, or on the state itself where none runs.
async fn answer(place: &Place, intervention: Intervention) -> anyhow::Result<QueueAnswer> {
    if let Some(data) = place.data()
        && let Some(answer) = client::intervene(data, &intervention).await?
    {
        return Ok(answer);
    }
    let open = place.open().await?;
    let answer = hands::intervene(&open.store, intervention).await;
    open.store.close().await?;
    Ok(answer)
}

/// Work is named by its object; everything else is a notice's id.
fn item(text: &str) -> Item {
    text.parse().map_or_else(|_| Item::Notice(text.to_owned()), Item::Work)
}

fn unknown(text: &str, near: &[String]) -> String {
    let hint = match near {
        [] => "`windlass queue` shows what does".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    format!("nothing of the name {text} waits: {hint}")
}

fn render(backlog: &Backlog, hidden: u64) -> String {
    let Backlog { at, due, later, claimed, oldest, failing, work, outbox, retried, dead } = backlog;
    let oldest = oldest.map_or_else(String::new, |oldest| {
        format!("; the oldest is of {oldest:.0} ({} ago)", table::span(oldest, *at))
    });
    let mut text = format!(
        "work: {due} due, {later} later, {claimed} being worked on; {failing} failing{oldest}\n\
         notices: {} waiting, {} being sent, {} dead\n",
        outbox.waiting, outbox.sending, outbox.dead
    );
    if !work.is_empty() {
        let rows = work.iter().map(|work| {
            [
                work.target.to_string(),
                work.attempts.to_string(),
                if work.claimed { "now".to_owned() } else { next(work.not_before, *at) },
                table::span(work.first_at, *at),
                table::one_line(work.reason.as_deref().unwrap_or("-")),
            ]
        });
        text.push('\n');
        text.push_str(&table::render(
            &["FAILING WORK", "ATTEMPTS", "NEXT TRY", "WAITS SINCE", "REASON"],
            rows,
        ));
    }
    let retried = retried.iter().map(|notice| {
        let (id, notifier) = (notice.id.clone(), notice.notifier.clone());
        let (attempts, next) = (notice.attempts.to_string(), next(notice.not_before, *at));
        [id, notifier, attempts, next, table::one_line(&notice.error)]
    });
    let dead = dead.iter().map(|notice| {
        let (id, notifier) = (notice.id.clone(), notice.notifier.clone());
        let (attempts, since) = (notice.attempts.to_string(), format!("dead since {:.0}", notice.at));
        [id, notifier, attempts, since, table::one_line(&notice.error)]
    });
    let rows: Vec<_> = retried.chain(dead).collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table::render(&["NOTICE", "NOTIFIER", "ATTEMPTS", "NEXT TRY", "REASON"], rows));
    }
    if hidden > 0 {
        writeln!(text, "\n{hidden} more: --limit").expect("writing to a String cannot fail");
    }
    text
}

fn next(at: Timestamp, now: Timestamp) -> String {
    if at <= now { "due".to_owned() } else { format!("in {}", table::span(now, at)) }
}

#[cfg(test)]
mod tests {
    use windlass_store::{DeadNotice, OutboxDepth, QueuedWork, RetriedNotice};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn backlog() -> Backlog {
        let work = |name: &str, attempts, claimed| QueuedWork {
            target: format!("ImageRepository/apps/{name}").parse().unwrap(),
            not_before: at(42),
            attempts,
            first_at: at(-7_384),
            reason: Some("503:\n  unavailable".to_owned()),
            claimed,
        };
        Backlog {
            at: at(0),
            due: 1,
            later: 2,
            claimed: 1,
            oldest: Some(at(-90)),
            failing: 2,
            work: vec![work("podinfo", 12, false), work("a", 1, true)],
            outbox: OutboxDepth { waiting: 1, dead: 1, ..OutboxDepth::default() },
            retried: vec![RetriedNotice {
                id: "1f/apps/slack".to_owned(),
                notifier: "apps/slack".to_owned(),
                attempts: 3,
                error: "429".to_owned(),
                not_before: at(-1),
            }],
            dead: vec![DeadNotice {
                id: "2f/apps/hook".to_owned(),
                notifier: "apps/hook".to_owned(),
                attempts: 1,
                error: "404 no_service".to_owned(),
                at: at(-10),
            }],
        }
    }

    #[test]
    fn table_aligns_and_says_what_fails_why_and_when_it_is_tried_again() {
        let wanted = "\
work: 1 due, 2 later, 1 being worked on; 2 failing; the oldest is of 2027-01-15T07:58:30Z (1m 30s ago)
notices: 1 waiting, 0 being sent, 1 dead

FAILING WORK                  ATTEMPTS  NEXT TRY  WAITS SINCE  REASON
ImageRepository/apps/podinfo  12        in 42s    2h 3m        503: unavailable
ImageRepository/apps/a        1         now       2h 3m        503: unavailable

NOTICE         NOTIFIER    ATTEMPTS  NEXT TRY                         REASON
1f/apps/slack  apps/slack  3         due                              429
2f/apps/hook   apps/hook   1         dead since 2027-01-15T07:59:50Z  404 no_service
";
        assert_eq!(render(&backlog(), 0), wanted);
    }

    #[test]
    fn what_the_limit_hides_is_counted() {
        let mut backlog = backlog();
        assert_eq!(hide(&mut backlog, 1), 1);
        assert_eq!((backlog.work.len(), backlog.retried.len(), backlog.dead.len()), (1, 1, 1));
        assert!(render(&backlog, 1).ends_with("\n1 more: --limit\n"));
    }

    #[test]
    fn work_is_named_by_its_object_and_everything_else_is_a_notice() {
        let target = "ImageRepository/apps/podinfo".parse().unwrap();
        assert_eq!(item("imagerepo/apps/podinfo"), Item::Work(target));
        assert_eq!(item("1f2e/apps/slack"), Item::Notice("1f2e/apps/slack".to_owned()));
        assert_eq!(item("apps/podinfo"), Item::Notice("apps/podinfo".to_owned()));
    }

    #[test]
    fn unknown_name_is_answered_with_the_near_ones_or_with_where_to_look() {
        assert_eq!(unknown("a", &[]), "nothing of the name a waits: `windlass queue` shows what does");
        let near = ["b".to_owned(), "c".to_owned()];
        assert_eq!(unknown("a", &near), "nothing of the name a waits: did you mean b or c?");
    }
}
