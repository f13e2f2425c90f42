//! From YAML text to resources, with every problem at once. Owns the schema of what Windlass loads: fields, defaults,
//! types, and the references between objects. It never reads a file, an environment variable or a clock: the binary
//! passes texts in and fulfils [`SecretSource`]s.
//!
//! * [`read`] turns one file's text into a [`SourceFile`].
//! * [`assemble`] puts files together into a [`Spec`](crate::Spec).
//! * [`cross_check`] finds what one file alone cannot show: dangling references, missing keys of Secrets.
//! * [`import`] turns other tools' verification policies into Guards.
//! * [`readiness`] says why an object cannot be acted on.

mod assemble;
mod attestation;
mod automation;
mod branch;
mod cross_check;
mod declared;
mod duration;
mod fields;
mod git_repository;
mod guard;
mod image_policy;
mod image_repository;
pub mod import;
mod kinds;
mod nearest;
mod node;
mod notation;
mod notifier;
mod object;
mod problem;
mod push;
mod receiver;
mod scalar;
mod secret;
mod selector;
mod source_file;
#[cfg(test)]
pub(crate) mod testing;
mod trust_root;

pub use assemble::{Loaded, assemble};
pub use cross_check::{cross_check, readiness};
pub use problem::{Problem, Severity};
pub use secret::{SecretFrom, SecretSource};
pub use source_file::{AnyResource, SourceFile, read};

use crate::guard::AttestationRule;

/// What is told about an encrypted document.
const SOPS_REFUSAL: &str = "is encrypted with SOPS, which is not decrypted here: take the values from the environment \
                            or from mounted files (annotations windlass.dev/from-env, windlass.dev/from-file)";

/// Checks of texts whose grammar belongs to the crates above: constraints, regular expressions, templates.
///
/// Each answers with a message for people, which is reported at the exact field.
pub trait Semantics: Send + Sync {
    /// `spec.policy.semver.range`
    fn semver_range(&self, range: &str) -> Result<(), String>;
    /// `spec.filterTags.pattern`
    fn filter_pattern(&self, pattern: &str) -> Result<(), String>;
    /// `spec.filterTags.extract`, with the pattern whose groups it names. A doubt is a warning: Flux knows no invalid
    /// template, an unknown group is empty.
    fn filter_extract(&self, pattern: &str, extract: &str) -> Result<(), String>;
    /// The format in the annotation `windlass.dev/order: calver:FORMAT`
    fn calendar_format(&self, format: &str) -> Result<(), String>;
    /// `spec.exclusionList[]`
    fn exclusion(&self, pattern: &str) -> Result<(), String>;
    /// `spec.git.commit.messageTemplate`
    fn message_template(&self, template: &str) -> Result<(), String>;
    /// The `key` of an edit in the annotation `windlass.dev/edits`
    fn key_path(&self, path: &str) -> Result<(), String>;
    /// The `document` of an edit in the annotation `windlass.dev/edits`
    fn document_selector(&self, selector: &str) -> Result<(), String>;
    /// An item of the annotation `windlass.dev/templates`
    fn path_pattern(&self, pattern: &str) -> Result<(), String>;
    /// An item of a Guard's `spec.require.attestations`: its regular expressions, its `cel`
    fn attestation(&self, rule: &AttestationRule) -> Result<(), String>;
}
