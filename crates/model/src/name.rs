//! Names of resources: kind, namespace, name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kinds that Windlass loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `image.toolkit.fluxcd.io`
    ImageRepository,
    /// `image.toolkit.fluxcd.io`
    ImagePolicy,
    /// `image.toolkit.fluxcd.io`
    ImageUpdateAutomation,
    /// `source.toolkit.fluxcd.io`
    GitRepository,
    /// `notification.toolkit.fluxcd.io`
    Receiver,
    /// `windlass.dev`
    Notifier,
    /// `windlass.dev`; cluster-scoped, so its name is both parts of its key.
    Guard,
    /// core `v1`
    Secret,
    /// core `v1`
    Namespace,
}

impl Kind {
    /// Every kind, in the order in which `check` and `status` list them.
    pub const ALL: [Kind; 9] = [
        Kind::ImageRepository,
        Kind::ImagePolicy,
        Kind::ImageUpdateAutomation,
        Kind::GitRepository,
        Kind::Receiver,
        Kind::Notifier,
        Kind::Guard,
        Kind::Secret,
        Kind::Namespace,
    ];

    /// The kind as it is written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ImageRepository => "ImageRepository",
            Kind::ImagePolicy => "ImagePolicy",
            Kind::ImageUpdateAutomation => "ImageUpdateAutomation",
            Kind::GitRepository => "GitRepository",
            Kind::Receiver => "Receiver",
            Kind::Notifier => "Notifier",
            Kind::Guard => "Guard",
            Kind::Secret => "Secret",
            Kind::Namespace => "Namespace",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = ParseRefError;

    /// Case-insensitive, and takes Flux's short names (`imagerepo`, `imagepolicy`, `iua`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "imagerepository" | "imagerepo" | "imgrepo" => Ok(Kind::ImageRepository),
            "imagepolicy" | "imgpol" | "imagepol" => Ok(Kind::ImagePolicy),
            "imageupdateautomation" | "iua" | "imgupd" | "imgauto" => Ok(Kind::ImageUpdateAutomation),
            "gitrepository" | "gitrepo" => Ok(Kind::GitRepository),
            "receiver" => Ok(Kind::Receiver),
            "notifier" => Ok(Kind::Notifier),
            "guard" => Ok(Kind::Guard),
            "secret" => Ok(Kind::Secret),
            "namespace" | "ns" => Ok(Kind::Namespace),
            _ => Err(ParseRefError::Kind(text.to_owned())),
        }
    }
}

/// A namespace and a name: identifies an object among those of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// The namespace; `default` where a manifest states none.
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl ObjectKey {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A kind, a namespace and a name: `ImagePolicy/apps/podinfo`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub key: ObjectKey,
}

impl ObjectRef {
    /// A reference from its parts.
    pub fn new(kind: Kind, key: ObjectKey) -> Self {
        Self { kind, key }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

impl FromStr for ObjectRef {
    type Err = ParseRefError;

    /// Parses `KIND/NAMESPACE/NAME`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(namespace), Some(name), None) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self::new(kind.parse()?, ObjectKey::new(namespace, name)))
            }
            _ => Err(ParseRefError::Shape(text.to_owned())),
        }
    }
}

/// Why a text is not an object reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRefError {
    /// Not three parts.
    #[error("`{0}` is not KIND/NAMESPACE/NAME, for example ImageRepository/apps/podinfo")]
    Shape(String),
    /// The kind is not one that Windlass loads.
    #[error("unknown kind `{0}`")]
    Kind(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_ref_round_trips_and_rejects_other_shapes() {
        let parsed: ObjectRef = "imagerepository/apps/podinfo".parse().unwrap();
        assert_eq!(parsed.to_string(), "ImageRepository/apps/podinfo");
        assert_eq!("apps/podinfo".parse::<ObjectRef>(), Err(ParseRefError::Shape("apps/podinfo".into())));
        assert_eq!("pod/apps/x".parse::<ObjectRef>(), Err(ParseRefError::Kind("pod".into())));
    }
}
