//! Files put together. Owns the rule for objects that are defined twice; it never changes what a file said.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::problem::{Problem, Severity};
use super::source_file::{AnyResource, SourceFile};
use crate::guard::{Guard, Scope};
use crate::name::ObjectRef;
use crate::resource::Spec;

/// Everything that a directory holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What is acted on.
    pub spec: Spec,
    /// The problems of every file, and objects that are defined twice; sorted by place.
    pub problems: Vec<Problem>,
    /// Other controllers' objects: how many of each.
    pub ignored: BTreeMap<String, usize>,
    /// Documents that are no Kubernetes objects.
    pub not_resources: usize,
    /// Files of which an earlier version is used, because the present one is broken.
    pub kept: Vec<Arc<str>>,
    /// Which file each object was taken from. The next [`assemble`] wants it.
    pub owners: BTreeMap<ObjectRef, Arc<str>>,
    /// Lines of the fields that checks between objects name.
    places: BTreeMap<ObjectRef, BTreeMap<String, usize>>,
}

impl Loaded {
    /// Gives problems that know only their object and field the field's line.
    pub fn locate(&self, problems: &mut [Problem]) {
        for problem in problems {
            let places = problem.object.as_ref().and_then(|object| self.places.get(object));
            if let Some(line) = places.and_then(|places| places.get(&problem.field)) {
                problem.origin.line = *line;
            }
        }
    }
}

/// Puts files together, which must come sorted by path.
///
/// Of two objects with the same kind, namespace and name, the one stays that was used before (`owners` of the
/// previous [`Loaded`]), else the first; the other is an error that names both places. A Namespace may be repeated
/// with the same labels.
pub fn assemble<'f>(
    files: impl IntoIterator<Item = &'f SourceFile>,
    owners: &BTreeMap<ObjectRef, Arc<str>>,
) -> Loaded {
    let mut loaded = Loaded::default();
    let mut candidates: BTreeMap<ObjectRef, Vec<&AnyResource>> = BTreeMap::new();
    for file in files {
        loaded.problems.extend(file.problems.iter().cloned());
        for (name, count) in &file.ignored {
            *loaded.ignored.entry(name.clone()).or_default() += count;
        }
        loaded.not_resources += file.not_resources;
        if file.kept {
            loaded.kept.push(Arc::clone(&file.path));
        }
        for resource in &file.resources {
            candidates.entry(resource.object_ref()).or_default().push(resource);
        }
        for (object, places) in &file.places {
            loaded.places.entry(object.clone()).or_insert_with(|| places.clone());
        }
    }
    for (object, resources) in candidates {
        elect(&mut loaded, object, &resources, owners);
    }
    loaded.problems.sort();
    loaded
}

fn elect(
    loaded: &mut Loaded,
    object: ObjectRef,
    resources: &[&AnyResource],
    owners: &BTreeMap<ObjectRef, Arc<str>>,
) {
    let owner = owners.get(&object);
    let at = resources.iter().position(|resource| Some(&resource.meta().origin.file) == owner).unwrap_or(0);
    let used = resources[at];
    for (_, other) in resources.iter().enumerate().filter(|(place, _)| *place != at) {
        let same_namespace =
            matches!(other, AnyResource::Namespace(_)) && other.meta().labels == used.meta().labels;
        if !same_namespace {
            loaded.problems.push(Problem {
                origin: other.meta().origin.clone(),
                severity: Severity::Error,
                object: Some(object.clone()),
                field: String::new(),
                message: format!(
                    "is defined at {} already, which is the one that is used: remove one of the two",
                    used.meta().origin
                ),
            });
        }
    }
    loaded.owners.insert(object, Arc::clone(&used.meta().origin.file));
    match used {
        // Which of them is meant cannot be known, and none may be dropped: both fail closed.
        AnyResource::Guard(guard) if resources.len() > 1 => {
            let rules = Err("it is defined more than once".to_owned());
            let broken = Guard { meta: guard.meta.clone(), scope: Scope::default(), rules };
            place(&mut loaded.spec, &AnyResource::Guard(Arc::new(broken)));
        }
        _ => place(&mut loaded.spec, used),
    }
}

fn place(spec: &mut Spec, resource: &AnyResource) {
    let key = resource.meta().key.clone();
    match resource {
        AnyResource::ImageRepository(resource) => {
            spec.image_repositories.insert(key, Arc::clone(resource));
        }
        AnyResource::ImagePolicy(resource) => {
            spec.image_policies.insert(key, Arc::clone(resource));
        }
        AnyResource::ImageUpdateAutomation(resource) => {
            spec.automations.insert(key, Arc::clone(resource));
        }
        AnyResource::GitRepository(resource) => {
            spec.git_repositories.insert(key, Arc::clone(resource));
        }
        AnyResource::Receiver(resource) => {
            spec.receivers.insert(key, Arc::clone(resource));
        }
        AnyResource::Notifier(resource) => {
            spec.notifiers.insert(key, Arc::clone(resource));
        }
        AnyResource::Guard(resource) => {
            spec.guards.insert(key, Arc::clone(resource));
        }
        AnyResource::Secret(resource) => {
            spec.secrets.insert(key, Arc::clone(resource));
        }
        AnyResource::Namespace(meta) => {
            spec.namespaces.insert(key.name, meta.labels.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::read_text;
    use super::*;

    const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: VALUE}\n";

    fn value(loaded: &Loaded) -> &str {
        loaded.spec.secret("default", "s").unwrap().text("k").unwrap()
    }

    #[test]
    fn an_object_defined_twice_is_an_error_that_names_both_places() {
        let files = [
            read_text("a.yaml", &SECRET.replace("VALUE", "a")),
            read_text("b.yaml", &format!("---\n{}", SECRET.replace("VALUE", "b"))),
        ];
        let loaded = assemble(&files, &BTreeMap::new());
        assert_eq!(value(&loaded), "a");
        let printed: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            printed,
            [
                "b.yaml:2: error: Secret/default/s: is defined at a.yaml:1 already, which is the one that is used: \
              remove one of the two"
            ]
        );
    }

    #[test]
    fn the_definition_that_was_used_before_stays() {
        let files = [
            read_text("a.yaml", &SECRET.replace("VALUE", "new")),
            read_text("b.yaml", &SECRET.replace("VALUE", "old")),
        ];
        let before = assemble(&files[1..], &BTreeMap::new());
        let loaded = assemble(&files, &before.owners);
        assert_eq!(value(&loaded), "old");
        assert_eq!(loaded.problems[0].origin.to_string(), "a.yaml:1");
    }

    #[test]
    fn a_namespace_may_be_repeated_with_the_same_labels_alone() {
        let namespace = |labels: &str| {
            format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: apps, labels: {{{labels}}}}}\n")
        };
        let same = [read_text("a.yaml", &namespace("a: b")), read_text("b.yaml", &namespace("a: b"))];
        let loaded = assemble(&same, &BTreeMap::new());
        assert!(loaded.problems.is_empty());
        assert_eq!(loaded.spec.namespace_labels("apps").get("a").map(String::as_str), Some("b"));
        let other = [read_text("a.yaml", &namespace("a: b")), read_text("b.yaml", &namespace("a: c"))];
        let loaded = assemble(&other, &BTreeMap::new());
        assert!(loaded.problems[0].to_string().contains("Namespace/apps/apps: is defined at a.yaml:1"));
    }
}
