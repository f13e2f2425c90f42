//! The image of a chart in its values, by the key that holds it.

use windlass_model::ImageRef;
use windlass_model::image::ImageName;
use windlass_model::place::Part;

use crate::declared::{Standing, reference};
use crate::grow::add_pair;
use crate::path::KeyPath;
use crate::refusal::{Refusal, RefusalCause};
use crate::revise::{Edited, Revision, only_document, revise, set};
use crate::spot::{Spot, identity};

/// The registry that charts write for Docker Hub.
const DOCKER_HUB: &str = "docker.io";

/// Writes the image at `key`, in the shape that is there:
///
/// * `image: name:tag`: a single value holds the whole image. A key that ends in `tag`, `digest`, `repository` or `name`
///   holds that part alone (`imageTag`, `image.tag`); a tag then takes the digest with it, as `tag@digest`.
/// * `image: {repository, tag}`: with `registry`, the name is split; with `digest`, the digest goes there, and an image
///   without one empties it. Without `digest`, the tag is written as `tag@digest`, which charts join to the same image.
///   `name` may stand for `repository`. A missing `tag` is added; nothing else is.
pub fn edit(bytes: &[u8], key: &KeyPath, image: &ImageRef) -> Result<Edited, Refusal> {
    revise(bytes, |text| {
        let document = only_document(text)?.ok_or_else(|| RefusalCause::Empty.at(1))?;
        let spot = Spot::root(&document).follow(key)?;
        if spot.node.pairs().is_some() {
            next_of_mapping(text, &spot, image)
        } else {
            let wanted = single_value(&spot, key, image)?;
            write(text, &spot, &wanted)
        }
    })
}

/// What stands at `key`; where several fields hold the image, as one reference.
pub(crate) fn read(text: &str, key: &KeyPath, own: &str) -> Result<Standing, Refusal> {
    let document = only_document(text)?.ok_or_else(|| RefusalCause::Empty.at(1))?;
    let spot = Spot::root(&document).follow(key)?;
    let (line, object) = (spot.node.line, identity(&document.root));
    if spot.node.pairs().is_none() {
        let value = spot.node.text().ok_or_else(|| spot.wrong_kind("an image"))?.to_owned();
        return Ok(Standing { line, part: single_part(&spot, key)?, value, object });
    }
    let says = |key: &str| -> Result<Option<String>, Refusal> {
        let spot = spot.child(key)?.filter(|spot| !spot.node.is_null());
        Ok(spot.and_then(|spot| spot.node.text().map(str::to_owned)).filter(|text| !text.is_empty()))
    };
    let (registry, repository, tag, digest) =
        (says("registry")?, says("repository")?, says("tag")?, says("digest")?);
    if repository.is_none() && spot.child("tag")?.is_none() && spot.child("digest")?.is_none() {
        return Err(RefusalCause::NotAnImage { path: spot.name() }.at(line));
    }
    let name = match (registry, repository.map_or_else(|| says("name"), |name| Ok(Some(name)))?) {
        (Some(registry), Some(name)) => format!("{registry}/{name}"),
        (None, Some(name)) => name,
        // Only the tag is here: the name stands elsewhere, and is not ours to compare.
        (_, None) => own.to_owned(),
    };
    let value = reference(&name, tag.as_deref(), digest.as_deref(), own);
    Ok(Standing { line, part: Part::Image, value, object })
}

/// The text of a value that stands alone.
fn single_value(spot: &Spot<'_, '_>, key: &KeyPath, image: &ImageRef) -> Result<String, Refusal> {
    let part = single_part(spot, key)?;
    part.render(image).map_err(|_| RefusalCause::NoDigest { path: spot.name() }.at(spot.node.line))
}

/// Which part of the image a value holds that stands alone, by its key.
fn single_part(spot: &Spot<'_, '_>, key: &KeyPath) -> Result<Part, Refusal> {
    let key = key.last_key().unwrap_or_default().to_ascii_lowercase();
    Ok(match key.as_str() {
        key if key.ends_with("tag") => Part::TagAndDigest,
        key if key.ends_with("digest") => Part::Digest,
        key if key.ends_with("repository") || key.ends_with("name") => Part::Name,
        key if key.ends_with("registry") => {
            return Err(RefusalCause::NotAnImage { path: spot.name() }.at(spot.node.line));
        }
        _ => Part::Image,
    })
}

fn next_of_mapping(text: &str, image: &Spot<'_, '_>, wanted: &ImageRef) -> Result<Option<Revision>, Refusal> {
    let repository = image.child("repository")?;
    let (registry, tag, digest) = (image.child("registry")?, image.child("tag")?, image.child("digest")?);
    if repository.is_none() && tag.is_none() && digest.is_none() {
        return Err(RefusalCause::NotAnImage { path: image.name() }.at(image.node.line));
    }
    let name = if repository.is_some() { repository } else { image.child("name")? };
    let names = match (&registry, &name) {
        (Some(registry), Some(name)) => split_name(registry, name, &wanted.name),
        _ => (None, Some(wanted.name.clone())),
    };
    let part = if digest.is_some() { Part::Tag } else { Part::TagAndDigest };
    let tag_text = part.render(wanted).unwrap_or_else(|_| wanted.tag.to_string());
    let digest_text = wanted.digest.as_ref().map(ToString::to_string).unwrap_or_default();
    let texts = [
        (registry, names.0),
        (name, names.1),
        (tag.clone(), Some(tag_text.clone())),
        (digest, Some(digest_text)),
    ];
    for (spot, wanted) in texts {
        let (Some(spot), Some(wanted)) = (spot, wanted) else { continue };
        // No digest, in whichever way it is said, stays said that way.
        if wanted.is_empty() && spot.node.is_null() {
            continue;
        }
        if let Some(revision) = write(text, &spot, &wanted)? {
            return Ok(Some(revision));
        }
    }
    if tag.is_none() { add_pair(text, image, "tag", &tag_text).map(Some) } else { Ok(None) }
}

/// What registry and repository are to say. They stay where together they name the image already, in another spelling;
/// an empty registry stays empty.
fn split_name(
    registry: &Spot<'_, '_>,
    name: &Spot<'_, '_>,
    wanted: &str,
) -> (Option<String>, Option<String>) {
    let text = |spot: &Spot<'_, '_>| {
        let text = spot.node.text().filter(|_| !spot.node.is_null());
        text.unwrap_or_default().to_owned()
    };
    let (registry, name) = (text(registry), text(name));
    if registry.is_empty() {
        return (None, Some(wanted.to_owned()));
    }
    let parsed = ImageName::parse(wanted);
    if parsed.is_ok() && ImageName::parse(&format!("{registry}/{name}")) == parsed {
        return (None, None);
    }
    // A first part without dot or port is no registry: the image is of Docker Hub.
    let has_registry = |first: &str| first.contains(['.', ':']) || first == "localhost";
    match wanted.split_once('/') {
        Some((host, rest)) if has_registry(host) => (Some(host.to_owned()), Some(rest.to_owned())),
        _ => (Some(DOCKER_HUB.to_owned()), Some(wanted.to_owned())),
    }
}

/// A step that writes the text, unless it is there and is text: `tag: 1.20` is a number to Helm.
fn write(text: &str, spot: &Spot<'_, '_>, wanted: &str) -> Result<Option<Revision>, Refusal> {
    if spot.node.text() == Some(wanted) && spot.is_text() {
        return Ok(None);
    }
    set(text, spot, wanted).map(Some)
}
