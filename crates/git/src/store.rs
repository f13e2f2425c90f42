//! The object store of a mirror: a folder of packs with their indices, and nothing else. Reading checks every
//! object's hash, so that damage is found where it is, and never handed on.
//!
//! Packs are only added: a new store shares the old one's packs, and a reader sees those of the moment when it was made.

mod cache;
mod ingest;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use gix::ObjectId;
use gix::hash::Kind as Hash;
use gix::objs::Kind;
use gix::zlib::Inflate;
use gix_pack::Bundle;

use self::cache::DeltaCache;
pub(crate) use self::ingest::receive;
use crate::id::BlobId;

/// Bytes of decoded objects that one reading operation may keep as delta bases. A fresh snapshot's deltas follow their
/// bases closely, so this holds every base that is still needed.
const DELTA_CACHE: usize = 16 << 20;

/// The extension of Git's marker of a pack whose server promised what the pack refers to and leaves out.
const PROMISED: &str = "promisor";

/// What gix reports, without its type.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong with stored objects.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The commit was never fetched.
    #[error("commit {0} is not in the mirror: fetch it first")]
    NotFetched(String),
    /// An object that must be there is not.
    #[error("the mirror lacks object {0}")]
    Missing(String),
    /// An object's content is not what its id promises.
    #[error("the mirror's object {id} is damaged")]
    Damaged {
        /// The object.
        id: String,
        /// What was noticed, where decoding failed; absent where the content has another hash.
        #[source]
        source: Option<Cause>,
    },
    /// A pack from the server, or from ourselves, cannot be indexed.
    #[error("a pack cannot be read")]
    Pack(#[source] Cause),
    /// A pack's index cannot be opened.
    #[error("the mirror's pack {} cannot be opened", path.display())]
    Open {
        /// The index file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Larger than allowed.
    #[error("object {id} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The object.
        id: String,
        /// Bytes.
        size: u64,
        /// Bytes.
        limit: u64,
    },
    /// An object in a pack exceeds the limit, before its id is known.
    #[error("a pack holds an object that needs more than the limit of {limit} bytes")]
    PackObjectTooLarge {
        /// Bytes.
        limit: u64,
    },
    /// Deeper or wider than any repository that people make.
    #[error("the tree has more than {limit} {what}")]
    TreeTooLarge {
        /// `files` or `levels of folders`.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// The file system refuses.
    #[error("the mirror's folder {} cannot be read or written", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the mirror itself is damaged, so that only a fresh one helps.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Damaged { .. } | Self::Pack(_) | Self::Open { .. })
    }
}

/// A file's content, or why it is withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blob<'a> {
    /// The bytes.
    Content(&'a [u8]),
    /// The file exceeds `Limits::blob_bytes`.
    TooLarge {
        /// Bytes.
        size: u64,
    },
}

/// Oldest first.
type Packs = Arc<Vec<Arc<Bundle>>>;

/// The packs of one mirror generation.
pub(crate) struct PackStore {
    folder: PathBuf,
    hash: Hash,
    packs: RwLock<Packs>,
    /// Largest allocation that decoding one object may make.
    object_bytes: usize,
}

/// An object's place: the pack's position in the store, and the object's in the pack's index.
#[derive(Debug, Clone, Copy)]
struct Place {
    pack: usize,
    entry: u32,
}

impl PackStore {
    /// Opens the folder and removes what an interrupted process may have left in it.
    pub(crate) fn open(folder: &Path, hash: Hash, object_bytes: usize) -> Result<Self, StoreError> {
        let mut packs = Vec::new();
        for name in sweep(folder).map_err(|source| io_error(folder, source))? {
            packs.push(load(&folder.join(name), packs.len(), hash, object_bytes)?);
        }
        Ok(Self { folder: folder.to_owned(), hash, packs: RwLock::new(Arc::new(packs)), object_bytes })
    }

    pub(crate) fn hash(&self) -> Hash {
        self.hash
    }

    pub(crate) fn pack_count(&self) -> usize {
        self.packs().len()
    }

    pub(crate) fn contains(&self, id: &ObjectId) -> bool {
        place(&self.packs(), id).is_some()
    }

    /// The ids of those objects that are not here.
    pub(crate) fn missing(&self, ids: impl IntoIterator<Item = ObjectId>) -> Vec<ObjectId> {
        let packs = self.packs();
        ids.into_iter().filter(|id| place(&packs, id).is_none()).collect()
    }

    /// Another store of the same packs.
    pub(crate) fn duplicate(&self) -> Self {
        let packs = RwLock::new(self.packs());
        Self { folder: self.folder.clone(), hash: self.hash, packs, object_bytes: self.object_bytes }
    }

    /// Takes over the packs of a store that was made from this one.
    pub(crate) fn adopt(&self, next: &Self) {
        *self.packs.write().unwrap_or_else(PoisonError::into_inner) = next.packs();
    }

    fn packs(&self) -> Packs {
        Arc::clone(&self.packs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A reader with buffers of its own, for one operation.
    pub(crate) fn reader(&self) -> Reader<'_> {
        let (inflate, cache) = (Inflate::default(), DeltaCache::new(DELTA_CACHE));
        Reader { store: self, packs: self.packs(), inflate, cache }
    }

    /// Visits blobs in the order in which they are stored, so that deltas find their bases decoded. Duplicates are
    /// visited once each.
    pub(crate) fn visit_blobs(
        &self,
        ids: &[BlobId],
        limit: u64,
        mut visit: impl FnMut(BlobId, Blob<'_>),
    ) -> Result<(), StoreError> {
        let mut reader = self.reader();
        let mut places = Vec::with_capacity(ids.len());
        for id in ids {
            let place = place(&reader.packs, &id.0).ok_or_else(|| StoreError::Missing(id.to_string()))?;
            let offset = reader.packs[place.pack].index.pack_offset_at_index(place.entry);
            places.push((place.pack, offset, place, *id));
        }
        places.sort_unstable_by_key(|(pack, offset, ..)| (*pack, *offset));
        let mut content = Vec::new();
        for (_, _, place, id) in places {
            let kind = reader.read_at(place, &id.0, &mut content)?;
            expect_kind(&id.0, kind, Kind::Blob)?;
            let size = content.len() as u64;
            visit(id, if size > limit { Blob::TooLarge { size } } else { Blob::Content(&content) });
        }
        Ok(())
    }
}

fn place(packs: &[Arc<Bundle>], id: &ObjectId) -> Option<Place> {
    // The newest packs hold what the branch's tip changed last, so they are asked first.
    let find =
        |(pack, bundle): (usize, &Arc<Bundle>)| bundle.index.lookup(id).map(|entry| Place { pack, entry });
    packs.iter().enumerate().rev().find_map(find)
}

/// Opens a pack that becomes the store's `number`th.
fn load(index: &Path, number: usize, hash: Hash, object_bytes: usize) -> Result<Arc<Bundle>, StoreError> {
    let mut bundle = Bundle::at(index, hash)
        .map_err(|source| StoreError::Open { path: index.to_owned(), source: source.into() })?;
    // The number by which the delta cache knows the pack: its place in this store and in all that follow.
    bundle.pack.id = u32::try_from(number).expect("a mirror is rebuilt long before 2^32 packs");
    bundle.pack = bundle.pack.with_alloc_limit_bytes(Some(object_bytes));
    Ok(Arc::new(bundle))
}

/// Reads objects of one store.
pub(crate) struct Reader<'s> {
    store: &'s PackStore,
    packs: Packs,
    inflate: Inflate,
    cache: DeltaCache,
}

impl<'s> Reader<'s> {
    pub(crate) fn store(&self) -> &'s PackStore {
        self.store
    }

    /// Reads an object that must be of the given kind into `out`.
    pub(crate) fn read(&mut self, id: &ObjectId, kind: Kind, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let found = self.find(id, out)?.ok_or_else(|| StoreError::Missing(id.to_string()))?;
        expect_kind(id, found, kind)
    }

    /// Reads any object into `out`; `None` where there is no such object.
    pub(crate) fn find(&mut self, id: &ObjectId, out: &mut Vec<u8>) -> Result<Option<Kind>, StoreError> {
        match place(&self.packs, id) {
            Some(place) => self.read_at(place, id, out).map(Some),
            None => Ok(None),
        }
    }

    fn read_at(&mut self, place: Place, id: &ObjectId, out: &mut Vec<u8>) -> Result<Kind, StoreError> {
        let damaged = |source| StoreError::Damaged { id: id.to_string(), source };
        let bundle = &self.packs[place.pack];
        let (data, _) = bundle
            .get_object_by_index(place.entry, out, &mut self.inflate, &mut self.cache)
            .map_err(|source| damaged(Some(source.into())))?;
        let kind = data.kind;
        let actual =
            hash_object(self.store.hash, kind, data.data).map_err(|source| damaged(Some(source.into())))?;
        if actual == *id { Ok(kind) } else { Err(damaged(None)) }
    }
}

/// The id of an object with this content.
pub(crate) fn hash_object(hash: Hash, kind: Kind, content: &[u8]) -> Result<ObjectId, gix::Error> {
    gix::objs::compute_hash(hash, kind, content)
}

/// The names of the indices that have their pack, oldest first. Everything else in the folder is removed: this program
/// alone writes there, and holds the mirror's lock.
fn sweep(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut indices = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let partner = match path.extension().and_then(|e| e.to_str()) {
            Some("idx") => path.with_extension("pack"),
            Some("pack" | PROMISED) => path.with_extension("idx"),
            _ => PathBuf::new(),
        };
        if !partner.is_file() {
            fs::remove_file(&path)?;
        } else if path.extension().is_some_and(|e| e == "idx") {
            indices.push((entry.metadata()?.modified()?, entry.file_name()));
        }
    }
    indices.sort();
    Ok(indices.into_iter().map(|(_, name)| name).collect())
}

fn expect_kind(id: &ObjectId, found: Kind, expected: Kind) -> Result<(), StoreError> {
    if found == expected { Ok(()) } else { Err(StoreError::Damaged { id: id.to_string(), source: None }) }
}

pub(crate) fn io_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { path: path.to_owned(), source }
}
