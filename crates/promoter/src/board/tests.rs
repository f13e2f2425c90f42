use super::*;
use crate::testing::{TestClock, adopted, automation, document, object, policy, repository};
use windlass_model::{Clock as _, ObjectKey};

const IMAGE: &str = "ghcr.io/org/app";

fn now() -> Timestamp {
    TestClock::default().now()
}

fn board(documents: &[&str]) -> Board {
    let board = Board::default();
    board.adopt(&adopted(documents), now());
    board
}

fn state(board: &Board, object: &ObjectRef) -> (Readiness, String) {
    let status = board.list().into_iter().find(|status| status.object == *object).unwrap();
    (status.ready, status.message)
}

fn source() -> String {
    document("GitRepository", "fleet", "url: https://git.example.com/fleet, interval: 1h")
}

#[test]
fn a_resource_that_cannot_work_does_not_keep_the_others_from_being_tried() {
    let (app, fleet) = (object(Kind::ImagePolicy, "app"), object(Kind::ImageUpdateAutomation, "fleet"));
    let broken = board(&[
        &repository("app", IMAGE, "secretRef: {name: missing}"),
        &policy("app", "1.x", ""),
        &automation("fleet", ""),
    ]);
    assert!(broken.all_tried());
    let (readiness, message) = state(&broken, &app);
    assert_eq!(readiness, Readiness::Failing);
    assert!(message.starts_with("ImageRepository/apps/app is not ready: "), "{message}");
    assert_eq!(state(&broken, &fleet).0, Readiness::Failing, "its GitRepository does not exist");

    let asleep = board(&[
        &repository("app", IMAGE, "secretRef: {name: missing}, suspend: true"),
        &policy("app", "1.x", ""),
        &source(),
        &automation("fleet", "suspend: true"),
    ]);
    assert!(asleep.all_tried());
    let suspended = |of: &str| (Readiness::Suspended, of.to_owned());
    assert_eq!(state(&asleep, &app), suspended("ImageRepository/apps/app is suspended"));
    assert_eq!(state(&asleep, &fleet), suspended("suspended by spec.suspend"));
    assert!(asleep.news_of_configuration().is_empty(), "what is suspended does not fail");
}

#[test]
fn work_that_began_under_an_older_configuration_does_not_hide_the_new_ones_verdict() {
    let fleet = object(Kind::ImageUpdateAutomation, "fleet");
    let board = board(&[&source(), &automation("fleet", "")]);
    assert!(!board.all_tried());
    board.adopt(&adopted(&[&source(), &automation("fleet", "suspend: true")]), now());
    assert_eq!(board.ready(&fleet, "pushed".to_owned(), now(), |d| d.last_commit = Some("c".into())), None);
    assert_eq!(board.failing(&fleet, "refused".to_owned(), Severity::Lasting, now()), None);
    board.waiting(&fleet, "waits".to_owned(), now());
    assert_eq!(state(&board, &fleet).0, Readiness::Suspended);
    let shown = board.list().into_iter().find(|status| status.object == fleet).unwrap();
    assert_eq!(shown.details.last_commit.as_deref(), Some("c"), "what happened is shown all the same");
    board.adopt(&adopted(&[&source(), &automation("fleet", "")]), now());
    assert_eq!(state(&board, &fleet).0, Readiness::Pending);
    assert!(board.not_ready().contains(&fleet), "it is looked at again");
}

#[test]
fn people_are_told_once_and_again_when_the_telling_failed() {
    let app = object(Kind::ImageRepository, "app");
    let board = board(&[&repository("app", IMAGE, "")]);
    let fail = |severity| board.failing(&app, "down".to_owned(), severity, now());
    let succeed = || board.ready(&app, "fine".to_owned(), now(), |_| {});
    assert_eq!((succeed(), fail(Severity::Passing), fail(Severity::Passing)), (None, None, None));
    assert_eq!(fail(Severity::Passing), Some(NoticeKind::Failed), "three times in a row");
    board.not_told(&app, NoticeKind::Failed);
    assert_eq!((fail(Severity::Passing), fail(Severity::Lasting)), (Some(NoticeKind::Failed), None));
    assert_eq!(succeed(), Some(NoticeKind::Recovered));
    board.not_told(&app, NoticeKind::Recovered);
    assert_eq!((succeed(), succeed()), (Some(NoticeKind::Recovered), None));
    assert_eq!(fail(Severity::Lasting), Some(NoticeKind::Failed), "a lasting one is told at once");
}

#[test]
fn a_configuration_that_breaks_something_is_told_once_and_so_is_its_end() {
    let good = adopted(&[
        &repository("app", IMAGE, ""),
        &policy("app", "1.x", ""),
        &source(),
        &automation("fleet", ""),
    ]);
    let broken = adopted(&[
        &repository("app", IMAGE, "secretRef: {name: missing}"),
        &policy("app", "1.x", ""),
        &document(
            "GitRepository",
            "fleet",
            "url: https://git.example.com/fleet, interval: 1h, secretRef: {name: missing}",
        ),
        &automation("fleet", ""),
    ]);
    let board = Board::default();
    board.adopt(&good, now());
    assert_eq!(board.news_of_configuration(), []);
    board.adopt(&broken, now());
    let told = |news: Vec<(ObjectRef, NoticeKind, String)>| -> Vec<String> {
        news.iter().map(|(object, kind, _)| format!("{object} {}", kind.as_str())).collect()
    };
    let failed = [
        "ImageRepository/apps/app failed",
        "ImageUpdateAutomation/apps/fleet failed",
        "GitRepository/apps/fleet failed",
    ];
    assert_eq!(told(board.news_of_configuration()), failed, "but not each policy of the image");
    board.adopt(&broken, now());
    assert_eq!(board.news_of_configuration(), []);
    board.adopt(&good, now());
    assert_eq!(told(board.news_of_configuration()), ["GitRepository/apps/fleet recovered"]);
    // The others recover when they work.
    let fleet = object(Kind::ImageUpdateAutomation, "fleet");
    assert_eq!(board.ready(&fleet, "fine".to_owned(), now(), |_| {}), Some(NoticeKind::Recovered));
}

#[test]
fn a_guard_waits_for_its_trust_root_and_nobody_is_told_before_it_fails() {
    let guard = "apiVersion: windlass.dev/v1alpha1\nkind: Guard\nmetadata: {name: signed}\nspec:\n  match: {images: ['**']}\n  \
                 authorities: [{name: ci, keyless: {identities: [{issuer: a, subject: b}]}, trustRoot: {tuf: {}}}]\n  \
                 require: {signatures: {anyOf: [ci]}}";
    let board = board(&[guard]);
    let object = ObjectRef::new(Kind::Guard, ObjectKey::new("signed", "signed"));
    let (readiness, message) = state(&board, &object);
    assert_eq!(readiness, Readiness::Pending);
    assert!(message.contains("`ci`, trust root of https://tuf-repo-cdn.sigstore.dev/"), "{message}");
    assert_eq!(board.news_of_configuration(), []);
}
