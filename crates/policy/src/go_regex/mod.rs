//! Regular expressions in the syntax of Go 1.26's `regexp` package, which Flux's `filterTags.pattern` and
//! `exclusionList` are written in.
//!
//! An expression is parsed by Go's rules and translated into one for the `regex` crate that uses no flag, no named
//! group and no shorthand of its own, so that no difference between the two syntaxes can show through. What Go
//! refuses is refused with Go's words. Two limits are ours: the expression's length, and the size of the program
//! that it compiles to. Matching takes time linear in the text.

mod class;
mod translate;

use regex::{CaptureLocations, Regex, RegexBuilder};

use translate::Translation;

/// Longest expression in bytes. Real filters have fewer than 200.
const MAX_PATTERN: usize = 8 * 1024;
/// Largest compiled program in bytes. `.{1000}` takes about 1 MiB, and Go allows no larger count.
const MAX_PROGRAM: usize = 4 * 1024 * 1024;
/// Deepest nesting of groups. The `regex` crate recurses; Go's own limit is 1,000.
const MAX_DEPTH: u32 = 200;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct GoRegex {
    source: String,
    regex: Regex,
    names: Vec<Option<String>>,
}

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {kind}: `{fragment}`")]
pub struct GoRegexError {
    /// What is wrong.
    pub kind: GoRegexErrorKind,
    /// The offending part of the expression.
    pub fragment: String,
}

/// What is wrong with an expression; the texts are those of Go's `regexp/syntax`, but for the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GoRegexErrorKind {
    /// A reversed range, or an unknown class name.
    #[error("invalid character class range")]
    InvalidCharRange,
    /// A backslash before a letter or digit that has no meaning there; back-references too.
    #[error("invalid escape sequence")]
    InvalidEscape,
    /// A group's name has other characters than letters, digits and `_`.
    #[error("invalid named capture")]
    InvalidNamedCapture,
    /// Look-around and other Perl syntax.
    #[error("invalid or unsupported Perl syntax")]
    InvalidPerlOp,
    /// `a**`
    #[error("invalid nested repetition operator")]
    InvalidRepeatOp,
    /// A count above 1,000, alone or multiplied by those around it, or a reversed one.
    #[error("invalid repeat count")]
    InvalidRepeatSize,
    /// `[a`
    #[error("missing closing ]")]
    MissingBracket,
    /// `(a`
    #[error("missing closing )")]
    MissingParen,
    /// `*a`
    #[error("missing argument to repetition operator")]
    MissingRepeatArgument,
    /// `a\`
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    /// `a)`
    #[error("unexpected )")]
    UnexpectedParen,
    /// Groups are nested too deeply.
    #[error("expression nests too deeply (max {MAX_DEPTH} groups)")]
    NestingDepth,
    /// The expression, or the program that it compiles to, is too large.
    #[error("expression too large (max {MAX_PATTERN} bytes, and {MAX_PROGRAM} bytes compiled)")]
    TooLarge,
}

impl GoRegex {
    /// Compiles an expression.
    pub fn compile(source: &str) -> Result<Self, GoRegexError> {
        let too_large = || GoRegexError {
            kind: GoRegexErrorKind::TooLarge,
            fragment: source.chars().take(60).collect::<String>() + "…",
        };
        if source.len() > MAX_PATTERN {
            return Err(too_large());
        }
        let Translation { pattern, names } = translate::translate(source)?;
        let regex = RegexBuilder::new(&pattern)
            .size_limit(MAX_PROGRAM)
            // Each group of ours takes at most three levels: itself, an alternation, a repetition.
            .nest_limit(4 * MAX_DEPTH)
            .build()
            // The translation emits valid syntax only, so the sole cause left is the size.
            .map_err(|_| too_large())?;
        Ok(Self { source: source.to_owned(), regex, names })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the expression matches anywhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The groups' names by index. Group 0, the whole match, has none; two groups may share one.
    pub fn group_names(&self) -> &[Option<String>] {
        &self.names
    }

    /// Room for the positions of one match, to be reused between calls of [`Self::captures`].
    pub fn locations(&self) -> CaptureLocations {
        self.regex.capture_locations()
    }

    /// Finds the leftmost match and its groups' positions.
    pub fn captures(&self, locations: &mut CaptureLocations, text: &str) -> bool {
        self.regex.captures_read(locations, text).is_some()
    }

    /// The translated expression, for loops over all matches.
    pub(crate) fn regex(&self) -> &Regex {
        &self.regex
    }
}

#[cfg(test)]
mod tests;
