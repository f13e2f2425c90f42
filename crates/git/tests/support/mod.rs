//! A real Git server for tests: `git http-backend` behind axum on the loopback interface, with faults on demand, and
//! the `git` program as the oracle.

mod git;
mod server;
pub(crate) mod ssh;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use windlass_git::{
    Auth, ClientPool, CommitId, CommitText, FileEntry, Identity, Implementation, Limits, Mirror, Prepared,
    ProgramEnvironment, PushOutcome, PushRequest, Refusal, Remote, RemoteConfig,
};

pub(crate) use self::git::{git, git_with_input, try_git};
pub(crate) use self::server::Server;

/// What speaks with the server, for cases that hold for both.
pub(crate) const BOTH: [Implementation; 2] = [Implementation::BuiltIn, Implementation::Program];

/// A served repository, somebody else's clone of it, and a folder for our mirror.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) temp: TempDir,
    by: Implementation,
}

impl World {
    /// Serves a repository whose `main` has a few files.
    pub(crate) async fn new() -> Self {
        Self::by(Implementation::BuiltIn).await
    }

    /// As [`Self::new`], with mirrors that speak by the implementation.
    pub(crate) async fn by(by: Implementation) -> Self {
        let world = Self::empty_by(by, &[]).await;
        world.foreign(&[
            ("README.md", "hello\n"),
            ("apps/one/deploy.yaml", "image: app:1.0.0\n"),
            ("apps/two/deploy.yaml", "image: app:1.0.0\r\n# comment\r\n"),
            ("clusters/prod/kustomization.yaml", "resources: []\n"),
        ]);
        world
    }

    /// Serves a repository without commits.
    pub(crate) async fn empty(init: &[&str]) -> Self {
        Self::empty_by(Implementation::BuiltIn, init).await
    }

    pub(crate) async fn empty_by(by: Implementation, init: &[&str]) -> Self {
        // Shown where the test fails.
        println!("a world by {by:?}");
        let temp = tempfile::tempdir().unwrap();
        let repository = temp.path().join("srv/repo.git");
        std::fs::create_dir_all(&repository).unwrap();
        let flags = [&["init", "--quiet", "--bare", "--initial-branch=main"], init].concat();
        git(&repository, &flags);
        for setting in ["http.receivepack=true", "uploadpack.allowFilter=true", "receive.fsckObjects=true"] {
            let (key, value) = setting.split_once('=').unwrap();
            git(&repository, &["config", key, value]);
        }
        git(&repository, &["config", "receive.advertisePushOptions", "true"]);
        let work = temp.path().join("work");
        std::fs::create_dir_all(&work).unwrap();
        git(&work, &[&["init", "--quiet", "--initial-branch=main"], init].concat());
        git(&work, &["remote", "add", "origin", repository.to_str().unwrap()]);
        let server = Server::start(temp.path().join("srv")).await;
        Self { server, temp, by }
    }

    /// The served bare repository.
    pub(crate) fn repository(&self) -> PathBuf {
        self.temp.path().join("srv/repo.git")
    }

    /// Somebody else's work tree.
    pub(crate) fn work(&self) -> PathBuf {
        self.temp.path().join("work")
    }

    /// Somebody else commits to `main` and pushes.
    pub(crate) fn foreign(&self, files: &[(&str, &str)]) -> CommitId {
        commit_elsewhere(&self.work(), files)
    }

    pub(crate) fn config(&self) -> RemoteConfig {
        RemoteConfig {
            url: format!("{}/repo.git", self.server.url()),
            auth: Auth::None,
            ca_pem: None,
            client_identity_pem: None,
            proxy: None,
            timeout: Duration::from_secs(30),
            implementation: self.by,
        }
    }

    pub(crate) async fn mirror(&self) -> Mirror {
        self.mirror_with(self.config(), Limits::default()).await
    }

    pub(crate) async fn mirror_with(&self, config: RemoteConfig, limits: Limits) -> Mirror {
        let remote = Remote::pooled(config, &clients()).unwrap();
        Mirror::open(&self.temp.path().join("mirror"), remote, limits).await.unwrap()
    }

    /// Where a branch of the served repository points.
    pub(crate) fn tip(&self, branch: &str) -> CommitId {
        git(&self.repository(), &["rev-parse", &format!("refs/heads/{branch}")]).parse().unwrap()
    }

    /// The content of a file at a branch's tip.
    pub(crate) fn content(&self, branch: &str, path: &str) -> String {
        git_with_input(&self.repository(), &["cat-file", "blob", &format!("{branch}:{path}")], b"")
    }

    /// Subjects of a branch's commits, newest first.
    pub(crate) fn log(&self, branch: &str) -> Vec<String> {
        git(&self.repository(), &["log", "--format=%s", branch]).lines().map(str::to_owned).collect()
    }

    /// Installs a hook (`pre-receive`, `update`) in the served repository.
    pub(crate) fn hook(&self, name: &str, script: &str) {
        let hook = self.repository().join("hooks").join(name);
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Whether a ref exists on the server.
    pub(crate) fn has_ref(&self, name: &str) -> bool {
        try_git(&self.repository(), &["show-ref", "--verify", "--quiet", name]).0
    }

    pub(crate) fn remove_hook(&self, name: &str) {
        std::fs::remove_file(self.repository().join("hooks").join(name)).unwrap();
    }

    /// `git fsck` finds nothing wrong on the server and in the mirror.
    pub(crate) fn assert_clean(&self, mirror: &Mirror) {
        for path in [Some(self.repository()), mirror.path()].into_iter().flatten() {
            assert_fsck(&path);
        }
    }
}

/// Connections that may use the `git` program.
pub(crate) fn clients() -> ClientPool {
    ClientPool::with_program(ProgramEnvironment {
        path: path(),
        local_repositories: true,
        ..ProgramEnvironment::default()
    })
}

#[expect(clippy::disallowed_methods, reason = "the programs of the machine that runs the tests")]
pub(crate) fn path() -> OsString {
    std::env::var_os("PATH").unwrap()
}

pub(crate) fn assert_fsck(path: &Path) {
    let (ok, text) = try_git(path, &["fsck", "--full", "--strict", "--no-dangling"]);
    assert!(ok && !text.contains("missing") && !text.contains("broken"), "{}: {text}", path.display());
}

/// Commits to `main` in a work tree, on top of what the server has, and pushes. Usable from other threads.
pub(crate) fn commit_elsewhere(work: &Path, files: &[(&str, &str)]) -> CommitId {
    if try_git(work, &["fetch", "--quiet", "origin", "main"]).0 {
        git(work, &["reset", "--quiet", "--hard", "FETCH_HEAD"]);
    }
    for (path, content) in files {
        let path = work.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    git(work, &["add", "--all"]);
    git(work, &["commit", "--quiet", "--allow-empty", "--message", "by somebody else"]);
    git(work, &["push", "--quiet", "origin", "HEAD:refs/heads/main"]);
    git(work, &["rev-parse", "HEAD"]).parse().unwrap()
}

pub(crate) fn text(message: &str) -> CommitText {
    let bot = Identity { name: "Windlass".into(), email: "windlass@example.com".into() };
    let time = jiff::Timestamp::from_second(1_750_000_000).unwrap();
    CommitText { author: bot.clone(), committer: bot, time, message: message.into(), signer: None }
}

pub(crate) fn change(path: &str, content: &str) -> Vec<(String, Vec<u8>)> {
    vec![(path.to_owned(), content.as_bytes().to_vec())]
}

/// Looks at a branch and fetches it.
pub(crate) async fn update(mirror: &mut Mirror, branch: &str) -> CommitId {
    let tip = mirror.ls_refs(&[branch]).await.unwrap()[branch].expect("the branch exists");
    mirror.fetch(branch, tip).await.unwrap();
    tip
}

/// Prepares an edit of one file.
pub(crate) async fn edit(
    mirror: &Mirror,
    base: CommitId,
    path: &str,
    content: &str,
    message: &str,
) -> Prepared {
    mirror.commit(base, change(path, content), &text(message)).await.unwrap().expect("a change")
}

pub(crate) async fn push(
    mirror: &mut Mirror,
    branch: &str,
    old: Option<CommitId>,
    tip: &Prepared,
) -> PushOutcome {
    mirror.push(PushRequest::new(branch, old, tip)).await.unwrap()
}

pub(crate) fn refusal(name: &str, reason: &str) -> Refusal {
    Refusal { name: name.to_owned(), reason: reason.to_owned() }
}

/// Pushes on top of `old`; anything but landing is a failure.
pub(crate) async fn land(mirror: &mut Mirror, branch: &str, old: Option<CommitId>, tip: &Prepared) {
    let outcome = push(mirror, branch, old, tip).await;
    assert!(matches!(outcome, PushOutcome::Landed { .. }), "{outcome:?}");
}

/// Reads every file of a commit at once; returns how many contents there are.
pub(crate) async fn read_all(mirror: &Mirror, commit: CommitId) -> usize {
    let files = mirror.files(commit, "", |_| true).await.unwrap();
    let ids = files.into_iter().map(|file| file.blob).collect();
    mirror.read_blobs(ids, 0, |count, _, _| *count += 1).await.unwrap()
}

/// Every file of a commit with its content.
pub(crate) async fn contents(mirror: &Mirror, commit: CommitId) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for FileEntry { path, blob } in mirror.files(commit, "", |_| true).await.unwrap() {
        out.push((path, String::from_utf8(mirror.read_blob(blob).await.unwrap()).unwrap()));
    }
    out
}
