//! A registry with one signed image, and short forms of what every test asks.

use anyhow::{Context as _, Result};
use windlass_model::guard::{Identity, TextRule};
use windlass_testkit::evidence;
use windlass_testkit::image::Pusher;
use windlass_testkit::referrers_registry::{AnyRegistry, ReferrersRegistry};
use windlass_testkit::registry::{Registry, RegistryOptions};
use windlass_testkit::sigstore::Sigstore;
use windlass_verify::{
    Artifact, Demands, Identities, Key, Refused, Signed, TrustRoot, Trusted, verify_bundle,
};

pub(crate) const REPOSITORY: &str = "team/app";
pub(crate) const ISSUER: &str = "https://token.example.org";
pub(crate) const SUBJECT: &str =
    "https://ci.example.org/team/app/.github/workflows/release.yml@refs/heads/main";
/// A key demands no certificate; nothing stands in a log.
pub(crate) const UNLOGGED: Demands = Demands { tlog: false, sct: true, timestamps: false };

/// A registry.
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) images: Pusher,
    _registry: AnyRegistry,
}

impl Place {
    fn new(registry: AnyRegistry) -> Self {
        Self { host: registry.host(), images: registry.images().clone(), _registry: registry }
    }

    /// Distribution: no referrers API.
    pub(crate) async fn plain() -> Result<Self> {
        Ok(Self::new(AnyRegistry::Plain(Registry::start(RegistryOptions::default()).await?)))
    }

    pub(crate) async fn with_referrers() -> Result<Self> {
        Ok(Self::new(AnyRegistry::WithReferrers(ReferrersRegistry::start().await?)))
    }

    pub(crate) async fn both() -> Result<[Self; 2]> {
        Ok(AnyRegistry::both().await?.map(Self::new))
    }

    /// Pushes an image; gives its digest, and the name that cosign is told.
    pub(crate) async fn push(&self, seed: &str) -> Result<(String, String)> {
        let digest = self.images.push(REPOSITORY, seed, seed).await?;
        let name = format!("{}/{REPOSITORY}@{digest}", self.host);
        Ok((digest, name))
    }

    pub(crate) async fn bundle(&self, digest: &str) -> Result<Vec<u8>> {
        evidence::only_bundle(&self.images, REPOSITORY, digest).await
    }
}

/// The 32 bytes of `sha256:…`.
pub(crate) fn bytes_of(digest: &str) -> Result<[u8; 32]> {
    let hex = digest.strip_prefix("sha256:").context("a digest is SHA-256")?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex, &mut bytes).context("a digest is in hex")?;
    Ok(bytes)
}

pub(crate) fn root(sigstore: &Sigstore) -> Result<TrustRoot> {
    TrustRoot::from_json(&sigstore.trusted_root().to_string()).context("our trust root")
}

pub(crate) fn by_key(
    bundle: &[u8],
    digest: &str,
    pem: &str,
    demands: Demands,
) -> Result<Result<Signed, Refused>> {
    by_key_with(bundle, digest, pem, demands, &TrustRoot::public_good()?)
}

pub(crate) fn by_key_with(
    bundle: &[u8],
    digest: &str,
    pem: &str,
    demands: Demands,
    root: &TrustRoot,
) -> Result<Result<Signed, Refused>> {
    let keys = Key::from_pem(pem)?;
    let artifact = Artifact::Sha256(bytes_of(digest)?);
    Ok(verify_bundle(bundle, artifact, Trusted::Key(&keys[0]), demands, root))
}

pub(crate) fn by_identity(
    bundle: &[u8],
    digest: &str,
    (issuer, subject): (&str, &str),
    demands: Demands,
    root: &TrustRoot,
) -> Result<Result<Signed, Refused>> {
    let exact = |text: &str| TextRule::Exact(text.to_owned());
    let identities = Identities::new(&[Identity { issuer: exact(issuer), subject: exact(subject) }])?;
    let artifact = Artifact::Sha256(bytes_of(digest)?);
    Ok(verify_bundle(bundle, artifact, Trusted::Keyless(&identities), demands, root))
}

/// cosign's arguments for the same.
pub(crate) fn identity_arguments<'a>(issuer: &'a str, subject: &'a str) -> [&'a str; 4] {
    ["--certificate-identity", subject, "--certificate-oidc-issuer", issuer]
}
