//! What each policy chooses at present: the best tag, kept up to date one new tag at a time, and its digest. A policy with
//! a variant lock chooses for each variant that stands in Git, and for no other.

mod basis;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use windlass_model::resource::{ImagePolicy, ImageRepository};
use windlass_model::{Digest, ImageRef, ObjectKey, Spec, Tag};
use windlass_policy::election::Choice;
use windlass_policy::lock::Track;
use windlass_policy::rank::FirstSeen;
use windlass_policy::selection::Selector;
use windlass_verify::Verdict;

use crate::guards::Guards;
use crate::known::{Change, KnownTags};
use crate::rules::Rules;
use basis::{Basis, fingerprint};

/// What a registry said of a tag in Git above the choice holds this long: a lane must not wait for it in every round.
const ASK_AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// There is no choice, and the next look at the registry makes one.
const NOT_READ: &str = "its image was not read yet";
/// The same, after a change of the policy or of its repository.
const CHANGED: &str = "its rule changed: its image is chosen anew with the next look at the registry";

/// The state of every policy.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tracks: HashMap<Track, TrackState>,
    /// Of policies with a variant lock: the variants that stand in Git, as far as lanes saw it.
    standing: HashMap<ObjectKey, BTreeSet<Box<str>>>,
    rules: Rules,
}

#[derive(Debug, Default)]
struct TrackState {
    /// What `best` was chosen by; another basis starts anew.
    basis: Option<Basis>,
    /// The best tag among those that are known.
    best: Option<Tag>,
    /// The chosen image, digest included: Flux's `status.latestRef`.
    latest: Option<ImageRef>,
    /// Whether `latest` was chosen on this basis. One of another basis must not be written.
    current: bool,
    /// Why there is no choice at present.
    failure: Option<String>,
    /// What the registry said of tags above the choice.
    asked: BTreeMap<Tag, Asked>,
    /// What brought `latest` in.
    brought: Option<Brought>,
    /// What the Guards said of `latest`.
    verdict: Option<Arc<Verdict>>,
    /// Since when better tags than the chosen one are denied, each with the digest that it had.
    denied: BTreeMap<(Tag, Digest), Timestamp>,
}

/// What brought a choice in.
#[derive(Debug)]
pub(crate) struct Cause {
    /// The event behind it.
    pub(crate) event: Option<String>,
    /// When the event that named the chosen tag was accepted; the start of event → commit.
    pub(crate) pushed_at: Option<Timestamp>,
}

/// A choice with its cause.
#[derive(Debug)]
struct Brought {
    image: ImageRef,
    cause: Cause,
    /// Whether the time from the event to the commit was taken.
    measured: bool,
}

/// The registry's last answer about a tag.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Timestamp,
    gone: bool,
}

/// The tags to choose among.
#[derive(Debug)]
pub(crate) struct Tags<'a> {
    pub(crate) known: &'a KnownTags,
    /// What is new among them since the last look.
    pub(crate) change: &'a Change,
    /// When they were first seen, where an order compares that; empty otherwise.
    pub(crate) first_seen: &'a FirstSeen,
}

impl Choices {
    /// Takes over what the ledger remembers, so that a restart neither forgets a digest nor reads every registry
    /// before it can decide.
    pub(crate) fn remember(&self, latest: impl IntoIterator<Item = (Track, ImageRef)>) {
        let mut state = self.lock();
        for (track, image) in latest {
            state.tracks.entry(track).or_default().latest = Some(image);
        }
    }

    /// What the policy has a choice for.
    pub(crate) fn tracks(&self, policy: &ImagePolicy) -> Vec<Track> {
        let key = &policy.meta.key;
        if !policy.variant_lock {
            return vec![Track::only(key)];
        }
        let standing = self.lock().standing.get(key).cloned().unwrap_or_default();
        standing.into_iter().map(|variant| Track { policy: key.clone(), variant }).collect()
    }

    /// A variant stands in Git. Returns whether that is news: then nothing was chosen for it yet.
    pub(crate) fn stands(&self, track: &Track) -> bool {
        self.lock().standing.entry(track.policy.clone()).or_default().insert(track.variant.clone())
    }

    /// These tracks have places in Git. Returns the ImageRepositories of those for which nothing was chosen yet.
    pub(crate) fn found_in_git<'t>(
        &self,
        spec: &Spec,
        tracks: impl Iterator<Item = &'t Track>,
    ) -> BTreeSet<ObjectKey> {
        let locked = |track: &&Track| spec.image_policies.get(&track.policy).is_some_and(|p| p.variant_lock);
        let news = tracks.filter(locked).filter(|track| self.stands(track));
        news.filter_map(|track| Some(spec.image_policies.get(&track.policy)?.repository.clone())).collect()
    }

    /// These are all the variants that stand in Git; the others are forgotten.
    pub(crate) fn only_stand(&self, policy: &ObjectKey, variants: &BTreeSet<Box<str>>) {
        let State { tracks, standing, .. } = &mut *self.lock();
        let Some(standing) = standing.get_mut(policy) else { return };
        for variant in standing.extract_if(.., |variant| !variants.contains(variant)) {
            tracks.remove(&Track { policy: policy.clone(), variant });
        }
    }

    /// What tells the variants of a policy with a variant lock apart.
    pub(crate) fn variants(&self, policy: &ImagePolicy) -> Result<Arc<Selector>, String> {
        self.lock().rules.selector(policy, "").map_err(|error| error.to_string())
    }

    /// Chooses the best tag. Only what changed is looked at, unless the rule is new or the best tag is gone.
    ///
    /// # Errors
    /// Why nothing can be chosen, in Flux's words where Flux has them.
    pub(crate) fn choose(
        &self,
        track: &Track,
        policy: &Arc<ImagePolicy>,
        repository: &Arc<ImageRepository>,
        guards: &Guards,
        tags: &Tags<'_>,
    ) -> Result<Tag, String> {
        let State { tracks, rules, .. } = &mut *self.lock();
        let state = tracks.entry(track.clone()).or_default();
        let chosen = state
            .rest_on(rules, &track.variant, policy, repository, guards)
            .and_then(|()| state.choose(tags));
        let chosen = chosen.map_err(|why| explain(track, policy, why));
        state.failure = chosen.as_ref().err().cloned();
        chosen
    }

    /// The best tag beside those that the Guards deny; the policy's own best one stays what it is.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn choose_beside(
        &self,
        track: &Track,
        tags: &Tags<'_>,
        denied: &BTreeSet<Tag>,
    ) -> Result<Tag, String> {
        let state = self.lock();
        let basis = state.tracks.get(track).and_then(|state| state.basis.as_ref());
        basis.ok_or_else(|| NOT_READ.to_owned())?.best_of(tags.known.iter(), tags.first_seen, denied)
    }

    /// Nothing is chosen, for a reason that the tags alone do not give.
    pub(crate) fn refuse(&self, track: &Track, why: &str) {
        self.lock().tracks.entry(track.clone()).or_default().failure = Some(why.to_owned());
    }

    /// These better tags are denied at present. Returns since when the best of them is.
    pub(crate) fn denied(&self, track: &Track, tags: &[(Tag, Digest)], now: Timestamp) -> Option<Timestamp> {
        let mut state = self.lock();
        let denied = &mut state.tracks.entry(track.clone()).or_default().denied;
        denied.retain(|known, _| tags.contains(known));
        for tag in tags {
            denied.entry(tag.clone()).or_insert(now);
        }
        denied.get(tags.first()?).copied()
    }

    /// Sets the track's image. Returns whether it differs from the one before.
    pub(crate) fn set_latest(
        &self,
        track: &Track,
        image: ImageRef,
        verdict: Option<Arc<Verdict>>,
        now: Timestamp,
    ) -> bool {
        let mut state = self.lock();
        let state = state.tracks.entry(track.clone()).or_default();
        state.verdict = verdict;
        state.asked.retain(|_, asked| asked.holds(now));
        state.current = state.basis.as_ref().is_some_and(|basis| basis.admits(&image));
        state.latest.replace(image.clone()) != Some(image)
    }

    /// Notes what brings a choice in. It must be noted before the choice can be seen: whichever run writes it, the commit
    /// names the event. The first event that names the tag stays.
    pub(crate) fn brought_by(&self, track: &Track, image: &ImageRef, cause: Cause) {
        let mut state = self.lock();
        let state = state.tracks.entry(track.clone()).or_default();
        let named = |b: &Brought| b.image == *image && (b.measured || b.cause.pushed_at.is_some());
        if !state.brought.as_ref().is_some_and(named) {
            state.brought = Some(Brought { image: image.clone(), cause, measured: false });
        }
    }

    /// Forgets what brought the choices in.
    pub(crate) fn forget_causes(&self) {
        self.lock().tracks.values_mut().for_each(|state| state.brought = None);
    }

    /// The event that brought this choice in.
    pub(crate) fn event_of(&self, track: &Track, image: &ImageRef) -> Option<String> {
        let state = self.lock();
        let brought = state.tracks.get(track)?.brought.as_ref().filter(|brought| brought.image == *image)?;
        brought.cause.event.clone()
    }

    /// This choice landed: when the event that named its tag was accepted, once for each choice.
    pub(crate) fn landed(&self, track: &Track, image: &ImageRef) -> Option<Timestamp> {
        let mut state = self.lock();
        let brought =
            state.tracks.get_mut(track)?.brought.as_mut().filter(|brought| brought.image == *image)?;
        let first = !std::mem::replace(&mut brought.measured, true);
        brought.cause.pushed_at.filter(|_| first)
    }

    /// The policy was not asked although tags may have come: its best one is looked for among all the next time.
    pub(crate) fn pass_over(&self, policy: &ImagePolicy) {
        for track in self.tracks(policy) {
            if let Some(state) = self.lock().tracks.get_mut(&track) {
                state.best = None;
            }
        }
    }

    /// The track's image as of the last look, whatever came since.
    pub(crate) fn latest(&self, track: &Track) -> Option<ImageRef> {
        self.lock().tracks.get(track).and_then(|state| state.latest.clone())
    }

    /// What the policy chooses on this track, with what the Guards say of it, or why it chooses nothing.
    pub(crate) fn chosen(
        &self,
        track: &Track,
        policy: &Arc<ImagePolicy>,
        repository: &Arc<ImageRepository>,
        guards: &Guards,
    ) -> Result<(Choice, Option<Arc<Verdict>>), String> {
        let State { tracks, rules, .. } = &mut *self.lock();
        let Some(state) = tracks.get_mut(track) else { return Err(NOT_READ.to_owned()) };
        if state.basis.is_none() {
            state.rest_on(rules, &track.variant, policy, repository, guards)?;
        }
        let basis = state.basis.as_ref().filter(|basis| basis.is_of(policy, repository, guards));
        let basis = basis.ok_or_else(|| CHANGED.to_owned())?;
        match (&state.failure, &state.latest) {
            (Some(why), _) => Err(why.clone()),
            (None, Some(_)) if !state.current => Err(CHANGED.to_owned()),
            // Guards that were asked leave a verdict behind; without one nothing is known to be allowed.
            (None, Some(_)) if !guards.is_empty() && state.verdict.is_none() => Err(CHANGED.to_owned()),
            (None, Some(image)) => {
                let choice = Choice {
                    image: image.clone(),
                    selector: basis.selector.clone(),
                    excluded: basis.excluded.clone(),
                    gone: state.asked.iter().filter(|(_, a)| a.gone).map(|(tag, _)| tag.clone()).collect(),
                    first_seen: FirstSeen::default(),
                    pin: basis.guards.pin(),
                    rule: fingerprint(&basis.policy, &repository.exclusion_list),
                };
                Ok((choice, state.verdict.clone()))
            }
            (None, None) => Err(NOT_READ.to_owned()),
        }
    }

    /// Whether the registry is to be asked about this tag, which stands in Git above the policy's choice.
    pub(crate) fn is_to_be_asked(&self, track: &Track, tag: &Tag, now: Timestamp) -> bool {
        let state = self.lock();
        let asked = state.tracks.get(track).and_then(|state| state.asked.get(tag));
        asked.is_none_or(|asked| !asked.holds(now))
    }

    /// The registry said whether this tag is gone; no answer counts as one that it is there.
    pub(crate) fn asked(&self, track: &Track, tag: Tag, gone: bool, now: Timestamp) {
        if let Some(state) = self.lock().tracks.get_mut(track) {
            state.asked.insert(tag, Asked { at: now, gone });
        }
    }

    /// Forgets the policies that are configured no more.
    pub(crate) fn retain(&self, keep: impl Fn(&ObjectKey) -> bool) {
        let mut state = self.lock();
        state.tracks.retain(|track, _| keep(&track.policy));
        state.standing.retain(|policy, _| keep(policy));
        state.rules.forget_unused();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrackState {
    fn choose(&mut self, tags: &Tags<'_>) -> Result<Tag, String> {
        let Tags { known, change, first_seen } = tags;
        let Some(basis) = &self.basis else { return Err(NOT_READ.to_owned()) };
        // A look that lacks the tag is newer than an earlier answer about it.
        self.asked.retain(|tag, _| !change.removed.contains(tag));
        let best = self.best.take().filter(|best| known.contains(best));
        let none = BTreeSet::new();
        let tag = match &best {
            Some(best) => basis.best_of(iter::once(best).chain(&change.added), first_seen, &none),
            None => basis.best_of(known.iter(), first_seen, &none),
        }?;
        self.best = Some(tag.clone());
        Ok(tag)
    }

    /// Makes this the basis of the choice. The same basis keeps everything; another one makes the earlier choice void.
    fn rest_on(
        &mut self,
        rules: &mut Rules,
        variant: &str,
        policy: &Arc<ImagePolicy>,
        repository: &Arc<ImageRepository>,
        guards: &Guards,
    ) -> Result<(), String> {
        if let Some(basis) = self.basis.as_mut().filter(|basis| basis.is_of(policy, repository, guards)) {
            // Equal but for labels and the place in the file: the old ones need not be kept.
            (basis.policy, basis.repository) = (policy.clone(), repository.clone());
            return Ok(());
        }
        let selector = rules.selector(policy, variant).map_err(|e| e.to_string())?;
        let excluded = rules.exclusions(&repository.exclusion_list).map_err(|e| e.to_string())?;
        let (policy, repository, guards) = (policy.clone(), repository.clone(), guards.clone());
        let basis = Basis { policy, repository, guards, selector, excluded };
        // Nobody knows by what rule the last process chose; what this rule does not admit was another's choice. What
        // Guards were asked then is not known either, so what they concern is verified anew.
        self.current = self.basis.is_none()
            && basis.guards.is_empty()
            && self.latest.as_ref().is_some_and(|image| basis.admits(image));
        *self =
            Self { basis: Some(basis), latest: self.latest.take(), current: self.current, ..Self::default() };
        Ok(())
    }
}

impl Asked {
    fn holds(self, now: Timestamp) -> bool {
        let age = now.duration_since(self.at);
        // A clock that was set back must not keep it for ever.
        !age.is_negative() && age < ASK_AGAIN
    }
}

/// Says whose failure it is, where a policy has several choices.
fn explain(track: &Track, policy: &ImagePolicy, why: String) -> String {
    match (policy.variant_lock, &*track.variant) {
        (false, _) => why,
        (true, "") => format!("no tag without a variant is chosen: {why}"),
        (true, variant) => format!("no tag of the variant `{variant}` is chosen: {why}"),
    }
}

#[cfg(test)]
mod tests;
