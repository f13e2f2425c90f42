//! OpenPGP keys, made by `gpg`.

use std::process::Command;

use windlass_git::{CommitText, ErrorKind, GitError, Signer, SigningError, SigningKeyError};

use super::{Keys, PASSPHRASE, run, sign, worlds};
use crate::support::{World, change, text, update};

impl Keys {
    /// Runs gpg at the start of 2025, before the commits of these tests.
    fn gpg(&self, passphrase: &str, args: &[&str]) -> Vec<u8> {
        let mut command = Command::new(self.program());
        command.args(["--batch", "--quiet", "--yes", "--faked-system-time", "20250101T000000!"]);
        run(command.args(["--pinentry-mode", "loopback", "--passphrase", passphrase]).args(args))
    }

    /// Makes an OpenPGP key; its fingerprint.
    fn openpgp(&self, user: &str, passphrase: &str, algorithm: &str, usage: &str, expires: &str) -> String {
        self.gpg(passphrase, &["--quick-generate-key", user, algorithm, usage, expires]);
        let listed = self.gpg("", &["--with-colons", "--list-secret-keys", user]);
        let listed = String::from_utf8(listed).unwrap();
        let line = listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap();
        line.trim_matches(':').to_owned()
    }

    fn export(&self, passphrase: &str, key: &str) -> Vec<u8> {
        self.gpg(passphrase, &["--armor", "--export-secret-keys", key])
    }
}

#[tokio::test]
async fn commits_signed_by_openpgp_keys_are_good_to_git() {
    let worlds = worlds().await;
    let keys = Keys::new();
    let rsa = keys.openpgp("rsa@example.com", "", "rsa2048", "sign", "never");
    let ed25519 = keys.openpgp("ed25519@example.com", PASSPHRASE, "ed25519", "sign", "5y");
    let p384 = keys.openpgp("p384@example.com", "", "nistp384", "sign", "never");
    let subkey = keys.openpgp("subkey@example.com", PASSPHRASE, "ed25519", "cert", "never");
    for (algorithm, usage) in [("cv25519", "encr"), ("rsa2048", "sign")] {
        keys.gpg(PASSPHRASE, &["--quick-add-key", &subkey, algorithm, usage, "never"]);
    }
    let stub = keys.gpg(PASSPHRASE, &["--armor", "--export-secret-subkeys", &subkey]);
    for (name, key, passphrase) in [
        ("rsa", keys.export("", &rsa), None),
        ("ed25519", keys.export(PASSPHRASE, &ed25519), Some(PASSPHRASE.as_bytes())),
        ("p384", keys.export("", &p384), Some(&b"not needed"[..])),
        ("subkey", keys.export(PASSPHRASE, &subkey), Some(PASSPHRASE.as_bytes())),
        ("subkey", stub, Some(PASSPHRASE.as_bytes())),
    ] {
        let signer = Signer::openpgp(&key, passphrase).unwrap_or_else(|error| panic!("{name}: {error}"));
        for world in &worlds {
            sign(world, &signer, &format!("{name}{}", key.len())).await;
            let (good, said) = keys.verify(world);
            let known = said.contains(&format!("Good signature from \"{name}@example.com\""));
            assert!(good && known, "{name}: {said}");
        }
    }
}

#[tokio::test]
async fn openpgp_keys_that_cannot_sign_say_why() {
    let keys = Keys::new();
    let locked = keys.openpgp("locked@example.com", PASSPHRASE, "ed25519", "sign", "never");
    let exported = keys.export(PASSPHRASE, &locked);
    for (passphrase, error) in
        [(None, SigningKeyError::Locked), (Some(&b"hunter3"[..]), SigningKeyError::Passphrase)]
    {
        assert_eq!(Signer::openpgp(&exported, passphrase).unwrap_err(), error);
    }
    let public = keys.gpg("", &["--armor", "--export", &locked]);
    assert_eq!(Signer::openpgp(&public, None).unwrap_err(), SigningKeyError::NotOpenPgp);
    let certifying = keys.openpgp("cert@example.com", "", "ed25519", "cert", "never");
    let certifying = keys.export("", &certifying);
    assert_eq!(Signer::openpgp(&certifying, None).unwrap_err(), SigningKeyError::NoSigningKey);

    let expiring = keys.openpgp("expiring@example.com", "", "ed25519", "sign", "1d");
    let two = keys.gpg("", &["--armor", "--export-secret-keys", &expiring, "cert@example.com"]);
    assert_eq!(Signer::openpgp(&two, None).unwrap_err(), SigningKeyError::Entities(2));
    let signer = Signer::openpgp(&keys.export("", &expiring), None).unwrap();
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    let text = CommitText { signer: Some(signer), ..text("Too late") };
    let error = mirror.commit(tip, change("a.txt", "a"), &text).await.unwrap_err();
    assert!(matches!(error, GitError::Signing(SigningError::Expired(_))), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Request);
    assert!(error.to_string().contains("2025-01-02"), "{error}");
}
