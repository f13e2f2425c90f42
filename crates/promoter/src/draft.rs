//! One automation's part of a push: observe its places and policies, let `policy` decide, splice the bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use windlass_git::{CommitId, GitError, Mirror};
use windlass_manifest::edit::{Edit, apply};
use windlass_model::message::ChangeNotice;
use windlass_model::resource::Resource as _;
use windlass_model::{ImageRef, ObjectKey};
use windlass_policy::election::Choice;
use windlass_policy::plan::{self, Facts, Outcome, PlaceFacts, Plan, PolicyFacts};
use windlass_policy::template::Change;
use windlass_registry::Repository;

use crate::adopted::Adopted;
use crate::agreements::{self, Agreements, Hold, NewAgreement};
use crate::commit_text;
use crate::lanes::Target;
use crate::markers::{Marked, MarkedFile, MarkerIndex, Overlay};
use crate::sightings;
use crate::work::Shared;

/// A registry that does not answer whether a tag still exists must not hold a lane up: the value stays then.
const TAG_CHECK: Duration = Duration::from_secs(5);

/// What one automation wants to commit, or why nothing.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Whole files with their new bytes.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// The commit's message, without trailers.
    pub(crate) message: String,
    /// What moves, for people.
    pub(crate) changes: Vec<ChangeNotice>,
    /// The policies that move something, with what is written.
    pub(crate) images: BTreeMap<ObjectKey, String>,
    /// The choices that were decided upon, written or not.
    pub(crate) choices: BTreeMap<ObjectKey, ImageRef>,
    /// Markers that were not written, each with file, line and cause.
    pub(crate) diagnostics: Vec<String>,
    /// What Git and the policies agree upon once this is committed, where that is news.
    pub(crate) agreements: Vec<NewAgreement>,
    /// Values that stay because a person set them.
    pub(crate) holds: Vec<Hold>,
}

impl Draft {
    /// The policies that move something, with their choices.
    pub(crate) fn moved(&self) -> impl Iterator<Item = (&ObjectKey, &ImageRef)> {
        self.choices.iter().filter(|(policy, _)| self.images.contains_key(policy))
    }
}

/// What stands in the way of a draft.
#[derive(Debug)]
pub(crate) enum DraftError {
    /// The repository could not be read.
    Git(GitError),
    /// The automation itself is at fault.
    Automation(String),
}

impl From<GitError> for DraftError {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

/// Where a draft is made.
pub(crate) struct Desk<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) spec: &'a Adopted,
    pub(crate) mirror: &'a Mirror,
    pub(crate) base: CommitId,
    pub(crate) overlay: &'a Overlay,
    /// What was agreed upon before.
    pub(crate) agreements: &'a Agreements,
}

impl Desk<'_> {
    /// Observes, decides and edits for one automation. Nothing is written to the repository.
    pub(crate) async fn draft(&self, index: &mut MarkerIndex, target: &Target) -> Result<Draft, DraftError> {
        let prefix = &target.automation.update_path;
        let marked = index.marked(self.mirror, self.base, prefix, self.overlay).await?;
        let (facts, places) = self.observe(target, &marked).await;
        let mut plan = plan::decide(&facts);
        let mut draft = Draft { diagnostics: diagnostics(target, &marked), ..Draft::default() };
        draft.diagnostics.extend(plan.diagnostics(&facts));
        draft.choices = choices(&facts);
        let mut edits: BTreeMap<usize, Vec<(usize, Edit)>> = BTreeMap::new();
        for (place, value) in plan.writes() {
            let (file, index) = places[place];
            edits.entry(file).or_default().push((place, Edit { place: index, value: value.to_owned() }));
        }
        let mut written = Vec::new();
        for (file, edits) in edits {
            self.edit(&marked.files[file], edits, &mut draft, &mut written).await?;
        }
        refuse_unwritten(&mut plan, &written);
        draft.agreements = agreements::new(&facts, &plan);
        draft.holds = agreements::holds(&facts, &plan);
        describe(target, &facts, &written, &mut draft)?;
        Ok(draft)
    }

    /// Every marker below the automation's path, and every policy of its namespace.
    async fn observe(&self, target: &Target, marked: &Marked) -> (Facts, Vec<(usize, usize)>) {
        let mut places = Vec::new();
        let mut whence = Vec::new();
        for (file, marked) in marked.files.iter().enumerate() {
            for (index, place) in marked.scan.places.iter().enumerate() {
                whence.push((file, index));
                places.push(PlaceFacts {
                    file: marked.path.clone(),
                    line: place.line,
                    marker: place.marker.clone(),
                    value: place.value.clone(),
                    object: place.object.clone(),
                });
            }
        }
        let namespace = target.automation.meta.key.namespace.clone();
        let policies = self.policies(target);
        let agreed = self.agreements.known().clone();
        let mut facts = Facts { namespace, policies, places, agreed };
        sightings::complete(&mut facts, &self.shared.store, self.spec).await;
        if self.ask_for_tags_ahead(&facts).await {
            facts.policies = self.policies(target);
            sightings::complete(&mut facts, &self.shared.store, self.spec).await;
        }
        (facts, whence)
    }

    fn policies(&self, target: &Target) -> BTreeMap<ObjectKey, PolicyFacts> {
        let automation = &target.automation;
        let of_namespace = |key: &&ObjectKey| key.namespace == automation.meta.key.namespace;
        let policies = self.spec.image_policies.iter().filter(|(key, _)| of_namespace(key));
        let facts = policies.map(|(key, policy)| {
            let selected = automation.policy_selector.as_ref().is_none_or(|s| s.matches(&policy.meta.labels));
            let repository = self.spec.image_repositories.get(&policy.repository);
            let not_ready = self.spec.why_not_ready(&policy.object_ref());
            let fact = match (not_ready, repository) {
                _ if !selected => PolicyFacts::NotSelected,
                _ if policy.suspend => PolicyFacts::Waiting("the policy is suspended".to_owned()),
                (Some(why), _) => PolicyFacts::Waiting(format!("the policy is not ready: {why}")),
                (None, None) => {
                    PolicyFacts::Waiting(format!("ImageRepository {} does not exist", policy.repository))
                }
                (None, Some(repository)) => match self.shared.choices.chosen(policy, repository) {
                    Ok(choice) => PolicyFacts::Chosen(choice),
                    Err(why) => PolicyFacts::Waiting(why),
                },
            };
            (key.clone(), fact)
        });
        facts.collect()
    }

    /// A value in Git above the policy's choice stays only while its tag exists: asks for each such tag of which
    /// nothing is known. Returns whether any is gone. An answer that does not come leaves the value where it is.
    async fn ask_for_tags_ahead(&self, facts: &Facts) -> bool {
        let (choices, now) = (&self.shared.choices, self.shared.now());
        let mut requests = JoinSet::new();
        for (policy, tag) in plan::tags_ahead(facts) {
            let Some(client) =
                self.registry_of(&policy).filter(|_| choices.is_to_be_asked(&policy, &tag, now))
            else {
                continue;
            };
            requests.spawn(async move {
                let answer = tokio::time::timeout(TAG_CHECK, client.resolve(&tag)).await;
                (policy, tag, matches!(answer, Ok(Ok(None))))
            });
        }
        let mut any = false;
        for (policy, tag, gone) in requests.join_all().await {
            if gone {
                tracing::warn!(%policy, %tag, "a tag that stands in Git is gone from the registry");
            }
            any |= gone;
            choices.asked(&policy, tag, gone, now);
        }
        any
    }

    fn registry_of(&self, policy: &ObjectKey) -> Option<Repository> {
        let policy = self.spec.image_policies.get(policy)?;
        let repository = self.spec.image_repositories.get(&policy.repository)?;
        let config = crate::access::registry(self.spec, repository).ok()?;
        self.shared.pool.repository(config).ok()
    }

    /// Edits one file. A place that cannot take its value is left alone and reported; the others are written.
    async fn edit(
        &self,
        file: &MarkedFile,
        mut edits: Vec<(usize, Edit)>,
        draft: &mut Draft,
        written: &mut Vec<usize>,
    ) -> Result<(), GitError> {
        let bytes = file.bytes(self.mirror).await?;
        while !edits.is_empty() {
            let wanted: Vec<Edit> = edits.iter().map(|(_, edit)| edit.clone()).collect();
            match apply(&bytes, &file.scan, &wanted) {
                Ok(new) => {
                    draft.files.push((file.path.to_string(), new));
                    written.extend(edits.iter().map(|(place, _)| *place));
                    return Ok(());
                }
                Err(error) => {
                    let before = edits.len();
                    let refused = error.line();
                    edits.retain(|(_, edit)| {
                        file.scan.places.get(edit.place).map(|place| place.line) != refused
                    });
                    draft.diagnostics.push(format!("{}: {error}", file.path));
                    if edits.len() == before {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Message, changes and images of what was written.
fn describe(target: &Target, facts: &Facts, written: &[usize], draft: &mut Draft) -> Result<(), DraftError> {
    if written.is_empty() {
        return Ok(());
    }
    let mut changes = Vec::new();
    let mut moved: BTreeMap<(ObjectKey, String, String), BTreeSet<String>> = BTreeMap::new();
    for place in written.iter().map(|place| &facts.places[*place]) {
        let Some(PolicyFacts::Chosen(choice)) = facts.policies.get(&place.marker.policy) else { continue };
        let policy = &place.marker.policy;
        let value = place.marker.part.render(&choice.image).unwrap_or_default();
        draft.images.insert(policy.clone(), choice.image.to_string());
        moved
            .entry((policy.clone(), place.value.clone(), value.clone()))
            .or_default()
            .insert(place.file.to_string());
        changes.push(change(target, place, value));
    }
    draft.message = commit_text::message(&target.automation, &changes).map_err(DraftError::Automation)?;
    draft.changes = moved
        .into_iter()
        .map(|((policy, from, to), files)| {
            let image = draft.choices.get(&policy);
            ChangeNotice {
                policy: policy.to_string(),
                image: image.map(|image| image.name.clone()).unwrap_or_default(),
                from,
                to,
                digest: image.and_then(|image| image.digest.as_ref()).map(ToString::to_string),
                files: files.into_iter().collect(),
            }
        })
        .collect();
    Ok(())
}

/// What was found on the way to the markers: files that were not read, markers that cannot be used.
fn diagnostics(target: &Target, marked: &Marked) -> Vec<String> {
    let mut diagnostics = marked.diagnostics.clone();
    if marked.candidates == 0 {
        let path = &target.automation.update_path;
        diagnostics.push(format!("spec.update.path: no YAML file is at or below `{path}` on the branch"));
    }
    for file in &marked.files {
        for problem in &file.scan.problems {
            diagnostics.push(format!("{}:{}: {}", file.path, problem.line, problem.cause));
        }
    }
    diagnostics
}

/// A place that the editor refused holds what it held: nothing is agreed upon there.
fn refuse_unwritten(plan: &mut Plan, written: &[usize]) {
    for (place, outcome) in plan.outcomes.iter_mut().enumerate() {
        if matches!(outcome, Outcome::Write { .. }) && !written.contains(&place) {
            *outcome = Outcome::Waiting("the editor refused the place".to_owned());
        }
    }
}

/// What Flux's templates see of a change (image-automation-controller 1.2: files relative to `update.path`, the setter
/// as the marker names it).
fn change(target: &Target, place: &PlaceFacts, new_value: String) -> Change {
    let prefix = &target.automation.update_path;
    let relative =
        place.file.strip_prefix(prefix.as_str()).map_or(&*place.file, |rest| rest.trim_start_matches('/'));
    let ObjectKey { namespace, name } = &place.marker.policy;
    Change {
        file: if relative.is_empty() { place.file.to_string() } else { relative.to_owned() },
        object: place.object.clone(),
        old_value: place.value.clone(),
        new_value,
        setter: format!("{namespace}:{name}{}", place.marker.part),
    }
}

fn choices(facts: &Facts) -> BTreeMap<ObjectKey, ImageRef> {
    let chosen = |(key, policy): (&ObjectKey, &PolicyFacts)| match policy {
        PolicyFacts::Chosen(Choice { image, .. }) => Some((key.clone(), image.clone())),
        PolicyFacts::Waiting(_) | PolicyFacts::NotSelected => None,
    };
    facts.policies.iter().filter_map(chosen).collect()
}
