//! Waiting for a condition, up to a deadline, with a message that says what was awaited and what was seen last.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep_until};

/// How long to wait between two looks. Short beside anything that is measured here, long beside the cost of a look.
const INTERVAL: Duration = Duration::from_millis(5);

/// Looks again and again until `probe` gives a value.
///
/// `Ok(None)` and an error both mean "not yet": a server that still starts refuses connections. The last error is part
/// of the message when the deadline passes.
///
/// # Errors
/// When `within` has passed; the message names `what`.
pub async fn eventually<T>(
    within: Duration,
    what: impl Display,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut last_error = None;
    loop {
        match tokio::time::timeout_at(deadline, probe()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => last_error = Some(error),
            Err(_) => break,
        }
        if Instant::now() >= deadline {
            break;
        }
        sleep_until(Instant::now() + INTERVAL).await;
    }
    match last_error {
        Some(error) => Err(error.context(format!("waited {within:?} for {what}; the last look failed"))),
        None => bail!("waited {within:?} for {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_the_first_value() {
        let mut looks = 0;
        let value = eventually(Duration::from_secs(5), "the third look", async || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        })
        .await
        .unwrap();
        assert_eq!(value, 3);
    }

    #[tokio::test]
    async fn names_what_was_awaited_and_the_last_error() {
        let error =
            eventually::<()>(Duration::from_millis(20), "a tag", async || bail!("connection refused"))
                .await
                .unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("a tag") && text.contains("connection refused"), "{text}");
    }

    #[tokio::test]
    async fn a_probe_that_hangs_does_not_outlive_the_deadline() {
        let hanging = eventually::<()>(Duration::from_millis(20), "a hanging probe", async || {
            std::future::pending::<()>().await;
            Ok(None)
        });
        let waited = tokio::time::timeout(Duration::from_secs(10), hanging).await;
        assert!(waited.expect("the deadline ends the wait").is_err());
    }
}
