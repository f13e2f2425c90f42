//! `windlass verify`: images that real cosign signed, on real registries, judged by Guards; and registries that want to
//! have something allowed that nobody signed.

mod attacks;
mod attestations;
mod hostile;
mod imported;
mod limits;
mod places;
mod signed;
mod times;
mod trust_roots;

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use windlass_testkit::cosign::{Cosign, KeyFiles, KeyKind, Line};
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::image::Pusher;
use windlass_testkit::locate;
use windlass_testkit::referrers_registry::AnyRegistry;
use windlass_testkit::sigstore::Sigstore;

const REPOSITORY: &str = "team/app";
const ISSUER: &str = "https://token.example.org";
const SUBJECT: &str = "https://ci.example.org/team/app/.github/workflows/release.yml@refs/heads/main";
/// No question may take longer: a minute for all requests, and some for a machine that also compiles.
const DEADLINE: Duration = Duration::from_secs(100);
/// What a question may cost at most, in bytes of memory. An unoptimised program needs about a tenth.
const MEMORY: u64 = 300 << 20;
/// How often a running program's memory is looked at. The kernel keeps the peak.
const LOOK: Duration = Duration::from_millis(20);

/// The exit statuses.
const ALLOWED: i32 = 0;
const DENIED: i32 = 1;
const UNKNOWN: i32 = 3;

/// Signers, services and a folder for Guards.
struct Setting {
    sigstore: Sigstore,
    two: Cosign,
    three: Cosign,
    key: KeyFiles,
    stranger: KeyFiles,
    folder: TempDir,
}

impl Setting {
    async fn new() -> Result<Self> {
        let (two, three) = (Cosign::new(Line::Two)?, Cosign::new(Line::Three)?);
        let key = three.key_pair(KeyKind::P256, "key").await?;
        let stranger = three.key_pair(KeyKind::P256, "stranger").await?;
        let (sigstore, folder) = (Sigstore::start()?, fresh(Storage::Memory)?);
        Ok(Self { sigstore, two, three, key, stranger, folder })
    }

    fn cosign(&self, line: Line) -> &Cosign {
        match line {
            Line::Two => &self.two,
            Line::Three => &self.three,
        }
    }

    /// A Guard in a file, with the trust root that its authorities name.
    fn guard(&self, spec: &Value) -> Result<PathBuf> {
        self.guard_with(spec, &self.sigstore.trusted_root())
    }

    /// The same with another trust root.
    fn guard_with(&self, spec: &Value, trusted_root: &Value) -> Result<PathBuf> {
        let mut spec = spec.clone();
        spec["match"] = json!({"images": ["**"]});
        let guard = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "Guard",
            "metadata": {"name": "guard"}, "spec": spec,
        });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": "security", "name": "sigstore"},
            "stringData": {"trusted_root.json": trusted_root.to_string()},
        });
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile_in(self.folder.path())?;
        std::io::Write::write_all(&mut file, format!("{guard}\n---\n{secret}\n").as_bytes())?;
        Ok(file.keep()?.1)
    }

    /// Asks for one signature by an authority.
    async fn ask(&self, image: &str, authority: Value) -> Result<Answer> {
        self.ask_for(image, &signed_by(&[authority])).await
    }

    /// The same by another trust root.
    async fn ask_with(&self, image: &str, authority: Value, trusted_root: &Value) -> Result<Answer> {
        let guard = self.guard_with(&signed_by(&[authority]), trusted_root)?.display().to_string();
        verify(&[image, "--guard", &guard]).await
    }

    /// Asks by a Guard.
    async fn ask_for(&self, image: &str, spec: &Value) -> Result<Answer> {
        let guard = self.guard(spec)?.display().to_string();
        verify(&[image, "--guard", &guard]).await
    }
}

fn trust_root() -> Value {
    json!({"secretRef": {"namespace": "security", "name": "sigstore"}})
}

/// An authority by key.
fn by_key(key: &KeyFiles) -> Result<Value> {
    Ok(json!({"name": "a", "key": {"pem": key.public_pem()?}, "trustRoot": trust_root()}))
}

/// An authority by certificate.
fn by_identity(issuer: &str, subject: &str) -> Value {
    keyless(&json!({"issuer": issuer, "subject": subject}))
}

fn keyless(identity: &Value) -> Value {
    json!({"name": "a", "keyless": {"identities": [identity]}, "trustRoot": trust_root()})
}

/// With one more field, or another value.
fn with(mut authority: Value, field: &str, value: impl Into<Value>) -> Value {
    authority[field] = value.into();
    authority
}

/// A Guard's `spec` that wants a signature by any of these.
fn signed_by(authorities: &[Value]) -> Value {
    let names: Vec<&Value> = authorities.iter().map(|authority| &authority["name"]).collect();
    json!({"authorities": authorities, "require": {"signatures": {"anyOf": names}}})
}

/// A Guard's `spec` that wants an attestation of this type by this authority.
fn attested_by(kind: &str, authority: &Value) -> Value {
    json!({
        "authorities": [authority],
        "require": {"attestations": [{"predicateType": kind, "authorities": [authority["name"]]}]},
    })
}

/// What `windlass verify` said.
#[derive(Debug)]
struct Answer {
    status: i32,
    document: Value,
    errors: String,
    took: Duration,
    /// The most memory, in bytes.
    peak: u64,
}

impl Answer {
    /// Fails with everything that was said.
    fn is(&self, wanted: i32, what: &str) -> Result<()> {
        ensure!(
            self.status == wanted,
            "{what}: {} instead of {wanted}\n{:#}\n{}",
            self.status,
            self.document,
            self.errors
        );
        self.in_bounds(what)
    }

    fn is_not_allowed(&self, what: &str) -> Result<()> {
        ensure!(
            self.status == DENIED || self.status == UNKNOWN,
            "{what}: {}\n{:#}\n{}",
            self.status,
            self.document,
            self.errors
        );
        self.in_bounds(what)
    }

    fn in_bounds(&self, what: &str) -> Result<()> {
        ensure!(self.took < DEADLINE, "{what}: it took {:?}", self.took);
        ensure!(self.peak < MEMORY, "{what}: {} MiB of memory", self.peak >> 20);
        Ok(())
    }
}

/// Runs `windlass verify` over plain HTTP.
async fn verify(arguments: &[&str]) -> Result<Answer> {
    let mut command = tokio::process::Command::new(locate::windlass()?);
    command.arg("verify").args(arguments).args(["--allow-http-registry", "--output", "json"]);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let started = Instant::now();
    let mut child = command.spawn().context("starting windlass")?;
    let status_file = format!("/proc/{}/status", child.id().context("it was just started")?);
    let (mut out, mut err) = (child.stdout.take().context("a pipe")?, child.stderr.take().context("a pipe")?);
    let (mut printed, mut errors) = (String::new(), String::new());
    let mut peak = 0;
    let read = async { tokio::try_join!(out.read_to_string(&mut printed), err.read_to_string(&mut errors)) };
    let watch = async {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            peak = peak.max(peak_of(&status_file));
        }
    };
    tokio::select! {
        read = read => read.map(drop)?,
        () = watch => {}
    }
    let status: ExitStatus = child.wait().await?;
    let document = serde_json::from_str(&printed).unwrap_or(Value::String(printed));
    let status = status.code().context("windlass was killed")?;
    Ok(Answer { status, document, errors, took: started.elapsed(), peak })
}

/// A process that has ended has no memory.
fn peak_of(status_file: &str) -> u64 {
    let text = std::fs::read_to_string(status_file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

/// An image in a registry.
struct Image {
    digest: String,
    /// As cosign and Windlass are told.
    name: String,
}

async fn push(registry: &AnyRegistry, seed: &str) -> Result<Image> {
    push_to(&registry.host(), registry.images(), seed).await
}

async fn push_to(host: &str, images: &Pusher, seed: &str) -> Result<Image> {
    let digest = images.push(REPOSITORY, seed, seed).await?;
    let name = format!("{host}/{REPOSITORY}@{digest}");
    Ok(Image { digest, name })
}
