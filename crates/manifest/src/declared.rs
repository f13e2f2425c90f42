//! Places that are declared instead of marked: an entry of a kustomization, the image of Helm values, a scalar by its
//! path. What stands there, as the text of one place, so that it can be compared like a marked one; and how it gets
//! another image.

use windlass_model::ImageRef;
use windlass_model::image::ImageName;
use windlass_model::place::{ObjectIdentifier, Part};

use crate::helm;
use crate::kustomize;
use crate::path::{self, DocumentSelector, KeyPath};
use crate::refusal::{Refusal, RefusalCause};
use crate::revise::Edited;
use crate::scan::text_of;

/// Where a place is in its file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Declaration {
    /// The entry of this name in a kustomization's `images`; one that is not there is added.
    Kustomize {
        /// `name` of the entry.
        name: String,
    },
    /// The image of Helm values.
    Helm {
        /// The way to it.
        key: KeyPath,
    },
    /// One scalar.
    Path {
        /// The way to it.
        path: KeyPath,
        /// Which document is meant, where the way alone does not say it.
        document: Option<DocumentSelector>,
        /// Which part of the image it holds.
        part: Part,
    },
}

/// What stands at a declared place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The line, counted from 1.
    pub line: usize,
    /// Which part of an image it holds: where several fields hold one, the whole image.
    pub part: Part,
    /// The text; where several fields hold the image, as one reference. Empty where nothing is there yet.
    pub value: String,
    /// The object that it is part of.
    pub object: ObjectIdentifier,
}

impl Declaration {
    /// What stands there. A name that means the image `own` in another spelling (`docker.io/library/nginx` for `nginx`)
    /// is given as `own`.
    pub fn read(&self, bytes: &[u8], own: &str) -> Result<Standing, Refusal> {
        let text = text_of(bytes)?;
        match self {
            Self::Kustomize { name } => kustomize::read(text, name, own),
            Self::Helm { key } => helm::read(text, key, own),
            Self::Path { path, document, part } => path::read(text, document.as_ref(), path, *part),
        }
    }

    /// Writes the image there; what is right already stays as it is.
    pub fn edit(&self, bytes: &[u8], image: &ImageRef) -> Result<Edited, Refusal> {
        match self {
            Self::Kustomize { name } => {
                kustomize::edit(bytes, name, &kustomize::Change::to_image(name, image))
            }
            Self::Helm { key } => helm::edit(bytes, key, image),
            Self::Path { path, document, part } => {
                let no_digest = |_| RefusalCause::NoDigest { path: path.to_string() }.at(1);
                path::edit(bytes, document.as_ref(), path, &part.render(image).map_err(no_digest)?)
            }
        }
    }
}

/// One reference of what several fields say.
pub(crate) fn reference(name: &str, tag: Option<&str>, digest: Option<&str>, own: &str) -> String {
    let own_name = ImageName::parse(own);
    let mut text = if own_name.is_ok() && ImageName::parse(name) == own_name { own } else { name }.to_owned();
    for (separator, part) in [(':', tag), ('@', digest)] {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            text.push(separator);
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use windlass_model::{Digest, Tag};

    use super::*;

    const OWN: &str = "ghcr.io/org/web";

    fn image(tag: &str, digest: bool) -> ImageRef {
        ImageRef {
            name: OWN.to_owned(),
            tag: Tag::parse(tag).unwrap(),
            digest: digest.then(|| Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap()),
        }
    }

    fn helm(key: &str) -> Declaration {
        Declaration::Helm { key: key.parse().unwrap() }
    }

    fn kustomize(name: &str) -> Declaration {
        Declaration::Kustomize { name: name.to_owned() }
    }

    fn by_path(path: &str, part: Part, document: Option<&str>) -> Declaration {
        let document = document.map(|text| text.parse().unwrap());
        Declaration::Path { path: path.parse().unwrap(), document, part }
    }

    #[test]
    fn what_stands_there_reads_as_one_place() {
        let kustomization = "kind: Kustomization\nimages:\n- name: web\n  newName: ghcr.io/org/web\n  newTag: 1.2.0\n- \
                             name: ghcr.io/org/web\n  digest: sha256:abc\n- name: bare\n";
        let values = "image:\n  registry: ghcr.io\n  repository: org/web\n  tag: 1.2.0\nhub: {repository: \
                      docker.io/library/nginx, tag: '1.27'}\nwhole: ghcr.io/org/web:1.2.0\nsidecar: {imageTag: 1.20}\n";
        let job = "kind: Job\nmetadata: {name: a}\nspec: {image: x:1}\n---\nkind: Job\nmetadata: {name: b}\nspec: {image: \
                   y:2}\n";
        for (declaration, text, own, line, part, value) in [
            (kustomize("web"), kustomization, OWN, 3, Part::Image, "ghcr.io/org/web:1.2.0"),
            (kustomize(OWN), kustomization, OWN, 6, Part::Image, "ghcr.io/org/web@sha256:abc"),
            (kustomize("bare"), kustomization, OWN, 8, Part::Image, "bare"),
            (kustomize("new"), kustomization, OWN, 1, Part::Image, ""),
            (kustomize("new"), "", OWN, 1, Part::Image, ""),
            (helm("image"), values, OWN, 2, Part::Image, "ghcr.io/org/web:1.2.0"),
            (helm("hub"), values, "nginx", 5, Part::Image, "nginx:1.27"),
            (helm("hub"), values, OWN, 5, Part::Image, "docker.io/library/nginx:1.27"),
            (helm("whole"), values, OWN, 6, Part::Image, "ghcr.io/org/web:1.2.0"),
            (helm("image.tag"), values, OWN, 4, Part::TagAndDigest, "1.2.0"),
            (helm("sidecar.imageTag"), values, OWN, 7, Part::TagAndDigest, "1.20"),
            (by_path("spec.image", Part::Image, Some("Job/b")), job, OWN, 7, Part::Image, "y:2"),
        ] {
            let standing = declaration.read(text.as_bytes(), own).unwrap();
            assert_eq!(
                (standing.line, standing.part, standing.value.as_str()),
                (line, part, value),
                "{declaration:?}"
            );
        }
    }

    #[test]
    fn places_that_cannot_be_found_are_refused() {
        for (declaration, text) in [
            (helm("image"), "other: 1\n"),
            (helm("image"), "image: {pullPolicy: Always}\n"),
            (helm("image.registry"), "image: {registry: ghcr.io}\n"),
            (helm("image"), "image: [\n"),
            (by_path("spec.image", Part::Image, None), "spec: {image: a}\n---\nspec: {image: b}\n"),
            (by_path("spec", Part::Image, None), "spec: {image: a}\n"),
            (by_path("image", Part::Image, None), "image: |\n  a:1\n"),
            (kustomize("web"), "images:\n- name: web\n- name: web\n"),
        ] {
            assert!(declaration.read(text.as_bytes(), OWN).is_err(), "{declaration:?} {text}");
        }
    }

    #[test]
    fn what_was_written_stands_there_and_writing_it_again_changes_nothing() {
        let values = "image: {repository: ghcr.io/org/web, tag: 1.0.0}\nimageTag: 1.20\n";
        for (declaration, text) in [
            (kustomize("web"), "resources: [a.yaml]\n"),
            (kustomize(OWN), "images:\n- name: ghcr.io/org/web\n  newTag: v1\n"),
            (helm("image"), values),
            (helm("imageTag"), values),
            (by_path("imageTag", Part::Tag, None), values),
            (by_path("image.tag", Part::TagAndDigest, None), values),
        ] {
            for image in [image("1.3.0", false), image("1.21", true)] {
                let edited = declaration.edit(text.as_bytes(), &image).unwrap();
                assert!(!edited.changes.is_empty());
                let standing = declaration.read(&edited.bytes, OWN).unwrap();
                assert_eq!(standing.part.render(&image).as_ref(), Ok(&standing.value), "{declaration:?}");
                assert_eq!(declaration.edit(&edited.bytes, &image).unwrap().changes, [], "{declaration:?}");
            }
        }
    }

    #[test]
    fn a_number_that_looks_right_is_written_again_as_text() {
        let standing = helm("tag").read(b"tag: 1.20\n", OWN).unwrap();
        assert_eq!(standing.value, "1.20");
        let edited = helm("tag").edit(b"tag: 1.20\n", &image("1.20", false)).unwrap();
        assert_eq!(edited.bytes, b"tag: \"1.20\"\n");
    }
}
