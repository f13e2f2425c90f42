//! What an ImageUpdateAutomation declares by annotations beyond its markers: edits of places without a marker, and which
//! files are Helm templates. The edits are a list in YAML inside the annotation's text; what it says is reported at its own
//! lines.

use super::Semantics;
use super::fields::Slot;
use super::node::{Documents, Node};
use super::object::Object;
use crate::name::ObjectKey;
use crate::place::Part;
use crate::resource::{DeclaredEdit, EditKind};

/// More than any automation needs; each costs a look in every round.
const MAX_EDITS: usize = 500;
/// Fields of an edit.
const EDIT: &[&str] = &["path", "type", "key", "policy", "part", "document"];
/// Which part of the image a path takes, in the words of `windlass edit --part`.
const PARTS: [(&str, Part); 5] = [
    ("image", Part::Image),
    ("name", Part::Name),
    ("tag", Part::Tag),
    ("digest", Part::Digest),
    ("tag@digest", Part::TagAndDigest),
];

/// The type of an edit, in the words of `windlass edit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Kustomize,
    Helm,
    YamlPath,
}

/// `windlass.dev/edits`: `[{path, type, key, policy}]`, of files at or below `update_path`.
pub(super) fn edits(slot: &Slot<'_>, object: &Object<'_>, update_path: &str) -> Vec<DeclaredEdit> {
    embedded(slot, MAX_EDITS, |item| edit(item, object, update_path))
}

/// `windlass.dev/templates`: patterns of paths from the repository's root, comma-separated. None has a comma of its own.
pub(super) fn templates(slot: &Slot<'_>, semantics: &dyn Semantics) -> Vec<String> {
    let patterns = slot.text().unwrap_or_default().split(',').map(str::trim);
    patterns.filter(|text| slot.check(semantics.path_pattern(text)).is_some()).map(str::to_owned).collect()
}

/// The items of the list that an annotation's text is.
fn embedded<T>(slot: &Slot<'_>, max: usize, item: impl Fn(&Slot<'_>) -> Option<T>) -> Vec<T> {
    let Some(text) = slot.filled_text() else { return Vec::new() };
    let mut documents = Documents::new(text);
    let root = match (documents.next(), documents.next()) {
        (Some(Ok(document)), None) => {
            for note in &document.notes {
                slot.error(format_args!("line {} of the annotation: {}", note.line, note.message));
            }
            placed(document.root, slot.line(), text.contains('\n'))
        }
        (Some(Err(broken)), _) => {
            slot.error(format_args!("is not valid YAML: line {} of the annotation: {broken}", broken.line));
            return Vec::new();
        }
        _ => {
            slot.error("must be one list in YAML");
            return Vec::new();
        }
    };
    slot.within(&root).list(max).unwrap_or_default().iter().filter_map(item).collect()
}

/// Lines of the file instead of the annotation's own: a text of several lines begins below its key.
fn placed(mut root: Node, line: usize, several: bool) -> Node {
    root.move_lines(&|own| if several { line + own } else { line });
    root
}

fn edit(slot: &Slot<'_>, object: &Object<'_>, update_path: &str) -> Option<DeclaredEdit> {
    let fields = slot.fields(EDIT)?;
    let path = fields.required("path").and_then(|slot| path(&slot, update_path));
    let policy = fields.required("policy").and_then(|slot| policy(&slot, object.namespace()));
    let kind = fields.required("type").and_then(|slot| {
        slot.choice(&[("kustomize", Type::Kustomize), ("helm", Type::Helm), ("yaml-path", Type::YamlPath)])
    })?;
    for name in ["part", "document"].into_iter().filter(|_| kind != Type::YamlPath) {
        if let Some(slot) = fields.slot(name) {
            slot.error("has a meaning only for the type `yaml-path`: remove it");
        }
    }
    let key_path = |slot: Slot<'_>| {
        let text = slot.filled_text()?;
        slot.check(object.semantics.key_path(text)).map(|()| text.to_owned())
    };
    let kind = match kind {
        Type::Kustomize => {
            let name = fields.slot("key").map(|slot| slot.filled_text().map(str::to_owned));
            EditKind::Kustomize { name: name.flatten() }
        }
        Type::Helm => EditKind::Helm { key: fields.required("key").and_then(key_path)? },
        Type::YamlPath => {
            let part = fields.slot("part").map_or(Some(Part::Image), |slot| slot.choice(&PARTS));
            let document = fields.slot("document").and_then(|slot| {
                let text = slot.filled_text()?;
                slot.check(object.semantics.document_selector(text)).map(|()| text.to_owned())
            });
            EditKind::YamlPath { key: fields.required("key").and_then(key_path)?, part: part?, document }
        }
    };
    Some(DeclaredEdit { path: path?, policy: policy?, kind })
}

/// A file's path from the repository's root, at or below the automation's own.
fn path(slot: &Slot<'_>, update_path: &str) -> Option<String> {
    let names: Vec<&str> = slot.filled_text()?.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    let path = names.join("/");
    if names.contains(&"..") || names.is_empty() {
        slot.error("must name a file inside the repository: write a path from its root without `..`");
        return None;
    }
    let below = path.strip_prefix(update_path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !update_path.is_empty() && !below {
        slot.error(format_args!("must be at or below spec.update.path, which is `{update_path}`"));
        return None;
    }
    Some(path)
}

/// A policy of the automation's namespace: its name alone, or as a marker names it.
fn policy(slot: &Slot<'_>, own: &str) -> Option<ObjectKey> {
    let text = slot.filled_text()?;
    let (namespace, name) = text.split_once(':').unwrap_or((own, text));
    if namespace != own {
        slot.error(format_args!("must be a policy of the automation's own namespace `{own}`"));
        return None;
    }
    if name.is_empty() || name.contains(':') {
        slot.error("must be a policy's name, or NAMESPACE:NAME; the part of the image is in `key` or `part`");
        return None;
    }
    Some(ObjectKey::new(namespace, name))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, only};
    use super::*;
    use crate::resource::ImageUpdateAutomation;

    /// An automation with this annotation, whose text begins on line 8.
    fn with(annotation: &str, text: &str) -> String {
        let text = text.lines().map(|line| format!("      {line}")).collect::<Vec<_>>().join("\n");
        format!(
            "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\nmetadata:\n  name: app\n  \
             namespace: apps\n  annotations:\n    {annotation}: |\n{text}\nspec:\n  sourceRef: {{kind: GitRepository, \
             name: fleet}}\n  interval: 30m\n  git: {{commit: {{author: {{email: a@b.c}}}}}}\n  \
             update: {{path: clusters}}\n"
        )
    }

    fn automation(annotation: &str, text: &str) -> ImageUpdateAutomation {
        only(&with(annotation, text)).automations.values().next().unwrap().as_ref().clone()
    }

    #[test]
    fn edits_of_every_type_are_read() {
        let text = "- {path: ./clusters/kustomization.yaml, type: kustomize, policy: web}\n\
                    - {path: clusters/kustomization.yaml, type: kustomize, key: app, policy: 'apps:app'}\n\
                    - {path: clusters/values.yaml, type: helm, key: image, policy: web}\n\
                    - path: clusters/job.yaml\n  type: yaml-path\n  key: spec.image\n  policy: web\n  \
                    part: tag@digest\n  document: Job/web\n";
        let web = || ObjectKey::new("apps", "web");
        let kustomization = || "clusters/kustomization.yaml".to_owned();
        let edits = automation("windlass.dev/edits", text).edits;
        let job = EditKind::YamlPath {
            key: "spec.image".into(),
            part: Part::TagAndDigest,
            document: Some("Job/web".into()),
        };
        assert_eq!(
            edits,
            [
                DeclaredEdit {
                    path: kustomization(),
                    policy: web(),
                    kind: EditKind::Kustomize { name: None }
                },
                DeclaredEdit {
                    path: kustomization(),
                    policy: ObjectKey::new("apps", "app"),
                    kind: EditKind::Kustomize { name: Some("app".into()) },
                },
                DeclaredEdit {
                    path: "clusters/values.yaml".into(),
                    policy: web(),
                    kind: EditKind::Helm { key: "image".into() },
                },
                DeclaredEdit { path: "clusters/job.yaml".into(), policy: web(), kind: job },
            ]
        );
        let templates = automation("windlass.dev/templates", "charts/*/templates/**, *.tpl").templates;
        assert_eq!(templates, ["charts/*/templates/**", "*.tpl"]);
    }

    #[test]
    fn each_mistake_is_told_at_its_line_and_field() {
        let field = |rest: &str| format!("metadata.annotations.windlass.dev/edits{rest}");
        for (text, line, rest, words) in [
            ("- {path: clusters/a.yaml, type: helm, policy: web}", 8, "[0].key", "is required"),
            ("\n- {type: helm, key: image, policy: web}", 9, "[0].path", "is required"),
            ("- {path: ../a, type: helm, key: image, policy: web}", 8, "[0].path", "without `..`"),
            ("- {path: other/a, type: helm, key: image, policy: web}", 8, "[0].path", "spec.update.path"),
            ("- {path: clusters2/a, type: helm, key: image, policy: web}", 8, "[0].path", "spec.update.path"),
            ("- {path: clusters/a, type: chart, key: image, policy: web}", 8, "[0].type", "`kustomize`"),
            ("- {path: clusters/a, type: helm, key: 'a[', policy: web}", 8, "[0].key", "bracket"),
            ("- {path: clusters/a, type: helm, key: a, part: tag, policy: web}", 8, "[0].part", "yaml-path"),
            ("- {path: clusters/a, type: helm, key: a, policy: 'x:web'}", 8, "[0].policy", "own namespace"),
            ("- {path: clusters/a, type: helm, key: a, policy: 'apps:web:tag'}", 8, "[0].policy", "`part`"),
            ("- {path: clusters/a, type: helm, keys: a, policy: web}", 8, "[0].keys", "did you mean `key`?"),
            ("- [", 7, "", "is not valid YAML"),
            ("path: a", 8, "", "must be a list"),
        ] {
            let document = with("windlass.dev/edits", text);
            assert!(
                found(&document, line, &field(rest), words),
                "{text}: {:?}",
                super::super::testing::problems(&document)
            );
        }
        let templates = with("windlass.dev/templates", "a[b], x/**, c[d]\n");
        for wrong in ["`a[b]` is not", "`c[d]` is not"] {
            assert!(found(&templates, 7, "metadata.annotations.windlass.dev/templates", wrong), "{wrong}");
        }
    }
}
