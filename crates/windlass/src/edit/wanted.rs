//! What is to be written, and where: the arguments, checked against each other.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use windlass_manifest::kustomize;
use windlass_manifest::path::{DocumentSelector, KeyPath};
use windlass_model::image::{Digest, ImageName, Tag};
use windlass_model::place::Part;
use windlass_model::{ImageRef, ObjectKey};

/// One `--set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    policy: Option<ObjectKey>,
    image: ImageRef,
}

impl FromStr for Setting {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // An image has no `=`.
        let Some((policy, image)) = text.split_once('=') else {
            return Ok(Self { policy: None, image: parse_image(text)? });
        };
        let policy = match policy.split_once(':') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains(':') => {
                ObjectKey::new(namespace, name)
            }
            _ => bail!("`{policy}` must be written as NAMESPACE:NAME, as in the marker"),
        };
        Ok(Self { policy: Some(policy), image: parse_image(image)? })
    }
}

/// Reads `IMAGE:TAG[@DIGEST]`; the name is kept as it is written.
fn parse_image(text: &str) -> anyhow::Result<ImageRef> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
        None => (text, None),
    };
    // A colon before the last slash starts a port.
    let start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let colon = rest[start..].find(':').with_context(|| format!("`{text}` has no tag: write IMAGE:TAG"))?;
    let (name, tag) = (&rest[..start + colon], &rest[start + colon + 1..]);
    ImageName::parse(name)?;
    Ok(ImageRef { name: name.to_owned(), tag: Tag::parse(tag)?, digest })
}

/// Which part of the image a place takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PartArg {
    /// IMAGE:TAG[@DIGEST]
    Image,
    /// The name alone
    Name,
    /// The tag alone
    Tag,
    /// The digest alone
    Digest,
    /// TAG[@DIGEST]
    #[value(name = "tag@digest")]
    TagAndDigest,
}

/// What is to be written, and where.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// Places with a marker.
    Markers(BTreeMap<ObjectKey, ImageRef>),
    /// Entries of a kustomization, by name.
    Kustomize(BTreeMap<String, kustomize::Change>),
    /// The image of Helm values.
    Helm { key: KeyPath, image: ImageRef },
    /// One scalar.
    Path { path: KeyPath, document: Option<DocumentSelector>, text: String },
}

impl Wanted {
    pub(super) fn markers(settings: Vec<Setting>) -> anyhow::Result<Self> {
        let mut images = BTreeMap::new();
        for Setting { policy, image } in settings {
            let policy = policy.with_context(|| {
                format!("--set {image} does not say for which markers: write NAMESPACE:NAME={image}")
            })?;
            if let Some(other) = images.insert(policy.clone(), image.clone()).filter(|other| *other != image)
            {
                bail!("--set gives {}:{} both {other} and {image}", policy.namespace, policy.name);
            }
        }
        Ok(Self::Markers(images))
    }

    /// An empty name stands for each image's own.
    pub(super) fn kustomize(name: &str, settings: Vec<Setting>) -> anyhow::Result<Self> {
        ensure!(name.is_empty() || settings.len() == 1, "--kustomize={name} takes one --set");
        let mut changes = BTreeMap::new();
        for Setting { image, .. } in settings {
            let name = if name.is_empty() { image.name.clone() } else { name.to_owned() };
            let change = kustomize::Change::to_image(&name, &image);
            if changes.insert(name.clone(), change.clone()).is_some_and(|other| other != change) {
                bail!("--set gives the entry {name} two images");
            }
        }
        Ok(Self::Kustomize(changes))
    }

    pub(super) fn helm(key: KeyPath, settings: Vec<Setting>) -> anyhow::Result<Self> {
        Ok(Self::Helm { key, image: only(settings, "--helm")? })
    }

    pub(super) fn path(
        path: KeyPath,
        document: Option<DocumentSelector>,
        part: PartArg,
        settings: Vec<Setting>,
    ) -> anyhow::Result<Self> {
        let image = only(settings, "--yaml-path")?;
        let part = match part {
            PartArg::Image => Part::Image,
            PartArg::Name => Part::Name,
            PartArg::Tag => Part::Tag,
            PartArg::Digest => Part::Digest,
            PartArg::TagAndDigest => Part::TagAndDigest,
        };
        let text =
            part.render(&image).ok().with_context(|| format!("{image} has no digest for --part digest"))?;
        Ok(Self::Path { path, document, text })
    }

    /// Whether places are found by their markers.
    pub(super) fn is_markers(&self) -> bool {
        matches!(self, Wanted::Markers(_))
    }

    /// The policies whose markers are written.
    pub(super) fn policies(&self) -> impl Iterator<Item = &ObjectKey> {
        let images = match self {
            Wanted::Markers(images) => Some(images),
            Wanted::Kustomize(_) | Wanted::Helm { .. } | Wanted::Path { .. } => None,
        };
        images.into_iter().flat_map(BTreeMap::keys)
    }
}

fn only(settings: Vec<Setting>, kind: &str) -> anyhow::Result<ImageRef> {
    let count = settings.len();
    match <[Setting; 1]>::try_from(settings) {
        Ok([setting]) => Ok(setting.image),
        Err(_) => bail!("{kind} takes one --set, not {count}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, policy, name, tag, has_digest) in [
            ("apps:web=ghcr.io/org/web:1.0".to_owned(), Some("apps/web"), "ghcr.io/org/web", "1.0", false),
            ("localhost:5000/web:1.0".to_owned(), None, "localhost:5000/web", "1.0", false),
            (format!("a:b=nginx:1.27@{digest}"), Some("a/b"), "nginx", "1.27", true),
        ] {
            let setting: Setting = text.parse().unwrap();
            assert_eq!(setting.policy.map(|policy| policy.to_string()).as_deref(), policy, "{text}");
            assert_eq!((setting.image.name.as_str(), setting.image.tag.as_str()), (name, tag), "{text}");
            assert_eq!(setting.image.digest.is_some(), has_digest, "{text}");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for text in [
            "",
            "web",
            "localhost:5000/web",
            "web:",
            "web:a b",
            "apps=web:1",
            "a:b:tag=web:1",
            ":b=web:1",
            "a:=web:1",
            "a:b=web@sha256:00",
            "a:b=https://x/web:1",
            "a:b=Web:1",
            "a:b=web:1=2",
        ] {
            assert!(text.parse::<Setting>().is_err(), "{text}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let settings =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Setting>>();
        assert!(Wanted::markers(settings(&["a:b=x:1", "a:b=x:2"])).is_err());
        assert!(Wanted::markers(settings(&["a:b=x:1", "a:b=x:1"])).is_ok());
        assert!(Wanted::markers(settings(&["x:1"])).is_err());
        assert!(Wanted::kustomize("", settings(&["x:1", "x:2"])).is_err());
        assert!(Wanted::kustomize("", settings(&["x:1", "y:2"])).is_ok());
        assert!(Wanted::kustomize("x", settings(&["x:1", "y:2"])).is_err());
        assert!(Wanted::helm("image".parse().unwrap(), settings(&["x:1", "y:2"])).is_err());
        assert!(Wanted::path("image".parse().unwrap(), None, PartArg::Digest, settings(&["x:1"])).is_err());
    }
}
