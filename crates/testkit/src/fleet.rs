//! A generated GitOps repository of any size: clusters, applications, and a few files that image policies mark.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::git_repository::BareRepository;
use crate::git_server::GitServer;

/// The namespace of the policies that the markers name.
pub const NAMESPACE: &str = "apps";
/// The tag that every marked place starts with.
pub const FIRST_TAG: &str = "1.0.0";
/// Entries of a generated ConfigMap: about 2 KB, the size of a usual manifest.
const CONFIG_ENTRIES: usize = 28;

/// How large, and how many places are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// Folders below `clusters`.
    pub clusters: usize,
    /// Applications in each cluster.
    pub applications: usize,
    /// Files of each application: one Deployment, the rest ConfigMaps.
    pub files_each: usize,
    /// How many Deployments carry a marker: evenly spread.
    pub marked: usize,
    /// How many policies the markers name, in turn.
    pub policies: usize,
}

impl Default for Fleet {
    /// 10,000 files with 200 markers of 200 policies.
    fn default() -> Self {
        Self { clusters: 10, applications: 100, files_each: 10, marked: 200, policies: 200 }
    }
}

impl Fleet {
    /// Makes the repository on a server, packed as a server's own maintenance would. `registry` is the host of every
    /// image.
    ///
    /// # Errors
    /// When more places are to be marked than there are Deployments, or git fails.
    pub async fn create(&self, server: &GitServer, name: &str, registry: &str) -> Result<BareRepository> {
        ensure!(self.marked <= self.deployments(), "only {} Deployments can be marked", self.deployments());
        ensure!(self.policies > 0 || self.marked == 0, "markers need a policy");
        let repository = server.create_repository(name, self.files(registry)).await?;
        repository.git(&["repack", "-a", "-d", "-q"]).await?;
        Ok(repository)
    }

    /// The name of a policy, which is also the image repository's: `app-7`.
    pub fn policy(index: usize) -> String {
        format!("app-{index}")
    }

    /// The repository of a policy's image: `fleet/app-7`.
    pub fn image_path(index: usize) -> String {
        format!("fleet/{}", Self::policy(index))
    }

    /// The paths of the marked files with the policy that each names.
    pub fn marked_files(&self) -> Vec<(String, usize)> {
        (0..self.marked)
            .map(|marker| (self.deployment_path(self.place(marker)), marker % self.policies))
            .collect()
    }

    /// The text of the marked file of this policy at this tag: what a correct edit leaves.
    pub fn marked_text(&self, path: &str, registry: &str, policy: usize, tag: &str) -> String {
        let reference = format!("{registry}/{}:{tag}", Self::image_path(policy));
        let marker = format!(" # {{\"$imagepolicy\": \"{NAMESPACE}:{}\"}}", Self::policy(policy));
        deployment(path, &reference, &marker)
    }

    fn deployments(&self) -> usize {
        self.clusters * self.applications
    }

    /// The Deployment that carries a marker.
    fn place(&self, marker: usize) -> usize {
        marker * self.deployments() / self.marked.max(1)
    }

    fn deployment_path(&self, index: usize) -> String {
        let (cluster, application) = (index / self.applications, index % self.applications);
        format!("clusters/c{cluster:02}/app-{application:03}/deployment.yaml")
    }

    /// Every file with its text.
    pub fn files(&self, registry: &str) -> Vec<(String, String)> {
        let mut files = Vec::with_capacity(self.deployments() * self.files_each);
        let mut marked = self.marked_files().into_iter().peekable();
        for index in 0..self.deployments() {
            let path = self.deployment_path(index);
            let text = match marked.next_if(|(place, _)| *place == path) {
                Some((_, policy)) => self.marked_text(&path, registry, policy, FIRST_TAG),
                None => deployment(&path, "registry.example.org/unmanaged/web:2.4.1", ""),
            };
            let folder = path.trim_end_matches("deployment.yaml").to_owned();
            files.push((path, text));
            for number in 1..self.files_each {
                let path = format!("{folder}config-{number}.yaml");
                let text = config_map(&path);
                files.push((path, text));
            }
        }
        files
    }
}

fn deployment(path: &str, image: &str, marker: &str) -> String {
    let name = path.split('/').rev().nth(1).unwrap_or("app");
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: {name}\nspec:\n  replicas: 3\n  \
         selector:\n    matchLabels:\n      app: {name}\n  template:\n    metadata:\n      labels:\n        \
         app: {name}\n    spec:\n      containers:\n        - name: app\n          image: {image}{marker}\n          \
         ports:\n            - containerPort: 8080\n          readinessProbe:\n            httpGet:\n              \
         path: /ready\n              port: 8080\n          resources:\n            requests:\n              cpu: 50m\n              \
         memory: 64Mi\n"
    )
}

/// Each value ends in digits of its own, as addresses and checksums do: text of which no two files are alike packs to a
/// third, not to nothing.
fn config_map(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".yaml");
    let mut text = format!("# {path}\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n");
    for entry in 0..CONFIG_ENTRIES {
        let own = hex::encode(&Sha256::digest(format!("{path} {entry}"))[..8]);
        writeln!(text, "  setting-{entry:02}: \"value {entry} of {path}: {own}\"")
            .expect("writing to a String");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git_repository::BRANCH;
    use crate::git_server::GitOptions;

    #[tokio::test]
    async fn the_repository_has_the_files_and_markers_that_were_asked_for() {
        let server = GitServer::start(GitOptions::default()).unwrap();
        let fleet = Fleet { clusters: 2, applications: 5, files_each: 3, marked: 4, policies: 2 };
        let repository = fleet.create(&server, "fleet", "127.0.0.1:5000").await.unwrap();

        let paths = repository.git(&["ls-tree", "-r", "--name-only", BRANCH]).await.unwrap();
        assert_eq!(paths.lines().count(), 30);
        let marked = repository.git(&["grep", "--name-only", "imagepolicy", BRANCH]).await.unwrap();
        let expected: Vec<String> =
            fleet.marked_files().iter().map(|(path, _)| format!("{BRANCH}:{path}")).collect();
        assert_eq!(marked.lines().collect::<Vec<_>>(), expected);
        for (path, policy) in fleet.marked_files() {
            let text = fleet.marked_text(&path, "127.0.0.1:5000", policy, FIRST_TAG);
            assert_eq!(repository.show(BRANCH, &path).await.unwrap(), text.as_bytes());
        }
    }

    #[tokio::test]
    async fn more_markers_than_deployments_are_refused() {
        let server = GitServer::start(GitOptions::default()).unwrap();
        let fleet = Fleet { clusters: 1, applications: 1, files_each: 1, marked: 2, policies: 1 };
        assert!(fleet.create(&server, "fleet", "127.0.0.1:5000").await.is_err());
    }
}
