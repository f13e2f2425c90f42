//! How long finished things are kept (`--keep-deliveries`, `--keep-history`), and the task that forgets them.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_model::Clock;
use windlass_store::{Retention, Store};

/// Old deliveries, audit entries and sent notices are removed in small steps this often. Nothing can be kept for less.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// The two times.
#[derive(Debug, Args)]
pub(crate) struct RetentionArgs {
    /// Recognise repeated deliveries and notices for so long (7d, 36h, 90m)
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time, env = "WINDLASS_KEEP_DELIVERIES")]
    keep_deliveries: Duration,
    /// Keep the audit, and the memory of tags, digests and commits that are gone, for so long
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = time, env = "WINDLASS_KEEP_HISTORY")]
    keep_history: Duration,
}

impl From<RetentionArgs> for Retention {
    fn from(args: RetentionArgs) -> Self {
        Self { repetitions: args.keep_deliveries, history: args.keep_history }
    }
}

/// `7d`, `1d 12h`, `90m`: at least a minute. A day has 24 hours.
fn time(text: &str) -> Result<Duration, String> {
    let example = || "write a time like 7d, 36h or 90m".to_owned();
    let span: Span = text.parse().map_err(|_| example())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| example())?;
    match Duration::try_from(length) {
        Ok(length) if length >= PRUNE_EVERY => Ok(length),
        _ => Err("nothing is kept for less than a minute".to_owned()),
    }
}

/// Forgets what is old, until the process is to end. Nothing grows old faster than time passes: a clock that jumps ahead
/// must not take what is young.
pub(crate) async fn forget(
    store: Store,
    clock: Arc<dyn Clock>,
    retention: Retention,
    stop: CancellationToken,
) {
    let mut every = tokio::time::interval(PRUNE_EVERY);
    let (start, since) = (clock.now(), Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        loop {
            match store.prune(aged(start, since.elapsed(), clock.now()), retention).await {
                Ok(pruned) if pruned.more && !stop.is_cancelled() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::error!(%error, "old entries could not be removed");
                    break;
                }
            }
        }
    }
}

/// The clock's time, and at most as much later than the start as has passed since.
fn aged(start: Timestamp, passed: Duration, now: Timestamp) -> Timestamp {
    let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
    start.checked_add(passed).map_or(now, |at_most| now.min(at_most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        retention: RetentionArgs,
    }

    fn parsed(arguments: &[&str]) -> Result<Retention, String> {
        let all = ["windlass"].iter().chain(arguments);
        Cli::try_parse_from(all).map(|cli| cli.retention.into()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_stores() {
        assert_eq!(parsed(&[]), Ok(Retention::default()));
    }

    #[test]
    fn times_are_days_hours_and_minutes_and_no_less_than_a_minute() {
        for (text, seconds) in [("1m", 60), ("90m", 5400), ("36h", 129_600), ("1d 12h", 129_600)] {
            let kept = parsed(&["--keep-deliveries", text]).unwrap().repetitions;
            assert_eq!(kept, Duration::from_secs(seconds), "{text}");
        }
        for (text, words) in [("59s", "less than a minute"), ("-1d", "less than a minute"), ("7", "like 7d")]
        {
            let error = parsed(&[&format!("--keep-history={text}")]).unwrap_err();
            assert!(error.contains("--keep-history") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn nothing_grows_old_by_a_clock_that_jumps() {
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let (hour, day) = (SignedDuration::from_hours(1), SignedDuration::from_hours(24));
        let after_an_hour = |now| aged(start, Duration::from_hours(1), now);
        assert_eq!(after_an_hour(start + hour), start + hour);
        assert_eq!(after_an_hour(start + day), start + hour, "ahead");
        assert_eq!(after_an_hour(start - day), start - day, "back");
    }
}
