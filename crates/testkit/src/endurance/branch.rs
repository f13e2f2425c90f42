//! Following the branch of an estate: which release of each image is on it, and since when.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::estate::Estate;
use super::history::entries;
use crate::git_repository::{BRANCH, BareRepository};
use crate::ref_watch::RefWatch;

/// A branch that stands still is looked at again after this.
const STILL: Duration = Duration::from_hours(24);

/// What was seen on the branch so far.
#[derive(Debug, Clone, Default)]
pub struct Landed {
    /// For each image, the release that the branch has.
    pub releases: Vec<usize>,
    /// For each image, when it came; `None` before the first.
    pub since: Vec<Option<Instant>>,
    /// When the branch moved last.
    pub moved: Option<Instant>,
}

/// Follows until it is dropped.
#[derive(Debug)]
pub struct Branch {
    landed: watch::Receiver<Landed>,
    _follower: JoinSet<Result<()>>,
}

impl Branch {
    /// Follows the branch of an estate that nothing was committed to yet.
    ///
    /// # Errors
    /// When the branch cannot be watched.
    pub async fn follow(estate: &Estate) -> Result<Self> {
        let images = estate.images();
        let first = Landed { releases: vec![0; images], since: vec![None; images], moved: None };
        let (sender, landed) = watch::channel(first);
        let repository = estate.repository.clone();
        let last = repository.git(&["rev-parse", BRANCH]).await?;
        let watched = RefWatch::start(repository.folder(), BRANCH)?;
        let mut follower = JoinSet::new();
        follower.spawn(follow(repository, watched, last, sender));
        Ok(Self { landed, _follower: follower })
    }

    /// What is on it, to be waited for.
    pub fn landed(&self) -> watch::Receiver<Landed> {
        self.landed.clone()
    }
}

async fn follow(
    repository: BareRepository,
    mut watch: RefWatch,
    mut last: String,
    landed: watch::Sender<Landed>,
) -> Result<()> {
    for number in 0.. {
        let moved = watch.moved(number, STILL).await?;
        let new = entries(&repository, &format!("{last}..{}", moved.commit)).await?;
        landed.send_modify(|landed| {
            landed.moved = Some(moved.at);
            for &(image, release) in new.iter().flat_map(|entry| &entry.placed) {
                // What a history must not have is judged at the end, not here.
                if let (Some(now), Some(since)) =
                    (landed.releases.get_mut(image), landed.since.get_mut(image))
                {
                    (*now, *since) = (release, Some(moved.at));
                }
            }
        });
        last = moved.commit;
    }
    Ok(())
}

/// Waits for something on the branch.
///
/// # Errors
/// When it does not come `within` that time.
pub async fn seen(
    landed: &mut watch::Receiver<Landed>,
    within: Duration,
    wanted: impl Fn(&Landed) -> bool,
) -> Result<()> {
    let arrival = tokio::time::timeout(within, landed.wait_for(wanted));
    let found = arrival.await.with_context(|| format!("not on the branch within {within:?}"))?;
    found.map(drop).context("the branch is not followed any more")
}
