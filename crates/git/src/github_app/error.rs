//! Why there is no token, and what to look at. No text holds a key or a token.

use std::time::Duration;

use crate::error::ErrorKind;

/// Why a GitHub App gave no token.
#[derive(Debug, thiserror::Error)]
pub enum GitHubAppError {
    /// A key of the Secret.
    #[error("`{key}` cannot be used: {why}")]
    Setting {
        /// The Secret's key.
        key: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// The repository's URL is not one of GitHub's.
    #[error("a GitHub App needs a repository URL with owner and name, such as https://github.com/org/fleet")]
    Repository,
    /// The cryptography library failed.
    #[error("the GitHub App's token could not be signed")]
    Signature,
    /// HTTP 401: the signed token is not believed.
    #[error(
        "GitHub's API does not believe the app (HTTP 401){said}: check `githubAppID`, that `githubAppPrivateKey` is a \
         key of that app, and this machine's clock{clock}"
    )]
    Unauthorized {
        /// The API's words, cleaned, after `: `; empty for none.
        said: String,
        /// How far the clocks are apart, where that is too far.
        clock: String,
    },
    /// HTTP 403: the installation may not have a token.
    #[error(
        "GitHub's API gives the app no token (HTTP 403){said}: check that the installation is not suspended and that \
         the app may read and write `Contents`"
    )]
    Forbidden {
        /// The API's words.
        said: String,
    },
    /// HTTP 404: no such installation.
    #[error(
        "GitHub's API knows no installation `{installation}` of the app (HTTP 404){said}: check \
         `githubAppInstallationID` or `githubAppInstallationOwner`, that the app is installed there, and \
         `githubAppBaseURL`"
    )]
    NoInstallation {
        /// Its number or owner.
        installation: String,
        /// The API's words.
        said: String,
    },
    /// HTTP 422: the installation does not reach the repository.
    #[error(
        "GitHub's API gives the app no token for the repository `{repository}` (HTTP 422){said}: check that the \
         installation includes it, under this name"
    )]
    NoRepository {
        /// Its name.
        repository: String,
        /// The API's words.
        said: String,
    },
    /// A redirect, which is never followed.
    #[error(
        "GitHub's API redirects (HTTP {status}), which is not followed: set `githubAppBaseURL` to its final URL"
    )]
    Redirect {
        /// 3xx
        status: u16,
    },
    /// Another status, or a limit on requests.
    #[error("GitHub's API answered HTTP {status}")]
    Status {
        /// The status.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The API asked to be left alone, and the time is not over.
    #[error("GitHub's API asked to wait before the next token is asked for")]
    Paused {
        /// How long it still takes.
        retry_after: Duration,
    },
    /// No connection.
    #[error("cannot connect to GitHub's API")]
    Connect(#[source] reqwest::Error),
    /// The connection failed while in use.
    #[error("the connection to GitHub's API failed")]
    Network(#[source] reqwest::Error),
    /// No answer in time.
    #[error("GitHub's API did not answer in time")]
    Timeout,
    /// Not what the API's documentation says.
    #[error("the answer of GitHub's API cannot be used: {0}")]
    Answer(&'static str),
}

impl GitHubAppError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Setting { .. } | Self::Repository | Self::Signature | Self::Redirect { .. } => {
                ErrorKind::Config
            }
            Self::Unauthorized { .. } | Self::Forbidden { .. } | Self::NoRepository { .. } => ErrorKind::Auth,
            Self::NoInstallation { .. } => ErrorKind::NotFound,
            Self::Status { .. } | Self::Paused { .. } => ErrorKind::Server,
            Self::Connect(_) | Self::Network(_) => ErrorKind::Network,
            Self::Timeout => ErrorKind::Timeout,
            Self::Answer(_) => ErrorKind::Protocol,
        }
    }

    /// How long the API asks to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Paused { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

impl From<reqwest::Error> for GitHubAppError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_connect() {
            Self::Connect(error)
        } else if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Network(error)
        }
    }
}
