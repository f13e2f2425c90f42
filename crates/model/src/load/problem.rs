//! What is wrong with the configuration, told so that a person can find and repair it. Owns the form of a finding
//! and how it is printed; it never decides what is wrong.

use std::fmt;

use crate::name::ObjectRef;
use crate::resource::Origin;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something does not work: `windlass check` exits 1.
    Error,
    /// Something works, but probably not as meant.
    Warning,
}

impl Severity {
    /// As printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One finding. Its text never holds a secret's value.
///
/// Problems sort by file and line, and print in the style of a compiler:
/// `apps/podinfo.yaml:12: error: ImagePolicy/apps/podinfo: spec.policy.semver.range: …`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// Where. Line 0 means the file as a whole.
    pub origin: Origin,
    /// How bad.
    pub severity: Severity,
    /// Which object, where it is known.
    pub object: Option<ObjectRef>,
    /// The field's path, `spec.policy.semver.range`; empty where it is about the whole object or file.
    pub field: String,
    /// What is wrong and what to do next.
    pub message: String,
}

impl Problem {
    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// A problem with a file as a whole.
    pub fn of_file(file: &str, severity: Severity, message: impl Into<String>) -> Self {
        let origin = Origin { file: file.into(), line: 0 };
        Self { origin, severity, object: None, field: String::new(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin.line {
            0 => write!(f, "{}: {}: ", self.origin.file, self.severity)?,
            _ => write!(f, "{}: {}: ", self.origin, self.severity)?,
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_print_like_a_compiler_and_sort_by_place() {
        let problem = |file: &str, line, object: Option<&str>, field: &str| Problem {
            origin: Origin { file: file.into(), line },
            severity: Severity::Error,
            object: object.map(|text| text.parse().unwrap()),
            field: field.to_owned(),
            message: "is wrong".to_owned(),
        };
        let mut all = [
            problem("b.yaml", 2, None, ""),
            problem("a.yaml", 12, Some("ImagePolicy/apps/podinfo"), "spec.policy"),
            problem("a.yaml", 9, None, "kind"),
            Problem::of_file("b.yaml", Severity::Warning, "is a link"),
        ];
        all.sort();
        assert_eq!(
            all.map(|p| p.to_string()),
            [
                "a.yaml:9: error: kind: is wrong",
                "a.yaml:12: error: ImagePolicy/apps/podinfo: spec.policy: is wrong",
                "b.yaml: warning: is a link",
                "b.yaml:2: error: is wrong",
            ]
        );
    }
}
