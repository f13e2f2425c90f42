//! A mirror over HTTP. Owns where requests go and how much of an answer is read: the mirror's own host and folder, no
//! redirect, no credential, no more bytes than are allowed, no endless wait.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{Error, Repository, Result};
use url::Url;

/// Longest time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(15);
/// For one request. The largest files have some hundred kilobytes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The client for all mirrors. The proxy that the process's environment names applies.
///
/// # Errors
/// TLS cannot be set up.
pub(crate) fn client() -> std::result::Result<Client, String> {
    Client::builder()
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE)
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| error.to_string())
}

/// One mirror.
pub(crate) struct Mirror {
    base: Url,
    client: Client,
}

impl Mirror {
    /// # Errors
    /// The address is no URL, which the configuration does not allow.
    pub(crate) fn new(address: &str, client: Client) -> Result<Self> {
        let base =
            Url::parse(address).map_err(|error| refusal(format!("{address} is not a URL: {error}")))?;
        Ok(Self { base, client })
    }

    /// Names come from metadata that are signed, but not from us: they stay below the mirror's address.
    fn address(&self, name: &str) -> Result<Url> {
        let url = self.base.join(name).ok().filter(|url| url.as_str().starts_with(self.base.as_str()));
        url.ok_or_else(|| refusal(format!("`{name}` leads out of the mirror")))
    }

    async fn get(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>> {
        let url = self.address(name)?;
        let failed = |error: reqwest::Error| Error::Transport {
            message: format!("{url} did not answer"),
            source: Some(Box::new(error.without_url())),
        };
        let mut answer = self.client.get(url.clone()).send().await.map_err(failed)?;
        match answer.status() {
            // Object stores forbid what is not there.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => return Ok(None),
            status if status.is_redirection() => {
                return Err(refusal(format!("{url} redirects ({status}), which is not followed")));
            }
            StatusCode::OK => {}
            status => return Err(refusal(format!("{url} answered {status}"))),
        }
        let too_large = || refusal(format!("{url} has more than {max} bytes"));
        if answer.content_length().is_some_and(|length| length > max) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if (bytes.len() + chunk.len()) as u64 > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }
}

impl Repository for Mirror {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(self.get(name, max_length))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(async move { self.get(&format!("targets/{path}"), max_length).await })
    }
}

fn refusal(message: String) -> Error {
    Error::Transport { message, source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_stays_below_the_mirror() {
        let mirror = Mirror::new("https://tuf.example.com/a/", client().unwrap()).unwrap();
        for (name, wanted) in [
            ("timestamp.json", "https://tuf.example.com/a/timestamp.json"),
            ("targets/12.trusted_root.json", "https://tuf.example.com/a/targets/12.trusted_root.json"),
            ("1.a%2Fb.json", "https://tuf.example.com/a/1.a%2Fb.json"),
        ] {
            assert_eq!(mirror.address(name).unwrap().as_str(), wanted);
        }
        for name in
            ["../b", "/b", "//evil.example/a/", "https://evil.example/a/", "targets/../../b", "\\\\evil/a/"]
        {
            assert!(mirror.address(name).is_err(), "{name}");
        }
    }
}
