//! Files that arguments name, and the registry credentials in a Docker configuration among them. All of it is bounded.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, ensure};
use windlass_model::ImageName;
use windlass_registry::{Credentials, credentials};

/// Largest input, in bytes: half a million tags of the greatest length.
const MAX_INPUT: u64 = 64 << 20;

/// Reads a text file that an argument names.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
    bounded(file, &shown)
}

/// Reads text up to the limit.
pub(crate) fn bounded(from: impl Read, what: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    from.take(MAX_INPUT + 1).read_to_end(&mut bytes).with_context(|| format!("{what} cannot be read"))?;
    ensure!(bytes.len() as u64 <= MAX_INPUT, "{what} is larger than {} MiB", MAX_INPUT >> 20);
    String::from_utf8(bytes).ok().with_context(|| format!("{what} is not UTF-8 text"))
}

/// What a Docker configuration has for an image.
///
/// # Errors
/// It cannot be read, or has nothing for the image's registry: an argument that has no effect is a mistake.
pub(crate) fn credentials(path: &Path, image: &ImageName) -> anyhow::Result<Credentials> {
    optional_credentials(path, image)?.with_context(|| {
        format!(
            "{} has no user name and password for {} (credential helpers are never run)",
            path.display(),
            image.registry()
        )
    })
}

/// The same, where it is no mistake to have nothing.
pub(crate) fn optional_credentials(path: &Path, image: &ImageName) -> anyhow::Result<Option<Credentials>> {
    let json = read_text(path)?;
    credentials::from_docker_config(json.as_bytes(), image).with_context(|| path.display().to_string())
}
