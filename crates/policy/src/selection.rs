//! Selection: from a repository's tags to the one that a policy names.
//!
//! A [`Selector`] is a compiled `ImagePolicy`: its filter, its order, its variant, nothing else. It equals Flux
//! (image-reflector-controller 1.2) wherever Flux is deterministic, with two departures: numbers are exact decimals,
//! and ties, which Flux leaves to the order of a Go map, go to the highest original tag, bytewise. The result never
//! depends on the order of the input.
//!
//! Two additions are kept apart from Flux's schema. A leading order ([`Selector::led_by`]) is compared before
//! `spec.policy`, which loses nothing: it still says what is a candidate (a range admits, a numerical policy fails on
//! what is no number), and it decides where the leading order finds two tags equal. A variant lock
//! ([`Selector::locked_to`]) admits the tags of one variant alone.
//!
//! Tags pass an exclusion list first (`exclusion`), which also drops signatures; a selector does not repeat that.

use std::cmp::Reverse;

use regex::CaptureLocations;
use windlass_model::resource::{ImagePolicy, LeadingOrder, Order, PolicyRule, TagFilter};

use crate::calver::CalendarFormat;
use crate::constraint::{Constraint, Unmet};
use crate::decimal::{Decimal, DecimalError};
use crate::expand::Expansion;
use crate::go_regex::GoRegex;
use crate::rank::{Candidate, Lead, OwnValue, Precedence, Value};
use crate::{variant, version};

pub use crate::rank::Rank;

/// The group of a filter's pattern that says what the variant is, where there is one.
const VARIANT_GROUP: &str = "variant";

/// A compiled policy.
#[derive(Debug, Clone)]
pub struct Selector {
    filter: Option<Filter>,
    rule: Rule,
    lead: Option<Leading>,
    /// The one variant that is admitted; absent where variants do not matter.
    variant: Option<Box<str>>,
}

#[derive(Debug, Clone)]
struct Filter {
    pattern: GoRegex,
    /// Absent: the tag itself is compared.
    extract: Option<Expansion>,
    /// What the group `variant` matched; absent where the pattern has no such group.
    variant: Option<Expansion>,
}

#[derive(Debug, Clone)]
enum Rule {
    SemVer(Constraint),
    Alphabetical(Order),
    Numerical(Order),
}

/// A compiled [`LeadingOrder`].
#[derive(Debug, Clone)]
enum Leading {
    NewestPushed,
    CalVer(CalendarFormat),
}

/// A policy that can never choose anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidPolicy {
    /// The field below `spec`, or the annotation.
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

/// What a policy makes of one tag.
pub(crate) enum Evaluation {
    Ranked(Value),
    Filtered,
    OtherVariant(Box<str>),
    NotACalendarVersion,
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
    /// Compiles what Flux's schema says. The error names the field, whatever the tags are.
    pub fn compile(rule: &PolicyRule, filter: Option<&TagFilter>) -> Result<Self, InvalidPolicy> {
        let rule = match rule {
            PolicyRule::SemVer { range } => Rule::SemVer(
                Constraint::parse(range)
                    .map_err(|error| invalid("policy.semver.range", error.to_string()))?,
            ),
            PolicyRule::Alphabetical(order) => Rule::Alphabetical(*order),
            PolicyRule::Numerical(order) => Rule::Numerical(*order),
        };
        Ok(Self { filter: filter.map(Filter::compile).transpose()?, rule, lead: None, variant: None })
    }

    /// Compiles a policy with its annotations. One with a variant lock is locked to plain tags; [`Self::locked_to`] makes
    /// the selector of another variant.
    pub fn of(policy: &ImagePolicy) -> Result<Self, InvalidPolicy> {
        let mut selector = Self::compile(&policy.rule, policy.filter.as_ref())?;
        if let Some(order) = &policy.order {
            selector = selector.led_by(order)?;
        }
        Ok(if policy.variant_lock { selector.locked_to("") } else { selector })
    }

    /// The selector with an order that is compared before its own.
    pub fn led_by(self, order: &LeadingOrder) -> Result<Self, InvalidPolicy> {
        let lead = match order {
            LeadingOrder::NewestPushed => Leading::NewestPushed,
            LeadingOrder::CalVer { format } => Leading::CalVer(
                CalendarFormat::parse(format)
                    .map_err(|error| invalid("windlass.dev/order", error.to_string()))?,
            ),
        };
        Ok(Self { lead: Some(lead), ..self })
    }

    /// The selector with the tags of one variant alone as its candidates; the empty one is that of plain tags.
    ///
    /// Where the filter extracts nothing and does not say itself what the variant is, the variant is taken off before
    /// anything is compared: `1.2.3-alpine` is then the version 1.2.3.
    #[must_use]
    pub fn locked_to(&self, variant: &str) -> Self {
        Self { variant: Some(variant.into()), ..self.clone() }
    }

    /// Whether one variant alone is admitted.
    pub fn is_locked(&self) -> bool {
        self.variant.is_some()
    }

    /// Whether first-seen times decide.
    pub fn is_led_by_time(&self) -> bool {
        matches!(self.lead, Some(Leading::NewestPushed))
    }

    /// A tag's variant: what the filter's group `variant` matches where there is one, else as [`variant::split`] says.
    pub fn variant_of(&self, tag: &str) -> Box<str> {
        let named = self.filter.as_ref().and_then(|filter| Some((&filter.pattern, filter.variant.as_ref()?)));
        let Some((pattern, variant)) = named else { return variant::split(tag).1.into() };
        let mut locations = pattern.locations();
        let mut text = String::new();
        if pattern.captures(&mut locations, tag) {
            variant.append(tag, &locations, &mut text);
        }
        text.into()
    }

    /// Whether the tag is a candidate among those of its own variant, whatever the selector is locked to.
    pub fn admits_in_its_variant(&self, tag: &str) -> bool {
        let selector = self.locked_to(&self.variant_of(tag));
        matches!(selector.rank(tag), Ok(Some(_)))
    }

    /// A tag's rank, or none where it is not a candidate: the filter drops it, it is of another variant, it is no
    /// version, or the range does not admit it.
    pub fn rank<'t>(&self, candidate: impl Into<Candidate<'t>>) -> Result<Option<Rank>, UnrankableTag> {
        let candidate = candidate.into();
        let mut scratch = self.scratch();
        match self.evaluate(candidate, &mut scratch) {
            Evaluation::Ranked(value) => Ok(Some(Rank::new(value, candidate.tag))),
            Evaluation::NotANumber(reason) => {
                Err(UnrankableTag { tag: candidate.tag.to_owned(), value: scratch.key, reason })
            }
            Evaluation::Filtered
            | Evaluation::OtherVariant(_)
            | Evaluation::NotACalendarVersion
            | Evaluation::NotAVersion
            | Evaluation::Unmet(_) => Ok(None),
        }
    }

    /// The tag with the highest rank, in its original spelling.
    pub fn select<'t, C: Into<Candidate<'t>>>(
        &self,
        candidates: impl IntoIterator<Item = C>,
    ) -> Result<&'t str, NoSelection> {
        let mut scratch = self.scratch();
        let mut best: Option<(Value, &str)> = None;
        let mut unrankable: Option<UnrankableTag> = None;
        let mut empty = true;
        for candidate in candidates {
            let candidate = candidate.into();
            let tag = candidate.tag;
            match self.evaluate(candidate, &mut scratch) {
                Evaluation::Filtered => continue,
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
                Evaluation::OtherVariant(_)
                | Evaluation::NotACalendarVersion
                | Evaluation::NotAVersion
                | Evaluation::Unmet(_) => {}
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
    pub fn ranked<'t, C: Into<Candidate<'t>>>(
        &self,
        candidates: impl IntoIterator<Item = C>,
    ) -> Result<Vec<&'t str>, UnrankableTag> {
        let mut ranked = Vec::new();
        for candidate in candidates {
            let candidate = candidate.into();
            if let Some(rank) = self.rank(candidate)? {
                ranked.push((rank, candidate.tag));
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

    /// The format of calendar versions, for explanations.
    pub(crate) fn calendar_format(&self) -> Option<&str> {
        match &self.lead {
            Some(Leading::CalVer(format)) => Some(format.as_str()),
            Some(Leading::NewestPushed) | None => None,
        }
    }

    /// The variant that is locked to, for explanations.
    pub(crate) fn locked_variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Places one tag. `scratch` holds what was compared afterwards.
    pub(crate) fn evaluate(&self, candidate: Candidate<'_>, scratch: &mut Scratch) -> Evaluation {
        if !self.extract(candidate.tag, scratch) {
            return Evaluation::Filtered;
        }
        if let Some(locked) = &self.variant {
            let variant = self.variant_of(candidate.tag);
            if variant != *locked {
                return Evaluation::OtherVariant(variant);
            }
        }
        let key = scratch.key.as_str();
        let lead = match &self.lead {
            None => Lead::Nothing,
            Some(Leading::NewestPushed) => Lead::FirstSeen(candidate.first_seen),
            Some(Leading::CalVer(format)) => match format.read(key) {
                Some(version) => Lead::Calendar(version),
                None => return Evaluation::NotACalendarVersion,
            },
        };
        let own = match &self.rule {
            Rule::SemVer(constraint) => {
                let Some(version) = version::parse_tag(key) else { return Evaluation::NotAVersion };
                match constraint.check(&version) {
                    Ok(()) => OwnValue::Version(Precedence(version)),
                    Err(unmet) => return Evaluation::Unmet(unmet),
                }
            }
            Rule::Alphabetical(Order::Asc) => OwnValue::Text(key.into()),
            Rule::Alphabetical(Order::Desc) => OwnValue::TextDescending(Reverse(key.into())),
            Rule::Numerical(order) => match (Decimal::parse(key), order) {
                (Ok(number), Order::Asc) => OwnValue::Number(number),
                (Ok(number), Order::Desc) => OwnValue::NumberDescending(Reverse(number)),
                (Err(reason), _) => return Evaluation::NotANumber(reason),
            },
        };
        Evaluation::Ranked(Value { lead, own })
    }

    /// Puts what is compared into `scratch`; false where the filter drops the tag.
    fn extract(&self, tag: &str, scratch: &mut Scratch) -> bool {
        scratch.key.clear();
        match (&self.filter, &mut scratch.locations) {
            (Some(Filter { pattern, extract: Some(extract), .. }), Some(locations)) => {
                if !pattern.captures(locations, tag) {
                    return false;
                }
                extract.append(tag, locations, &mut scratch.key);
            }
            (Some(filter), _) if !filter.pattern.is_match(tag) => return false,
            (filter, _) => {
                let named = filter.as_ref().is_some_and(|filter| filter.variant.is_some());
                let takes_off = self.is_locked() && !named;
                scratch.key.push_str(if takes_off { variant::split(tag).0 } else { tag });
            }
        }
        true
    }
}

impl Filter {
    fn compile(filter: &TagFilter) -> Result<Self, InvalidPolicy> {
        let pattern = GoRegex::compile(&filter.pattern)
            .map_err(|error| invalid("filterTags.pattern", error.to_string()))?;
        let extract = (!filter.extract.is_empty()).then(|| Expansion::new(&filter.extract, &pattern));
        let names_variant = pattern.group_names().iter().flatten().any(|name| name == VARIANT_GROUP);
        let variant = names_variant.then(|| Expansion::new(&format!("${{{VARIANT_GROUP}}}"), &pattern));
        Ok(Self { pattern, extract, variant })
    }
}

fn invalid(field: &'static str, reason: String) -> InvalidPolicy {
    InvalidPolicy { field, reason }
}

#[cfg(test)]
mod tests;
