//! What Git and the policies of an automation last agreed upon, as the ledger remembers it, and what follows when a
//! person's value differs: the hold is told once.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use windlass_model::{ObjectKey, ObjectRef, Spec, Tag};
use windlass_policy::election::Agreed;
use windlass_policy::lock::Track;
use windlass_policy::plan::{Facts, Outcome, Plan};
use windlass_store::{Agreement, LedgerWrite, Record, Store, StoreError};

use crate::{notices, trail};

/// A file, and a policy's track whose markers are in it.
pub(crate) type Group = (Arc<str>, Track);

/// The agreements of one automation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agreements {
    known: BTreeMap<Group, Agreed>,
    /// The person's value that people were told of.
    told: BTreeMap<Group, Tag>,
}

/// A new agreement, on its way into the ledger with the commit that brings it about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewAgreement {
    file: String,
    policy: ObjectKey,
    #[serde(default)]
    variant: String,
    tag: Tag,
    before: Option<Tag>,
    rule: String,
}

/// A value that stays although the policy chooses another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    group: Group,
    present: Tag,
    text: String,
}

impl Agreements {
    /// Reads them from the ledger.
    pub(crate) async fn load(store: &Store, automation: &ObjectKey) -> Result<Self, StoreError> {
        let mut agreements = Self::default();
        for agreement in store.load_agreed(automation).await? {
            let Agreement { file, policy, variant, tag, before, rule, told, .. } = agreement;
            let group: Group = (file.into(), Track { policy, variant: variant.into() });
            agreements.told.extend(told.map(|told| (group.clone(), told)));
            agreements.known.insert(group, Agreed { tag, before, rule: rule.into() });
        }
        Ok(agreements)
    }

    /// Nothing was ever agreed upon, or all of it is forgotten.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// For the decision.
    pub(crate) fn known(&self) -> &BTreeMap<Group, Agreed> {
        &self.known
    }

    /// Those alone that are held.
    pub(crate) fn held_by(mut self, holds: &[Hold]) -> Self {
        self.known.retain(|group, _| holds.iter().any(|hold| hold.group == *group));
        self
    }

    /// Takes over what was recorded.
    pub(crate) fn learn(&mut self, new: &[NewAgreement]) {
        for NewAgreement { file, policy, variant, tag, before, rule } in new {
            let track = Track { policy: policy.clone(), variant: variant.as_str().into() };
            let group: Group = (file.as_str().into(), track);
            self.told.remove(&group);
            let (tag, before) = (tag.clone(), before.clone());
            self.known.insert(group, Agreed { tag, before, rule: rule.as_str().into() });
        }
    }

    /// The record that tells people of the holds that they do not know of yet; empty where there is none.
    pub(crate) fn tell(
        &mut self,
        spec: &Spec,
        automation: &ObjectRef,
        holds: Vec<Hold>,
        at: Timestamp,
    ) -> Record {
        let mut record = Record::default();
        for Hold { group, present, text } in holds {
            if self.told.get(&group) == Some(&present) {
                continue;
            }
            let (file, Track { policy, variant }) = group.clone();
            let what = format!("{file} {policy} {present} {at}");
            record.outbox.extend(notices::held(spec, automation, &what, &text, at));
            record.audit.push(trail::held(automation, &policy, &text, at));
            record.ledger.push(LedgerWrite::HoldTold {
                automation: automation.key.clone(),
                file: file.to_string(),
                policy,
                variant: variant.into(),
                present: present.clone(),
            });
            self.told.insert(group, present);
        }
        record
    }
}

impl NewAgreement {
    /// The ledger's form.
    pub(crate) fn write(&self, automation: &ObjectKey, at: Timestamp) -> LedgerWrite {
        let Self { file, policy, variant, tag, before, rule } = self.clone();
        let automation = automation.clone();
        LedgerWrite::Agreed(Agreement {
            automation,
            file,
            policy,
            variant,
            tag,
            before,
            rule,
            at,
            told: None,
        })
    }
}

/// The agreements that a plan brings about.
pub(crate) fn new(facts: &Facts, plan: &Plan, recalled: Vec<(Group, Agreed)>) -> Vec<NewAgreement> {
    // What was recalled is news to the ledger, but for what is agreed upon anew.
    let mut agreed: BTreeMap<Group, Agreed> = recalled.into_iter().collect();
    agreed.extend(windlass_policy::plan::agreements(facts, plan));
    let new = |((file, track), Agreed { tag, before, rule }): (Group, Agreed)| NewAgreement {
        file: file.to_string(),
        policy: track.policy,
        variant: track.variant.into(),
        tag,
        before,
        rule: rule.to_string(),
    };
    agreed.into_iter().map(new).collect()
}

/// The values that a person set, or that would go back and forth: one for each file and policy.
pub(crate) fn holds(facts: &Facts, plan: &Plan) -> Vec<Hold> {
    let mut holds: BTreeMap<Group, Hold> = BTreeMap::new();
    for (place, outcome) in facts.places.iter().zip(&plan.outcomes) {
        let (Outcome::Held { present, .. } | Outcome::Flapping { present, .. }) = outcome else { continue };
        let Some(track) = place.track() else { continue };
        let group = (place.file.clone(), track);
        let ObjectKey { namespace, name } = &place.marker.policy;
        let text = format!("{}:{}: {namespace}:{name} {outcome}", place.file, place.line);
        holds.entry(group.clone()).or_insert(Hold { group, present: present.clone(), text });
    }
    holds.into_values().collect()
}
