//! cosign, the program that people sign with, in the two lines that are in use. It works on loopback alone: it has a
//! home of its own, none of our environment, and a proxy that refuses everything outside.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::folder::{Storage, fresh};
use crate::fulcio::identity_token;
use crate::locate;
use crate::sigstore::Sigstore;

/// Nothing listens on this port: what is not on loopback cannot be reached.
const NO_PROXY_HERE: &str = "http://127.0.0.1:9";

/// Which cosign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// cosign 2, whose signatures are `.sig` tags.
    Two,
    /// cosign 3, whose signatures are bundles that refer to the image.
    Three,
}

/// How a signature lies in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The tags `.sig` and `.att`.
    Legacy,
    /// Sigstore bundles as referrers.
    Bundle,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256, made by cosign.
    P256,
    /// ECDSA on P-384, made by OpenSSL.
    P384,
    /// ECDSA on P-521, made by OpenSSL.
    P521,
    /// Ed25519, made by OpenSSL.
    Ed25519,
    /// RSA of 2048 bits, made by OpenSSL.
    Rsa,
}

impl KeyKind {
    /// The hash that cosign signs with, as its `verify --signature-digest-algorithm` has to be told.
    pub fn digest_algorithm(self) -> &'static str {
        match self {
            Self::P256 | Self::Rsa => "sha256",
            Self::P384 => "sha384",
            Self::P521 | Self::Ed25519 => "sha512",
        }
    }
}

/// A key pair in files that cosign reads.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    /// Encrypted with the empty password.
    pub private: PathBuf,
    /// As PEM.
    pub public: PathBuf,
}

impl KeyFiles {
    /// The public key as PEM.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn public_pem(&self) -> Result<String> {
        std::fs::read_to_string(&self.public).context("reading a public key")
    }
}

/// Whose signature it is.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// The holder of a key.
    Key(&'a KeyFiles),
    /// Whoever has a certificate for this subject from these services.
    Identity {
        /// The identity provider.
        issuer: &'a str,
        /// An e-mail address or a URI.
        subject: &'a str,
    },
    /// The holder of a key, with a certificate and its chain in files.
    Certificate {
        /// The key.
        key: &'a KeyFiles,
        /// The certificate, as PEM.
        certificate: &'a Path,
        /// Those above it, as PEM. cosign 3 puts them into the bundle, where the specification has no place for them.
        chain: Option<&'a Path>,
    },
}

/// The transparency log that a signature is entered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logged {
    /// None.
    No,
    /// Rekor, version 1.
    One,
    /// Rekor, version 2. Only cosign 3 knows it, and only for bundles; it always comes with a timestamp.
    Two,
}

/// How to sign.
#[derive(Clone, Copy)]
pub struct Signing<'a> {
    /// Whose signature.
    pub by: By<'a>,
    /// In which form.
    pub layout: Layout,
    /// The services, where any is used.
    pub sigstore: Option<&'a Sigstore>,
    /// In which log.
    pub logged: Logged,
    /// Whether with a signed timestamp.
    pub stamped: bool,
    /// What the signer adds: names and values.
    pub annotations: &'a [(&'a str, &'a str)],
    /// Whether the images of an index are signed too.
    pub recursive: bool,
}

impl<'a> Signing<'a> {
    /// With a key, in no log, without a timestamp.
    pub fn with_key(key: &'a KeyFiles, layout: Layout) -> Self {
        let by = By::Key(key);
        Self {
            by,
            layout,
            sigstore: None,
            logged: Logged::No,
            stamped: false,
            annotations: &[],
            recursive: false,
        }
    }

    /// With a certificate for this subject, in Rekor's first version.
    pub fn keyless(sigstore: &'a Sigstore, issuer: &'a str, subject: &'a str, layout: Layout) -> Self {
        Self {
            by: By::Identity { issuer, subject },
            layout,
            sigstore: Some(sigstore),
            logged: Logged::One,
            stamped: false,
            annotations: &[],
            recursive: false,
        }
    }
}

/// One installed cosign with a home.
pub struct Cosign {
    line: Line,
    program: PathBuf,
    home: TempDir,
}

impl Cosign {
    /// Of this line.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn new(line: Line) -> Result<Self> {
        let program = match line {
            Line::Two => locate::cosign_2()?,
            Line::Three => locate::cosign_3()?,
        };
        Ok(Self { line, program, home: fresh(Storage::Memory)? })
    }

    /// Which one it is.
    pub fn line(&self) -> Line {
        self.line
    }

    /// Makes a key pair of a kind. The name is new.
    ///
    /// # Errors
    /// When cosign or OpenSSL refuses.
    pub async fn key_pair(&self, kind: KeyKind, name: &str) -> Result<KeyFiles> {
        let prefix = self.home.path().join(name);
        let arguments: &[&str] = match kind {
            KeyKind::P256 => &[],
            KeyKind::P384 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            KeyKind::P521 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
            KeyKind::Ed25519 => &["-algorithm", "ED25519"],
            KeyKind::Rsa => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        };
        if arguments.is_empty() {
            self.run(&["generate-key-pair".into(), "--output-key-prefix".into(), prefix.into()]).await?;
        } else {
            let plain = self.home.path().join(format!("{name}.pem"));
            openssl_key(arguments, &plain)?;
            let import: [OsString; 5] = [
                "import-key-pair".into(),
                "--key".into(),
                plain.into(),
                "--output-key-prefix".into(),
                prefix.into(),
            ];
            self.run(&import).await?;
        }
        let file = |ending: &str| self.home.path().join(format!("{name}.{ending}"));
        Ok(KeyFiles { private: file("key"), public: file("pub") })
    }

    /// Signs an image: `HOST/REPOSITORY@DIGEST`.
    ///
    /// # Errors
    /// When cosign refuses; the message holds what it said.
    pub async fn sign(&self, image: &str, how: &Signing<'_>) -> Result<()> {
        let mut arguments = vec![OsString::from("sign")];
        arguments.extend(self.signing(how)?);
        for (name, value) in how.annotations {
            arguments.extend(["--annotations".into(), format!("{name}={value}").into()]);
        }
        if how.recursive {
            arguments.push("--recursive".into());
        }
        arguments.push(image.into());
        self.run(&arguments).await.map(drop)
    }

    /// Attests a predicate (JSON) of a type, by cosign's short name or as a URI.
    ///
    /// # Errors
    /// When cosign refuses; the message holds what it said.
    pub async fn attest(&self, image: &str, kind: &str, predicate: &str, how: &Signing<'_>) -> Result<()> {
        let file = self.home.path().join("predicate.json");
        std::fs::write(&file, predicate).context("writing a predicate")?;
        let mut arguments = vec![OsString::from("attest")];
        arguments.extend(self.signing(how)?);
        arguments.extend(["--type".into(), kind.into(), "--predicate".into(), file.into(), image.into()]);
        self.run(&arguments).await.map(drop)
    }

    /// Verifies an image's signature with cosign itself; `arguments` say by whom.
    ///
    /// # Errors
    /// When cosign does not accept it; the message holds what it said.
    pub async fn verify(&self, image: &str, sigstore: Option<&Sigstore>, arguments: &[&str]) -> Result<()> {
        self.verification("verify", image, sigstore, arguments).await
    }

    /// Verifies an image's attestation of a type with cosign itself; `arguments` say by whom.
    ///
    /// # Errors
    /// When cosign does not accept it; the message holds what it said.
    pub async fn verify_attestation(
        &self,
        image: &str,
        kind: &str,
        sigstore: Option<&Sigstore>,
        arguments: &[&str],
    ) -> Result<()> {
        let arguments: Vec<&str> = ["--type", kind].into_iter().chain(arguments.iter().copied()).collect();
        self.verification("verify-attestation", image, sigstore, &arguments).await
    }

    async fn verification(
        &self,
        verb: &str,
        image: &str,
        sigstore: Option<&Sigstore>,
        arguments: &[&str],
    ) -> Result<()> {
        let mut all: Vec<OsString> = vec![verb.into(), "--allow-http-registry".into()];
        match sigstore {
            Some(sigstore) => all.extend(["--trusted-root".into(), sigstore.trusted_root_file().into()]),
            None => all.push("--insecure-ignore-tlog".into()),
        }
        all.extend(arguments.iter().map(OsString::from));
        all.push(image.into());
        self.run(&all).await.map(drop)
    }

    fn signing(&self, how: &Signing<'_>) -> Result<Vec<OsString>> {
        let mut all: Vec<OsString> = vec!["--yes".into(), "--allow-http-registry".into()];
        let is_bundle = how.layout == Layout::Bundle;
        all.push(format!("--new-bundle-format={is_bundle}").into());
        match how.by {
            By::Key(key) => all.extend(["--key".into(), key.private.clone().into()]),
            By::Identity { issuer, subject } => {
                all.extend(["--identity-token".into(), identity_token(issuer, subject).into()]);
            }
            By::Certificate { key, certificate, chain } => {
                all.extend(["--key".into(), key.private.clone().into()]);
                all.extend(["--certificate".into(), certificate.into()]);
                if let Some(chain) = chain {
                    all.extend(["--certificate-chain".into(), chain.into()]);
                }
            }
        }
        all.extend(self.services(how)?);
        Ok(all)
    }

    fn services(&self, how: &Signing<'_>) -> Result<Vec<OsString>> {
        let mut all: Vec<OsString> = Vec::new();
        let Some(sigstore) = how.sigstore else {
            ensure!(how.logged == Logged::No && !how.stamped, "a log and timestamps need services");
            all.push("--tlog-upload=false".into());
            if self.line == Line::Three {
                all.push("--use-signing-config=false".into());
            }
            return Ok(all);
        };
        if how.logged == Logged::Two {
            if self.line == Line::Two || how.layout == Layout::Legacy {
                bail!("only cosign 3 uses Rekor's second version, and only for bundles");
            }
            all.extend(["--signing-config".into(), sigstore.signing_config()?.into()]);
        } else {
            if self.line == Line::Three {
                all.push("--use-signing-config=false".into());
            }
            all.push(format!("--tlog-upload={}", how.logged == Logged::One).into());
            all.extend(["--rekor-url".into(), sigstore.rekor.url().into()]);
            all.extend(["--fulcio-url".into(), sigstore.fulcio.url().into()]);
            if how.stamped {
                all.extend(["--timestamp-server-url".into(), sigstore.tsa.url().into()]);
            }
        }
        all.extend(["--trusted-root".into(), sigstore.trusted_root_file().into()]);
        Ok(all)
    }

    /// Runs it, and gives what it wrote to standard output.
    ///
    /// # Errors
    /// When it ends with an error; the message holds what it said.
    pub async fn run(&self, arguments: &[OsString]) -> Result<String> {
        let home = self.home.path();
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(home).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.env("PATH", locate::search_path()).env("HOME", home).env("TUF_ROOT", home.join("tuf"));
        command.env("COSIGN_PASSWORD", "");
        for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
            command.env(name, NO_PROXY_HERE);
        }
        command.env("NO_PROXY", "127.0.0.1");
        let done = command.output().await.context("starting cosign")?;
        let verb = arguments.first().map(|verb| verb.to_string_lossy().into_owned()).unwrap_or_default();
        ensure!(done.status.success(), "cosign {verb}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

fn openssl_key(arguments: &[&str], to: &Path) -> Result<()> {
    let done = Blocking::new(locate::openssl()?)
        .arg("genpkey")
        .args(arguments)
        .arg("-out")
        .arg(to)
        .stdin(Stdio::null())
        .output()
        .context("starting openssl")?;
    ensure!(done.status.success(), "openssl genpkey: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
