//! The decision: from the facts about one automation to what is written where, or why not.
//!
//! [`decide`] is pure and total: each marker gets exactly one outcome, in the order in which the facts name them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use windlass_model::guard::Pin;
use windlass_model::place::{Marker, NoDigest, ObjectIdentifier, Part};
use windlass_model::{ObjectKey, Tag};

use crate::election::{Agreed, Choice};
use crate::lock::{NoTrack, Track};

/// Everything that is known when an automation is decided.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The automation's namespace: markers of other namespaces are not its business.
    pub namespace: String,
    /// The policies of that namespace.
    pub policies: BTreeMap<ObjectKey, PolicyFacts>,
    /// Every marker at the branch's head.
    pub places: Vec<PlaceFacts>,
    /// What Git and the policies last agreed upon, by file and track.
    pub agreed: BTreeMap<(Arc<str>, Track), Agreed>,
}

/// What is known of a policy.
#[derive(Debug, Clone)]
pub enum PolicyFacts {
    /// It chose an image.
    Chosen(Choice),
    /// It is locked to variants: what it chose for each that stands in Git, or why nothing.
    Locked(BTreeMap<Box<str>, Result<Choice, String>>),
    /// It has no choice at present, and why.
    Waiting(String),
    /// The automation's `policySelector` does not match it.
    NotSelected,
}

/// A marker at the branch's head.
#[derive(Debug, Clone)]
pub struct PlaceFacts {
    /// The file, relative to the repository's root.
    pub file: Arc<str>,
    /// One-based.
    pub line: usize,
    /// What the marker asks for.
    pub marker: Marker,
    /// The scalar's present value.
    pub value: String,
    /// The variant that its policy's lock keeps it to ([`crate::lock::lock`] finds it); empty where there is no lock.
    pub variant: Result<Box<str>, NoTrack>,
    /// The object that it is part of.
    pub object: ObjectIdentifier,
}

/// What to do: one outcome per place, in the order of [`Facts::places`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The outcomes.
    pub outcomes: Vec<Outcome>,
}

/// What happens to one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The value is replaced.
    Write {
        /// The new text.
        value: String,
    },
    /// The value is already right.
    UpToDate,
    /// The value, or one beside it in the same file, is not below the policy's choice and stays.
    Ahead {
        /// What is there.
        present: Tag,
        /// What the policy chose.
        chosen: Tag,
    },
    /// A person set the value, or one beside it in the same file, back: it stays.
    Held {
        /// What is there.
        present: Tag,
        /// What the person replaced.
        rejected: Tag,
    },
    /// Writing would undo the last change without a person having asked for it.
    Flapping {
        /// What is there.
        present: Tag,
        /// What was there before it, and would come back.
        chosen: Tag,
    },
    /// The policy has no choice at present.
    Waiting(String),
    /// No such policy in the automation's namespace.
    UnknownPolicy,
    /// The marker names another namespace.
    OtherNamespace,
    /// The automation does not select the policy.
    NotSelected,
    /// A `:digest` marker, but the policy reflects no digest.
    NoDigest,
    /// A Guard wants the verified digest to be written, and neither the place nor one beside it holds one.
    Unpinned,
}

impl Outcome {
    /// Whether a person should see it: everything that was not written although a marker asks for it.
    pub fn is_diagnostic(&self) -> bool {
        !matches!(self, Outcome::Write { .. } | Outcome::UpToDate | Outcome::NotSelected)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Write { value } => write!(f, "becomes {value}"),
            Outcome::UpToDate => f.write_str("is up to date"),
            Outcome::Ahead { present, chosen } => {
                write!(f, "stays: {present} is not below {chosen}, which the policy chooses at present")
            }
            Outcome::Held { present, rejected } => write!(
                f,
                "is held: a person set {present} in place of {rejected}; a release newer than {rejected}, a change of the \
                 policy, or `windlass resume` lifts it"
            ),
            Outcome::Flapping { present, chosen } => write!(
                f,
                "stays: {chosen} was replaced by {present} before and would come back without a person having asked; \
                 change the policy or the value, or use `windlass resume`"
            ),
            Outcome::Waiting(why) => write!(f, "waits: {why}"),
            Outcome::UnknownPolicy => f.write_str("names a policy that does not exist"),
            Outcome::OtherNamespace => f.write_str("names a policy of another namespace"),
            Outcome::NotSelected => f.write_str("names a policy that policySelector does not match"),
            Outcome::NoDigest => NoDigest.fmt(f),
            Outcome::Unpinned => f.write_str(
                "stays: a Guard asks for `pin: required`, and neither this place nor one beside it holds a digest; mark the \
                 whole image, or add a `:digest` marker in the same file",
            ),
        }
    }
}

impl Plan {
    /// The places to write: index into [`Facts::places`] and the new value.
    pub fn writes(&self) -> impl Iterator<Item = (usize, &str)> {
        self.outcomes.iter().enumerate().filter_map(|(index, outcome)| match outcome {
            Outcome::Write { value } => Some((index, value.as_str())),
            _ => None,
        })
    }

    /// What was not written although a marker asks for it, as `file:line: namespace:name what`.
    pub fn diagnostics(&self, facts: &Facts) -> Vec<String> {
        let describe = |(place, outcome): (&PlaceFacts, &Outcome)| {
            let ObjectKey { namespace, name } = &place.marker.policy;
            format!("{}:{}: {namespace}:{name}{} {outcome}", place.file, place.line, place.marker.part)
        };
        let pairs = facts.places.iter().zip(&self.outcomes);
        pairs.filter(|(_, outcome)| outcome.is_diagnostic()).map(describe).collect()
    }
}

/// The present tags that are above their policy's choice, with the track: before they are allowed to stay, the
/// registry is asked whether those that it did not list still exist.
pub fn tags_ahead(facts: &Facts) -> BTreeSet<(Track, Tag)> {
    let ahead = |place: &PlaceFacts| Some((place.track()?, facts.ahead(place)?));
    facts.places.iter().filter_map(ahead).collect()
}

/// Decides every place.
///
/// The parts of one image that stand in one file (`:name`, `:tag`, `:digest`) move together: where the tag stays, its
/// neighbours stay.
pub fn decide(facts: &Facts) -> Plan {
    let mut stays: BTreeMap<Group<'_>, Outcome> = BTreeMap::new();
    for place in &facts.places {
        if let (Some(group), Some(outcome)) = (place.group(), facts.stays(place)) {
            stays.entry(group).or_insert(outcome);
        }
    }
    let outcome =
        |place: &PlaceFacts| facts.outcome(place, place.group().and_then(|group| stays.get(&group)));
    Plan { outcomes: facts.places.iter().map(outcome).collect() }
}

/// What Git and the policies agree upon once the plan is carried out, where that is news: to be remembered, so that a
/// person's later change is recognised as one.
pub fn agreements(facts: &Facts, plan: &Plan) -> BTreeMap<(Arc<str>, Track), Agreed> {
    let mut agreements = BTreeMap::new();
    for (place, outcome) in facts.places.iter().zip(&plan.outcomes) {
        let agrees = matches!(outcome, Outcome::Write { .. } | Outcome::UpToDate);
        let agrees = agrees && place.marker.part.holds_tag();
        let (true, Some(choice), Some(track)) = (agrees, facts.choice(place), place.track()) else {
            continue;
        };
        let key = (place.file.clone(), track);
        let known = facts.agreed.get(&key);
        let tag = choice.image.tag.clone();
        if known.is_some_and(|agreed| agreed.tag == tag && agreed.rule == choice.rule) {
            continue;
        }
        let before = known
            .map(|agreed| if agreed.tag == tag { agreed.before.clone() } else { Some(agreed.tag.clone()) });
        // The first value that we replace was somebody's choice too.
        let found = || place.marker.part.read(&place.value).tag.filter(|found| *found != tag);
        let before = before.unwrap_or_else(found);
        agreements.insert(key, Agreed { tag, before, rule: choice.rule.clone() });
    }
    agreements
}

/// The places that move together: file, policy, variant.
type Group<'f> = (&'f Arc<str>, &'f ObjectKey, &'f str);

impl PlaceFacts {
    /// The track that the place is on, if it is known.
    pub fn track(&self) -> Option<Track> {
        let variant = self.variant.clone().ok()?;
        Some(Track { policy: self.marker.policy.clone(), variant })
    }

    fn group(&self) -> Option<Group<'_>> {
        Some((&self.file, &self.marker.policy, self.variant.as_deref().ok()?))
    }
}

impl Facts {
    /// What the place's policy chose for it, if anything.
    pub fn choice(&self, place: &PlaceFacts) -> Option<&Choice> {
        self.chosen(place).ok()
    }

    fn chosen(&self, place: &PlaceFacts) -> Result<&Choice, Outcome> {
        match self.policies.get(&place.marker.policy) {
            None => Err(Outcome::UnknownPolicy),
            Some(PolicyFacts::NotSelected) => Err(Outcome::NotSelected),
            Some(PolicyFacts::Waiting(why)) => Err(Outcome::Waiting(why.clone())),
            Some(PolicyFacts::Chosen(choice)) => Ok(choice),
            Some(PolicyFacts::Locked(variants)) => match &place.variant {
                Ok(variant) => match variants.get(variant) {
                    Some(Ok(choice)) => Ok(choice),
                    Some(Err(why)) => Err(Outcome::Waiting(why.clone())),
                    None => Err(Outcome::Waiting("nothing was chosen for its variant".to_owned())),
                },
                // All variants are of one name, so this one is right whichever it belongs to.
                Err(_) if place.marker.part == Part::Name && names(variants, &place.value) => {
                    Err(Outcome::UpToDate)
                }
                Err(why) => Err(Outcome::Waiting(why.to_string())),
            },
        }
    }

    fn ahead(&self, place: &PlaceFacts) -> Option<Tag> {
        self.choice(place)?.ahead(&place.marker.part.read(&place.value)).cloned()
    }

    /// Why the present tag stays, if it does.
    fn stays(&self, place: &PlaceFacts) -> Option<Outcome> {
        let choice = self.choice(place)?;
        let current = place.marker.part.read(&place.value);
        let chosen = || choice.image.tag.clone();
        // The old digest beside a new tag would go on deploying the old image.
        if place.marker.part == Part::Digest && current.digest.is_some() && choice.image.digest.is_none() {
            return Some(Outcome::NoDigest);
        }
        let agreed = self.agreed.get(&(place.file.clone(), place.track()?));
        let held = agreed.and_then(|agreed| choice.held(&current, agreed).zip(Some(&agreed.tag)));
        if let Some((present, rejected)) = held {
            return Some(Outcome::Held { present: present.clone(), rejected: rejected.clone() });
        }
        // A lower choice is not news, be it what was there before: a partial list, or what a restart remembers.
        if let Some(present) = choice.ahead(&current) {
            return Some(Outcome::Ahead { present: present.clone(), chosen: chosen() });
        }
        let replaced = agreed.filter(|agreed| choice.flaps(&current, agreed));
        replaced.map(|agreed| Outcome::Flapping { present: agreed.tag.clone(), chosen: chosen() })
    }

    /// Whether a tag is written together with a digest.
    fn pins(&self, place: &PlaceFacts) -> bool {
        let beside = |other: &PlaceFacts| other.marker.part == Part::Digest && other.group() == place.group();
        place.marker.part != Part::Tag || self.places.iter().any(beside)
    }

    fn outcome(&self, place: &PlaceFacts, stays: Option<&Outcome>) -> Outcome {
        if place.marker.policy.namespace != self.namespace {
            return Outcome::OtherNamespace;
        }
        let choice = match self.chosen(place) {
            Ok(choice) => choice,
            Err(outcome) => return outcome,
        };
        if let Some(outcome) = stays {
            return outcome.clone();
        }
        if choice.pin == Some(Pin::Required) && !self.pins(place) {
            return Outcome::Unpinned;
        }
        match place.marker.part.render(&choice.image) {
            Err(NoDigest) => Outcome::NoDigest,
            Ok(value) if value == place.value => Outcome::UpToDate,
            Ok(value) => Outcome::Write { value },
        }
    }
}

fn names(variants: &BTreeMap<Box<str>, Result<Choice, String>>, name: &str) -> bool {
    variants.values().flatten().any(|choice| choice.image.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exclusion::Exclusions;
    use crate::rank::FirstSeen;
    use crate::selection::Selector;
    use windlass_model::resource::{LeadingOrder, PolicyRule};
    use windlass_model::{Digest, ImageRef};

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("apps", name)
    }

    fn choice(range: &str, tag: &str, digest: bool) -> Choice {
        let selector = Selector::compile(&PolicyRule::SemVer { range: range.into() }, None).unwrap();
        let digest = digest.then(|| Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap());
        let image = ImageRef { name: "ghcr.io/org/app".into(), tag: Tag::parse(tag).unwrap(), digest };
        let excluded = Arc::new(Exclusions::compile(&[]).unwrap());
        let (selector, gone, first_seen) = (Arc::new(selector), BTreeSet::new(), FirstSeen::default());
        Choice { image, selector, excluded, gone, first_seen, pin: None, rule: range.into() }
    }

    fn place(file: &str, policy: ObjectKey, part: Part, value: &str) -> PlaceFacts {
        PlaceFacts {
            file: file.into(),
            line: 7,
            marker: Marker { policy, part },
            value: value.into(),
            variant: Ok(Box::default()),
            object: ObjectIdentifier::default(),
        }
    }

    fn facts(policies: Vec<(ObjectKey, PolicyFacts)>, places: Vec<PlaceFacts>) -> Facts {
        let policies = policies.into_iter().collect();
        Facts { namespace: "apps".into(), policies, places, agreed: BTreeMap::new() }
    }

    fn write(value: &str) -> Outcome {
        Outcome::Write { value: value.into() }
    }

    #[test]
    fn known_markers_are_written_and_the_others_are_told_apart() {
        let facts = facts(
            vec![
                (key("app"), PolicyFacts::Chosen(choice(">=1.0.0", "1.2.0", false))),
                (key("wait"), PolicyFacts::Waiting("no tags are known".into())),
                (key("other"), PolicyFacts::NotSelected),
            ],
            vec![
                place("a.yaml", key("app"), Part::Image, "ghcr.io/org/app:1.1.0"),
                place("a.yaml", key("missing"), Part::Image, "x:1"),
                place("a.yaml", ObjectKey::new("team", "app"), Part::Tag, "1.1.0"),
                place("a.yaml", key("wait"), Part::Tag, "1.1.0"),
                place("a.yaml", key("other"), Part::Tag, "1.1.0"),
                place("b.yaml", key("app"), Part::Tag, "1.2.0"),
                place("b.yaml", key("app"), Part::Digest, ""),
            ],
        );
        let plan = decide(&facts);
        assert_eq!(
            plan.outcomes,
            vec![
                write("ghcr.io/org/app:1.2.0"),
                Outcome::UnknownPolicy,
                Outcome::OtherNamespace,
                Outcome::Waiting("no tags are known".into()),
                Outcome::NotSelected,
                Outcome::UpToDate,
                Outcome::NoDigest,
            ]
        );
        let diagnostics = plan.diagnostics(&facts);
        assert_eq!(diagnostics.len(), 4);
        assert_eq!(diagnostics[0], "a.yaml:7: apps:missing names a policy that does not exist");
    }

    #[test]
    fn a_lower_choice_never_replaces_a_value_that_the_policy_ranks_higher() {
        let policies = vec![(key("app"), PolicyFacts::Chosen(choice(">=1.0.0", "1.1.0", true)))];
        let digest = format!("sha256:{}", "b".repeat(64));
        let facts = facts(
            policies,
            vec![
                place("k.yaml", key("app"), Part::Name, "ghcr.io/org/old"),
                place("k.yaml", key("app"), Part::Tag, "1.2.0"),
                place("k.yaml", key("app"), Part::Digest, &digest),
                place("other.yaml", key("app"), Part::Tag, "1.0.0"),
            ],
        );
        let plan = decide(&facts);
        let stays =
            Outcome::Ahead { present: Tag::parse("1.2.0").unwrap(), chosen: Tag::parse("1.1.0").unwrap() };
        assert_eq!(plan.outcomes, vec![stays.clone(), stays.clone(), stays, write("1.1.0")]);
        assert_eq!(
            tags_ahead(&facts),
            BTreeSet::from([(Track::only(&key("app")), Tag::parse("1.2.0").unwrap())])
        );
    }

    #[test]
    fn a_new_tag_never_stands_beside_an_old_digest() {
        let digest = format!("sha256:{}", "b".repeat(64));
        let tag_and = |digest: &str| {
            let policies = vec![(key("app"), PolicyFacts::Chosen(choice("1.x", "1.1.0", false)))];
            let tag = place("k.yaml", key("app"), Part::Tag, "1.0.0");
            decide(&facts(policies, vec![tag, place("k.yaml", key("app"), Part::Digest, digest)])).outcomes
        };
        assert_eq!(tag_and(&digest), vec![Outcome::NoDigest, Outcome::NoDigest]);
        assert_eq!(tag_and(""), vec![write("1.1.0"), Outcome::NoDigest], "an empty place pins nothing");
    }

    #[test]
    fn a_place_that_holds_no_digest_is_refused_where_a_guard_requires_one() {
        let under = |pin| {
            let choice = Choice { pin, ..choice("1.x", "1.1.0", true) };
            let policies = vec![(key("app"), PolicyFacts::Chosen(choice))];
            let places = vec![
                place("image.yaml", key("app"), Part::Image, "ghcr.io/org/app:1.0.0"),
                place("tag.yaml", key("app"), Part::Tag, "1.0.0"),
                place("both.yaml", key("app"), Part::Tag, "1.0.0"),
                place("both.yaml", key("app"), Part::Digest, ""),
            ];
            decide(&facts(policies, places)).outcomes
        };
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = write(&format!("ghcr.io/org/app:1.1.0@{digest}"));
        for pin in [None, Some(Pin::WhereverPossible)] {
            assert_eq!(under(pin), vec![image.clone(), write("1.1.0"), write("1.1.0"), write(&digest)]);
        }
        let required = under(Some(Pin::Required));
        assert_eq!(required, vec![image, Outcome::Unpinned, write("1.1.0"), write(&digest)]);
    }

    #[test]
    fn a_value_that_cannot_be_ranked_is_below_every_candidate() {
        let mut chosen = choice("1.x", "1.1.0", false);
        chosen.gone.insert(Tag::parse("1.9.0").unwrap());
        for value in ["latest", "2.0.0", "1.9.0", "not a tag", ""] {
            let policies = vec![(key("app"), PolicyFacts::Chosen(chosen.clone()))];
            let facts = facts(policies, vec![place("a.yaml", key("app"), Part::Tag, value)]);
            assert_eq!(decide(&facts).outcomes, vec![write("1.1.0")], "{value}");
        }
    }

    #[test]
    fn another_image_in_the_place_says_nothing_about_this_ones_tags() {
        let policies = vec![(key("app"), PolicyFacts::Chosen(choice(">=1.0.0", "1.1.0", false)))];
        let facts =
            facts(policies, vec![place("a.yaml", key("app"), Part::Image, "docker.io/org/app:2.0.0")]);
        assert_eq!(decide(&facts).outcomes, vec![write("ghcr.io/org/app:1.1.0")]);
    }

    #[test]
    fn a_value_whose_time_does_not_show_it_to_be_older_stays() {
        let tag = |text: &str| Tag::parse(text).unwrap();
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let mut newest = choice("*", "1.5.0", false);
        newest.selector = Arc::new((*newest.selector).clone().led_by(&LeadingOrder::NewestPushed).unwrap());
        newest.first_seen = [("1.5.0", 20), ("1.4.0", 20), ("1.3.0", 30), ("1.9.0", 10)]
            .map(|(t, s)| (tag(t), at(s)))
            .into_iter()
            .collect();
        for (value, stays) in [
            ("1.5.0", false),
            ("1.4.0", true),
            ("1.3.0", true),
            ("1.9.0", false),
            ("1.8.0", true),
            ("latest", false),
        ] {
            let policies = vec![(key("app"), PolicyFacts::Chosen(newest.clone()))];
            let facts = facts(policies, vec![place("a.yaml", key("app"), Part::Tag, value)]);
            let outcome = decide(&facts).outcomes.remove(0);
            assert_eq!(matches!(outcome, Outcome::Ahead { .. }), stays, "{value}: {outcome}");
        }
        newest.gone.insert(tag("1.8.0"));
        let policies = vec![(key("app"), PolicyFacts::Chosen(newest))];
        let facts = facts(policies, vec![place("a.yaml", key("app"), Part::Tag, "1.8.0")]);
        assert_eq!(decide(&facts).outcomes, vec![write("1.5.0")], "the registry does not have it");
    }

    /// One `:tag` place with this value, and what was agreed upon there before.
    fn decided(choice: Choice, value: &str, agreed: Option<(&str, Option<&str>, &str)>) -> (Facts, Outcome) {
        let policies = vec![(key("app"), PolicyFacts::Chosen(choice))];
        let mut facts = facts(policies, vec![place("a.yaml", key("app"), Part::Tag, value)]);
        let tag = |text: &str| Tag::parse(text).unwrap();
        facts.agreed.extend(agreed.map(|(agreed, before, rule)| {
            let agreed = Agreed { tag: tag(agreed), before: before.map(tag), rule: rule.into() };
            (("a.yaml".into(), Track::only(&key("app"))), agreed)
        }));
        let outcome = decide(&facts).outcomes.remove(0);
        (facts, outcome)
    }

    fn held(present: &str, rejected: &str) -> Outcome {
        Outcome::Held { present: Tag::parse(present).unwrap(), rejected: Tag::parse(rejected).unwrap() }
    }

    #[test]
    fn what_was_agreed_upon_is_recalled_by_what_was_written_of_the_policys_own_tags() {
        let stable = choice("1.x", "1.3.0", false);
        let recalled = |written: &[&str]| {
            let written: Vec<Tag> = written.iter().copied().map(|tag| Tag::parse(tag).unwrap()).collect();
            stable.recalled(&written).map(|agreed| (agreed.tag.to_string(), agreed.before, agreed.rule))
        };
        assert_eq!(
            recalled(&["2.0.0", "edge", "1.2.0", "1.1.0"]),
            Some(("1.2.0".to_owned(), None, stable.rule.clone()))
        );
        assert_eq!(recalled(&["2.0.0", "edge"]), None);
    }

    #[test]
    fn a_persons_older_value_holds_until_something_newer_than_the_rejected_release_comes() {
        let agreed = Some(("1.2.0", Some("1.1.0"), "1.x"));
        for value in ["1.1.0", "1.0.0", "latest"] {
            assert_eq!(
                decided(choice("1.x", "1.2.0", false), value, agreed).1,
                held(value, "1.2.0"),
                "{value}"
            );
        }
        // Also when the policy meanwhile chooses something between the two.
        assert_eq!(decided(choice("1.x", "1.1.5", false), "1.1.0", agreed).1, held("1.1.0", "1.2.0"));
        assert_eq!(
            decided(choice("1.x", "1.3.0", false), "1.1.0", agreed).1,
            write("1.3.0"),
            "newer lifts it"
        );
        let changed = Some(("1.2.0", Some("1.1.0"), ">=0.1.0"));
        assert_eq!(
            decided(choice("1.x", "1.2.0", false), "1.1.0", changed).1,
            write("1.2.0"),
            "a new policy lifts it"
        );
        assert_eq!(
            decided(choice("1.x", "1.2.0", false), "1.2.0", agreed).1,
            Outcome::UpToDate,
            "set back by hand"
        );
        assert_eq!(
            decided(choice("1.x", "1.2.0", false), "1.1.0", None).1,
            write("1.2.0"),
            "nothing was agreed upon"
        );
    }

    #[test]
    fn going_back_and_forth_without_a_person_is_refused() {
        let mut back = choice("1.x", "1.1.0", false);
        back.gone.insert(Tag::parse("1.2.0").unwrap());
        let agreed = Some(("1.2.0", Some("1.1.0"), "1.x"));
        let flapping =
            Outcome::Flapping { present: Tag::parse("1.2.0").unwrap(), chosen: Tag::parse("1.1.0").unwrap() };
        assert_eq!(decided(back.clone(), "1.2.0", agreed).1, flapping);
        let there = Choice { gone: BTreeSet::new(), ..back.clone() };
        let ahead =
            Outcome::Ahead { present: Tag::parse("1.2.0").unwrap(), chosen: Tag::parse("1.1.0").unwrap() };
        assert_eq!(
            decided(there, "1.2.0", agreed).1,
            ahead,
            "while the newer one is there, nothing goes back"
        );
        let other = Some(("1.2.0", Some("1.0.0"), "1.x"));
        assert_eq!(
            decided(back, "1.2.0", other).1,
            write("1.1.0"),
            "another value than before is no flapping"
        );
    }

    #[test]
    fn agreements_remember_what_was_written_and_what_it_replaced() {
        let (facts, _) = decided(choice("1.x", "1.2.0", false), "1.1.0", None);
        let agreed = agreements(&facts, &decide(&facts));
        let wanted = Agreed {
            tag: Tag::parse("1.2.0").unwrap(),
            before: Some(Tag::parse("1.1.0").unwrap()),
            rule: "1.x".into(),
        };
        assert_eq!(agreed.into_values().collect::<Vec<_>>(), [wanted]);
        let (facts, _) =
            decided(choice("1.x", "1.2.0", false), "1.2.0", Some(("1.2.0", Some("1.1.0"), "1.x")));
        assert!(agreements(&facts, &decide(&facts)).is_empty(), "no news");
        let (facts, _) = decided(choice("1.x", "1.2.0", false), "1.1.0", Some(("1.2.0", None, "1.x")));
        assert!(agreements(&facts, &decide(&facts)).is_empty(), "a hold is no agreement");
    }

    #[test]
    fn each_variant_of_a_locked_policy_is_decided_for_itself() {
        let of = |variant: &str, tag: &str| {
            let mut choice = choice("1.x", tag, false);
            choice.selector = Arc::new(choice.selector.locked_to(variant));
            (variant.into(), Ok(choice))
        };
        let variants = [of("alpine", "1.2.0-alpine"), of("", "1.3.0"), ("slim".into(), Err("no tag".into()))];
        let policies = vec![(key("app"), PolicyFacts::Locked(variants.into()))];
        let values = ["1.1.0-alpine", "1.9.0-alpine", "1.1.0", "1.1.0-slim"];
        let mut places: Vec<_> =
            values.iter().map(|value| place("a.yaml", key("app"), Part::Tag, value)).collect();
        places.push(place("a.yaml", key("app"), Part::Name, "ghcr.io/org/app"));
        places.push(place("a.yaml", key("app"), Part::Name, "ghcr.io/old/app"));
        places.push(place("b.yaml", key("app"), Part::Tag, "1.1.0-alpine"));
        let mut facts = facts(policies, places);
        let selector = Selector::compile(&PolicyRule::SemVer { range: "1.x".into() }, None).unwrap();
        crate::lock::lock(&mut facts.places, &key("app"), &selector.locked_to(""), &facts.agreed);
        let plan = decide(&facts);
        let ahead = Outcome::Ahead {
            present: Tag::parse("1.9.0-alpine").unwrap(),
            chosen: Tag::parse("1.2.0-alpine").unwrap(),
        };
        let several = Outcome::Waiting(NoTrack::Several.to_string());
        assert_eq!(
            plan.outcomes,
            [
                ahead.clone(),
                ahead,
                write("1.3.0"),
                Outcome::Waiting("no tag".into()),
                Outcome::UpToDate,
                several,
                write("1.2.0-alpine"),
            ]
        );
        let agreed: Vec<_> = agreements(&facts, &plan)
            .into_iter()
            .map(|((file, track), agreed)| format!("{file} {} {}", track.variant, agreed.tag))
            .collect();
        assert_eq!(agreed, ["a.yaml  1.3.0", "b.yaml alpine 1.2.0-alpine"]);
    }
}
