use windlass_model::Clock as _;
use windlass_policy::lock::Track;

use super::*;
use crate::testing::{TestRegistry, World, digest, key, object, policy, pushed, rescan, spec};

fn latest(world: &World, policy: &str) -> Option<String> {
    let image = world.shared.choices.latest(&Track::only(&key(policy)))?;
    Some(format!("{}{}", image.tag, image.digest.map(|digest| format!("@{digest}")).unwrap_or_default()))
}

async fn look(world: &World) -> Done {
    run(&world.shared, &world.work(vec![rescan(world.clock.now())])).await
}

#[tokio::test]
async fn digests_are_reflected_as_flux_reflects_them() {
    let registry = TestRegistry::start(&["1.0.0"]).await;
    let reflects = |name, reflection| policy(name, "1.x", &format!("digestReflectionPolicy: {reflection}"));
    let world = World::new(&[
        &registry.repository(),
        &reflects("never", "Never"),
        &reflects("if-not-present", "IfNotPresent"),
        &reflects("always", "Always, interval: 10m"),
    ])
    .await;
    let found =
        |world: &World| ["never", "if-not-present", "always"].map(|name| latest(world, name).unwrap());
    let (a, b, c) = (digest('a'), digest('b'), digest('c'));
    look(&world).await;
    assert_eq!(found(&world), ["1.0.0".to_owned(), format!("1.0.0@{a}"), format!("1.0.0@{a}")]);
    // The tag moves; an event says so.
    registry.push("1.0.0", 'b');
    run(&world.shared, &world.work(vec![pushed("1.0.0", world.clock.now())])).await;
    assert_eq!(found(&world), ["1.0.0".to_owned(), format!("1.0.0@{a}"), format!("1.0.0@{b}")]);
    // Another tag: one request answers for all policies.
    registry.push("1.1.0", 'c');
    registry.asked();
    run(&world.shared, &world.work(vec![pushed("1.1.0", world.clock.now())])).await;
    assert_eq!(found(&world), ["1.1.0".to_owned(), format!("1.1.0@{c}"), format!("1.1.0@{c}")]);
    assert_eq!(registry.asked(), ["1.1.0"]);
}

#[tokio::test]
async fn a_registry_that_is_down_from_the_start_leaves_no_policy_untried() {
    let registry = TestRegistry::start(&["1.0.0"]).await;
    registry.refuse("list", 500);
    let world = World::new(&[&registry.repository(), &policy("app", "1.x", "")]).await;
    assert!(!world.shared.board.all_tried());
    look(&world).await;
    assert!(world.shared.board.all_tried());
    let (state, message) = world.status(&object(Kind::ImagePolicy, "app"));
    assert_eq!(state, "pending");
    assert!(message.starts_with("waits for ImageRepository/apps/app: "), "{message}");
    // The event alone brings the tag in.
    run(&world.shared, &world.work(vec![pushed("1.0.0", world.clock.now()), rescan(world.clock.now())]))
        .await;
    assert_eq!(latest(&world, "app").unwrap(), "1.0.0");
}

#[tokio::test]
async fn a_policy_that_a_new_configuration_forbids_is_never_looked_at() {
    let registry = TestRegistry::start(&["1.0.0"]).await;
    let repository = registry.repository();
    let world = World::new(&[&repository]).await;
    look(&world).await;
    let intruder = policy("intruder", "1.x", "").replace("namespace: apps", "namespace: tenant");
    let intruder = intruder.replace("{name: app}", "{name: app, namespace: apps}");
    // The work runs before anybody else has seen the change.
    world.configuration.send_replace(spec(&[&repository, &intruder]));
    look(&world).await;
    let policy = ObjectRef::new(Kind::ImagePolicy, ObjectKey::new("tenant", "intruder"));
    assert_eq!(world.shared.choices.latest(&Track::only(&policy.key)), None);
    let (state, message) = world.status(&policy);
    assert!(state == "failing" && message.contains("does not admit"), "{state}: {message}");
}

#[tokio::test]
async fn a_policy_that_was_not_admitted_for_a_while_catches_up_with_what_it_missed() {
    let registry = TestRegistry::start(&["1.0.0"]).await;
    let closed = registry.repository();
    let open = closed.replace("interval: 1h", "interval: 1h, accessFrom: {namespaceSelectors: [{}]}");
    let guest = policy("app", "1.x", "").replace("namespace: apps", "namespace: guests");
    let guest = guest.replace("{name: app}", "{name: app, namespace: apps}");
    let latest = |world: &World| {
        let image = world.shared.choices.latest(&Track::only(&ObjectKey::new("guests", "app")));
        image.map(|image| image.tag.to_string()).unwrap()
    };
    let world = World::new(&[&open, &guest]).await;
    look(&world).await;
    assert_eq!(latest(&world), "1.0.0");
    world.configuration.send_replace(spec(&[&closed, &guest]));
    registry.push("1.1.0", 'b');
    run(&world.shared, &world.work(vec![pushed("1.1.0", world.clock.now())])).await;
    assert_eq!(latest(&world), "1.0.0");
    world.configuration.send_replace(spec(&[&open, &guest]));
    look(&world).await;
    assert_eq!(latest(&world), "1.1.0");
}

#[tokio::test]
async fn a_new_resource_is_known_to_the_first_work_that_names_it() {
    let registry = TestRegistry::start(&["1.0.0"]).await;
    let world = World::new(&[]).await;
    world.configuration.send_replace(spec(&[&registry.repository(), &policy("app", "1.x", "")]));
    look(&world).await;
    assert_eq!(latest(&world, "app").unwrap(), "1.0.0");
    assert_eq!(world.status(&object(Kind::ImageRepository, "app")).0, "ready");
    assert!(world.shared.board.all_tried());
}

#[tokio::test]
async fn an_empty_or_a_cut_list_changes_nothing_until_it_is_seen_twice() {
    let registry = TestRegistry::start(&["1.0.0", "1.1.0", "1.2.0"]).await;
    let world = World::new(&[&registry.repository(), &policy("app", "1.x", "")]).await;
    look(&world).await;
    registry.delete("1.1.0");
    registry.delete("1.2.0");
    look(&world).await;
    assert_eq!(latest(&world, "app").unwrap(), "1.2.0");
    look(&world).await;
    assert_eq!(latest(&world, "app").unwrap(), "1.0.0");
    registry.delete("1.0.0");
    look(&world).await;
    look(&world).await;
    let (state, message) = world.status(&object(Kind::ImagePolicy, "app"));
    assert_eq!((state, message.as_str()), ("failing", "version list argument cannot be empty"));
}
