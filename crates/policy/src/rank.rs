//! Ranks: a candidate's place in its policy's order.
//!
//! What leads (a first-seen time, a calendar version) is compared first, then what `spec.policy` compares, then the
//! original tag, bytewise. No two tags are therefore ever equal.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use jiff::Timestamp;
use semver::Version;
use windlass_model::Tag;

use crate::calver::CalendarVersion;
use crate::decimal::Decimal;
use crate::version;

/// A tag, with what is known of it beside its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'t> {
    /// The original tag.
    pub tag: &'t str,
    /// When it was first seen; only the order `newest-pushed` looks at it, and takes an unknown time for the oldest.
    pub first_seen: Option<Timestamp>,
}

impl<'t> From<&'t str> for Candidate<'t> {
    fn from(tag: &'t str) -> Self {
        Self { tag, first_seen: None }
    }
}

/// When tags were first seen. A tag that is absent was seen at an unknown time.
#[derive(Debug, Clone, Default)]
pub struct FirstSeen(BTreeMap<Tag, Timestamp>);

impl FirstSeen {
    /// The tag with its time.
    pub fn candidate<'t>(&self, tag: &'t Tag) -> Candidate<'t> {
        Candidate { tag: tag.as_str(), first_seen: self.0.get(tag).copied() }
    }
}

impl FromIterator<(Tag, Timestamp)> for FirstSeen {
    fn from_iter<I: IntoIterator<Item = (Tag, Timestamp)>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

/// A candidate's place in its policy's order: the greater is the better. Ranks of one selector compare; ranks of
/// different selectors have an order without meaning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub(crate) value: Value,
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

    /// Whether the order is that of first-seen times, and these do not show that `self` is older than `other`.
    pub fn may_be_as_new_as(&self, other: &Self) -> bool {
        match (&self.value.lead, &other.value.lead) {
            (Lead::FirstSeen(Some(own)), Lead::FirstSeen(Some(others))) => own >= others,
            (Lead::FirstSeen(_), Lead::FirstSeen(_)) => true,
            _ => false,
        }
    }
}

/// What a policy compares; the greater is the better.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) lead: Lead,
    pub(crate) own: OwnValue,
}

/// What the annotation `windlass.dev/order` puts first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lead {
    Nothing,
    FirstSeen(Option<Timestamp>),
    Calendar(CalendarVersion),
}

/// What `spec.policy` compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OwnValue {
    Version(Precedence),
    Text(Box<str>),
    TextDescending(Reverse<Box<str>>),
    Number(Decimal),
    NumberDescending(Reverse<Decimal>),
}

/// A version, compared by precedence alone.
#[derive(Debug, Clone)]
pub(crate) struct Precedence(pub(crate) Version);

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
