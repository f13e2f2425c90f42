//! Guards: that a text is read strictly, and that nothing in it can take away what another Guard asks.

use std::collections::BTreeMap;

use windlass_model::guard::{AttestationRule, GuardRules, Quorum, Trust};
use windlass_model::image::ImageName;
use windlass_model::load::{self, Semantics, assemble};

/// A Guard that is there whatever follows.
const KNOWN: &str = "apiVersion: windlass.dev/v1alpha1\nkind: Guard\nmetadata: {name: known}\nspec:\n  match: {images: \
                     ['ghcr.io/acme/**']}\n  require: {minAge: 1h}\n---\n";

/// Texts of other crates' grammars are not what this is about.
pub(crate) struct Anything;

impl Semantics for Anything {
    fn semver_range(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn filter_pattern(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn filter_extract(&self, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn calendar_format(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn exclusion(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn message_template(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn key_path(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn document_selector(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn path_pattern(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn attestation(&self, _: &AttestationRule) -> Result<(), String> {
        Ok(())
    }
}

/// One field: a text with Guards.
///
/// # Panics
/// Where a Guard's rules contradict themselves, or a text disables a Guard before it.
pub fn guard(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = load::read("f.yaml", text, &Anything);
    let lines = text.split(['\n', '\r']).count() + 1;
    for problem in &file.problems {
        assert!(problem.origin.line <= lines, "{problem} is beyond the text:\n{text}");
    }
    let spec = assemble([&file], &BTreeMap::new()).spec;
    for guard in spec.guards.values() {
        if let Ok(rules) = &guard.rules {
            assert!(guard.scope.images.as_ref().is_some_and(|images| !images.is_empty()), "{text}");
            check(rules, text);
        }
    }
    let file = load::read("f.yaml", &format!("{KNOWN}{text}"), &Anything);
    let spec = assemble([&file], &BTreeMap::new()).spec;
    let image = ImageName::parse("ghcr.io/acme/app").expect("a name");
    assert!(spec.guards_of(&image, "prod").next().is_some(), "the Guard before it is gone:\n{text}");
}

pub(crate) fn check(rules: &GuardRules, text: &str) {
    let known =
        |names: &[String]| !names.is_empty() && names.iter().all(|name| rules.authorities.contains_key(name));
    match &rules.signatures {
        Some(Quorum::AllOf(names)) => assert!(known(names), "{text}"),
        Some(Quorum::AnyOf { authorities, minimum }) => assert!(known(authorities) && *minimum > 0, "{text}"),
        None => {}
    }
    for rule in &rules.attestations {
        assert!(known(&rule.authorities) && rule.predicate_type.contains(':'), "{text}");
        let fits = rule.condition.as_ref().is_none_or(|condition| condition.fits(&rule.predicate_type));
        assert!(fits, "{text}");
    }
    for authority in rules.authorities.values() {
        match &authority.trust {
            Trust::Keyless(identities) => assert!(!identities.is_empty(), "{text}"),
            Trust::Keys(pem) => assert!(pem.contains("PUBLIC KEY"), "{text}"),
            Trust::KeySecret(_) | Trust::Notation(_) => {}
        }
    }
}
