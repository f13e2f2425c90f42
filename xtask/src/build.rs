//! Building the programs that the demonstration and the benchmark run.

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

/// Builds a crate's example with the release profile and gives its path: a program that drives a part of the product,
/// since this one must not be built with it.
pub(crate) fn example(package: &str, name: &str) -> Result<PathBuf> {
    eprintln!("building {name} (release profile)");
    let mut command = Command::new("cargo");
    command
        .args(["build", "--locked", "--release", "--package", package, "--example", name])
        .current_dir(root()?);
    shown(&mut command)?;
    Ok(target_folder()?.join(format!("release/examples/{name}{}", std::env::consts::EXE_SUFFIX)))
}
