use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rcgen::KeyPair;
use windlass_model::ObjectKey;
use windlass_model::guard::{
    self, AttestationRule, Formats, Scope, Trust, TrustRootSource, TufAnchor, TufRepository,
};
use windlass_model::resource::{Meta, Origin};

use super::assessment::{MAX_REASON, MAX_REASONS};
use super::*;
use crate::evidence::Evidence;
use crate::root::TrustRoot;
use crate::testing::{SIGN, attestation, bundle, digest, holds, image, legacy, pair, payload};
use crate::verdict::{Outcome, Verdict};

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn by_key(pem: String) -> guard::Authority {
    guard::Authority {
        trust: Trust::Keys(pem),
        source: None,
        formats: Formats::default(),
        tlog: false,
        sct: true,
        timestamps: false,
        annotations: BTreeMap::new(),
        trust_root: None,
    }
}

fn any_of(names: &[&str], minimum: usize) -> Quorum {
    Quorum::AnyOf { authorities: names.iter().map(|name| (*name).to_owned()).collect(), minimum }
}

/// Rules with an authority for each pair, named `a`, `b`, ….
pub(crate) fn rules(pairs: &[&KeyPair]) -> GuardRules {
    let names = ('a'..).map(String::from);
    let authorities = names.zip(pairs).map(|(name, pair)| (name, by_key(pair.public_key_pem())));
    GuardRules { authorities: authorities.collect(), ..GuardRules::default() }
}

pub(crate) fn judge(rules: GuardRules) -> Judge {
    broken_or(Ok(rules))
}

fn broken_or(rules: Result<GuardRules, String>) -> Judge {
    by_roots(rules, &NothingFetched)
}

fn by_roots(rules: Result<GuardRules, String>, fetched: &dyn FetchedRoots) -> Judge {
    let meta = Meta {
        key: ObjectKey::new("g", "g"),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        origin: Origin { file: Arc::from("guard.yaml"), line: 1 },
        unsupported: Vec::new(),
    };
    Judge::with_roots(&Guard { meta, scope: Scope::default(), rules }, &Spec::default(), fetched)
}

/// Whatever is asked for, this was fetched.
struct Fetched(Result<FetchedRoot, NotFetched>);

impl FetchedRoots for Fetched {
    fn latest(&self, _: &TufRepository, _: &Spec) -> Result<FetchedRoot, NotFetched> {
        self.0.clone()
    }
}

fn verdict_of(judge: &Judge, found: &BTreeMap<ImageName, Found>) -> GuardVerdict {
    let (image, digest, tag) = (image(), digest(1), Tag::parse("1.0.0").unwrap());
    let subject = Subject { tenant: "", image: &image, digest: &digest, tag: Some(&tag), first_seen: None };
    judge.judge(subject, judge.assess(&image, &digest, found, now()), now())
}

pub(crate) fn outcome_of(judge: &Judge, evidence: Vec<Evidence>) -> Outcome {
    verdict_of(judge, &holds(evidence)).outcome
}

fn outcome(rules: GuardRules, evidence: Vec<Evidence>) -> Outcome {
    verdict_of(&judge(rules), &holds(evidence)).outcome
}

#[test]
fn both_formats_are_signatures_of_this_image_by_this_key_alone() {
    let (ours, theirs) = (pair(), pair());
    let good = [legacy(&ours, &payload(&digest(1), "null")), bundle(&ours, &digest(1), SIGN, "null")];
    let bad = [
        legacy(&theirs, &payload(&digest(1), "null")),
        legacy(&ours, &payload(&digest(2), "null")),
        legacy(&ours, &payload(&digest(1), "null").replace("cosign container", "other container")),
        bundle(&theirs, &digest(1), SIGN, "null"),
        bundle(&ours, &digest(2), SIGN, "null"),
        bundle(&ours, &digest(1), "https://slsa.dev/provenance/v1", "null"),
        attestation(&ours, &digest(1), "https://slsa.dev/provenance/v1"),
    ];
    let rules = || GuardRules { signatures: Some(any_of(&["a"], 1)), ..rules(&[&ours]) };
    for good in good {
        let verdict = verdict_of(&judge(rules()), &holds(vec![good.clone()]));
        assert_eq!(verdict.outcome, Outcome::Allowed, "{verdict:?}");
        assert_eq!(verdict.evidence[0].digest, good.digest);
        assert!(verdict.evidence[0].signer.starts_with("the key ") && verdict.reasons.is_empty());
        // Nothing that lies beside it hides it.
        let beside = bad.iter().cloned().chain([good]).collect();
        assert_eq!(outcome(rules(), beside), Outcome::Allowed);
    }
    for bad in bad {
        assert_eq!(outcome(rules(), vec![bad.clone()]), Outcome::Denied, "{bad:?}");
    }
    assert_eq!(outcome(rules(), Vec::new()), Outcome::Denied);
}

#[test]
fn a_signature_moved_onto_another_payload_is_refused() {
    let ours = pair();
    let good = legacy(&ours, &payload(&digest(2), "null"));
    let mut spliced = legacy(&ours, &payload(&digest(1), "null"));
    spliced.form = good.form;
    let rules = GuardRules { signatures: Some(any_of(&["a"], 1)), ..rules(&[&ours]) };
    assert_eq!(outcome(rules, vec![spliced]), Outcome::Denied);
}

#[test]
fn signers_are_counted_not_signatures_nor_authorities() {
    let (one, two) = (pair(), pair());
    let quorum =
        || GuardRules { signatures: Some(any_of(&["a", "b", "c"], 2)), ..rules(&[&one, &two, &one]) };
    let by = |pair: &KeyPair| {
        vec![legacy(pair, &payload(&digest(1), "null")), bundle(pair, &digest(1), SIGN, "null")]
    };
    assert_eq!(outcome(quorum(), by(&one)), Outcome::Denied, "two signatures, two authorities, one key");
    assert_eq!(outcome(quorum(), [by(&one), by(&two)].concat()), Outcome::Allowed);
    let all = || GuardRules {
        signatures: Some(Quorum::AllOf(vec!["a".into(), "b".into()])),
        ..rules(&[&one, &two])
    };
    assert_eq!(outcome(all(), by(&one)), Outcome::Denied);
    assert_eq!(outcome(all(), [by(&one), by(&two)].concat()), Outcome::Allowed);
}

#[test]
fn annotations_must_be_stated_in_either_format() {
    let ours = pair();
    let rules = || {
        let mut rules = GuardRules { signatures: Some(any_of(&["a"], 1)), ..rules(&[&ours]) };
        let authority = rules.authorities.get_mut("a").unwrap();
        authority.annotations = BTreeMap::from([("env".into(), "prod".into()), ("n".into(), "7".into())]);
        rules
    };
    for (stated, expected) in [
        (r#"{"env":"prod","n":7,"more":true}"#, Outcome::Allowed),
        (r#"{"env":"prod","n":"7"}"#, Outcome::Allowed),
        (r#"{"env":"prod"}"#, Outcome::Denied),
        (r#"{"env":"production","n":7}"#, Outcome::Denied),
        ("null", Outcome::Denied),
    ] {
        assert_eq!(outcome(rules(), vec![legacy(&ours, &payload(&digest(1), stated))]), expected, "{stated}");
        assert_eq!(outcome(rules(), vec![bundle(&ours, &digest(1), SIGN, stated)]), expected, "{stated}");
    }
}

#[test]
fn an_attestation_of_exactly_this_type_is_needed_and_a_signature_is_none() {
    const SPDX: &str = "https://spdx.dev/Document";
    let ours = pair();
    let rules = || {
        let rule = AttestationRule {
            predicate_type: SPDX.to_owned(),
            authorities: vec!["a".to_owned()],
            condition: None,
        };
        GuardRules { attestations: vec![rule], ..rules(&[&ours]) }
    };
    for good in [attestation(&ours, &digest(1), SPDX), bundle(&ours, &digest(1), SPDX, "null")] {
        assert_eq!(outcome(rules(), vec![good]), Outcome::Allowed);
    }
    for bad in [
        attestation(&ours, &digest(2), SPDX),
        attestation(&pair(), &digest(1), SPDX),
        attestation(&ours, &digest(1), "https://spdx.dev/Document/"),
        bundle(&ours, &digest(1), SIGN, "null"),
        legacy(&ours, &payload(&digest(1), "null")),
    ] {
        assert_eq!(outcome(rules(), vec![bad]), Outcome::Denied);
    }
}

#[test]
fn what_was_not_read_makes_a_missing_signature_unknown_and_hides_no_good_one() {
    let ours = pair();
    let rules = || GuardRules { signatures: Some(any_of(&["a"], 1)), ..rules(&[&ours]) };
    let unread = |evidence| {
        let mut found = holds(evidence);
        for found in found.values_mut() {
            found.unread.push("the registry answers 503".to_owned());
        }
        found
    };
    let verdict = verdict_of(&judge(rules()), &unread(Vec::new()));
    assert_eq!(verdict.outcome, Outcome::Unknown);
    assert!(verdict.reasons.iter().any(|reason| reason.contains("503")), "{verdict:?}");
    let signed = unread(vec![bundle(&ours, &digest(1), SIGN, "null")]);
    assert_eq!(verdict_of(&judge(rules()), &signed).outcome, Outcome::Allowed);
    assert_eq!(verdict_of(&judge(rules()), &BTreeMap::new()).outcome, Outcome::Unknown, "nobody looked");
}

#[test]
fn a_guard_or_a_key_that_cannot_be_loaded_allows_nothing() {
    let ours = pair();
    let signed = || holds(vec![bundle(&ours, &digest(1), SIGN, "null")]);
    assert_eq!(verdict_of(&broken_or(Err("it is broken".into())), &signed()).outcome, Outcome::Unknown);
    let mut rules = GuardRules { signatures: Some(any_of(&["a"], 1)), ..rules(&[&ours]) };
    rules.authorities.get_mut("a").unwrap().trust = Trust::KeySecret(ObjectKey::new("s", "keys"));
    let judge = judge(rules);
    assert_eq!(verdict_of(&judge, &signed()).outcome, Outcome::Unknown);
    assert_eq!(
        judge.problems(),
        [("spec.authorities.a".to_owned(), "Secret/s/keys does not exist".to_owned())]
    );
}

#[test]
fn tags_and_digests_are_denied_with_their_reason_whatever_is_signed() {
    let ours = pair();
    let recalled = "recalled".to_owned();
    for what in [Denied::Tag("1.0.0".into()), Denied::Digest(digest(1))] {
        let deny = vec![Denial { what, reason: recalled.clone() }];
        let rules = GuardRules { signatures: Some(any_of(&["a"], 1)), deny, ..rules(&[&ours]) };
        let verdict = verdict_of(&judge(rules), &holds(vec![bundle(&ours, &digest(1), SIGN, "null")]));
        assert_eq!(
            (verdict.outcome, verdict.reasons),
            (Outcome::Denied, vec!["it is denied: recalled".into()])
        );
    }
}

#[test]
fn age_counts_from_the_first_sight_and_tells_when_it_is_enough() {
    let judge = judge(GuardRules { min_age: Some(Duration::from_hours(1)), ..GuardRules::default() });
    let (image, digest) = (image(), digest(1));
    let at = |seconds: i64| {
        let first_seen = Some(Timestamp::from_second(NOW - seconds).unwrap());
        let subject = Subject { tenant: "", image: &image, digest: &digest, tag: None, first_seen };
        judge.judge(subject, Assessment::default(), now())
    };
    assert_eq!(at(3600).outcome, Outcome::Allowed);
    let young = at(3599);
    assert_eq!(
        (young.outcome, young.again),
        (Outcome::Denied, Some(Timestamp::from_second(NOW + 1).unwrap()))
    );
    let subject = Subject { tenant: "", image: &image, digest: &digest, tag: None, first_seen: None };
    assert_eq!(judge.judge(subject, Assessment::default(), now()).outcome, Outcome::Unknown);
}

#[test]
fn time_changes_nothing_while_something_else_denies() {
    let ours = pair();
    let min_age = Some(Duration::from_hours(1));
    let (image, digest) = (image(), digest(1));
    let young = |rules: GuardRules| {
        let judge = judge(GuardRules { min_age, ..rules });
        let assessment = judge.assess(&image, &digest, &holds(Vec::new()), now());
        let subject =
            Subject { tenant: "", image: &image, digest: &digest, tag: None, first_seen: Some(now()) };
        judge.judge(subject, assessment, now())
    };
    let alone = young(GuardRules::default());
    let unsigned = young(GuardRules { signatures: Some(any_of(&["a"], 1)), ..rules(&[&ours]) });
    assert!(alone.again.is_some());
    assert_eq!((unsigned.outcome, unsigned.again), (Outcome::Denied, None));
    let again = |guards: &[&GuardVerdict]| {
        Verdict::of(digest.clone(), guards.iter().map(|guard| (*guard).clone()).collect()).again()
    };
    assert_eq!(again(&[&alone]), alone.again);
    assert_eq!(again(&[&alone, &unsigned]), None);
}

#[test]
fn platforms_are_all_needed_and_unknown_while_nobody_says() {
    let judge = judge(GuardRules {
        platforms: vec!["linux/amd64".into(), "linux/arm64".into()],
        ..GuardRules::default()
    });
    let there = |platforms: Option<&[&str]>| {
        let platforms = platforms.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        BTreeMap::from([(image(), Found { platforms, ..Found::default() })])
    };
    assert_eq!(verdict_of(&judge, &there(Some(&["linux/amd64", "linux/arm64"]))).outcome, Outcome::Allowed);
    assert_eq!(verdict_of(&judge, &there(Some(&["linux/amd64"]))).outcome, Outcome::Denied);
    assert_eq!(verdict_of(&judge, &there(None)).outcome, Outcome::Unknown);
}

#[test]
fn a_fingerprint_changes_with_keys_and_rules() {
    let (one, two) = (pair(), pair());
    let print = |rules| judge(rules).fingerprint().to_owned();
    let base = || GuardRules { signatures: Some(any_of(&["a"], 1)), ..rules(&[&one]) };
    assert_eq!(print(base()), print(base()));
    assert_ne!(print(base()), print(GuardRules { signatures: Some(any_of(&["a"], 1)), ..rules(&[&two]) }));
    assert_ne!(print(base()), print(GuardRules { min_age: Some(Duration::from_secs(1)), ..base() }));
}

#[test]
fn reasons_are_bounded_lines_without_control_characters() {
    let ours = pair();
    let rules = GuardRules { signatures: Some(any_of(&["a"], 1)), ..rules(&[&ours]) };
    let mut found = holds(Vec::new());
    let noise = (0..100).map(|n| format!("{n}\n\u{1b}[31m{}", "x".repeat(1000)));
    for found in found.values_mut() {
        found.unusable.extend(noise.clone());
    }
    let verdict = verdict_of(&judge(rules), &found);
    assert!(verdict.reasons.len() <= MAX_REASONS + 1);
    for reason in &verdict.reasons {
        assert!(reason.chars().count() <= MAX_REASON + 1 && !reason.chars().any(char::is_control));
    }
}

#[test]
fn a_fetched_trust_root_counts_until_it_expires_and_without_one_nothing_is_known() {
    let pair = pair();
    let mut rules = GuardRules { signatures: Some(any_of(&["a"], 1)), ..rules(&[&pair]) };
    let repository = TufRepository {
        mirror: "https://tuf.example/".into(),
        anchor: TufAnchor::PublicGood,
        target: TufRepository::TRUSTED_ROOT.into(),
        refresh_interval: TufRepository::REFRESH_INTERVAL,
        offline: false,
    };
    rules.authorities.get_mut("a").unwrap().trust_root = Some(TrustRootSource::Tuf(repository));
    let judge = |latest| by_roots(Ok(rules.clone()), &Fetched(latest));
    let verdict = |judge: &Judge| verdict_of(judge, &holds(vec![bundle(&pair, &digest(1), SIGN, "null")]));
    let root = |root: TrustRoot, until| FetchedRoot { root, until, failure: None };
    let (good, staging) = (TrustRoot::public_good().unwrap(), TrustRoot::staging().unwrap());
    let second = jiff::SignedDuration::from_secs(1);

    let valid = judge(Ok(root(good.clone(), now() + second)));
    let allowed = verdict(&valid);
    assert_eq!(allowed.outcome, Outcome::Allowed, "{:?}", allowed.reasons);
    assert_eq!(allowed.evidence[0].trust_root, good.sha256());
    let expired = verdict(&judge(Ok(root(good.clone(), now()))));
    assert_eq!(expired.outcome, Outcome::Unknown);
    assert!(expired.reasons.iter().any(|why| why.contains("https://tuf.example/ expired at")), "{expired:?}");
    for why in [NotFetched::Pending, NotFetched::Failed("it is down".into())] {
        let judge = judge(Err(why.clone()));
        assert_eq!(verdict(&judge).outcome, Outcome::Unknown);
        assert!(judge.problems().is_empty(), "it is no mistake of the Guard");
        assert_eq!(judge.latest_roots().map(|latest| latest.root).collect::<Vec<_>>(), [Err(&why)]);
    }
    let unusable = judge(Err(NotFetched::Unusable("no root".into())));
    assert_eq!(unusable.problems(), [("spec.authorities.a".to_owned(), "no root".to_owned())]);

    // What is remembered by one root is not known by another; a later end of the same one changes nothing.
    let (later, other) =
        (judge(Ok(root(good, now() + second * 9))), judge(Ok(root(staging, now() + second))));
    assert_eq!(valid.fingerprint(), later.fingerprint());
    assert_ne!(valid.fingerprint(), other.fingerprint());
    assert_ne!(valid.fingerprint(), judge(Err(NotFetched::Pending)).fingerprint());
}
