//! Running one command: its output is bounded, its words are cleaned, and when its time is over, or nobody waits for it
//! any more, it is killed with everything that it started.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{ProgramError, Session};
use crate::capabilities::MAX_ADVERTISEMENT;
use crate::sideband::Words;
use crate::transport::RemoteError;

/// How often a growing folder is looked at.
const GROWTH_LOOK: Duration = Duration::from_millis(200);
/// How the program marks the server's words (git, sideband.c; not translated).
const SERVER: &str = "remote: ";

/// A command that is put together.
pub(super) struct Script<'a> {
    name: &'static str,
    command: Command,
    timeout: Duration,
    session: &'a Session<'a>,
    /// A folder that must not grow beyond a number of bytes.
    bounded: Option<(PathBuf, u64)>,
}

/// A command that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    name: &'static str,
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
    /// What it said, cleaned, without credentials, one line each.
    words: Vec<String>,
}

impl Finished {
    /// The server's words among its own.
    pub(super) fn servers_words(&self) -> Vec<String> {
        let words = self.words.iter().filter_map(|line| line.strip_prefix(SERVER));
        words.map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn into_error(self) -> RemoteError {
        let words =
            if self.words.is_empty() { "it does not say why".to_owned() } else { self.words.join("; ") };
        ProgramError::Failed { command: self.name, status: self.status.to_string(), words }.into()
    }
}

impl<'a> Script<'a> {
    pub(super) fn new(name: &'static str, session: &'a Session<'a>) -> Self {
        let mut command = Command::new("git");
        command
            .arg(name)
            .env_clear()
            .envs(session.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(session.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Self { name, command, timeout: session.program.timeout, session, bounded: None }
    }

    pub(super) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Kills the command when the files in a folder exceed the limit.
    pub(super) fn bounded(mut self, folder: PathBuf, limit: u64) -> Self {
        self.bounded = Some((folder, limit));
        self
    }

    /// Runs it to its end, whatever that is.
    pub(super) async fn run(mut self) -> Result<Finished, RemoteError> {
        let mut group = Group(self.command.spawn().map_err(ProgramError::Start)?);
        let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
        let ending = async {
            let (output, words) = tokio::join!(collect(stdout), listen(stderr));
            let status = group.0.wait().await.map_err(ProgramError::Broken)?;
            Ok::<_, RemoteError>((output?, words, status))
        };
        let grown = async {
            match &self.bounded {
                Some((folder, limit)) => outgrown(folder, *limit).await,
                None => std::future::pending().await,
            }
        };
        let finished = async {
            tokio::select! {
                result = ending => result,
                limit = grown => Err(RemoteError::TooLarge { limit }),
            }
        };
        let (output, words, status) =
            timeout(self.timeout, finished).await.map_err(|_| RemoteError::Timeout)??;
        let words = words.into_lines().into_iter().map(|line| self.session.without_secrets(&line)).collect();
        Ok(Finished { name: self.name, status, output, words })
    }
}

impl Session<'_> {
    fn without_secrets(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            line = line.replace(secret.as_str(), "[redacted]");
        }
        line
    }
}

/// A program at the head of a process group, which dies with this.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // There is no id any more once the program has ended by itself.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id
            && let Err(error) = kill_process_group(id, Signal::KILL)
        {
            tracing::warn!(%error, "a git program could not be killed");
        }
    }
}

/// The whole output, up to what an advertisement may have.
async fn collect(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, RemoteError> {
    let mut output = Vec::new();
    if let Some(stream) = stream {
        // One more, so that too much shows.
        stream.take(MAX_ADVERTISEMENT + 1).read_to_end(&mut output).await.map_err(ProgramError::Broken)?;
    }
    if output.len() as u64 > MAX_ADVERTISEMENT {
        return Err(RemoteError::TooLarge { limit: MAX_ADVERTISEMENT });
    }
    Ok(output)
}

/// The words, up to their limit. The rest is read too, so that the program does not wait for a reader.
async fn listen(stream: Option<impl AsyncRead + Unpin>) -> Words {
    let (mut words, mut buffer) = (Words::default(), [0; 4096]);
    if let Some(mut stream) = stream {
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            words.push(&buffer[..length]);
        }
    }
    words
}

/// Ends when the folder's files exceed the limit.
async fn outgrown(folder: &Path, limit: u64) -> u64 {
    let mut looks = tokio::time::interval(GROWTH_LOOK);
    loop {
        looks.tick().await;
        if size(folder).await > limit {
            return limit;
        }
    }
}

/// Bytes of a folder's files. What cannot be looked at counts nothing: the program may just have renamed it.
async fn size(folder: &Path) -> u64 {
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else { return 0 };
    let mut total = 0;
    while let Ok(Some(entry)) = entries.next_entry().await {
        total += entry.metadata().await.map_or(0, |metadata| metadata.len());
    }
    total
}
