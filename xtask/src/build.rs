//! Building the program that the demonstration and the benchmark run.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use windlass_testkit::locate::target_folder;

use crate::root;
use crate::run::shown;

/// Builds `windlass` and gives its path.
pub(crate) fn windlass(release: bool) -> Result<PathBuf> {
    let (profile, folder) = if release { ("release", "release") } else { ("dev", "debug") };
    eprintln!("building windlass ({profile} profile)");
    let mut command = Command::new("cargo");
    command.args(["build", "--locked", "--package", "windlass", "--profile", profile]).current_dir(root()?);
    shown(&mut command)?;
    Ok(target_folder()?.join(folder).join(format!("windlass{}", std::env::consts::EXE_SUFFIX)))
}
