//! The text of a marker.
//!
//! Flux (image-automation-controller 1.2, kyaml's `fieldmeta`) strips `#` from the comment's start and takes the rest
//! as a JSON object with string values; other keys are allowed, text around the object is not.

use std::collections::BTreeMap;

use windlass_model::ObjectKey;
use windlass_model::place::{Marker, Part};

use crate::problem::ProblemCause;

const KEY: &str = "$imagepolicy";
/// How much of an unknown suffix is repeated in a message.
const MAX_SHOWN: usize = 64;

/// Reads a comment that contains `$imagepolicy`. `text` is what follows its first `#`; `own_line` says that nothing
/// but the comment is on the line.
pub(crate) fn parse(text: &str, own_line: bool) -> Result<Marker, ProblemCause> {
    match setter(text) {
        Ok(setter) => parse_setter(&setter),
        Err(_) if own_line && is_commented_out(text) => Err(ProblemCause::CommentedOut),
        Err(reason) => Err(ProblemCause::Malformed { reason }),
    }
}

/// The value of `$imagepolicy`.
fn setter(text: &str) -> Result<String, &'static str> {
    let object: BTreeMap<String, Option<String>> = serde_json::from_str(text.trim_start_matches('#').trim())
        .map_err(
            |_| "the whole comment must be one JSON object like {\"$imagepolicy\": \"namespace:name\"}",
        )?;
    match object.get(KEY) {
        Some(Some(setter)) if !setter.is_empty() => Ok(setter.clone()),
        _ => Err("the JSON object has no text for \"$imagepolicy\""),
    }
}

/// Whether the comment is a line of YAML with a marker, switched off by a `#` in front.
fn is_commented_out(text: &str) -> bool {
    text.rsplit_once('#').is_some_and(|(line, marker)| !line.trim().is_empty() && setter(marker).is_ok())
}

fn parse_setter(setter: &str) -> Result<Marker, ProblemCause> {
    let mut parts = setter.splitn(3, ':');
    let (Some(namespace), Some(name)) = (parts.next(), parts.next()) else {
        return Err(ProblemCause::Malformed { reason: "the policy must be written as namespace:name" });
    };
    if !is_object_name(namespace) || !is_object_name(name) {
        return Err(ProblemCause::Malformed {
            reason: "namespace and name must be names of Kubernetes objects",
        });
    }
    let part = match parts.next() {
        None => Part::Image,
        Some("tag") => Part::Tag,
        Some("name") => Part::Name,
        Some("digest") => Part::Digest,
        Some("tag@digest") => Part::TagAndDigest,
        Some(other) => {
            return Err(ProblemCause::UnknownSuffix { suffix: other.chars().take(MAX_SHOWN).collect() });
        }
    };
    Ok(Marker { policy: ObjectKey::new(namespace, name), part })
}

/// An RFC 1123 subdomain, as Kubernetes demands of these names.
fn is_object_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_that_flux_reads_are_read() {
        for (text, part) in [
            (r#" {"$imagepolicy": "ns:app"}"#, Part::Image),
            (r#"{"$imagepolicy":"ns:app:tag"}"#, Part::Tag),
            (r#"##	 {"$imagepolicy" : "ns:app:name"}	 "#, Part::Name),
            (r#" {"$imagepolicy": "ns:app:digest", "note": "kept by ops", "x": null}"#, Part::Digest),
            (r#" {"$imagepolicy": "ns:app:tag@digest"}"#, Part::TagAndDigest),
            (r#" {"$imagepolicy": "x", "$imagepolicy": "ns:app"}"#, Part::Image),
        ] {
            assert_eq!(
                parse(text, false),
                Ok(Marker { policy: ObjectKey::new("ns", "app"), part }),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_named() {
        for (text, own_line, kind) in [
            (r#" see {"$imagepolicy": "ns:app"}"#, false, "malformed"),
            (r#" {"$imagepolicy": "ns:app"} please"#, false, "malformed"),
            (" {'$imagepolicy': 'ns:app'}", false, "malformed"),
            (" {$imagepolicy: ns:app}", false, "malformed"),
            (r#" {"$imagepolicy": 1}"#, false, "malformed"),
            (r#" {"$imagepolicy": ""}"#, false, "malformed"),
            (r#" {"$imagepolicy": null}"#, false, "malformed"),
            (r#" {"other": "$imagepolicy"}"#, false, "malformed"),
            (r#" {"$imagepolicy": "app"}"#, false, "malformed"),
            (r#" {"$imagepolicy": "ns/app"}"#, false, "malformed"),
            (r#" {"$imagepolicy": ":app"}"#, false, "malformed"),
            (r#" {"$imagepolicy": "ns:"}"#, false, "malformed"),
            (r#" {"$imagepolicy": "Ns:app"}"#, false, "malformed"),
            (r#" {"$imagepolicy": "ns:app:"}"#, false, "unknown-suffix"),
            (r#" {"$imagepolicy": "ns:app:Tag"}"#, false, "unknown-suffix"),
            (r#" {"$imagepolicy": "ns:app:tag:x"}"#, false, "unknown-suffix"),
            (r#" image: a:1 # {"$imagepolicy": "ns:app"}"#, true, "commented-out"),
            (r#" image: a:1 # {"$imagepolicy": "ns:app"}"#, false, "malformed"),
            (r#" remove the "$imagepolicy" later"#, true, "malformed"),
        ] {
            assert_eq!(parse(text, own_line).map_err(|cause| cause.kind()), Err(kind), "{text}");
        }
    }
}
