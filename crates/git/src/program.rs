//! The `git` program in place of the built-in protocol code, for servers that the latter cannot talk to, and only where
//! a repository's settings ask for it. This is the only module of the crate that runs a program.
//!
//! It works beside the mirror, never in it: each operation has a repository of its own that borrows the mirror's objects
//! (`objects/info/alternates`) and is removed when the operation ends; what was fetched is then read into the mirror as
//! any pack is. So the mirror keeps one writer, and nothing of a push that failed stays behind.
//!
//! The program runs apart from the machine (`isolation`), gets its credentials where no other user sees them (`access`),
//! and is killed with all that it started when its time is over (`run`). What it says to people is shown, and decides
//! nothing: only exit statuses, `--porcelain` and where refs point afterwards do.

mod access;
mod fetch;
mod isolation;
mod porcelain;
mod push;
mod refs;
mod run;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

pub(crate) use self::access::{Access, HttpAccess, SshAccess};
pub(crate) use self::push::Places;
use self::run::{Finished, Script};
use crate::advertisement;
use crate::capabilities::MAX_ADVERTISEMENT;
use crate::error::ErrorKind;
use crate::generation::{Folder, LayoutError};
use crate::remote::Remote;
use crate::store::StoreError;
use crate::transport::{RemoteError, Service};

/// The oldest program that takes its settings and its isolation from the environment (`GIT_CONFIG_GLOBAL`).
const OLDEST: (u32, u32) = (2, 32);
/// How resources ask for this module.
const ANNOTATION: &str = "windlass.dev/git-implementation";

/// What the `git` program finds in its environment. By default it finds no program and no proxy.
#[derive(Clone, Default)]
pub struct ProgramEnvironment {
    /// `PATH`: where `git` and `ssh` are.
    pub path: OsString,
    /// The proxy variables, for repositories that go through [`ProxyConfig::Environment`](crate::ProxyConfig).
    pub proxies: Vec<(String, OsString)>,
    /// Lets `file://` URLs be used, which no product must: they reach whatever this process can read. For tests.
    pub local_repositories: bool,
}

impl fmt::Debug for ProgramEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy's URL may hold a password.
        f.debug_struct("ProgramEnvironment").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why the program did not do what it was asked to. No text of it contains a credential.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not installed, or cannot be run.
    #[error(
        "the annotation {ANNOTATION}: program asks for the `git` program, which cannot be started: install it where \
         Windlass runs (within PATH), or remove the annotation"
    )]
    Start(#[source] std::io::Error),
    /// It would read settings that it must not.
    #[error(
        "the annotation {ANNOTATION}: program needs git {}.{} or newer, and `git version` says: {found}",
        OLDEST.0, OLDEST.1
    )]
    TooOld {
        /// Its words, cleaned.
        found: String,
    },
    /// It broke off.
    #[error("the `git` program's output cannot be read")]
    Broken(#[source] std::io::Error),
    /// It failed, for a reason that it told people alone.
    #[error("`git {command}` failed ({status}): {words}")]
    Failed {
        /// `fetch`, `push`, `ls-remote`
        command: &'static str,
        /// How it ended.
        status: String,
        /// What it said, cleaned, without credentials.
        words: String,
    },
    /// The objects to push cannot be handed over.
    #[error("the commits to push cannot be written for the `git` program")]
    Pack(#[source] StoreError),
    /// The file system refuses what the program needs.
    #[error(transparent)]
    Folder(#[from] LayoutError),
}

impl ProgramError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Start(_) | Self::TooOld { .. } => ErrorKind::Config,
            Self::Failed { .. } | Self::Broken(_) => ErrorKind::Server,
            Self::Pack(_) | Self::Folder(_) => ErrorKind::Storage,
        }
    }

    /// Whether the program was certainly not run.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(self, Self::Failed { .. } | Self::Broken(_))
    }
}

/// One repository, as the program reaches it.
pub(crate) struct Program {
    /// As configured: the program reads it as its documentation says.
    url: String,
    environment: Arc<ProgramEnvironment>,
    access: Access,
    /// Longest duration of one command.
    timeout: Duration,
    /// Set once the program was found to be new enough.
    checked: tokio::sync::OnceCell<()>,
}

impl Program {
    pub(crate) fn new(
        url: String,
        environment: Arc<ProgramEnvironment>,
        access: Access,
        timeout: Duration,
    ) -> Self {
        Self { url, environment, access, timeout, checked: tokio::sync::OnceCell::new() }
    }

    /// A private folder with everything that a command needs.
    async fn session<'a>(
        &'a self,
        remote: &'a Remote,
        folder: &Arc<Folder>,
    ) -> Result<Session<'a>, RemoteError> {
        let taken = Arc::clone(folder);
        let scratch = blocking(move || Ok(taken.scratch()?)).await?;
        let mut session =
            Session { program: self, remote, scratch, environment: Vec::new(), secrets: Vec::new() };
        session.environment = isolation::environment(&self.environment.path, session.scratch.path());
        self.checked.get_or_try_init(|| session.check_version()).await?;
        session.admit().await?;
        Ok(session)
    }
}

/// The surroundings of one operation. Its folder, which may hold a key, goes when it is dropped.
struct Session<'a> {
    program: &'a Program,
    remote: &'a Remote,
    scratch: TempDir,
    environment: Vec<(OsString, OsString)>,
    /// What must not be shown, should the program repeat it.
    secrets: Vec<zeroize::Zeroizing<String>>,
}

impl Session<'_> {
    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn script(&self, command: &'static str) -> Script<'_> {
        Script::new(command, self)
    }

    async fn check_version(&self) -> Result<(), RemoteError> {
        let finished = self.script("version").run().await?;
        let said = String::from_utf8_lossy(&finished.output);
        let mut numbers = said.trim().strip_prefix("git version ").unwrap_or_default().split('.');
        let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
        match (number(), number()) {
            (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(()),
            _ => Err(ProgramError::TooOld { found: crate::sideband::clean(&finished.output) }.into()),
        }
    }

    /// The failure of a command that reads: the server's refusal by its type, or else the program's words.
    async fn failure(&self, service: Service, finished: Finished) -> RemoteError {
        self.remote.refusal(service).await.unwrap_or_else(|| finished.into_error())
    }
}

impl Remote {
    /// What the server has against a request, by its type. The program tells people alone why it failed, so the server is
    /// asked again by the built-in code; `None` where that is not refused, or fails in a way of its own.
    pub(crate) async fn refusal(&self, service: Service) -> Option<RemoteError> {
        let asked = async {
            let (_, mut body) = self.advertise(service, MAX_ADVERTISEMENT).await?;
            // Over SSH, a refusal shows with the first packet.
            advertisement::read(&mut body).await.map(drop)
        };
        match asked.await {
            Err(error) if error.is_typed_refusal() => Some(error),
            Ok(()) => None,
            Err(error) => {
                tracing::debug!(%error, "why the git program failed is known by its words alone");
                None
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProgramError> + Send + 'static,
) -> Result<T, RemoteError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(ProgramError::Folder(LayoutError::Io {
            path: Path::new("scratch").to_owned(),
            source: std::io::Error::other(error),
        })
        .into()),
    }
}
