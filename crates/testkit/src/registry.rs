//! The distribution registry as a child process, with notifications, authentication and deletion on request.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::folder::{Storage, fresh};
use crate::http_server::client;
use crate::image::Pusher;
use crate::process::Process;
use crate::{eventually, locate, port};

/// The user of a registry with authentication.
pub const USER: &str = "tester";
/// The user's password.
pub const PASSWORD: &str = "a password for tests";
/// bcrypt of [`PASSWORD`], the only form that distribution reads. Cost 4, the lowest, because every request pays it.
const HTPASSWD: &str = "tester:$2a$04$hwLQKQesJ.R6KIuDADXuUOd2/qxYbWiyyVWHRxLUup/KvVY5hDw1.";
/// A registry starts in well under a second; a machine that also compiles takes longer.
const START: Duration = Duration::from_secs(30);

/// How to start a registry.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Where pushes are announced.
    pub notifications: Option<Notifications>,
    /// Requires [`USER`] and [`PASSWORD`].
    pub authentication: bool,
    /// Where the images lie.
    pub storage: Storage,
    /// The program; by default what [`locate::registry`] finds.
    pub program: Option<PathBuf>,
    /// The port; by default a free one.
    pub address: Option<SocketAddr>,
}

/// One notification endpoint.
#[derive(Debug, Clone)]
pub struct Notifications {
    /// Where each event is posted to.
    pub url: String,
    /// The value of the `Authorization` header.
    pub authorization: String,
    /// Whether pulls and blobs are left out, as a registry for Windlass should be set up.
    pub only_pushed_manifests: bool,
}

/// A running registry.
pub struct Registry {
    address: SocketAddr,
    program: PathBuf,
    process: Option<Process>,
    pusher: Pusher,
    credentials: Option<(String, String)>,
    options: RegistryOptions,
    // Last, so that the files outlive the process.
    folder: TempDir,
}

impl Registry {
    /// Starts a registry and waits until it answers.
    ///
    /// # Errors
    /// When there is no registry program, or it does not answer.
    pub async fn start(options: RegistryOptions) -> Result<Self> {
        let program = match &options.program {
            Some(program) => program.clone(),
            None => locate::registry()?,
        };
        let address = match options.address {
            Some(address) => address,
            None => port::free()?,
        };
        let folder = fresh(options.storage)?;
        let credentials = options.authentication.then(|| (USER.to_owned(), PASSWORD.to_owned()));
        let pusher = Pusher::new(format!("http://{address}"), credentials.clone())?;
        let mut registry = Self { address, program, process: None, pusher, credentials, options, folder };
        registry.up().await?;
        Ok(registry)
    }

    /// `127.0.0.1:PORT`: the registry's part of an image's name.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The program that runs.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// User and password, if it wants them.
    pub fn credentials(&self) -> Option<&(String, String)> {
        self.credentials.as_ref()
    }

    /// Pushes images and deletes tags.
    pub fn images(&self) -> &Pusher {
        &self.pusher
    }

    /// Restarts the registry with another place to announce pushes to, or none.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn set_notifications(&mut self, notifications: Option<Notifications>) -> Result<()> {
        self.options.notifications = notifications;
        self.down();
        self.up().await
    }

    /// Kills the registry: connections are refused until [`Registry::up`]. Images stay.
    pub fn down(&mut self) {
        self.process = None;
    }

    /// Starts the registry again on the same port.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn up(&mut self) -> Result<()> {
        write_configuration(self.folder.path(), self.address, &self.options)?;
        let mut command = Command::new(&self.program);
        command
            .arg("serve")
            .arg(self.folder.path().join("config.yml"))
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", locate::search_path())
            // Distribution 3 sends traces to a collector on localhost unless told otherwise.
            .env("OTEL_TRACES_EXPORTER", "none");
        let mut process = Process::spawn("registry", &mut command, &self.folder.path().join("registry.log"))?;
        let (http, url) = (client()?, format!("{}/v2/", self.url()));
        let ready = eventually(START, "the registry to answer", async || {
            if let Err(ended) = process.expect_running() {
                return Ok(Some(Err(ended)));
            }
            http.get(&url).send().await?;
            Ok(Some(Ok(())))
        });
        ready.await??;
        self.process = Some(process);
        Ok(())
    }

    /// What the registry logged.
    pub fn log_text(&self) -> String {
        self.process.as_ref().map(Process::log_text).unwrap_or_default()
    }
}

fn write_configuration(folder: &Path, address: SocketAddr, options: &RegistryOptions) -> Result<()> {
    let images = folder.join("images");
    std::fs::create_dir_all(&images).context("making the registry's folder")?;
    let mut text = format!(
        "version: 0.1\n\
         log: {{level: info}}\n\
         storage:\n  \
           filesystem: {{rootdirectory: '{}'}}\n  \
           delete: {{enabled: true}}\n\
         http: {{addr: '{address}', secret: one-process-needs-no-real-secret}}\n",
        images.display()
    );
    if options.authentication {
        let path = folder.join("htpasswd");
        std::fs::write(&path, format!("{HTPASSWD}\n")).context("writing the registry's users")?;
        writeln!(text, "auth: {{htpasswd: {{realm: test, path: '{}'}}}}", path.display())
            .expect("writing to a String");
    }
    if let Some(Notifications { url, authorization, only_pushed_manifests }) = &options.notifications {
        let ignore = match only_pushed_manifests {
            true => ", ignore: {actions: [pull, mount, delete], mediatypes: [application/octet-stream]}",
            false => "",
        };
        // A second's timeout, and a second's wait after failures, are what distribution's documentation shows.
        writeln!(
            text,
            "notifications: {{endpoints: [{{name: windlass, url: '{url}', timeout: 1s, threshold: 5, backoff: 1s, \
             headers: {{Authorization: ['{authorization}']}}{ignore}}}]}}"
        )
        .expect("writing to a String");
    }
    std::fs::write(folder.join("config.yml"), text).context("writing the registry's configuration")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_fault::{Proxy, manifest, tag_lists};
    use crate::http_server::Canned;
    use crate::traffic::Match;

    const SOON: Duration = Duration::from_secs(30);

    async fn tags(base: &str, repository: &str) -> Vec<String> {
        let url = format!("{base}/v2/{repository}/tags/list");
        let text = client().unwrap().get(url).send().await.unwrap().text().await.unwrap();
        let list: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        serde_json::from_value(list["tags"].clone()).unwrap_or_default()
    }

    #[tokio::test]
    async fn images_indexes_and_tags_survive_a_restart() {
        let mut registry = Registry::start(RegistryOptions::default()).await.unwrap();
        let images = registry.images().clone();
        let first = images.push("team/app", "1.0.0", "one").await.unwrap();
        assert_eq!(images.push("team/app", "1.0.1", "one").await.unwrap(), first, "the seed decides");
        let index = images.push_index("team/app", "2.0.0", "two", &["amd64", "arm64"]).await.unwrap();
        assert_ne!(index, first);
        images.tag("team/app", "2.0.0", "latest").await.unwrap();
        images.delete_tag("team/app", "1.0.1").await.unwrap();
        let (_, manifest) = images.manifest("team/app", "latest").await.unwrap();
        assert_eq!(crate::image::digest_of(&manifest), index);

        registry.down();
        assert!(images.push("team/app", "3.0.0", "three").await.is_err());
        registry.up().await.unwrap();
        let tags = tags(&registry.url(), "team/app").await;
        assert!(tags.contains(&"2.0.0".to_owned()) && !tags.contains(&"1.0.1".to_owned()), "{tags:?}");
    }

    #[tokio::test]
    async fn authentication_is_required_when_asked_for() {
        let options = RegistryOptions { authentication: true, ..RegistryOptions::default() };
        let registry = Registry::start(options).await.unwrap();
        registry.images().push("team/app", "1.0.0", "one").await.unwrap();
        let anonymous = Pusher::new(registry.url(), None).unwrap();
        let error = anonymous.push("team/app", "1.0.1", "two").await.unwrap_err();
        assert!(format!("{error:#}").contains("401"), "{error:#}");
    }

    #[tokio::test]
    async fn pushes_are_announced_with_the_token() {
        let receiver = Proxy::start("http://127.0.0.1:9").unwrap();
        let _accepts = receiver.traffic().answer(Match::any(), Canned::status(202));
        let url = format!("{}/hook/secret", receiver.url());
        let notifications =
            Notifications { url, authorization: "a-token".to_owned(), only_pushed_manifests: false };
        let options = RegistryOptions { notifications: Some(notifications), ..RegistryOptions::default() };
        let registry = Registry::start(options).await.unwrap();
        let mark = receiver.traffic().mark();
        registry.images().push("team/app", "1.0.0", "one").await.unwrap();
        let event = receiver.traffic().next_after(mark, &Match::path_contains("/hook/"), SOON).await.unwrap();
        assert_eq!(event.head.headers["authorization"], "a-token");
        assert_eq!(event.status, Some(202));
    }

    #[tokio::test]
    async fn the_proxy_passes_on_and_lies_on_demand() {
        let registry = Registry::start(RegistryOptions::default()).await.unwrap();
        let proxy = Proxy::start(registry.url()).unwrap();
        let images = Pusher::new(proxy.url(), None).unwrap();
        let digest = images.push("team/app", "1.0.0", "one").await.unwrap();
        assert_eq!(tags(&proxy.url(), "team/app").await, ["1.0.0"]);
        assert_eq!(crate::image::digest_of(&images.manifest("team/app", "1.0.0").await.unwrap().1), digest);
        assert_eq!(proxy.traffic().count(&manifest("1.0.0")), 1, "a push is not a read");

        let endless = proxy.endless_tag_lists();
        assert_eq!(tags(&proxy.url(), "team/app").await.len(), 1000);
        endless.lift();
        let enormous = proxy.enormous_manifests(1_000_000);
        assert!(images.manifest("team/app", "1.0.0").await.unwrap().1.len() >= 1_000_000);
        enormous.lift();
        let _unavailable = proxy.traffic().answer(tag_lists(), Canned::status(503));
        assert!(tags(&proxy.url(), "team/app").await.is_empty());
    }
}
