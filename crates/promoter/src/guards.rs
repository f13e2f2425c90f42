//! The Guards that concern an image, ready to judge. Owns what several Guards come to together; what each says is
//! `windlass-verify`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_model::guard::{Guard, Pin};
use windlass_model::resource::ImagePolicy;
use windlass_model::status::Readiness;
use windlass_model::{ImageName, ObjectKey, Spec};
use windlass_tuf::Roots;
use windlass_verify::{Judge, NotFetched};

/// All Guards of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Judges(BTreeMap<ObjectKey, Arc<Judge>>);

impl Judges {
    /// Reads keys and trust roots. What cannot be read makes verdicts *unknown*.
    pub(crate) fn open(spec: &Spec, roots: &Roots) -> Self {
        let ready =
            |guard: &Arc<Guard>| (guard.meta.key.clone(), Arc::new(Judge::with_roots(guard, spec, roots)));
        Self(spec.guards.values().map(ready).collect())
    }

    /// Those that concern what a policy chooses.
    pub(crate) fn of(&self, spec: &Spec, policy: &ImagePolicy, image: &ImageName) -> Guards {
        let guards = spec.guards_of(image, &policy.meta.key.namespace);
        guards.filter_map(|guard| self.0.get(&guard.meta.key).cloned()).collect()
    }

    /// What keeps Guards from allowing anything, by Guard: mistakes, and trust roots that cannot be had.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&ObjectKey, String)> {
        self.0.iter().flat_map(|(key, judge)| {
            let mistakes = judge.problems().into_iter().map(|(field, why)| format!("{field}: {why}"));
            let failed = judge.latest_roots().filter_map(|latest| match latest.root {
                Err(why @ NotFetched::Failed(_)) => {
                    Some(format!("spec.authorities.{}.trustRoot: {}: {why}", latest.authority, latest.mirror))
                }
                Ok(_) | Err(NotFetched::Pending | NotFetched::Unusable(_)) => None,
            });
            mistakes.chain(failed).map(move |why| (key, why))
        })
    }

    /// The state of a Guard that has no problem: its trust roots may be on their way.
    pub(crate) fn state(&self, guard: &ObjectKey) -> (Readiness, String) {
        let (mut readiness, mut message) = (Readiness::Ready, "loaded".to_owned());
        for latest in self.0.get(guard).iter().flat_map(|judge| judge.latest_roots()) {
            let state = match latest.root {
                Ok(root) => {
                    let failure =
                        root.failure.as_ref().map(|why| format!(", for it could not be fetched anew: {why}"));
                    format!("{} until {}{}", root.root.sha256(), root.until, failure.unwrap_or_default())
                }
                Err(why) => {
                    readiness = Readiness::Pending;
                    why.to_string()
                }
            };
            message = format!("{message}; `{}`, trust root of {}: {state}", latest.authority, latest.mirror);
        }
        (readiness, message)
    }
}

/// The Guards that concern one policy's image; all of them must allow it. Equal where they judge alike.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guards(Arc<[Arc<Judge>]>);

impl Guards {
    /// Whether the image is unguarded.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn judges(&self) -> &[Arc<Judge>] {
        &self.0
    }

    /// What they say together of writing the digest: the strictest counts.
    pub(crate) fn pin(&self) -> Option<Pin> {
        let strictness = |pin: &Pin| match pin {
            Pin::Never => 0,
            Pin::WhereverPossible => 1,
            Pin::Required => 2,
        };
        self.0.iter().map(|judge| judge.pin()).max_by_key(strictness)
    }

    /// Whether the verified digest is part of the choice.
    pub(crate) fn pins(&self) -> bool {
        self.pin().is_some_and(|pin| pin != Pin::Never)
    }

    /// Whether any asks for the image's age.
    pub(crate) fn ask_for_age(&self) -> bool {
        self.0.iter().any(|judge| judge.asks_for_age())
    }
}

impl PartialEq for Guards {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|judge| judge.fingerprint()).eq(other.0.iter().map(|judge| judge.fingerprint()))
    }
}

impl FromIterator<Arc<Judge>> for Guards {
    fn from_iter<I: IntoIterator<Item = Arc<Judge>>>(judges: I) -> Self {
        Self(judges.into_iter().collect())
    }
}
