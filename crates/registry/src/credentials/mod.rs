//! What a repository's owner gave us to prove who we are, and how it is written into a header.
//!
//! Credentials are compared and hashed, never printed. They are sent only as [`crate`] describes, and no helper
//! program that a configuration names is ever executed.

mod docker_config;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use windlass_model::resource::SecretValue;
use zeroize::Zeroizing;

pub use docker_config::{CredentialsError, from_docker_config};

/// What is proven to a registry.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    Anonymous,
    /// A user's or a robot's name and its password or access token.
    Basic {
        /// The name; may contain anything but a colon.
        username: String,
        /// The password.
        password: SecretValue,
    },
    /// Docker's `identitytoken`: an OAuth2 refresh token for the registry's token server.
    Identity {
        /// The name stored beside it, often empty; used only with token servers that do not speak OAuth2.
        username: String,
        /// The refresh token.
        token: SecretValue,
    },
    /// Docker's `registrytoken`: sent to the registry as it is.
    RegistryToken(SecretValue),
}

impl Credentials {
    /// Tells credentials apart without keeping them.
    pub(crate) fn fingerprint_parts(&self) -> Vec<Option<&[u8]>> {
        match self {
            Credentials::Anonymous => vec![Some(b"anonymous")],
            Credentials::Basic { username, password } => {
                vec![Some(b"basic"), Some(username.as_bytes()), Some(password.expose())]
            }
            Credentials::Identity { username, token } => {
                vec![Some(b"identity"), Some(username.as_bytes()), Some(token.expose())]
            }
            Credentials::RegistryToken(token) => vec![Some(b"registry"), Some(token.expose())],
        }
    }

    /// `Basic …` (RFC 7617), for credentials that have a secret to go with a name.
    pub(crate) fn basic_header(&self) -> Option<HeaderValue> {
        let (username, secret) = match self {
            Credentials::Basic { username, password } => (username, password),
            Credentials::Identity { username, token } => (username, token),
            Credentials::Anonymous | Credentials::RegistryToken(_) => return None,
        };
        let mut pair = Zeroizing::new(format!("{username}:").into_bytes());
        pair.extend_from_slice(secret.expose());
        sensitive(b"Basic ", STANDARD.encode(&pair).as_bytes())
    }

    /// `Bearer …` with a registry token.
    pub(crate) fn registry_token_header(&self) -> Option<HeaderValue> {
        match self {
            Credentials::RegistryToken(token) => bearer_header(token.expose()),
            Credentials::Anonymous | Credentials::Basic { .. } | Credentials::Identity { .. } => None,
        }
    }

    /// The texts that no message may repeat: the secret, and what `authorization` carries after its scheme.
    pub(crate) fn secret_texts<'a>(&'a self, authorization: Option<&'a HeaderValue>) -> Vec<&'a str> {
        let secret = match self {
            Credentials::Anonymous => None,
            Credentials::Basic { password: secret, .. }
            | Credentials::Identity { token: secret, .. }
            | Credentials::RegistryToken(secret) => std::str::from_utf8(secret.expose()).ok(),
        };
        let carried = authorization.and_then(|header| header.to_str().ok()?.split_once(' '));
        secret.into_iter().chain(carried.map(|(_, token)| token)).collect()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Anonymous => "Anonymous",
            Credentials::Basic { .. } => "Basic(<secret>)",
            Credentials::Identity { .. } => "Identity(<secret>)",
            Credentials::RegistryToken(_) => "RegistryToken(<secret>)",
        })
    }
}

/// `Bearer …` (RFC 6750), unless the token has characters that no header can carry.
pub(crate) fn bearer_header(token: &[u8]) -> Option<HeaderValue> {
    sensitive(b"Bearer ", token)
}

fn sensitive(scheme: &[u8], value: &[u8]) -> Option<HeaderValue> {
    let text = Zeroizing::new([scheme, value].concat());
    let mut header = HeaderValue::from_bytes(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretValue {
        SecretValue::new(text.as_bytes().to_vec())
    }

    #[test]
    fn nothing_secret_is_printed() {
        for credentials in [
            Credentials::Basic { username: "u".into(), password: secret("hunter22") },
            Credentials::Identity { username: String::new(), token: secret("hunter22") },
            Credentials::RegistryToken(secret("hunter22")),
        ] {
            assert!(!format!("{credentials:?}").contains("hunter22"));
            let header = credentials.basic_header().or(credentials.registry_token_header()).unwrap();
            assert_eq!(format!("{header:?}"), "Sensitive");
        }
    }

    #[test]
    fn headers_are_written_as_the_rfcs_say() {
        let basic = Credentials::Basic { username: "Aladdin".into(), password: secret("open sesame") };
        assert_eq!(basic.basic_header().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(Credentials::RegistryToken(secret("t")).registry_token_header().unwrap(), "Bearer t");
        assert_eq!(bearer_header(b"a\nb"), None);
        assert_eq!(Credentials::Anonymous.basic_header(), None);
    }
}
