//! What the tests of the formats share.

use super::super::testing::TestSemantics;
use super::{Import, import};
use crate::guard::GuardRules;

/// A public key, whose curve nobody looks at here.
pub(super) const KEY: &str =
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n";

pub(super) fn imported(text: &str) -> Import {
    import(&[("f.yaml".to_owned(), text.to_owned())], &TestSemantics)
}

/// The rules of every Guard, where nothing may be refused.
pub(super) fn rules(text: &str) -> Vec<GuardRules> {
    let found = imported(text);
    assert!(!found.guards.is_empty(), "{:#?}", told(&found));
    found.guards.iter().map(|guard| guard.guard.rules.clone().unwrap()).collect()
}

pub(super) fn told(found: &Import) -> Vec<String> {
    found.remarks.iter().map(ToString::to_string).collect()
}

/// Fails unless a remark with these words is there, and there are as many Guards.
pub(super) fn says(text: &str, guards: usize, words: &str) {
    let found = imported(text);
    assert!(told(&found).iter().any(|remark| remark.contains(words)), "{words}\n{text}\n{:#?}", told(&found));
    assert_eq!(found.guards.len(), guards, "{text}\n{:#?}", told(&found));
}

/// A text as a flow scalar.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A Secret with one value.
pub(super) fn secret(namespace: &str, name: &str, key: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{namespace: {namespace}, name: {name}}}\nstringData: {{{key}: {}}}\n",
        quoted(KEY)
    )
}
