//! The baseline: the `git` program pushes commits that were made beforehand in a clone. Each makes the same edit to the
//! same file as a commit of Windlass would.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::fleet::Fleet;
use windlass_testkit::git_repository::{BRANCH, BareRepository};
use windlass_testkit::git_server::{Checkout, GitServer};

use super::ref_watch::RefWatch;
use super::stage::PATIENCE;

/// A repository of its own on the server, and the commits that wait to be pushed to it.
pub(crate) struct BarePushes {
    repository: BareRepository,
    checkout: Checkout,
    commits: VecDeque<String>,
}

/// How long one push took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BarePush {
    /// From the start of the process to its end.
    pub(crate) process: Duration,
    /// From the start of the process until the branch moved.
    pub(crate) moved: Duration,
}

impl BarePushes {
    /// Makes the repository, clones it, and commits: the marked file of policy 0, 1, … at the tag that `tag` gives.
    pub(crate) async fn prepare(
        server: &GitServer,
        name: &str,
        fleet: Fleet,
        host: &str,
        commits: usize,
        tag: impl Fn(usize) -> String,
    ) -> Result<Self> {
        let repository = fleet.create(server, name, host).await?;
        let checkout = server.clone_repository(name).await?;
        let mut waiting = VecDeque::with_capacity(commits);
        for (number, (path, policy)) in fleet.marked_files().into_iter().cycle().take(commits).enumerate() {
            let text = fleet.marked_text(&path, host, policy, &tag(number));
            std::fs::write(checkout.folder().join(&path), text).context("editing a file in a clone")?;
            checkout.git(&["add", "--", &path]).await?;
            checkout.git(&["commit", "--quiet", "--message", &format!("Update {path}")]).await?;
            waiting.push_back(checkout.git(&["rev-parse", "HEAD"]).await?);
        }
        Ok(Self { repository, checkout, commits: waiting })
    }

    /// Pushes the next commit.
    pub(crate) async fn push(&mut self) -> Result<BarePush> {
        let commit = self.commits.pop_front().context("no prepared commit is left")?;
        let target = format!("{commit}:refs/heads/{BRANCH}");
        let mut command = self.checkout.command(&["push", "--quiet", "origin", &target]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut watch = RefWatch::start(self.repository.folder(), BRANCH)?;
        let started = Instant::now();
        let output = command.output().await.context("running git push")?;
        let process = started.elapsed();
        ensure!(output.status.success(), "git push: {}", String::from_utf8_lossy(&output.stderr));
        let moved = watch.moved(0, PATIENCE).await?;
        ensure!(moved.commit == commit, "the branch moved to {} and not to {commit}", moved.commit);
        Ok(BarePush { process, moved: moved.at.duration_since(started) })
    }
}
