//! Who lets whom in over SSH: our keys, and the server's.

use windlass_git::{
    Auth, ConfigError, ErrorKind, GitError, Limits, RemoteError, Retry, SshConfigError, SshError,
};
use windlass_testkit::ssh_server::{KeyPair, SshOptions, SshServer};

use crate::support::ssh::{SshWorld, auth, everything};
use crate::support::{BOTH, update};

const PASSPHRASE: &str = "hunter2 secret";

async fn refusal(ssh: &SshWorld, auth: Auth) -> GitError {
    let mirror = ssh.world.mirror_with(ssh.config_with(auth), Limits::default()).await;
    mirror.ls_refs(&["main"]).await.unwrap_err()
}

fn config_refusal(ssh: &SshWorld, auth: Auth) -> SshConfigError {
    match ssh.remote(auth) {
        Err(RemoteError::Config(ConfigError::Ssh(error))) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Nothing of a key or a passphrase is in a text.
fn assert_discreet(text: &str, key: &KeyPair) {
    assert!(!text.contains(PASSPHRASE), "{text}");
    for line in key.identity.lines().filter(|line| line.len() > 30 && !line.starts_with("--")) {
        assert!(!text.contains(line), "{text}");
    }
}

#[tokio::test]
async fn every_kind_of_key_signs_in() {
    for by in BOTH {
        let ssh = SshWorld::by(by, &SshOptions::default()).await;
        for arguments in [
            &["-t", "ed25519"][..],
            &["-t", "ecdsa", "-b", "256"],
            &["-t", "ecdsa", "-b", "384"],
            &["-t", "ecdsa", "-b", "521"],
            &["-t", "rsa", "-b", "2048"],
            &["-t", "rsa", "-b", "2048", "-m", "PEM"],
            &["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
            &["-t", "ecdsa", "-b", "256", "-m", "PEM"],
            &["-t", "ecdsa", "-b", "384", "-m", "PKCS8"],
        ] {
            // `ssh-keygen` encrypts PKCS#1 and SEC1 keys with AES-128-CBC, of which only the first are read.
            let passphrases =
                if arguments.ends_with(&["256", "-m", "PEM"]) { &[""][..] } else { &["", PASSPHRASE] };
            for passphrase in passphrases {
                let key = KeyPair::generate(arguments, passphrase).unwrap();
                ssh.server.accept_only(&key).unwrap();
                // As text from YAML may come.
                let identity = format!("{}\r\n", key.identity.replace('\n', "\r\n"));
                let given = Some(*passphrase).filter(|text| !text.is_empty());
                let auth = auth(&identity, given, &ssh.known_hosts());
                let mut mirror = ssh.world.mirror_with(ssh.config_with(auth), Limits::default()).await;
                let case = format!("{arguments:?} {passphrase}");
                let tips =
                    mirror.ls_refs(&["main"]).await.unwrap_or_else(|error| panic!("{case}: {error:?}"));
                mirror.fetch("main", tips["main"].unwrap()).await.unwrap();
                assert_discreet(&format!("{mirror:?} {:?}", mirror.remote()), &key);
            }
        }
        let log = ssh.server.log_text();
        assert!(!log.contains("ssh-rsa "), "RSA keys sign with SHA-2");
    }
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_an_auth_error_that_names_it() {
    for by in BOTH {
        let ssh = SshWorld::by(by, &SshOptions::default()).await;
        let key = KeyPair::generate(&["-t", "ed25519"], "").unwrap();
        let error = refusal(&ssh, auth(&key.identity, None, &ssh.known_hosts())).await;
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::OnChange), "{error:?}");
        let text = everything(&error);
        assert!(text.contains("ssh-ed25519 SHA256:") && text.contains(ssh.server.user()), "{text}");
        assert_discreet(&text, &key);

        // It is accepted later: the next try goes through.
        let mirror = ssh
            .world
            .mirror_with(ssh.config_with(auth(&key.identity, None, &ssh.known_hosts())), Limits::default());
        let mut mirror = mirror.await;
        mirror.ls_refs(&["main"]).await.unwrap_err();
        ssh.server.accept_only(&key).unwrap();
        update(&mut mirror, "main").await;
    }
}

#[tokio::test]
async fn passphrases_that_are_wrong_or_missing_are_told() {
    for by in BOTH {
        let ssh = SshWorld::by(by, &SshOptions::default()).await;
        for arguments in [&["-t", "ed25519"][..], &["-t", "rsa", "-m", "PKCS8"], &["-t", "rsa", "-m", "PEM"]]
        {
            let key = KeyPair::generate(arguments, PASSPHRASE).unwrap();
            let missing = config_refusal(&ssh, auth(&key.identity, None, &ssh.known_hosts()));
            assert!(matches!(missing, SshConfigError::NoPassphrase), "{arguments:?} {missing:?}");
            let error = refusal(&ssh, auth(&key.identity, Some("another"), &ssh.known_hosts())).await;
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::OnChange));
            assert!(error.to_string().contains("passphrase is wrong"), "{arguments:?} {error:?}");
            assert_discreet(&everything(&error), &key);
        }
        for nonsense in
            ["", "key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"]
        {
            let error = config_refusal(&ssh, auth(nonsense, None, &ssh.known_hosts()));
            assert!(matches!(error, SshConfigError::PrivateKey), "{nonsense}: {error:?}");
        }
    }
}

#[tokio::test]
async fn another_servers_key_is_refused_for_good() {
    for by in BOTH {
        let ssh = SshWorld::by(by, &SshOptions::default()).await;
        let other = KeyPair::generate(&["-t", "ed25519"], "").unwrap();
        let name = format!("[127.0.0.1]:{}", ssh.link.address().port());
        let error =
            refusal(&ssh, auth(ssh.server.identity(), None, &format!("{name} {}", other.public))).await;
        assert_eq!((error.kind(), error.retry()), (ErrorKind::HostKey, Retry::OnChange), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&name) && text.matches("SHA256:").count() == 2, "{text}");

        let known = ssh.known_hosts();
        let revoked = format!("{known}@revoked * {}", ssh.server.host_keys()[0].public);
        let error = refusal(&ssh, auth(ssh.server.identity(), None, &revoked)).await;
        assert!(
            matches!(error, GitError::Remote(RemoteError::Ssh(SshError::HostKeyRevoked { .. }))),
            "{error:?}"
        );
        assert_eq!(ssh.logins(), 0, "no key was shown to it");
    }
}

#[tokio::test]
async fn a_server_that_is_not_known_is_not_connected_to() {
    let ssh = SshWorld::new().await;
    // The same key, known for another port.
    for known_hosts in ["", &ssh.server.known_hosts()] {
        let error = config_refusal(&ssh, auth(ssh.server.identity(), None, known_hosts));
        assert!(error.to_string().contains("ssh-keyscan"), "{error}");
    }
    let error = config_refusal(&ssh, Auth::None);
    assert!(error.to_string().contains("known_hosts"), "{error}");
}

#[tokio::test]
async fn only_the_known_types_of_host_keys_are_negotiated() {
    let kinds = vec!["ed25519", "ecdsa", "rsa"];
    let ssh = SshWorld::with(&SshOptions { host_keys: kinds.clone(), ..SshOptions::default() }).await;
    let known = ssh.known_hosts();
    for (kind, line) in kinds.iter().zip(known.lines()) {
        let config = ssh.config_with(auth(ssh.server.identity(), None, line));
        let mirror = ssh.world.mirror_with(config, Limits::default()).await;
        assert!(mirror.ls_refs(&["main"]).await.is_ok(), "{kind}");
    }
    // Several keys of one server, one of which it has no more.
    let other = KeyPair::generate(&["-t", "ed25519"], "").unwrap();
    let name = known.split(' ').next().unwrap();
    let both = format!("{name} {}{known}", other.public);
    let config = ssh.config_with(auth(ssh.server.identity(), None, &both));
    let mirror = ssh.world.mirror_with(config, Limits::default()).await;
    mirror.ls_refs(&["main"]).await.unwrap();
    drop(mirror);

    let ecdsa = SshWorld::with(&SshOptions { host_keys: vec!["ecdsa"], ..SshOptions::default() }).await;
    let name = format!("[127.0.0.1]:{}", ecdsa.link.address().port());
    let error =
        refusal(&ecdsa, auth(ecdsa.server.identity(), None, &format!("{name} {}", other.public))).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::HostKey, Retry::OnChange), "{error:?}");
    assert!(error.to_string().contains("ecdsa-sha2-nistp256"), "{error}");
}

#[tokio::test]
async fn the_short_form_reaches_the_same_repository() {
    let ssh = SshWorld::new().await;
    let server: &SshServer = &ssh.server;
    let mut config = ssh.config_with(ssh.auth());
    config.url = format!("{}@[{}]:{}", server.user(), ssh.link.address(), ssh.world.repository().display());
    let mut mirror = ssh.world.mirror_with(config, Limits::default()).await;
    assert_eq!(update(&mut mirror, "main").await, ssh.world.tip("main"));
    assert!(mirror.remote().url().starts_with("ssh://"), "{:?}", mirror.remote());
}
