//! Version constraints with the semantics of Masterminds/semver v3.5 (`constraints.go`), on `semver::Version`.
//!
//! The grammar: groups separated by `||`, of which one must hold; in a group, terms separated by white space or a
//! comma, all of which must hold; a term is an operator and a version whose segments may be missing or a wildcard
//! (`x`, `X`, `*`). `A - B` is rewritten to `>= A, <= B` first. Quirks of the original are kept on purpose and are
//! listed in the tests: a Flux user's range must choose the same tag here.

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::Regex;
use semver::Version;

use crate::version;

/// Longest constraint in bytes (`MaxConstraintLen`).
const MAX_LENGTH: usize = 512;
/// Most groups (`MaxConstraintGroups`).
const MAX_GROUPS: usize = 32;

/// A parsed constraint.
#[derive(Debug, Clone)]
pub struct Constraint {
    groups: Vec<Group>,
}

/// Why a text is not a constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// It is longer than Masterminds/semver allows.
    #[error("constraint string is too long (max {MAX_LENGTH} bytes)")]
    TooLong,
    /// It has more alternatives than Masterminds/semver allows.
    #[error("too many constraint groups (max {MAX_GROUPS})")]
    TooManyGroups,
    /// A group does not follow the grammar; an empty group does not either.
    #[error("improper constraint: {0:?}")]
    Improper(String),
    /// A term follows the grammar, but its version is none: `1x`, `**`, `1.2.3-01`, a segment beyond 64 bits.
    #[error("constraint parser error: `{0}` is not a version")]
    Version(String),
}

/// Why a version does not satisfy a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// It is a pre-release, and no group of the constraint names one.
    Prerelease,
    /// It is outside every group.
    OutOfRange,
}

impl Constraint {
    /// Parses a constraint as `semver.NewConstraint` does. The empty text is an error.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        if text.len() > MAX_LENGTH {
            return Err(ConstraintError::TooLong);
        }
        let text = rewrite_hyphen_ranges(text);
        let groups: Vec<&str> = text.split("||").collect();
        if groups.len() > MAX_GROUPS {
            return Err(ConstraintError::TooManyGroups);
        }
        let groups = groups.into_iter().map(Group::parse).collect::<Result<_, _>>()?;
        Ok(Self { groups })
    }

    /// Whether the version satisfies any group.
    pub fn matches(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| group.matches(version))
    }

    /// The tag with the highest version that satisfies any group (fluxcd/pkg `git/gogit` `cloneSemVer`). Among equal
    /// versions, which differ in spelling or build metadata alone, Flux takes that of the younger commit, where that
    /// differs; here it is the bytewise highest, which needs no commit.
    pub fn newest<'t>(&self, tags: impl IntoIterator<Item = &'t str>) -> Option<&'t str> {
        let versions = tags.into_iter().filter_map(|tag| Some((version::parse_tag(tag)?, tag)));
        versions
            .filter(|(version, _)| self.matches(version))
            .max_by(|(left, one), (right, other)| version::compare(left, right).then_with(|| one.cmp(other)))
            .map(|(_, tag)| tag)
    }

    /// As [`Self::matches`], with the reason.
    pub fn check(&self, version: &Version) -> Result<(), Unmet> {
        if self.matches(version) {
            Ok(())
        } else if !version.pre.is_empty() && !self.groups.iter().any(|group| group.prereleases) {
            Err(Unmet::Prerelease)
        } else {
            Err(Unmet::OutOfRange)
        }
    }
}

/// Terms that must all hold.
#[derive(Debug, Clone)]
struct Group {
    terms: Vec<Term>,
    /// A term has a pre-release. This admits pre-releases to the whole group, whatever their core version.
    prereleases: bool,
}

impl Group {
    fn parse(text: &str) -> Result<Self, ConstraintError> {
        let tokens = tokenise(text).ok_or_else(|| ConstraintError::Improper(text.to_owned()))?;
        let terms = tokens.iter().map(Term::new).collect::<Result<Vec<_>, _>>()?;
        let prereleases = terms.iter().any(|term| !term.bound.pre.is_empty());
        Ok(Self { terms, prereleases })
    }

    fn matches(&self, version: &Version) -> bool {
        (version.pre.is_empty() || self.prereleases) && self.terms.iter().all(|term| term.matches(version))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

/// How many segments a term's version states before its first wildcard or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Nothing,
    Major,
    Minor,
    Full,
}

#[derive(Debug, Clone)]
struct Term {
    operator: Operator,
    /// Missing segments are zero.
    bound: Version,
    precision: Precision,
}

impl Term {
    /// What follows the first wildcard is dropped, but not the pre-release: `1.x.3-0` is `1.0.0-0`.
    fn new(token: &Token<'_>) -> Result<Self, ConstraintError> {
        let stated = |segment: Option<&str>| segment.is_some_and(|s| !matches!(s, "x" | "X" | "*"));
        let [major, minor, _] = token.segments.map(Option::unwrap_or_default);
        let pre = token.prerelease;
        let (precision, text) = match token.segments.iter().position(|segment| !stated(*segment)) {
            Some(0) => (Precision::Nothing, format!("0.0.0{pre}")),
            Some(1) => (Precision::Major, format!("{major}.0.0{pre}")),
            Some(_) => (Precision::Minor, format!("{major}.{minor}.0{pre}")),
            None => (Precision::Full, token.text.to_owned()),
        };
        let bound =
            version::parse_loose(&text).ok_or_else(|| ConstraintError::Version(token.text.to_owned()))?;
        Ok(Self { operator: token.operator, bound, precision })
    }

    fn matches(&self, version: &Version) -> bool {
        let order = version::compare(version, &self.bound);
        match (self.operator, self.precision) {
            (Operator::Equal, Precision::Full) => order == Ordering::Equal,
            (Operator::Equal | Operator::Tilde, _) => order != Ordering::Less && self.same_tilde(version),
            (Operator::Caret, _) => order != Ordering::Less && self.same_caret(version),
            (Operator::NotEqual, Precision::Major) => version.major != self.bound.major,
            (Operator::NotEqual, Precision::Minor) => {
                self.minor_order(version) != Ordering::Equal || version.pre != self.bound.pre
            }
            (Operator::NotEqual, _) => order != Ordering::Equal,
            (Operator::Greater, Precision::Major) => version.major > self.bound.major,
            (Operator::Greater, Precision::Minor) => self.minor_order(version) == Ordering::Greater,
            (Operator::Greater, _) => order == Ordering::Greater,
            (Operator::GreaterEqual, _) => order != Ordering::Less,
            (Operator::Less, _) => order == Ordering::Less,
            (Operator::LessEqual, Precision::Full) => order != Ordering::Greater,
            (Operator::LessEqual, Precision::Major) => version.major <= self.bound.major,
            // Quirk: `<=*` is `<=0.0.x`.
            (Operator::LessEqual, _) => self.minor_order(version) != Ordering::Greater,
        }
    }

    /// Compares the major and minor segments alone.
    fn minor_order(&self, version: &Version) -> Ordering {
        (version.major, version.minor).cmp(&(self.bound.major, self.bound.minor))
    }

    /// The upper limit of `~`, for a version that is not below the bound. Quirk: `~0.0.0` has none.
    fn same_tilde(&self, version: &Version) -> bool {
        let zero = (self.bound.major, self.bound.minor, self.bound.patch) == (0, 0, 0);
        match self.precision {
            Precision::Nothing | Precision::Full if zero => true,
            Precision::Major => version.major == self.bound.major,
            _ => self.minor_order(version) == Ordering::Equal,
        }
    }

    /// The upper limit of `^`, for a version that is not below the bound. Quirk: `^*` is 0.0.0 alone.
    fn same_caret(&self, version: &Version) -> bool {
        if self.bound.major > 0 || self.precision == Precision::Major {
            version.major == self.bound.major
        } else if self.bound.minor > 0 || self.precision == Precision::Minor {
            self.minor_order(version) == Ordering::Equal
        } else {
            (version.major, version.minor, version.patch) == (0, 0, self.bound.patch)
        }
    }
}

/// A term as written.
struct Token<'t> {
    operator: Operator,
    text: &'t str,
    segments: [Option<&'t str>; 3],
    /// With its hyphen, or empty.
    prerelease: &'t str,
}

/// Splits a group into terms; absent where it does not follow the grammar.
fn tokenise(group: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = group;
    loop {
        let (operator, after) = take_operator(rest.trim_start_matches(is_space));
        let (token, after) = take_token(operator, after.trim_start_matches(is_space))?;
        tokens.push(token);
        let next = after.trim_start_matches(is_space);
        rest = match next.strip_prefix(',') {
            _ if next.is_empty() => return Some(tokens),
            Some(next) => next,
            None if next.len() < after.len() => next,
            None => return None,
        };
    }
}

/// Go's `\s`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

fn take_operator(text: &str) -> (Operator, &str) {
    // Longer spellings first.
    const SPELLINGS: [(&str, Operator); 11] = [
        ("!=", Operator::NotEqual),
        (">=", Operator::GreaterEqual),
        ("=>", Operator::GreaterEqual),
        ("<=", Operator::LessEqual),
        ("=<", Operator::LessEqual),
        ("~>", Operator::Tilde),
        ("=", Operator::Equal),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("~", Operator::Tilde),
        ("^", Operator::Caret),
    ];
    SPELLINGS
        .iter()
        .find_map(|(spelling, operator)| Some((*operator, text.strip_prefix(spelling)?)))
        .unwrap_or((Operator::Equal, text))
}

/// Takes `v?SEGMENT(.SEGMENT)?(.SEGMENT)?(-PRE)?(+BUILD)?`, as long as it goes. Build metadata is dropped.
fn take_token(operator: Operator, text: &str) -> Option<(Token<'_>, &str)> {
    // Quirk: `|` is in the original's character class, where it was meant as an alternative.
    let in_segment = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'|' | b'x' | b'X' | b'*');
    let (major, mut rest) = take_while(text.strip_prefix('v').unwrap_or(text), in_segment)?;
    let mut segments = [Some(major), None, None];
    for segment in &mut segments[1..] {
        let Some((taken, after)) = rest.strip_prefix('.').and_then(|rest| take_while(rest, in_segment))
        else {
            break;
        };
        *segment = Some(taken);
        rest = after;
    }
    let (prerelease, rest) = take_identifiers(rest, '-');
    let (_, rest) = take_identifiers(rest, '+');
    let token = Token { operator, text: &text[..text.len() - rest.len()], segments, prerelease };
    Some((token, rest))
}

fn take_while(text: &str, wanted: impl Fn(u8) -> bool) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !wanted(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Takes the mark and dot-separated identifiers, or nothing.
fn take_identifiers(text: &str, mark: char) -> (&str, &str) {
    let in_identifier = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let Some((_, mut rest)) = text.strip_prefix(mark).and_then(|rest| take_while(rest, in_identifier)) else {
        return ("", text);
    };
    while let Some((_, after)) = rest.strip_prefix('.').and_then(|rest| take_while(rest, in_identifier)) {
        rest = after;
    }
    text.split_at(text.len() - rest.len())
}

/// `A - B`, anywhere in the text and with the white space around it. The search crosses `||`, because `|` may stand
/// in a version (see [`take_token`]); only a search by the same expression finds the same places.
static HYPHEN_RANGE: LazyLock<Regex> = LazyLock::new(|| {
    let segment = r"[0-9|xX*]+";
    let identifiers = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*";
    let version = format!(r"v?{segment}(?:\.{segment}){{0,2}}(?:-{identifiers})?(?:\+{identifiers})?");
    let space = r"[\t\n\x0c\r ]";
    Regex::new(&format!("{space}*({version}){space}+-{space}+({version}){space}*"))
        .expect("the expression is constant and a test compiles it")
});

fn rewrite_hyphen_ranges(text: &str) -> String {
    let mut rewritten = text.to_owned();
    for range in HYPHEN_RANGE.captures_iter(text) {
        let replacement = format!(">= {}, <= {} ", &range[1], &range[2]);
        rewritten = rewritten.replacen(&range[0], &replacement, 1);
    }
    rewritten
}

#[cfg(test)]
mod tests;
