//! Turns for what needs much memory while it lasts: fetching or reading very many contents. Mirrors that share a client
//! pool take turns, so that a hundred of them need no more than a few when a process starts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Mirrors at a time. One works while another waits for its server.
const TURNS: usize = 2;
/// Contents from which on it is much: some megabytes of usual manifests.
const MANY: usize = 1_000;
/// Longest wait for a turn. A server that stalls must not hold up other people's mirrors, so memory gives way then.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Cheap to clone; clones share the turns.
#[derive(Clone)]
pub(crate) struct Bulk(Arc<Semaphore>);

impl Bulk {
    /// Waits for a turn, which ends when it is dropped. Small work needs none.
    pub(crate) async fn turn(&self, contents: usize) -> Option<OwnedSemaphorePermit> {
        if contents < MANY {
            return None;
        }
        tokio::time::timeout(LONGEST_WAIT, Arc::clone(&self.0).acquire_owned()).await.ok()?.ok()
    }
}

impl Default for Bulk {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TURNS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn small_work_never_waits_and_large_work_not_for_ever() {
        let bulk = Bulk::default();
        let turns = [bulk.turn(MANY).await, bulk.turn(MANY).await];
        assert!(turns.iter().all(Option::is_some));
        assert!(bulk.turn(MANY - 1).await.is_none());
        let started = tokio::time::Instant::now();
        assert!(bulk.turn(MANY).await.is_none());
        assert_eq!(started.elapsed(), LONGEST_WAIT);
        drop(turns);
        assert!(bulk.turn(MANY).await.is_some());
    }
}
