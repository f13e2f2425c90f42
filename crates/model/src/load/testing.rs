//! What the tests of this module share: a small grammar check in the place of `windlass-policy`, and short ways to
//! read a text.

use std::collections::BTreeMap;

use super::{Semantics, SourceFile, assemble, read};
use crate::guard::{AttestationRule, Condition};
use crate::resource::Spec;

/// Real enough to refuse what the tests call wrong.
pub(super) struct TestSemantics;

impl Semantics for TestSemantics {
    fn semver_range(&self, range: &str) -> Result<(), String> {
        let good = range.starts_with(|c: char| c.is_ascii_digit() || "<>=~^*".contains(c));
        if good { Ok(()) } else { Err(format!("`{range}` is not a constraint")) }
    }

    fn filter_pattern(&self, pattern: &str) -> Result<(), String> {
        regex::Regex::new(pattern).map(|_| ()).map_err(|error| error.to_string())
    }

    fn filter_extract(&self, pattern: &str, extract: &str) -> Result<(), String> {
        let groups = regex::Regex::new(pattern).map_err(|error| error.to_string())?.captures_len();
        if groups > 1 || !extract.contains('$') {
            Ok(())
        } else {
            Err("names a group that is not there".to_owned())
        }
    }

    fn calendar_format(&self, format: &str) -> Result<(), String> {
        if format.contains("YY") { Ok(()) } else { Err("has no year".to_owned()) }
    }

    fn exclusion(&self, pattern: &str) -> Result<(), String> {
        self.filter_pattern(pattern)
    }

    fn message_template(&self, template: &str) -> Result<(), String> {
        let balanced = template.matches("{{").count() == template.matches("}}").count();
        if balanced { Ok(()) } else { Err("the template has an unclosed action".to_owned()) }
    }

    fn key_path(&self, path: &str) -> Result<(), String> {
        if path.matches('[').count() == path.matches(']').count() {
            Ok(())
        } else {
            Err("has a bracket without its other half".to_owned())
        }
    }

    fn document_selector(&self, selector: &str) -> Result<(), String> {
        if selector.is_empty() { Err("names no document".to_owned()) } else { Ok(()) }
    }

    fn path_pattern(&self, pattern: &str) -> Result<(), String> {
        if pattern.contains('[') { Err(format!("`{pattern}` is not a pattern of paths")) } else { Ok(()) }
    }

    fn attestation(&self, rule: &AttestationRule) -> Result<(), String> {
        match &rule.condition {
            Some(Condition::Cel(text)) if text.contains('%') => Err("is not an expression".to_owned()),
            _ => Ok(()),
        }
    }
}

pub(super) fn read_text(path: &str, text: &str) -> SourceFile {
    read(path, text, &TestSemantics)
}

/// The resources of one text, which must have no errors.
pub(crate) fn only(text: &str) -> Spec {
    let file = read_text("f.yaml", text);
    assert!(!file.broken, "{:#?}", file.problems);
    assemble([&file], &BTreeMap::new()).spec
}

/// The problems of one text, as printed.
pub(super) fn problems(text: &str) -> Vec<String> {
    read_text("f.yaml", text).problems.iter().map(ToString::to_string).collect()
}

/// Whether there is a problem at this line and field whose message has these words.
pub(super) fn found(text: &str, line: usize, field: &str, words: &str) -> bool {
    read_text("f.yaml", text)
        .problems
        .iter()
        .any(|p| p.origin.line == line && p.field == field && p.message.contains(words))
}
