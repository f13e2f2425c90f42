//! What an audit entry is about, beside its object: by these it is found.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use windlass_model::{ImageName, ObjectRef};

const EVENT: &str = "event ";
const COMMIT: &str = "commit ";
const IMAGE: &str = "image ";

/// Something that audit entries are about. Its text is stored and shown: `event ID`, `commit ID`,
/// `image REGISTRY/REPOSITORY`, or `KIND/NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// A resource.
    Object(ObjectRef),
    /// An event, by its visible id.
    Event(String),
    /// A commit, by its full object id.
    Commit(String),
    /// An image, whatever its tag.
    Image(ImageName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Object(object) => object.fmt(f),
            Subject::Event(event) => write!(f, "{EVENT}{event}"),
            Subject::Commit(commit) => write!(f, "{COMMIT}{commit}"),
            Subject::Image(image) => write!(f, "{IMAGE}{image}"),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(event) = text.strip_prefix(EVENT) {
            return Ok(Subject::Event(event.to_owned()));
        }
        if let Some(commit) = text.strip_prefix(COMMIT) {
            return Ok(Subject::Commit(commit.to_owned()));
        }
        if let Some(image) = text.strip_prefix(IMAGE) {
            return ImageName::parse(image).map(Subject::Image).map_err(|error| error.to_string());
        }
        text.parse::<ObjectRef>().map(Subject::Object).map_err(|error| error.to_string())
    }
}

impl TryFrom<String> for Subject {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

/// The first text of a commit's subject that begins with `prefix`, and the first that no longer does.
pub(crate) fn commit_range(prefix: &str) -> (String, String) {
    // Object ids are lower-case hexadecimal: `g` comes after all of them.
    (format!("{COMMIT}{prefix}"), format!("{COMMIT}{prefix}g"))
}

/// The commit's id in a subject's text.
pub(crate) fn commit_of(text: &str) -> Option<&str> {
    text.strip_prefix(COMMIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_model::{Kind, ObjectKey};

    #[test]
    fn subjects_come_back_as_they_went_in() {
        for subject in [
            Subject::Object(ObjectRef::new(Kind::ImagePolicy, ObjectKey::new("apps", "podinfo"))),
            Subject::Event("harbor-1 2".to_owned()),
            Subject::Commit("0123".to_owned()),
            Subject::Image(ImageName::parse("podinfo").unwrap()),
            Subject::Image(ImageName::parse("localhost:5000/team/podinfo").unwrap()),
        ] {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        for bad in ["", "image ", "image Up/Case:1", "Unheard/apps/podinfo", "apps/podinfo"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}
