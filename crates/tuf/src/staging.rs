//! What one update found to be true. It becomes what is known only if the update succeeds as a whole: a mirror that
//! breaks off in the middle takes nothing away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sigstore_tuf::{MetadataStore, Result};

use crate::folder::Folder;

/// Files by name, each verified when it was added.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The new files of an update, over those that are known, over those in the folder.
pub(crate) struct Staging {
    new: Mutex<Files>,
    known: Arc<Files>,
    folder: Option<Folder>,
}

impl Staging {
    pub(crate) fn new(known: Arc<Files>, folder: Option<Folder>) -> Self {
        Self { new: Mutex::default(), known, folder }
    }

    /// The new files.
    pub(crate) fn take(&self) -> Files {
        std::mem::take(&mut self.new.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MetadataStore for Staging {
    /// What was known sets the lowest versions that a mirror may show, whatever became of the folder meanwhile.
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>> {
        if let Some(bytes) = self.new.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Some(bytes.clone()));
        }
        match (self.known.get(name), &self.folder) {
            (Some(bytes), _) => Ok(Some(bytes.clone())),
            (None, Some(folder)) => folder.load(name),
            (None, None) => Ok(None),
        }
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<()> {
        // Both are stored under another name as well, and would pile up or be of no use.
        let twice = name == "root.json" || name.ends_with(".snapshot.json");
        if !twice {
            self.new.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bytes.to_vec());
        }
        Ok(())
    }
}
