//! Adding a pack to the store: bytes arrive from the network or from memory, are written and indexed in one pass, and
//! a thin pack is completed with the bases that the store has.

use std::fs;
use std::io::{self, BufRead, Read};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};

use bytes::{Buf as _, Bytes};
use gix::objs::Data;
use gix::progress::Discard;
use gix::{ObjectId, oid};
use gix_pack::Bundle;
use gix_pack::bundle::write::Options;
use tokio::sync::mpsc;

use super::{PROMISED, PackStore, StoreError, io_error, load};
use crate::error::GitError;
use crate::fetch::PackStream;

/// Pieces of a pack (at most 64 KiB each) that may wait for the indexer.
const PIECES_AHEAD: usize = 16;

/// Adds the pack that the server is sending; `promised` where it leaves things out. The old store stays valid whatever
/// happens.
pub(crate) async fn receive(
    store: Arc<PackStore>,
    mut stream: PackStream,
    thin: bool,
    promised: bool,
) -> Result<PackStore, GitError> {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    let mut pieces = Pieces { receiver, current: Bytes::new() };
    let indexing = tokio::task::spawn_blocking(move || store.add(&mut pieces, thin, promised));
    let pumped = loop {
        match stream.next().await {
            Ok(Some(piece)) => {
                if sender.send(piece).await.is_err() {
                    // The indexer stopped early: its error says why.
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    drop(sender);
    let indexed = indexing.await.map_err(GitError::Task)?;
    // A broken connection is the cause of the broken pack that it leaves.
    pumped?;
    Ok(indexed?)
}

impl PackStore {
    /// A store with one more pack. `thin` allows deltas against objects of this store.
    pub(crate) fn with_pack(&self, pack: &mut dyn BufRead, thin: bool) -> Result<Self, StoreError> {
        self.add(pack, thin, false)
    }

    fn add(&self, pack: &mut dyn BufRead, thin: bool, promised: bool) -> Result<Self, StoreError> {
        let options = Options {
            thread_limit: Some(1),
            alloc_limit_bytes: Some(self.object_bytes),
            ..Options::default()
        };
        let bases = thin.then_some(Bases(self));
        let interrupt = AtomicBool::new(false);
        let folder = Some(self.folder.as_path());
        let outcome =
            Bundle::write_to_directory(pack, folder, &mut Discard, &interrupt, bases, self.hash, options)
                .map_err(|error| self.pack_error(error))?;
        // Git's marker against a concurrent `gc`; here it would only keep the pack for ever.
        if let Some(keep) = &outcome.keep_path {
            fs::remove_file(keep).map_err(|source| io_error(keep, source))?;
        }
        let mut packs = self.packs();
        if let Some(index) = &outcome.index_path
            && !packs.iter().any(|bundle| bundle.index.path() == index)
        {
            if promised {
                let marker = index.with_extension(PROMISED);
                fs::write(&marker, "").map_err(|source| io_error(&marker, source))?;
            }
            let pack = load(index, packs.len(), self.hash, self.object_bytes)?;
            Arc::make_mut(&mut packs).push(pack);
        }
        let (folder, packs) = (self.folder.clone(), RwLock::new(packs));
        Ok(Self { folder, hash: self.hash, packs, object_bytes: self.object_bytes })
    }

    fn pack_error(&self, error: gix::Error) -> StoreError {
        if error.is_resource_exhausted() {
            StoreError::PackObjectTooLarge { limit: self.object_bytes as u64 }
        } else {
            StoreError::Pack(error.into())
        }
    }
}

/// Looks up the bases of a thin pack.
struct Bases<'s>(&'s PackStore);

impl gix::objs::Find for Bases<'_> {
    fn try_find<'a>(&self, id: &oid, buffer: &'a mut Vec<u8>) -> Result<Option<Data<'a>>, gix::Error> {
        let id = ObjectId::from(id);
        let found = self.0.reader().find(&id, buffer).map_err(gix::Error::from_error)?;
        Ok(found.map(|kind| Data { kind, object_hash: self.0.hash, data: buffer }))
    }
}

/// The pack as a blocking reader. It ends when the sender is dropped, so an abandoned fetch ends the indexer too.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let size = available.len().min(out.len());
        out[..size].copy_from_slice(&available[..size]);
        self.consume(size);
        Ok(size)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece,
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}
