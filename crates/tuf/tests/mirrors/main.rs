//! Mirrors over HTTP that want an old, a forged or an endless trust root believed, folders that were tampered with, and
//! mirrors that are down.

mod attacks;
mod cache;
mod refreshing;

use std::path::Path;

use anyhow::{Result, bail, ensure};
use jiff::Timestamp;
use tempfile::TempDir;
use windlass_model::Spec;
use windlass_model::guard::{TufAnchor, TufRepository as Configured};
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::sigstore::Sigstore;
use windlass_testkit::tuf::TufRepository;
use windlass_tuf::{Cache, fetch_one};
use windlass_verify::{FetchedRoot, NotFetched, TrustRoot};

/// Before anything expires.
const NOW: &str = "2030-01-01T00:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().expect("a test states a valid time")
}

/// A repository, three trust roots for it, and a folder for what is fetched.
struct Setting {
    repository: TufRepository,
    /// The first of them is published.
    roots: [String; 3],
    folder: TempDir,
}

impl Setting {
    fn new() -> Result<Self> {
        let roots = roots()?;
        let repository = TufRepository::start(&roots[0])?;
        Ok(Self { repository, roots, folder: fresh(Storage::Memory)? })
    }

    fn configured(&self) -> Configured {
        configured(&self.repository)
    }

    fn keep(&self) -> Cache {
        Cache::Keep(self.folder.path().to_owned())
    }

    /// The folder of the only repository that was fetched.
    fn files(&self) -> Result<std::path::PathBuf> {
        let mut folders = std::fs::read_dir(self.folder.path())?;
        match (folders.next(), folders.next()) {
            (Some(folder), None) => Ok(folder?.path()),
            _ => bail!("there is not exactly one folder"),
        }
    }

    /// Fetches as a process does that starts at this time.
    async fn fetch(&self, now: &str) -> Result<FetchedRoot, NotFetched> {
        fetch_one(&self.configured(), &Spec::default(), &self.keep(), time(now)).await
    }

    /// The first fetch of all.
    async fn begin(&self) -> Result<()> {
        self.is(&self.fetch(NOW).await?, 0)
    }

    /// Whether it is this one of the roots, freshly fetched.
    fn is(&self, fetched: &FetchedRoot, root: usize) -> Result<()> {
        ensure!(fetched.failure.is_none(), "{fetched:?}");
        ensure!(fetched.root == TrustRoot::from_json(&self.roots[root])?, "{fetched:?}");
        Ok(())
    }

    /// Whether the mirror was refused, for this reason, and the root that was known before stays.
    async fn keeps(&self, root: usize, why: &str) -> Result<()> {
        let fetched = self.fetch(NOW).await?;
        ensure!(fetched.root == TrustRoot::from_json(&self.roots[root])?, "{fetched:?}");
        let failure = fetched.failure.unwrap_or_default();
        ensure!(failure.contains(why), "`{failure}` instead of `{why}`");
        Ok(())
    }

    /// Whether there is no root at this time, for this reason.
    async fn has_none(&self, now: &str, why: &str) -> Result<()> {
        none(self.fetch(now).await, why)
    }
}

fn none(fetched: Result<FetchedRoot, NotFetched>, why: &str) -> Result<()> {
    match fetched {
        Err(NotFetched::Failed(failure)) => {
            ensure!(failure.contains(why), "`{failure}` instead of `{why}`");
            Ok(())
        }
        other => bail!("{other:?}"),
    }
}

fn configured(repository: &TufRepository) -> Configured {
    Configured {
        mirror: repository.url(),
        anchor: TufAnchor::Inline(repository.first_root().to_owned()),
        target: Configured::TRUSTED_ROOT.to_owned(),
        refresh_interval: Configured::REFRESH_INTERVAL,
        offline: false,
    }
}

/// Three different trust roots.
fn roots() -> Result<[String; 3]> {
    let mut root = Sigstore::start()?.trusted_root();
    Ok(["one", "two", "three"].map(|name| {
        root["certificateAuthorities"][0]["uri"] = format!("https://{name}.test").into();
        root.to_string()
    }))
}

/// Puts a file into a folder, whatever stood there.
fn overwrite(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    Ok(std::fs::write(folder.join(name), bytes)?)
}
