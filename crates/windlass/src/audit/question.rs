//! What somebody asks the audit about, read as people write it.

use std::fmt;

use anyhow::bail;
use windlass_model::{Digest, ImageName, Kind, ObjectKey, ObjectRef, Tag};

/// The fewest digits of a commit's id, as Git takes them.
const MIN_COMMIT: usize = 4;
/// A SHA-256 object id's digits.
const MAX_COMMIT: usize = 64;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    Everything,
    Object(ObjectRef),
    /// The first digits of a commit's id, in lower case.
    Commit(String),
    Image(ImageQuestion),
}

/// An image, of one tag or content where they are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageQuestion {
    pub(super) name: ImageName,
    pub(super) tag: Option<Tag>,
    pub(super) digest: Option<Digest>,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Everything => f.write_str("everything"),
            Question::Object(object) => object.fmt(f),
            Question::Commit(id) => write!(f, "commit {id}"),
            Question::Image(ImageQuestion { name, tag, digest }) => {
                write!(f, "image {name}")?;
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
                digest.iter().try_for_each(|digest| write!(f, "@{}", digest.as_str()))
            }
        }
    }
}

/// What the text can mean, the likeliest first: `apps/podinfo` is an ImageRepository, or an image of Docker Hub; `cafe` is
/// a commit, or another.
///
/// # Errors
/// It can mean nothing.
pub(super) fn readings(text: &str) -> anyhow::Result<Vec<Question>> {
    if let Ok(object) = text.parse() {
        return Ok(vec![Question::Object(object)]);
    }
    let mut readings = Vec::new();
    if (MIN_COMMIT..=MAX_COMMIT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        readings.push(Question::Commit(text.to_ascii_lowercase()));
    }
    if let Some((namespace, name)) = text.split_once('/')
        && !namespace.is_empty()
        && !name.is_empty()
        && !text.contains([':', '@'])
        && !name.contains('/')
    {
        readings
            .push(Question::Object(ObjectRef::new(Kind::ImageRepository, ObjectKey::new(namespace, name))));
    }
    readings.extend(image(text).map(Question::Image));
    if readings.is_empty() {
        bail!(
            "`{text}` is no image (ghcr.io/org/app:1.0.0), no NAMESPACE/NAME or KIND/NAMESPACE/NAME, and no commit \
             ({MIN_COMMIT} hexadecimal digits or more)"
        );
    }
    Ok(readings)
}

fn image(text: &str) -> Option<ImageQuestion> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(Digest::parse(digest).ok()?)),
        None => (text, None),
    };
    // A colon before the last slash is a port's.
    let colon = rest.rfind(':').filter(|colon| !rest[*colon..].contains('/'));
    let (name, tag) = match colon {
        Some(colon) => (&rest[..colon], Some(Tag::parse(&rest[colon + 1..]).ok()?)),
        None => (rest, None),
    };
    Some(ImageQuestion { name: ImageName::parse(name).ok()?, tag, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        readings(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn questions_are_read_as_people_write_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, wanted) in [
            ("ghcr.io/org/app", vec!["image ghcr.io/org/app"]),
            ("localhost:5000/app:1.0", vec!["image localhost:5000/app:1.0"]),
            ("imagepolicy/apps/podinfo", vec!["ImagePolicy/apps/podinfo"]),
            ("apps/podinfo", vec!["ImageRepository/apps/podinfo", "image index.docker.io/apps/podinfo"]),
            ("apps/podinfo:1.0", vec!["image index.docker.io/apps/podinfo:1.0"]),
            ("CAFE", vec!["commit cafe"]),
            ("cafe", vec!["commit cafe", "image index.docker.io/library/cafe"]),
            ("podinfo", vec!["image index.docker.io/library/podinfo"]),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
        assert_eq!(
            read(&format!("ghcr.io/org/app:1@{digest}")),
            [format!("image ghcr.io/org/app:1@{digest}")]
        );
    }

    #[test]
    fn what_can_mean_nothing_is_answered_with_what_could() {
        for bad in ["", "https://ghcr.io/org/app", "org/app@sha256:abc", "Org/App:1", "app:?"] {
            let error = readings(bad).unwrap_err().to_string();
            assert!(error.contains("ghcr.io/org/app:1.0.0"), "{bad}: {error}");
        }
    }
}
