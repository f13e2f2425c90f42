//! What each policy chooses at present: the best tag, kept up to date one new tag at a time, and its digest.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windlass_model::resource::ImagePolicy;
use windlass_model::{ImageRef, ObjectKey, Tag};
use windlass_policy::election::Choice;
use windlass_policy::exclusion::Exclusions;
use windlass_policy::selection::Selector;

use crate::known::{Change, KnownTags};

/// The state of every policy.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    policies: Mutex<HashMap<ObjectKey, PolicyState>>,
}

#[derive(Debug, Clone, Default)]
struct PolicyState {
    /// The rule that `best` was chosen by; another rule starts anew.
    compiled: Option<Compiled>,
    /// The best tag among those that are known.
    best: Option<Tag>,
    /// The chosen image, digest included: Flux's `status.latestRef`.
    latest: Option<ImageRef>,
    /// Why there is no choice at present.
    failure: Option<String>,
    /// Tags above the choice that the registry said are gone.
    gone: BTreeSet<Tag>,
}

#[derive(Debug, Clone)]
struct Compiled {
    policy: Arc<ImagePolicy>,
    exclusions: Vec<String>,
    selector: Arc<Selector>,
    excluded: Arc<Exclusions>,
}

impl Choices {
    /// Takes over what the ledger remembers, so that a restart neither forgets a digest nor reads every registry
    /// before it can decide.
    pub(crate) fn remember(&self, latest: impl IntoIterator<Item = (ObjectKey, ImageRef)>) {
        let mut policies = self.lock();
        for (policy, image) in latest {
            policies.entry(policy).or_default().latest = Some(image);
        }
    }

    /// Chooses the best tag. Only what changed is looked at, unless the rule is new or the best tag is gone.
    ///
    /// # Errors
    /// Why nothing can be chosen, in Flux's words where Flux has them.
    pub(crate) fn choose(
        &self,
        policy: &Arc<ImagePolicy>,
        exclusions: &[String],
        known: &KnownTags,
        change: &Change,
    ) -> Result<Tag, String> {
        let mut policies = self.lock();
        let state = policies.entry(policy.meta.key.clone()).or_default();
        let chosen = state.choose(policy, exclusions, known, change);
        match &chosen {
            Ok(_) => state.failure = None,
            Err(why) => {
                state.failure = Some(why.clone());
                state.latest = None;
            }
        }
        chosen
    }

    /// Sets the policy's image. Returns whether it differs from the one before.
    pub(crate) fn set_latest(&self, policy: &ObjectKey, image: ImageRef) -> bool {
        let mut policies = self.lock();
        let state = policies.entry(policy.clone()).or_default();
        state.gone.clear();
        state.latest.replace(image.clone()) != Some(image)
    }

    /// The policy's image as of the last look.
    pub(crate) fn latest(&self, policy: &ObjectKey) -> Option<ImageRef> {
        self.lock().get(policy).and_then(|state| state.latest.clone())
    }

    /// What the policy chooses, or why it chooses nothing.
    pub(crate) fn chosen(&self, policy: &Arc<ImagePolicy>, exclusions: &[String]) -> Result<Choice, String> {
        let mut policies = self.lock();
        let state = policies.entry(policy.meta.key.clone()).or_default();
        let (selector, excluded) = state.compile(policy, exclusions)?;
        match (&state.failure, &state.latest) {
            (Some(why), _) => Err(why.clone()),
            (None, None) => Err("its image was not read yet".to_owned()),
            (None, Some(image)) => {
                Ok(Choice { image: image.clone(), selector, excluded, gone: state.gone.clone() })
            }
        }
    }

    /// The registry said that this tag, which stands in Git above the policy's choice, does not exist.
    pub(crate) fn mark_gone(&self, policy: &ObjectKey, tag: Tag) {
        self.lock().entry(policy.clone()).or_default().gone.insert(tag);
    }

    /// Forgets the policies that are configured no more.
    pub(crate) fn retain(&self, keep: impl Fn(&ObjectKey) -> bool) {
        self.lock().retain(|policy, _| keep(policy));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, PolicyState>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PolicyState {
    fn choose(
        &mut self,
        policy: &Arc<ImagePolicy>,
        exclusions: &[String],
        known: &KnownTags,
        change: &Change,
    ) -> Result<Tag, String> {
        let (selector, excluded) = self.compile(policy, exclusions)?;
        let usable = |tag: &&Tag| !excluded.excludes(tag.as_str());
        let best = self.best.take().filter(|best| known.contains(best));
        let chosen = match best {
            Some(best) => {
                let candidates = std::iter::once(&best).chain(change.added.iter().filter(usable));
                selector.select(candidates.map(Tag::as_str)).map(str::to_owned)
            }
            None => selector.select(known.iter().filter(usable).map(Tag::as_str)).map(str::to_owned),
        };
        let chosen = chosen.map_err(|error| error.to_string())?;
        let tag = Tag::parse(&chosen).map_err(|error| error.to_string())?;
        self.best = Some(tag.clone());
        Ok(tag)
    }

    /// The compiled rule; compiled once for each version of the policy.
    fn compile(
        &mut self,
        policy: &Arc<ImagePolicy>,
        exclusions: &[String],
    ) -> Result<(Arc<Selector>, Arc<Exclusions>), String> {
        if let Some(compiled) = &self.compiled
            && (Arc::ptr_eq(&compiled.policy, policy) || compiled.policy == *policy)
            && compiled.exclusions == exclusions
        {
            return Ok((compiled.selector.clone(), compiled.excluded.clone()));
        }
        self.best = None;
        let selector = Selector::compile(&policy.rule, policy.filter.as_ref()).map_err(|e| e.to_string())?;
        let excluded = Exclusions::compile(exclusions).map_err(|e| e.to_string())?;
        let (selector, excluded) = (Arc::new(selector), Arc::new(excluded));
        self.compiled = Some(Compiled {
            policy: policy.clone(),
            exclusions: exclusions.to_vec(),
            selector: selector.clone(),
            excluded: excluded.clone(),
        });
        Ok((selector, excluded))
    }
}
