//! How long a verdict takes: the cryptography alone, with a registry on loopback, and remembered. Images are signed by
//! real cosign, by a key and by a certificate with its log entry and timestamp. Prints `NAME: MILLISECONDS`.
//!
//! `cargo run --release -p windlass-verify --example verify_rounds -- ROUNDS`, after `cargo xtask setup`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use windlass_model::guard::{
    Authority, Formats, Guard, GuardRules, Identity, Quorum, Scope, TextRule, Trust,
};
use windlass_model::resource::{Meta, Origin};
use windlass_model::{Digest, ImageName, ObjectKey, Spec};
use windlass_registry::{Metrics, Pool, PoolConfig, Repository, RepositoryConfig};
use windlass_testkit::cosign::{Cosign, KeyFiles, KeyKind, Layout, Line, Signing};
use windlass_testkit::evidence;
use windlass_testkit::referrers_registry::ReferrersRegistry;
use windlass_testkit::sigstore::Sigstore;
use windlass_verify::{
    Artifact, Demands, Freshness, Identities, Judge, Key, Outcome, Repositories, Subject, TrustRoot, Trusted,
    Verifier, verify_bundle,
};

const REPOSITORY: &str = "team/app";
const ISSUER: &str = "https://token.example.org";
const SUBJECT: &str = "https://ci.example.org/team/app/.github/workflows/release.yml@refs/heads/main";
/// Requests under way end sooner or not at all.
const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).context("say how many rounds")?.parse()?;
    let cosign = Cosign::new(Line::Three)?;
    let (sigstore, registry) = (Sigstore::start()?, ReferrersRegistry::start().await?);
    let key = cosign.key_pair(KeyKind::P256, "release").await?;

    let by_key = push(&registry, "key").await?;
    cosign.sign(&named(&registry, &by_key), &Signing::with_key(&key, Layout::Bundle)).await?;
    let keyless = push(&registry, "keyless").await?;
    let how = Signing { stamped: true, ..Signing::keyless(&sigstore, ISSUER, SUBJECT, Layout::Bundle) };
    cosign.sign(&named(&registry, &keyless), &how).await?;

    cryptography(rounds, &registry, &sigstore, &key, [&by_key, &keyless]).await?;
    with_registry(rounds, &registry, &key, &by_key).await?;

    let started = Instant::now();
    let public = key.public.display().to_string();
    let image = named(&registry, &by_key);
    cosign.verify(&image, None, &["--key", &public, "--insecure-ignore-tlog=true"]).await?;
    print("the cosign program, by key", started.elapsed());
    Ok(())
}

async fn cryptography(
    rounds: usize,
    registry: &ReferrersRegistry,
    sigstore: &Sigstore,
    key: &KeyFiles,
    [by_key, keyless]: [&String; 2],
) -> Result<()> {
    let root = TrustRoot::from_json(&sigstore.trusted_root().to_string())?;
    let keys = Key::from_pem(&key.public_pem()?)?;
    let exact = |text: &str| TextRule::Exact(text.to_owned());
    let identities = Identities::new(&[Identity { issuer: exact(ISSUER), subject: exact(SUBJECT) }])?;
    let strict = Demands { timestamps: true, ..Demands::default() };
    let unlogged = Demands { tlog: false, ..Demands::default() };
    for (what, digest, trusted, demands) in [
        ("crypto by key", by_key, Trusted::Key(&keys[0]), unlogged),
        ("crypto by certificate, log entry and timestamp", keyless, Trusted::Keyless(&identities), strict),
    ] {
        let bundle = evidence::only_bundle(registry.images(), REPOSITORY, digest).await?;
        let mut sha256 = [0; 32];
        hex::decode_to_slice(digest.trim_start_matches("sha256:"), &mut sha256)?;
        let verify = || verify_bundle(&bundle, Artifact::Sha256(sha256), trusted, demands, &root);
        verify()?;
        let times = (0..rounds).map(|_| timed(|| black_box(verify().is_ok())));
        print(what, median(times.collect()));
    }
    Ok(())
}

async fn with_registry(
    rounds: usize,
    registry: &ReferrersRegistry,
    key: &KeyFiles,
    digest: &str,
) -> Result<()> {
    let (image, digest) = (name(registry)?, Digest::parse(digest)?);
    let judges = [Arc::new(judge(&key.public_pem()?))];
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let loopback = Loopback(Pool::new(PoolConfig::default(), metrics));
    let subject = Subject { tenant: "", image: &image, digest: &digest, tag: None, first_seen: None };
    let now = Timestamp::UNIX_EPOCH;
    let ask = async |verifier: &Verifier| -> Result<Duration> {
        let started = Instant::now();
        let verdict = verifier.verify(subject, &judges, &loopback, now, Freshness::Recent).await;
        let took = started.elapsed();
        ensure!(verdict.outcome == Outcome::Allowed, "{:?}", verdict.reasons());
        Ok(took)
    };
    let repository = loopback.repository(&image).map_err(anyhow::Error::msg)?;
    let (mut request, mut cold, mut warm) = (Vec::new(), Vec::new(), Vec::new());
    let verifier = Verifier::default();
    for _ in 0..rounds.min(500) {
        let started = Instant::now();
        repository.manifest(digest.clone()).await?.context("the image is there")?;
        request.push(started.elapsed());
        cold.push(ask(&Verifier::default()).await?);
        warm.push(ask(&verifier).await?);
    }
    print("one request to the registry", median(request));
    print("with a registry on loopback", median(cold));
    print("remembered", median(warm));
    Ok(())
}

struct Loopback(Pool);

impl Repositories for Loopback {
    fn repository(&self, image: &ImageName) -> Result<Repository, String> {
        let config = RepositoryConfig { insecure: true, ..RepositoryConfig::new(image.clone(), TIMEOUT) };
        self.0.repository(config).map_err(|error| error.to_string())
    }
}

fn judge(pem: &str) -> Judge {
    let authority = Authority {
        trust: Trust::Keys(pem.to_owned()),
        source: None,
        formats: Formats::default(),
        tlog: false,
        sct: true,
        timestamps: false,
        annotations: BTreeMap::new(),
        trust_root: None,
    };
    let quorum = Quorum::AnyOf { authorities: vec!["release".to_owned()], minimum: 1 };
    let rules = GuardRules {
        authorities: [("release".to_owned(), authority)].into(),
        signatures: Some(quorum),
        ..GuardRules::default()
    };
    let meta = Meta {
        key: ObjectKey::new("signed", "signed"),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        origin: Origin { file: "bench".into(), line: 0 },
        unsupported: Vec::new(),
    };
    Judge::new(&Guard { meta, scope: Scope::default(), rules: Ok(rules) }, &Spec::default())
}

async fn push(registry: &ReferrersRegistry, tag: &str) -> Result<String> {
    registry.images().push(REPOSITORY, tag, tag).await
}

fn name(registry: &ReferrersRegistry) -> Result<ImageName> {
    Ok(ImageName::parse(&format!("{}/{REPOSITORY}", registry.host()))?)
}

fn named(registry: &ReferrersRegistry, digest: &str) -> String {
    format!("{}/{REPOSITORY}@{digest}", registry.host())
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let started = Instant::now();
    black_box(work());
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn print(what: &str, took: Duration) {
    println!("{what}: {}", took.as_secs_f64() * 1_000.0);
}
