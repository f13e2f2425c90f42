//! Everything that one application needs, composed: a registry that announces pushes, a Git server, Slack, a
//! configuration directory, and `windlass` itself. A test states what is special about it and nothing else.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::config::{self, ConfigFolder};
use crate::event::{ENVELOPE, Push, envelope};
use crate::folder::{Storage, fresh};
use crate::git_repository::{BRANCH, BareRepository, Commit};
use crate::git_server::{GitAuth, GitOptions, GitServer};
use crate::http_fault::Proxy;
use crate::image::Pusher;
use crate::link::Link;
use crate::process::tail;
use crate::registry::{Notifications, Registry, RegistryOptions};
use crate::slack::Slack;
use crate::windlass::{Windlass, WindlassOptions};
use crate::{eventually, port};

/// The namespace of every resource.
pub const NAMESPACE: &str = "apps";
/// The name of the ImageRepository and the ImagePolicy.
pub const APP: &str = "podinfo";
/// The name of the GitRepository and the ImageUpdateAutomation.
pub const FLEET: &str = "fleet";
/// The name of the Receiver.
pub const RECEIVER: &str = "registry";
/// The Receiver's token.
pub const TOKEN: &str = "webhook-token-for-tests";
/// The image's repository.
pub const REPOSITORY: &str = "team/podinfo";
/// The file that carries the marker.
pub const MANIFEST_PATH: &str = "apps/podinfo/deployment.yaml";
const LOG_FILE: &str = "windlass.log";
/// Stands for the registry's host in the text of files, because the host is known only when the world has started.
pub const REGISTRY_PLACE: &str = "${REGISTRY}";
/// Long beside everything that is awaited, so that only a real failure reaches it.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What is special about a world.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// The tag that is in Git at the start.
    pub first_tag: String,
    /// The policy's range.
    pub range: String,
    /// The policy's `digestReflectionPolicy`.
    pub digest: String,
    /// The interval of the ImageRepository and the automation. A long one leaves the webhook alone to bring news.
    pub interval: String,
    /// What the registry announces.
    pub announces: Announces,
    /// Whether the registry wants credentials.
    pub registry_authentication: bool,
    /// What the Git server wants; the configuration has the same.
    pub git_auth: Option<GitAuth>,
    /// Whether Slack is told.
    pub notifier: bool,
    /// More files in the repository, beside the marked one. [`REGISTRY_PLACE`] stands for the registry's host.
    pub files: Vec<(String, String)>,
    /// Where `--data` lies. A database that is to survive a power failure is on disk; a test need not be.
    pub data: Storage,
    /// Before which servers a link stands, for Windlass to be cut off from them; the pusher goes over the registry's too.
    /// A link before NATS is the test's own, as its server is.
    pub links: Vec<Part>,
    /// Further arguments of `windlass run`.
    pub arguments: Vec<OsString>,
    /// The registry's program; by default what `locate::registry` finds.
    pub registry_program: Option<PathBuf>,
    /// The `windlass` program; by default what `locate::windlass` finds.
    pub windlass_program: Option<PathBuf>,
}

/// A server that Windlass speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The registry, with the proxy before it.
    Registry,
    /// The Git server.
    Git,
    /// The chat service.
    Slack,
}

/// What a registry announces to Windlass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announces {
    /// No webhook is sent.
    Nothing,
    /// Pulls and blobs too, as a registry does that nobody set up for Windlass.
    Everything,
    /// Pushed manifests alone.
    PushedManifests,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            first_tag: "1.0.0".to_owned(),
            range: ">=1.0.0".to_owned(),
            digest: "Never".to_owned(),
            interval: "1h".to_owned(),
            announces: Announces::Everything,
            registry_authentication: false,
            git_auth: None,
            notifier: true,
            files: Vec::new(),
            data: Storage::Memory,
            links: Vec::new(),
            arguments: Vec::new(),
            registry_program: None,
            windlass_program: None,
        }
    }
}

/// The composed servers. Fields are public: a test steers them directly.
pub struct World {
    /// The program; absent before [`World::start_windlass`].
    pub windlass: Option<Windlass>,
    /// Stands between the registry and Windlass: what was announced, and how it was answered.
    pub hooks: Proxy,
    /// Stands between Windlass (and the pusher) and the registry.
    pub proxy: Proxy,
    /// The registry.
    pub registry: Registry,
    /// Pushes through the proxy, so that events name the image's host.
    pub images: Pusher,
    /// The Git server.
    pub git: GitServer,
    /// The repository on it.
    pub repository: BareRepository,
    /// Slack.
    pub slack: Slack,
    /// `--config`
    pub config: ConfigFolder,
    /// `--data`
    pub data: TempDir,
    listen: SocketAddr,
    links: BTreeMap<Part, Link>,
    options: WorldOptions,
    // Outside of `data`, so that a test may look at exactly what Windlass wrote there.
    logs: TempDir,
}

impl World {
    /// Starts everything and waits until Windlass is ready.
    ///
    /// # Errors
    /// When anything does not start.
    pub async fn start(options: WorldOptions) -> Result<Self> {
        let mut world = Self::prepare(options).await?;
        world.start_windlass().await?;
        Ok(world)
    }

    /// Starts everything but Windlass: the first tag is in the registry and in Git, the configuration is written.
    ///
    /// # Errors
    /// When anything does not start.
    pub async fn prepare(options: WorldOptions) -> Result<Self> {
        let listen = port::free()?;
        let hooks = Proxy::start(format!("http://{listen}"))?;
        let path = config::webhook_path(TOKEN, RECEIVER, NAMESPACE);
        let notifications = Notifications {
            url: format!("{}{path}", hooks.url()),
            authorization: TOKEN.to_owned(),
            only_pushed_manifests: options.announces == Announces::PushedManifests,
        };
        let mut registry = Registry::start(RegistryOptions {
            authentication: options.registry_authentication,
            program: options.registry_program.clone(),
            ..RegistryOptions::default()
        })
        .await?;
        let proxy = Proxy::start(registry.url())?;
        let git = GitServer::start(GitOptions { auth: options.git_auth.clone(), storage: Storage::Memory })?;
        let slack = Slack::start()?;
        let links = links(&options.links, &proxy, &git, &slack)?;
        let host = host(&links, &proxy);
        let images = Pusher::new(format!("http://{host}"), registry.credentials().cloned())?;
        let first_digest = images.push(REPOSITORY, &options.first_tag, &options.first_tag).await?;
        // Only now, so that the first thing that is announced is a test's own.
        if options.announces != Announces::Nothing {
            registry.set_notifications(Some(notifications)).await?;
        }
        let first = match options.digest.as_str() {
            "Never" => options.first_tag.clone(),
            _ => format!("{}@{first_digest}", options.first_tag),
        };
        let marked = (MANIFEST_PATH.to_owned(), manifest(&host, &first));
        let others =
            options.files.iter().map(|(path, text)| (path.clone(), text.replace(REGISTRY_PLACE, &host)));
        let files = std::iter::once(marked).chain(others);
        let repository = git.create_repository(FLEET, files).await?;
        let world = Self {
            windlass: None,
            hooks,
            proxy,
            registry,
            images,
            git,
            repository,
            slack,
            config: ConfigFolder::new()?,
            data: fresh(options.data)?,
            listen,
            links,
            options,
            logs: fresh(Storage::Memory)?,
        };
        world.write_configuration()?;
        Ok(world)
    }

    /// Starts Windlass and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_windlass(&mut self) -> Result<&mut Windlass> {
        let windlass = Windlass::start(self.windlass_options()).await?;
        let windlass = self.windlass.insert(windlass);
        windlass.wait_ready(PATIENCE).await?;
        Ok(windlass)
    }

    /// How Windlass is started, for a test that starts it otherwise.
    pub fn windlass_options(&self) -> WindlassOptions {
        WindlassOptions {
            config: self.config.path().to_owned(),
            data: self.data.path().to_owned(),
            listen: self.listen,
            admin_listen: None,
            arguments: self.options.arguments.clone(),
            environment: Vec::new(),
            log: self.logs.path().join(LOG_FILE),
            program: self.options.windlass_program.clone(),
            joins: None,
        }
    }

    /// The running Windlass.
    ///
    /// # Panics
    /// Before [`World::start_windlass`].
    pub fn windlass(&mut self) -> &mut Windlass {
        self.windlass.as_mut().expect("the test started Windlass")
    }

    /// What Windlass logged so far, of all runs.
    pub fn log_text(&self) -> String {
        // A log that is not there yet is empty.
        std::fs::read_to_string(self.logs.path().join(LOG_FILE)).unwrap_or_default()
    }

    /// Pushes an image of its own under this tag and gives its digest.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn push(&self, tag: &str) -> Result<String> {
        self.images.push(REPOSITORY, tag, tag).await
    }

    /// Posts an event to Windlass as the registry would, with an id of the test's choice.
    ///
    /// # Errors
    /// When Windlass does not answer.
    pub async fn announce(&self, id: &str, tag: &str, digest: &str) -> Result<reqwest::Response> {
        let host = self.host();
        let push = Push { id, host: &host, repository: REPOSITORY, tag: Some(tag), digest };
        let windlass = self.windlass.as_ref().context("Windlass is not started")?;
        let headers = [("authorization", TOKEN), ("content-type", ENVELOPE)];
        windlass.post(&self.webhook_path(), &headers, envelope(&[push]).to_string().into_bytes()).await
    }

    /// The image's host: the registry's proxy, or the link before it.
    pub fn host(&self) -> String {
        host(&self.links, &self.proxy)
    }

    /// The link before a server.
    ///
    /// # Panics
    /// When the options ask for none there.
    pub fn link(&self, part: Part) -> &Link {
        self.links.get(&part).expect("the test's options ask for this link")
    }

    /// The Receiver's path.
    pub fn webhook_path(&self) -> String {
        config::webhook_path(TOKEN, RECEIVER, NAMESPACE)
    }

    /// The marked file at the branch head.
    ///
    /// # Errors
    /// When git fails.
    pub async fn manifest_at_head(&self) -> Result<String> {
        let bytes = self.repository.show(BRANCH, MANIFEST_PATH).await?;
        String::from_utf8(bytes).context("the manifest is not UTF-8")
    }

    /// What the marked file has to be, byte for byte, at this `tag` or `tag@digest`.
    pub fn expected_manifest(&self, reference: &str) -> String {
        manifest(&self.host(), reference)
    }

    /// The commits on the branch, newest first, without the one that the repository started with.
    ///
    /// # Errors
    /// When git fails.
    pub async fn commits(&self) -> Result<Vec<Commit>> {
        let mut commits = self.repository.log(BRANCH).await?;
        commits.pop();
        Ok(commits)
    }

    /// Waits until the marked file at the branch head is exactly the one of this `tag` or `tag@digest`; gives the
    /// head's commit.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn wait_for(&self, reference: &str) -> Result<Commit> {
        let (wanted, what) =
            (self.expected_manifest(reference), format!("{reference} at the head of {BRANCH}"));
        eventually(PATIENCE, what, async || {
            let found = self.manifest_at_head().await?;
            ensure!(found == wanted, "the manifest is\n{found}");
            Ok(self.repository.log(BRANCH).await?.into_iter().next())
        })
        .await
    }

    /// Writes every document anew. A test that wants others writes its own files over them.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_configuration(&self) -> Result<()> {
        let options = &self.options;
        let registry_secret = options.registry_authentication.then_some("registry-credentials");
        let git_secret = options.git_auth.is_some().then_some("git-credentials");
        let image = format!("{}/{REPOSITORY}", self.host());
        let git = self.links.get(&Part::Git).map_or(self.git.address(), Link::address);
        self.config.write(
            "images.yaml",
            config::documents([
                config::image_repository(NAMESPACE, APP, &image, &options.interval, registry_secret),
                config::image_policy(NAMESPACE, APP, &options.range, &options.digest),
                config::receiver(NAMESPACE, RECEIVER, "distribution", "webhook-token", &[APP]),
            ]),
        )?;
        self.config.write(
            "git.yaml",
            config::documents([
                config::git_repository(NAMESPACE, FLEET, &GitServer::url_at(git, FLEET), git_secret),
                config::automation(NAMESPACE, FLEET, &options.interval, "./"),
            ]),
        )?;
        if options.notifier {
            self.config.write("notifier.yaml", config::slack_webhook(NAMESPACE, "slack", "slack-webhook"))?;
        }
        self.config.write("secrets.yaml", self.secrets())
    }

    fn secrets(&self) -> String {
        let slack = self.links.get(&Part::Slack).map_or(self.slack.address(), Link::address);
        let mut secrets = vec![
            config::secret(NAMESPACE, "webhook-token", &[("token", TOKEN)]),
            config::secret(NAMESPACE, "slack-webhook", &[("address", &Slack::webhook_url_at(slack))]),
        ];
        if let Some((user, password)) = self.registry.credentials() {
            let name = "registry-credentials";
            secrets.push(config::registry_secret(NAMESPACE, name, &self.host(), user, password));
        }
        match &self.options.git_auth {
            None => {}
            Some(GitAuth::Basic(user, password)) => {
                let values = [("username", user.as_str()), ("password", password.as_str())];
                secrets.push(config::secret(NAMESPACE, "git-credentials", &values));
            }
            Some(GitAuth::Bearer(token)) => {
                secrets.push(config::secret(NAMESPACE, "git-credentials", &[("bearerToken", token)]));
            }
        }
        config::documents(secrets)
    }
}

/// Runs a test in a world and adds the end of Windlass's log to a failure.
///
/// # Errors
/// When the world does not start, or the test fails.
pub async fn run(options: WorldOptions, test: impl AsyncFnOnce(&mut World) -> Result<()>) -> Result<()> {
    let starting = async |world: &mut World| {
        world.start_windlass().await?;
        test(world).await
    };
    run_prepared(options, starting).await
}

/// As [`run`], but Windlass is started by the test, after whatever it does before.
///
/// # Errors
/// When the world does not start, or the test fails.
pub async fn run_prepared(
    options: WorldOptions,
    test: impl AsyncFnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    let mut world = World::prepare(options).await?;
    let Err(error) = test(&mut world).await else { return Ok(()) };
    let (log, seen) = (tail(&world.log_text(), 200), world.seen_from_outside().await);
    Err(error.context(format!("Windlass's log:\n{log}\n{seen}\n")))
}

fn links(wanted: &[Part], proxy: &Proxy, git: &GitServer, slack: &Slack) -> Result<BTreeMap<Part, Link>> {
    let target = |part| match part {
        Part::Registry => proxy.address(),
        Part::Git => git.address(),
        Part::Slack => slack.address(),
    };
    wanted.iter().map(|part| Ok((*part, Link::start(target(*part))?))).collect()
}

fn host(links: &BTreeMap<Part, Link>, proxy: &Proxy) -> String {
    links.get(&Part::Registry).map_or_else(|| proxy.host(), |link| link.address().to_string())
}

fn manifest(host: &str, reference: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {APP}\nspec:\n  template:\n    spec:\n      \
         containers:\n        - name: {APP}\n          \
         image: {host}/{REPOSITORY}:{reference} # {{\"$imagepolicy\": \"{NAMESPACE}:{APP}\"}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::Match;

    #[tokio::test]
    async fn a_prepared_world_is_quiet_until_the_test_pushes() {
        let options = WorldOptions {
            digest: "IfNotPresent".to_owned(),
            registry_authentication: true,
            git_auth: Some(GitAuth::Bearer("a-token".to_owned())),
            announces: Announces::PushedManifests,
            files: vec![("other.yaml".to_owned(), "image: ${REGISTRY}/x:1\n".to_owned())],
            ..WorldOptions::default()
        };
        let world = World::prepare(options).await.unwrap();
        let hooks = world.hooks.traffic();
        assert_eq!(hooks.count(&Match::any()), 0);
        assert!(world.commits().await.unwrap().is_empty());
        let (_, first) = world.images.manifest(REPOSITORY, "1.0.0").await.unwrap();
        let first = format!("1.0.0@{}", crate::image::digest_of(&first));
        assert_eq!(world.manifest_at_head().await.unwrap(), world.expected_manifest(&first));
        let other = world.repository.show(BRANCH, "other.yaml").await.unwrap();
        assert_eq!(other, format!("image: {}/x:1\n", world.proxy.host()).as_bytes());

        let path = world.webhook_path();
        let accepted =
            hooks.answer(Match::path_ends_with(path.clone()), crate::http_server::Canned::status(200));
        world.push("1.0.1").await.unwrap();
        let event = hooks.next_after(0, &Match::path_ends_with(path), PATIENCE).await.unwrap();
        assert_eq!((event.head.headers["authorization"].to_str().unwrap(), event.status), (TOKEN, Some(200)));
        assert_eq!(accepted.hits(), 1);
    }
}
