//! Whose document it is: API groups, versions and kinds. Owns the table of what is loaded, what is ignored and what
//! is a mistake; it never reads a field beyond `apiVersion`, `kind` and `items`.

use super::fields::{quoted, shown};
use super::nearest::nearest;
use super::node::{Node, Value};
use crate::name::Kind;

/// Kinds that belong to Flux's image API alone: in any other group they are a misspelt group.
const IMAGE_KINDS: [Kind; 3] = [Kind::ImageRepository, Kind::ImagePolicy, Kind::ImageUpdateAutomation];

/// One API group that Windlass loads kinds of.
struct Group {
    /// Empty for the core group.
    name: &'static str,
    versions: &'static [&'static str],
    kinds: &'static [Kind],
    /// Whether a kind that is not listed is a mistake. The other groups have kinds for other controllers.
    closed: bool,
}

/// Every group, with the versions that are accepted from files. The first version is the one to write.
const GROUPS: [Group; 5] = [
    Group {
        name: "image.toolkit.fluxcd.io",
        versions: &["v1", "v1beta2"],
        kinds: &IMAGE_KINDS,
        closed: true,
    },
    Group {
        name: "source.toolkit.fluxcd.io",
        versions: &["v1", "v1beta2"],
        kinds: &[Kind::GitRepository],
        closed: false,
    },
    Group {
        name: "notification.toolkit.fluxcd.io",
        versions: &["v1"],
        kinds: &[Kind::Receiver],
        closed: false,
    },
    Group {
        name: "windlass.dev",
        versions: &["v1alpha1"],
        kinds: &[Kind::Notifier, Kind::Guard],
        closed: true,
    },
    Group { name: "", versions: &["v1"], kinds: &[Kind::Secret, Kind::Namespace], closed: false },
];

impl Group {
    /// The `apiVersion` to write.
    fn api_version(&self) -> String {
        join(self.name, self.versions[0])
    }

    fn kind_names(&self) -> Vec<&'static str> {
        self.kinds.iter().map(|kind| kind.as_str()).collect()
    }
}

/// What to do with a document.
pub(super) enum Identity<'n> {
    /// Load it.
    Ours { kind: Kind, version: &'static str },
    /// Each item is a document.
    List(&'n [Node]),
    /// Another controller's: counted under this name. The remark is a warning.
    Foreign { name: String, remark: Option<String> },
    /// Nothing, or not a Kubernetes object: Helm values, a kustomization without a kind.
    NotAResource,
    /// A mistake at this field.
    Mistake { field: &'static str, message: String },
}

/// Tells whose document this is.
pub(super) fn identify(root: &Node) -> Identity<'_> {
    let text = |key| root.get(key).and_then(Node::scalar);
    match (text("apiVersion"), text("kind")) {
        (Some(api_version), Some(kind)) => of_kind(root, api_version, kind),
        (None, Some(kind)) => match group_of(kind) {
            Some(group) => Identity::Mistake {
                field: "apiVersion",
                message: format!("is required: for the kind {kind} write `{}`", group.api_version()),
            },
            None => Identity::NotAResource,
        },
        (Some(api_version), None) => match group_named(split(api_version).0) {
            Some(group) if group.closed => Identity::Mistake {
                field: "kind",
                message: format!("is required: one of {}", quoted(group.kind_names().into_iter())),
            },
            _ => Identity::NotAResource,
        },
        (None, None) => Identity::NotAResource,
    }
}

/// Whether a text that does not parse seems to hold something of ours.
pub(super) fn mentions_our_groups(text: &str) -> bool {
    GROUPS.iter().filter(|group| !group.name.is_empty()).any(|group| text.contains(group.name))
}

fn of_kind<'n>(root: &'n Node, api_version: &str, kind: &str) -> Identity<'n> {
    let (group_name, version) = split(api_version);
    if api_version == "v1" && kind == "List" {
        return match root.get("items").map(|items| &items.value) {
            Some(Value::Seq(items)) => Identity::List(items),
            Some(Value::Map(_)) => Identity::Mistake { field: "items", message: "must be a list".to_owned() },
            _ => Identity::List(&[]),
        };
    }
    let Some(group) = group_named(group_name) else { return foreign(group_name, kind) };
    let Some(known) = group.kinds.iter().find(|known| known.as_str() == kind) else {
        return other_kind(group, kind);
    };
    match group.versions.iter().find(|known| **known == version) {
        Some(version) => Identity::Ours { kind: *known, version },
        None => Identity::Mistake {
            field: "apiVersion",
            message: format!(
                "`{}` is not a version of {kind} that is supported: write `{}`",
                shown(api_version),
                group.api_version()
            ),
        },
    }
}

fn other_kind(group: &Group, kind: &str) -> Identity<'static> {
    let names = group.kind_names();
    let guess = nearest(kind, &names);
    if group.closed {
        let hint = match guess {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("its kinds are {}", quoted(names.into_iter())),
        };
        let message = format!("`{}` is not a kind of {}; {hint}", shown(kind), group.name);
        return Identity::Mistake { field: "kind", message };
    }
    let remark = guess.map(|name| format!("`{}` is ignored; did you mean `{name}`?", shown(kind)));
    Identity::Foreign { name: qualified(group.name, kind), remark }
}

fn foreign(group_name: &str, kind: &str) -> Identity<'static> {
    let name = qualified(group_name, kind);
    let remark = IMAGE_KINDS.iter().find(|known| known.as_str() == kind).map(|kind| {
        format!(
            "{kind} of the group `{}` is ignored; Flux's is `{}`",
            shown(group_name),
            GROUPS[0].api_version()
        )
    });
    Identity::Foreign { name, remark }
}

/// The non-core group that has this kind.
fn group_of(kind: &str) -> Option<&'static Group> {
    GROUPS
        .iter()
        .find(|group| !group.name.is_empty() && group.kinds.iter().any(|known| known.as_str() == kind))
}

fn group_named(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

fn split(api_version: &str) -> (&str, &str) {
    api_version.rsplit_once('/').unwrap_or(("", api_version))
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// `Deployment.apps`, as kubectl writes it.
fn qualified(group: &str, kind: &str) -> String {
    let kind = shown(kind);
    if group.is_empty() { kind } else { format!("{kind}.{}", shown(group)) }
}

#[cfg(test)]
mod tests {
    use super::super::node::Documents;
    use super::*;

    fn told(text: &str) -> String {
        let document = Documents::new(text).next().unwrap().unwrap();
        match identify(&document.root) {
            Identity::Ours { kind, version } => format!("{kind} {version}"),
            Identity::List(items) => format!("list of {}", items.len()),
            Identity::Foreign { name, remark } => format!("foreign {name} {}", remark.unwrap_or_default()),
            Identity::NotAResource => "not a resource".to_owned(),
            Identity::Mistake { field, message } => format!("{field} {message}"),
        }
    }

    #[test]
    fn documents_are_told_apart() {
        for (text, expected) in [
            ("{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImagePolicy}", "ImagePolicy v1"),
            ("{apiVersion: image.toolkit.fluxcd.io/v1beta2, kind: ImagePolicy}", "ImagePolicy v1beta2"),
            ("{apiVersion: v1, kind: Secret}", "Secret v1"),
            ("{apiVersion: v1, kind: List, items: [{}, {}]}", "list of 2"),
            ("{apiVersion: v1, kind: List}", "list of 0"),
            ("{apiVersion: v1, kind: ConfigMap}", "foreign ConfigMap "),
            ("{apiVersion: apps/v1, kind: Deployment}", "foreign Deployment.apps "),
            (
                "{apiVersion: source.toolkit.fluxcd.io/v1, kind: OCIRepository}",
                "foreign OCIRepository.source.toolkit.fluxcd.io ",
            ),
            ("{replicaCount: 1}", "not a resource"),
            ("{resources: [a.yaml]}", "not a resource"),
            ("just text", "not a resource"),
            ("[a, b]", "not a resource"),
            ("~", "not a resource"),
            ("{kind: Deployment}", "not a resource"),
            ("{apiVersion: v1}", "not a resource"),
            ("{apiVersion: v1, kind: [x]}", "not a resource"),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn misspelt_groups_versions_and_kinds_are_told_with_what_to_write() {
        for (text, expected) in [
            (
                "{apiVersion: image.toolkit.fluxcd.io/v1beta1, kind: ImagePolicy}",
                "apiVersion `image.toolkit.fluxcd.io/v1beta1` is not a version of ImagePolicy that is supported: \
                 write `image.toolkit.fluxcd.io/v1`",
            ),
            (
                "{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImagePolicyy}",
                "kind `ImagePolicyy` is not a kind of image.toolkit.fluxcd.io; did you mean `ImagePolicy`?",
            ),
            (
                "{apiVersion: windlass.dev/v1alpha1, kind: Gadget}",
                "kind `Gadget` is not a kind of windlass.dev; its kinds are `Notifier`, `Guard`",
            ),
            (
                "{apiVersion: notification.toolkit.fluxcd.io/v1, kind: Reciever}",
                "foreign Reciever.notification.toolkit.fluxcd.io `Reciever` is ignored; did you mean `Receiver`?",
            ),
            (
                "{apiVersion: image.fluxcd.io/v1, kind: ImagePolicy}",
                "foreign ImagePolicy.image.fluxcd.io ImagePolicy of the group `image.fluxcd.io` is ignored; \
                 Flux's is `image.toolkit.fluxcd.io/v1`",
            ),
            (
                "{kind: Receiver}",
                "apiVersion is required: for the kind Receiver write `notification.toolkit.fluxcd.io/v1`",
            ),
            ("{apiVersion: windlass.dev/v1alpha1}", "kind is required: one of `Notifier`, `Guard`"),
            ("{apiVersion: v1, kind: List, items: {}}", "items must be a list"),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
