//! Ways to log in at a NATS server, and TLS. Keys are made for each test.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use windlass_store::{ConnectError, NatsOptions, Store};
use windlass_testkit::nats::NatsServer;
use windlass_testkit::nats_jwt::Operator;

use crate::support::{TestClock, options};

/// Whether a process with these options can join.
async fn join(options: NatsOptions) -> Result<(), ConnectError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::connect(folder.path(), &options, TestClock::new()).await?;
    store.close().await.unwrap();
    Ok(())
}

fn file(server: &NatsServer, name: &str, text: &str) -> PathBuf {
    let path = server.folder().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn nkey_is_read_from_a_file_and_another_is_refused() {
    let (ours, other) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let users = format!("authorization {{ users = [ {{ nkey: {} }} ] }}", ours.public_key());
    let server = NatsServer::with(&users).await.unwrap();
    let seed = |name, key: &nkeys::KeyPair| file(&server, name, &format!("{}\n", key.seed().unwrap()));
    let (ours, other) = (seed("ours", &ours), seed("other", &other));
    join(NatsOptions { nkey: Some(ours), ..options(&server) }).await.unwrap();
    let error = join(NatsOptions { nkey: Some(other), ..options(&server) }).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("/other must hold a login"), "{error}");
    let error = join(options(&server)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("--queue-credentials, --queue-nkey or --queue-token-file"), "{error}");
}

#[tokio::test]
async fn credentials_of_the_servers_operator_are_taken_and_others_are_refused() {
    let (ours, other) = (Operator::default(), Operator::default());
    let server = NatsServer::with(&ours.configuration().unwrap()).await.unwrap();
    let join_with = async |name, text: &str| {
        let credentials = Some(file(&server, name, text));
        join(NatsOptions { credentials, ..options(&server) }).await
    };
    join_with("windlass.creds", &ours.credentials().unwrap()).await.unwrap();
    for (name, refused) in [
        ("expired.creds", ours.expired_credentials().unwrap()),
        ("other.creds", other.credentials().unwrap()),
    ] {
        let error = join_with(name, &refused).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("neither expired nor been revoked"), "{text}");
        let secret = refused.lines().rev().nth(1).unwrap();
        assert!(secret.starts_with("SU") && !format!("{text} {error:?}").contains(secret), "{text}");
    }
    let error = join_with("none.creds", "no credentials\n").await.unwrap_err();
    assert!(matches!(&error, ConnectError::File { path, .. } if path.ends_with("none.creds")), "{error}");
}

#[tokio::test]
async fn server_is_trusted_by_its_authority_alone() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}", certificate.display(), key.display());
    let server = NatsServer::with(&tls).await.unwrap();
    let servers = server.url().replace("nats://", "tls://");
    let options = NatsOptions { servers, ..options(&server) };
    join(NatsOptions { ca: Some(certificate), ..options.clone() }).await.unwrap();
    let error = join(options).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    assert!(error.to_string().contains("--queue-ca"), "{error}");
}

/// An authority for both sides of a connection.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, as files.
    fn issue(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        let files = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&files.0, certificate).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

#[tokio::test]
async fn server_that_asks_for_a_certificate_gets_one_and_says_so_without() {
    let (ours, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, ours.0.pem()).unwrap();
    let (certificate, key) = ours.issue(folder.path(), "server");
    let tls = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        certificate.display(),
        key.display(),
        ca.display()
    );
    let server = NatsServer::with(&tls).await.unwrap();
    let servers = server.url().replace("nats://", "tls://");
    let without = NatsOptions { servers, ca: Some(ca), ..options(&server) };
    let with = |certificate| NatsOptions { certificate: Some(certificate), ..without.clone() };
    join(with(ours.issue(folder.path(), "ours"))).await.unwrap();
    let error = join(without.clone()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}: {error:?}");
    assert!(error.to_string().contains("--queue-certificate and --queue-certificate-key"), "{error}");
    let error = join(with(other.issue(folder.path(), "other"))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}: {error:?}");
    assert!(error.to_string().contains("must trust the authority of"), "{error}");
}
