//! Many images with a manifest each in one Git repository, and an automation each: so every decision is a commit of its
//! own, and decisions can be counted from outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::history::{Entry, entries};
use crate::config::{self, ConfigFolder};
use crate::event::Push;
use crate::git_repository::BareRepository;
use crate::git_server::{GitOptions, GitServer};
use crate::http_fault::Proxy;
use crate::port;
use crate::registry::{Registry, RegistryOptions};
use crate::sender::announcement;
use crate::slack::Slack;
use crate::windlass::WindlassOptions;

const NAMESPACE: &str = "apps";
const ESTATE: &str = "estate";
const RECEIVER: &str = "registry";
const TOKEN: &str = "webhook-token-for-estates";

/// How large it is.
#[derive(Debug, Clone)]
pub struct EstateOptions {
    /// Images, manifests, policies and automations.
    pub images: usize,
    /// Between two polls of an image.
    pub interval: String,
    /// The registry's program; by default what `locate::registry` finds.
    pub registry_program: Option<PathBuf>,
}

/// The servers with everything that `windlass run` needs to work on them.
pub struct Estate {
    /// The registry, where releases are pushed.
    pub registry: Registry,
    /// Stands between Windlass and the registry: its address is the images' host.
    pub proxy: Proxy,
    /// The Git server.
    pub git: GitServer,
    /// The repository on it.
    pub repository: BareRepository,
    /// Where commits are told.
    pub slack: Slack,
    config: ConfigFolder,
    images: usize,
}

/// The event of a release, or of an older one again.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The delivery's id.
    pub id: &'a str,
    /// The number of the image.
    pub image: usize,
    /// The number of its release.
    pub release: usize,
    /// What the registry has there.
    pub digest: &'a str,
}

/// The tag of an image's release with this number. Later ones are higher.
pub(super) fn tag(release: usize) -> String {
    format!("1.{release}.0")
}

fn name(image: usize) -> String {
    format!("app-{image}")
}

fn image_path(image: usize) -> String {
    format!("{ESTATE}/{}", name(image))
}

impl Estate {
    /// Starts the servers. Each image has its release 0, in the registry and in Git.
    ///
    /// # Errors
    /// When anything does not start.
    pub async fn start(options: EstateOptions) -> Result<Self> {
        let EstateOptions { images, interval, registry_program } = options;
        let options = RegistryOptions { program: registry_program, ..RegistryOptions::default() };
        let registry = Registry::start(options).await?;
        let proxy = Proxy::start(registry.url())?;
        for image in 0..images {
            registry.images().push(&image_path(image), &tag(0), &tag(0)).await?;
        }
        let host = proxy.host();
        let git = GitServer::start(GitOptions::default())?;
        let files = (0..images).map(|image| {
            let (name, path) = (name(image), image_path(image));
            let marker = format!("{{\"$imagepolicy\": \"{NAMESPACE}:{name}\"}}");
            (
                format!("apps/{name}/app.yaml"),
                format!("name: {name}\nimage: {host}/{path}:{} # {marker}\n", tag(0)),
            )
        });
        let repository = git.create_repository(ESTATE, files).await?;
        let slack = Slack::start()?;
        let config = ConfigFolder::new()?;
        let estate = Self { registry, proxy, git, repository, slack, config, images };
        estate.configure(&interval)?;
        Ok(estate)
    }

    fn configure(&self, interval: &str) -> Result<()> {
        let (host, names) = (self.proxy.host(), (0..self.images).map(name).collect::<Vec<_>>());
        let applications = names.iter().enumerate().flat_map(|(image, name)| {
            let location = format!("{host}/{}", image_path(image));
            [
                config::image_repository(NAMESPACE, name, &location, interval, None),
                config::image_policy(NAMESPACE, name, ">=1.0.0", "Never"),
                config::automation_of(NAMESPACE, name, ESTATE, interval, &format!("./apps/{name}")),
            ]
        });
        self.config.write("applications.yaml", config::documents(applications))?;
        let listed: Vec<&str> = names.iter().map(String::as_str).collect();
        let shared = [
            config::git_repository(NAMESPACE, ESTATE, &self.git.url(ESTATE), None),
            config::receiver(NAMESPACE, RECEIVER, "distribution", "webhook-token", &listed),
            config::secret(NAMESPACE, "webhook-token", &[("token", TOKEN)]),
            config::slack_webhook(NAMESPACE, "slack", "slack-webhook"),
            config::secret(NAMESPACE, "slack-webhook", &[("address", &self.slack.webhook_url())]),
        ];
        self.config.write("shared.yaml", config::documents(shared))
    }

    /// How many images there are.
    pub fn images(&self) -> usize {
        self.images
    }

    /// How Windlass is started on it, with a folder and a log of its own.
    ///
    /// # Errors
    /// When no port is free.
    pub fn windlass(&self, data: &Path, log: PathBuf) -> Result<WindlassOptions> {
        Ok(WindlassOptions {
            config: self.config.path().to_owned(),
            data: data.to_owned(),
            listen: port::free()?,
            admin_listen: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            log,
            program: None,
            joins: None,
        })
    }

    /// Pushes a release to the registry and gives its digest.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn release(&self, image: usize, release: usize) -> Result<String> {
        self.registry.images().push(&image_path(image), &tag(release), &tag(release)).await
    }

    /// Deletes a release from the registry.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn withdraw(&self, image: usize, release: usize) -> Result<()> {
        self.registry.images().delete_tag(&image_path(image), &tag(release)).await
    }

    /// The registry's notification of a release, as the bytes of a request to any door.
    pub fn announcement(&self, door: SocketAddr, event: Event<'_>) -> Vec<u8> {
        let (host, repository, tag) = (self.proxy.host(), image_path(event.image), tag(event.release));
        let push = Push {
            id: event.id,
            host: &host,
            repository: &repository,
            tag: Some(&tag),
            digest: event.digest,
        };
        announcement(door, &config::webhook_path(TOKEN, RECEIVER, NAMESPACE), TOKEN, &push)
    }

    /// The commits of the branch, oldest first, without the one that it began with.
    ///
    /// # Errors
    /// When git fails.
    pub async fn history(&self) -> Result<Vec<Entry>> {
        let mut all = entries(&self.repository, crate::git_repository::BRANCH).await?;
        all.remove(0);
        Ok(all)
    }
}

/// The image that a request of the registry is about: `/v2/estate/app-3/tags/list`.
pub(super) fn image_of(path: &str) -> Option<usize> {
    let (_, rest) = path.split_once("/estate/app-")?;
    rest.split('/').next()?.parse().ok()
}

/// The image and the release that a line of a manifest names: `image: HOST/estate/app-3:1.7.0 # …`.
pub(super) fn placed(line: &str) -> Option<(usize, usize)> {
    let (_, rest) = line.strip_prefix("image: ")?.split_once("/estate/app-")?;
    let (image, tag) = rest.split_whitespace().next()?.split_once(':')?;
    let release = tag.strip_prefix("1.")?.strip_suffix(".0")?;
    Some((image.parse().ok()?, release.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_manifest_names_image_and_release() {
        let marker = "# {\"$imagepolicy\": \"apps:app-3\"}";
        let line = format!("image: 127.0.0.1:20000/{}:{} {marker}", image_path(3), tag(7));
        assert_eq!(placed(&line), Some((3, 7)));
        for other in ["name: app-3", "image: 127.0.0.1:20000/estate/app-3", "image: x/estate/app-3:latest #"]
        {
            assert_eq!(placed(other), None, "{other}");
        }
        assert_eq!(image_of(&format!("/v2/{}/tags/list", image_path(12))), Some(12));
        assert_eq!(image_of("/v2/"), None);
    }
}
