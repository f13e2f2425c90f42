//! A GitHub App as credentials: an app's key makes a signed token, which buys an installation's token for an hour,
//! which Git takes as a password.
//!
//! It owns the settings, the token that is kept, and when a new one is asked for. Key and tokens go to the configured
//! API alone and into no text.

mod api;
mod error;
mod jwt;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Client;
use reqwest::header::HeaderValue;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

use crate::credentials::{self, Authorization};
use crate::remote::has_userinfo;
use api::{Api, Token};
pub use error::GitHubAppError;
use jwt::Signer;

/// GitHub's own; GitHub Enterprise Server has `https://HOST/api/v3`.
const PUBLIC_API: &str = "https://api.github.com";
/// The user name that goes with an installation's token.
const USERNAME: &str = "x-access-token";
/// A token is replaced so long before it expires: a push that begins with it must also end with it.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_mins(5);
/// Longest identifier that is accepted; GitHub's have at most 39 characters.
const MAX_WORD: usize = 100;

/// Tells the time: the clock is the caller's.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The settings of an app, in the shape of source-controller's Secret.
pub struct GitHubAppConfig {
    /// `githubAppID`: the app's id, or its client id.
    pub app_id: String,
    /// `githubAppInstallationID` or `githubAppInstallationOwner`.
    pub installation: Installation,
    /// `githubAppPrivateKey`: PEM, PKCS #1 or PKCS #8, without a passphrase.
    pub private_key: Zeroizing<Vec<u8>>,
    /// `githubAppBaseURL`: the API's URL; GitHub's own by default.
    pub api: Option<String>,
    /// The repository's URL: the token is for this repository alone.
    pub repository: String,
    /// Longest duration of one request to the API.
    pub timeout: Duration,
    /// The clock.
    pub clock: Clock,
}

/// Which installation of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installation {
    /// Its number.
    Id(String),
    /// The organisation or user that installed it.
    Owner(String),
}

/// An app that gives tokens. Cheap to clone; clones share the token.
#[derive(Clone)]
pub struct GitHubApp(Arc<Inner>);

struct Inner {
    api: Api,
    identity: [u8; 32],
    clock: Clock,
    /// Held while a token is asked for, so that it is asked for once.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Kept>,
    /// Since when and until when the API asked to be left alone.
    pause: Option<(Timestamp, Timestamp)>,
}

struct Kept {
    header: HeaderValue,
    renew_at: Timestamp,
}

impl GitHubApp {
    /// Checks the settings; no request is made.
    ///
    /// # Errors
    /// [`GitHubAppError::Setting`] names the key of the Secret that cannot be right.
    pub fn new(config: GitHubAppConfig) -> Result<Self, GitHubAppError> {
        let GitHubAppConfig { app_id, installation, private_key, api, repository, timeout, clock } = config;
        let app_id = word(&app_id, "githubAppID")?;
        let installation = match installation {
            Installation::Id(id) if id.trim().bytes().all(|b| b.is_ascii_digit()) => {
                Installation::Id(word(&id, "githubAppInstallationID")?)
            }
            Installation::Id(_) => return Err(setting("githubAppInstallationID", "it is not a number")),
            Installation::Owner(owner) => Installation::Owner(word(&owner, "githubAppInstallationOwner")?),
        };
        let base = api_url(api.as_deref().unwrap_or(PUBLIC_API))?;
        let identity = identity(&[
            app_id.as_bytes(),
            format!("{installation:?}").as_bytes(),
            &private_key,
            base.as_str().as_bytes(),
            repository.as_bytes(),
        ]);
        let signer = Signer::new(app_id, &private_key)?;
        let repository = repository_name(&repository)?;
        let api = Api { base, signer, installation, repository, timeout };
        Ok(Self(Arc::new(Inner { api, identity, clock, state: Mutex::default() })))
    }

    /// Equal for equal settings that are used over an equal transport.
    pub(crate) fn fingerprint(&self, transport: &[u8; 32]) -> [u8; 32] {
        identity(&[&self.0.identity, transport])
    }

    /// The token that is kept, or a new one. Whoever comes while one is asked for waits for it.
    pub(crate) async fn authorization(&self, client: &Client) -> Result<Authorization, GitHubAppError> {
        let Inner { api, clock, state, .. } = &*self.0;
        let mut state = state.lock().await;
        let now = clock();
        if let Some(kept) = state.token.as_ref().filter(|kept| now < kept.renew_at) {
            return Ok(Authorization { header: kept.header.clone(), renewable: true });
        }
        // With a clock that was set back, the pause is over too early rather than a day late.
        if let Some((_, until)) = state.pause.filter(|(since, until)| *since <= now && now < *until) {
            let retry_after = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            return Err(GitHubAppError::Paused { retry_after });
        }
        let answer = api.token(client, now).await;
        if let Some(wait) = answer.as_ref().err().and_then(GitHubAppError::retry_after) {
            let since = clock();
            state.pause = since.checked_add(wait).ok().map(|until| (since, until));
        }
        let Token { token, expires_at } = answer?;
        if expires_at <= now {
            return Err(GitHubAppError::Answer("the token has expired already: check this machine's clock"));
        }
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(GitHubAppError::Answer("the token has characters that no token has"));
        }
        let header = credentials::basic(USERNAME, &token)
            .map_err(|_| GitHubAppError::Answer("the token cannot be sent"))?;
        let renew_at = expires_at.checked_sub(RENEW_BEFORE).unwrap_or(expires_at);
        *state = State { token: Some(Kept { header: header.clone(), renew_at }), pause: None };
        Ok(Authorization { header, renewable: false })
    }

    /// A server refused it. Another that somebody obtained meanwhile stays.
    pub(crate) async fn forget(&self, used: &Authorization) {
        let mut state = self.0.state.lock().await;
        state.token = state.token.take().filter(|kept| kept.header != used.header);
    }
}

impl fmt::Debug for GitHubApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHubApp").field("api", &self.0.api.base.as_str()).finish_non_exhaustive()
    }
}

impl fmt::Debug for GitHubAppConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHubAppConfig").finish_non_exhaustive()
    }
}

fn setting(key: &'static str, why: &'static str) -> GitHubAppError {
    GitHubAppError::Setting { key, why }
}

/// An id or a name, as a path and a claim can hold it.
fn word(text: &str, key: &'static str) -> Result<String, GitHubAppError> {
    let text = text.trim();
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > MAX_WORD || !text.bytes().all(valid) || text.starts_with('.') {
        return Err(setting(key, "it is empty or has characters that no id or account name has"));
    }
    Ok(text.to_owned())
}

fn api_url(text: &str) -> Result<Url, GitHubAppError> {
    const KEY: &str = "githubAppBaseURL";
    let mut url = Url::parse(text.trim()).map_err(|_| setting(KEY, "it is not a URL"))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(setting(KEY, "it is not an https:// URL"));
    }
    if has_userinfo(&url) || url.query().is_some() || url.fragment().is_some() {
        return Err(setting(KEY, "it must not contain credentials, a query or a fragment"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// The repository's name in its owner's namespace, from its URL.
fn repository_name(url: &str) -> Result<String, GitHubAppError> {
    let path = Url::parse(url).ok().map(|url| url.path().trim_matches('/').to_owned()).unwrap_or_default();
    let name = path.rsplit_once('/').map(|(_, name)| name.strip_suffix(".git").unwrap_or(name));
    let name = name.filter(|name| !name.is_empty() && !name.contains('%'));
    name.map(str::to_owned).ok_or(GitHubAppError::Repository)
}

/// Each part is preceded by its length, so that no two settings run together.
fn identity(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_the_last_part_of_its_path() {
        for (url, name) in [
            ("https://github.com/org/fleet", Some("fleet")),
            ("https://github.com/org/fleet.git", Some("fleet")),
            ("https://github.com/org/fleet.git/", Some("fleet")),
            ("https://github.com/org/a.b", Some("a.b")),
            ("https://github.com/fleet", None),
            ("https://github.com/", None),
            ("https://github.com/org/a%20b", None),
        ] {
            assert_eq!(repository_name(url).ok().as_deref(), name, "{url}");
        }
    }

    #[test]
    fn the_api_is_a_plain_url() {
        for (text, url) in [
            ("https://api.github.com", Some("https://api.github.com/")),
            (" https://ghe.example.com/api/v3/ ", Some("https://ghe.example.com/api/v3")),
            ("ghe.example.com", None),
            ("ftp://ghe.example.com", None),
            ("https://u:p@ghe.example.com", None),
            ("https://ghe.example.com/?a=b", None),
        ] {
            assert_eq!(api_url(text).ok().as_ref().map(Url::as_str), url, "{text}");
        }
    }

    #[test]
    fn ids_and_names_are_words() {
        for (text, valid) in [
            ("12345", true),
            (" Iv1.0123456789abcdef\n", true),
            ("acme-inc", true),
            ("", false),
            ("../x", false),
            ("a/b", false),
            ("a\"b", false),
        ] {
            assert_eq!(word(text, "githubAppID").is_ok(), valid, "{text}");
        }
    }
}
