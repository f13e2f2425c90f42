//! Signed commits, with `git verify-commit`, `ssh-keygen` and `gpg` as the oracles.

#[cfg(feature = "openpgp")]
mod openpgp;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use windlass_git::{CommitText, Signer, SigningKeyError};

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

#[cfg(not(feature = "openpgp"))]
#[test]
fn a_build_without_openpgp_says_so() {
    let error = Signer::openpgp(b"-----BEGIN PGP PRIVATE KEY BLOCK-----", None).unwrap_err();
    assert!(error == SigningKeyError::NoOpenPgp && error.to_string().contains("type: ssh"), "{error}");
}
