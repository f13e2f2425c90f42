//! Finding the programs that tests run. The only place of this crate that reads the environment.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The environment variable that names the registry's program; `cargo xtask test` sets it.
pub const REGISTRY_VARIABLE: &str = "WINDLASS_TEST_REGISTRY";
/// The environment variable that names kustomize; `cargo xtask test` sets it.
pub const KUSTOMIZE_VARIABLE: &str = "WINDLASS_TEST_KUSTOMIZE";
/// The environment variable that names Helm; `cargo xtask test` sets it.
pub const HELM_VARIABLE: &str = "WINDLASS_TEST_HELM";
/// The environment variable that names Gitea; `cargo xtask test` sets it.
pub const GITEA_VARIABLE: &str = "WINDLASS_TEST_GITEA";
/// The environment variable that names OpenSSH's server; `cargo xtask test` sets it.
pub const SSHD_VARIABLE: &str = "WINDLASS_TEST_SSHD";
/// The environment variables that name cosign 2 and cosign 3; `cargo xtask test` sets them.
pub const COSIGN_VARIABLES: [&str; 2] = ["WINDLASS_TEST_COSIGN_2", "WINDLASS_TEST_COSIGN_3"];
/// The environment variable that names the registry with the referrers API; `cargo xtask test` sets it.
pub const REFERRERS_REGISTRY_VARIABLE: &str = "WINDLASS_TEST_REFERRERS_REGISTRY";
/// The environment variable that names nats-server; `cargo xtask test` sets it.
pub const NATS_SERVER_VARIABLE: &str = "WINDLASS_TEST_NATS_SERVER";
/// The environment variable that names the `windlass` program.
pub const WINDLASS_VARIABLE: &str = "WINDLASS_BIN";
/// Where `cargo xtask setup` puts the registry, below the target folder: built by Go, or Debian's.
pub const REGISTRIES_IN_TARGET: [&str; 2] =
    ["tools/registry-3.1.2/registry", "tools/registry-debian/usr/bin/docker-registry"];
/// Where `cargo xtask setup` puts kustomize, below the target folder.
pub const KUSTOMIZE_IN_TARGET: &str = "tools/kustomize-5.8.1/kustomize";
/// Where `cargo xtask setup` puts Helm, below the target folder.
pub const HELM_IN_TARGET: &str = "tools/helm-4.3.1/helm";
/// Where `cargo xtask setup` puts Gitea, below the target folder, with its templates beside it.
pub const GITEA_IN_TARGET: &str = "tools/gitea-1.26.0/gitea";
/// Where `cargo xtask setup` puts cosign 2 and cosign 3, below the target folder.
pub const COSIGNS_IN_TARGET: [&str; 2] = ["tools/cosign-2.6.5/cosign", "tools/cosign-3.1.3/cosign"];
/// Where `cargo xtask setup` puts the registry with the referrers API, below the target folder.
pub const REFERRERS_REGISTRY_IN_TARGET: &str = "tools/referrers-registry-0.22.1/referrers-registry";
/// Where `cargo xtask setup` puts nats-server, below the target folder.
pub const NATS_SERVER_IN_TARGET: &str = "tools/nats-server-2.15.2/nats-server";
/// Where `cargo xtask setup` unpacks Debian's OpenSSH server, below the target folder.
pub const SSHD_IN_TARGET: &str = "tools/openssh-debian/usr/sbin/sshd";
/// The folder in which systems have it, which is on PATH for root alone.
pub const SSHD_IN_SYSTEM: &str = "/usr/sbin/sshd";
/// The names under which the distribution registry is packaged: upstream's and Debian's.
pub const REGISTRY_NAMES: [&str; 2] = ["registry", "docker-registry"];

/// The distribution registry: from [`REGISTRY_VARIABLE`], else the one that `cargo xtask setup` built, else the one on
/// PATH.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn registry() -> Result<PathBuf> {
    if let Some(path) = variable(REGISTRY_VARIABLE) {
        return existing(path.into(), REGISTRY_VARIABLE);
    }
    let target = target_folder()?;
    let installed = REGISTRIES_IN_TARGET.iter().map(|path| target.join(path)).find(|path| path.is_file());
    match installed.or_else(|| REGISTRY_NAMES.iter().find_map(|name| on_path(name))) {
        Some(path) => Ok(path),
        None => bail!("no container registry to test against: run `cargo xtask setup`"),
    }
}

/// kustomize, the oracle of edits: from [`KUSTOMIZE_VARIABLE`], else the one that `cargo xtask setup` built.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn kustomize() -> Result<PathBuf> {
    oracle(KUSTOMIZE_VARIABLE, KUSTOMIZE_IN_TARGET)
}

/// Helm, the oracle of edits: from [`HELM_VARIABLE`], else the one that `cargo xtask setup` built.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn helm() -> Result<PathBuf> {
    oracle(HELM_VARIABLE, HELM_IN_TARGET)
}

/// nats-server: from [`NATS_SERVER_VARIABLE`], else the one that `cargo xtask setup` built.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn nats_server() -> Result<PathBuf> {
    oracle(NATS_SERVER_VARIABLE, NATS_SERVER_IN_TARGET)
}

/// Gitea, a real forge: from [`GITEA_VARIABLE`], else the one that `cargo xtask setup` built.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn gitea() -> Result<PathBuf> {
    oracle(GITEA_VARIABLE, GITEA_IN_TARGET)
}

/// cosign 2: from the first of [`COSIGN_VARIABLES`], else the one that `cargo xtask setup` built.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn cosign_2() -> Result<PathBuf> {
    oracle(COSIGN_VARIABLES[0], COSIGNS_IN_TARGET[0])
}

/// cosign 3: from the second of [`COSIGN_VARIABLES`], else the one that `cargo xtask setup` built.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn cosign_3() -> Result<PathBuf> {
    oracle(COSIGN_VARIABLES[1], COSIGNS_IN_TARGET[1])
}

/// The registry with the referrers API: from [`REFERRERS_REGISTRY_VARIABLE`], else the one that `cargo xtask setup`
/// built.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn referrers_registry() -> Result<PathBuf> {
    oracle(REFERRERS_REGISTRY_VARIABLE, REFERRERS_REGISTRY_IN_TARGET)
}

/// OpenSSL's program, from PATH.
///
/// # Errors
/// When it is not installed.
pub fn openssl() -> Result<PathBuf> {
    on_path("openssl").context("openssl is missing: tests make keys and timestamps with it; install it")
}

/// OpenSSH's server: from [`SSHD_VARIABLE`], else the system's, else the one that `cargo xtask setup` unpacked.
///
/// # Errors
/// When there is none; the message says how to get one.
pub fn sshd() -> Result<PathBuf> {
    if let Some(path) = variable(SSHD_VARIABLE) {
        return existing(path.into(), SSHD_VARIABLE);
    }
    let places = [PathBuf::from(SSHD_IN_SYSTEM), target_folder()?.join(SSHD_IN_TARGET)];
    match places.into_iter().find(|path| path.is_file()).or_else(|| on_path("sshd")) {
        Some(path) => Ok(path),
        None => bail!("no OpenSSH server to test against: run `cargo xtask setup`"),
    }
}

/// Only the pinned version will do: another may rightly answer otherwise.
fn oracle(name: &str, in_target: &str) -> Result<PathBuf> {
    if let Some(path) = variable(name) {
        return existing(path.into(), name);
    }
    let installed = target_folder()?.join(in_target);
    if !installed.is_file() {
        bail!("{} is missing: run `cargo xtask setup`", installed.display());
    }
    Ok(installed)
}

/// The `windlass` program: from [`WINDLASS_VARIABLE`], else the one beside the running test.
///
/// # Errors
/// When it is not built.
pub fn windlass() -> Result<PathBuf> {
    if let Some(path) = variable(WINDLASS_VARIABLE) {
        return existing(path.into(), WINDLASS_VARIABLE);
    }
    let built = profile_folder()?.join(format!("windlass{}", env::consts::EXE_SUFFIX));
    if !built.is_file() {
        bail!("{} is not built: run `cargo build --package windlass`", built.display());
    }
    Ok(built)
}

/// A program by name, from PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let folders = variable("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// PATH as this process has it: the only variable that started servers inherit.
pub(crate) fn search_path() -> std::ffi::OsString {
    variable("PATH").unwrap_or_default()
}

/// Cargo's target folder: the parent of the profile's.
///
/// # Errors
/// When the running program does not lie in one.
pub fn target_folder() -> Result<PathBuf> {
    let profile = profile_folder()?;
    Ok(profile.parent().context("the test program lies outside a target folder")?.to_owned())
}

/// `target/debug` or its like: test programs lie in its `deps`, others in itself.
fn profile_folder() -> Result<PathBuf> {
    let program = env::current_exe().context("finding the running program")?;
    let folder = program.parent().context("the running program has no folder")?;
    let is_deps = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if is_deps { folder.parent().unwrap_or(folder) } else { folder }.to_owned())
}

fn existing(path: PathBuf, variable: &str) -> Result<PathBuf> {
    if !Path::is_file(&path) {
        bail!("{variable} names {}, which does not exist", path.display());
    }
    Ok(path)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool: tests learn here where their programs are"
)]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
