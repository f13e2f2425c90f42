//! One file: its documents, told apart and decoded. Owns what a file yields; it never looks at another file.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fields::Sink;
use super::kinds::{self, Identity};
use super::node::{Broken, Documents, Node, Note, Value};
use super::object::{self, Object};
use super::problem::{Problem, Severity};
use super::secret::{self, SecretSource};
use super::{
    SOPS_REFUSAL, Semantics, automation, git_repository, guard, image_policy, image_repository, notifier,
    receiver,
};
use crate::guard::{Guard, Scope};
use crate::name::{Kind, ObjectKey, ObjectRef};
use crate::resource::{
    GitRepository, ImagePolicy, ImageRepository, ImageUpdateAutomation, Meta, Notifier, Origin, Receiver,
    Resource, Secret, SecretValue,
};

/// Most problems that one file reports.
const MAX_PROBLEMS: usize = 1_000;

/// A resource of any kind. Cheap to clone.
#[derive(Debug, Clone)]
pub enum AnyResource {
    /// `image.toolkit.fluxcd.io`
    ImageRepository(Arc<ImageRepository>),
    /// `image.toolkit.fluxcd.io`
    ImagePolicy(Arc<ImagePolicy>),
    /// `image.toolkit.fluxcd.io`
    ImageUpdateAutomation(Arc<ImageUpdateAutomation>),
    /// `source.toolkit.fluxcd.io`
    GitRepository(Arc<GitRepository>),
    /// `notification.toolkit.fluxcd.io`
    Receiver(Arc<Receiver>),
    /// `windlass.dev`
    Notifier(Arc<Notifier>),
    /// `windlass.dev`; also those that could not be loaded, which then have no rules.
    Guard(Arc<Guard>),
    /// core `v1`
    Secret(Arc<Secret>),
    /// core `v1`; its name is both parts of the key.
    Namespace(Arc<Meta>),
}

impl AnyResource {
    /// Kind, namespace and name.
    pub fn object_ref(&self) -> ObjectRef {
        match self {
            AnyResource::ImageRepository(resource) => resource.object_ref(),
            AnyResource::ImagePolicy(resource) => resource.object_ref(),
            AnyResource::ImageUpdateAutomation(resource) => resource.object_ref(),
            AnyResource::GitRepository(resource) => resource.object_ref(),
            AnyResource::Receiver(resource) => resource.object_ref(),
            AnyResource::Notifier(resource) => resource.object_ref(),
            AnyResource::Guard(resource) => resource.object_ref(),
            AnyResource::Secret(resource) => resource.object_ref(),
            AnyResource::Namespace(meta) => ObjectRef::new(Kind::Namespace, meta.key.clone()),
        }
    }

    /// Name, labels, origin.
    pub fn meta(&self) -> &Meta {
        match self {
            AnyResource::ImageRepository(resource) => &resource.meta,
            AnyResource::ImagePolicy(resource) => &resource.meta,
            AnyResource::ImageUpdateAutomation(resource) => &resource.meta,
            AnyResource::GitRepository(resource) => &resource.meta,
            AnyResource::Receiver(resource) => &resource.meta,
            AnyResource::Notifier(resource) => &resource.meta,
            AnyResource::Guard(resource) => &resource.meta,
            AnyResource::Secret(resource) => &resource.meta,
            AnyResource::Namespace(meta) => meta,
        }
    }
}

/// What one file holds.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The path that problems and origins name.
    pub path: Arc<str>,
    /// The resources without errors, in the file's order.
    pub resources: Vec<AnyResource>,
    /// Every problem, in the file's order.
    pub problems: Vec<Problem>,
    /// Other controllers' objects: how many of each (`Deployment.apps`).
    pub ignored: BTreeMap<String, usize>,
    /// Documents that are no Kubernetes objects: Helm values, kustomizations without a kind.
    pub not_resources: usize,
    /// Values of Secrets that the binary must fetch and [`SourceFile::supply`].
    pub secret_sources: Vec<SecretSource>,
    /// Whether something in it could not be read or has an error: not to be put in the place of a good version.
    pub broken: bool,
    /// Whether the resources are those of an earlier version, see [`SourceFile::keeping`].
    pub kept: bool,
    /// Whether no version so far was without errors.
    never_whole: bool,
    /// Lines of the fields that checks between objects name.
    pub(super) places: BTreeMap<ObjectRef, BTreeMap<String, usize>>,
}

impl SourceFile {
    fn new(path: &str) -> Self {
        Self {
            path: path.into(),
            resources: Vec::new(),
            problems: Vec::new(),
            ignored: BTreeMap::new(),
            not_resources: 0,
            secret_sources: Vec::new(),
            broken: false,
            kept: false,
            never_whole: false,
            places: BTreeMap::new(),
        }
    }

    /// A file whose text could not be had at all.
    pub fn unreadable(path: &str, why: impl Into<String>) -> Self {
        let mut file = Self::new(path);
        file.problems.push(Problem::of_file(path, Severity::Error, why));
        file.broken = true;
        file
    }

    /// Nothing is known of what a file held that could never be read: it may have been a Guard, so until it can be read
    /// nothing is written.
    #[must_use]
    pub fn fail_closed(mut self) -> Self {
        let key = ObjectKey::new(&*self.path, &*self.path);
        let origin = Origin { file: Arc::clone(&self.path), line: 0 };
        let (labels, annotations) = (BTreeMap::new(), BTreeMap::new());
        let meta = Meta { key, labels, annotations, origin, unsupported: Vec::new() };
        let rules = Err("its file cannot be read, and may hold a Guard".to_owned());
        self.resources.push(AnyResource::Guard(Guard { meta, scope: Scope::default(), rules }.into()));
        self
    }

    /// Puts a fetched value into its Secret.
    pub fn supply(&mut self, source: &SecretSource, value: Vec<u8>) {
        for resource in &mut self.resources {
            if let AnyResource::Secret(secret) = resource
                && secret.meta.key == source.secret
            {
                let value = SecretValue::new(value);
                Arc::make_mut(secret).values.insert(source.key.clone(), value);
                return;
            }
        }
    }

    /// Reports that a Secret's value could not be fetched.
    pub fn refuse(&mut self, source: &SecretSource, why: impl Into<String>) {
        self.broken = true;
        self.tell(Problem {
            origin: source.origin.clone(),
            severity: Severity::Error,
            object: Some(ObjectRef::new(Kind::Secret, source.secret.clone())),
            field: source.field.clone(),
            message: format!("the key `{}` has no value: {}", source.key, why.into()),
        });
    }

    /// This broken version with the resources of `previous`, the version that was used so far.
    ///
    /// Where `previous` was whole, its resources stay exactly as they were. Where it never was (the file was broken
    /// from the start), what is good now joins what was good before.
    #[must_use]
    pub fn keeping(self, previous: &SourceFile) -> SourceFile {
        let never_whole = previous.never_whole || (previous.broken && !previous.kept);
        let mut kept = SourceFile { kept: true, never_whole, ..self };
        if never_whole {
            let known: BTreeSet<ObjectRef> = kept.resources.iter().map(AnyResource::object_ref).collect();
            let missing =
                previous.resources.iter().filter(|resource| !known.contains(&resource.object_ref()));
            kept.resources.extend(missing.cloned());
            for (object, places) in &previous.places {
                kept.places.entry(object.clone()).or_insert_with(|| places.clone());
            }
        } else {
            let broken: Vec<AnyResource> = kept.resources.drain(..).filter(is_broken_guard).collect();
            let now: BTreeSet<ObjectRef> = broken.iter().map(AnyResource::object_ref).collect();
            kept.resources.clone_from(&previous.resources);
            kept.resources.retain(|resource| !now.contains(&resource.object_ref()));
            kept.resources.extend(broken);
            kept.places.clone_from(&previous.places);
            kept.ignored.clone_from(&previous.ignored);
            kept.not_resources = previous.not_resources;
        }
        kept
    }

    /// Adds a problem, as long as there are not too many.
    fn tell(&mut self, problem: Problem) {
        match self.problems.len() {
            0..MAX_PROBLEMS => self.problems.push(problem),
            MAX_PROBLEMS => {
                let message = format!("has more than {MAX_PROBLEMS} problems; the others are not shown");
                self.problems.push(Problem::of_file(&self.path, Severity::Error, message));
            }
            _ => {}
        }
    }

    /// Takes a finished object's findings over.
    fn absorb(&mut self, object: Option<ObjectRef>, sink: Sink) {
        self.broken |= sink.failed();
        let (problems, places) = sink.into_parts();
        for problem in problems {
            self.tell(problem);
        }
        if let (Some(object), false) = (object, places.is_empty()) {
            self.places.insert(object, places);
        }
    }
}

/// Such a Guard is in force although the rest of its file is not.
fn is_broken_guard(resource: &AnyResource) -> bool {
    matches!(resource, AnyResource::Guard(guard) if guard.rules.is_err())
}

/// Reads one file's text. `path` is what problems and origins call it.
pub fn read(path: &str, text: &str, semantics: &dyn Semantics) -> SourceFile {
    let mut reader = Reader { file: SourceFile::new(path), semantics, text, template: OnceCell::new() };
    for document in Documents::new(text) {
        match document {
            Ok(document) => reader.document(&document.root, &document.notes),
            Err(broken) => reader.broken(&broken),
        }
    }
    reader.file
}

/// Reads the documents of one file.
struct Reader<'s> {
    file: SourceFile,
    semantics: &'s dyn Semantics,
    text: &'s str,
    /// Whether the text looks like a template that holds nothing of ours; looked at once, and only if it is broken.
    template: OnceCell<bool>,
}

impl Reader<'_> {
    /// A template of Helm's is no YAML before it is rendered. Where it cannot hold anything of ours it is only worth a
    /// warning; it is never put in the place of a good version all the same.
    fn broken(&mut self, broken: &Broken) {
        let text = self.text;
        let template = self.template.get_or_init(|| text.contains("{{") && !kinds::mentions_our_groups(text));
        let (severity, hint) = if *template {
            (Severity::Warning, "; it looks like a template and is ignored")
        } else {
            (Severity::Error, "")
        };
        self.file.broken = true;
        self.file.tell(Problem {
            origin: Origin { file: Arc::clone(&self.file.path), line: broken.line },
            severity,
            object: None,
            field: String::new(),
            message: format!("{broken}{hint}"),
        });
        if !*template && guard::may_be_in(text) {
            let nothing = Node { value: Value::Map(Vec::new()), line: broken.line };
            self.broken_guard(&nothing, "its document is not valid YAML");
        }
    }

    fn document(&mut self, root: &Node, notes: &[Note]) {
        match kinds::identify(root) {
            Identity::Ours { kind, version } => self.object(root, kind, version, notes),
            Identity::List(items) => {
                // The notes carry their own lines; one item is enough to report them.
                let mut notes = notes;
                for item in items {
                    self.document(item, notes);
                    if matches!(kinds::identify(item), Identity::Ours { .. }) {
                        notes = &[];
                    }
                }
            }
            Identity::Foreign { name, remark } => {
                if let Some(remark) = remark {
                    self.remark(root, Severity::Warning, "kind", remark);
                }
                *self.file.ignored.entry(name).or_default() += 1;
            }
            Identity::NotAResource => {
                let empty = root.scalar().is_some_and(|text| matches!(text, "" | "~" | "null"));
                self.file.not_resources += usize::from(!empty);
            }
            Identity::Mistake { field, message } => {
                self.file.broken = true;
                self.remark(root, Severity::Error, field, message);
                if guard::is_meant(root) {
                    self.broken_guard(root, "its apiVersion or kind is wrong");
                }
            }
        }
    }

    /// A Guard that cannot be loaded still stands in the way of what it may concern.
    fn broken_guard(&mut self, root: &Node, why: &str) {
        let origin = object::origin(&self.file.path, root);
        self.file.resources.push(AnyResource::Guard(guard::broken(root, &origin, why).into()));
    }

    fn remark(&mut self, root: &Node, severity: Severity, field: &str, message: String) {
        let line =
            root.entries().iter().find(|entry| entry.key == field).map_or(root.line, |entry| entry.line);
        self.file.tell(Problem {
            origin: Origin { file: Arc::clone(&self.file.path), line },
            severity,
            object: None,
            field: field.to_owned(),
            message,
        });
    }

    fn object(&mut self, root: &Node, kind: Kind, version: &'static str, notes: &[Note]) {
        let name = object::object_ref(root, kind);
        let sink = Sink::new(Arc::clone(&self.file.path), name.clone());
        for note in notes {
            sink.report(Severity::Error, note.line, &note.field, &note.message);
        }
        if matches!(root.get("sops").map(|sops| &sops.value), Some(Value::Map(_))) {
            sink.report(Severity::Error, root.line, "", SOPS_REFUSAL);
        } else {
            let origin = object::origin(&self.file.path, root);
            let decoded = Object::open(root, kind, version, origin, &sink, self.semantics)
                .and_then(|object| decode(kind, &object));
            if let (Some((resource, sources)), false) = (decoded, sink.failed()) {
                self.file.resources.push(resource);
                self.file.secret_sources.extend(sources);
            }
        }
        if kind == Kind::Guard && sink.failed() {
            self.broken_guard(root, "it has errors");
        }
        self.file.absorb(name, sink);
    }
}

fn decode(kind: Kind, object: &Object<'_>) -> Option<(AnyResource, Vec<SecretSource>)> {
    let resource = match kind {
        Kind::ImageRepository => AnyResource::ImageRepository(image_repository::decode(object)?.into()),
        Kind::ImagePolicy => AnyResource::ImagePolicy(image_policy::decode(object)?.into()),
        Kind::ImageUpdateAutomation => AnyResource::ImageUpdateAutomation(automation::decode(object)?.into()),
        Kind::GitRepository => AnyResource::GitRepository(git_repository::decode(object)?.into()),
        Kind::Receiver => AnyResource::Receiver(receiver::decode(object)?.into()),
        Kind::Notifier => AnyResource::Notifier(notifier::decode(object)?.into()),
        Kind::Guard => AnyResource::Guard(guard::decode(object)?.into()),
        Kind::Namespace => AnyResource::Namespace(secret::decode_namespace(object).into()),
        Kind::Secret => {
            let (secret, sources) = secret::decode(object);
            return Some((AnyResource::Secret(secret.into()), sources));
        }
    };
    Some((resource, Vec::new()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{problems, read_text};
    use super::*;

    const REPOSITORY: &str = "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\nmetadata: {name: app}\n\
                              spec: {image: a/b, interval: 5m}\n";

    fn names(file: &SourceFile) -> Vec<String> {
        file.resources.iter().map(|resource| resource.object_ref().to_string()).collect()
    }

    #[test]
    fn all_problems_of_a_file_are_reported_and_the_good_documents_are_used() {
        let text = format!(
            "{REPOSITORY}---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata:\n  lables: {{}}\n  \
             name: Bad_Name\nspec:\n  imageRepositoryRef: {{}}\n  policy: {{}}\n  suspend: maybe\n---\na: [1\n---\n\
             apiVersion: windlass.dev/v1alpha1\nkind: Notifyer\n---\n{}",
            REPOSITORY.replace("name: app", "name: other")
        );
        let file = read_text("f.yaml", &text);
        assert_eq!(names(&file), ["ImageRepository/default/app", "ImageRepository/default/other"]);
        assert!(file.broken);
        let places: Vec<_> = file.problems.iter().map(|p| (p.origin.line, p.field.as_str())).collect();
        assert_eq!(
            places,
            [
                (9, "metadata.lables"),
                (10, "metadata.name"),
                (12, "spec.imageRepositoryRef.name"),
                (13, "spec.policy"),
                (14, "spec.suspend"),
                (16, ""),
                (19, "kind"),
            ],
            "{:#?}",
            problems(&text)
        );
    }

    #[test]
    fn a_real_directory_holds_other_things_too() {
        let text = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: a}\n---\n\
                    apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec: {a: 1, a: 2}\n---\n\
                    apiVersion: apps/v1\nkind: Deployment\n---\napiVersion: apps/v1\nkind: Deployment\n---\n\
                    replicaCount: 2\nimage: {repository: x, tag: 1.0}\n---\nresources: [a.yaml]\n---\n\n---\n\
                    # nothing\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: apps, labels: {a: b}}\n---\n\
                    apiVersion: v1\nkind: ConfigMap\ndata: !binary x\n";
        let file = read_text("f.yaml", text);
        assert!(file.problems.is_empty(), "{:?}", file.problems);
        assert_eq!(names(&file), ["Namespace/apps/apps"]);
        let ignored: Vec<_> = file.ignored.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(
            ignored,
            [
                ("ConfigMap", 1),
                ("Deployment.apps", 2),
                ("HelmRelease.helm.toolkit.fluxcd.io", 1),
                ("Kustomization.kustomize.toolkit.fluxcd.io", 1),
            ]
        );
        assert_eq!(file.not_resources, 2);
    }

    #[test]
    fn lists_are_expanded() {
        let item = REPOSITORY.trim_end().replace('\n', "\n  ");
        let other =
            item.replace("name: app", "name: app, namespace: x").replace("interval: 5m", "interval: 5");
        let text = format!(
            "apiVersion: v1\nkind: List\nitems:\n- {item}\n- {{apiVersion: v1, kind: Pod}}\n- {other}\n"
        );
        let file = read_text("f.yaml", &text);
        assert_eq!(names(&file), ["ImageRepository/default/app"]);
        assert_eq!(file.ignored.get("Pod"), Some(&1));
        let printed = problems(&text);
        assert_eq!(printed.len(), 1);
        assert!(
            printed[0].starts_with("f.yaml:12: error: ImageRepository/x/app: spec.interval"),
            "{printed:?}"
        );
    }

    #[test]
    fn crlf_and_a_byte_order_mark_change_nothing() {
        let text = format!("\u{feff}{}", REPOSITORY.replace("5m", "5").replace('\n', "\r\n"));
        assert!(
            problems(&text)[0]
                .starts_with("f.yaml:4: error: ImageRepository/default/app: spec.interval: must be")
        );
    }

    #[test]
    fn duplicate_keys_and_tags_are_errors_in_our_documents() {
        let text = REPOSITORY.replace("spec:", "kind: ImageRepository\nspec:");
        assert_eq!(
            problems(&text),
            [
                "f.yaml:4: error: ImageRepository/default/app: kind: is a duplicate key: the same map has it already"
            ]
        );
        let text = REPOSITORY.replace("image: a/b", "image: !env a/b");
        assert!(problems(&text)[0].contains("has the tag `!env`"), "{:?}", problems(&text));
    }

    #[test]
    fn a_template_without_anything_of_ours_is_only_a_warning() {
        let chart = "apiVersion: apps/v1\nkind: Deployment\nspec:\n  {{- if .Values.x }}\n  a: [{{ .b }}\n";
        let file = read_text("f.yaml", chart);
        assert_eq!((file.problems.len(), file.problems[0].severity), (1, Severity::Warning));
        assert!(file.broken, "never taken for a good version");
        let file = read_text("f.yaml", "a: [1\n");
        assert_eq!(file.problems[0].severity, Severity::Error);
        let ours = format!("{REPOSITORY}  {{{{ x }}}}: [\n");
        assert_eq!(read_text("f.yaml", &ours).problems[0].severity, Severity::Error);
    }

    #[test]
    fn problems_are_bounded_however_many_there_are() {
        let fields = (0..5_000).map(|n| format!("  x{n}: 1\n")).collect::<Vec<_>>().concat();
        let object =
            format!("---\n{}{fields}", REPOSITORY.replace("spec: {image: a/b, interval: 5m}", "spec:"));
        let file = read_text("f.yaml", &object);
        assert_eq!(file.problems.len(), 100);
        assert!(file.problems[99].message.ends_with("more problems are not shown"));
        let file = read_text("f.yaml", &object.repeat(12));
        assert_eq!(file.problems.len(), MAX_PROBLEMS + 1);
        assert!(read_text("f.yaml", &"a: [\n---\n".repeat(5_000)).problems.len() <= MAX_PROBLEMS + 1);
    }

    #[test]
    fn objects_without_a_usable_name_are_errors_at_the_document() {
        for (metadata, line, field) in [
            ("{}", 3, "metadata.name"),
            ("{name: ''}", 3, "metadata.name"),
            ("{name: 5}", 3, "metadata.name"),
            ("x", 3, "metadata"),
        ] {
            let text = REPOSITORY.replace("{name: app}", metadata);
            let file = read_text("f.yaml", &text);
            assert!(file.resources.is_empty());
            assert_eq!(
                (file.problems[0].origin.line, file.problems[0].field.as_str()),
                (line, field),
                "{metadata}"
            );
        }
        let text = REPOSITORY.replace("metadata: {name: app}\n", "");
        assert_eq!(problems(&text), ["f.yaml:1: error: metadata: is required"]);
        let text = REPOSITORY.replace("spec: {image: a/b, interval: 5m}\n", "");
        assert_eq!(problems(&text), ["f.yaml:1: error: ImageRepository/default/app: spec: is required"]);
    }

    #[test]
    fn what_the_api_server_adds_is_accepted() {
        let text = REPOSITORY.replace(
            "{name: app}",
            "{name: app, namespace: apps, uid: x, resourceVersion: '1', generation: 2, creationTimestamp: null, \
             managedFields: [{manager: x}], finalizers: [finalizers.fluxcd.io], ownerReferences: [], annotations: \
             {kubectl.kubernetes.io/last-applied-configuration: '{}'}}",
        ) + "status: {observedGeneration: -1, conditions: []}\n";
        assert!(problems(&text).is_empty(), "{:?}", problems(&text));
    }

    #[test]
    fn a_broken_version_keeps_the_resources_of_the_good_one() {
        let good = read_text("f.yaml", REPOSITORY);
        let broken = read_text("f.yaml", &REPOSITORY.replace("5m", "soon").replace("app", "renamed"));
        let kept = broken.keeping(&good);
        assert_eq!(names(&kept), ["ImageRepository/default/app"]);
        assert!(kept.kept && kept.broken && kept.problems[0].message.contains("soon"));
        let again = read_text("f.yaml", "a: [\n").keeping(&kept);
        assert_eq!(names(&again), ["ImageRepository/default/app"]);
        assert_eq!(again.problems.len(), 1);
    }

    #[test]
    fn a_file_that_was_never_whole_joins_what_is_good() {
        let document = |name: &str, interval: &str| {
            format!(
                "---\n{}",
                REPOSITORY.replace("name: app", &format!("name: {name}")).replace("5m", interval)
            )
        };
        let first =
            read_text("f.yaml", &(document("a", "5m") + &document("b", "bad") + &document("c", "1m")));
        assert_eq!(names(&first).len(), 2);
        let second =
            read_text("f.yaml", &(document("a", "bad") + &document("b", "5m") + &document("c", "2m")));
        let joined = second.keeping(&first);
        assert_eq!(
            names(&joined),
            ["ImageRepository/default/b", "ImageRepository/default/c", "ImageRepository/default/a"]
        );
        let third = read_text("f.yaml", "a: [\n").keeping(&joined);
        assert_eq!(names(&third).len(), 3);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,400}") {
            read_text("f.yaml", &text);
        }

        /// Cuts and overwrites a real document at any place.
        #[test]
        fn damaged_documents_never_panic(at in 0usize..4_000, len in 0usize..20, with in "[ -~\n]{0,6}") {
            const DOCUMENTS: &str = include_str!("testing_sample.yaml");
            let mut at = at % DOCUMENTS.len();
            let mut end = (at + len).min(DOCUMENTS.len());
            while !DOCUMENTS.is_char_boundary(at) { at -= 1; }
            while !DOCUMENTS.is_char_boundary(end) { end += 1; }
            let file = read_text("f.yaml", &format!("{}{with}{}", &DOCUMENTS[..at], &DOCUMENTS[end..]));
            for problem in &file.problems {
                prop_assert!(problem.origin.line >= 1, "{problem}");
            }
        }
    }

    #[test]
    fn the_sample_holds_one_good_document_of_every_kind() {
        let file = read_text("f.yaml", include_str!("testing_sample.yaml"));
        assert!(file.problems.is_empty(), "{:?}", file.problems);
        let mut kinds: Vec<_> = file.resources.iter().map(|resource| resource.object_ref().kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, Kind::ALL);
    }
}
