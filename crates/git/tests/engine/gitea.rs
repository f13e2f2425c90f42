//! The engine against Gitea: a forge with hooks and rules of its own.

use std::sync::{Arc, Weak};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;
use windlass_git::{Auth, ErrorKind, Limits, Mirror, PushOutcome, PushRequest, Remote, RemoteConfig, Retry};
use windlass_testkit::gitea::{Gitea, GiteaOptions, PASSWORD, USER};
use windlass_testkit::traffic::Method;

use crate::support::{assert_fsck, edit, land, push, update};

/// One server for the tests that run at the same time; the last of them ends it.
static SHARED: Mutex<Weak<Gitea>> = Mutex::const_new(Weak::new());

/// A repository on the shared server, with a mirror's folder.
struct Forge {
    gitea: Arc<Gitea>,
    repository: &'static str,
    temp: TempDir,
}

impl Forge {
    async fn new(repository: &'static str) -> Self {
        let gitea = {
            let mut shared = SHARED.lock().await;
            if let Some(gitea) = shared.upgrade() {
                gitea
            } else {
                let gitea = Arc::new(Gitea::start(GiteaOptions::default()).await.unwrap());
                *shared = Arc::downgrade(&gitea);
                gitea
            }
        };
        gitea.create_repository(repository).await.unwrap();
        Self { gitea, repository, temp: tempfile::tempdir().unwrap() }
    }

    async fn mirror(&self, password: &str) -> Mirror {
        let config = RemoteConfig {
            url: self.gitea.url(self.repository),
            auth: Auth::Basic { username: USER.into(), password: password.to_owned().into() },
            ca_pem: None,
            client_identity_pem: None,
            proxy: None,
            timeout: std::time::Duration::from_secs(30),
        };
        let remote = Remote::new(config).unwrap();
        Mirror::open(&self.temp.path().join("mirror"), remote, Limits::default()).await.unwrap()
    }

    fn assert_clean(&self, mirror: &Mirror) {
        assert_fsck(&self.gitea.folder(self.repository));
        assert_fsck(&mirror.path().unwrap());
    }
}

#[tokio::test]
async fn a_forge_is_fetched_from_and_takes_one_commit_after_the_other() {
    let forge = Forge::new("commits").await;
    let mut mirror = forge.mirror(PASSWORD).await;
    let tip = update(&mut mirror, "main").await;
    let first = edit(&mirror, tip, "app.yaml", "image: app:1.0.0\n", "Add").await;
    land(&mut mirror, "main", Some(tip), &first).await;
    let second = edit(&mirror, first.id(), "app.yaml", "image: app:1.1.0\n", "Update").await;
    land(&mut mirror, "main", Some(first.id()), &second).await;
    assert_eq!(mirror.ls_refs(&["main"]).await.unwrap()["main"], Some(second.id()));
    forge.assert_clean(&mirror);
}

#[tokio::test]
async fn a_new_branch_brings_the_forges_words() {
    let forge = Forge::new("branches").await;
    let mut mirror = forge.mirror(PASSWORD).await;
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

#[tokio::test]
async fn a_protected_branch_is_refused_in_the_forges_words() {
    let forge = Forge::new("protected").await;
    forge.gitea.protect("protected", "main").await.unwrap();
    let mut mirror = forge.mirror(PASSWORD).await;
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

#[tokio::test]
async fn push_options_and_a_review_ref_open_a_pull_request() {
    let forge = Forge::new("review").await;
    let mut mirror = forge.mirror(PASSWORD).await;
    let tip = update(&mut mirror, "main").await;
    let prepared = edit(&mirror, tip, "app.yaml", "image: app:1.1.0\n", "Update").await;
    let (also, options) =
        (["refs/for/main".to_owned()], ["topic=images".into(), "title=Move the images".into()]);
    let request =
        PushRequest { also: &also, options: &options, ..PushRequest::new("bot/images", None, &prepared) };
    let outcome = mirror.push(request).await.unwrap();
    assert!(matches!(outcome, PushOutcome::Landed { .. }), "{outcome:?}");
    let path = format!("repos/{USER}/review/pulls");
    let pulls = forge.gitea.api(Method::GET, &path, &Value::Null).await.unwrap();
    assert_eq!(pulls.as_array().unwrap().len(), 1, "{pulls:#}");
    assert_eq!((&pulls[0]["title"], &pulls[0]["base"]["ref"]), (&"Move the images".into(), &"main".into()));
    assert_eq!(pulls[0]["head"]["sha"], prepared.id().to_string());
    forge.assert_clean(&mirror);
}

#[tokio::test]
async fn somebody_elses_commit_on_the_forge_is_not_overwritten() {
    let forge = Forge::new("stale").await;
    let mut mirror = forge.mirror(PASSWORD).await;
    let tip = update(&mut mirror, "main").await;
    let prepared = edit(&mirror, tip, "app.yaml", "image: app:1.1.0\n", "Update").await;
    let theirs = forge.gitea.commit("stale", "theirs.txt", "aGVsbG8=").await.unwrap();
    let outcome = push(&mut mirror, "main", Some(tip), &prepared).await;
    let PushOutcome::Moved { actual: Some(actual) } = outcome else { panic!("{outcome:?}") };
    assert_eq!(actual.to_string(), theirs);

    let tip = update(&mut mirror, "main").await;
    let again = edit(&mirror, tip, "app.yaml", "image: app:1.1.0\n", "Update").await;
    land(&mut mirror, "main", Some(tip), &again).await;
    forge.assert_clean(&mirror);
}

#[tokio::test]
async fn a_wrong_password_is_an_auth_error() {
    let forge = Forge::new("private").await;
    let error = forge.mirror("wrong-hunter2").await.ls_refs(&["main"]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::OnChange), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}
