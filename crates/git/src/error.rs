//! The error of the whole crate: what kind it is, and whether trying again can help. The parts live beside the
//! functions that raise them.

use std::time::Duration;

use windlass_failpoint::Injected;

use crate::commit::CommitTextError;
use crate::edit::EditError;
use crate::generation::LayoutError;
use crate::signing::SigningError;
use crate::ssh::SshError;
use crate::store::StoreError;
use crate::transport::RemoteError;

/// Any failure of a Git operation. No text of it contains a credential.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Talking to the server.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Reading or writing the mirror's objects.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mirror's folder.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// An edit that the tree does not allow.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// An author, committer or message that a commit cannot hold.
    #[error(transparent)]
    CommitText(#[from] CommitTextError),
    /// The commit's signature could not be made.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Not a branch name (git-check-ref-format).
    #[error("`{0}` is not a valid branch name")]
    Branch(String),
    /// Not the name of a ref (git-check-ref-format).
    #[error("`{0}` is not a valid ref name")]
    RefName(String),
    /// The commit to push does not build on the branch's expected tip.
    #[error("the commit to push builds on {base}, not on {expected}, the expected tip of the branch")]
    NotOnTip {
        /// Where the pushed chain starts.
        base: String,
        /// `PushRequest::expected_old`
        expected: String,
    },
    /// Not a ref that a commit may be pushed to beside its branch.
    #[error(
        "`{0}` cannot be pushed to beside the branch: name another ref below refs/heads/, or one below refs/for/"
    )]
    Destination(String),
    /// The ref has commits that the pushed one does not build on; only the push branch is ever overwritten.
    #[error("{0} has commits that the branch does not have, and is not overwritten: merge or delete it")]
    NotFastForward(String),
    /// Push options are configured for a server that does not take them.
    #[error(
        "the Git server takes no push options, and some are configured: remove them, or let it take them \
         (receive.advertisePushOptions)"
    )]
    NoPushOptions,
    /// The server sent a pack, yet the commit is not in it.
    #[error("the Git server did not send commit {0}")]
    NotSent(String),
    /// A ref, or an id, that names a tag, a tree or a file.
    #[error("{0} is not a commit: only a commit can be checked out")]
    NotACommit(String),
    /// The server does not give out a commit that was asked for by its id.
    #[error(
        "the Git server does not give out commit {commit} ({message}): it does not have it, or it gives out only what \
         its branches and tags hold (uploadpack.allowAnySHA1InWant)"
    )]
    CommitRefused {
        /// What was asked for.
        commit: String,
        /// The server's words, cleaned.
        message: String,
    },
    /// The task was aborted, or hostile data made the pack reader panic.
    #[error("reading or writing the mirror was broken off")]
    Task(#[source] tokio::task::JoinError),
}

/// What a failure is about; also a label for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Settings of the repository.
    Config,
    /// Credentials are missing, wrong or not sufficient.
    Auth,
    /// The server is not the one that it should be.
    HostKey,
    /// The repository does not exist, or is hidden.
    NotFound,
    /// Connections.
    Network,
    /// No answer in time.
    Timeout,
    /// The server is overloaded or broken, or asks to wait.
    Server,
    /// The answer is not what Git's protocol says.
    Protocol,
    /// A limit of ours.
    TooLarge,
    /// The mirror's files.
    Corrupt,
    /// The mirror's folder.
    Storage,
    /// The request itself: paths, names, texts, or a commit that was not fetched.
    Request,
}

impl ErrorKind {
    /// The label: lower case with underscores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Auth => "auth",
            Self::HostKey => "host_key",
            Self::NotFound => "not_found",
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Server => "server",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Corrupt => "corrupt",
            Self::Storage => "storage",
            Self::Request => "request",
        }
    }
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Start again from the branch's tip at once, for the mirror repairs itself; with backoff when it happens again.
    Now,
    /// Try again with backoff.
    Backoff,
    /// Try again, but not before this long.
    After(Duration),
    /// Trying again changes nothing until settings, credentials, limits or the repository change.
    OnChange,
}

impl GitError {
    /// What the failure is about.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Remote(error) => remote_kind(error),
            Self::Store(error) => store_kind(error),
            Self::Layout(_) => ErrorKind::Storage,
            Self::Edit(_)
            | Self::CommitText(_)
            | Self::Signing(_)
            | Self::Branch(_)
            | Self::RefName(_)
            | Self::NotACommit(_)
            | Self::NotOnTip { .. } => ErrorKind::Request,
            Self::Destination(_) | Self::NotFastForward(_) | Self::NoPushOptions => ErrorKind::Config,
            // It may be an older replica that answers.
            Self::CommitRefused { .. } => ErrorKind::Server,
            Self::NotSent(_) | Self::Task(_) => ErrorKind::Protocol,
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        if let Self::Remote(RemoteError::Status { retry_after: Some(wait), .. }) = self {
            return Retry::After(*wait);
        }
        if let Self::Remote(RemoteError::GitHubApp(error)) = self
            && let Some(wait) = error.retry_after()
        {
            return Retry::After(wait);
        }
        // Without looking at its words it cannot be told from a server that is being serviced.
        if let Self::Remote(RemoteError::Ssh(SshError::Refused { .. })) = self {
            return Retry::Backoff;
        }
        match self.kind() {
            ErrorKind::Corrupt => Retry::Now,
            ErrorKind::Network | ErrorKind::Timeout | ErrorKind::Server | ErrorKind::Storage => {
                Retry::Backoff
            }
            // A proxy's error page or a server in the middle of an update look like this.
            ErrorKind::Protocol => Retry::Backoff,
            ErrorKind::Config
            | ErrorKind::Auth
            | ErrorKind::HostKey
            | ErrorKind::NotFound
            | ErrorKind::TooLarge
            | ErrorKind::Request => Retry::OnChange,
        }
    }

    /// Whether the mirror itself is at fault.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_damage())
    }
}

impl From<crate::remote::ConfigError> for GitError {
    fn from(error: crate::remote::ConfigError) -> Self {
        Self::Remote(error.into())
    }
}

impl From<Injected> for GitError {
    fn from(injected: Injected) -> Self {
        Self::Remote(injected.into())
    }
}

fn remote_kind(error: &RemoteError) -> ErrorKind {
    match error {
        RemoteError::Config(_) | RemoteError::Redirect { .. } | RemoteError::ObjectFormat(_) => {
            ErrorKind::Config
        }
        RemoteError::GitHubApp(error) => error.kind(),
        RemoteError::Ssh(error) => error.kind(),
        RemoteError::Program(error) => error.kind(),
        RemoteError::Unauthorized { .. } => ErrorKind::Auth,
        RemoteError::NotFound { .. } => ErrorKind::NotFound,
        RemoteError::Status { .. } | RemoteError::Server { .. } => ErrorKind::Server,
        RemoteError::Connect(_)
        | RemoteError::Network(_)
        | RemoteError::Truncated
        | RemoteError::NotShown
        | RemoteError::NoReport => ErrorKind::Network,
        RemoteError::Timeout => ErrorKind::Timeout,
        RemoteError::Moved { .. } | RemoteError::NotGit { .. } | RemoteError::Protocol(_) => {
            ErrorKind::Protocol
        }
        RemoteError::TooLarge { .. } | RemoteError::TooManyRefs { .. } => ErrorKind::TooLarge,
    }
}

fn store_kind(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::NotFetched(_) => ErrorKind::Request,
        StoreError::Missing(_)
        | StoreError::Damaged { .. }
        | StoreError::Pack(_)
        | StoreError::Open { .. } => ErrorKind::Corrupt,
        StoreError::TooLarge { .. }
        | StoreError::PackObjectTooLarge { .. }
        | StoreError::TreeTooLarge { .. } => ErrorKind::TooLarge,
        StoreError::Io { .. } => ErrorKind::Storage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_to_do_next() {
        let status = |status, retry_after| GitError::from(RemoteError::Status { status, retry_after });
        let wait = Duration::from_secs(3);
        for (error, kind, retry) in [
            (RemoteError::Unauthorized { status: 401 }.into(), ErrorKind::Auth, Retry::OnChange),
            (RemoteError::NotFound { status: 404 }.into(), ErrorKind::NotFound, Retry::OnChange),
            (status(503, None), ErrorKind::Server, Retry::Backoff),
            (status(429, Some(wait)), ErrorKind::Server, Retry::After(wait)),
            (RemoteError::Timeout.into(), ErrorKind::Timeout, Retry::Backoff),
            (RemoteError::TooLarge { limit: 1 }.into(), ErrorKind::TooLarge, Retry::OnChange),
            (StoreError::Missing(String::new()).into(), ErrorKind::Corrupt, Retry::Now),
            (GitError::Branch("..".into()), ErrorKind::Request, Retry::OnChange),
        ] {
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
        }
    }
}
