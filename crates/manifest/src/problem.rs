//! Why a marker cannot be acted upon.

/// A marker, or a whole document, that is left alone, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line of the marker, or of the parser's error; counted from 1.
    pub line: usize,
    /// What is wrong, and what to do about it.
    pub cause: ProblemCause,
}

/// What is wrong with a marker or its place. The text says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemCause {
    /// The file is larger than [`crate::scan::MAX_FILE_BYTES`].
    #[error("the file has {bytes} bytes, more than the {limit} that are read; split it", limit = crate::scan::MAX_FILE_BYTES)]
    TooLarge {
        /// The file's size.
        bytes: usize,
    },
    /// The file is not UTF-8.
    #[error("the file is not valid UTF-8; convert it")]
    NotUtf8,
    /// The document in which the line lies cannot be parsed. Other documents of the file are not concerned.
    #[error("the document cannot be parsed: {message}{hint}{listing}", hint = template_hint(*.template), listing = listing(.markers))]
    Unparsable {
        /// The parser's message.
        message: String,
        /// Whether the document contains `{{`.
        template: bool,
        /// The lines of the markers in it, counted from 1; empty where it has none.
        markers: Vec<usize>,
    },
    /// The comment contains `$imagepolicy` but is no marker.
    #[error("the comment is not a marker: {reason}")]
    Malformed {
        /// What is missing.
        reason: &'static str,
    },
    /// The marker has a suffix that does not exist.
    #[error(
        "the marker's suffix `:{suffix}` is unknown; there are `:tag`, `:name`, `:digest` and `:tag@digest`"
    )]
    UnknownSuffix {
        /// The text after the policy's name, shortened.
        suffix: String,
    },
    /// The marker is in a line that is commented out.
    #[error("the marked line is commented out; remove the marker if it is to stay so")]
    CommentedOut,
    /// The text of a marker is part of a value or a key.
    #[error("the marker is part of a value, not a comment; put ` # ` before it")]
    NotInComment,
    /// The marker is in a block scalar, or on its header.
    #[error("the marker is in a block scalar, which is text, not YAML; put the value on one line of its own")]
    BlockScalar,
    /// The scalar spans lines.
    #[error("the marked value spans several lines; put it on one line")]
    MultiLine,
    /// The key has no value.
    #[error("the marked key has no value; write `\"\"` before the marker")]
    EmptyValue,
    /// No scalar ends on the marker's line.
    #[error("there is no value on the marker's line; put the marker after the value")]
    NoValue,
    /// The marker follows a key whose value is on another line.
    #[error("the marker is on a key; put it after the value")]
    OnKey,
    /// The marker stands on the line above a key. Flux does not read it there either.
    #[error("the marker is above a key, where it marks no value; put it at the end of the value's line")]
    AboveKey,
    /// The marker follows the key of a mapping or a list.
    #[error("the marker is on a mapping or a list; put it after a scalar value")]
    NotAScalar,
    /// The value is an alias.
    #[error("the marked value is an alias; put the marker where the anchor is")]
    Alias,
    /// The marker's line has more than one value.
    #[error("the marker's line has {values} values; put the one that is meant on its own line")]
    Ambiguous {
        /// How many.
        values: usize,
    },
    /// The value's tag says that it is not text.
    #[error("the tag `{tag}` says that the marked value is not text; remove the tag")]
    TypedTag {
        /// The tag, as written.
        tag: String,
    },
    /// The marker's line is a template.
    #[error("the marked line contains `{{{{`: it is a template; put the marker where the value comes from")]
    Template,
    /// The marker stands above a line that has a comment of its own, which goes first.
    #[error("the line below the marker has a comment of its own, which is read instead; use one comment")]
    Shadowed,
    /// The marker is one line of a longer comment.
    #[error("the marker is one line of a longer comment; put it at the end of the value's line")]
    InCommentBlock,
    /// The marker stands alone and no value follows on the next line.
    #[error("no value follows on the line below the marker; put the marker at the end of the value's line")]
    Detached,
}

impl ProblemCause {
    /// The cause in one word, for metric labels and log fields.
    pub fn kind(&self) -> &'static str {
        match self {
            ProblemCause::TooLarge { .. } => "too-large",
            ProblemCause::NotUtf8 => "not-utf8",
            ProblemCause::Unparsable { .. } => "unparsable",
            ProblemCause::Malformed { .. } => "malformed",
            ProblemCause::UnknownSuffix { .. } => "unknown-suffix",
            ProblemCause::CommentedOut => "commented-out",
            ProblemCause::NotInComment => "not-in-comment",
            ProblemCause::BlockScalar => "block-scalar",
            ProblemCause::MultiLine => "multi-line",
            ProblemCause::EmptyValue => "empty-value",
            ProblemCause::NoValue => "no-value",
            ProblemCause::OnKey => "on-key",
            ProblemCause::AboveKey => "above-key",
            ProblemCause::NotAScalar => "not-a-scalar",
            ProblemCause::Alias => "alias",
            ProblemCause::Ambiguous { .. } => "ambiguous",
            ProblemCause::TypedTag { .. } => "typed-tag",
            ProblemCause::Template => "template",
            ProblemCause::Shadowed => "shadowed",
            ProblemCause::InCommentBlock => "in-comment-block",
            ProblemCause::Detached => "detached",
        }
    }
}

fn template_hint(template: bool) -> &'static str {
    if template {
        " (it contains `{{`: is it a Helm template? declare it as one, or put markers into the values file)"
    } else {
        ""
    }
}

/// How many lines a message lists before it is cut short.
const MAX_LISTED: usize = 10;

fn listing(markers: &[usize]) -> String {
    if markers.is_empty() {
        return String::new();
    }
    let mut lines: Vec<_> = markers.iter().take(MAX_LISTED).map(usize::to_string).collect();
    if markers.len() > MAX_LISTED {
        lines.push(format!("and {} more", markers.len() - MAX_LISTED));
    }
    format!("; its markers are left alone: line {}", lines.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unparsable_document_names_its_markers_and_hints_at_templates() {
        let cause =
            ProblemCause::Unparsable { message: "no".into(), template: true, markers: (1..=12).collect() };
        let text = cause.to_string();
        assert!(text.starts_with("the document cannot be parsed: no (it contains `{{`"), "{text}");
        assert!(text.ends_with("line 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, and 2 more"), "{text}");
        let cause = ProblemCause::Unparsable { message: "no".into(), template: false, markers: vec![] };
        assert_eq!(cause.to_string(), "the document cannot be parsed: no");
        assert!(ProblemCause::Template.to_string().contains("contains `{{`:"));
    }
}
