//! Signed commits, with `git verify-commit`, `ssh-keygen` and `gpg` as the oracles.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use windlass_git::{CommitText, ErrorKind, GitError, Signer, SigningError, SigningKeyError};

use crate::support::{World, change, land, text, try_git, update};

const PASSPHRASE: &str = "hunter2 secret";
const EMAIL: &str = "windlass@example.com";

/// A folder with keys of people, apart from the machine's own.
struct Keys(TempDir);

impl Keys {
    fn new() -> Self {
        let keys = Self(tempfile::tempdir().unwrap());
        let home = keys.0.path().display();
        let script = format!("#!/bin/sh\nexec gpg --homedir '{home}' --no-tty --trust-model always \"$@\"\n");
        let program = keys.program();
        std::fs::write(&program, script).unwrap();
        for (path, mode) in [(program, 0o755), (keys.0.path().to_owned(), 0o700)] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
        keys
    }

    fn program(&self) -> PathBuf {
        self.0.path().join("gpg-here")
    }

    /// Makes an SSH key and allows it; its file's content.
    fn ssh(&self, name: &str, kind: &[&str], passphrase: &str) -> Vec<u8> {
        let path = self.0.path().join(name);
        let mut command = Command::new("ssh-keygen");
        run(command.args(["-q", "-N", passphrase, "-C", EMAIL, "-f"]).arg(&path).args(kind));
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        std::fs::write(self.0.path().join("allowed"), format!("{EMAIL} {public}")).unwrap();
        std::fs::read(path).unwrap()
    }

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

    /// What Git says of a branch's last commit.
    fn verify(&self, world: &World) -> (bool, String) {
        let allowed = format!("gpg.ssh.allowedSignersFile={}", self.0.path().join("allowed").display());
        let program = format!("gpg.program={}", self.program().display());
        try_git(&world.repository(), &["-c", &allowed, "-c", &program, "verify-commit", "main"])
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // The agent that gpg started belongs to this folder alone. Where none was started there is none to end.
        let mut command = Command::new("gpgconf");
        command.arg("--homedir").arg(self.0.path()).args(["--kill", "gpg-agent"]);
        drop(command.stdin(Stdio::null()).stderr(Stdio::null()).status());
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().expect("gpg and ssh-keygen are installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Lands a signed commit.
async fn sign(world: &World, signer: &Signer, what: &str) {
    let mut mirror = world.mirror().await;
    let tip = update(&mut mirror, "main").await;
    let text =
        CommitText { signer: Some(signer.clone()), ..text(&format!("By {what}\n\nBody\n\nKey: {what}")) };
    let prepared = mirror.commit(tip, change("signed.txt", what), &text).await.unwrap().unwrap();
    land(&mut mirror, "main", Some(tip), &prepared).await;
    world.assert_clean(&mirror);
    assert!(!format!("{text:?}").contains("hunter2"));
}

async fn worlds() -> [World; 2] {
    let sha256 = World::empty(&["--object-format=sha256"]).await;
    sha256.foreign(&[("README.md", "hello\n")]);
    [World::new().await, sha256]
}

#[tokio::test]
async fn commits_signed_by_ssh_keys_are_good_to_git() {
    let worlds = worlds().await;
    let keys = Keys::new();
    for (name, kind) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa2048", &["-t", "rsa", "-b", "2048"]),
    ] {
        let signer = Signer::ssh(&keys.ssh(name, kind, ""), None).unwrap();
        for world in &worlds {
            sign(world, &signer, name).await;
            let (good, said) = keys.verify(world);
            assert!(good && said.contains("Good \"git\" signature"), "{name}: {said}");
        }
    }
    let locked = keys.ssh("locked", &["-t", "ed25519"], PASSPHRASE);
    // The last commit is of another key.
    assert!(!keys.verify(&worlds[0]).0);
    let signer = Signer::ssh(&locked, Some(PASSPHRASE.as_bytes())).unwrap();
    sign(&worlds[0], &signer, "locked").await;
    assert!(keys.verify(&worlds[0]).0);
}

#[tokio::test]
async fn ssh_keys_that_cannot_sign_say_why() {
    let keys = Keys::new();
    let locked = keys.ssh("locked", &["-t", "ed25519"], PASSPHRASE);
    for (passphrase, error) in [
        (None, SigningKeyError::Locked),
        (Some(&b""[..]), SigningKeyError::Locked),
        (Some(b"hunter3"), SigningKeyError::Passphrase),
    ] {
        assert_eq!(Signer::ssh(&locked, passphrase).unwrap_err(), error);
    }
    let short = keys.ssh("short", &["-t", "rsa", "-b", "1024"], "");
    assert_eq!(Signer::ssh(&short, None).unwrap_err(), SigningKeyError::Short(1024));
    let old = keys.ssh("old", &["-t", "rsa", "-b", "2048", "-m", "PEM"], "");
    assert_eq!(Signer::ssh(&old, None).unwrap_err(), SigningKeyError::NotOpenSsh);
    let public = std::fs::read(keys.0.path().join("short.pub")).unwrap();
    assert_eq!(Signer::ssh(&public, None).unwrap_err(), SigningKeyError::NotOpenSsh);
}

#[cfg(feature = "openpgp")]
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
            let signed = said.contains(&format!("Good signature from \"{name}@example.com\""));
            assert!(good && signed, "{name}: {said}");
        }
    }
}

#[cfg(feature = "openpgp")]
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

#[cfg(not(feature = "openpgp"))]
#[test]
fn a_build_without_openpgp_says_so() {
    let error = Signer::openpgp(b"-----BEGIN PGP PRIVATE KEY BLOCK-----", None).unwrap_err();
    assert!(error == SigningKeyError::NoOpenPgp && error.to_string().contains("type: ssh"), "{error}");
}
