//! What the targets `bundle` and `layer` start from: one image, signed by both lines of cosign in every form, with
//! services like Sigstore's. Keys are new each time, and none is kept.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use windlass_testkit::cosign::{Cosign, KeyKind, Layout, Line, Logged, Signing};
use windlass_testkit::evidence::{layers, only_bundle, signature_tag};
use windlass_testkit::image::Pusher;
use windlass_testkit::registry::{Registry, RegistryOptions};
use windlass_testkit::sigstore::Sigstore;

/// In the root folder.
pub(super) const FILE: &str = "fuzz/evidence.json";
const ISSUER: &str = "https://token.example.org";
const SUBJECT: &str = "https://ci.example.org/team/app/.github/workflows/release.yml@refs/heads/main";

/// Signs everything and writes the file.
pub(super) fn renew(root: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let made = runtime.block_on(made())?;
    let path = root.join(FILE);
    std::fs::write(&path, format!("{made:#}\n")).with_context(|| format!("writing {}", path.display()))
}

/// The same image in a repository of its own for each signature.
struct Signer<'a> {
    host: String,
    images: &'a Pusher,
    line: &'a Cosign,
}

impl<'a> Signer<'a> {
    fn new(registry: &'a Registry, line: &'a Cosign) -> Self {
        Self { host: registry.host(), images: registry.images(), line }
    }

    async fn sign(&self, repository: &str, how: &Signing<'_>) -> Result<String> {
        let digest = self.images.push(repository, "signed", "signed").await?;
        self.line.sign(&format!("{}/{repository}@{digest}", self.host), how).await?;
        Ok(digest)
    }

    async fn bundle(&self, repository: &str, how: &Signing<'_>) -> Result<Value> {
        let digest = self.sign(repository, how).await?;
        let bundle = only_bundle(self.images, repository, &digest).await?;
        serde_json::from_slice(&bundle).context("a bundle is JSON")
    }

    async fn layer(&self, repository: &str, how: &Signing<'_>) -> Result<Value> {
        let digest = self.sign(repository, how).await?;
        let layer = layers(self.images, repository, &signature_tag(&digest)).await?.remove(0);
        let content = String::from_utf8(layer.content).context("a payload is text")?;
        Ok(json!({"content": content, "annotations": layer.annotations}))
    }
}

async fn made() -> Result<Value> {
    let registry = Registry::start(RegistryOptions::default()).await?;
    let (sigstore, two, three) = (Sigstore::start()?, Cosign::new(Line::Two)?, Cosign::new(Line::Three)?);
    let key = three.key_pair(KeyKind::P256, "key").await?;
    let (legacy, current) = (Signer::new(&registry, &two), Signer::new(&registry, &three));
    let keyless = |layout| Signing::keyless(&sigstore, ISSUER, SUBJECT, layout);
    let stamped = |layout| Signing { stamped: true, ..keyless(layout) };
    let second = Signing { logged: Logged::Two, ..keyless(Layout::Bundle) };
    let bundles = [
        current.bundle("bundles/first-log", &keyless(Layout::Bundle)).await?,
        current.bundle("bundles/stamped", &stamped(Layout::Bundle)).await?,
        current.bundle("bundles/second-log", &second).await?,
        current.bundle("bundles/key", &Signing::with_key(&key, Layout::Bundle)).await?,
    ];
    let layers = [
        legacy.layer("layers/log", &keyless(Layout::Legacy)).await?,
        legacy.layer("layers/stamped", &stamped(Layout::Legacy)).await?,
        legacy.layer("layers/key", &Signing::with_key(&key, Layout::Legacy)).await?,
    ];
    let digest = registry.images().push("image", "signed", "signed").await?;
    Ok(json!({
        "digest": digest, "issuer": ISSUER, "subject": SUBJECT, "key": key.public_pem()?,
        "root": sigstore.trusted_root(), "bundles": bundles, "layers": layers,
    }))
}
