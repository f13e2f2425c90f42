//! Seeing from outside when a branch moves, without a hook that would slow the server down: a thread reads the ref's
//! file at short intervals.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::watch;

/// Between two looks: short beside a push of tens of milliseconds, long beside the few microseconds that a look takes.
const INTERVAL: Duration = Duration::from_micros(250);

/// A branch that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// When it was seen.
    pub at: Instant,
    /// Where it points since.
    pub commit: String,
}

/// Watches one branch until it is dropped.
#[derive(Debug)]
pub struct RefWatch {
    moves: watch::Receiver<Vec<Move>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RefWatch {
    /// Watches a branch of a bare repository, which must have it as a file of its own (not packed).
    ///
    /// # Errors
    /// When it has not.
    pub fn start(repository: &Path, branch: &str) -> Result<Self> {
        let file = repository.join("refs/heads").join(branch);
        let first = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let (sender, moves) = watch::channel(Vec::new());
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("ref watch".to_owned())
            .spawn(move || {
                let mut last = first;
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                    look(&file, &mut last, &sender);
                }
            })
            .context("starting a thread")?;
        Ok(Self { moves, stop: Some(stop), thread: Some(thread) })
    }

    /// The move with this number, counted from 0 at the start; waits for it.
    ///
    /// # Errors
    /// When the branch does not move so often within this time.
    ///
    /// # Panics
    /// Never: a move that was waited for is there.
    pub async fn moved(&mut self, number: usize, within: Duration) -> Result<Move> {
        let wait = self.moves.wait_for(|moves| moves.len() > number);
        let moves = tokio::time::timeout(within, wait)
            .await
            .with_context(|| format!("the branch did not move within {within:?}"))?
            .context("the branch is not watched any more")?;
        Ok(moves[number].clone())
    }
}

impl Drop for RefWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only have ended by a panic, which it has printed.
            drop(thread.join());
        }
    }
}

fn look(file: &Path, last: &mut String, moves: &watch::Sender<Vec<Move>>) {
    // Git replaces the file by a rename, so it is never seen half written.
    let Ok(now) = fs::read_to_string(file) else { return };
    if now != *last {
        let seen = Move { at: Instant::now(), commit: now.trim_end().to_owned() };
        moves.send_modify(|moves| moves.push(seen));
        *last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::{Storage, fresh};
    use crate::git_repository::{BRANCH, BareRepository};

    #[tokio::test]
    async fn every_move_of_the_branch_is_seen_with_its_commit() {
        let folder = fresh(Storage::Memory).unwrap();
        let path = folder.path().join("a.git");
        let repository = BareRepository::create(&path, [("a", "1")]).await.unwrap();
        let mut watch = RefWatch::start(repository.folder(), BRANCH).unwrap();
        for number in 0..2 {
            let before = Instant::now();
            let commit = repository.commit(BRANCH, "Next\n", [("a", number.to_string())]).await.unwrap();
            let moved = watch.moved(number, Duration::from_secs(30)).await.unwrap();
            assert_eq!(moved.commit, commit);
            assert!(moved.at > before);
        }
    }
}
