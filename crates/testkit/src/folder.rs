//! Fresh folders, on disk or in memory, and disks that are soon full.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::eventually;
use crate::process::Process;

/// Linux keeps files below this folder in memory. Disks of shared machines are slow and uneven, so benchmarks put the
/// servers' files here.
const MEMORY: &str = "/dev/shm";

const PATIENCE: Duration = Duration::from_secs(30);

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

/// A disk of a few bytes, in memory. Only a process of its own sees it mounted, and those that join it, so that no
/// privilege is needed; everybody else reaches it through that process. It ends with the value.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Process,
    mount: TempDir,
    _log: TempDir,
}

impl SmallDisk {
    /// Mounts one.
    ///
    /// # Errors
    /// When the system has no user namespaces.
    pub async fn new(bytes: u64) -> Result<Self> {
        let mount = fresh(Storage::Memory)?;
        let log = fresh(Storage::Memory)?;
        let script =
            "mount -t tmpfs -o size=\"$1\",mode=700 tmpfs \"$2\" && echo mounted && exec tail -f /dev/null";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(bytes.to_string()).arg(mount.path());
        let mut holder = Process::spawn("unshare", &mut command, &log.path().join("log"))?;
        eventually(PATIENCE, "a small disk", async || {
            if holder.log_text().contains("mounted") {
                return Ok(Some(Ok(())));
            }
            Ok(holder.expect_running().err().map(Err))
        })
        .await??;
        Ok(Self { holder, mount, _log: log })
    }

    /// Its root folder, as those see it who join [`Self::holder`].
    pub fn inside(&self) -> &Path {
        self.mount.path()
    }

    /// The same, as everybody else sees it. SQLite does not: it takes the way through a process for a link.
    pub fn path(&self) -> PathBuf {
        seen_from_outside(self.holder.id(), self.inside())
    }

    /// The process whose user and mount namespaces it is mounted in.
    pub fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// Fills it to the last byte. What is given back is a file to be removed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn fill(&self) -> Result<PathBuf> {
        let path = self.path().join("ballast");
        let mut file = File::create(&path).context("creating a file that fills a disk")?;
        loop {
            match file.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(path),
                Err(error) => return Err(error).context("filling a disk"),
            }
        }
    }
}

/// A path of a process's mount namespace, for those outside of it.
pub(crate) fn seen_from_outside(process: u32, inside: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{process}/root"));
    root.join(inside.strip_prefix("/").unwrap_or(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_small_disk_is_full_until_there_is_room() {
        let disk = SmallDisk::new(1 << 20).await.unwrap();
        let file = disk.path().join("file");
        std::fs::write(&file, [0; 8192]).unwrap();
        let ballast = disk.fill().unwrap();
        let error = std::fs::write(disk.path().join("other"), [0; 8192]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        std::fs::remove_file(ballast).unwrap();
        std::fs::write(disk.path().join("other"), [0; 8192]).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), [0; 8192]);
    }
}
