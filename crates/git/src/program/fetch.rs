//! Fetching: `git fetch` into a repository of its own, from which the mirror then reads the packs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix::ObjectId;
use gix::hash::Kind as Hash;

use super::run::Finished;
use super::{Program, ProgramError, Session, blocking};
use crate::capabilities::Learn;
use crate::error::GitError;
use crate::fetch::{Boundary, Filter, Negotiation};
use crate::generation::{self, Folder, Generation, LayoutError};
use crate::remote::Remote;
use crate::store::PackStore;
use crate::transport::{RemoteError, Service};

/// Where a repository's packs are.
const PACKS: &str = "objects/pack";

impl Program {
    /// What `negotiation` asks for, added to `store`. Where there is a generation, its objects and tips are known to the
    /// server's side; without one, the `haves` are passed over.
    pub(crate) async fn fetch(
        &self,
        remote: &Remote,
        folder: &Arc<Folder>,
        generation: Option<&Generation>,
        store: Arc<PackStore>,
        negotiation: &Negotiation,
        limit: u64,
    ) -> Result<(PackStore, Boundary), GitError> {
        let session = self.session(remote, folder).await?;
        session.borrow(store.hash(), generation).await?;
        let mut finished = session.fetch(negotiation, negotiation.depth, limit).await?;
        if !finished.status.success() {
            // Old servers may not know shallow fetches, which the program insists on where they are asked for.
            let learned = remote.upload_server(Learn::IfUnknown).await;
            if learned.is_ok_and(|learned| !learned.server.shallow) {
                finished = session.fetch(negotiation, 0, limit).await?;
            }
        }
        if !finished.status.success() {
            return Err(session.failure(Service::UploadPack, finished).await.into());
        }
        let (known, path) = (negotiation.shallow.clone(), session.path().to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let boundary = boundary(&path, &known)?;
            Ok((take(&store, &path.join(PACKS), limit)?, boundary))
        });
        read.await.map_err(GitError::Task)?
    }
}

impl Session<'_> {
    /// A `depth` of 0 is all of history.
    async fn fetch(
        &self,
        negotiation: &Negotiation,
        depth: u32,
        limit: u64,
    ) -> Result<Finished, RemoteError> {
        let mut options = vec!["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
        match negotiation.filter {
            Filter::Nothing => {}
            Filter::Blobs => options.push("--filter=blob:none"),
            Filter::Trees => options.push("--filter=tree:0"),
        }
        let depth = (depth > 0).then(|| format!("--depth={depth}"));
        let wants = negotiation.wants.iter().map(ToString::to_string);
        let script =
            self.script("fetch").args(options).args(depth).args(["--", &self.program.url]).args(wants);
        script.bounded(self.path().join(PACKS), limit).run().await
    }

    /// Makes the private folder a repository that has all that the generation has.
    pub(super) async fn borrow(
        &self,
        hash: Hash,
        generation: Option<&Generation>,
    ) -> Result<(), RemoteError> {
        let path = self.path().to_owned();
        let lender = generation.map(|generation| generation.path().to_owned());
        blocking(move || Ok(generation::borrow(&path, hash, lender.as_deref())?)).await
    }
}

/// How the fetch moved the cuts of history.
fn boundary(repository: &Path, known: &[ObjectId]) -> Result<Boundary, GitError> {
    let known: BTreeSet<ObjectId> = known.iter().copied().collect();
    let now = generation::read_shallow(repository)?;
    Ok(Boundary {
        shallow: now.difference(&known).copied().collect(),
        unshallow: known.difference(&now).copied().collect(),
    })
}

/// The store with every pack of the folder.
fn take(store: &PackStore, packs: &Path, limit: u64) -> Result<PackStore, GitError> {
    let failed = |source| LayoutError::Io { path: packs.to_owned(), source };
    let mut found: Vec<PathBuf> = fs::read_dir(packs)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>())
        .map_err(failed)?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "pack"));
    let mut store = store.duplicate();
    for path in found {
        let file = File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > limit {
            return Err(RemoteError::TooLarge { limit }.into());
        }
        store = store.with_pack(&mut BufReader::new(file), false)?;
    }
    Ok(store)
}

impl From<LayoutError> for RemoteError {
    fn from(error: LayoutError) -> Self {
        ProgramError::from(error).into()
    }
}
