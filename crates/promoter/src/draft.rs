//! One automation's part of a push: observe its places and policies, let `policy` decide, splice the bytes.

mod changes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use windlass_git::{BlobId, CommitId, GitError, Mirror};
use windlass_manifest::Standing;
use windlass_manifest::edit::Edit;
use windlass_model::message::ChangeNotice;
use windlass_model::place::Marker;
use windlass_model::resource::{ImagePolicy, ImageRepository, Resource as _};
use windlass_model::{ImageRef, ObjectKey};
use windlass_policy::election::{Agreed, Choice};
use windlass_policy::lock::{Track, lock};
use windlass_policy::plan::{self, Facts, Outcome, PlaceFacts, Plan, PolicyFacts};
use windlass_registry::Repository;
use windlass_verify::Verdict;

use crate::adopted::Adopted;
use crate::agreements::{self, Agreements, Group, Hold, NewAgreement};
use crate::file_edit::FileEdits;
use crate::history::History;
use crate::lanes::{Target, Written};
use crate::markers::{Marked, MarkerIndex, Overlay};
use crate::shared::Shared;
use crate::sightings;
use crate::wanted::Wanted;

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
    /// What moves something, with its choice.
    pub(crate) images: BTreeMap<Track, ImageRef>,
    /// What the Guards said of them.
    pub(crate) verdicts: BTreeMap<Track, Arc<Verdict>>,
    /// The choices that were decided upon, written or not.
    pub(crate) choices: Written,
    /// Markers that were not written, each with file, line and cause.
    pub(crate) diagnostics: Vec<String>,
    /// What Git and the policies agree upon once this is committed, where that is news.
    pub(crate) agreements: Vec<NewAgreement>,
    /// Values that stay because a person set them.
    pub(crate) holds: Vec<Hold>,
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

/// What the Guards said of the choices of one round.
type Verdicts = BTreeMap<Track, Arc<Verdict>>;

/// Where a draft is made.
pub(crate) struct Desk<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) spec: &'a Adopted,
    pub(crate) mirror: &'a Mirror,
    pub(crate) base: CommitId,
    pub(crate) overlay: &'a Overlay,
    /// What was agreed upon before.
    pub(crate) agreements: &'a Agreements,
    /// What was written before the ledger forgot it.
    pub(crate) history: Option<&'a History>,
}

impl Desk<'_> {
    /// Observes, decides and edits for one automation. Nothing is written to the repository.
    pub(crate) async fn draft(&self, index: &mut MarkerIndex, target: &Target) -> Result<Draft, DraftError> {
        let wanted = Wanted::of(&target.automation, self.spec).map_err(DraftError::Automation)?;
        let marked = index.marked(self.mirror, self.base, &wanted, self.overlay).await?;
        let (mut facts, places, verdicts) = self.observe(target, &marked).await;
        let recalled = self.history.map(|history| history.recall(&facts)).unwrap_or_default();
        facts.agreed.extend(recalled.iter().cloned());
        let mut plan = plan::decide(&facts);
        let mut draft = Draft { diagnostics: diagnostics(target, &marked), ..Draft::default() };
        draft.diagnostics.extend(plan.diagnostics(&facts));
        draft.choices = choices(&facts);
        let written = self.edit(&marked, &places, &facts, &mut plan, &mut draft).await?;
        draft.agreements = agreements::new(&facts, &plan, recalled);
        draft.holds = agreements::holds(&facts, &plan);
        changes::describe(target, &facts, &written, &mut draft)?;
        draft.verdicts = verdicts;
        draft.verdicts.retain(|track, _| draft.images.contains_key(track));
        Ok(draft)
    }

    /// Every marker below the automation's path, and every policy of its namespace.
    async fn observe(&self, target: &Target, marked: &Marked) -> (Facts, Vec<Whence>, Verdicts) {
        let mut places = Vec::new();
        let mut origins = Vec::new();
        for (file, marked) in marked.files.iter().enumerate() {
            for (index, place) in marked.scan.places.iter().enumerate() {
                origins.push(Whence::Marker { file, index });
                places.push(PlaceFacts {
                    file: marked.path.clone(),
                    line: place.line,
                    marker: place.marker.clone(),
                    value: place.value.clone(),
                    variant: Ok(Box::default()),
                    object: place.object.clone(),
                });
            }
            for (index, place) in marked.declared.iter().enumerate() {
                let Standing { line, part, value, object } = place.standing.clone();
                let policy = place.declared.policy.clone();
                origins.push(Whence::Declared { file, index });
                places.push(PlaceFacts {
                    file: marked.path.clone(),
                    line,
                    marker: Marker { policy, part },
                    value,
                    variant: Ok(Box::default()),
                    object,
                });
            }
        }
        let namespace = target.automation.meta.key.namespace.clone();
        let agreed = self.agreements.known().clone();
        let standing = self.lock(target, &mut places, &agreed);
        let (policies, mut verdicts) = self.policies(target, &standing);
        let mut facts = Facts { namespace, policies, places, agreed };
        sightings::complete(&mut facts, &self.shared.store, self.spec).await;
        if self.ask_for_tags_ahead(&facts).await {
            (facts.policies, verdicts) = self.policies(target, &standing);
            sightings::complete(&mut facts, &self.shared.store, self.spec).await;
        }
        (facts, origins, verdicts)
    }

    /// The policies of the automation's namespace.
    fn policies_of(&self, target: &Target) -> impl Iterator<Item = (&ObjectKey, &Arc<ImagePolicy>)> {
        let namespace = target.automation.meta.key.namespace.clone();
        self.spec.image_policies.iter().filter(move |(key, _)| key.namespace == namespace)
    }

    /// Puts the places of policies with a variant lock on their tracks. Which variants stand in Git, by policy.
    fn lock(
        &self,
        target: &Target,
        places: &mut [PlaceFacts],
        agreed: &BTreeMap<Group, Agreed>,
    ) -> BTreeMap<ObjectKey, BTreeSet<Box<str>>> {
        let locked = self.policies_of(target).filter(|(_, policy)| policy.variant_lock);
        let standing = locked.filter_map(|(key, policy)| {
            // A rule that cannot be compiled is what the policy waits for.
            let selector = self.shared.choices.variants(policy).ok()?;
            Some((key.clone(), lock(places, key, &selector, agreed)))
        });
        standing.collect()
    }

    fn policies(
        &self,
        target: &Target,
        standing: &BTreeMap<ObjectKey, BTreeSet<Box<str>>>,
    ) -> (BTreeMap<ObjectKey, PolicyFacts>, Verdicts) {
        let automation = &target.automation;
        let mut verdicts = Verdicts::new();
        let mut chosen = |track: Track, policy: &Arc<ImagePolicy>, repository: &Arc<ImageRepository>| {
            let guards = self.spec.guards_of(policy, repository);
            let (choice, verdict) = self.shared.choices.chosen(&track, policy, repository, &guards)?;
            verdicts.extend(verdict.map(|verdict| (track, verdict)));
            Ok(choice)
        };
        let facts = self.policies_of(target).map(|(key, policy)| {
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
                (None, Some(repository)) if policy.variant_lock => {
                    let variants = standing.get(key).into_iter().flatten().cloned();
                    let of_variant = |variant: Box<str>| {
                        let track = Track { policy: key.clone(), variant: variant.clone() };
                        (variant, chosen(track, policy, repository))
                    };
                    PolicyFacts::Locked(variants.map(of_variant).collect())
                }
                (None, Some(repository)) => match chosen(Track::only(key), policy, repository) {
                    Ok(choice) => PolicyFacts::Chosen(choice),
                    Err(why) => PolicyFacts::Waiting(why),
                },
            };
            (key.clone(), fact)
        });
        let facts = facts.collect();
        (facts, verdicts)
    }

    /// A value in Git above the policy's choice stays only while its tag exists: asks for each such tag of which
    /// nothing is known. Returns whether any is gone. An answer that does not come leaves the value where it is.
    async fn ask_for_tags_ahead(&self, facts: &Facts) -> bool {
        let (choices, now) = (&self.shared.choices, self.shared.now());
        let mut requests = JoinSet::new();
        for (track, tag) in plan::tags_ahead(facts) {
            let Some(client) =
                self.registry_of(&track.policy).filter(|_| choices.is_to_be_asked(&track, &tag, now))
            else {
                continue;
            };
            requests.spawn(async move {
                let answer = tokio::time::timeout(TAG_CHECK, client.resolve(&tag)).await;
                (track, tag, matches!(answer, Ok(Ok(None))))
            });
        }
        let mut any = false;
        for (track, tag, gone) in requests.join_all().await {
            if gone {
                tracing::warn!(policy = %track.policy, %tag, "a tag that stands in Git is gone from the registry");
            }
            any |= gone;
            choices.asked(&track, tag, gone, now);
        }
        any
    }

    fn registry_of(&self, policy: &ObjectKey) -> Option<Repository> {
        let policy = self.spec.image_policies.get(policy)?;
        let repository = self.spec.image_repositories.get(&policy.repository)?;
        let config = crate::access::registry(self.spec, repository).ok()?;
        self.shared.pool.repository(config).ok()
    }

    /// Edits the files in memory, and corrects the plan by what came of it. Returns the places that were written.
    async fn edit(
        &self,
        marked: &Marked,
        places: &[Whence],
        facts: &Facts,
        plan: &mut Plan,
        draft: &mut Draft,
    ) -> Result<Vec<usize>, GitError> {
        let mut written = Vec::new();
        let edits = edits(marked, places, facts, plan);
        // After a mirror was renewed, files that are known need not be there: one request for all of them.
        let edited: Vec<BlobId> = edits.keys().filter_map(|file| marked.files[*file].blob()).collect();
        self.mirror.complete(&edited).await?;
        for (file, edits) in edits {
            let file = &marked.files[file];
            let bytes = file.bytes(self.mirror).await?;
            let edited = edits.make(file, bytes.clone());
            draft.diagnostics.extend(edited.diagnostics);
            if edited.bytes != bytes {
                draft.files.push((file.path.to_string(), edited.bytes));
            }
            for place in edited.right {
                plan.outcomes[place] = Outcome::UpToDate;
            }
            // Such a place holds what it held: nothing is agreed upon there.
            for place in edited.refused {
                plan.outcomes[place] = Outcome::Waiting("the editor refused the place".to_owned());
            }
            written.extend(edited.written);
        }
        written.sort_unstable();
        Ok(written)
    }
}

/// Where a place of the facts comes from.
#[derive(Debug, Clone, Copy)]
enum Whence {
    /// A marker of a file.
    Marker { file: usize, index: usize },
    /// A declared place of a file.
    Declared { file: usize, index: usize },
}

/// What is to be written, by file. A declared place is edited even where it reads as right: a tag that is a number there
/// is to be text.
fn edits<'a>(
    marked: &'a Marked,
    places: &[Whence],
    facts: &'a Facts,
    plan: &Plan,
) -> BTreeMap<usize, FileEdits<'a>> {
    let mut edits: BTreeMap<usize, FileEdits<'a>> = BTreeMap::new();
    for (place, (whence, outcome)) in places.iter().zip(&plan.outcomes).enumerate() {
        match (*whence, outcome) {
            (Whence::Marker { file, index }, Outcome::Write { value }) => {
                let edit = Edit { place: index, value: value.clone() };
                edits.entry(file).or_default().markers.push((place, edit));
            }
            (Whence::Declared { file, index }, Outcome::Write { .. } | Outcome::UpToDate) => {
                let Some(choice) = facts.choice(&facts.places[place]) else { continue };
                let declared = &marked.files[file].declared[index];
                edits.entry(file).or_default().declared.push((place, declared, &choice.image));
            }
            _ => {}
        }
    }
    edits
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

fn choices(facts: &Facts) -> Written {
    let mut choices = Written::new();
    for (policy, fact) in &facts.policies {
        match fact {
            PolicyFacts::Chosen(Choice { image, .. }) => {
                choices.insert(Track::only(policy), Some(image.clone()));
            }
            PolicyFacts::Locked(variants) => choices.extend(variants.iter().map(|(variant, choice)| {
                let track = Track { policy: policy.clone(), variant: variant.clone() };
                (track, choice.as_ref().ok().map(|choice| choice.image.clone()))
            })),
            PolicyFacts::Waiting(_) | PolicyFacts::NotSelected => {}
        }
    }
    choices
}
