//! GitHub App tokens, against a stand-in for GitHub's API that verifies signatures and times, and a Git server that
//! takes its tokens alone. The clock is the test's.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use windlass_git::{
    Auth, ClientPool, ErrorKind, GitError, GitHubApp, GitHubAppConfig, GitHubAppError, Installation, Limits,
    Mirror, Remote, RemoteConfig, RemoteError, Retry,
};
use windlass_testkit::git_repository::BareRepository;
use windlass_testkit::git_server::{GitOptions, GitServer};
use windlass_testkit::github::{APP_ID, GitHub, INSTALLATION, OWNER, TOKEN_LIFETIME};
use windlass_testkit::http_server::Canned;
use windlass_testkit::traffic::{Match, Point};

use crate::support::{edit, land, update};
use crate::tls::{Authority, Front};

const START: i64 = 1_750_000_000;

struct Stage {
    github: GitHub,
    git: GitServer,
    repository: BareRepository,
    clock: Arc<AtomicI64>,
    pool: ClientPool,
    temp: TempDir,
}

impl Stage {
    async fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(START));
        let theirs = Arc::clone(&clock);
        let github = GitHub::start(&["fleet"], move || theirs.load(Ordering::SeqCst)).unwrap();
        let git = GitServer::start(GitOptions::default()).unwrap();
        let repository = git.create_repository("acme/fleet", [("a.yaml", "a: 1\n")]).await.unwrap();
        git.admit_app(github.app());
        let temp = TempDir::new().unwrap();
        Self { github, git, repository, clock, pool: ClientPool::default(), temp }
    }

    fn app(&self) -> GitHubAppConfig {
        let clock = Arc::clone(&self.clock);
        GitHubAppConfig {
            app_id: APP_ID.into(),
            installation: Installation::Id(INSTALLATION.into()),
            private_key: self.github.private_key().as_bytes().to_vec().into(),
            api: Some(self.github.url()),
            repository: self.git.url("acme/fleet"),
            timeout: Duration::from_secs(10),
            clock: Arc::new(move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap()),
        }
    }

    async fn mirror(&self, app: GitHubAppConfig) -> Mirror {
        self.mirror_trusting(app, None).await
    }

    async fn mirror_trusting(&self, app: GitHubAppConfig, ca_pem: Option<Vec<u8>>) -> Mirror {
        let config = RemoteConfig {
            url: self.git.url("acme/fleet"),
            auth: Auth::GitHubApp(GitHubApp::new(app).unwrap()),
            ca_pem,
            client_identity_pem: None,
            proxy: None,
            timeout: Duration::from_secs(10),
            implementation: windlass_git::Implementation::BuiltIn,
        };
        let remote = Remote::pooled(config, &self.pool).unwrap();
        let folder = tempfile::tempdir_in(self.temp.path()).unwrap().keep();
        Mirror::open(&folder.join("mirror"), remote, Limits::default()).await.unwrap()
    }

    /// What a mirror with these settings is told.
    async fn refusal(&self, app: GitHubAppConfig) -> GitError {
        self.mirror(app).await.ls_refs(&["main"]).await.unwrap_err()
    }

    fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Nothing that a log could show holds a key or a token.
    fn assert_silent(&self, shown: &str) {
        let key = self.github.private_key().lines().nth(1).unwrap();
        assert!(!shown.contains(key) && !shown.contains("ghs_") && !shown.contains("eyJ"), "{shown}");
    }
}

fn everything(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn one_token_fetches_and_pushes_until_it_is_near_its_end() {
    let stage = Stage::new().await;
    let mut mirror = stage.mirror(stage.app()).await;
    let tip = update(&mut mirror, "main").await;
    let prepared = edit(&mirror, tip, "a.yaml", "a: 2\n", "Update").await;
    land(&mut mirror, "main", Some(tip), &prepared).await;
    assert_eq!(stage.repository.show("main", "a.yaml").await.unwrap(), b"a: 2\n");
    assert_eq!(stage.github.given(), 1);

    stage.advance(TOKEN_LIFETIME - 301);
    mirror.ls_refs(&["main"]).await.unwrap();
    assert_eq!(stage.github.given(), 1);
    stage.advance(1);
    mirror.ls_refs(&["main"]).await.unwrap();
    assert_eq!(stage.github.given(), 2);
    stage.advance(TOKEN_LIFETIME + 1);
    mirror.ls_refs(&["main"]).await.unwrap();
    assert_eq!(stage.github.given(), 3);
    stage.assert_silent(&format!("{mirror:?} {:?} {:?}", mirror.remote(), stage.app()));
}

#[tokio::test]
async fn many_requests_at_once_ask_for_one_token() {
    let stage = Stage::new().await;
    // The second has its own settings, which are equal: the pool knows.
    let (first, second) = (stage.mirror(stage.app()).await, stage.mirror(stage.app()).await);
    let gate = stage.github.traffic().hold(GitHub::token_requests(), Point::Before);
    let ask = async |mirror: &Mirror| mirror.ls_refs(&["main"]).await.map(drop);
    let opening = async {
        gate.arrived(Duration::from_secs(10)).await.unwrap();
        gate.open();
    };
    let (a, b, c, ()) = tokio::join!(ask(&first), ask(&first), ask(&second), opening);
    a.and(b).and(c).unwrap();
    assert_eq!(stage.github.given(), 1);
}

#[tokio::test]
async fn an_installation_is_found_by_its_owner() {
    let stage = Stage::new().await;
    let app = GitHubAppConfig { installation: Installation::Owner(OWNER.into()), ..stage.app() };
    update(&mut stage.mirror(app).await, "main").await;
    assert_eq!(stage.github.given(), 1);

    let app = GitHubAppConfig { installation: Installation::Owner("nobody".into()), ..stage.app() };
    let error = stage.refusal(app).await;
    assert!(everything(&error).contains("`nobody`"), "{error}");
    let asked: Vec<String> = stage.github.traffic().exchanges().into_iter().map(|e| e.head.path).collect();
    assert!(
        asked.ends_with(&[
            "/api/v3/orgs/nobody/installation".into(),
            "/api/v3/users/nobody/installation".into()
        ])
    );
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_once() {
    let stage = Stage::new().await;
    let mut mirror = stage.mirror(stage.app()).await;
    let tip = update(&mut mirror, "main").await;
    stage.github.revoke_all();
    let prepared = edit(&mirror, tip, "a.yaml", "a: 2\n", "Update").await;
    land(&mut mirror, "main", Some(tip), &prepared).await;
    assert_eq!(stage.repository.show("main", "a.yaml").await.unwrap(), b"a: 2\n");
    assert_eq!(stage.github.given(), 2);

    // A Git server that refuses even a new one is not asked for ever.
    let refused = stage.git.traffic().answer(Match::any(), Canned::status(401));
    let mark = stage.git.traffic().mark();
    let error = mirror.ls_refs(&["main"]).await.unwrap_err();
    assert!(matches!(error, GitError::Remote(RemoteError::Unauthorized { status: 401 })), "{error:?}");
    assert_eq!((stage.git.traffic().exchanges().len() - mark, stage.github.given()), (2, 3));
    refused.lift();
    stage.assert_silent(&everything(&error));
}

#[tokio::test]
async fn each_refusal_says_what_to_check() {
    let stage = Stage::new().await;
    let other = GitHub::start(&[], || START).unwrap();
    let other_key = other.private_key().as_bytes().to_vec();
    for (app, kind, words) in [
        (GitHubAppConfig { app_id: "1".into(), ..stage.app() }, ErrorKind::Auth, "Integration not found"),
        (
            GitHubAppConfig { private_key: other_key.into(), ..stage.app() },
            ErrorKind::Auth,
            "githubAppPrivateKey",
        ),
        (
            GitHubAppConfig { installation: Installation::Id("1".into()), ..stage.app() },
            ErrorKind::NotFound,
            "githubAppInstallationID",
        ),
        (
            GitHubAppConfig { repository: "https://github.com/acme/other.git".into(), ..stage.app() },
            ErrorKind::Auth,
            "`other`",
        ),
        (
            GitHubAppConfig { api: Some(format!("http://{}", stage.github.address())), ..stage.app() },
            ErrorKind::NotFound,
            "githubAppBaseURL",
        ),
    ] {
        let error = stage.refusal(app).await;
        let text = everything(&error);
        assert_eq!((error.kind(), error.retry()), (kind, Retry::OnChange), "{text}");
        assert!(text.contains(words), "{text}");
        stage.assert_silent(&text);
    }
    assert_eq!(stage.github.given(), 0);
}

#[tokio::test]
async fn a_clock_that_is_off_is_named_and_a_little_is_forgiven() {
    let stage = Stage::new().await;
    stage.github.set_ahead(-61);
    let error = stage.refusal(stage.app()).await;
    assert!(everything(&error).contains("must not be in the future"), "{error}");
    for ahead in [-60, 0, 500] {
        stage.github.set_ahead(ahead);
        stage.github.revoke_all();
        let repository = format!("https://github.com/{}/fleet", ahead + 100);
        stage.mirror(GitHubAppConfig { repository, ..stage.app() }).await.ls_refs(&["main"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_busy_api_is_left_alone_as_long_as_it_asks() {
    let stage = Stage::new().await;
    let mirror = stage.mirror(stage.app()).await;
    let busy = Canned::status(429).header("retry-after", "40");
    let _fault = stage.github.traffic().answer_next(1, GitHub::token_requests(), busy);
    let error = mirror.ls_refs(&["main"]).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(40)), "{error:?}");
    stage.advance(30);
    let error = mirror.ls_refs(&["main"]).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(10)), "{error:?}");
    assert_eq!(stage.github.traffic().count(&GitHub::token_requests()), 1);
    stage.advance(10);
    mirror.ls_refs(&["main"]).await.unwrap();
}

#[tokio::test]
async fn a_pause_ends_when_the_clock_is_set_back() {
    let stage = Stage::new().await;
    let mirror = stage.mirror(stage.app()).await;
    let busy = Canned::status(429).header("retry-after", "40");
    let _fault = stage.github.traffic().answer_next(1, GitHub::token_requests(), busy);
    mirror.ls_refs(&["main"]).await.unwrap_err();
    stage.advance(-24 * 60 * 60);
    mirror.ls_refs(&["main"]).await.unwrap();
}

#[tokio::test]
async fn answers_that_cannot_be_used_have_their_kind() {
    let stage = Stage::new().await;
    let mirror = stage.mirror(stage.app()).await;
    let json = |text: &'static str| Canned::status(201).body(text);
    for (canned, kind, retry) in [
        (Canned::status(500), ErrorKind::Server, Retry::Backoff),
        (Canned::status(403).body(r#"{"message":"suspended"}"#), ErrorKind::Auth, Retry::OnChange),
        (
            Canned::status(403).header("x-ratelimit-remaining", "0").header("retry-after", "1"),
            ErrorKind::Server,
            Retry::After(Duration::from_secs(1)),
        ),
        (
            Canned::status(302).header("location", "http://elsewhere.invalid/"),
            ErrorKind::Config,
            Retry::OnChange,
        ),
        (json("<html>"), ErrorKind::Protocol, Retry::Backoff),
        (
            json(r#"{"token":"ghs_x\ny","expires_at":"2999-01-01T00:00:00Z"}"#),
            ErrorKind::Protocol,
            Retry::Backoff,
        ),
        (
            json(r#"{"token":"ghs_x","expires_at":"2001-01-01T00:00:00Z"}"#),
            ErrorKind::Protocol,
            Retry::Backoff,
        ),
        (Canned::status(201).repeated(vec![b' '; 1 << 16], 64), ErrorKind::Protocol, Retry::Backoff),
    ] {
        let case = format!("{canned:?}");
        stage.advance(5);
        let fault = stage.github.traffic().answer(GitHub::token_requests(), canned);
        let error = mirror.ls_refs(&["main"]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{case}: {error:?}");
        stage.assert_silent(&everything(&error));
        fault.lift();
    }
    stage.advance(5);
    let dropped = stage.github.traffic().disconnect(GitHub::token_requests(), Point::After);
    let error = mirror.ls_refs(&["main"]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Network, Retry::Backoff), "{error:?}");
    dropped.lift();
    mirror.ls_refs(&["main"]).await.unwrap();
}

#[tokio::test]
async fn an_api_that_never_answers_times_out() {
    let stage = Stage::new().await;
    let _gate = stage.github.traffic().hold(GitHub::token_requests(), Point::Before);
    let app = GitHubAppConfig { timeout: Duration::from_millis(100), ..stage.app() };
    let error = stage.refusal(app).await;
    assert!(matches!(error, GitError::Remote(RemoteError::GitHubApp(GitHubAppError::Timeout))), "{error:?}");
}

#[tokio::test]
async fn tokens_and_keys_never_follow_a_redirect_to_another_host() {
    let stage = Stage::new().await;
    let elsewhere = GitServer::start(GitOptions::default()).unwrap();
    let target = format!("{}/info/refs?service=git-upload-pack", elsewhere.url("acme/fleet"));
    let _moved = stage.git.traffic().answer(Match::any(), Canned::status(302).header("location", &target));
    let error = stage.refusal(stage.app()).await;
    assert!(matches!(error, GitError::Remote(RemoteError::Redirect { .. })), "{error:?}");
    assert_eq!(elsewhere.traffic().count(&Match::any()), 0);
}

#[tokio::test]
async fn the_api_is_trusted_by_the_configured_authority_alone() {
    let stage = Stage::new().await;
    let authority = Authority::new();
    let front = Front::before(stage.github.address(), &authority, None).await;
    let api = format!("https://{}/api/v3/", front.address);
    for (ca, trusted) in [(None, false), (Some(Authority::new().pem()), false), (Some(authority.pem()), true)]
    {
        let app = GitHubAppConfig { api: Some(api.clone()), ..stage.app() };
        let result = stage.mirror_trusting(app, ca).await.ls_refs(&["main"]).await;
        match result {
            Ok(_) => assert!(trusted),
            Err(GitError::Remote(RemoteError::GitHubApp(GitHubAppError::Connect(_)))) => assert!(!trusted),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(stage.github.given(), 1);
}
