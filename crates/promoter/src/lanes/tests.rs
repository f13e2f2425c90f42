use axum::Router;
use axum::http::{StatusCode, header};
use tokio::task::JoinSet;
use windlass_model::Tag;

use super::*;
use crate::testing::{World, adopted, automation, document, key, policy, repository, spec};

fn source(url: &str, rest: &str) -> String {
    document("GitRepository", "fleet", &format!("url: {url}, interval: 1h, {rest}"))
}

fn image() -> ImageRef {
    ImageRef { name: "ghcr.io/org/app".to_owned(), tag: Tag::parse("1.0.0").unwrap(), digest: None }
}

/// A Git server that asks to be left alone for half a minute, and counts.
async fn overloaded() -> (String, Arc<Mutex<usize>>, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/fleet.git", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(0));
    let counter = asked.clone();
    let router = Router::new().fallback(move || {
        *counter.lock().unwrap() += 1;
        async { (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")]) }
    });
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, asked, server)
}

#[test]
fn an_automation_is_written_only_where_nothing_keeps_it_from_working() {
    let url = "https://git.example.com/fleet";
    let active = |documents: &[&str]| match Target::resolve(&adopted(documents), &key("fleet")) {
        Standing::Active(target) => Some((target.checkout, target.push)),
        Standing::Idle => None,
    };
    let branches =
        |checkout: &str, push: &str| Some((Checkout::Branch(checkout.to_owned()), push.to_owned()));
    let fleet = automation("fleet", "");
    assert_eq!(active(&[&source(url, ""), &fleet]), branches("master", "master"));
    assert_eq!(active(&[&source(url, "ref: {branch: main}"), &fleet]), branches("main", "main"));
    let pushes = fleet.replace("git: {", "git: {checkout: {ref: {branch: dev}}, push: {branch: release}, ");
    assert_eq!(active(&[&source(url, "ref: {branch: main}"), &pushes]), branches("dev", "release"));
    let pushes = fleet.replace("git: {", "git: {push: {branch: release}, ");
    let tag = (Checkout::Tag("v1".to_owned()), "release".to_owned());
    assert_eq!(active(&[&source(url, "ref: {tag: v1}"), &pushes]), Some(tag));
    for (why, documents) in [
        ("no branch to push to", &[&source(url, "ref: {tag: v1}"), &fleet][..]),
        ("removed", &[&source(url, "")]),
        ("suspended", &[&source(url, ""), &automation("fleet", "suspend: true")]),
        ("no source", &[&fleet]),
        ("source suspended", &[&source(url, "suspend: true"), &fleet]),
        ("source without its Secret", &[&source(url, "secretRef: {name: missing}"), &fleet]),
        ("no key for SSH", &[&source("ssh://git@git.example.com/fleet", ""), &fleet]),
    ] {
        let documents: Vec<&str> = documents.iter().map(|text| text.as_str()).collect();
        assert_eq!(active(&documents), None, "{why}");
    }
}

#[tokio::test]
async fn a_git_server_that_asks_for_a_pause_gets_it() {
    let (url, asked, _server) = overloaded().await;
    let documents = [source(&url, ""), automation("fleet", ""), automation("staging", "")];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let world = World::new(&documents).await;
    let write = async |name: &str| world.shared.lanes.request(&world.shared, key(name)).wait().await;
    let failure = write("fleet").await.unwrap_err();
    assert_eq!(failure.severity, Severity::Passing);
    assert_eq!(failure.pause, Some(Duration::from_secs(30)), "{failure:?}");
    let first = *asked.lock().unwrap();
    let failure = write("staging").await.unwrap_err();
    assert!(failure.pause.is_some_and(|left| left <= Duration::from_secs(30)), "{failure:?}");
    assert_eq!(*asked.lock().unwrap(), first, "nobody else asks it either");
    // Another configuration may mean another server.
    world.configuration.send_replace(spec(&documents));
    write("fleet").await.unwrap_err();
    assert!(*asked.lock().unwrap() > first);
}

#[tokio::test]
async fn what_could_not_be_landed_does_not_count_as_written() {
    let (url, ..) = overloaded().await;
    let repository = repository("app", "ghcr.io/org/app", "");
    let documents = [&source(&url, ""), &automation("fleet", ""), &repository, &policy("app", "1.x", "")];
    let world = World::new(&documents.map(String::as_str)).await;
    let lanes = &world.shared.lanes;
    let app = world.shared.spec().image_policies[&key("app")].clone();
    let chosen = BTreeMap::from([(Track::only(&key("app")), image())]);
    // A push whose outcome nobody knows may have replaced what this process wrote before.
    world.shared.spec();
    lanes.set_written(&key("fleet"), BTreeMap::from([(Track::only(&key("app")), Some(image()))]));
    assert!(lanes.has_written(&key("fleet"), &app, &chosen));
    lanes.request(&world.shared, key("fleet")).wait().await.unwrap_err();
    assert!(!lanes.has_written(&key("fleet"), &app, &chosen));
}

#[tokio::test]
async fn of_a_locked_policy_only_the_variants_that_an_automation_has_count() {
    let world = World::new(&[]).await;
    let lanes = &world.shared.lanes;
    let spec = spec(&[&policy("app", "1.x", "")]);
    let app = ImagePolicy { variant_lock: true, ..ImagePolicy::clone(&spec.image_policies[&key("app")]) };
    let track = |variant: &str| Track { policy: key("app"), variant: variant.into() };
    let has_written = |chosen: &[&str]| {
        let chosen = chosen.iter().map(|variant| (track(variant), image())).collect();
        lanes.has_written(&key("fleet"), &app, &chosen)
    };
    let standing = || lanes.standing([key("fleet")].into_iter(), &key("app"));
    assert!(!has_written(&[]) && standing().is_none(), "nobody knows what is there");
    let beyond = Track::only(&key("app-2"));
    lanes.set_written(
        &key("fleet"),
        BTreeMap::from([(track("alpine"), Some(image())), (track("slim"), None), (beyond, Some(image()))]),
    );
    assert!(has_written(&["alpine"]) && has_written(&["alpine", ""]));
    assert!(!has_written(&[]) && !has_written(&["alpine", "slim"]));
    assert_eq!(standing().unwrap().into_iter().collect::<Vec<_>>(), ["alpine".into(), "slim".into()]);
}

#[tokio::test]
async fn a_lane_that_panicked_is_replaced_and_one_that_nothing_uses_ends() {
    let (url, ..) = overloaded().await;
    let documents = [source(&url, "ref: {branch: main}"), automation("fleet", "")];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let world = World::new(&documents).await;
    let lanes = &world.shared.lanes;
    let (dead, _) = mpsc::unbounded_channel();
    lanes.senders().insert(LaneKey { source: key("fleet"), branch: "main".to_owned() }, dead);
    let failure = lanes.request(&world.shared, key("fleet")).wait().await.unwrap_err();
    assert!(!failure.reason.contains("panicked"), "{failure:?}");
    let branches =
        |lanes: &Lanes| -> Vec<String> { lanes.senders().keys().map(|k| k.branch.clone()).collect() };
    assert_eq!(branches(lanes), ["main"]);
    let moved = automation("fleet", "").replace("git: {", "git: {push: {branch: release}, ");
    world.configuration.send_replace(spec(&[documents[0], &moved]));
    lanes.request(&world.shared, key("fleet")).wait().await.unwrap_err();
    assert_eq!(branches(lanes), ["release"]);
}

#[tokio::test]
async fn a_push_takes_along_what_is_on_its_way_but_does_not_wait_longer_than_a_push() {
    let url = "https://git.example.com/fleet";
    let world = World::new(&[&source(url, ""), &automation("fleet", "")]).await;
    let key = LaneKey { source: key("fleet"), branch: "main".to_owned() };
    let mut lane = Lane::new(world.shared.clone(), key.clone());
    let (sender, mut requests) = mpsc::unbounded_channel();
    let mut batch = Vec::new();
    let on_its_way = || world.shared.lanes.approaches.announce(HashSet::from([key.clone()]));
    let mut gathered = async |push_time: Duration, meanwhile: &dyn Fn()| {
        lane.push_time = push_time;
        tokio::join!(lane.gather(&mut batch, &mut requests), async { meanwhile() });
        std::mem::take(&mut batch).len()
    };
    let send = || {
        let (reply, _) = oneshot::channel();
        sender.send(Request { automation: self::key("fleet"), reply }).unwrap();
    };

    let (forever, image) = (Duration::from_hours(1), on_its_way());
    let arrives = || {
        send();
        image.arrive();
    };
    assert_eq!(gathered(forever, &arrives).await, 1);
    assert_eq!(gathered(forever, &|| ()).await, 0, "nothing is on its way");
    let _late = on_its_way();
    send();
    assert_eq!(gathered(Duration::ZERO, &|| ()).await, 1, "what is there is taken");
}
