//! Contents that the mirror left out when it was fetched: they come when they are read, many with one request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gix::ObjectId;

use super::Mirror;
use crate::error::GitError;
use crate::fetch::{Filter, Negotiation, PackStream};
use crate::id::BlobId;
use crate::store::{self, PackStore, StoreError};
use crate::transport::RemoteError;

/// Ids that one request asks for: with 50 bytes each (80 for SHA-256) well below the 10 MiB that Git's own server takes
/// (`http.maxRequestBuffer`).
const MAX_WANTS: usize = 50_000;

impl Mirror {
    /// Makes these files' contents available, with one request for all that are missing. Reading does so by itself;
    /// this is for contents that will be read one by one.
    pub async fn complete(&self, ids: &[BlobId]) -> Result<(), GitError> {
        let Some(generation) = self.current.as_ref().filter(|generation| generation.partial) else {
            return Ok(());
        };
        let store = &generation.store;
        let wanted = || ids.iter().map(|id| id.0);
        if store.missing(wanted()).is_empty() {
            return Ok(());
        }
        let _alone = self.completing.lock().await;
        let _turn = self.remote.0.bulk.turn(ids.len()).await;
        let missing: BTreeSet<ObjectId> = store.missing(wanted()).into_iter().collect();
        let missing: Vec<ObjectId> = missing.into_iter().collect();
        for batch in missing.chunks(MAX_WANTS) {
            let next = self.fetch_blobs(store, batch).await?;
            let withheld = next.missing(batch.iter().copied());
            store.adopt(&next);
            if let Some(id) = withheld.first() {
                self.distrust("it does not send them");
                return Err(StoreError::Missing(id.to_string()).into());
            }
        }
        Ok(())
    }

    async fn fetch_blobs(&self, store: &Arc<PackStore>, wants: &[ObjectId]) -> Result<PackStore, GitError> {
        let negotiation = Negotiation {
            wants: wants.to_vec(),
            haves: Vec::new(),
            shallow: Vec::new(),
            depth: 0,
            thin: false,
            filter: Filter::Blobs,
        };
        let stream = PackStream::open(&self.remote, &negotiation, self.limits.pack_bytes).await;
        let stream = stream.inspect_err(|error| {
            // Perhaps the branch was rewritten and the commit is gone; a whole mirror is right then too.
            if matches!(error, RemoteError::Server { .. }) {
                self.distrust("it refuses them");
            }
        })?;
        store::receive(Arc::clone(store), stream, false, true).await
    }

    /// The server does not keep what its filters promise: the next fetch makes a whole mirror.
    fn distrust(&self, why: &str) {
        tracing::warn!(
            url = self.remote.url(),
            "the Git server leaves out files, and {why} when they are asked for"
        );
        self.whole.store(true, Ordering::Relaxed);
        self.damaged.store(true, Ordering::Relaxed);
    }
}
