//! Selection: from a repository's tags to the one that a policy names.
//!
//! A [`Selector`] is a compiled `ImagePolicy`: its filter, its order, nothing else. It equals Flux
//! (image-reflector-controller 1.2) wherever Flux is deterministic, with two departures: numbers are exact decimals,
//! and ties, which Flux leaves to the order of a Go map, go to the highest original tag, bytewise. The result never
//! depends on the order of the input.
//!
//! Tags pass an exclusion list first (`exclusion`), which also drops signatures; a selector does not repeat that.

use std::cmp::{Ordering, Reverse};

use regex::CaptureLocations;
use semver::Version;
use windlass_model::resource::{Order, PolicyRule, TagFilter};

use crate::constraint::{Constraint, Unmet};
use crate::decimal::{Decimal, DecimalError};
use crate::expand::Expansion;
use crate::go_regex::GoRegex;
use crate::version;

/// A compiled policy.
#[derive(Debug, Clone)]
pub struct Selector {
    filter: Option<Filter>,
    rule: Rule,
}

#[derive(Debug, Clone)]
struct Filter {
    pattern: GoRegex,
    /// Absent: the tag itself is compared.
    extract: Option<Expansion>,
}

#[derive(Debug, Clone)]
enum Rule {
    SemVer(Constraint),
    Alphabetical(Order),
    Numerical(Order),
}

/// A policy that can never choose anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidPolicy {
    /// The field below `spec`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// A tag that a numerical policy cannot place. Flux then fails the whole policy, and so does [`Selector::select`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse invalid numeric value '{value}' of tag '{tag}': {reason}")]
pub struct UnrankableTag {
    /// The original tag.
    pub tag: String,
    /// What the filter extracted from it.
    pub value: String,
    /// Why that is no number.
    pub reason: DecimalError,
}

/// Why no tag is chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSelection {
    /// There are no tags, or the filter dropped all of them.
    #[error("version list argument cannot be empty")]
    Empty,
    /// Tags passed the filter, but none satisfies the range.
    #[error("unable to determine latest version from provided list")]
    NoMatch,
    /// A numerical policy met a tag that is no number.
    #[error(transparent)]
    Unrankable(#[from] UnrankableTag),
}

/// A candidate's place in its policy's order: the greater is the better. Ranks of one selector compare; ranks of
/// different selectors have an order without meaning. Equal values are ordered by the original tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    value: Value,
    tag: Box<str>,
}

impl Rank {
    pub(crate) fn new(value: Value, tag: &str) -> Self {
        Self { value, tag: tag.into() }
    }

    /// Whether the policy alone does not tell the two apart.
    pub fn ties_with(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// What a policy compares; the greater is the better.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Version(Precedence),
    Text(Box<str>),
    TextDescending(Reverse<Box<str>>),
    Number(Decimal),
    NumberDescending(Reverse<Decimal>),
}

/// A version, compared by precedence alone.
#[derive(Debug, Clone)]
pub(crate) struct Precedence(Version);

impl Ord for Precedence {
    fn cmp(&self, other: &Self) -> Ordering {
        version::compare(&self.0, &other.0)
    }
}

impl PartialOrd for Precedence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Precedence {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Precedence {}

/// What a policy makes of one tag.
pub(crate) enum Evaluation {
    Ranked(Value),
    Filtered,
    NotAVersion,
    Unmet(Unmet),
    NotANumber(DecimalError),
}

/// Buffers for the evaluation of many tags.
pub(crate) struct Scratch {
    locations: Option<CaptureLocations>,
    /// What the filter extracted from the last tag.
    pub(crate) key: String,
}

impl Selector {
    /// Compiles a policy. The error names the field, whatever the tags are.
    pub fn compile(rule: &PolicyRule, filter: Option<&TagFilter>) -> Result<Self, InvalidPolicy> {
        let rule = match rule {
            PolicyRule::SemVer { range } => Rule::SemVer(
                Constraint::parse(range)
                    .map_err(|error| invalid("policy.semver.range", error.to_string()))?,
            ),
            PolicyRule::Alphabetical(order) => Rule::Alphabetical(*order),
            PolicyRule::Numerical(order) => Rule::Numerical(*order),
        };
        Ok(Self { filter: filter.map(Filter::compile).transpose()?, rule })
    }

    /// A tag's rank, or none where it is not a candidate: the filter drops it, it is no version, or the range does
    /// not admit it.
    pub fn rank(&self, tag: &str) -> Result<Option<Rank>, UnrankableTag> {
        let mut scratch = self.scratch();
        match self.evaluate(tag, &mut scratch) {
            Evaluation::Ranked(value) => Ok(Some(Rank::new(value, tag))),
            Evaluation::NotANumber(reason) => {
                Err(UnrankableTag { tag: tag.to_owned(), value: scratch.key, reason })
            }
            Evaluation::Filtered | Evaluation::NotAVersion | Evaluation::Unmet(_) => Ok(None),
        }
    }

    /// The tag with the highest rank, in its original spelling.
    pub fn select<'t>(&self, tags: impl IntoIterator<Item = &'t str>) -> Result<&'t str, NoSelection> {
        let mut scratch = self.scratch();
        let mut best: Option<(Value, &str)> = None;
        let mut unrankable: Option<UnrankableTag> = None;
        let mut empty = true;
        for tag in tags {
            match self.evaluate(tag, &mut scratch) {
                Evaluation::Filtered => continue,
                Evaluation::NotAVersion | Evaluation::Unmet(_) => {}
                Evaluation::Ranked(value) => {
                    if best.as_ref().is_none_or(|(top, top_tag)| (top, *top_tag) < (&value, tag)) {
                        best = Some((value, tag));
                    }
                }
                Evaluation::NotANumber(reason) => {
                    // The highest such tag is named, so that the message does not depend on the order either.
                    if unrankable.as_ref().is_none_or(|named| named.tag.as_str() < tag) {
                        unrankable =
                            Some(UnrankableTag { tag: tag.to_owned(), value: scratch.key.clone(), reason });
                    }
                }
            }
            empty = false;
        }
        match (unrankable, best) {
            (Some(unrankable), _) => Err(NoSelection::Unrankable(unrankable)),
            (None, Some((_, tag))) => Ok(tag),
            (None, None) if empty => Err(NoSelection::Empty),
            (None, None) => Err(NoSelection::NoMatch),
        }
    }

    /// All candidates, best first; each tag once. The first is what [`Self::select`] gives.
    pub fn ranked<'t>(&self, tags: impl IntoIterator<Item = &'t str>) -> Result<Vec<&'t str>, UnrankableTag> {
        let mut ranked = Vec::new();
        for tag in tags {
            if let Some(rank) = self.rank(tag)? {
                ranked.push((rank, tag));
            }
        }
        ranked.sort_unstable_by(|left, right| right.0.cmp(&left.0));
        ranked.dedup_by_key(|(_, tag)| *tag);
        Ok(ranked.into_iter().map(|(_, tag)| tag).collect())
    }

    pub(crate) fn scratch(&self) -> Scratch {
        Scratch {
            locations: self.filter.as_ref().map(|filter| filter.pattern.locations()),
            key: String::new(),
        }
    }

    /// The filter's pattern, for explanations.
    pub(crate) fn pattern(&self) -> Option<&str> {
        self.filter.as_ref().map(|filter| filter.pattern.as_str())
    }

    /// Places one tag. `scratch` holds what was compared afterwards.
    pub(crate) fn evaluate(&self, tag: &str, scratch: &mut Scratch) -> Evaluation {
        if !self.extract(tag, scratch) {
            return Evaluation::Filtered;
        }
        let key = scratch.key.as_str();
        let value = match &self.rule {
            Rule::SemVer(constraint) => {
                let Some(version) = version::parse_tag(key) else { return Evaluation::NotAVersion };
                match constraint.check(&version) {
                    Ok(()) => Value::Version(Precedence(version)),
                    Err(unmet) => return Evaluation::Unmet(unmet),
                }
            }
            Rule::Alphabetical(Order::Asc) => Value::Text(key.into()),
            Rule::Alphabetical(Order::Desc) => Value::TextDescending(Reverse(key.into())),
            Rule::Numerical(order) => match (Decimal::parse(key), order) {
                (Ok(number), Order::Asc) => Value::Number(number),
                (Ok(number), Order::Desc) => Value::NumberDescending(Reverse(number)),
                (Err(reason), _) => return Evaluation::NotANumber(reason),
            },
        };
        Evaluation::Ranked(value)
    }

    /// Puts what is compared into `scratch`; false where the filter drops the tag.
    fn extract(&self, tag: &str, scratch: &mut Scratch) -> bool {
        scratch.key.clear();
        match (&self.filter, &mut scratch.locations) {
            (Some(Filter { pattern, extract: Some(extract) }), Some(locations)) => {
                if !pattern.captures(locations, tag) {
                    return false;
                }
                extract.append(tag, locations, &mut scratch.key);
            }
            (Some(filter), _) if !filter.pattern.is_match(tag) => return false,
            _ => scratch.key.push_str(tag),
        }
        true
    }
}

impl Filter {
    fn compile(filter: &TagFilter) -> Result<Self, InvalidPolicy> {
        let pattern = GoRegex::compile(&filter.pattern)
            .map_err(|error| invalid("filterTags.pattern", error.to_string()))?;
        let extract = (!filter.extract.is_empty()).then(|| Expansion::new(&filter.extract, &pattern));
        Ok(Self { pattern, extract })
    }
}

fn invalid(field: &'static str, reason: String) -> InvalidPolicy {
    InvalidPolicy { field, reason }
}

#[cfg(test)]
mod tests;
