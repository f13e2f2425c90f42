//! Small valid OCI images and the few requests that push them (OCI image specification 1.1, distribution
//! specification 1.1). Independent of the product's registry client on purpose.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::http_server::client;

/// `application/vnd.oci.image.manifest.v1+json`
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// `application/vnd.oci.image.index.v1+json`
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Two blocks of zeros end a tar archive; alone they are an empty one.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

/// Pushes to one registry.
#[derive(Debug, Clone)]
pub struct Pusher {
    base: String,
    credentials: Option<(String, String)>,
    http: reqwest::Client,
}

/// An image's manifest and the blobs that it needs.
struct Image {
    manifest: Vec<u8>,
    blobs: Vec<Bytes>,
}

impl Pusher {
    /// For the registry at `base`: `http://127.0.0.1:5000`.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(base: impl Into<String>, credentials: Option<(String, String)>) -> Result<Self> {
        Ok(Self { base: base.into(), credentials, http: client()? })
    }

    /// Pushes an image under a tag and gives its digest. The same seed gives the same digest.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn push(&self, repository: &str, tag: &str, seed: &str) -> Result<String> {
        let image = image("amd64", seed);
        self.put_blobs(repository, &image.blobs).await?;
        self.put_manifest(repository, tag, MANIFEST, image.manifest).await
    }

    /// Pushes an image for each architecture by digest, then an index of them under a tag; gives the index's digest.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn push_index(
        &self,
        repository: &str,
        tag: &str,
        seed: &str,
        architectures: &[&str],
    ) -> Result<String> {
        let mut manifests = Vec::new();
        for architecture in architectures {
            let image = image(architecture, seed);
            self.put_blobs(repository, &image.blobs).await?;
            let mut entry = descriptor(MANIFEST, &image.manifest);
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            manifests.push(entry);
            let reference = digest_of(&image.manifest);
            self.put_manifest(repository, &reference, MANIFEST, image.manifest).await?;
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.put_manifest(repository, tag, INDEX, index.to_string().into_bytes()).await
    }

    /// Pushes something that refers to a manifest by `subject`, as a signature does; gives its digest.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn push_referrer(
        &self,
        repository: &str,
        subject: &str,
        artifact_type: &str,
    ) -> Result<String> {
        let (media_type, subject) = self.manifest(repository, subject).await?;
        let mut image = image("amd64", artifact_type);
        self.put_blobs(repository, &image.blobs).await?;
        let mut manifest: Value =
            serde_json::from_slice(&image.manifest).context("reading our own manifest")?;
        manifest["artifactType"] = json!(artifact_type);
        manifest["subject"] = descriptor(&media_type, &subject);
        image.manifest = manifest.to_string().into_bytes();
        let reference = digest_of(&image.manifest);
        self.put_manifest(repository, &reference, MANIFEST, image.manifest).await
    }

    /// Gives an existing manifest one more tag.
    ///
    /// # Errors
    /// When there is no such manifest.
    pub async fn tag(&self, repository: &str, existing: &str, tag: &str) -> Result<String> {
        let (media_type, manifest) = self.manifest(repository, existing).await?;
        self.put_manifest(repository, tag, &media_type, manifest).await
    }

    /// Puts a manifest under a tag or its own digest and gives the digest.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        manifest: Vec<u8>,
    ) -> Result<String> {
        let digest = digest_of(&manifest);
        let url = format!("{}/v2/{repository}/manifests/{reference}", self.base);
        let request = self.request(Method::PUT, &url).header(CONTENT_TYPE, media_type).body(manifest);
        accept(request, &format!("putting the manifest {repository}:{reference}")).await?;
        Ok(digest)
    }

    /// A manifest's media type and bytes, by tag or digest.
    ///
    /// # Errors
    /// When there is none.
    pub async fn manifest(&self, repository: &str, reference: &str) -> Result<(String, Vec<u8>)> {
        let url = format!("{}/v2/{repository}/manifests/{reference}", self.base);
        let request = self.request(Method::GET, &url).header(ACCEPT, format!("{INDEX}, {MANIFEST}"));
        let response = accept(request, &format!("getting the manifest {repository}:{reference}")).await?;
        let media_type = response.headers().get(CONTENT_TYPE).context("a manifest without Content-Type")?;
        let media_type = media_type.to_str().context("a Content-Type that is not ASCII")?.to_owned();
        Ok((media_type, response.bytes().await.context("reading a manifest")?.to_vec()))
    }

    /// Deletes a tag. Distribution 2 cannot: there the manifest goes, with all its tags.
    ///
    /// # Errors
    /// When the registry refuses, for instance because deletion is not enabled.
    pub async fn delete_tag(&self, repository: &str, tag: &str) -> Result<()> {
        let url = format!("{}/v2/{repository}/manifests/{tag}", self.base);
        let response = self.request(Method::DELETE, &url).send().await.context("deleting a tag")?;
        if response.status().is_success() {
            return Ok(());
        }
        let digest = digest_of(&self.manifest(repository, tag).await?.1);
        let url = format!("{}/v2/{repository}/manifests/{digest}", self.base);
        accept(self.request(Method::DELETE, &url), &format!("deleting {repository}:{tag}")).await.map(drop)
    }

    async fn put_blobs(&self, repository: &str, blobs: &[Bytes]) -> Result<()> {
        for blob in blobs {
            self.put_blob(repository, blob.clone()).await?;
        }
        Ok(())
    }

    /// A blob's bytes.
    ///
    /// # Errors
    /// When there is none.
    pub async fn blob(&self, repository: &str, digest: &str) -> Result<Bytes> {
        let url = format!("{}/v2/{repository}/blobs/{digest}", self.base);
        let response = accept(self.request(Method::GET, &url), &format!("getting the blob {digest}")).await?;
        response.bytes().await.context("reading a blob")
    }

    /// The descriptors of what refers to a digest: by the API, else by the tag that stands for it.
    ///
    /// # Errors
    /// When the registry answers neither with a list nor that there is none.
    pub async fn referrers(&self, repository: &str, digest: &str) -> Result<Vec<Value>> {
        let tag = digest.replace(':', "-");
        for path in [format!("referrers/{digest}"), format!("manifests/{tag}")] {
            let url = format!("{}/v2/{repository}/{path}", self.base);
            let request = self.request(Method::GET, &url).header(ACCEPT, INDEX);
            let response = request.send().await.context("asking for referrers")?;
            if response.status() == StatusCode::NOT_FOUND {
                continue;
            }
            let response = response.error_for_status().context("asking for referrers")?;
            let bytes = response.bytes().await.context("reading referrers")?;
            let index: Value = serde_json::from_slice(&bytes).context("referrers are JSON")?;
            return index["manifests"].as_array().cloned().context("referrers are an index");
        }
        Ok(Vec::new())
    }

    /// Puts a blob and gives its digest.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn put_blob(&self, repository: &str, blob: impl Into<Bytes>) -> Result<String> {
        let blob = blob.into();
        let digest = digest_of(&blob);
        let url = format!("{}/v2/{repository}/blobs/{digest}", self.base);
        let known = self.request(Method::HEAD, &url).send().await.context("asking for a blob")?;
        if known.status() == StatusCode::OK {
            return Ok(digest);
        }
        let start = format!("{}/v2/{repository}/blobs/uploads/", self.base);
        let started = accept(self.request(Method::POST, &start), "starting a blob's upload").await?;
        let location = started.headers().get(LOCATION).context("an upload without Location")?;
        let location = location.to_str().context("a Location that is not ASCII")?;
        let location = started.url().join(location).context("a Location that is no URL")?;
        let separator = if location.query().is_some() { '&' } else { '?' };
        let finish = format!("{location}{separator}digest={digest}");
        let request =
            self.request(Method::PUT, &finish).header(CONTENT_TYPE, "application/octet-stream").body(blob);
        accept(request, "uploading a blob").await?;
        Ok(digest)
    }

    fn request(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, url);
        match &self.credentials {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

/// `sha256:<hex>` of these bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn image(architecture: &str, seed: &str) -> Image {
    let layer = Bytes::from_static(&EMPTY_TAR);
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Labels": {"seed": seed}},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(&layer)]},
    });
    let config = Bytes::from(config.to_string());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config),
        "layers": [descriptor(LAYER, &layer)],
    });
    Image { manifest: manifest.to_string().into_bytes(), blobs: vec![config, layer] }
}

/// What stands for these bytes in a manifest.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()})
}

async fn accept(request: reqwest::RequestBuilder, doing: &str) -> Result<reqwest::Response> {
    let response = request.send().await.with_context(|| doing.to_owned())?;
    let status = response.status();
    if !status.is_success() {
        bail!("{doing}: {status} {}", response.text().await.unwrap_or_default());
    }
    Ok(response)
}
