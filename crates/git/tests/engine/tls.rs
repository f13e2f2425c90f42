//! Certificates: private authorities and client certificates, against a real TLS listener in front of the server.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use windlass_git::{Limits, RemoteError};

use crate::support::{BOTH, World, update};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// Ends TLS before the plain server; with `clients`, only for holders of its certificates.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    _task: JoinSet<()>,
}

impl Front {
    pub(crate) async fn start(world: &World, authority: &Authority, clients: Option<&Authority>) -> Self {
        let target = world.server.url().strip_prefix("http://").unwrap().parse().unwrap();
        Self::before(target, authority, clients).await
    }

    pub(crate) async fn before(
        target: SocketAddr,
        authority: &Authority,
        clients: Option<&Authority>,
    ) -> Self {
        let builder = ServerConfig::builder_with_provider(default_provider().into());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), default_provider().into());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let (certificate, key) = authority.issue("127.0.0.1");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // A client that is refused, or refuses, ends its connection; nobody else is concerned.
                    let Ok(mut outer) = acceptor.accept(stream).await else { return };
                    let mut inner = TcpStream::connect(target).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut outer, &mut inner).await);
                });
            }
        });
        Self { address, _task: task }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/repo.git", self.address)
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_when_configured() {
    for by in BOTH {
        let world = World::by(by).await;
        let authority = Authority::new();
        let front = Front::start(&world, &authority, None).await;
        for (ca_pem, trusted) in
            [(None, false), (Some(Authority::new().pem()), false), (Some(authority.pem()), true)]
        {
            let mut config = world.config();
            config.url = front.url();
            config.ca_pem = ca_pem;
            let mut mirror = world.mirror_with(config, Limits::default()).await;
            if trusted {
                update(&mut mirror, "main").await;
            } else {
                let error = mirror.ls_refs(&["main"]).await.unwrap_err();
                assert!(
                    matches!(error, windlass_git::GitError::Remote(RemoteError::Connect(_))),
                    "{error:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    for by in BOTH {
        let world = World::by(by).await;
        let (authority, clients) = (Authority::new(), Authority::new());
        let front = Front::start(&world, &authority, Some(&clients)).await;
        for (issuer, accepted) in [(None, false), (Some(&authority), false), (Some(&clients), true)] {
            let mut config = world.config();
            config.url = front.url();
            config.ca_pem = Some(authority.pem());
            config.client_identity_pem = issuer.map(|issuer| {
                let (certificate, key) = issuer.issue("windlass");
                (certificate.pem() + &key.serialize_pem()).into_bytes().into()
            });
            let mirror = world.mirror_with(config, Limits::default()).await;
            assert_eq!(mirror.ls_refs(&["main"]).await.is_ok(), accepted);
        }
    }
}
