//! What is sent as `Authorization`: asked for before each request, so that credentials that expire are renewed. It says
//! nothing about where they may go (`http` does).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use crate::remote::{Auth, ConfigError};
use crate::transport::RemoteError;

/// The header's value for one request.
#[derive(Clone)]
pub(crate) struct Authorization {
    /// Marked as sensitive.
    pub(crate) header: HeaderValue,
    /// It was obtained earlier, and another can be had: a refusal may mean that it was revoked meanwhile.
    pub(crate) renewable: bool,
}

impl Auth {
    /// Whether a header can carry them.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.fixed().map(drop)
    }

    /// Whether there is anything that must not leak.
    pub(crate) fn is_secret(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// What must not be shown even in part of a header, where it does not change.
    pub(crate) fn secret(&self) -> Option<Zeroizing<String>> {
        match self {
            Self::Basic { password: secret, .. } | Self::Bearer { token: secret } => Some(secret.clone()),
            Self::None | Self::GitHubApp(_) | Self::Ssh { .. } => None,
        }
    }

    /// What to send now.
    pub(crate) async fn authorization(&self, client: &Client) -> Result<Option<Authorization>, RemoteError> {
        match self {
            Self::GitHubApp(app) => Ok(Some(app.authorization(client).await?)),
            Self::None | Self::Basic { .. } | Self::Bearer { .. } | Self::Ssh { .. } => {
                Ok(self.fixed()?.map(|header| Authorization { header, renewable: false }))
            }
        }
    }

    /// The server refused this: it is not to be used again.
    pub(crate) async fn forget(&self, used: &Authorization) {
        if let Self::GitHubApp(app) = self {
            app.forget(used).await;
        }
    }

    /// The header of credentials that do not change.
    fn fixed(&self) -> Result<Option<HeaderValue>, ConfigError> {
        match self {
            Self::None | Self::GitHubApp(_) => Ok(None),
            Self::Ssh { .. } => Err(ConfigError::KeyWithoutSsh),
            Self::Basic { username, password } => basic(username, password).map(Some),
            Self::Bearer { token } => {
                sensitive(&Zeroizing::new(format!("Bearer {}", token.as_str())), "token").map(Some)
            }
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(redacted)",
            Self::Bearer { .. } => "Bearer(redacted)",
            Self::GitHubApp(_) => "GitHubApp(redacted)",
            Self::Ssh { .. } => "Ssh(redacted)",
        })
    }
}

/// RFC 7617.
pub(crate) fn basic(username: &str, password: &str) -> Result<HeaderValue, ConfigError> {
    if username.contains(':') {
        return Err(ConfigError::Colon);
    }
    let pair = Zeroizing::new(format!("{username}:{password}"));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    sensitive(&Zeroizing::new(format!("Basic {}", encoded.as_str())), "password")
}

/// A header's value that nothing prints.
pub(crate) fn sensitive(text: &str, what: &'static str) -> Result<HeaderValue, ConfigError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| ConfigError::Credential(what))?;
    value.set_sensitive(true);
    Ok(value)
}
