//! The trust roots of a configuration, as they are now, and how a command gets them once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use jiff::Timestamp;
use reqwest::Client;
use windlass_model::Spec;
use windlass_model::guard::TufRepository;
use windlass_verify::{FetchedRoot, FetchedRoots, NotFetched};

use crate::folder::Folder;
use crate::held::Held;
use crate::mirror::client;
use crate::refresher::look;
use crate::source::Source;

/// The last trust root of each repository, or why there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots(pub(crate) BTreeMap<Source, Result<FetchedRoot, NotFetched>>);

impl FetchedRoots for Roots {
    fn latest(&self, repository: &TufRepository, spec: &Spec) -> Result<FetchedRoot, NotFetched> {
        let source = Source::of(repository, spec).map_err(NotFetched::Unusable)?;
        self.0.get(&source).cloned().unwrap_or(Err(NotFetched::Pending))
    }
}

/// Files of earlier fetches. Each repository has a folder of its own in it.
#[derive(Debug, Clone)]
pub enum Cache {
    /// None: what is fetched is forgotten with the process.
    Nowhere,
    /// They are read, and not changed.
    Read(PathBuf),
    /// They are read and written.
    Keep(PathBuf),
}

impl Cache {
    pub(crate) fn held(&self, source: Source, now: Timestamp) -> Held {
        let folder = match self {
            Self::Nowhere => None,
            Self::Read(path) | Self::Keep(path) => Some(Folder::new(path, &source.folder())),
        };
        Held::new(source, folder, matches!(self, Self::Keep(_)), now)
    }
}

/// Fetches every trust root of a configuration once, all at the same time. A mirror that does not answer leaves what
/// the cache holds and is valid at `now`.
pub async fn fetch(spec: &Spec, cache: &Cache, now: Timestamp) -> Roots {
    let client = client();
    let fetching = Source::all(spec).into_iter().map(|source| once(source, cache, client.clone(), now));
    Roots(join_all(fetching).await.into_iter().collect())
}

/// Fetches the trust root of one repository once, as [`fetch`] does.
///
/// # Errors
/// There is none.
pub async fn fetch_one(
    repository: &TufRepository,
    spec: &Spec,
    cache: &Cache,
    now: Timestamp,
) -> Result<FetchedRoot, NotFetched> {
    let source = Source::of(repository, spec).map_err(NotFetched::Unusable)?;
    once(source, cache, client(), now).await.1
}

/// A trust root that was fetched into a folder.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Where it comes from.
    pub mirror: String,
    /// Which target it is.
    pub target: String,
    /// The name of its folder.
    pub folder: String,
    /// The root, or why there is none.
    pub root: Result<FetchedRoot, NotFetched>,
}

/// Fetches every trust root of a configuration into a folder, also where a Guard is not to ask the mirror itself.
pub async fn prepare(spec: &Spec, into: &Path, now: Timestamp) -> Vec<Prepared> {
    let (client, cache) = (client(), Cache::Keep(into.to_owned()));
    let online = Source::all(spec).into_iter().map(|mut source| {
        source.repository.offline = false;
        source
    });
    let online: BTreeSet<Source> = online.collect();
    let fetching = online.into_iter().map(|source| once(source, &cache, client.clone(), now));
    let prepared = |(source, root): (Source, _)| Prepared {
        folder: source.folder(),
        mirror: source.repository.mirror,
        target: source.repository.target,
        root,
    };
    join_all(fetching).await.into_iter().map(prepared).collect()
}

async fn once(
    source: Source,
    cache: &Cache,
    client: Result<Client, String>,
    now: Timestamp,
) -> (Source, Result<FetchedRoot, NotFetched>) {
    let mut held = cache.held(source, now);
    held.load(now).await;
    let (source, tried) = look(held.ticket(), client, now).await;
    held.conclude(tried, now, 0.0);
    (source, held.latest)
}
