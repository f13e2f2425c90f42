//! A served repository over SSH: OpenSSH's server, with a link before it.

use std::error::Error;

use windlass_git::{Auth, Implementation, Limits, Mirror, Remote, RemoteConfig, RemoteError};
use windlass_testkit::link::Link;
use windlass_testkit::ssh_server::{SshOptions, SshServer};

use super::{World, clients};

/// A world whose repository is reached over SSH.
pub(crate) struct SshWorld {
    pub(crate) world: World,
    pub(crate) server: SshServer,
    pub(crate) link: Link,
}

impl SshWorld {
    pub(crate) async fn new() -> Self {
        Self::with(&SshOptions::default()).await
    }

    pub(crate) async fn with(options: &SshOptions) -> Self {
        Self::by(Implementation::BuiltIn, options).await
    }

    /// As [`Self::with`], with mirrors that speak by the implementation.
    pub(crate) async fn by(by: Implementation, options: &SshOptions) -> Self {
        let world = World::by(by).await;
        let server = SshServer::start(options).await.unwrap();
        let link = Link::start(server.address()).unwrap();
        Self { world, server, link }
    }

    pub(crate) fn known_hosts(&self) -> String {
        self.server.known_hosts_at(self.link.address())
    }

    pub(crate) fn auth(&self) -> Auth {
        auth(self.server.identity(), None, &self.known_hosts())
    }

    pub(crate) fn config_with(&self, auth: Auth) -> RemoteConfig {
        let url = self.server.url_at(self.link.address(), &self.world.repository());
        RemoteConfig { url, auth, ..self.world.config() }
    }

    pub(crate) fn remote(&self, auth: Auth) -> Result<Remote, RemoteError> {
        Remote::pooled(self.config_with(auth), &clients())
    }

    pub(crate) async fn mirror(&self) -> Mirror {
        self.world.mirror_with(self.config_with(self.auth()), Limits::default()).await
    }

    /// How many connections were authenticated.
    pub(crate) fn logins(&self) -> usize {
        self.server.log_text().matches("Accepted publickey").count()
    }
}

pub(crate) fn auth(identity: &str, passphrase: Option<&str>, known_hosts: &str) -> Auth {
    Auth::Ssh {
        identity: identity.as_bytes().to_vec().into(),
        passphrase: passphrase.map(|text| text.to_owned().into()),
        known_hosts: known_hosts.as_bytes().to_vec(),
    }
}

/// Everything that a log could show of an error.
pub(crate) fn everything(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join(" ")
}
