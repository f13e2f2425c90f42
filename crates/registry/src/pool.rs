//! What all repositories share: HTTP clients, request budgets and tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;
use windlass_model::ImageName;

use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::metrics::Metrics;
use crate::repository::Repository;
use crate::tags::TagLimits;
use crate::transport::{self, ClientIdentity, ConfigError, Fingerprint, ProxyConfig};

/// Endpoints kept although no repository uses them. Past this, idle ones are dropped when a new one is added: rotated
/// certificates and proxies must not pile up.
const MAX_IDLE_ENDPOINTS: usize = 64;

/// Settings of the whole process.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Sent with every request.
    pub user_agent: String,
    /// Whether `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` apply to repositories without a proxy of their own.
    pub proxy_from_environment: bool,
    /// Requests under way to one registry, at most. Throttling lowers the number for a while.
    pub max_concurrent_requests: usize,
    /// How much of a tag list is read.
    pub tag_limits: TagLimits,
}

impl Default for PoolConfig {
    /// 16 requests at once, no proxy from the environment.
    fn default() -> Self {
        Self {
            user_agent: concat!("windlass/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy_from_environment: false,
            max_concurrent_requests: 16,
            tag_limits: TagLimits::default(),
        }
    }
}

/// One repository, and how to reach it.
#[derive(Debug, Clone)]
pub struct RepositoryConfig {
    /// Where it is.
    pub image: ImageName,
    /// What to prove to the registry.
    pub credentials: Credentials,
    /// Whether plain HTTP is allowed (`spec.insecure`). HTTPS is tried first, as Flux does.
    pub insecure: bool,
    /// `ca.crt`: PEM certificates that are trusted besides the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// `tls.crt` and `tls.key`: shown to registries that ask for a client certificate.
    pub client_identity: Option<ClientIdentity>,
    /// For all requests of this repository; replaces the environment's.
    pub proxy: Option<ProxyConfig>,
    /// Token servers, as `host` or `host:port`, that may see the credentials although they are not on the registry's
    /// own host. Docker Hub's and GitLab.com's are known.
    pub auth_hosts: Vec<String>,
    /// For one operation from its start to its end: waiting for a place, authentication, every page.
    pub timeout: Duration,
}

impl RepositoryConfig {
    /// A public repository, reached over HTTPS.
    pub fn new(image: ImageName, timeout: Duration) -> Self {
        Self {
            image,
            credentials: Credentials::Anonymous,
            insecure: false,
            ca_pem: None,
            client_identity: None,
            proxy: None,
            auth_hosts: Vec::new(),
            timeout,
        }
    }
}

/// Shares connections, request budgets and tokens among all repositories of the process. Cheap to clone.
///
/// What is shared is shared by those who reach the same registry *in the same way* (trust roots, client certificate,
/// proxy, `insecure`). A tenant who brings a proxy and a CA of their own can answer in a registry's name, and must
/// neither pause nor feed tokens to the others.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    config: PoolConfig,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: HashMap<Fingerprint, Client>,
    endpoints: HashMap<(Fingerprint, String), Arc<Endpoint>>,
}

impl Pool {
    /// An empty pool.
    pub fn new(config: PoolConfig, metrics: Metrics) -> Self {
        Self { shared: Arc::new(Shared { config, metrics, state: Mutex::default() }) }
    }

    /// A handle on one repository. It sends nothing; equal configurations share everything but the handle.
    pub fn repository(&self, config: RepositoryConfig) -> Result<Repository, ConfigError> {
        let endpoint = self.endpoint(&config)?;
        Ok(Repository::new(endpoint, config, self.shared.config.tag_limits.clone()))
    }

    fn endpoint(&self, config: &RepositoryConfig) -> Result<Arc<Endpoint>, ConfigError> {
        let fingerprint = Fingerprint::of_transport(config);
        // A panic while the lock is held leaves the maps valid.
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (fingerprint, config.image.api_host().to_owned());
        if let Some(endpoint) = state.endpoints.get(&key) {
            return Ok(endpoint.clone());
        }
        let client = match state.clients.get(&fingerprint) {
            Some(client) => client.clone(),
            None => transport::client(&self.shared.config, config)?,
        };
        let endpoint = Arc::new(Endpoint::new(
            &config.image,
            config.insecure,
            client.clone(),
            self.shared.config.max_concurrent_requests,
            self.shared.metrics.clone(),
        )?);
        state.drop_idle();
        state.clients.insert(fingerprint, client);
        state.endpoints.insert(key, endpoint.clone());
        Ok(endpoint)
    }
}

impl State {
    /// Keeps what a repository uses, and what must remember a pause.
    fn drop_idle(&mut self) {
        if self.endpoints.len() < MAX_IDLE_ENDPOINTS {
            return;
        }
        self.endpoints.retain(|_, endpoint| Arc::strong_count(endpoint) > 1 || endpoint.is_paused());
        let endpoints = &self.endpoints;
        self.clients.retain(|fingerprint, _| endpoints.keys().any(|(used, _)| used == fingerprint));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use windlass_model::resource::SecretValue;

    use super::*;

    fn pool() -> Pool {
        Pool::new(PoolConfig::default(), Metrics::register(&mut Registry::default()))
    }

    fn config(image: &str) -> RepositoryConfig {
        RepositoryConfig::new(ImageName::parse(image).unwrap(), Duration::from_secs(1))
    }

    fn proxied(image: &str, proxy: &str) -> RepositoryConfig {
        let proxy = ProxyConfig { address: proxy.to_owned(), username: None, password: None };
        RepositoryConfig { proxy: Some(proxy), ..config(image) }
    }

    #[test]
    fn only_equal_ways_to_one_registry_share() {
        let pool = pool();
        let endpoint = |config: &RepositoryConfig| pool.endpoint(config).unwrap();
        let base = endpoint(&config("ghcr.io/org/a"));
        assert!(Arc::ptr_eq(&base, &endpoint(&config("ghcr.io/org/b"))));
        for other in [
            config("quay.io/org/a"),
            RepositoryConfig { insecure: true, ..config("ghcr.io/org/a") },
            proxied("ghcr.io/org/a", "http://proxy.example:3128"),
        ] {
            assert!(!Arc::ptr_eq(&base, &endpoint(&other)), "{other:?}");
        }
        assert_eq!(pool.shared.state.lock().unwrap().clients.len(), 3, "two registries share one client");
    }

    #[test]
    fn unused_ways_are_dropped_and_used_ones_kept() {
        let pool = pool();
        let kept = pool.endpoint(&config("ghcr.io/org/a")).unwrap();
        for port in 0..MAX_IDLE_ENDPOINTS {
            pool.endpoint(&config(&format!("reg.example:{}/a", port + 1))).unwrap();
        }
        let state = pool.shared.state.lock().unwrap();
        assert!(state.endpoints.len() < MAX_IDLE_ENDPOINTS, "{}", state.endpoints.len());
        assert!(state.endpoints.values().any(|endpoint| Arc::ptr_eq(endpoint, &kept)));
    }

    #[test]
    fn what_cannot_be_set_up_names_the_key_and_not_its_value() {
        let identity = ClientIdentity {
            certificate_pem: b"hunter22".to_vec(),
            key_pem: SecretValue::new(b"hunter22".to_vec()),
        };
        let broken_ca = b"-----BEGIN CERTIFICATE-----\nhunter22\n-----END CERTIFICATE-----\n";
        for (config, wanted) in [
            (
                RepositoryConfig { ca_pem: Some(b"".to_vec()), ..config("a.b/c") },
                ConfigError::CertificateAuthority,
            ),
            (
                RepositoryConfig { ca_pem: Some(b"hunter22".to_vec()), ..config("a.b/c") },
                ConfigError::CertificateAuthority,
            ),
            (
                RepositoryConfig { ca_pem: Some(broken_ca.to_vec()), ..config("a.b/c") },
                ConfigError::Tls("invalid peer certificate: BadEncoding".to_owned()),
            ),
            (
                RepositoryConfig { client_identity: Some(identity), ..config("a.b/c") },
                ConfigError::ClientIdentity,
            ),
            (proxied("a.b/c", "hunter22"), ConfigError::ProxyAddress),
            (proxied("a.b/c", "ftp://u:hunter22@proxy.example"), ConfigError::ProxyAddress),
            (proxied("a.b/c", "http://"), ConfigError::ProxyAddress),
        ] {
            let error = pool().repository(config.clone()).unwrap_err();
            assert_eq!(error, wanted);
            assert!(!error.to_string().contains("hunter22"));
            assert!(!format!("{config:?}").contains("hunter22") || config.ca_pem.is_some());
        }
    }
}
