//! in-toto statements, as far as they decide anything: about what, and of which kind. It is read from the bytes whose
//! signature was verified, never from anything else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bounds;
use crate::strict;

/// What `_type` may be (in-toto attestation framework, v0.1 and v1).
const TYPES: [&str; 2] = ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"];

/// A statement about one or more artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    /// What kind of claim it is.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// The claim itself, as it was signed; null where there is none.
    #[serde(default)]
    pub predicate: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
struct Subject {
    #[serde(default)]
    name: Option<String>,
    digest: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, Value>>,
}

/// Why a payload is no statement to go by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Past the limit.
    #[error("the statement has more than {} bytes", bounds::STATEMENT_BYTES)]
    TooLarge,
    /// It does not parse.
    #[error("the statement cannot be read: {0}")]
    Malformed(String),
    /// `_type` is of another kind.
    #[error("`_type` is not that of an in-toto statement")]
    Type,
    /// Nothing, or too much, is it about.
    #[error(
        "the statement has no subjects, or more than {} with {} digests",
        bounds::SUBJECTS,
        bounds::DIGESTS
    )]
    Subjects,
}

impl Statement {
    /// Whether one of its subjects has this SHA-256. Other algorithms name nothing here.
    pub(crate) fn is_about(&self, sha256: [u8; 32]) -> bool {
        self.subjects(sha256).next().is_some()
    }

    /// What it states beside the artifact with this SHA-256.
    pub(crate) fn annotations(&self, sha256: [u8; 32]) -> BTreeMap<String, Value> {
        self.subjects(sha256).filter_map(|subject| subject.annotations.clone()).flatten().collect()
    }

    fn subjects(&self, sha256: [u8; 32]) -> impl Iterator<Item = &Subject> {
        let wanted = hex::encode(sha256);
        self.subject.iter().filter(move |subject| subject.digest.get("sha256") == Some(&wanted))
    }

    /// The statement as an expression sees it: its type, its subjects with name and digests, its predicate.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    pub(crate) fn read(payload: &[u8]) -> Result<Self, StatementError> {
        if payload.len() > bounds::STATEMENT_BYTES {
            return Err(StatementError::TooLarge);
        }
        let statement: Self =
            strict::from_slice(payload).map_err(|error| StatementError::Malformed(error.to_string()))?;
        if !TYPES.contains(&statement.kind.as_str()) {
            return Err(StatementError::Type);
        }
        let subjects = &statement.subject;
        let bounded = (1..=bounds::SUBJECTS).contains(&subjects.len())
            && subjects.iter().all(|subject| subject.digest.len() <= bounds::DIGESTS);
        if bounded { Ok(statement) } else { Err(StatementError::Subjects) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, subjects: usize) -> Result<Statement, StatementError> {
        let subjects = vec![r#"{"name":"x","digest":{"sha256":"00"}}"#; subjects].join(",");
        let text =
            format!(r#"{{"_type":"{kind}","subject":[{subjects}],"predicateType":"p","predicate":{{}}}}"#);
        Statement::read(text.as_bytes())
    }

    #[test]
    fn both_versions_are_read_and_no_other_type() {
        for kind in TYPES {
            assert_eq!(read(kind, 1).unwrap().predicate_type, "p");
        }
        assert_eq!(read("https://in-toto.io/Statement/v2", 1), Err(StatementError::Type));
        assert_eq!(read("", 1), Err(StatementError::Type));
    }

    #[test]
    fn subjects_are_at_least_one_and_bounded() {
        assert_eq!(read(TYPES[0], 0), Err(StatementError::Subjects));
        assert!(read(TYPES[0], bounds::SUBJECTS).is_ok());
        assert_eq!(read(TYPES[0], bounds::SUBJECTS + 1), Err(StatementError::Subjects));
    }
}
