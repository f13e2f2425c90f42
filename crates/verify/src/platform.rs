//! For which platforms an image is, as its index or its configuration says.

use serde::Deserialize;
use windlass_model::Digest;
use windlass_registry::{Manifest, RegistryError, Repository};

use crate::bounds;

/// What BuildKit names the platform of an attestation that it puts into an index.
const UNKNOWN: &str = "unknown";

#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    manifests: Option<Vec<Entry>>,
    #[serde(default)]
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Config {
    digest: String,
}

/// OCI image-spec 1.1, "Image Index" and "Image Configuration".
#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Platform {
    fn name(self) -> Option<String> {
        let known = |text: &str| !text.is_empty() && text != UNKNOWN;
        if !known(&self.os) || !known(&self.architecture) {
            return None;
        }
        let variant = self.variant.filter(|variant| known(variant));
        let suffix = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
        Some(format!("{}/{}{suffix}", self.os, self.architecture))
    }
}

/// `os/architecture[/variant]` of each image of a manifest; empty where it does not say.
pub(crate) async fn of(repository: &Repository, manifest: &Manifest) -> Result<Vec<String>, RegistryError> {
    let Ok(outline) = serde_json::from_slice::<Outline>(&manifest.bytes) else { return Ok(Vec::new()) };
    let platforms: Vec<Platform> = if let Some(entries) = outline.manifests {
        entries.into_iter().filter_map(|entry| entry.platform).collect()
    } else {
        let digest = outline.config.and_then(|config| Digest::parse(&config.digest).ok());
        let Some(digest) = digest else { return Ok(Vec::new()) };
        let config = repository.blob(&digest, bounds::CONFIG_BYTES).await?;
        serde_json::from_slice(&config.unwrap_or_default()).into_iter().collect()
    };
    let mut names: Vec<String> = platforms.into_iter().filter_map(Platform::name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Whether an image for one of `there` runs on `wanted`. A variant that is not asked for does not matter.
pub(crate) fn covers(there: &[String], wanted: &str) -> bool {
    there.iter().any(|platform| {
        platform.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_matters_where_it_is_asked_for() {
        let there = ["linux/amd64".to_owned(), "linux/arm/v7".to_owned()];
        for (wanted, expected) in [
            ("linux/amd64", true),
            ("linux/arm", true),
            ("linux/arm/v7", true),
            ("linux/arm/v6", false),
            ("linux/arm64", false),
            ("linux/a", false),
            ("windows/amd64", false),
        ] {
            assert_eq!(covers(&there, wanted), expected, "{wanted}");
        }
    }
}
