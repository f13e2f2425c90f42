//! What is in force: the resources, and what is wrong with them. Owns the view that the rest of the process watches.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_model::git::SIGNING_SECRET;
use windlass_model::load::{Loaded, Problem, Severity, cross_check, readiness};
use windlass_model::resource::Resource as _;
use windlass_model::{ObjectKey, ObjectRef, Spec};
use windlass_promoter::signing_problems;
use windlass_tuf::Roots;
use windlass_verify::Judge;

/// A configuration at one instant. A reload makes a new one; resources that did not change are shared between the two.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// What is acted on.
    pub spec: Arc<Spec>,
    /// Every problem, sorted by file and line: of texts, and between objects.
    pub problems: Vec<Problem>,
    /// Other controllers' objects: how many of each (`Deployment.apps`).
    pub ignored: BTreeMap<String, usize>,
    /// Documents that are no Kubernetes objects.
    pub not_resources: usize,
    /// Why each object that is not ready is not.
    pub readiness: BTreeMap<ObjectRef, String>,
    /// Grows with every change.
    pub generation: u64,
    /// Files that are broken now and of which earlier resources stay in force.
    pub kept: Vec<Arc<str>>,
}

impl Configuration {
    /// Checks what was put together. `problems` are those of the directory itself.
    pub(super) fn new(loaded: Loaded, mut problems: Vec<Problem>, generation: u64) -> Self {
        let mut found = cross_check(&loaded.spec);
        let mut readiness = readiness(&loaded.spec);
        guard_problems(&loaded.spec, &mut found, &mut readiness);
        for (key, message) in signing_problems(&loaded.spec) {
            found.extend(not_signing(&loaded.spec, &key, message, &mut readiness));
        }
        loaded.locate(&mut found);
        let Loaded { spec, problems: of_files, ignored, not_resources, kept, .. } = loaded;
        problems.extend(of_files);
        problems.extend(found);
        problems.sort();
        problems.dedup();
        Self { spec: Arc::new(spec), problems, ignored, not_resources, readiness, generation, kept }
    }

    /// Logs what is new since `previous`: each problem once, as long as it lasts.
    pub(super) fn log(&self, previous: Option<&Configuration>) {
        let known = |problem: &Problem| previous.is_some_and(|previous| previous.problems.contains(problem));
        for problem in self.problems.iter().filter(|problem| !known(problem)) {
            if problem.is_error() {
                tracing::error!(%problem, "configuration");
            } else {
                tracing::warn!(%problem, "configuration");
            }
        }
        let was_kept = |file: &Arc<str>| previous.is_some_and(|previous| previous.kept.contains(file));
        for file in self.kept.iter().filter(|file| !was_kept(file)) {
            tracing::error!(%file, "the file is broken: its last good resources stay in force");
        }
        for file in
            previous.iter().flat_map(|previous| &previous.kept).filter(|file| !self.kept.contains(file))
        {
            tracing::info!(%file, "the file is mended or gone");
        }
        let ignored: usize = self.ignored.values().sum();
        let not_ready = self.readiness.len();
        tracing::info!(generation = self.generation, not_ready, ignored, "configuration loaded");
    }
}

/// An automation whose signing key does not open.
/// What keeps Guards from allowing anything: keys, expressions and trust roots that cannot be used. What is told of a
/// field already is not told again.
fn guard_problems(spec: &Spec, found: &mut Vec<Problem>, readiness: &mut BTreeMap<ObjectRef, String>) {
    for guard in spec.guards.values() {
        let object = guard.object_ref();
        for (field, message) in Judge::with_roots(guard, spec, &Roots::default()).problems() {
            let told = |problem: &Problem| problem.object.as_ref() == Some(&object) && problem.field == field;
            if found.iter().any(told) {
                continue;
            }
            refuse(readiness, &object, &field, &message);
            found.push(Problem {
                origin: guard.meta.origin.clone(),
                severity: Severity::Error,
                object: Some(object.clone()),
                field,
                message,
            });
        }
    }
}

fn refuse(readiness: &mut BTreeMap<ObjectRef, String>, object: &ObjectRef, field: &str, message: &str) {
    let reasons = readiness.entry(object.clone()).or_default();
    let separator = if reasons.is_empty() { "" } else { "; " };
    *reasons = format!("{reasons}{separator}{field}: {message}");
}

fn not_signing(
    spec: &Spec,
    key: &ObjectKey,
    message: String,
    readiness: &mut BTreeMap<ObjectRef, String>,
) -> Option<Problem> {
    let automation = spec.automations.get(key)?;
    let object = automation.object_ref();
    refuse(readiness, &object, SIGNING_SECRET, &message);
    Some(Problem {
        origin: automation.meta.origin.clone(),
        severity: Severity::Error,
        object: Some(object),
        field: SIGNING_SECRET.to_owned(),
        message,
    })
}
