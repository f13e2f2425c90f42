//! Other tools' policies: that whatever comes out is a whole Guard that is read as it was meant.

use std::collections::BTreeMap;

use windlass_model::load::import::{Weight, import};
use windlass_model::load::{self, assemble};

use crate::guard::{Anything, check};

/// One field: a text with policies.
///
/// # Panics
/// Where a Guard asks for nothing or is not read back, or a policy vanishes without a word.
pub fn policies(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let found = import(&[("f.yaml".to_owned(), text.to_owned())], &Anything);
    let lines = text.split(['\n', '\r']).count() + 1;
    for remark in &found.remarks {
        assert!(remark.origin.line <= lines, "{remark} is beyond the text:\n{text}");
    }
    let refused = found.remarks.iter().any(|remark| remark.weight == Weight::Refused);
    assert!(found.guards.len() >= found.policies || refused, "a policy is gone:\n{text}");
    let printed: Vec<&str> = found.guards.iter().map(|guard| guard.yaml.as_str()).collect();
    let file = load::read("printed.yaml", &printed.join("---\n"), &Anything);
    let spec = assemble([&file], &BTreeMap::new()).spec;
    assert_eq!(spec.guards.len(), found.guards.len(), "{text}");
    for guard in &found.guards {
        let there = &spec.guards[&guard.guard.meta.key];
        assert!(there.rules == guard.guard.rules && there.scope == guard.guard.scope, "{text}");
        let rules = there.rules.as_ref().expect("it is read without an error");
        assert!(rules.signatures.is_some() || !rules.attestations.is_empty(), "{text}");
        check(rules, text);
    }
}
