//! From resources to connections: which credentials, certificates and proxies reach a registry or a Git server.
//!
//! Secrets are read from the namespace of the resource that names them, never from another.

use std::sync::Arc;
use std::time::Duration;

use windlass_git::{Auth, GitHubApp, GitHubAppConfig, Implementation, Installation, RemoteConfig};
use windlass_model::resource::{
    GitImplementation, GitProvider, GitRepository, ImageRepository, Secret, SecretValue,
};
use windlass_model::{Clock, ImageName, Spec};
use windlass_registry::{ClientIdentity, Credentials, RepositoryConfig, credentials};

/// A token is a small answer: what takes longer does not come.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The registry connection of an ImageRepository.
///
/// # Errors
/// A sentence that names the Secret and the key that is missing or malformed.
pub(crate) fn registry(spec: &Spec, repository: &ImageRepository) -> Result<RepositoryConfig, String> {
    let namespace = &repository.meta.key.namespace;
    let certificates = optional(spec, namespace, repository.cert_secret.as_deref(), tls)?.unwrap_or_default();
    Ok(RepositoryConfig {
        image: repository.image.clone(),
        credentials: match &repository.secret {
            Some(name) => docker_credentials(secret(spec, namespace, name)?, &repository.image)?,
            None => Credentials::Anonymous,
        },
        insecure: repository.insecure,
        ca_pem: certificates.ca,
        client_identity: certificates.identity.map(|(certificate, key)| ClientIdentity {
            certificate_pem: certificate,
            key_pem: SecretValue::new(key),
        }),
        proxy: optional(spec, namespace, repository.proxy_secret.as_deref(), |secret| {
            let (address, username, password) = proxy(secret)?;
            let password = password.map(|password| SecretValue::new(password.into_bytes()));
            Ok(windlass_registry::ProxyConfig { address, username, password })
        })?,
        auth_hosts: repository.auth_hosts.clone(),
        timeout: repository.timeout,
    })
}

/// The registry connection to where a Guard says that signatures lie. On the image's own registry it is reached as the
/// image is; elsewhere with what the same Secret has for it, or with nothing.
///
/// # Errors
/// As [`registry`].
pub(crate) fn signatures(
    spec: &Spec,
    repository: &ImageRepository,
    source: &ImageName,
) -> Result<RepositoryConfig, String> {
    if source.registry() == repository.image.registry() {
        return registry(spec, &ImageRepository { image: source.clone(), ..repository.clone() });
    }
    let credentials =
        optional(spec, &repository.meta.key.namespace, repository.secret.as_deref(), |secret| {
            let json = secret.get(".dockerconfigjson").or_else(|| secret.get(".dockercfg"));
            let found = json.map(|json| credentials::from_docker_config(json, source)).transpose();
            found.map(Option::flatten).map_err(|error| format!("Secret {}: {error}", secret.meta.key))
        })?;
    let credentials = credentials.flatten().unwrap_or(Credentials::Anonymous);
    Ok(RepositoryConfig { credentials, ..RepositoryConfig::new(source.clone(), repository.timeout) })
}

/// The Git connection of a GitRepository (secret shape: source-controller 1.9).
///
/// # Errors
/// A sentence that names the Secret and the key that is missing or malformed.
pub(crate) fn git(
    spec: &Spec,
    repository: &GitRepository,
    clock: &Arc<dyn Clock>,
) -> Result<RemoteConfig, String> {
    let namespace = &repository.meta.key.namespace;
    let secret = match &repository.secret {
        Some(name) => Some(secret(spec, namespace, name)?),
        None => None,
    };
    let certificates = secret.map(tls).transpose()?.unwrap_or_default();
    let proxy_secret = optional(spec, namespace, repository.proxy_secret.as_deref(), proxy)?;
    let auth = |secret| match repository.provider {
        _ if repository.is_ssh() => ssh_auth(secret),
        GitProvider::Generic => git_auth(secret),
        GitProvider::GitHub => github_app(secret, repository, clock),
    };
    Ok(RemoteConfig {
        url: repository.url.clone(),
        auth: secret.map(auth).transpose()?.unwrap_or(Auth::None),
        ca_pem: certificates.ca,
        client_identity_pem: certificates.identity.map(|(mut certificate, key)| {
            certificate.push(b'\n');
            certificate.extend_from_slice(&key);
            certificate.into()
        }),
        proxy: Some(match proxy_secret {
            Some((address, username, password)) => windlass_git::ProxyConfig::Server {
                address,
                username: username.unwrap_or_default(),
                password: password.unwrap_or_default().into(),
            },
            None => windlass_git::ProxyConfig::Environment,
        }),
        timeout: repository.timeout.max(Duration::from_secs(1)),
        implementation: match repository.implementation {
            GitImplementation::BuiltIn => Implementation::BuiltIn,
            GitImplementation::Program => Implementation::Program,
        },
    })
}

#[derive(Default)]
struct Certificates {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

fn secret<'a>(spec: &'a Spec, namespace: &str, name: &str) -> Result<&'a Secret, String> {
    spec.secret(namespace, name)
        .map(AsRef::as_ref)
        .ok_or_else(|| format!("Secret {namespace}/{name} does not exist"))
}

fn optional<T>(
    spec: &Spec,
    namespace: &str,
    name: Option<&str>,
    read: impl FnOnce(&Secret) -> Result<T, String>,
) -> Result<Option<T>, String> {
    name.map(|name| read(secret(spec, namespace, name)?)).transpose()
}

fn docker_credentials(secret: &Secret, image: &ImageName) -> Result<Credentials, String> {
    let key = &secret.meta.key;
    let json = secret
        .get(".dockerconfigjson")
        .or_else(|| secret.get(".dockercfg"))
        .ok_or_else(|| format!("Secret {key} has no key .dockerconfigjson"))?;
    match credentials::from_docker_config(json, image) {
        Ok(Some(credentials)) => Ok(credentials),
        Ok(None) => Err(format!("Secret {key} has no entry for {}", image.registry())),
        Err(error) => Err(format!("Secret {key}: {error}")),
    }
}

/// `tls.crt` with `tls.key`, and `ca.crt`; the legacy names are Flux's deprecated ones.
fn tls(secret: &Secret) -> Result<Certificates, String> {
    let pick = |name: &str, legacy: &str| secret.get(name).or_else(|| secret.get(legacy)).map(<[u8]>::to_vec);
    let identity = match (pick("tls.crt", "certFile"), pick("tls.key", "keyFile")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(format!("Secret {} needs both tls.crt and tls.key", secret.meta.key)),
    };
    Ok(Certificates { ca: pick("ca.crt", "caFile"), identity })
}

fn git_auth(secret: &Secret) -> Result<Auth, String> {
    let text = |key: &str| secret.text(key).map(str::to_owned);
    let complain = |what: &str| Err(format!("Secret {} {what}", secret.meta.key));
    match (text("bearerToken"), text("username"), text("password")) {
        (Some(token), None, None) => Ok(Auth::Bearer { token: token.into() }),
        (None, Some(username), Some(password)) => Ok(Auth::Basic { username, password: password.into() }),
        (None, None, None) if secret.get("ca.crt").or_else(|| secret.get("caFile")).is_some() => {
            Ok(Auth::None)
        }
        (None, None, None) => complain("has neither username and password nor bearerToken"),
        (Some(_), _, _) => complain("has both bearerToken and username or password"),
        (None, Some(_), None) => complain("has a username but no password"),
        (None, None, Some(_)) => complain("has a password but no username"),
    }
}

/// The app that the Secret describes; its token is for this repository.
fn github_app(secret: &Secret, repository: &GitRepository, clock: &Arc<dyn Clock>) -> Result<Auth, String> {
    let name = &secret.meta.key;
    let text = |key: &str| secret.text(key).map(str::to_owned);
    let needed = |key: &str| text(key).ok_or_else(|| format!("Secret {name} has no key {key}"));
    let installation = match (text("githubAppInstallationID"), text("githubAppInstallationOwner")) {
        (Some(id), None) => Installation::Id(id),
        (None, Some(owner)) => Installation::Owner(owner),
        _ => {
            return Err(format!(
                "Secret {name} needs one of githubAppInstallationID and githubAppInstallationOwner"
            ));
        }
    };
    let clock = clock.clone();
    let app = GitHubApp::new(GitHubAppConfig {
        app_id: needed("githubAppID")?,
        installation,
        private_key: needed("githubAppPrivateKey")?.into_bytes().into(),
        api: text("githubAppBaseURL").filter(|url| !url.trim().is_empty()),
        repository: repository.url.clone(),
        timeout: repository.timeout.clamp(Duration::from_secs(1), TOKEN_TIMEOUT),
        clock: Arc::new(move || clock.now()),
    });
    app.map(Auth::GitHubApp).map_err(|error| format!("Secret {name}: {error}"))
}

/// `identity` with its passphrase in `password`, and `known_hosts`. `identity.pub` follows from `identity`.
fn ssh_auth(secret: &Secret) -> Result<Auth, String> {
    let bytes = |key: &str| {
        let missing = || format!("Secret {} has no key {key}", secret.meta.key);
        secret.get(key).map(<[u8]>::to_vec).ok_or_else(missing)
    };
    Ok(Auth::Ssh {
        identity: bytes("identity")?.into(),
        passphrase: secret.text("password").map(|text| text.to_owned().into()),
        known_hosts: bytes("known_hosts")?,
    })
}

/// `address`, and `username` with `password` where the proxy asks for them.
fn proxy(secret: &Secret) -> Result<(String, Option<String>, Option<String>), String> {
    let text = |key: &str| secret.text(key).map(str::to_owned);
    let address = text("address").ok_or_else(|| format!("Secret {} has no key address", secret.meta.key))?;
    Ok((address, text("username"), text("password")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestClock, document, key, spec};

    fn secret_of(data: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: apps}}\nstringData: {{{data}}}"
        )
    }

    fn config(git: &str, secrets: &[String]) -> Result<RemoteConfig, String> {
        let repository = document("GitRepository", "fleet", &format!("interval: 1m, {git}"));
        let documents: Vec<&str> =
            [repository.as_str()].into_iter().chain(secrets.iter().map(String::as_str)).collect();
        let spec = spec(&documents);
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        git_of(&spec, &clock)
    }

    fn git_of(spec: &Spec, clock: &Arc<dyn Clock>) -> Result<RemoteConfig, String> {
        git(spec, &spec.git_repositories[&key("fleet")], clock)
    }

    #[test]
    fn secrets_are_read_in_fluxs_shape() {
        const URL: &str = "url: 'https://git.example/acme/fleet', secretRef: {name: s}";
        let of = |data: &str| config(URL, &[secret_of(data)]);
        let basic = of("username: bot, password: pw").unwrap();
        assert!(
            matches!(basic.auth, Auth::Basic { username, password } if username == "bot" && *password == "pw")
        );
        let bearer = of("bearerToken: t").unwrap();
        assert!(matches!(bearer.auth, Auth::Bearer { token } if *token == "t"));
        for name in ["ca.crt", "caFile"] {
            let anonymous = of(&format!("{name}: pem")).unwrap();
            assert!(matches!(anonymous.auth, Auth::None));
            assert_eq!(anonymous.ca_pem.as_deref(), Some(&b"pem"[..]));
        }
        for (certificate, private) in [("tls.crt", "tls.key"), ("certFile", "keyFile")] {
            let mutual = of(&format!("username: bot, password: pw, {certificate}: c, {private}: k")).unwrap();
            assert_eq!(mutual.client_identity_pem.as_deref().map(Vec::as_slice), Some(&b"c\nk"[..]));
        }
        assert!(matches!(of("bearerToken: t").unwrap().proxy, Some(windlass_git::ProxyConfig::Environment)));
    }

    #[test]
    fn a_proxys_secret_is_read() {
        let git = "url: 'https://git.example/fleet', proxySecretRef: {name: s}";
        let found =
            config(git, &[secret_of("address: 'socks5://p:1080', username: u, password: pw")]).unwrap();
        let Some(windlass_git::ProxyConfig::Server { address, username, password }) = found.proxy else {
            panic!("no proxy");
        };
        assert_eq!((address.as_str(), username.as_str(), password.as_str()), ("socks5://p:1080", "u", "pw"));
    }

    #[test]
    fn what_a_secret_lacks_is_named_and_its_values_are_not() {
        const URL: &str = "url: 'https://git.example/acme/fleet', secretRef: {name: s}";
        let app = |rest: &str| (format!("{URL}, provider: github"), format!("githubAppID: '1', {rest}"));
        for ((git, data), why) in [
            ((URL.to_owned(), "username: bot".to_owned()), "has a username but no password"),
            ((URL.to_owned(), "password: hunter2".to_owned()), "has a password but no username"),
            ((URL.to_owned(), "username: a, password: hunter2, tls.crt: c".to_owned()), "tls.key"),
            (app("githubAppInstallationID: '2'"), "githubAppPrivateKey"),
            (app("githubAppPrivateKey: hunter2"), "githubAppInstallationOwner"),
            (
                app("githubAppPrivateKey: hunter2, githubAppInstallationID: '2'"),
                "`githubAppPrivateKey` cannot be used",
            ),
            (app("githubAppPrivateKey: hunter2, githubAppInstallationID: x"), "it is not a number"),
        ] {
            let error = config(&git, &[secret_of(&data)]).unwrap_err();
            assert!(error.contains("Secret apps/s") && error.contains(why), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
