//! Follows a directory while running. Owns the rhythm; what a change means is the source's business.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Configuration, Source};

/// How often the directory is looked at. File notifications do not work on network file systems and miss the swaps of
/// mounted ConfigMaps; looking at 1,000 unchanged files takes a few milliseconds.
const PERIOD: Duration = Duration::from_secs(1);

impl Source {
    /// Publishes every change until `stop` is cancelled. Logs the configuration that the channel starts with.
    pub async fn follow(self, sender: watch::Sender<Arc<Configuration>>, stop: CancellationToken) {
        self.follow_every(PERIOD, sender, stop).await;
    }

    async fn follow_every(
        mut self,
        period: Duration,
        sender: watch::Sender<Arc<Configuration>>,
        stop: CancellationToken,
    ) {
        sender.borrow().log(None);
        let mut every = tokio::time::interval(period);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            let look = tokio::task::spawn_blocking(move || {
                let changed = self.poll();
                (self, changed)
            });
            let changed;
            (self, changed) = match look.await {
                Ok(looked) => looked,
                Err(error) => {
                    tracing::error!(%error, "the configuration directory is no longer followed");
                    return;
                }
            };
            if let Some(configuration) = changed {
                configuration.log(Some(&sender.borrow()));
                sender.send_replace(Arc::new(configuration));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Directory, intervals, repository};
    use super::*;

    /// Long enough for any machine; nothing waits for it when all is well.
    const PATIENCE: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn changes_are_published_and_broken_ones_keep_what_was_good() {
        let directory = Directory::with(&[("a.yaml", &repository("a", "1m"))]);
        let (source, first) = directory.open();
        let (sender, mut receiver) = watch::channel(Arc::new(first));
        let stop = CancellationToken::new();
        let followed = source.follow_every(Duration::from_millis(10), sender, stop.clone());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(followed);
        for (text, expected, kept) in [
            (repository("a", "2m"), 120, 0),
            (repository("a", "no"), 120, 1),
            ("{{".to_owned(), 120, 1),
            (repository("a", "3m"), 180, 0),
        ] {
            directory.write("a.yaml", &text);
            tokio::time::timeout(PATIENCE, receiver.changed()).await.unwrap().unwrap();
            let configuration = receiver.borrow_and_update().clone();
            assert_eq!(intervals(&configuration), [("a", expected)], "{text}");
            assert_eq!(configuration.kept.len(), kept, "{text}");
        }
        assert_eq!(receiver.borrow().generation, 5);
        stop.cancel();
        tokio::time::timeout(PATIENCE, tasks.join_next()).await.unwrap().unwrap().unwrap();
    }
}
