//! Where a repository is served and how to reach it: URL rules, credentials, TLS and proxy settings, and the pooled
//! HTTP clients. It makes no request itself (`http` does).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Client, Proxy, redirect};
use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

use crate::bulk::Bulk;
use crate::capabilities::Known;
use crate::github_app::GitHubApp;
use crate::http;
use crate::program::{Access, HttpAccess, Program, ProgramEnvironment, SshAccess};
use crate::ssh::{self, SshConfigError};
use crate::transport::{RemoteError, Transport};

/// GitHub and others answer Git requests on a repository's page URL only to agents whose name starts with `git/`.
const USER_AGENT: &str = concat!("git/2.0 (windlass/", env!("CARGO_PKG_VERSION"), ")");
/// A TCP and TLS handshake that takes longer will not get better.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence. Git servers send a keep-alive every 5 s (`uploadpack.keepAlive`, `receive.keepAlive`), but a proxy
/// may hold a response back, typically for no longer than this.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// Shorter than the 60 s after which common servers and load balancers close an idle connection.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// Distinct TLS and proxy settings that are kept warm; beyond that the pool starts anew (clients in use live on).
const MAX_CLIENTS: usize = 64;
/// GitHub Apps whose tokens are kept, one for each repository.
const MAX_APPS: usize = 1024;

/// A repository on a Git server, with everything needed to talk to it. Cheap to clone; clones share connections and
/// what was learned about the server.
#[derive(Clone)]
pub struct Remote(pub(crate) Arc<RemoteState>);

pub(crate) struct RemoteState {
    /// Without credentials.
    url: String,
    pub(crate) transport: Transport,
    pub(crate) known: Mutex<Known>,
    pub(crate) bulk: Bulk,
    /// The `git` program, where it does what the built-in protocol code does otherwise.
    program: Option<Program>,
}

/// How to reach a repository.
pub struct RemoteConfig {
    /// `http://` or `https://`, without credentials, query or fragment; `ssh://`, or `user@host:path`.
    pub url: String,
    /// Credentials, sent with every request to the URL's origin and to no other.
    pub auth: Auth,
    /// Certificates (PEM, one or more) that are trusted beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// A client certificate and its key, both PEM, in one text.
    pub client_identity_pem: Option<Zeroizing<Vec<u8>>>,
    /// `None` connects directly and ignores the environment.
    pub proxy: Option<ProxyConfig>,
    /// Longest duration of one request with its whole response; of one command where the `git` program is used.
    pub timeout: Duration,
    /// What speaks Git's protocol.
    pub implementation: Implementation,
}

/// What speaks Git's protocol with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Implementation {
    /// The code of this crate.
    #[default]
    BuiltIn,
    /// The `git` program, for servers that the built-in code cannot talk to. Slower, and with whole mirrors: it needs
    /// the contents of all files of a commit.
    Program,
}

/// Credentials of a repository.
#[derive(Clone, Default)]
pub enum Auth {
    /// Anonymous.
    #[default]
    None,
    /// RFC 7617.
    Basic {
        /// Must not contain a colon.
        username: String,
        /// A password or an access token.
        password: Zeroizing<String>,
    },
    /// RFC 6750.
    Bearer {
        /// The token alone.
        token: Zeroizing<String>,
    },
    /// Tokens that a GitHub App's installation is given, an hour at a time.
    GitHubApp(GitHubApp),
    /// For `ssh://` and `user@host:path`.
    Ssh {
        /// A private key: OpenSSH or PEM.
        identity: Zeroizing<Vec<u8>>,
        /// The key's, if it is encrypted.
        passphrase: Option<Zeroizing<String>>,
        /// The server's host keys, in OpenSSH's format. No other key is accepted.
        known_hosts: Vec<u8>,
    },
}

/// The proxy to go through.
#[derive(Clone)]
pub enum ProxyConfig {
    /// What the process's environment says (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
    Environment,
    /// One proxy for everything.
    Server {
        /// `http://`, `https://`, `socks5://` or `socks5h://`, without credentials.
        address: String,
        /// Empty for none.
        username: String,
        /// Empty for none.
        password: Zeroizing<String>,
    },
}

/// A setting that cannot work. It never contains a credential.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a URL.
    #[error("the repository's URL is not valid: {0}")]
    Url(#[source] url::ParseError),
    /// Settings for SSH.
    #[error(transparent)]
    Ssh(#[from] SshConfigError),
    /// A key for SSH, and another URL.
    #[error("the Secret has a key for SSH, but the repository's URL is not for SSH: use its ssh:// URL")]
    KeyWithoutSsh,
    /// Another scheme.
    #[error("the repository's URL has the scheme `{0}`: only https://, http:// and ssh:// are supported")]
    Scheme(String),
    /// `https://user:password@host`
    #[error("the repository's URL must not contain credentials: put them into the Secret")]
    UserInfo,
    /// `?` or `#`
    #[error("the repository's URL must not contain a query or a fragment")]
    Query,
    /// A header cannot carry it.
    #[error("the {0} contains a character that cannot be sent, such as a line break")]
    Credential(&'static str),
    /// RFC 7617 forbids it.
    #[error("the username must not contain a colon")]
    Colon,
    /// Zero.
    #[error("the timeout must be longer than zero")]
    Timeout,
    /// Not PEM, or no certificate in it.
    #[error("the certificate authority is not PEM with at least one certificate")]
    Authority,
    /// Not PEM, or certificate or key missing.
    #[error("the client certificate is not PEM with a certificate and its private key")]
    Identity,
    /// Not a proxy URL.
    #[error("the proxy's address is not a valid http, https or socks5 URL without credentials")]
    Proxy,
    /// The TLS library refused the combination.
    #[error("the TLS settings do not work together")]
    Client(#[source] reqwest::Error),
}

impl Remote {
    /// A remote with connections of its own. See [`Self::pooled`].
    pub fn new(config: RemoteConfig) -> Result<Self, RemoteError> {
        Self::pooled(config, &ClientPool::default())
    }

    /// A remote that shares connections with every other remote of the pool whose TLS and proxy settings are equal.
    pub fn pooled(config: RemoteConfig, pool: &ClientPool) -> Result<Self, RemoteError> {
        let RemoteConfig { url, auth, ca_pem, client_identity_pem, proxy, timeout, implementation } = config;
        if timeout.is_zero() {
            return Err(ConfigError::Timeout.into());
        }
        let program = |access| match implementation {
            Implementation::BuiltIn => None,
            Implementation::Program => {
                Some(Program::new(url.clone(), Arc::clone(&pool.environment), access, timeout))
            }
        };
        if is_ssh(&url) {
            return Ok(Self::over_ssh(&url, auth, proxy.as_ref(), timeout, pool.bulk.clone(), program)?);
        }
        if implementation == Implementation::Program
            && pool.environment.local_repositories
            && url.starts_with("file://")
        {
            let program = program(Access::Local);
            let (transport, known, bulk) = (Transport::Local, Mutex::default(), pool.bulk.clone());
            return Ok(Self(Arc::new(RemoteState { url, transport, known, bulk, program })));
        }
        let configured = parse_url(&url)?;
        auth.check()?;
        let route = Route { ca_pem, identity_pem: client_identity_pem, proxy };
        let has_identity = route.identity_pem.is_some();
        let client = pool.client(&route)?;
        let auth = pool.shared(auth, &route);
        let Route { ca_pem, identity_pem, proxy } = route;
        let mut origin = configured.clone();
        origin.set_path("/");
        let program = program(Access::Http(HttpAccess { origin, ca_pem, identity_pem, proxy }));
        let url = configured.to_string();
        let endpoint = http::Endpoint { configured, auth, client, has_identity, timeout };
        let (transport, known, bulk) = (Transport::Http(endpoint), Mutex::default(), pool.bulk.clone());
        Ok(Self(Arc::new(RemoteState { url, transport, known, bulk, program })))
    }

    fn over_ssh(
        url: &str,
        auth: Auth,
        proxy: Option<&ProxyConfig>,
        timeout: Duration,
        bulk: Bulk,
        program: impl FnOnce(Access) -> Option<Program>,
    ) -> Result<Self, ConfigError> {
        // The environment's proxies are for web servers.
        if let Some(ProxyConfig::Server { .. }) = proxy {
            return Err(SshConfigError::Proxy.into());
        }
        let Auth::Ssh { identity, passphrase, known_hosts } = auth else {
            return Err(SshConfigError::NoKey.into());
        };
        let endpoint = ssh::Endpoint::new(url, &identity, passphrase, &known_hosts, timeout)?;
        let (user, identity) = (endpoint.user().to_owned(), endpoint.identity());
        let program = program(Access::Ssh(SshAccess { user, identity, known_hosts }));
        let (url, known) = (endpoint.url()?.to_string(), Mutex::default());
        Ok(Self(Arc::new(RemoteState { url, transport: Transport::Ssh(endpoint), known, bulk, program })))
    }

    /// The configured URL; it holds no credentials.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The `git` program, where it is used.
    pub(crate) fn program(&self) -> Option<&Program> {
        self.0.program.as_ref()
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RemoteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may still hold userinfo here, so it is not shown.
        f.debug_struct("RemoteConfig").field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl fmt::Debug for ProxyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "Environment",
            Self::Server { .. } => "Server(redacted)",
        })
    }
}

/// HTTP clients by their TLS and proxy settings, so that remotes of one server share warm connections; GitHub Apps, so
/// that remotes of one repository share a token; and the turns of whatever needs much memory. Cheap to clone.
#[derive(Clone, Default)]
pub struct ClientPool {
    clients: Arc<Mutex<HashMap<[u8; 32], Client>>>,
    apps: Arc<Mutex<HashMap<[u8; 32], GitHubApp>>>,
    bulk: Bulk,
    environment: Arc<ProgramEnvironment>,
}

impl ClientPool {
    /// A pool whose remotes may use the `git` program.
    pub fn with_program(environment: ProgramEnvironment) -> Self {
        Self { environment: Arc::new(environment), ..Self::default() }
    }

    fn client(&self, route: &Route) -> Result<Client, ConfigError> {
        let key = route.fingerprint();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = route.build()?;
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// The GitHub App with the same settings that was here before, if there is one: it may hold a token.
    fn shared(&self, auth: Auth, route: &Route) -> Auth {
        let Auth::GitHubApp(app) = auth else { return auth };
        let key = app.fingerprint(&route.fingerprint());
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        if apps.len() >= MAX_APPS && !apps.contains_key(&key) {
            apps.clear();
        }
        Auth::GitHubApp(apps.entry(key).or_insert(app).clone())
    }
}

/// The settings that a connection depends on.
struct Route {
    ca_pem: Option<Vec<u8>>,
    identity_pem: Option<Zeroizing<Vec<u8>>>,
    proxy: Option<ProxyConfig>,
}

impl Route {
    /// Equal for equal settings. Each part is preceded by its length, so that no two settings run together.
    fn fingerprint(&self) -> [u8; 32] {
        let (kind, address, username, password) = match &self.proxy {
            None => ("direct", "", "", ""),
            Some(ProxyConfig::Environment) => ("environment", "", "", ""),
            Some(ProxyConfig::Server { address, username, password }) => {
                ("server", address.as_str(), username.as_str(), password.as_str())
            }
        };
        let ca = self.ca_pem.as_deref().unwrap_or_default();
        let identity = self.identity_pem.as_ref().map(|pem| pem.as_slice()).unwrap_or_default();
        let texts = [kind, address, username, password].map(str::as_bytes);
        let mut hasher = Sha256::new();
        for part in texts.into_iter().chain([ca, identity]) {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    fn build(&self) -> Result<Client, ConfigError> {
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(IDLE_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE);
        builder = match &self.proxy {
            None => builder.no_proxy(),
            Some(ProxyConfig::Environment) => builder,
            Some(ProxyConfig::Server { address, username, password }) => {
                builder.no_proxy().proxy(proxy(address, username, password)?)
            }
        };
        if let Some(pem) = &self.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem).map_err(|_| ConfigError::Authority)?;
            if certificates.is_empty() {
                return Err(ConfigError::Authority);
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some(pem) = &self.identity_pem {
            builder = builder.identity(reqwest::Identity::from_pem(pem).map_err(|_| ConfigError::Identity)?);
        }
        builder.build().map_err(|error| ConfigError::Client(error.without_url()))
    }
}

fn proxy(address: &str, username: &str, password: &str) -> Result<Proxy, ConfigError> {
    let url = Url::parse(address).map_err(|_| ConfigError::Proxy)?;
    let known = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
    if !known || !url.has_host() || has_userinfo(&url) {
        return Err(ConfigError::Proxy);
    }
    let proxy = Proxy::all(url).map_err(|_| ConfigError::Proxy)?;
    Ok(if username.is_empty() && password.is_empty() { proxy } else { proxy.basic_auth(username, password) })
}

fn parse_url(text: &str) -> Result<Url, ConfigError> {
    let mut url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return Err(ConfigError::Url(error)),
    };
    match url.scheme() {
        "http" | "https" => {}
        other => return Err(ConfigError::Scheme(other.to_owned())),
    }
    if has_userinfo(&url) {
        return Err(ConfigError::UserInfo);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ConfigError::Query);
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// A URL for SSH, or Git's short form of one: `user@host:path` or `host:path`.
fn is_ssh(text: &str) -> bool {
    if let Some((scheme, _)) = text.split_once("://") {
        return matches!(scheme, "ssh" | "git+ssh" | "ssh+git");
    }
    text.split_once(':').is_some_and(|(host, path)| !host.contains('/') && !path.is_empty())
}

pub(crate) fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> RemoteConfig {
        RemoteConfig {
            url: url.to_owned(),
            auth: Auth::None,
            ca_pem: None,
            client_identity_pem: None,
            proxy: None,
            timeout: Duration::from_secs(5),
            implementation: Implementation::BuiltIn,
        }
    }

    fn refusal(config: RemoteConfig) -> ConfigError {
        match Remote::new(config) {
            Err(RemoteError::Config(error)) => error,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn urls_that_cannot_work_are_refused_with_the_reason() {
        for ssh in ["ssh://git@host/a", "git@host.example:org/repo.git", "host.example:org/repo.git"] {
            assert!(matches!(refusal(config(ssh)), ConfigError::Ssh(SshConfigError::NoKey)), "{ssh}");
        }
        assert!(matches!(refusal(config("file:///srv/repo")), ConfigError::Scheme(_)));
        assert!(matches!(refusal(config("git://host/repo")), ConfigError::Scheme(_)));
        assert!(matches!(refusal(config("/srv/repo")), ConfigError::Url(_)));
        assert!(matches!(refusal(config("https://u@host/a")), ConfigError::UserInfo));
        assert!(matches!(refusal(config("https://:p@host/a")), ConfigError::UserInfo));
        assert!(matches!(refusal(config("https://host/a?x=1")), ConfigError::Query));
        assert_eq!(Remote::new(config("https://host/a.git//")).unwrap().url(), "https://host/a.git");
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_the_reason() {
        let with = |change: fn(&mut RemoteConfig)| {
            let mut config = config("https://host/a");
            change(&mut config);
            refusal(config)
        };
        assert!(matches!(with(|c| c.timeout = Duration::ZERO), ConfigError::Timeout));
        assert!(matches!(with(|c| c.ca_pem = Some(b"nonsense".to_vec())), ConfigError::Authority));
        assert!(matches!(
            with(|c| c.client_identity_pem = Some(b"nonsense".to_vec().into())),
            ConfigError::Identity
        ));
        let basic = |c: &mut RemoteConfig| {
            c.auth = Auth::Basic { username: "a:b".into(), password: String::new().into() };
        };
        assert!(matches!(with(basic), ConfigError::Colon));
        let bearer = |c: &mut RemoteConfig| c.auth = Auth::Bearer { token: "a\nb".to_owned().into() };
        assert!(matches!(with(bearer), ConfigError::Credential("token")));
        for address in ["proxy", "ftp://proxy", "http://u:p@proxy"] {
            assert!(matches!(proxy(address, "", ""), Err(ConfigError::Proxy)), "{address}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let mut config = config("https://host/a");
        config.auth = Auth::Basic { username: "robot".into(), password: "hunter2".to_owned().into() };
        let server = ProxyConfig::Server {
            address: "http://proxy:1".into(),
            username: "robot".into(),
            password: "hunter2".to_owned().into(),
        };
        config.proxy = Some(server.clone());
        let text = format!("{config:?} {server:?}");
        let text = format!("{text} {:?}", Remote::new(config).unwrap());
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn equal_settings_share_a_client_and_others_do_not() {
        let pool = ClientPool::default();
        let direct = || Route { ca_pem: None, identity_pem: None, proxy: None };
        pool.client(&direct()).unwrap();
        pool.client(&direct()).unwrap();
        assert_eq!(pool.clients.lock().unwrap().len(), 1);
        pool.client(&Route { proxy: Some(ProxyConfig::Environment), ..direct() }).unwrap();
        assert_eq!(pool.clients.lock().unwrap().len(), 2);
    }
}
