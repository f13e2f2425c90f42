use std::collections::BTreeSet;

use windlass_model::{Clock as _, Digest, Spec};

use super::basis::reflects;
use super::*;
use crate::guards::Guards;
use crate::testing::{TestClock, digest, key, policy, repository, spec, tag};

const IMAGE: &str = "ghcr.io/org/app";

/// The policy `app` with a range and more fields.
fn configured(image: &str, range: &str, rest: &str) -> Arc<Spec> {
    spec(&[&repository("app", image, ""), &policy("app", range, rest)])
}

fn known(tags: &[&str]) -> KnownTags {
    let image = windlass_model::ImageName::parse(IMAGE).unwrap();
    KnownTags::new(image, tags.iter().map(|text| tag(text)).collect())
}

fn app() -> Track {
    Track::only(&key("app"))
}

fn image(text: &str, pinned: bool) -> ImageRef {
    let digest = pinned.then(|| Digest::parse(&digest('a')).unwrap());
    ImageRef { name: IMAGE.to_owned(), tag: tag(text), digest }
}

/// A look at the registry, with nothing new in it.
fn look(choices: &Choices, spec: &Spec, known: &KnownTags) -> Result<String, String> {
    look_with(choices, spec, known, &Change::default())
}

fn look_with(choices: &Choices, spec: &Spec, known: &KnownTags, change: &Change) -> Result<String, String> {
    let (policy, repository) = (&spec.image_policies[&key("app")], &spec.image_repositories[&key("app")]);
    let first_seen = &FirstSeen::default();
    let chosen = choices.choose(
        &app(),
        policy,
        repository,
        &Guards::default(),
        &Tags { known, change, first_seen },
    )?;
    let pinned = reflects(policy);
    choices.set_latest(&app(), image(chosen.as_str(), pinned), None, TestClock::default().now());
    Ok(chosen.to_string())
}

/// What a lane finds.
fn chosen(choices: &Choices, spec: &Spec) -> Result<String, String> {
    let (policy, repository) = (&spec.image_policies[&key("app")], &spec.image_repositories[&key("app")]);
    choices.chosen(&app(), policy, repository, &Guards::default()).map(|(choice, _)| choice.image.to_string())
}

#[test]
fn a_new_tag_is_compared_with_the_best_one_and_a_lost_best_starts_anew() {
    let (choices, spec) = (Choices::default(), configured(IMAGE, ">=1.0.0", ""));
    assert_eq!(chosen(&choices, &spec), Err(NOT_READ.to_owned()));
    let mut known = known(&["1.0.0", "1.2.0", "latest"]);
    assert_eq!(look(&choices, &spec, &known).unwrap(), "1.2.0");
    for (new, best) in [("1.3.0", "1.3.0"), ("1.1.0", "1.3.0"), ("not-a-version", "1.3.0")] {
        let mut change = Change::default();
        known.announce(&tag(new), &mut change);
        assert_eq!(look_with(&choices, &spec, &known, &change).unwrap(), best);
    }
    let mut change = Change::default();
    known.forget(&tag("1.3.0"), &mut change);
    assert_eq!(look_with(&choices, &spec, &known, &change).unwrap(), "1.2.0");
    assert_eq!(chosen(&choices, &spec).unwrap(), format!("{IMAGE}:1.2.0"));
}

#[test]
fn what_another_rule_chose_is_not_written_before_the_registry_was_looked_at() {
    let before = configured(IMAGE, ">=1.0.0", "");
    let tags = known(&["1.1.0", "1.2.0"]);
    for (after, best) in [
        // The older choice satisfies this range too, and is not its best.
        (configured(IMAGE, "<1.2.0 || 1.2.0 || >9", ""), "1.2.0"),
        (configured(IMAGE, "1.1.x", ""), "1.1.0"),
        (configured(IMAGE, ">=1.0.0", "digestReflectionPolicy: IfNotPresent"), "1.2.0"),
        (configured("ghcr.io/elsewhere/app", ">=1.0.0", ""), "1.2.0"),
    ] {
        let choices = Choices::default();
        look(&choices, &before, &tags).unwrap();
        assert_eq!(chosen(&choices, &after), Err(CHANGED.to_owned()));
        assert_eq!(chosen(&choices, &before).unwrap(), format!("{IMAGE}:1.2.0"), "asking changes nothing");
        // The choice is made and its digest is still on its way.
        let (policy, repository) =
            (&after.image_policies[&key("app")], &after.image_repositories[&key("app")]);
        let (change, first_seen) = (&Change::default(), &FirstSeen::default());
        let found = choices.choose(
            &app(),
            policy,
            repository,
            &Guards::default(),
            &Tags { known: &tags, change, first_seen },
        );
        assert_eq!(found, Ok(tag(best)));
        assert_eq!(chosen(&choices, &after), Err(CHANGED.to_owned()));
        let digest = reflects(policy).then(|| Digest::parse(&digest('a')).unwrap());
        let image = ImageRef { name: repository.spec_image.clone(), tag: tag(best), digest };
        choices.set_latest(&app(), image.clone(), None, TestClock::default().now());
        assert_eq!(chosen(&choices, &after), Ok(image.to_string()));
        assert_eq!(chosen(&choices, &before), Err(CHANGED.to_owned()), "a lane that is late");
        assert_eq!(chosen(&choices, &after), Ok(image.to_string()), "and does no harm");
    }
}

#[test]
fn a_policy_that_only_moved_in_its_file_keeps_its_choice() {
    let choices = Choices::default();
    let (first, second) = (policy("app", "1.x", ""), policy("other", "2.x", ""));
    let repository = repository("app", IMAGE, "");
    look(&choices, &spec(&[&repository, &first]), &known(&["1.0.0"])).unwrap();
    let moved = spec(&[&repository, &second, &first]);
    assert_eq!(chosen(&choices, &moved).unwrap(), format!("{IMAGE}:1.0.0"));
    assert_eq!(look(&choices, &moved, &known(&["1.0.0", "1.1.0"])).unwrap(), "1.0.0", "the best one is kept");
}

#[test]
fn after_a_restart_the_remembered_image_counts_where_the_rule_admits_it() {
    for (remembered, range, rest, counts) in [
        (image("1.2.0", false), ">=1.0.0", "", true),
        (image("1.2.0", false), "2.x", "", false),
        (image("1.2.0", true), ">=1.0.0", "", false),
        (image("1.2.0", true), ">=1.0.0", "digestReflectionPolicy: IfNotPresent", true),
        (image("1.2.0", false), ">=1.0.0", "digestReflectionPolicy: IfNotPresent", false),
        (ImageRef { name: "ghcr.io/old/app".to_owned(), ..image("1.2.0", false) }, ">=1.0.0", "", false),
    ] {
        let choices = Choices::default();
        choices.remember([(app(), remembered.clone())]);
        let found = chosen(&choices, &configured(IMAGE, range, rest));
        assert_eq!(found.is_ok(), counts, "{remembered}, {range}, {rest}: {found:?}");
        assert_eq!(choices.latest(&app()), Some(remembered), "its digest is not forgotten");
    }
}

#[test]
fn a_policy_that_chooses_nothing_writes_nothing_and_keeps_its_digest_for_later() {
    let choices = Choices::default();
    let spec = configured(IMAGE, ">=1.0.0", "digestReflectionPolicy: IfNotPresent");
    look(&choices, &spec, &known(&["1.0.0"])).unwrap();
    let nothing = look(&choices, &spec, &known(&[])).unwrap_err();
    assert_eq!(nothing, "version list argument cannot be empty");
    assert_eq!(chosen(&choices, &spec), Err(nothing));
    assert_eq!(choices.latest(&app()), Some(image("1.0.0", true)));
    look(&choices, &spec, &known(&["1.0.0"])).unwrap();
    assert_eq!(chosen(&choices, &spec).unwrap(), image("1.0.0", true).to_string());
}

#[test]
fn an_answer_about_a_tag_above_the_choice_holds_for_a_minute() {
    let (choices, spec) = (Choices::default(), configured(IMAGE, ">=1.0.0", ""));
    let (clock, present) = (TestClock::default(), tag("1.2.0"));
    look(&choices, &spec, &known(&["1.1.0"])).unwrap();
    let gone = |choices: &Choices| {
        let (policy, repository) = (&spec.image_policies[&key("app")], &spec.image_repositories[&key("app")]);
        choices.chosen(&app(), policy, repository, &Guards::default()).unwrap().0.gone
    };
    let ask = |choices: &Choices| choices.is_to_be_asked(&app(), &present, clock.now());
    assert!(ask(&choices));
    choices.asked(&app(), present.clone(), true, clock.now());
    assert!(!ask(&choices));
    assert_eq!(gone(&choices), BTreeSet::from([present.clone()]));
    choices.set_latest(&app(), image("1.1.0", false), None, clock.now());
    assert_eq!(gone(&choices).len(), 1, "a look at the registry in between does not matter");
    clock.advance(60);
    choices.set_latest(&app(), image("1.1.0", false), None, clock.now());
    assert!(gone(&choices).is_empty() && ask(&choices));
    choices.asked(&app(), present.clone(), false, clock.now());
    assert!(gone(&choices).is_empty() && !ask(&choices));
    clock.advance(-24 * 60 * 60);
    assert!(ask(&choices), "an answer of tomorrow is none");
}

#[test]
fn a_choice_keeps_the_first_event_that_names_its_tag_and_is_measured_once() {
    let (choices, now) = (Choices::default(), TestClock::default().now());
    let (app, first, second) = (app(), image("1.1.0", false), image("1.2.0", false));
    let cause = |event: &str, pushed_at| Cause { event: Some(event.to_owned()), pushed_at };
    let event = |of: &ImageRef| choices.event_of(&app, of);
    assert_eq!((event(&first), choices.landed(&app, &first)), (None, None), "nothing is known of it");

    choices.brought_by(&app, &first, cause("poll", None));
    assert_eq!(event(&first).as_deref(), Some("poll"));
    choices.brought_by(&app, &first, cause("push", Some(now)));
    choices.brought_by(&app, &first, cause("a later push", Some(now)));
    assert_eq!(
        event(&first).as_deref(),
        Some("push"),
        "a poll does not name the tag, and the first push does"
    );
    assert_eq!(event(&second), None);
    assert_eq!(choices.landed(&app, &first), Some(now));
    assert_eq!(choices.landed(&app, &first), None, "a second commit of it took no time from the event");

    choices.brought_by(&app, &second, cause("the next push", Some(now)));
    assert_eq!((event(&first), event(&second).as_deref()), (None, Some("the next push")));
    assert_eq!(choices.landed(&app, &second), Some(now));
}

#[test]
fn each_variant_that_stands_in_git_has_its_best_tag_and_the_others_have_none() {
    let locked = policy("app", "1.x", "")
        .replace("namespace: apps}", "namespace: apps, annotations: {windlass.dev/variant-lock: 'true'}}");
    let spec = spec(&[&repository("app", IMAGE, ""), &locked]);
    let (policy, repository) = (&spec.image_policies[&key("app")], &spec.image_repositories[&key("app")]);
    let (choices, first_seen) = (Choices::default(), FirstSeen::default());
    let track = |variant: &str| Track { policy: key("app"), variant: variant.into() };
    assert_eq!(choices.tracks(policy), [], "nothing stands in Git, as far as is known");
    assert!(choices.stands(&track("alpine")) && choices.stands(&track("")) && choices.stands(&track("nano")));
    assert!(!choices.stands(&track("alpine")));
    let look = |known: &KnownTags, change: &Change| {
        choices
            .tracks(policy)
            .into_iter()
            .map(|track| {
                let tags = Tags { known, change, first_seen: &first_seen };
                choices
                    .choose(&track, policy, repository, &Guards::default(), &tags)
                    .map(|tag| tag.to_string())
            })
            .collect::<Vec<_>>()
    };
    let mut known = known(&["1.0.0", "1.1.0-alpine", "1.0.0-alpine", "1.9.0-slim"]);
    let none =
        Err("no tag of the variant `nano` is chosen: unable to determine latest version from provided list"
            .to_owned());
    let ok = |tag: &str| Ok(tag.to_owned());
    assert_eq!(look(&known, &Change::default()), [ok("1.0.0"), ok("1.1.0-alpine"), none.clone()]);
    let mut change = Change::default();
    known.announce(&tag("1.2.0-alpine"), &mut change);
    assert_eq!(look(&known, &change), [ok("1.0.0"), ok("1.2.0-alpine"), none]);
    choices.only_stand(&key("app"), &BTreeSet::from(["alpine".into()]));
    assert_eq!(choices.tracks(policy), [track("alpine")]);
    assert_eq!(choices.latest(&track("")), None);
}
