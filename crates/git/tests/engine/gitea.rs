//! The engine against Gitea: a forge with hooks and rules of its own.

use std::sync::{Arc, Weak};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;
use windlass_git::{
    Auth, ErrorKind, Implementation, Limits, Mirror, PushOutcome, PushRequest, Remote, RemoteConfig, Retry,
};
use windlass_testkit::gitea::{Gitea, GiteaOptions, PASSWORD, USER};
use windlass_testkit::ssh_server::KeyPair;
use windlass_testkit::traffic::Method;

use crate::support::{self, assert_fsck, edit, land, push, update};

/// One server for the tests that run at the same time; the last of them ends it.
static SHARED: Mutex<Weak<Gitea>> = Mutex::const_new(Weak::new());

/// How a mirror reaches the forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http(Implementation),
    Ssh(Implementation),
}

const WAYS: [Way; 4] = [
    Way::Http(Implementation::BuiltIn),
    Way::Http(Implementation::Program),
    Way::Ssh(Implementation::BuiltIn),
    Way::Ssh(Implementation::Program),
];

/// A repository on the shared server, with a mirror's folder.
struct Forge {
    gitea: Arc<Gitea>,
    repository: String,
    way: Way,
    key: KeyPair,
    temp: TempDir,
}

impl Forge {
    async fn new(name: &str, way: Way) -> Self {
        // Shown where the test fails.
        println!("{name} by {way:?}");
        let gitea = {
            let mut shared = SHARED.lock().await;
            if let Some(gitea) = shared.upgrade() {
                gitea
            } else {
                let gitea = Arc::new(Gitea::start(GiteaOptions { ssh: true }).await.unwrap());
                *shared = Arc::downgrade(&gitea);
                gitea
            }
        };
        let repository = format!("{name}-{}", WAYS.iter().position(|other| *other == way).unwrap());
        gitea.create_repository(&repository).await.unwrap();
        let key = KeyPair::generate(&["-t", "ed25519"], "").unwrap();
        gitea.add_deploy_key(&repository, &key.public).await.unwrap();
        Self { gitea, repository, way, key, temp: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> RemoteConfig {
        let (url, auth, implementation) = match self.way {
            Way::Http(by) => {
                let password = PASSWORD.to_owned().into();
                (self.gitea.url(&self.repository), Auth::Basic { username: USER.into(), password }, by)
            }
            Way::Ssh(by) => {
                let known_hosts = self.gitea.ssh_known_hosts().unwrap();
                let url = self.gitea.ssh_url(&self.repository).unwrap();
                (url, support::ssh::auth(&self.key.identity, None, &known_hosts), by)
            }
        };
        let timeout = std::time::Duration::from_secs(30);
        RemoteConfig {
            url,
            auth,
            ca_pem: None,
            client_identity_pem: None,
            proxy: None,
            timeout,
            implementation,
        }
    }

    async fn mirror(&self) -> Mirror {
        self.mirror_with(self.config()).await
    }

    async fn mirror_with(&self, config: RemoteConfig) -> Mirror {
        let remote = Remote::pooled(config, &support::clients()).unwrap();
        Mirror::open(&self.temp.path().join("mirror"), remote, Limits::default()).await.unwrap()
    }

    fn assert_clean(&self, mirror: &Mirror) {
        assert_fsck(&self.gitea.folder(&self.repository));
        assert_fsck(&mirror.path().unwrap());
    }
}

#[tokio::test]
async fn a_forge_is_fetched_from_and_takes_one_commit_after_the_other() {
    for way in WAYS {
        let forge = Forge::new("commits", way).await;
        let mut mirror = forge.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let first = edit(&mirror, tip, "app.yaml", "image: app:1.0.0\n", "Add").await;
        land(&mut mirror, "main", Some(tip), &first).await;
        let second = edit(&mirror, first.id(), "app.yaml", "image: app:1.1.0\n", "Update").await;
        land(&mut mirror, "main", Some(first.id()), &second).await;
        assert_eq!(mirror.ls_refs(&["main"]).await.unwrap()["main"], Some(second.id()));
        forge.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_new_branch_brings_the_forges_words() {
    for way in WAYS {
        let forge = Forge::new("branches", way).await;
        let mut mirror = forge.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, "app.yaml", "image: app:1.1.0\n", "Update").await;
        let outcome = push(&mut mirror, "bot/update", None, &prepared).await;
        let PushOutcome::Landed { messages } = outcome else { panic!("{outcome:?}") };
        assert!(
            messages.iter().any(|line| line.contains("Create a new pull request for 'bot/update'")),
            "{messages:?}"
        );
        forge.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_protected_branch_is_refused_in_the_forges_words() {
    for way in WAYS {
        let forge = Forge::new("protected", way).await;
        forge.gitea.protect(&forge.repository, "main").await.unwrap();
        let mut mirror = forge.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, "app.yaml", "image: app:1.1.0\n", "Update").await;
        let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
        let PushOutcome::Rejected { refusals, messages } = outcome else { panic!("{outcome:?}") };
        assert_eq!(refusals[0].reason, "pre-receive hook declined");
        assert!(
            messages.iter().any(|line| line.contains("Not allowed to push to protected branch main")),
            "{messages:?}"
        );
        assert_eq!(mirror.ls_refs(&["main"]).await.unwrap()["main"], Some(tip));
        forge.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn push_options_and_a_review_ref_open_a_pull_request() {
    for way in WAYS.into_iter().take(2) {
        let forge = Forge::new("review", way).await;
        let mut mirror = forge.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, "app.yaml", "image: app:1.1.0\n", "Update").await;
        let (also, options) =
            (["refs/for/main".to_owned()], ["topic=images".into(), "title=Move the images".into()]);
        let request =
            PushRequest { also: &also, options: &options, ..PushRequest::new("bot/images", None, &prepared) };
        let outcome = mirror.push(request).await.unwrap();
        assert!(matches!(outcome, PushOutcome::Landed { .. }), "{outcome:?}");
        let path = format!("repos/{USER}/{}/pulls", forge.repository);
        let pulls = forge.gitea.api(Method::GET, &path, &Value::Null).await.unwrap();
        assert_eq!(pulls.as_array().unwrap().len(), 1, "{pulls:#}");
        assert_eq!(
            (&pulls[0]["title"], &pulls[0]["base"]["ref"]),
            (&"Move the images".into(), &"main".into())
        );
        assert_eq!(pulls[0]["head"]["sha"], prepared.id().to_string());
        forge.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn somebody_elses_commit_on_the_forge_is_not_overwritten() {
    for way in WAYS {
        let forge = Forge::new("stale", way).await;
        let mut mirror = forge.mirror().await;
        let tip = update(&mut mirror, "main").await;
        let prepared = edit(&mirror, tip, "app.yaml", "image: app:1.1.0\n", "Update").await;
        let theirs = forge.gitea.commit(&forge.repository, "theirs.txt", "aGVsbG8=").await.unwrap();
        let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
        let PushOutcome::Moved { actual: Some(actual) } = outcome else { panic!("{outcome:?}") };
        assert_eq!(actual.to_string(), theirs);

        let tip = update(&mut mirror, "main").await;
        let again = edit(&mirror, tip, "app.yaml", "image: app:1.1.0\n", "Update").await;
        land(&mut mirror, "main", Some(tip), &again).await;
        forge.assert_clean(&mirror);
    }
}

#[tokio::test]
async fn a_wrong_password_is_an_auth_error() {
    for way in WAYS.into_iter().take(2) {
        let forge = Forge::new("private", way).await;
        let mut config = forge.config();
        config.auth = Auth::Basic { username: USER.into(), password: "wrong-hunter2".to_owned().into() };
        let error = forge.mirror_with(config).await.ls_refs(&["main"]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::OnChange), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_key_that_the_forge_does_not_know_is_an_auth_error() {
    for way in WAYS.into_iter().skip(2) {
        let forge = Forge::new("keys", way).await;
        let stranger = KeyPair::generate(&["-t", "ed25519"], "").unwrap();
        let mut config = forge.config();
        config.auth = support::ssh::auth(&stranger.identity, None, &forge.gitea.ssh_known_hosts().unwrap());
        let error = forge.mirror_with(config).await.ls_refs(&["main"]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::OnChange), "{error:?}");

        // A key of another repository opens no other.
        let other = Forge::new("others", way).await;
        let mut config = forge.config();
        config.auth = other.config().auth;
        let error = forge.mirror_with(config).await.ls_refs(&["main"]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Server, Retry::Backoff), "{error:?}");
        assert!(error.to_string().contains("is not authorized to read"), "{error}");
    }
}
