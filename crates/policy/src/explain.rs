//! Explanations: what a policy makes of every tag, in terms that a person can act on.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::constraint::Unmet;
use crate::exclusion::{Exclusion, Exclusions};
use crate::rank::{Candidate, Rank};
use crate::selection::{Evaluation, NoSelection, Scratch, Selector, UnrankableTag};

/// What a policy makes of a list of tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The chosen tag.
    pub chosen: Option<String>,
    /// Why none is chosen.
    pub reason: Option<String>,
    /// Every distinct tag: candidates first, best first; then the others, highest first, bytewise.
    pub tags: Vec<TagVerdict>,
}

/// What a policy makes of one tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TagVerdict {
    /// The original tag.
    pub tag: String,
    /// What the filter extracted, where that differs from the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When it was first seen, where that is compared and known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    /// The outcome.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// One tag's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Verdict {
    /// The policy's choice.
    Chosen,
    /// A candidate that another one beats.
    Beaten {
        /// Its place in the order; the chosen tag has place 1.
        place: usize,
        /// The chosen tag.
        by: String,
        /// It has the same value as the chosen tag, and the higher tag won.
        tie: bool,
    },
    /// No candidate.
    Dropped {
        /// What dropped it.
        by: Cause,
    },
    /// It would be a candidate, had another tag not failed the whole policy.
    Blocked {
        /// The tag that a numerical policy cannot place.
        by: String,
    },
}

/// What drops a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Cause {
    /// It holds a signature, an attestation or a referrers index of another image.
    Signature,
    /// A pattern of the repository's exclusion list matches.
    ExclusionList {
        /// The pattern.
        pattern: String,
    },
    /// The filter does not match.
    Filter {
        /// The pattern.
        pattern: String,
    },
    /// It is of another variant than the place in Git.
    Variant {
        /// Its variant; empty for a plain tag.
        variant: String,
        /// The variant that is locked to; empty for plain tags.
        locked: String,
    },
    /// It is no calendar version of the policy's format.
    NotACalendarVersion {
        /// The format.
        format: String,
    },
    /// Flux does not read it as a version.
    NotAVersion,
    /// It is a pre-release, and the range names none.
    Prerelease,
    /// It is outside the range.
    OutOfRange,
    /// A numerical policy cannot place it, and fails.
    NotANumber {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Chosen => f.write_str("chosen"),
            Verdict::Beaten { place, by, tie: false } => write!(f, "place {place}, beaten by {by}"),
            Verdict::Beaten { place, by, tie: true } => {
                write!(f, "place {place}, equal to {by}, which is the higher tag")
            }
            Verdict::Dropped { by } => write!(f, "dropped: {by}"),
            Verdict::Blocked { by } => write!(f, "not compared: {by} fails the policy"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Signature => {
                f.write_str("it belongs to another image (signature, attestation or referrers)")
            }
            Cause::ExclusionList { pattern } => write!(f, "the exclusion list's `{pattern}` matches"),
            Cause::Filter { pattern } => write!(f, "the filter `{pattern}` does not match"),
            Cause::Variant { variant, locked } => {
                let named = |variant: &str| match variant {
                    "" => "no variant".to_owned(),
                    variant => format!("the variant `{variant}`"),
                };
                write!(f, "it has {}; the place in Git has {}", named(variant), named(locked))
            }
            Cause::NotACalendarVersion { format } => {
                write!(f, "it is no calendar version of the format `{format}`")
            }
            Cause::NotAVersion => f.write_str("it is not a version"),
            Cause::Prerelease => f.write_str("it is a pre-release, and the range names none (add `-0`)"),
            Cause::OutOfRange => f.write_str("it is outside the range"),
            Cause::NotANumber { reason } => f.write_str(reason),
        }
    }
}

/// A tag on its way to a verdict.
struct Judged<'t> {
    candidate: Candidate<'t>,
    value: Option<String>,
    outcome: Result<Rank, Cause>,
}

/// Explains a policy over tags, as a repository lists them: exclusions apply first. Its choice is that of
/// [`Selector::select`] over the tags that are not excluded, each once and with its earliest time.
pub fn explain<'t, C: Into<Candidate<'t>>>(
    selector: &Selector,
    exclusions: &Exclusions,
    tags: impl IntoIterator<Item = C>,
) -> Explanation {
    let mut tags: Vec<Candidate<'_>> = tags.into_iter().map(Into::into).collect();
    let unknown_last = |candidate: &Candidate<'_>| candidate.first_seen.unwrap_or(Timestamp::MAX);
    tags.sort_unstable_by(|left, right| {
        right.tag.cmp(left.tag).then_with(|| unknown_last(left).cmp(&unknown_last(right)))
    });
    tags.dedup_by_key(|candidate| candidate.tag);
    let selection = selector.select(tags.iter().copied().filter(|tag| !exclusions.excludes(tag.tag)));

    let mut scratch = selector.scratch();
    let mut judged: Vec<Judged<'_>> = tags
        .into_iter()
        .map(|candidate| {
            let outcome = judge(selector, exclusions, candidate, &mut scratch);
            let value = compared(&outcome).then(|| scratch.key.clone());
            Judged { candidate, value: value.filter(|value| value != candidate.tag), outcome }
        })
        .collect();
    // Stable, so that dropped tags keep their order behind the candidates.
    judged.sort_by(|left, right| right.outcome.as_ref().ok().cmp(&left.outcome.as_ref().ok()));

    Explanation {
        chosen: selection.as_ref().ok().map(ToString::to_string),
        reason: selection.as_ref().err().map(ToString::to_string),
        tags: verdicts(judged, &selection, selector.is_led_by_time()),
    }
}

/// Whether a value was extracted: always, but for a tag that was dropped before.
fn compared(outcome: &Result<Rank, Cause>) -> bool {
    !matches!(outcome, Err(Cause::Signature | Cause::ExclusionList { .. } | Cause::Filter { .. }))
}

fn judge(
    selector: &Selector,
    exclusions: &Exclusions,
    candidate: Candidate<'_>,
    scratch: &mut Scratch,
) -> Result<Rank, Cause> {
    let tag = candidate.tag;
    match exclusions.exclusion(tag) {
        Some(Exclusion::Referrer) => return Err(Cause::Signature),
        Some(Exclusion::Pattern(pattern)) => {
            return Err(Cause::ExclusionList { pattern: pattern.to_owned() });
        }
        None => {}
    }
    Err(match selector.evaluate(candidate, scratch) {
        Evaluation::Ranked(value) => return Ok(Rank::new(value, tag)),
        Evaluation::Filtered => Cause::Filter { pattern: selector.pattern().unwrap_or_default().to_owned() },
        Evaluation::OtherVariant(variant) => Cause::Variant {
            variant: variant.into(),
            locked: selector.locked_variant().unwrap_or_default().to_owned(),
        },
        Evaluation::NotACalendarVersion => {
            Cause::NotACalendarVersion { format: selector.calendar_format().unwrap_or_default().to_owned() }
        }
        Evaluation::NotAVersion => Cause::NotAVersion,
        Evaluation::Unmet(Unmet::Prerelease) => Cause::Prerelease,
        Evaluation::Unmet(Unmet::OutOfRange) => Cause::OutOfRange,
        Evaluation::NotANumber(reason) => {
            let (tag, value) = (tag.to_owned(), scratch.key.clone());
            Cause::NotANumber { reason: UnrankableTag { tag, value, reason }.to_string() }
        }
    })
}

fn verdicts(judged: Vec<Judged<'_>>, selection: &Result<&str, NoSelection>, timed: bool) -> Vec<TagVerdict> {
    let best = judged.first().and_then(|best| best.outcome.as_ref().ok()).cloned();
    let verdict = |place: usize, outcome: Result<Rank, Cause>| match (outcome, selection) {
        (Err(by), _) => Verdict::Dropped { by },
        (Ok(_), Err(NoSelection::Unrankable(unrankable))) => Verdict::Blocked { by: unrankable.tag.clone() },
        (Ok(_), _) if place == 1 => Verdict::Chosen,
        (Ok(rank), _) => {
            let tie = best.as_ref().is_some_and(|best| best.ties_with(&rank));
            let by = selection.as_ref().map_or(String::new(), ToString::to_string);
            Verdict::Beaten { place, by, tie }
        }
    };
    judged
        .into_iter()
        .enumerate()
        .map(|(index, judged)| TagVerdict {
            tag: judged.candidate.tag.to_owned(),
            value: judged.value,
            first_seen: judged.candidate.first_seen.filter(|_| timed),
            verdict: verdict(index + 1, judged.outcome),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use windlass_model::resource::{Order, PolicyRule, TagFilter};

    use super::*;

    fn lines(rule: &PolicyRule, filter: Option<(&str, &str)>, tags: &[&str]) -> (Explanation, Vec<String>) {
        let filter = filter
            .map(|(pattern, extract)| TagFilter { pattern: pattern.to_owned(), extract: extract.to_owned() });
        let selector = Selector::compile(rule, filter.as_ref()).unwrap();
        let exclusions = Exclusions::compile(&["nightly".to_owned()]).unwrap();
        let explanation = explain(&selector, &exclusions, tags.iter().copied());
        let lines = explanation.tags.iter().map(|tag| format!("{}: {}", tag.tag, tag.verdict)).collect();
        (explanation, lines)
    }

    #[test]
    fn every_tag_has_its_reason() {
        let signature = format!("sha256-{}.att", "a".repeat(64));
        let tags = [
            "v1.1.0",
            "1.1.0",
            "latest",
            "1.0.0",
            "2.0.0",
            "1.2.0-rc.1",
            "nightly",
            "1.0.0",
            &signature,
            "x86",
        ];
        let rule = PolicyRule::SemVer { range: "^1.0.0".to_owned() };
        let (explanation, lines) = lines(&rule, Some(("[.t]", "")), &tags);
        assert_eq!(explanation.chosen.as_deref(), Some("v1.1.0"));
        assert_eq!(
            lines,
            [
                "v1.1.0: chosen".to_owned(),
                "1.1.0: place 2, equal to v1.1.0, which is the higher tag".to_owned(),
                "1.0.0: place 3, beaten by v1.1.0".to_owned(),
                "x86: dropped: the filter `[.t]` does not match".to_owned(),
                format!(
                    "{signature}: dropped: it belongs to another image (signature, attestation or referrers)"
                ),
                "nightly: dropped: the exclusion list's `nightly` matches".to_owned(),
                "latest: dropped: it is not a version".to_owned(),
                "2.0.0: dropped: it is outside the range".to_owned(),
                "1.2.0-rc.1: dropped: it is a pre-release, and the range names none (add `-0`)".to_owned(),
            ]
        );
    }

    #[test]
    fn a_tag_that_is_no_number_is_named_everywhere() {
        let rule = PolicyRule::Numerical(Order::Asc);
        let (explanation, lines) = lines(&rule, Some(("^b(.*)$", "$1")), &["b1", "bx", "b2"]);
        let reason = "failed to parse invalid numeric value 'x' of tag 'bx': it is not a decimal number";
        assert_eq!((explanation.chosen, explanation.reason.as_deref()), (None, Some(reason)));
        assert_eq!(
            lines,
            [
                "b2: not compared: bx fails the policy".to_owned(),
                "b1: not compared: bx fails the policy".to_owned(),
                format!("bx: dropped: {reason}"),
            ]
        );
    }

    #[test]
    fn leading_orders_and_locks_say_what_they_did() {
        use windlass_model::resource::LeadingOrder;
        let plain = Selector::compile(&PolicyRule::Alphabetical(Order::Asc), None).unwrap();
        let told = |selector: &Selector, tags: &[Candidate<'_>]| {
            let explanation = explain(selector, &Exclusions::default(), tags.iter().copied());
            explanation.tags.iter().map(|tag| format!("{}: {}", tag.tag, tag.verdict)).collect::<Vec<_>>()
        };
        let calver = LeadingOrder::CalVer { format: "YYYY.0M".into() };
        let dated = plain.clone().led_by(&calver).unwrap().locked_to("slim");
        assert_eq!(
            told(
                &dated,
                &["2026.01-slim", "2026.02-slim", "2026.03", "26-slim", "2026.04-alpine"].map(Into::into)
            ),
            [
                "2026.02-slim: chosen",
                "2026.01-slim: place 2, beaten by 2026.02-slim",
                "26-slim: dropped: it is no calendar version of the format `YYYY.0M`",
                "2026.04-alpine: dropped: it has the variant `alpine`; the place in Git has the variant `slim`",
                "2026.03: dropped: it has no variant; the place in Git has the variant `slim`",
            ]
        );
        assert_eq!(
            told(&plain.locked_to(""), &["a-slim".into()]),
            ["a-slim: dropped: it has the variant `slim`; the place in Git has no variant"]
        );
    }

    #[test]
    fn first_seen_times_are_shown_where_they_are_compared() {
        use windlass_model::resource::LeadingOrder;
        let plain = Selector::compile(&PolicyRule::Alphabetical(Order::Asc), None).unwrap();
        let newest = plain.clone().led_by(&LeadingOrder::NewestPushed).unwrap();
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let tags = [("b", at(0)), ("a", at(60)), ("c", None), ("b", at(90))]
            .map(|(tag, first_seen)| Candidate { tag, first_seen });
        let shown = |selector: &Selector| {
            let explanation = explain(selector, &Exclusions::default(), tags);
            let tags = explanation.tags.iter();
            tags.map(|tag| (tag.tag.clone(), tag.first_seen.map(Timestamp::as_second))).collect::<Vec<_>>()
        };
        let timed = [("a", Some(60)), ("b", Some(0)), ("c", None)].map(|(tag, at)| (tag.to_owned(), at));
        assert_eq!(shown(&newest), timed, "a tag that is listed twice keeps its earliest time");
        assert!(shown(&plain).iter().all(|(_, at)| at.is_none()));
        let json = serde_json::to_value(explain(&newest, &Exclusions::default(), tags)).unwrap();
        assert_eq!(json["tags"][0]["firstSeen"], "1970-01-01T00:01:00Z");
    }

    #[test]
    fn the_machine_form_is_flat() {
        let rule = PolicyRule::Numerical(Order::Desc);
        let (explanation, _) = lines(&rule, Some(("^b(.*)$", "$1")), &["b1", "c", "b2"]);
        assert_eq!(
            serde_json::to_value(&explanation).unwrap(),
            serde_json::json!({
                "chosen": "b1",
                "reason": null,
                "tags": [
                    {"tag": "b1", "value": "1", "verdict": "chosen"},
                    {"tag": "b2", "value": "2", "verdict": "beaten", "place": 2, "by": "b1", "tie": false},
                    {"tag": "c", "verdict": "dropped", "by": {"cause": "filter", "pattern": "^b(.*)$"}},
                ],
            })
        );
    }
}
