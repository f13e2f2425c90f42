//! Certificates: the registry's, and ours.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use windlass_registry::{ClientIdentity, ErrorKind, RepositoryConfig};

use crate::server::{Seen, Server, json, status};
use crate::{basic, pool, secret, secure, tag};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// A server for 127.0.0.1; with `clients`, one that demands a certificate of theirs.
    fn server(&self, clients: Option<&Authority>) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (certificate, key) = self.issue("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }

    fn client(&self) -> ClientIdentity {
        let (certificate, key) = self.issue("windlass", ExtendedKeyUsagePurpose::ClientAuth);
        ClientIdentity {
            certificate_pem: certificate.pem().into_bytes(),
            key_pem: secret(&key.serialize_pem()),
        }
    }
}

async fn registry(config: ServerConfig) -> Server {
    Server::start_tls(config, |_| async { json(r#"{"tags":["1"]}"#) }).await
}

#[tokio::test]
async fn a_registry_is_trusted_only_through_its_ca() {
    let authority = Authority::new();
    let server = registry(authority.server(None)).await;
    let error = pool().repository(secure(&server)).unwrap().tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(server.seen().is_empty());

    let trusting = RepositoryConfig { ca_pem: Some(authority.pem()), ..secure(&server) };
    assert_eq!(pool().repository(trusting).unwrap().tags().await.unwrap().tags, [tag("1")]);

    let other = RepositoryConfig { ca_pem: Some(Authority::new().pem()), ..secure(&server) };
    assert_eq!(pool().repository(other).unwrap().tags().await.unwrap_err().kind(), ErrorKind::Network);
}

#[tokio::test]
async fn an_insecure_registry_that_speaks_https_is_spoken_to_in_https() {
    let authority = Authority::new();
    let server = registry(authority.server(None)).await;
    let config = RepositoryConfig { insecure: true, ca_pem: Some(authority.pem()), ..secure(&server) };
    assert_eq!(pool().repository(config).unwrap().tags().await.unwrap().tags, [tag("1")]);
    let untrusting = RepositoryConfig { insecure: true, ..secure(&server) };
    let error = pool().repository(untrusting).unwrap().tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "insecure allows plain HTTP, not wrong certificates");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_registry_that_demands_one() {
    let authority = Authority::new();
    let server = registry(authority.server(Some(&authority))).await;
    let without = RepositoryConfig { ca_pem: Some(authority.pem()), ..secure(&server) };
    let error = pool().repository(without.clone()).unwrap().tags().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);

    let with = RepositoryConfig { client_identity: Some(authority.client()), ..without.clone() };
    assert_eq!(pool().repository(with).unwrap().tags().await.unwrap().tags, [tag("1")]);

    let stranger = RepositoryConfig { client_identity: Some(Authority::new().client()), ..without };
    assert_eq!(pool().repository(stranger).unwrap().tags().await.unwrap_err().kind(), ErrorKind::Network);
}

#[tokio::test]
async fn https_never_becomes_http() {
    let plain = Server::start(|_| async { json(r#"{"tags":["evil"]}"#) }).await;
    let host = plain.host();
    let authority = Authority::new();
    let server = Server::start_tls(authority.server(None), move |seen: Seen| {
        let host = host.clone();
        async move {
            if seen.method == "HEAD" {
                let realm = format!(r#"Bearer realm="http://{host}/token""#);
                return status(401)
                    .header("www-authenticate", realm)
                    .body(axum::body::Body::empty())
                    .unwrap();
            }
            status(307).header("location", format!("http://{host}/")).body(axum::body::Body::empty()).unwrap()
        }
    })
    .await;
    let config = RepositoryConfig { ca_pem: Some(authority.pem()), credentials: basic(), ..secure(&server) };
    let repository = pool().repository(config).unwrap();
    for error in [repository.tags().await.unwrap_err(), repository.resolve(&tag("1")).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("not HTTPS"), "{error}");
    }
    assert!(plain.seen().is_empty());
}

#[tokio::test]
async fn a_listed_token_server_on_another_host_name_gets_the_credentials() {
    let authority = Authority::new();
    // The same server under a second name: `localhost` is issued beside the address.
    let tokens = {
        let (certificate, key) = authority.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        Server::start_tls(config, |_| async { json(r#"{"token":"t"}"#) }).await
    };
    let name = tokens.host().replace("127.0.0.1", "localhost");
    let realm = format!(r#"Bearer realm="https://{name}/token""#);
    let server = Server::start_tls(authority.server(None), move |seen: Seen| {
        let realm = realm.clone();
        async move {
            if seen.authorization() == Some("Bearer t") {
                return json(r#"{"tags":["1"]}"#);
            }
            status(401).header("www-authenticate", realm).body(axum::body::Body::empty()).unwrap()
        }
    })
    .await;
    let closed = RepositoryConfig { ca_pem: Some(authority.pem()), credentials: basic(), ..secure(&server) };
    let error = pool().repository(closed.clone()).unwrap().tags().await.unwrap_err();
    assert!(error.to_string().contains("the credentials were not sent"), "{error}");
    assert!(tokens.seen().is_empty());

    let listed = RepositoryConfig { auth_hosts: vec![name], ..closed };
    assert_eq!(pool().repository(listed).unwrap().tags().await.unwrap().tags, [tag("1")]);
    assert_eq!(tokens.seen()[0].authorization(), Some("Basic cm9ib3Q6aHVudGVyMjI="));
}
