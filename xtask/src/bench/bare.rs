//! The baseline: the `git` program pushes commits that were made beforehand in a clone. Each makes the same edits to the
//! same files as a commit of Windlass would.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use windlass_testkit::fleet::Fleet;
use windlass_testkit::git_repository::{BRANCH, BareRepository};
use windlass_testkit::git_server::{Checkout, GitServer};
use windlass_testkit::ref_watch::RefWatch;

use super::stage::PATIENCE;

/// A repository of its own on the server, and the commits that wait to be pushed to it.
pub(crate) struct BarePushes {
    repository: BareRepository,
    checkout: Checkout,
    fleet: Fleet,
    host: String,
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
    /// Makes the repository and clones it.
    pub(crate) async fn prepare(server: &GitServer, name: &str, fleet: Fleet, host: &str) -> Result<Self> {
        let repository = fleet.create(server, name, host).await?;
        let checkout = server.clone_repository(name).await?;
        Ok(Self { repository, checkout, fleet, host: host.to_owned(), commits: VecDeque::new() })
    }

    /// The repository on the server.
    pub(crate) fn folder(&self) -> &Path {
        self.repository.folder()
    }

    /// Pushes over SSH from now on, to the same repository.
    pub(crate) async fn over_ssh(&self, url: &str, command: &str) -> Result<()> {
        self.checkout.git(&["remote", "set-url", "origin", url]).await?;
        self.checkout.git(&["config", "core.sshCommand", command]).await.map(drop)
    }

    /// Commits these markers, by their numbers, at this tag. The commit waits for its push.
    pub(crate) async fn commit(&mut self, markers: Range<usize>, tag: &str) -> Result<()> {
        let files = self.fleet.marked_files();
        for (path, policy) in &files[markers] {
            let text = self.fleet.marked_text(path, &self.host, *policy, tag);
            std::fs::write(self.checkout.folder().join(path), text).context("editing a file in a clone")?;
        }
        self.checkout.git(&["commit", "--quiet", "--all", "--message", &format!("Update to {tag}")]).await?;
        self.commits.push_back(self.checkout.git(&["rev-parse", "HEAD"]).await?);
        Ok(())
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
