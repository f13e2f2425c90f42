//! Where the markers of a branch are. Known by content: a file that was read once, under any path and in any commit,
//! is not read again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use windlass_git::{Blob, BlobId, CommitId, GitError, Mirror};
use windlass_manifest::scan::{Scan, scan};
use windlass_manifest::screen;

/// Contents without markers are remembered too; past this many more than the branch has, the old ones are dropped.
const SPARE_ENTRIES: usize = 50_000;

/// The scans of the contents that a lane has seen.
#[derive(Debug, Default)]
pub(crate) struct MarkerIndex {
    scans: HashMap<BlobId, Known>,
}

/// What is known of a content.
#[derive(Debug, Clone)]
enum Known {
    NoMarkers,
    Marked(Arc<Scan>),
    TooLarge(u64),
}

/// A file with markers, as it would be after the drafts before this one.
#[derive(Debug, Clone)]
pub(crate) struct MarkedFile {
    /// Relative to the repository's root.
    pub(crate) path: Arc<str>,
    pub(crate) content: Content,
    pub(crate) scan: Arc<Scan>,
}

/// Where a file's bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// In the repository.
    Blob(BlobId),
    /// Changed by an earlier draft of the same push.
    Drafted(Arc<[u8]>),
}

/// Files that earlier drafts of the same push changed.
pub(crate) type Overlay = BTreeMap<String, Arc<[u8]>>;

/// The files with markers, and what was passed over.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub(crate) files: Vec<MarkedFile>,
    /// `file: cause`
    pub(crate) diagnostics: Vec<String>,
    /// How many files were looked at.
    pub(crate) candidates: usize,
}

impl MarkerIndex {
    /// The marked files at or below `prefix`.
    pub(crate) async fn marked(
        &mut self,
        mirror: &Mirror,
        base: CommitId,
        prefix: &str,
        overlay: &Overlay,
    ) -> Result<Marked, GitError> {
        let entries = mirror.files(base, prefix, screen::is_candidate).await?;
        let unread: Vec<BlobId> =
            entries.iter().map(|entry| entry.blob).filter(|blob| !self.scans.contains_key(blob)).collect();
        self.read(mirror, unread).await?;
        let mut marked = Marked { candidates: entries.len(), ..Marked::default() };
        for entry in &entries {
            if let Some(bytes) = overlay.get(&entry.path) {
                let scan = Arc::new(scan(bytes));
                marked.files.push(MarkedFile {
                    path: entry.path.as_str().into(),
                    content: Content::Drafted(bytes.clone()),
                    scan,
                });
                continue;
            }
            match self.scans.get(&entry.blob) {
                Some(Known::Marked(scan)) => marked.files.push(MarkedFile {
                    path: entry.path.as_str().into(),
                    content: Content::Blob(entry.blob),
                    scan: scan.clone(),
                }),
                Some(Known::TooLarge(size)) => {
                    marked.diagnostics.push(format!("{}: not read: {size} bytes are too many", entry.path));
                }
                Some(Known::NoMarkers) | None => {}
            }
        }
        if self.scans.len() > entries.len() + SPARE_ENTRIES {
            let present: std::collections::HashSet<BlobId> = entries.iter().map(|entry| entry.blob).collect();
            self.scans.retain(|blob, _| present.contains(blob));
        }
        Ok(marked)
    }

    async fn read(&mut self, mirror: &Mirror, unread: Vec<BlobId>) -> Result<(), GitError> {
        if unread.is_empty() {
            return Ok(());
        }
        let read = mirror.read_blobs(unread, Vec::new(), |read: &mut Vec<(BlobId, Known)>, id, blob| {
            let known = match blob {
                Blob::TooLarge { size } => Known::TooLarge(size),
                Blob::Content(bytes) if !screen::may_have_marker(bytes) => Known::NoMarkers,
                Blob::Content(bytes) => Known::Marked(Arc::new(scan(bytes))),
            };
            read.push((id, known));
        });
        self.scans.extend(read.await?);
        Ok(())
    }
}

impl MarkedFile {
    /// The file's bytes.
    pub(crate) async fn bytes(&self, mirror: &Mirror) -> Result<Vec<u8>, GitError> {
        match &self.content {
            Content::Blob(id) => mirror.read_blob(*id).await,
            Content::Drafted(bytes) => Ok(bytes.to_vec()),
        }
    }
}
