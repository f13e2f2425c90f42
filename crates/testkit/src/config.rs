//! A configuration directory and the documents that tests put there.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::folder::{Storage, fresh};

/// A directory for `--config`.
#[derive(Debug)]
pub struct ConfigFolder {
    folder: TempDir,
}

impl ConfigFolder {
    /// An empty one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        Ok(Self { folder: fresh(Storage::Memory)? })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of documents at once: a reader sees the old file or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &str, documents: impl AsRef<str>) -> Result<()> {
        let mut written = tempfile::NamedTempFile::new_in(self.path()).context("making a file")?;
        std::io::Write::write_all(&mut written, documents.as_ref().as_bytes()).context("writing a file")?;
        written.persist(self.path().join(file)).with_context(|| format!("writing {file}"))?;
        Ok(())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&self, file: &str) -> Result<()> {
        std::fs::remove_file(self.path().join(file)).with_context(|| format!("removing {file}"))
    }
}

/// The webhook path of a Receiver: `/hook/<hex sha256(token + name + namespace)>`, as Flux's notification-controller
/// 1.9 makes it.
pub fn webhook_path(token: &str, name: &str, namespace: &str) -> String {
    format!("/hook/{}", hex::encode(Sha256::digest(format!("{token}{name}{namespace}"))))
}

/// Several documents as one file.
pub fn documents<D: AsRef<str>>(documents: impl IntoIterator<Item = D>) -> String {
    documents.into_iter().fold(String::new(), |mut file, document| {
        write!(file, "---\n{}", document.as_ref()).expect("writing to a String");
        file
    })
}

/// An ImageRepository of a registry without TLS. `secret` names a Secret with credentials.
pub fn image_repository(
    namespace: &str,
    name: &str,
    image: &str,
    interval: &str,
    secret: Option<&str>,
) -> String {
    let secret = secret.map(|name| format!("  secretRef:\n    name: {name}\n")).unwrap_or_default();
    format!(
        "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\n{}spec:\n  image: {image}\n  \
         interval: {interval}\n  insecure: true\n{secret}",
        metadata(namespace, name)
    )
}

/// An ImagePolicy with a semver range, for the ImageRepository of the same name. `digest` is its
/// `digestReflectionPolicy`: `Never`, `IfNotPresent`, or `Always`, with an hour's interval.
pub fn image_policy(namespace: &str, name: &str, range: &str, digest: &str) -> String {
    let interval = if digest == "Always" { "  interval: 1h\n" } else { "" };
    format!(
        "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\n{}spec:\n  imageRepositoryRef:\n    \
         name: {name}\n  policy:\n    semver:\n      range: '{range}'\n  digestReflectionPolicy: {digest}\n\
         {interval}",
        metadata(namespace, name)
    )
}

/// A GitRepository on the branch `main`. `secret` names a Secret with credentials.
pub fn git_repository(namespace: &str, name: &str, url: &str, secret: Option<&str>) -> String {
    let secret = secret.map(|name| format!("  secretRef:\n    name: {name}\n")).unwrap_or_default();
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\n{}spec:\n  interval: 1h\n  url: {url}\n  \
         ref:\n    branch: main\n{secret}",
        metadata(namespace, name)
    )
}

/// An ImageUpdateAutomation that writes everything below `path` of the GitRepository of the same name.
pub fn automation(namespace: &str, name: &str, interval: &str, path: &str) -> String {
    automation_of(namespace, name, name, interval, path)
}

/// As [`automation`], of a GitRepository of another name.
pub fn automation_of(namespace: &str, name: &str, repository: &str, interval: &str, path: &str) -> String {
    format!(
        "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageUpdateAutomation\n{}spec:\n  interval: {interval}\n  \
         sourceRef:\n    kind: GitRepository\n    name: {repository}\n  git:\n    checkout:\n      ref:\n        \
         branch: main\n    commit:\n      author:\n        name: Windlass\n        email: windlass@example.org\n    \
         push:\n      branch: main\n  update:\n    strategy: Setters\n    path: {path}\n",
        metadata(namespace, name)
    )
}

/// A Receiver of this type, for these ImageRepositories. `secret` names a Secret with the key `token`.
pub fn receiver(namespace: &str, name: &str, sender: &str, secret: &str, repositories: &[&str]) -> String {
    let mut text = format!(
        "apiVersion: notification.toolkit.fluxcd.io/v1\nkind: Receiver\n{}spec:\n  type: {sender}\n  secretRef:\n    \
         name: {secret}\n  resources:\n",
        metadata(namespace, name)
    );
    for repository in repositories {
        writeln!(text, "  - kind: ImageRepository\n    name: {repository}").expect("writing to a String");
    }
    text
}

/// One more ImageRepository of a Receiver, at the end of its document.
pub fn and_repository(receiver: &mut String, namespace: &str, name: &str) {
    writeln!(receiver, "  - kind: ImageRepository\n    name: {name}\n    namespace: {namespace}")
        .expect("writing to a String");
}

/// A Notifier to an incoming webhook of Slack. `secret` names a Secret with the key `address`.
pub fn slack_webhook(namespace: &str, name: &str, secret: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Notifier\n{}spec:\n  slack:\n    webhook:\n      secretRef:\n        \
         name: {secret}\n",
        metadata(namespace, name)
    )
}

/// A Notifier by Slack's bot API. `secret` names a Secret with the key `token`.
pub fn slack_bot(namespace: &str, name: &str, secret: &str, channel: &str, api_url: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Notifier\n{}spec:\n  slack:\n    bot:\n      secretRef:\n        \
         name: {secret}\n      channel: '{channel}'\n      apiURL: {api_url}\n",
        metadata(namespace, name)
    )
}

/// A Secret with these values. They must not contain single quotes or line ends.
pub fn secret(namespace: &str, name: &str, values: &[(&str, &str)]) -> String {
    let mut text = format!("apiVersion: v1\nkind: Secret\n{}stringData:\n", metadata(namespace, name));
    for (key, value) in values {
        writeln!(text, "  {key}: '{value}'").expect("writing to a String");
    }
    text
}

/// A Secret for Git over SSH, in Flux's shape.
pub fn ssh_secret(namespace: &str, name: &str, identity: &str, known_hosts: &str) -> String {
    // What JSON quotes, YAML reads.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "apiVersion: v1\nkind: Secret\n{}stringData:\n  identity: {}\n  known_hosts: {}\n",
        metadata(namespace, name),
        quoted(identity),
        quoted(known_hosts)
    )
}

/// A Secret with a user's credentials for one registry, as `kubectl create secret docker-registry` makes it.
pub fn registry_secret(namespace: &str, name: &str, host: &str, user: &str, password: &str) -> String {
    let value = serde_json::json!({"auths": {host: {"username": user, "password": password}}}).to_string();
    format!(
        "apiVersion: v1\nkind: Secret\n{}type: kubernetes.io/dockerconfigjson\nstringData:\n  \
         .dockerconfigjson: '{value}'\n",
        metadata(namespace, name)
    )
}

fn metadata(namespace: &str, name: &str) -> String {
    format!("metadata:\n  name: {name}\n  namespace: {namespace}\n")
}
