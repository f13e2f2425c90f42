//! Signatures in a registry, as cosign lays them down: reading them, and putting others beside or in the place of what
//! cosign made. It knows the layout and verifies nothing.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::image::{INDEX, MANIFEST, Pusher, descriptor, digest_of};

/// The layer of a legacy signature.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The layer of a legacy attestation.
pub const DSSE: &str = "application/vnd.dsse.envelope.v1+json";
/// The layer and the artifact type of a bundle.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The annotation with a legacy signature, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The annotation with a legacy signature's certificate, as PEM.
pub const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// The annotation with the certificates above it.
pub const CHAIN: &str = "dev.sigstore.cosign/chain";
/// The annotation with Rekor's promise.
pub const REKOR: &str = "dev.sigstore.cosign/bundle";
/// The annotation with a signed timestamp.
pub const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// One layer of a `.sig` or `.att` image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What was signed, or the envelope.
    pub content: Vec<u8>,
    /// The media type.
    pub media_type: String,
    /// The annotations: a JSON object of texts.
    pub annotations: Value,
}

/// Where legacy signatures of a digest lie.
pub fn signature_tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

/// Where legacy attestations of a digest lie.
pub fn attestation_tag(digest: &str) -> String {
    format!("{}.att", digest.replace(':', "-"))
}

/// The layers of a legacy image.
///
/// # Errors
/// When there is none.
pub async fn layers(images: &Pusher, repository: &str, tag: &str) -> Result<Vec<Layer>> {
    let (_, manifest) = images.manifest(repository, tag).await?;
    let manifest: Value = serde_json::from_slice(&manifest).context("a manifest is JSON")?;
    let mut layers = Vec::new();
    for layer in manifest["layers"].as_array().context("a manifest has layers")? {
        let digest = layer["digest"].as_str().context("a layer has a digest")?;
        layers.push(Layer {
            content: images.blob(repository, digest).await?.to_vec(),
            media_type: layer["mediaType"].as_str().unwrap_or_default().to_owned(),
            annotations: layer["annotations"].clone(),
        });
    }
    Ok(layers)
}

/// Puts a legacy image in the place of whatever is there; gives its digest.
///
/// # Errors
/// When the registry refuses.
pub async fn put_layers(images: &Pusher, repository: &str, tag: &str, layers: &[Layer]) -> Result<String> {
    let mut descriptors = Vec::new();
    for layer in layers {
        images.put_blob(repository, layer.content.clone()).await?;
        let mut entry = descriptor(&layer.media_type, &layer.content);
        entry["annotations"] = layer.annotations.clone();
        descriptors.push(entry);
    }
    let config = br#"{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]},"config":{}}"#;
    images.put_blob(repository, config.as_slice()).await?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config), "layers": descriptors,
    });
    images.put_manifest(repository, tag, MANIFEST, manifest.to_string().into_bytes()).await
}

/// The bundles that refer to a digest.
///
/// # Errors
/// When the registry refuses, or one cannot be read.
pub async fn bundles(images: &Pusher, repository: &str, digest: &str) -> Result<Vec<Vec<u8>>> {
    let mut bundles = Vec::new();
    for referrer in images.referrers(repository, digest).await? {
        let name = referrer["digest"].as_str().context("a referrer has a digest")?;
        let (_, manifest) = images.manifest(repository, name).await?;
        let manifest: Value = serde_json::from_slice(&manifest).context("a manifest is JSON")?;
        let layer = &manifest["layers"][0];
        if layer["mediaType"] == BUNDLE {
            let digest = layer["digest"].as_str().context("a layer has a digest")?;
            bundles.push(images.blob(repository, digest).await?.to_vec());
        }
    }
    Ok(bundles)
}

/// The only bundle that refers to a digest.
///
/// # Errors
/// When there is none, or more than one.
pub async fn only_bundle(images: &Pusher, repository: &str, digest: &str) -> Result<Vec<u8>> {
    let mut bundles = bundles(images, repository, digest).await?;
    ensure!(bundles.len() == 1, "{digest} has {} bundles", bundles.len());
    bundles.pop().context("one was counted")
}

/// Puts a bundle that refers to a digest, and lists it under the tag that stands for the referrers, where the registry
/// does not list it itself. Gives the digest of the bundle's manifest.
///
/// # Errors
/// When the registry refuses.
pub async fn put_bundle(images: &Pusher, repository: &str, subject: &str, bundle: &[u8]) -> Result<String> {
    let (media_type, subject_bytes) = images.manifest(repository, subject).await?;
    images.put_blob(repository, bundle.to_vec()).await?;
    images.put_blob(repository, b"{}".as_slice()).await?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
        "config": descriptor(EMPTY, b"{}"),
        "layers": [descriptor(BUNDLE, bundle)],
        "subject": descriptor(&media_type, &subject_bytes),
    });
    put_referrer(images, repository, subject, manifest.to_string().into_bytes()).await
}

/// Puts a manifest by its digest, and lists it under the tag that stands for the referrers of `subject`, where the
/// registry does not list it itself.
///
/// # Errors
/// When the registry refuses.
pub async fn put_referrer(
    images: &Pusher,
    repository: &str,
    subject: &str,
    manifest: Vec<u8>,
) -> Result<String> {
    let digest = digest_of(&manifest);
    let mut entry = descriptor(MANIFEST, &manifest);
    entry["artifactType"] = json!(BUNDLE);
    images.put_manifest(repository, &digest, MANIFEST, manifest).await?;
    let mut known = images.referrers(repository, subject).await?;
    if known.iter().any(|referrer| referrer["digest"] == digest) {
        return Ok(digest);
    }
    known.push(entry);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": known});
    let tag = subject.replace(':', "-");
    images.put_manifest(repository, &tag, INDEX, index.to_string().into_bytes()).await?;
    Ok(digest)
}
