//! Other tools' policies as Guards: sigstore policy-controller, Kyverno, Flux. Owns what can be carried over and what is
//! told about the rest; the semantics are those of the tools' sources, named beside each rule.
//!
//! A Guard is never weaker than its source. What would make it weaker refuses the whole document; what makes it stricter
//! (one authority of several less, images that the source skips) is told.

mod cip;
mod flux;
mod glob;
mod ivp;
mod kyverno;
mod parts;
mod policy;
mod print;
#[cfg(test)]
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::fields::{Sink, Slot, shown};
use super::node::{Documents, Node, Note, Value};
use super::problem::Severity;
use super::source_file::{AnyResource, read};
use super::{Semantics, assemble};
use crate::guard::{Guard, Scope};
use crate::resource::{Origin, Spec};
use policy::{Draft, Policy};

/// What came out of some files.
#[derive(Debug, Default)]
pub struct Import {
    /// The Guards, in the order of their sources.
    pub guards: Vec<Imported>,
    /// What must be known about them, and why others are not there; sorted by place.
    pub remarks: Vec<Remark>,
    /// How many documents ask for signatures or attestations.
    pub policies: usize,
}

/// One Guard.
#[derive(Debug)]
pub struct Imported {
    /// As it is loaded from its text.
    pub guard: Guard,
    /// One YAML document, without a separator.
    pub yaml: String,
}

/// How much a remark matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// There is no Guard for this policy.
    Refused,
    /// A part was left out: the Guard asks for more than its source, or lets fewer signers through.
    Dropped,
    /// Worth knowing; nothing is missing.
    Note,
}

impl Weight {
    /// As printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Dropped => "dropped",
            Self::Note => "note",
        }
    }
}

/// What must be known about one field of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// Where.
    pub origin: Origin,
    /// `ClusterImagePolicy/name`; empty where no document could be read.
    pub object: String,
    /// The field's path; empty where it is about the whole document.
    pub field: String,
    /// How much it matters.
    pub weight: Weight,
    /// What is so, and what to do.
    pub message: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.origin, self.weight.as_str())?;
        for part in [&self.object, &self.field].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// What the documents beside a policy say.
struct Given<'a> {
    /// Secrets.
    spec: Spec,
    /// Flux's HelmRepositories, by namespace and name: their `spec.url`.
    repositories: BTreeMap<(String, String), String>,
    semantics: &'a dyn Semantics,
}

/// The shapes that are imported.
type Reader = for<'n> fn(&Policy<'n>) -> Option<Vec<Draft>>;

/// API group, versions, kind, and whether an object has a namespace.
const KINDS: [(&str, &[&str], &str, bool, Reader); 7] = [
    ("policy.sigstore.dev", &["v1beta1", "v1alpha1"], "ClusterImagePolicy", false, cip::drafts),
    ("kyverno.io", &["v1", "v2beta1"], "ClusterPolicy", false, kyverno::drafts),
    ("kyverno.io", &["v1", "v2beta1"], "Policy", true, kyverno::drafts),
    ("policies.kyverno.io", &["v1", "v1beta1", "v1alpha1"], "ImageValidatingPolicy", false, ivp::drafts),
    (
        "policies.kyverno.io",
        &["v1", "v1beta1", "v1alpha1"],
        "NamespacedImageValidatingPolicy",
        true,
        ivp::drafts,
    ),
    ("source.toolkit.fluxcd.io", &["v1", "v1beta2"], "OCIRepository", true, flux::oci_repository),
    ("source.toolkit.fluxcd.io", &["v1", "v1beta2"], "HelmChart", true, flux::helm_chart),
];

/// Turns every policy in some files, each a path and a text, into Guards. Secrets and HelmRepositories in them are used
/// where a policy names them; all other documents are ignored.
pub fn import(files: &[(String, String)], semantics: &dyn Semantics) -> Import {
    let mut import = Import::default();
    let sources: Vec<_> = files.iter().map(|(path, text)| read(path, text, semantics)).collect();
    let spec = assemble(&sources, &BTreeMap::new()).spec;
    let mut given = Given { spec, repositories: BTreeMap::new(), semantics };
    let mut documents = Vec::new();
    for (path, text) in files {
        let path: Arc<str> = path.as_str().into();
        for document in Documents::new(text) {
            match document {
                Ok(document) => documents.push((Arc::clone(&path), document)),
                Err(broken) => import.remarks.push(refusal(&path, broken.line, broken.to_string())),
            }
        }
    }
    for node in documents.iter().flat_map(|(_, document)| items(&document.root)) {
        given.repositories.extend(flux::repository(node));
    }
    let mut names = BTreeSet::new();
    for (path, document) in &documents {
        for node in items(&document.root) {
            let Some(found) = read_policy(path, node, &document.notes, &given) else { continue };
            import.policies += 1;
            let mut remarks = found.remarks;
            match found.drafts.map(|drafts| finished(drafts, &mut names, semantics)) {
                Some(Ok(guards)) => import.guards.extend(guards),
                Some(Err(why)) => remarks.push(refusal(path, node.line, why)),
                None => {}
            }
            let with_object = |remark| Remark { object: found.object.clone(), ..remark };
            import.remarks.extend(remarks.into_iter().map(with_object));
        }
    }
    import.remarks.sort();
    import.remarks.dedup();
    import
}

/// One policy as it was read; without Guards where it is refused.
struct Read {
    object: String,
    drafts: Option<Vec<Draft>>,
    remarks: Vec<Remark>,
}

/// `None` for a document that is no policy, or asks for nothing about signatures.
fn read_policy(path: &Arc<str>, node: &Node, notes: &[Note], given: &Given<'_>) -> Option<Read> {
    let text = |key| node.get(key).and_then(Node::scalar).unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/')?;
    let (_, versions, kind, namespaced, reader) =
        KINDS.iter().find(|known| known.0 == group && known.2 == text("kind"))?;
    let sink = Sink::new(Arc::clone(path), None);
    for note in notes {
        sink.report(Severity::Error, note.line, &note.field, &note.message);
    }
    if !versions.contains(&version) {
        let message = format!("`{}` is not a version that is imported", shown(version));
        sink.report(Severity::Error, node.line, "apiVersion", message);
    }
    let policy = Policy::open(&Slot::new(node, String::new(), node.line, &sink), kind, *namespaced, given);
    let drafts = policy.as_ref().and_then(reader);
    let (mut remarks, refused) = policy.map_or((Vec::new(), true), Policy::into_remarks);
    let whole = !sink.failed() && !refused;
    let problems = sink.into_parts().0.into_iter().filter(super::Problem::is_error);
    remarks.extend(problems.map(|problem| Remark {
        field: problem.field,
        ..refusal(&problem.origin.file, problem.origin.line, problem.message)
    }));
    if whole && drafts.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let object = format!("{kind}/{}", shown(&policy::full_name(node, *namespaced)));
    Some(Read { object, drafts: drafts.filter(|_| whole), remarks })
}

fn refusal(path: &Arc<str>, line: usize, message: String) -> Remark {
    Remark {
        origin: Origin { file: Arc::clone(path), line },
        object: String::new(),
        field: String::new(),
        weight: Weight::Refused,
        message,
    }
}

/// The objects of a document.
fn items(root: &Node) -> Vec<&Node> {
    match root.get("items").map(|items| &items.value) {
        Some(Value::Seq(items)) if root.get("kind").and_then(Node::scalar) == Some("List") => {
            items.iter().collect()
        }
        _ => vec![root],
    }
}

/// The Guards of one policy: all or none. Each is loaded from its own text, which must give the very same rules.
fn finished(
    drafts: Vec<Draft>,
    names: &mut BTreeSet<String>,
    semantics: &dyn Semantics,
) -> Result<Vec<Imported>, String> {
    let mut guards = Vec::new();
    let mut taken = names.clone();
    for draft in drafts {
        let free = |name: &String| !taken.contains(name);
        let numbered = (2..).map(|number| format!("{}-{number}", draft.name));
        let name = std::iter::once(draft.name.clone()).chain(numbered).find(free).unwrap_or_default();
        let yaml = print::yaml(&name, &draft.images, &draft.rules);
        let file = read("guard.yaml", &yaml, semantics);
        if let Some(problem) = file.problems.iter().find(|problem| problem.is_error()) {
            return Err(format!("its Guard would not be loaded: {}: {}", problem.field, problem.message));
        }
        let scope = Scope { images: Some(draft.images), namespaces: None };
        let [AnyResource::Guard(guard)] = file.resources.as_slice() else {
            return Err("its Guard would not be loaded".to_owned());
        };
        if guard.scope != scope || guard.rules.as_ref() != Ok(&draft.rules) || guard.meta.key.name != name {
            return Err("its Guard would not be loaded as it is meant".to_owned());
        }
        guards.push(Imported { guard: Guard::clone(guard), yaml });
        taken.insert(name);
    }
    *names = taken;
    Ok(guards)
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
