//! Ways to log in at a NATS server, and TLS. Keys are made for each test.

use std::path::PathBuf;

use windlass_store::{ConnectError, NatsOptions, Store};
use windlass_testkit::nats::NatsServer;

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
    assert!(matches!(error, ConnectError::Connect { .. }), "{error}");
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
    assert!(matches!(error, ConnectError::Connect { .. }), "{error}");
}
