//! Where the markers and the declared places of a branch are. Known by content: a file that was read once, under any path
//! and in any commit, is not read again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use windlass_git::{Blob, BlobId, CommitId, GitError, Mirror, StoreError};
use windlass_manifest::{Refusal, Scan, Standing, scan, scan_template, screen};

use crate::wanted::{Declared, Wanted};

/// Contents without markers are remembered too; past this many more than the branch has, the old ones are dropped.
const SPARE_ENTRIES: usize = 50_000;
/// Declared places that are remembered; past this many they are read anew.
const MAX_STANDING: usize = 10_000;

/// Automations whose look is remembered; a lane with more looks again.
const MAX_LOOKS: usize = 256;

/// What automations wanted, and what was found for them.
type Looks = Vec<(Wanted, Arc<Marked>)>;

/// What is known of the contents that a lane has seen.
#[derive(Debug, Default)]
pub(crate) struct MarkerIndex {
    scans: HashMap<BlobId, Known>,
    /// The same of files that were read as Helm templates.
    templates: HashMap<BlobId, Known>,
    standing: HashMap<(BlobId, Declared), Result<Standing, Refusal>>,
    /// What was found at the head that was looked at last: a look that finds it unmoved lists nothing.
    last: Option<(CommitId, Looks)>,
}

/// What is known of a content.
#[derive(Debug, Clone)]
enum Known {
    NoMarkers,
    Marked(Arc<Scan>),
    TooLarge(u64),
}

/// A file with places, as it would be after the drafts before this one.
#[derive(Debug, Clone)]
pub(crate) struct MarkedFile {
    /// Relative to the repository's root.
    pub(crate) path: Arc<str>,
    pub(crate) content: Content,
    /// Its markers.
    pub(crate) scan: Arc<Scan>,
    /// Whether they were read line by line.
    pub(crate) template: bool,
    /// Its places without a marker.
    pub(crate) declared: Vec<DeclaredPlace>,
}

/// A place without a marker, and what stands there.
#[derive(Debug, Clone)]
pub(crate) struct DeclaredPlace {
    pub(crate) declared: Declared,
    pub(crate) standing: Standing,
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

/// The files with places, and what was passed over.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub(crate) files: Vec<MarkedFile>,
    /// `file: cause`
    pub(crate) diagnostics: Vec<String>,
    /// How many files were looked at.
    pub(crate) candidates: usize,
}

impl MarkerIndex {
    /// The files that hold something for an automation.
    pub(crate) async fn marked(
        &mut self,
        mirror: &Mirror,
        base: CommitId,
        wanted: &Wanted,
        overlay: &Overlay,
    ) -> Result<Arc<Marked>, GitError> {
        if !overlay.is_empty() {
            return self.look(mirror, base, wanted, overlay).await.map(Arc::new);
        }
        let known = self.last.as_ref().filter(|(head, _)| *head == base);
        let known = known.and_then(|(_, looks)| looks.iter().find(|(of, _)| of == wanted));
        if let Some((_, marked)) = known {
            return Ok(marked.clone());
        }
        let marked = Arc::new(self.look(mirror, base, wanted, overlay).await?);
        let (head, looks) = self.last.get_or_insert_with(|| (base, Vec::new()));
        if *head != base || looks.len() >= MAX_LOOKS {
            (*head, *looks) = (base, Vec::new());
        }
        looks.push((wanted.clone(), marked.clone()));
        Ok(marked)
    }

    async fn look(
        &mut self,
        mirror: &Mirror,
        base: CommitId,
        wanted: &Wanted,
        overlay: &Overlay,
    ) -> Result<Marked, GitError> {
        let entries = mirror.files(base, &wanted.prefix, wanted.screen()).await?;
        let mut unread = Unread::default();
        for entry in &entries {
            match self.form(wanted, &entry.path) {
                Some((true, known)) if !known.contains_key(&entry.blob) => unread.templates.push(entry.blob),
                Some((false, known)) if !known.contains_key(&entry.blob) => unread.yaml.push(entry.blob),
                _ => {}
            }
        }
        self.read(mirror, unread).await?;
        let mut marked = Marked { candidates: entries.len(), ..Marked::default() };
        for entry in &entries {
            let content = match overlay.get(&entry.path) {
                Some(bytes) => Content::Drafted(bytes.clone()),
                None => Content::Blob(entry.blob),
            };
            let mut file = MarkedFile {
                path: entry.path.as_str().into(),
                content,
                scan: Arc::default(),
                template: wanted.is_template(&entry.path),
                declared: Vec::new(),
            };
            let is_marked = self.markers(&mut file, wanted, &mut marked.diagnostics);
            self.declared(&mut file, mirror, wanted, &mut marked.diagnostics).await?;
            if is_marked || !file.declared.is_empty() {
                marked.files.push(file);
            }
        }
        for pattern in &wanted.templates {
            if !entries.iter().any(|entry| pattern.matches(&entry.path)) {
                let what = "is the pattern of no file at or below spec.update.path";
                marked.diagnostics.push(format!("windlass.dev/templates: `{pattern}` {what}"));
            }
        }
        let is_there = |declared: &&Declared| entries.iter().any(|entry| entry.path == declared.path);
        for missing in wanted.declared.iter().filter(|declared| !is_there(declared)) {
            marked.diagnostics.push(format!("{}: is no file of the branch", missing.field()));
        }
        self.forget(entries.iter().map(|entry| entry.blob));
        Ok(marked)
    }

    /// Whether a file is read as a template, with what is known of such contents; nothing where markers do not count.
    fn form(&self, wanted: &Wanted, path: &str) -> Option<(bool, &HashMap<BlobId, Known>)> {
        if wanted.is_template(path) {
            return Some((true, &self.templates));
        }
        screen::is_candidate(path).then_some((false, &self.scans))
    }

    /// Finds a file's markers. Returns whether it has any, usable or not.
    fn markers(&self, file: &mut MarkedFile, wanted: &Wanted, diagnostics: &mut Vec<String>) -> bool {
        let Some((template, known)) = self.form(wanted, &file.path) else { return false };
        match &file.content {
            Content::Drafted(bytes) => {
                file.scan = Arc::new(if template { scan_template(bytes) } else { scan(bytes) });
                return true;
            }
            Content::Blob(blob) => match known.get(blob) {
                Some(Known::Marked(scan)) => {
                    file.scan = scan.clone();
                    return true;
                }
                Some(Known::TooLarge(size)) => {
                    diagnostics.push(format!("{}: not read: {size} bytes are too many", file.path));
                }
                Some(Known::NoMarkers) | None => {}
            },
        }
        false
    }

    /// Finds what stands at a file's declared places.
    async fn declared(
        &mut self,
        file: &mut MarkedFile,
        mirror: &Mirror,
        wanted: &Wanted,
        diagnostics: &mut Vec<String>,
    ) -> Result<(), GitError> {
        let path = file.path.clone();
        for declared in wanted.declared.iter().filter(|declared| *declared.path == *path) {
            let standing = match &file.content {
                Content::Drafted(bytes) => declared.declaration.read(bytes, &declared.image),
                Content::Blob(blob) => {
                    let key = (*blob, declared.clone());
                    if let Some(known) = self.standing.get(&key) {
                        known.clone()
                    } else {
                        let bytes = match mirror.read_blob(*blob).await {
                            Err(GitError::Store(StoreError::TooLarge { size, .. })) => {
                                let field = declared.field();
                                diagnostics.push(format!("{field}: not read: {size} bytes are too many"));
                                continue;
                            }
                            bytes => bytes?,
                        };
                        let read = declared.declaration.read(&bytes, &declared.image);
                        self.standing.insert(key, read.clone());
                        read
                    }
                }
            };
            match standing {
                Ok(standing) => {
                    file.declared.push(DeclaredPlace { declared: declared.clone(), standing });
                }
                Err(Refusal { line, cause }) => {
                    diagnostics.push(format!("{}:{line}: {cause}", declared.field()));
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, mirror: &Mirror, unread: Unread) -> Result<(), GitError> {
        let Unread { yaml, templates } = unread;
        for (blobs, template) in [(yaml, false), (templates, true)] {
            if blobs.is_empty() {
                continue;
            }
            let scan = if template { scan_template } else { scan };
            let read =
                mirror.read_blobs(blobs, Vec::new(), move |read: &mut Vec<(BlobId, Known)>, id, blob| {
                    let known = match blob {
                        Blob::TooLarge { size } => Known::TooLarge(size),
                        Blob::Content(bytes) if !screen::may_have_marker(bytes) => Known::NoMarkers,
                        Blob::Content(bytes) => Known::Marked(Arc::new(scan(bytes))),
                    };
                    read.push((id, known));
                });
            let into = if template { &mut self.templates } else { &mut self.scans };
            into.extend(read.await?);
        }
        Ok(())
    }

    /// Keeps what the branch has, once the rest has piled up.
    fn forget(&mut self, present: impl ExactSizeIterator<Item = BlobId>) {
        if self.standing.len() > MAX_STANDING {
            self.standing.clear();
        }
        if self.scans.len() + self.templates.len() > present.len() + SPARE_ENTRIES {
            let present: HashSet<BlobId> = present.collect();
            self.scans.retain(|blob, _| present.contains(blob));
            self.templates.retain(|blob, _| present.contains(blob));
        }
    }
}

/// Contents that were not read yet.
#[derive(Debug, Default)]
struct Unread {
    yaml: Vec<BlobId>,
    templates: Vec<BlobId>,
}

impl MarkedFile {
    /// The content in the repository, unless an earlier draft changed it.
    pub(crate) fn blob(&self) -> Option<BlobId> {
        match self.content {
            Content::Blob(id) => Some(id),
            Content::Drafted(_) => None,
        }
    }

    /// The file's bytes.
    pub(crate) async fn bytes(&self, mirror: &Mirror) -> Result<Vec<u8>, GitError> {
        match &self.content {
            Content::Blob(id) => mirror.read_blob(*id).await,
            Content::Drafted(bytes) => Ok(bytes.to_vec()),
        }
    }
}
