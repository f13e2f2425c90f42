//! Kubernetes label selectors. Owns their form; matching is the selector's own.

use super::fields::{Fields, Slot};
use crate::resource::{LabelRequirement, LabelSelector};

/// More requirements or values than this are a mistake.
const MAX_ITEMS: usize = 1_000;

/// How `matchExpressions` compare.
#[derive(Clone, Copy)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// Decodes `{matchLabels, matchExpressions}`; `None` where an error was reported.
pub(super) fn decode(slot: &Slot<'_>) -> Option<LabelSelector> {
    let fields = slot.fields(&["matchLabels", "matchExpressions"])?;
    let match_labels = fields.text_map("matchLabels");
    let items = fields.slot("matchExpressions").and_then(|slot| slot.list(MAX_ITEMS)).unwrap_or_default();
    let match_expressions = items.iter().filter_map(requirement).collect();
    Some(LabelSelector { match_labels, match_expressions })
}

fn requirement(slot: &Slot<'_>) -> Option<LabelRequirement> {
    let fields = slot.fields(&["key", "operator", "values"])?;
    let key = fields.required("key").and_then(|slot| slot.filled_text().map(str::to_owned));
    let operator = fields.required("operator")?.choice(&[
        ("In", Operator::In),
        ("NotIn", Operator::NotIn),
        ("Exists", Operator::Exists),
        ("DoesNotExist", Operator::DoesNotExist),
    ])?;
    let values = match operator {
        Operator::In | Operator::NotIn => some_values(&fields)?,
        Operator::Exists | Operator::DoesNotExist => no_values(&fields)?,
    };
    let key = key?;
    Some(match operator {
        Operator::In => LabelRequirement::In(key, values),
        Operator::NotIn => LabelRequirement::NotIn(key, values),
        Operator::Exists => LabelRequirement::Exists(key),
        Operator::DoesNotExist => LabelRequirement::DoesNotExist(key),
    })
}

fn some_values(fields: &Fields<'_>) -> Option<Vec<String>> {
    let slot = fields.required("values")?;
    let items = slot.list(MAX_ITEMS)?;
    if items.is_empty() {
        slot.error("needs at least one value for `In` and `NotIn`");
        return None;
    }
    Some(items.iter().filter_map(Slot::text).map(str::to_owned).collect())
}

fn no_values(fields: &Fields<'_>) -> Option<Vec<String>> {
    if let Some(slot) = fields.slot("values")
        && slot.list(MAX_ITEMS).is_some_and(|items| !items.is_empty())
    {
        slot.error("must be absent for `Exists` and `DoesNotExist`");
        return None;
    }
    Some(Vec::new())
}
