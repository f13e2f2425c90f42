//! Credentials, redirects, limits and servers that fail.

use std::error::Error;
use std::time::Duration;

use windlass_git::{
    Auth, ErrorKind, GitError, Limits, Mirror, ProxyConfig, PushRequest, Remote, RemoteError, Retry,
};

use crate::support::{Server, World, edit, update};

const SECRET: &str = "hunter2-secret";

fn basic(password: &str) -> Auth {
    Auth::Basic { username: "robot".into(), password: password.to_owned().into() }
}

/// Everything that a log could show of an error.
fn everything(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join(" ")
}

/// Text that hardly compresses.
fn noise(words: u64) -> String {
    let words: Vec<String> = (0..words).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string()).collect();
    words.concat()
}

async fn refusal(mirror: &Mirror) -> GitError {
    mirror.ls_refs(&["main"]).await.unwrap_err()
}

#[tokio::test]
async fn credentials_are_sent_at_once_and_wrong_ones_are_an_auth_error() {
    let world = World::new().await;
    for (auth, header) in [
        (basic(SECRET), "Basic cm9ib3Q6aHVudGVyMi1zZWNyZXQ="),
        (Auth::Bearer { token: SECRET.to_owned().into() }, "Bearer hunter2-secret"),
    ] {
        world.server.switches().authorization = Some(header.to_owned());
        world.server.take_seen();
        let mut config = world.config();
        config.auth = auth;
        let mut mirror = world.mirror_with(config, Limits::default()).await;
        let tip = update(&mut mirror, "main").await;
        let seen = world.server.take_seen();
        assert!(seen.iter().all(|seen| seen.authorization.as_deref() == Some(header)), "{seen:?}");

        // The password changes on the server.
        world.server.switches().authorization = Some("Basic other".to_owned());
        let error = refusal(&mirror).await;
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::OnChange));
        let prepared = edit(&mirror, tip, "README.md", "x\n", "Update").await;
        let request = PushRequest::new("main", Some(tip), &prepared);
        let error = mirror.push(request).await.unwrap_err();
        assert!(matches!(error, GitError::Remote(RemoteError::Unauthorized { status: 401 })), "{error:?}");
        let text = everything(&error) + &format!("{mirror:?} {:?}", mirror.remote());
        assert!(!text.contains(SECRET) && !text.contains("aHVudGVy"), "{text}");
        assert_eq!(world.tip("main"), tip);
    }
}

#[tokio::test]
async fn another_host_never_sees_credentials() {
    let world = World::new().await;
    let elsewhere = Server::start(world.temp.path().join("srv")).await;
    let redirect = Some(("/repo.git".to_owned(), format!("{}/repo.git", elsewhere.url())));
    world.server.switches().redirect = redirect;

    let mut config = world.config();
    config.auth = basic(SECRET);
    let mirror = world.mirror_with(config, Limits::default()).await;
    let error = refusal(&mirror).await;
    assert!(matches!(error, GitError::Remote(RemoteError::Redirect { .. })), "{error:?}");
    assert!(everything(&error).contains("configured host"), "{error}");
    assert_eq!(elsewhere.take_seen(), []);
    drop(mirror);

    // Without credentials there is nothing to lose.
    let mut mirror = world.mirror().await;
    update(&mut mirror, "main").await;
    assert!(elsewhere.take_seen().len() >= 3);
}

#[tokio::test]
async fn a_repository_that_moves_on_its_server_is_followed() {
    let world = World::new().await;
    let mut config = world.config();
    config.auth = basic(SECRET);
    let mut mirror = world.mirror_with(config, Limits::default()).await;
    let tip = update(&mut mirror, "main").await;
    let root = world.temp.path().join("srv");
    std::fs::rename(root.join("repo.git"), root.join("renamed.git")).unwrap();
    world.server.switches().redirect = Some(("/repo.git".into(), "/renamed.git".into()));
    world.server.take_seen();
    assert_eq!(mirror.ls_refs(&["main"]).await.unwrap()["main"], Some(tip));
    let seen = world.server.take_seen();
    assert!(seen.iter().all(|seen| seen.authorization.is_some()), "{seen:?}");
}

#[tokio::test]
async fn endless_redirects_end() {
    let world = World::new().await;
    world.server.switches().redirect = Some(("/repo.git".into(), "/repo.git".into()));
    let error = refusal(&world.mirror().await).await;
    assert!(error.to_string().contains("too many redirects"), "{error}");
}

#[tokio::test]
async fn each_failure_of_a_server_has_its_kind() {
    let world = World::new().await;
    let mirror = world.mirror().await;
    let html = vec![("content-type", "text/html".to_owned())];
    let wait = vec![("retry-after", "7".to_owned())];
    let git = |service: &str| vec![("content-type", format!("application/x-git-{service}-advertisement"))];
    for (answer, kind, retry) in [
        ((404, vec![], ""), ErrorKind::NotFound, Retry::OnChange),
        ((403, vec![], ""), ErrorKind::Auth, Retry::OnChange),
        ((503, wait, ""), ErrorKind::Server, Retry::After(Duration::from_secs(7))),
        ((500, vec![], "oops"), ErrorKind::Server, Retry::Backoff),
        ((200, html, "<html>Sign in</html>"), ErrorKind::Protocol, Retry::Backoff),
        ((200, git("upload-pack"), "garbage"), ErrorKind::Protocol, Retry::Backoff),
        ((200, git("upload-pack"), "000eversion 2\n"), ErrorKind::Network, Retry::Backoff),
        ((200, git("upload-pack"), "0010ERR go away\n"), ErrorKind::Server, Retry::Backoff),
        (
            (200, git("upload-pack"), "000eversion 2\n0016object-format=md5\n0000"),
            ErrorKind::Config,
            Retry::OnChange,
        ),
        ((302, vec![], ""), ErrorKind::Protocol, Retry::Backoff),
    ] {
        let case = format!("{answer:?}");
        world.server.switches().answer = Some(answer);
        let error = refusal(&mirror).await;
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{case}: {error:?}");
    }
    world.server.switches().answer = None;
    assert!(mirror.ls_refs(&["main"]).await.unwrap()["main"].is_some());
}

#[tokio::test]
async fn a_server_that_never_answers_times_out() {
    let world = World::new().await;
    world.server.switches().hang = true;
    let mut config = world.config();
    config.timeout = Duration::from_millis(100);
    let error = refusal(&world.mirror_with(config, Limits::default()).await).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_cannot_be_connected_to() {
    let world = World::new().await;
    let mut config = world.config();
    // Bound and dropped: nothing listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.url = format!("http://{}/repo.git", listener.local_addr().unwrap());
    drop(listener);
    let error = refusal(&world.mirror_with(config, Limits::default()).await).await;
    assert!(matches!(error, GitError::Remote(RemoteError::Connect(_))), "{error:?}");
}

#[tokio::test]
async fn requests_go_through_the_configured_proxy() {
    let world = World::new().await;
    let mut config = world.config();
    let proxy = world.server.url();
    config.url = "http://git.invalid/repo.git".to_owned();
    config.proxy =
        Some(ProxyConfig::Server { address: proxy, username: String::new(), password: String::new().into() });
    let mut mirror = world.mirror_with(config, Limits::default()).await;
    update(&mut mirror, "main").await;
}

#[tokio::test]
async fn packs_larger_than_the_limit_are_refused() {
    let world = World::new().await;
    world.server.switches().hidden = vec!["filter"];
    let noise = noise(60_000);
    let tip = world.foreign(&[("noise.txt", &noise)]);
    let limits = Limits { pack_bytes: 64 * 1024, ..Limits::default() };
    let mut mirror = world.mirror_with(world.config(), limits).await;
    let error = mirror.fetch("main", tip).await.unwrap_err();
    assert!(matches!(error, GitError::Remote(RemoteError::TooLarge { limit: 65_536 })), "{error:?}");
    drop(mirror);
    let limits = Limits { object_bytes: 64 * 1024, ..Limits::default() };
    let mut mirror = world.mirror_with(world.config(), limits).await;
    let error = mirror.fetch("main", tip).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
    assert_eq!(mirror.path(), None);
}

#[tokio::test]
async fn a_pack_that_breaks_off_changes_nothing() {
    let world = World::new().await;
    world.server.switches().hidden = vec!["filter"];
    let mut mirror = world.mirror().await;
    let before = update(&mut mirror, "main").await;
    let noise = noise(5000);
    let tip = world.foreign(&[("noise.txt", &noise)]);
    for size in [300, 5000, 20_000] {
        world.server.switches().cut_fetch = Some(size);
        let error = mirror.fetch("main", tip).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{size}: {error:?}");
        assert_eq!(mirror.files(before, "", |_| true).await.unwrap().len(), 4);
    }
    world.server.switches().cut_fetch = None;
    mirror.fetch("main", tip).await.unwrap();
    world.assert_clean(&mirror);
}

#[tokio::test]
async fn another_repository_behind_the_same_url_is_fetched_anew() {
    let world = World::new().await;
    let mut mirror = world.mirror().await;
    update(&mut mirror, "main").await;
    drop(mirror);
    let other = World::empty(&["--object-format=sha256"]).await;
    let tip = other.foreign(&[("x.yaml", "a: 1\n")]);
    let remote = Remote::new(other.config()).unwrap();
    let mut mirror =
        Mirror::open(&world.temp.path().join("mirror"), remote, Limits::default()).await.unwrap();
    mirror.fetch("main", tip).await.unwrap();
    assert_eq!(mirror.files(tip, "", |_| true).await.unwrap().len(), 1);
}
