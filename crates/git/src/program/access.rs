//! How the program gets what lets it in: tokens by its environment, never by its arguments or in a URL; keys and
//! certificates as files that this user alone can read, in a folder that goes when the command ends.
//!
//! Files are named relative to that folder, which is where the program runs: no path needs to be quoted.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use reqwest::Url;
use russh::keys::ssh_key::LineEnding;
use zeroize::Zeroizing;

use super::{ProgramError, Session, blocking, isolation};
use crate::generation::LayoutError;
use crate::remote::{ConfigError, ProxyConfig};
use crate::ssh::{Identity, SshConfigError};
use crate::transport::{RemoteError, Transport};

const AUTHORITIES: &str = "authorities.pem";
const CLIENT: &str = "client.pem";
const IDENTITY: &str = "identity";
const KNOWN_HOSTS: &str = "known_hosts";
/// What `ssh` must not do. It reads no configuration and no other key, asks nobody, and accepts known host keys alone.
const SSH: &str = "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -i ./identity \
                   -o PreferredAuthentications=publickey -o StrictHostKeyChecking=yes \
                   -o UserKnownHostsFile=./known_hosts -o GlobalKnownHostsFile=/dev/null -o UpdateHostKeys=no \
                   -o CheckHostIP=no -o ClearAllForwardings=yes -o ForwardAgent=no -o ControlMaster=no \
                   -o ControlPath=none -o PermitLocalCommand=no -o ConnectTimeout=30 -o ServerAliveInterval=15 \
                   -o LogLevel=ERROR";

/// What lets the program in, by the kind of URL.
pub(crate) enum Access {
    Http(HttpAccess),
    Ssh(SshAccess),
    /// A folder of this machine: in tests.
    Local,
}

/// What the built-in client was made of. The credentials themselves are asked for before each command.
pub(crate) struct HttpAccess {
    pub(crate) origin: Url,
    pub(crate) ca_pem: Option<Vec<u8>>,
    pub(crate) identity_pem: Option<Zeroizing<Vec<u8>>>,
    pub(crate) proxy: Option<ProxyConfig>,
}

/// As read and checked by the built-in client.
pub(crate) struct SshAccess {
    pub(crate) user: String,
    pub(crate) identity: Arc<Identity>,
    pub(crate) known_hosts: Vec<u8>,
}

/// What a command gets.
#[derive(Default)]
struct Admission {
    settings: Vec<(String, String)>,
    variables: Vec<(OsString, OsString)>,
    files: Vec<(&'static str, Zeroizing<Vec<u8>>)>,
    secrets: Vec<Zeroizing<String>>,
}

impl Session<'_> {
    /// Lets the coming commands in.
    pub(super) async fn admit(&mut self) -> Result<(), RemoteError> {
        let mut admission = Admission::default();
        let protocol = match &self.program.access {
            Access::Http(http) => {
                self.admit_http(http, &mut admission).await?;
                http.origin.scheme()
            }
            Access::Ssh(ssh) => {
                admission.ssh(ssh).await?;
                "ssh"
            }
            Access::Local => "file",
        };
        let Admission { settings, variables, files, secrets } = admission;
        self.environment.push(("GIT_ALLOW_PROTOCOL".into(), protocol.into()));
        self.environment.extend(isolation::settings(&settings));
        self.environment.extend(variables);
        self.secrets = secrets;
        let folder = self.path().to_owned();
        blocking(move || files.iter().try_for_each(|(name, content)| write(&folder, name, content))).await
    }

    async fn admit_http(&self, http: &HttpAccess, admission: &mut Admission) -> Result<(), RemoteError> {
        if let Transport::Http(endpoint) = &self.remote.0.transport
            && let Some(used) = endpoint.auth.authorization(&endpoint.client).await?
        {
            let value = used.header.to_str().map_err(|_| ConfigError::Credential("password"))?;
            let value = Zeroizing::new(value.to_owned());
            if let Some((_, secret)) = value.split_once(' ') {
                admission.secrets.push(Zeroizing::new(secret.to_owned()));
            }
            if let Some(secret) = endpoint.auth.secret() {
                admission.secrets.push(secret);
            }
            // Of this origin alone; other servers' URLs do not match the key.
            admission.set(
                &format!("http.{}.extraHeader", http.origin),
                format!("Authorization: {}", value.as_str()),
            );
        }
        if let Some(pem) = &http.ca_pem {
            admission.files.push((AUTHORITIES, pem.clone().into()));
            admission.set("http.sslCAInfo", format!("./{AUTHORITIES}"));
        }
        if let Some(pem) = &http.identity_pem {
            admission.files.push((CLIENT, pem.clone()));
            admission.set("http.sslCert", format!("./{CLIENT}"));
            admission.set("http.sslKey", format!("./{CLIENT}"));
        }
        match &http.proxy {
            None => {}
            Some(ProxyConfig::Environment) => {
                let proxies = self.program.environment.proxies.iter();
                admission.variables.extend(proxies.map(|(name, value)| (name.into(), value.clone())));
            }
            Some(ProxyConfig::Server { address, username, password }) => {
                admission.proxy(address, username, password)?;
            }
        }
        Ok(())
    }
}

impl Admission {
    fn set(&mut self, name: &str, value: String) {
        self.settings.push((name.to_owned(), value));
    }

    /// The program takes a proxy's credentials in its address alone; it is in the environment, as the others are.
    fn proxy(&mut self, address: &str, username: &str, password: &str) -> Result<(), ConfigError> {
        let mut url = Url::parse(address).map_err(|_| ConfigError::Proxy)?;
        if !username.is_empty() || !password.is_empty() {
            let told = url.set_username(username).and_then(|()| url.set_password(Some(password)));
            told.map_err(|()| ConfigError::Proxy)?;
            // At once, as the built-in code does.
            self.set("http.proxyAuthMethod", "basic".to_owned());
            let encoded = url.password().unwrap_or_default().to_owned();
            self.secrets.extend([Zeroizing::new(password.to_owned()), Zeroizing::new(encoded)]);
        }
        self.set("http.proxy", url.to_string());
        Ok(())
    }

    /// The key is written without its passphrase: the program has nobody to ask for it.
    async fn ssh(&mut self, ssh: &SshAccess) -> Result<(), RemoteError> {
        let key = ssh.identity.key().await?;
        let unreadable = |_| ConfigError::Ssh(SshConfigError::PrivateKey);
        let text = key.to_openssh(LineEnding::LF).map_err(unreadable)?;
        self.files.push((IDENTITY, text.as_bytes().to_vec().into()));
        self.files.push((KNOWN_HOSTS, ssh.known_hosts.clone().into()));
        // The user of the URL, or the one that the built-in code assumes. The command is read by a shell.
        let user = ssh.user.replace('\'', r"'\''");
        self.variables.push(("GIT_SSH_COMMAND".into(), format!("{SSH} -l '{user}'").into()));
        self.variables.push(("GIT_SSH_VARIANT".into(), "ssh".into()));
        Ok(())
    }
}

/// Writes a file that this user alone can read.
fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), ProgramError> {
    let path = folder.join(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(content))
        .map_err(|source| LayoutError::Io { path, source }.into())
}
