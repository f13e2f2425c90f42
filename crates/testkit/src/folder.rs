//! Fresh folders, on disk or in memory.

use std::path::Path;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// Linux keeps files below this folder in memory. Disks of shared machines are slow and uneven, so benchmarks put the
/// servers' files here.
const MEMORY: &str = "/dev/shm";

/// Where a fresh folder is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// In memory where the system has such a folder, else on disk.
    #[default]
    Memory,
    /// In the system's folder for temporary files.
    Disk,
}

/// Makes an empty folder that is removed with the value.
pub fn fresh(storage: Storage) -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("windlass-test-");
    let memory = Path::new(MEMORY);
    let folder = match storage {
        Storage::Memory if memory.is_dir() => builder.tempdir_in(memory),
        Storage::Memory | Storage::Disk => builder.tempdir(),
    };
    folder.context("making a fresh folder for a test")
}
