//! What this crate's tests share: configurations from YAML, a clock that they move, and a small registry on loopback.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_model::signal::{Received, RescanReason};
use windlass_model::{Clock, Digest, Hint, Kind, ObjectKey, ObjectRef, Spec, Tag, load};
use windlass_registry::PoolConfig;
use windlass_store::{Store, Work};

use crate::adopted::Adopted;
use crate::shared::Shared;
use crate::{Parts, Promoter};

/// Texts of other crates' grammars are not what these tests are about.
struct Anything;

impl load::Semantics for Anything {
    fn semver_range(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn filter_pattern(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn filter_extract(&self, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn calendar_format(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn exclusion(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn message_template(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn key_path(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn document_selector(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn path_pattern(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn attestation(&self, _: &windlass_model::guard::AttestationRule) -> Result<(), String> {
        Ok(())
    }
}

/// The resources of these documents, which must be free of mistakes.
pub(crate) fn spec(documents: &[&str]) -> Arc<Spec> {
    let file = load::read("test.yaml", &documents.join("\n---\n"), &Anything);
    assert!(!file.broken, "{:#?}", file.problems);
    Arc::new(load::assemble([&file], &BTreeMap::new()).spec)
}

pub(crate) fn adopted(documents: &[&str]) -> Adopted {
    Adopted::default().replaced_by(spec(documents), Arc::default())
}

pub(crate) fn repository(name: &str, image: &str, rest: &str) -> String {
    document("ImageRepository", name, &format!("image: {image}, interval: 1h, {rest}"))
}

/// A policy of the repository `app`.
pub(crate) fn policy(name: &str, range: &str, rest: &str) -> String {
    let spec = format!("imageRepositoryRef: {{name: app}}, policy: {{semver: {{range: '{range}'}}}}, {rest}");
    document("ImagePolicy", name, &spec)
}

pub(crate) fn automation(name: &str, rest: &str) -> String {
    let spec = format!(
        "interval: 1h, sourceRef: {{kind: GitRepository, name: fleet}}, \
         git: {{commit: {{author: {{email: a@b.c}}}}}}, {rest}"
    );
    document("ImageUpdateAutomation", name, &spec)
}

/// One document in the namespace `apps`, its `spec` in flow style.
pub(crate) fn document(kind: &str, name: &str, spec: &str) -> String {
    let group = match kind {
        "GitRepository" => "source.toolkit.fluxcd.io/v1",
        "Notifier" => "windlass.dev/v1alpha1",
        _ => "image.toolkit.fluxcd.io/v1",
    };
    format!(
        "apiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}, namespace: apps}}\nspec: {{{spec}}}"
    )
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new("apps", name)
}

pub(crate) fn object(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef::new(kind, key(name))
}

pub(crate) fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

pub(crate) fn pushed(text: &str, at: Timestamp) -> Received {
    Received { hint: Hint::TagPushed { tag: tag(text), digest: None }, event: format!("event-{text}"), at }
}

/// As [`pushed`], by a sender that states the digest that a tag with this mark has.
pub(crate) fn pushed_with(text: &str, last: char, at: Timestamp) -> Received {
    let digest = Some(Digest::parse(&digest(last)).unwrap());
    Received { hint: Hint::TagPushed { tag: tag(text), digest }, ..pushed(text, at) }
}

pub(crate) fn rescan(at: Timestamp) -> Received {
    Received { hint: Hint::Rescan { reason: RescanReason::Interval }, event: "poll".to_owned(), at }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestClock(Arc<Mutex<SignedDuration>>);

impl TestClock {
    pub(crate) fn advance(&self, seconds: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_secs(seconds);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        start + *self.0.lock().unwrap()
    }
}

/// A promoter with a store of its own, and no tasks: tests call what they want to see.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: TestClock,
    pub(crate) configuration: watch::Sender<Arc<Spec>>,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(documents: &[&str]) -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
        let store = Store::open(folder.path(), Arc::new(clock.clone())).await.unwrap();
        let (configuration, offered) = watch::channel(spec(documents));
        let mut registry = Registry::default();
        let parts = Parts {
            clock: Arc::new(clock.clone()),
            store,
            pool: windlass_registry::Pool::new(
                PoolConfig::default(),
                windlass_registry::Metrics::register(&mut registry),
            ),
            sender: windlass_notify::Sender::new(&windlass_notify::SenderConfig::default()).unwrap(),
            metrics: crate::Metrics::register(&mut registry),
            spec: offered,
            roots: watch::channel(Arc::default()).1,
            mirrors: folder.path().join("mirrors"),
            git_clients: windlass_git::ClientPool::default(),
        };
        let promoter = Promoter::start(parts, CancellationToken::new()).await.unwrap();
        Self { shared: promoter.shared, clock, configuration, _folder: folder }
    }

    /// Work on the ImageRepository `app`.
    pub(crate) fn work(&self, hints: Vec<Received>) -> Work {
        let target = object(Kind::ImageRepository, "app");
        Work { target, generation: 1, attempts: 0, hints, first_at: self.clock.now() }
    }

    /// The message and the readiness that `status` shows.
    pub(crate) fn status(&self, object: &ObjectRef) -> (&'static str, String) {
        let all = self.shared.board.list();
        let status = all.into_iter().find(|status| status.object == *object).unwrap();
        (status.ready.as_str(), status.message)
    }
}

/// A registry with one repository, `org/app`, whose answers the test decides on.
pub(crate) struct TestRegistry {
    host: String,
    content: Arc<Mutex<Content>>,
    _server: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Content {
    /// The last character of each tag's digest.
    tags: BTreeMap<String, char>,
    /// What is answered instead, by the request's last path segment (`list`, or a tag).
    refusals: HashMap<String, StatusCode>,
    /// The last path segment of every request, in order.
    asked: Vec<String>,
}

impl TestRegistry {
    pub(crate) async fn start(tags: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let content = Arc::new(Mutex::new(Content::default()));
        let router = Router::new()
            .route("/v2/", get(async || StatusCode::OK))
            .route("/v2/org/app/tags/list", get(list))
            .route("/v2/org/app/manifests/{tag}", get(manifest))
            .with_state(content.clone());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let registry = Self { host, content, _server: server };
        for tag in tags {
            registry.push(tag, 'a');
        }
        registry
    }

    /// The ImageRepository `app`.
    pub(crate) fn repository(&self) -> String {
        repository("app", &format!("{}/org/app", self.host), "insecure: true")
    }

    pub(crate) fn push(&self, tag: &str, digest: char) {
        self.content.lock().unwrap().tags.insert(tag.to_owned(), digest);
    }

    pub(crate) fn delete(&self, tag: &str) {
        self.content.lock().unwrap().tags.remove(tag);
    }

    /// Answers `what` (`list`, or a tag) with this status; 200 is the ordinary answer.
    pub(crate) fn refuse(&self, what: &str, status: u16) {
        let status = StatusCode::from_u16(status).unwrap();
        self.content.lock().unwrap().refusals.insert(what.to_owned(), status);
    }

    /// What was asked for since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.content.lock().unwrap().asked)
    }
}

async fn list(State(content): State<Arc<Mutex<Content>>>) -> Response {
    let mut content = content.lock().unwrap();
    if let Some(refusal) = content.refuses("list") {
        return refusal;
    }
    let tags: Vec<&String> = content.tags.keys().collect();
    serde_json::json!({"name": "org/app", "tags": tags}).to_string().into_response()
}

async fn manifest(State(content): State<Arc<Mutex<Content>>>, Path(tag): Path<String>) -> Response {
    let mut content = content.lock().unwrap();
    if let Some(refusal) = content.refuses(&tag) {
        return refusal;
    }
    match content.tags.get(&tag) {
        Some(last) => [("docker-content-digest", digest(*last))].into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Content {
    fn refuses(&mut self, what: &str) -> Option<Response> {
        self.asked.push(what.to_owned());
        let status = self.refusals.get(what).filter(|status| **status != StatusCode::OK)?;
        Some(status.into_response())
    }
}

/// The digest that a tag with this mark has.
pub(crate) fn digest(last: char) -> String {
    format!("sha256:{}{last}", "0".repeat(63))
}
