//! How a registry is reached: trust roots, client certificate, proxy. Each distinct way has one HTTP client, and so one
//! set of connections.

use std::fmt;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, Proxy};
use sha2::{Digest, Sha256};
use windlass_model::resource::SecretValue;
use zeroize::Zeroizing;

use crate::pool::{PoolConfig, RepositoryConfig};

/// Longest time to connect, TLS included. A registry that takes longer is as good as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence in the middle of an exchange. An operation's own timeout may be as long as the polling interval, and a
/// registry that hangs would hold its request budget all the while; lists of 100,000 tags take some registries half a
/// minute to begin.
pub(crate) const SILENCE: Duration = Duration::from_mins(1);
/// Proxy schemes that the HTTP client speaks.
const PROXY_SCHEMES: [&str; 5] = ["http", "https", "socks4", "socks5", "socks5h"];

/// A certificate and its key for mutual TLS, in PEM.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// `tls.crt`: the certificate, then its intermediates.
    pub certificate_pem: Vec<u8>,
    /// `tls.key`: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key_pem: SecretValue,
}

/// A proxy for all requests of a repository.
#[derive(Clone)]
pub struct ProxyConfig {
    /// `http://`, `https://`, `socks5://` or `socks5h://` with host and port.
    pub address: String,
    /// Basic authentication with the proxy.
    pub username: Option<String>,
    /// Basic authentication with the proxy.
    pub password: Option<SecretValue>,
}

impl fmt::Debug for ProxyConfig {
    /// The address may hold credentials, so nothing of it is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyConfig").finish_non_exhaustive()
    }
}

/// Why a repository cannot be set up. The text names the Secret's key at fault, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `ca.crt`
    #[error(
        "`ca.crt` has no usable PEM certificate; put the CA's certificate there, from BEGIN to END CERTIFICATE"
    )]
    CertificateAuthority,
    /// `tls.crt` and `tls.key`
    #[error("`tls.crt` and `tls.key` are not a PEM certificate and its unencrypted PEM private key")]
    ClientIdentity,
    /// `address`
    #[error("the proxy's `address` is not a URL of the form scheme://host:port with one of the schemes {}", PROXY_SCHEMES.join(", "))]
    ProxyAddress,
    /// The HTTP client could not be made.
    #[error(
        "TLS cannot be set up ({0}); check `ca.crt`, that `tls.key` belongs to `tls.crt`, and that the system's CA \
         certificates are installed"
    )]
    Tls(String),
    /// The image's registry does not form a URL.
    #[error("`{0}` does not form a URL; check the registry's host")]
    Registry(String),
}

/// Tells things apart that are too long or too secret to be kept: transports, grants, URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Hashes the parts with their lengths, so that no two lists of parts run into each other.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            match part {
                Some(part) => {
                    hash.update([1]);
                    hash.update((part.len() as u64).to_be_bytes());
                    hash.update(part);
                }
                None => hash.update([0]),
            }
        }
        Self(hash.finalize().into())
    }

    pub(crate) fn of_transport(config: &RepositoryConfig) -> Self {
        let identity = config.client_identity.as_ref();
        let proxy = config.proxy.as_ref();
        Self::of([
            Some(&[u8::from(config.insecure)][..]),
            config.ca_pem.as_deref(),
            identity.map(|identity| identity.certificate_pem.as_slice()),
            identity.map(|identity| identity.key_pem.expose()),
            proxy.map(|proxy| proxy.address.as_bytes()),
            proxy.and_then(|proxy| proxy.username.as_deref()).map(str::as_bytes),
            proxy.and_then(|proxy| proxy.password.as_ref()).map(SecretValue::expose),
        ])
    }
}

/// Makes the HTTP client of a transport. It follows no redirect by itself: each is checked first.
pub(crate) fn client(pool: &PoolConfig, config: &RepositoryConfig) -> Result<Client, ConfigError> {
    let mut builder = Client::builder()
        .user_agent(&pool.user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE)
        .pool_max_idle_per_host(pool.max_concurrent_requests);
    if let Some(pem) = &config.ca_pem {
        builder = builder.tls_certs_merge(authorities(pem)?);
    }
    if let Some(identity) = &config.client_identity {
        builder = builder.identity(client_identity(identity)?);
    }
    builder = match &config.proxy {
        Some(config) => builder.proxy(proxy(config)?),
        None if pool.proxy_from_environment => builder,
        None => builder.no_proxy(),
    };
    builder.build().map_err(|error| ConfigError::Tls(crate::endpoint::root_cause(&error)))
}

/// The system's roots stay trusted; these are added (image-reflector-controller 1.2, `certSecretRef`).
fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, ConfigError> {
    match Certificate::from_pem_bundle(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ConfigError::CertificateAuthority),
    }
}

fn client_identity(identity: &ClientIdentity) -> Result<Identity, ConfigError> {
    let mut pem = Zeroizing::new(identity.certificate_pem.clone());
    pem.push(b'\n');
    pem.extend_from_slice(identity.key_pem.expose());
    Identity::from_pem(&pem).map_err(|_| ConfigError::ClientIdentity)
}

fn proxy(config: &ProxyConfig) -> Result<Proxy, ConfigError> {
    let url = url::Url::parse(&config.address).map_err(|_| ConfigError::ProxyAddress)?;
    if !PROXY_SCHEMES.contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err(ConfigError::ProxyAddress);
    }
    let proxy = Proxy::all(url).map_err(|_| ConfigError::ProxyAddress)?;
    let Some(username) = &config.username else { return Ok(proxy) };
    let password = config
        .password
        .as_ref()
        .map(|password| Zeroizing::new(String::from_utf8_lossy(password.expose()).into_owned()));
    Ok(proxy.basic_auth(username, password.as_ref().map_or("", |password| password.as_str())))
}
