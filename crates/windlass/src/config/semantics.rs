//! Checks whose grammar `windlass-policy`, `windlass-manifest` and `windlass-verify` own, lent to the loader, so that a wrong constraint, expression or template
//! is told at its exact field and line.

use windlass_manifest::glob::Glob;
use windlass_manifest::path::{DocumentSelector, KeyPath};
use windlass_model::guard::AttestationRule;
use windlass_model::load::Semantics;
use windlass_policy::calver::CalendarFormat;
use windlass_policy::constraint::Constraint;
use windlass_policy::expand::Expansion;
use windlass_policy::go_regex::GoRegex;
use windlass_policy::template::Template;
use windlass_verify::AttestationCheck;

/// The policies' own grammars.
pub(crate) struct PolicySemantics;

impl Semantics for PolicySemantics {
    fn semver_range(&self, range: &str) -> Result<(), String> {
        Constraint::parse(range).map(drop).map_err(|error| error.to_string())
    }

    fn filter_pattern(&self, pattern: &str) -> Result<(), String> {
        GoRegex::compile(pattern).map(drop).map_err(|error| error.to_string())
    }

    fn filter_extract(&self, pattern: &str, extract: &str) -> Result<(), String> {
        let regex = GoRegex::compile(pattern).map_err(|error| error.to_string())?;
        if Expansion::new(extract, &regex).has_unknown_group() {
            return Err("names a group that the pattern does not have, which stands for nothing: write \
                        ${name} where letters or digits follow"
                .to_owned());
        }
        Ok(())
    }

    fn calendar_format(&self, format: &str) -> Result<(), String> {
        CalendarFormat::parse(format).map(drop).map_err(|error| error.to_string())
    }

    fn exclusion(&self, pattern: &str) -> Result<(), String> {
        self.filter_pattern(pattern)
    }

    fn message_template(&self, template: &str) -> Result<(), String> {
        Template::parse(template).map(drop).map_err(|error| format!("is not a valid template: {error}"))
    }

    fn key_path(&self, path: &str) -> Result<(), String> {
        path.parse::<KeyPath>().map(drop).map_err(|error| error.to_string())
    }

    fn document_selector(&self, selector: &str) -> Result<(), String> {
        selector.parse::<DocumentSelector>().map(drop).map_err(|error| error.to_string())
    }

    fn path_pattern(&self, pattern: &str) -> Result<(), String> {
        pattern.parse::<Glob>().map(drop).map_err(|error| error.to_string())
    }

    fn attestation(&self, rule: &AttestationRule) -> Result<(), String> {
        AttestationCheck::compile(rule).map(drop).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use windlass_model::guard::Condition;

    use super::*;

    #[test]
    fn wrong_texts_are_refused_with_a_reason_and_right_ones_pass() {
        let semantics = PolicySemantics;
        assert_eq!(semantics.semver_range(">=1.0.0 <2.0.0"), Ok(()));
        assert!(semantics.semver_range("").is_err());
        assert_eq!(semantics.filter_pattern("^main-(?P<ts>[0-9]+)$"), Ok(()));
        assert!(semantics.filter_pattern("(").is_err());
        assert!(semantics.exclusion("[").is_err());
        assert_eq!(semantics.calendar_format("YYYY.0M.DD[-MICRO]"), Ok(()));
        assert!(semantics.calendar_format("0M.DD").is_err());
        let expression = |text: &str| AttestationRule {
            predicate_type: "https://example.com/review".to_owned(),
            authorities: Vec::new(),
            condition: Some(Condition::Cel(text.to_owned())),
        };
        assert_eq!(semantics.attestation(&expression("size(predicate.reviewers) > 1")), Ok(()));
        assert!(semantics.attestation(&expression("size(predicate.")).is_err());
        assert_eq!(semantics.filter_extract("^main-(?P<ts>[0-9]+)$", "$ts"), Ok(()));
        assert!(semantics.filter_extract("^main-(?P<ts>[0-9]+)$", "$ts1").is_err());
        assert_eq!(semantics.message_template("Update {{ .AutomationObject }}"), Ok(()));
        assert!(semantics.message_template("{{ .AutomationObject").is_err());
        assert_eq!(semantics.key_path("spec.containers[name=app].image"), Ok(()));
        assert!(semantics.key_path("spec.[").is_err());
        assert_eq!(semantics.document_selector("Job/web"), Ok(()));
        assert!(semantics.document_selector("/").is_err());
        assert_eq!(semantics.path_pattern("charts/*/templates/**"), Ok(()));
        assert!(semantics.path_pattern("a[b]").is_err());
    }
}
