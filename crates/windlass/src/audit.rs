//! `windlass audit`: what happened to an image or a commit, from the event to the confirmation. Owns the arguments and what
//! is printed; `question` reads what is asked, `trail` finds what belongs to it, `text` puts it into words.

mod question;
mod text;
mod trail;

use std::process::ExitCode;

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde::Serialize;
use windlass_model::Clock as _;
use windlass_store::AuditEntry;

use crate::cli::{Output, print};
use crate::clock::SystemClock;
use crate::place::PlaceArgs;
use crate::table;
use question::Question;
use trail::Trail;

/// What is asked.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct AuditArgs {
    /// An image with or without tag and digest, NAMESPACE/NAME of an ImageRepository, KIND/NAMESPACE/NAME, or the id of a
    /// commit (four digits or more); without it, everything
    #[arg(value_name = "IMAGE|OBJECT|COMMIT")]
    about: Option<String>,
    /// Only what happened since: a date, a time (RFC 3339), or how long ago (`90m`, `24h`, `7d`)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// Show at most this many entries, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    place: PlaceArgs,
}

const AFTER_HELP: &str = "\
What is told, the oldest first: webhooks that were accepted (sender, delivery, event), looks at the
registry that an event led to or that found news, choices (from, to, digest, who signed), refusals,
commits with their files, notices that arrived or were given up, failures and their end, and what a
person asked for. Entries are kept for 30 days. A poll that finds nothing new leaves none.

Exit status: 0 where something is found, 1 where nothing is, 2 where the audit cannot be read.

Examples:
  windlass audit ghcr.io/stefanprodan/podinfo --data ./data
  windlass audit ghcr.io/stefanprodan/podinfo:6.7.1 --data ./data
  windlass audit apps/podinfo --since 24h --queue nats://nats:4222
  windlass audit 3f6c1b2 --data ./data --output json | jq '.entries[] | {at, kind, event}'";

/// Where a trail begins.
#[derive(Debug, Clone, Copy)]
enum Since {
    At(Timestamp),
    Ago(Span),
}

fn since(text: &str) -> Result<Since, String> {
    let date = |text: &str| text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok();
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    if let Some(midnight) = date(text) {
        return Ok(Since::At(midnight.timestamp()));
    }
    let span = text.parse::<Span>().ok().filter(|span| !span.is_negative());
    span.map(Since::Ago).ok_or_else(|| {
        "write a date (2026-01-31), a time (2026-01-31T12:00:00Z), or how long ago (24h)".to_owned()
    })
}

impl Since {
    fn before(self, now: Timestamp) -> anyhow::Result<Timestamp> {
        match self {
            Since::At(at) => Ok(at),
            Since::Ago(span) => {
                let ago = span.to_duration(SpanRelativeTo::days_are_24_hours())?;
                Ok(now.checked_sub(ago).unwrap_or(Timestamp::MIN))
            }
        }
    }
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Document<'t> {
    /// What was asked, as it was understood; absent for everything.
    about: Option<String>,
    /// When the oldest entry of the whole audit happened.
    reaches_back_to: Option<Timestamp>,
    /// How many older entries of the trail are not shown.
    left_out: usize,
    /// The oldest first.
    entries: &'t [AuditEntry],
}

/// Finds and prints.
///
/// # Errors
/// The audit cannot be read, or what is asked is nothing that it knows of.
pub(crate) async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let AuditArgs { about, since, limit, output, place } = args;
    let questions = match &about {
        None => vec![Question::Everything],
        Some(text) => question::readings(text)?,
    };
    let now = SystemClock.now();
    let since = since.map_or(Ok(Timestamp::MIN), |since| since.before(now))?;
    let view = place.place()?.view().await?;
    let begins = view.store.audit_begins().await?;
    let mut trail = Trail::default();
    let mut understood = None;
    for question in questions {
        trail = trail::follow(&view.store, &question, since, limit).await?;
        if !trail.entries.is_empty() {
            understood = Some(question);
            break;
        }
    }
    let document = Document {
        about: about.is_some().then(|| understood.as_ref().map_or_else(String::new, ToString::to_string)),
        reaches_back_to: begins,
        left_out: trail.left_out,
        entries: &trail.entries,
    };
    print(&match output {
        Output::Table if trail.entries.is_empty() => String::new(),
        Output::Table => render(&trail.entries),
        Output::Json => serde_json::to_string_pretty(&document)? + "\n",
    })?;
    if trail.entries.is_empty() {
        eprintln!("{}", nothing(about.as_deref(), since, begins));
        return Ok(ExitCode::FAILURE);
    }
    if trail.left_out > 0 {
        eprintln!("{} older entries are left out: --limit", trail.left_out);
    }
    Ok(ExitCode::SUCCESS)
}

fn render(entries: &[AuditEntry]) -> String {
    let rows = entries.iter().map(|entry| {
        [
            format!("{:.3}", entry.at),
            entry.kind.as_str().to_owned(),
            entry.object.to_string(),
            entry.event.clone().unwrap_or_else(|| "-".to_owned()),
            table::one_line(&text::describe(entry)),
        ]
    });
    table::render(&["TIME", "WHAT", "OBJECT", "EVENT", "DETAIL"], rows)
}

/// Why there is nothing to show, and how far back the audit reaches.
fn nothing(about: Option<&str>, since: Timestamp, begins: Option<Timestamp>) -> String {
    let what = about.map_or_else(|| "nothing".to_owned(), |about| format!("nothing about {about}"));
    let when = if since > Timestamp::MIN { format!(" since {since:.0}") } else { String::new() };
    match begins {
        Some(begins) => format!(
            "{what} happened{when}: the audit reaches back to {begins:.0} (entries are kept for 30 days)"
        ),
        None => format!("{what} happened{when}: the audit is empty"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_of_a_trail_is_a_date_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, wanted) in [
            ("2026-01-30", "2026-01-30T00:00:00Z"),
            ("2026-01-30T10:00:00+01:00", "2026-01-30T09:00:00Z"),
            ("90m", "2026-01-31T10:30:00Z"),
            ("24h", "2026-01-30T12:00:00Z"),
            ("7d", "2026-01-24T12:00:00Z"),
        ] {
            let at = since(text).unwrap().before(now).unwrap();
            assert_eq!(at, wanted.parse::<Timestamp>().unwrap(), "{text}");
        }
        for bad in ["", "yesterday", "-3h", "2026-13-01"] {
            assert!(since(bad).unwrap_err().contains("how long ago"), "{bad}");
        }
        assert!(since("3mo").unwrap().before(now).is_err(), "a month has no length of its own");
    }

    #[test]
    fn finding_nothing_says_how_far_back_the_audit_reaches() {
        let begins = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(
            nothing(Some("abcd"), Timestamp::MIN, Some(begins)),
            "nothing about abcd happened: the audit reaches back to 2026-01-31T12:00:00Z (entries are kept for 30 days)"
        );
        assert_eq!(
            nothing(None, begins, None),
            "nothing happened since 2026-01-31T12:00:00Z: the audit is empty"
        );
    }
}
