//! A bare repository on disk, written and read with the `git` program: the oracle of what Windlass pushes.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;

use crate::locate::search_path;

/// The branch that a new repository starts with.
pub const BRANCH: &str = "main";
/// What a forge's server allows, and no background work that would disturb a measurement.
const SETTINGS: [(&str, &str); 8] = [
    ("http.receivepack", "true"),
    ("uploadpack.allowFilter", "true"),
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("receive.advertisePushOptions", "true"),
    ("receive.fsckObjects", "true"),
    ("receive.autogc", "false"),
    ("gc.auto", "0"),
    ("core.logAllRefUpdates", "true"),
];
/// What every started git sees.
pub(crate) const ENVIRONMENT: [(&str, &str); 9] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_AUTHOR_NAME", "A Person"),
    ("GIT_AUTHOR_EMAIL", "person@example.org"),
    ("GIT_COMMITTER_NAME", "A Person"),
    ("GIT_COMMITTER_EMAIL", "person@example.org"),
    ("HOME", "/nonexistent"),
    ("LC_ALL", "C"),
];

/// A repository and the commands to look into it.
#[derive(Debug, Clone)]
pub struct BareRepository {
    folder: PathBuf,
}

/// One entry of [`BareRepository::log`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The object's id in hexadecimal.
    pub id: String,
    /// Ids of the parents.
    pub parents: Vec<String>,
    /// `name <email>`
    pub author: String,
    /// Subject, body and trailers.
    pub message: String,
}

impl BareRepository {
    /// Makes a bare repository with one commit of these files on [`BRANCH`].
    ///
    /// # Errors
    /// When git fails; the message has its output.
    pub async fn create<P, B>(folder: &Path, files: impl IntoIterator<Item = (P, B)>) -> Result<Self>
    where
        P: AsRef<str>,
        B: AsRef<[u8]>,
    {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let repository = Self { folder: folder.to_owned() };
        repository.git(&["init", "--quiet", "--bare", "--initial-branch", BRANCH, "."]).await?;
        for (key, value) in SETTINGS {
            repository.git(&["config", key, value]).await?;
        }
        repository.commit(BRANCH, "Start\n", files).await?;
        Ok(repository)
    }

    /// The repository's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs git in the repository and gives its output without the last line end.
    ///
    /// # Errors
    /// When git fails or prints something that is not UTF-8.
    pub async fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = run(&self.folder, arguments, &[]).await?;
        Ok(String::from_utf8(output)
            .context("git printed something that is not UTF-8")?
            .trim_end()
            .to_owned())
    }

    /// Commits files on a branch in the repository itself, as another pusher would: no hook runs, no request is made.
    /// The branch is made if it is missing. Gives the commit's id.
    ///
    /// # Errors
    /// When the branch moved meanwhile, or git fails.
    pub async fn commit<P, B>(
        &self,
        branch: &str,
        message: &str,
        files: impl IntoIterator<Item = (P, B)>,
    ) -> Result<String>
    where
        P: AsRef<str>,
        B: AsRef<[u8]>,
    {
        let parent = self.head(branch).await?;
        let mut stream = format!(
            "feature done\ncommit refs/heads/{branch}\nmark :1\n\
             committer A Person <person@example.org> now\ndata {}\n{message}\n",
            message.len()
        )
        .into_bytes();
        if let Some(parent) = parent {
            stream.extend_from_slice(format!("from {parent}\n").as_bytes());
        }
        for (path, bytes) in files {
            let (path, bytes) = (path.as_ref(), bytes.as_ref());
            stream.extend_from_slice(format!("M 100644 inline {path}\ndata {}\n", bytes.len()).as_bytes());
            stream.extend_from_slice(bytes);
            stream.push(b'\n');
        }
        stream.extend_from_slice(b"\nget-mark :1\ndone\n");
        let printed = run(&self.folder, &["fast-import", "--quiet", "--date-format=now"], &stream).await?;
        Ok(String::from_utf8(printed).context("fast-import printed no object id")?.trim().to_owned())
    }

    /// The branch's commit, if the branch exists.
    ///
    /// # Errors
    /// When git fails.
    pub async fn head(&self, branch: &str) -> Result<Option<String>> {
        let reference = format!("refs/heads/{branch}");
        let found = self.git(&["for-each-ref", "--format=%(objectname)", &reference]).await?;
        Ok((!found.is_empty()).then_some(found))
    }

    /// The branch's commits, newest first.
    ///
    /// # Errors
    /// When there is no such branch.
    pub async fn log(&self, branch: &str) -> Result<Vec<Commit>> {
        let reference = format!("refs/heads/{branch}");
        let text = self.git(&["log", "--format=%H%x1f%P%x1f%an <%ae>%x1f%B%x1e", &reference]).await?;
        text.split('\u{1e}')
            .map(str::trim_start)
            .filter(|entry| !entry.is_empty())
            .map(parse_commit)
            .collect()
    }

    /// A file's bytes at a revision.
    ///
    /// # Errors
    /// When there is no such file or revision.
    pub async fn show(&self, revision: &str, path: &str) -> Result<Vec<u8>> {
        run(&self.folder, &["cat-file", "blob", &format!("{revision}:{path}")], &[]).await
    }

    /// What a commit changed, as a patch without context lines.
    ///
    /// # Errors
    /// When there is no such commit.
    pub async fn patch(&self, commit: &str) -> Result<String> {
        self.git(&["diff-tree", "--no-commit-id", "-p", "--unified=0", "--root", commit]).await
    }

    /// The paths that a commit changed.
    ///
    /// # Errors
    /// When there is no such commit.
    pub async fn changed_paths(&self, commit: &str) -> Result<Vec<String>> {
        let text = self.git(&["diff-tree", "--no-commit-id", "--name-only", "-r", "--root", commit]).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Checks every object, strictly.
    ///
    /// # Errors
    /// When git finds anything wrong.
    pub async fn fsck(&self) -> Result<()> {
        self.git(&["fsck", "--full", "--strict", "--no-dangling"]).await.map(drop)
    }

    /// Installs a hook: a shell script's text without its first line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn install_hook(&self, name: &str, script: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.join("hooks").join(name);
        std::fs::create_dir_all(self.folder.join("hooks")).context("making the hooks folder")?;
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).context("writing a hook")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .context("making a hook executable")
    }

    /// Removes a hook.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove_hook(&self, name: &str) -> Result<()> {
        std::fs::remove_file(self.folder.join("hooks").join(name)).context("removing a hook")
    }
}

fn parse_commit(entry: &str) -> Result<Commit> {
    let mut fields = entry.splitn(4, '\u{1f}');
    let mut field =
        || fields.next().map(str::to_owned).context("git log printed fewer fields than asked for");
    Ok(Commit {
        id: field()?,
        parents: field()?.split_whitespace().map(str::to_owned).collect(),
        author: field()?,
        message: field()?.trim_end().to_owned(),
    })
}

/// Runs git in a folder, isolated from the host's configuration, with `input` on its standard input.
///
/// # Errors
/// When git cannot be started or ends with another status than 0; the message has what it printed.
pub async fn run(folder: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let mut child = isolated_git(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting git")?;
    let mut stdin = child.stdin.take().context("git has no standard input")?;
    let feed = async {
        // A git that stops reading says why on standard error.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.context("waiting for git")?;
    if !output.status.success() {
        let mut message = format!("git {} ended with {}", arguments.join(" "), output.status);
        for stream in [&output.stdout, &output.stderr] {
            write!(message, "\n{}", String::from_utf8_lossy(stream).trim_end()).expect("writing to a String");
        }
        bail!(message);
    }
    Ok(output.stdout)
}

/// The git program with no configuration but the repository's own, and with an author.
pub fn isolated_git(folder: &Path) -> tokio::process::Command {
    isolated(Path::new("git"), folder)
}

/// One of git's programs, likewise.
pub(crate) fn isolated(program: &Path, folder: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    command.current_dir(folder).env_clear().env("PATH", search_path()).kill_on_drop(true);
    command.envs(ENVIRONMENT.map(|(key, value)| (OsStr::new(key), OsStr::new(value))));
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::{Storage, fresh};

    #[tokio::test]
    async fn commits_are_linear_and_readable() {
        let folder = fresh(Storage::Memory).unwrap();
        let repository =
            BareRepository::create(&folder.path().join("a.git"), [("one.yaml", "a: 1\n")]).await.unwrap();
        let first = repository.head(BRANCH).await.unwrap().unwrap();
        let second = repository
            .commit(BRANCH, "Second\n\nWith-Trailer: yes\n", [("dir/two.yaml", b"b: 2\r\n")])
            .await
            .unwrap();

        let log = repository.log(BRANCH).await.unwrap();
        assert_eq!(log.iter().map(|commit| commit.id.as_str()).collect::<Vec<_>>(), [&second, &first]);
        assert_eq!(log[0].parents, [first]);
        assert_eq!(log[0].message, "Second\n\nWith-Trailer: yes");
        assert_eq!(log[0].author, "A Person <person@example.org>");
        assert_eq!(repository.show(BRANCH, "dir/two.yaml").await.unwrap(), b"b: 2\r\n");
        assert_eq!(repository.show(BRANCH, "one.yaml").await.unwrap(), b"a: 1\n");
        assert_eq!(repository.changed_paths(&second).await.unwrap(), ["dir/two.yaml"]);
        repository.fsck().await.unwrap();
    }

    #[tokio::test]
    async fn a_missing_branch_has_no_head_and_git_explains_itself() {
        let folder = fresh(Storage::Memory).unwrap();
        let repository =
            BareRepository::create(&folder.path().join("a.git"), [("one.yaml", "a: 1\n")]).await.unwrap();
        assert_eq!(repository.head("other").await.unwrap(), None);
        let error = repository.log("other").await.unwrap_err();
        assert!(error.to_string().contains("refs/heads/other"), "{error}");
    }
}
