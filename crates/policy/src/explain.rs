//! Explanations: what a policy makes of every tag, in terms that a person can act on.

use serde::Serialize;

use crate::constraint::Unmet;
use crate::exclusion::{Exclusion, Exclusions};
use crate::selection::{Evaluation, NoSelection, Rank, Scratch, Selector, UnrankableTag};

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

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Signature => {
                f.write_str("it belongs to another image (signature, attestation or referrers)")
            }
            Cause::ExclusionList { pattern } => write!(f, "the exclusion list's `{pattern}` matches"),
            Cause::Filter { pattern } => write!(f, "the filter `{pattern}` does not match"),
            Cause::NotAVersion => f.write_str("it is not a version"),
            Cause::Prerelease => f.write_str("it is a pre-release, and the range names none (add `-0`)"),
            Cause::OutOfRange => f.write_str("it is outside the range"),
            Cause::NotANumber { reason } => f.write_str(reason),
        }
    }
}

/// A tag on its way to a verdict.
struct Judged<'t> {
    tag: &'t str,
    value: Option<String>,
    outcome: Result<Rank, Cause>,
}

/// Explains a policy over tags, as a repository lists them: exclusions apply first. Its choice is that of
/// [`Selector::select`] over [`Exclusions::candidates`].
pub fn explain<'t>(
    selector: &Selector,
    exclusions: &Exclusions,
    tags: impl IntoIterator<Item = &'t str>,
) -> Explanation {
    let mut tags: Vec<&str> = tags.into_iter().collect();
    tags.sort_unstable_by(|left, right| right.cmp(left));
    tags.dedup();
    let selection = selector.select(exclusions.candidates(tags.iter().copied()));

    let mut scratch = selector.scratch();
    let mut judged: Vec<Judged<'_>> = tags
        .into_iter()
        .map(|tag| {
            let outcome = judge(selector, exclusions, tag, &mut scratch);
            let value = compared(&outcome).then(|| scratch.key.clone());
            Judged { tag, value: value.filter(|value| value != tag), outcome }
        })
        .collect();
    // Stable, so that dropped tags keep their order behind the candidates.
    judged.sort_by(|left, right| right.outcome.as_ref().ok().cmp(&left.outcome.as_ref().ok()));

    Explanation {
        chosen: selection.as_ref().ok().map(ToString::to_string),
        reason: selection.as_ref().err().map(ToString::to_string),
        tags: verdicts(judged, &selection),
    }
}

/// Whether a value was extracted: always, but for a tag that was dropped before.
fn compared(outcome: &Result<Rank, Cause>) -> bool {
    !matches!(outcome, Err(Cause::Signature | Cause::ExclusionList { .. } | Cause::Filter { .. }))
}

fn judge(
    selector: &Selector,
    exclusions: &Exclusions,
    tag: &str,
    scratch: &mut Scratch,
) -> Result<Rank, Cause> {
    match exclusions.exclusion(tag) {
        Some(Exclusion::Referrer) => return Err(Cause::Signature),
        Some(Exclusion::Pattern(pattern)) => {
            return Err(Cause::ExclusionList { pattern: pattern.to_owned() });
        }
        None => {}
    }
    Err(match selector.evaluate(tag, scratch) {
        Evaluation::Ranked(value) => return Ok(Rank::new(value, tag)),
        Evaluation::Filtered => Cause::Filter { pattern: selector.pattern().unwrap_or_default().to_owned() },
        Evaluation::NotAVersion => Cause::NotAVersion,
        Evaluation::Unmet(Unmet::Prerelease) => Cause::Prerelease,
        Evaluation::Unmet(Unmet::OutOfRange) => Cause::OutOfRange,
        Evaluation::NotANumber(reason) => {
            let (tag, value) = (tag.to_owned(), scratch.key.clone());
            Cause::NotANumber { reason: UnrankableTag { tag, value, reason }.to_string() }
        }
    })
}

fn verdicts(judged: Vec<Judged<'_>>, selection: &Result<&str, NoSelection>) -> Vec<TagVerdict> {
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
            tag: judged.tag.to_owned(),
            value: judged.value,
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
