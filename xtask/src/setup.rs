//! Installing the tools that the checks and the demonstration need. Nothing is installed outside the target folder.

mod forge;
mod referrers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use windlass_testkit::locate::{
    COSIGNS_IN_TARGET, HELM_IN_TARGET, KUSTOMIZE_IN_TARGET, NATS_SERVER_IN_TARGET, REGISTRIES_IN_TARGET,
    REGISTRY_NAMES, SSHD_IN_SYSTEM, SSHD_IN_TARGET, on_path, target_folder,
};

use crate::run::{captured, shown};

/// The versions that the checks were last seen to pass with. Those of what Go builds are also part of their folders'
/// names in `windlass_testkit::locate`.
const CARGO_DENY: &str = "0.20.2";
const REGISTRY: &str = "github.com/distribution/distribution/v3/cmd/registry@v3.1.2";
const KUSTOMIZE: &str = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1";
const HELM: &str = "helm.sh/helm/v4/cmd/helm@v4.3.1";
const NATS_SERVER: &str = "github.com/nats-io/nats-server/v2@v2.15.2";
/// The last of each line: they sign in different forms by default.
const COSIGNS: [&str; 2] =
    ["github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5", "github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3"];
const DEBIAN_REGISTRY: &str = "docker-registry";
/// The server, and the library that no other package of a small system brings.
const DEBIAN_SSHD: [&str; 2] = ["openssh-server", "libwrap0"];

/// What the checks use.
pub(crate) struct Tools {
    pub(crate) registry: PathBuf,
    pub(crate) referrers_registry: PathBuf,
    pub(crate) cargo_deny: PathBuf,
    pub(crate) kustomize: PathBuf,
    pub(crate) helm: PathBuf,
    pub(crate) gitea: PathBuf,
    pub(crate) nats_server: PathBuf,
    pub(crate) sshd: PathBuf,
    pub(crate) cosigns: [PathBuf; 2],
}

/// Installs what is missing and says where everything is.
pub(crate) fn everything() -> Result<Tools> {
    git()?;
    signature_oracles()?;
    let tools = Tools {
        registry: pinned_registry()?,
        referrers_registry: referrers::referrers_registry()?,
        cargo_deny: cargo_deny()?,
        kustomize: oracle(KUSTOMIZE, KUSTOMIZE_IN_TARGET)?,
        helm: oracle(HELM, HELM_IN_TARGET)?,
        gitea: forge::gitea()?,
        nats_server: nats_server()?,
        sshd: sshd()?,
        cosigns: [oracle(COSIGNS[0], COSIGNS_IN_TARGET[0])?, oracle(COSIGNS[1], COSIGNS_IN_TARGET[1])?],
    };
    eprintln!("registry    {}", tools.registry.display());
    eprintln!("cargo-deny  {}", tools.cargo_deny.display());
    eprintln!("kustomize   {}", tools.kustomize.display());
    eprintln!("helm        {}", tools.helm.display());
    eprintln!("gitea       {}", tools.gitea.display());
    eprintln!("nats-server {}", tools.nats_server.display());
    eprintln!("sshd        {}", tools.sshd.display());
    eprintln!("cosign 2    {}", tools.cosigns[0].display());
    eprintln!("cosign 3    {}", tools.cosigns[1].display());
    eprintln!("referrers   {}", tools.referrers_registry.display());
    Ok(tools)
}

/// The NATS server, for measurements.
pub(crate) fn nats_server() -> Result<PathBuf> {
    oracle(NATS_SERVER, NATS_SERVER_IN_TARGET)
}

/// Checks for git and its HTTP server program, which are not ours to install.
pub(crate) fn git() -> Result<()> {
    let folder = captured(Command::new("git").arg("--exec-path")).context("git is needed; install it")?;
    let program = Path::new(folder.trim()).join("git-http-backend");
    ensure!(
        program.is_file(),
        "{} is missing; install the package that has `git http-backend`",
        program.display()
    );
    Ok(())
}

/// Checks for the programs that make keys and verify signatures in tests, which are not ours to install.
fn signature_oracles() -> Result<()> {
    let oracles = [("gpg", "gnupg"), ("ssh-keygen", "openssh-client"), ("openssl", "openssl")];
    for (program, package) in oracles {
        ensure!(
            on_path(program).is_some(),
            "{program} is missing: tests make and verify signatures with it; install it (on Debian and Ubuntu: `apt-get \
             install {package}`)"
        );
    }
    Ok(())
}

/// The registry for tests: the pinned version, built by Go; without Go, whatever else can be had.
fn pinned_registry() -> Result<PathBuf> {
    let [built, _] = installed_registries()?;
    if built.is_file() {
        return Ok(built);
    }
    if on_path("go").is_some() {
        match build_with_go(REGISTRY, built) {
            Ok(program) => return Ok(program),
            Err(error) => eprintln!("the pinned registry could not be built: {error:#}"),
        }
    }
    any_registry()
}

/// The registry for the demonstration, the quickest way first: on PATH, installed before, Debian's package, built by Go.
pub(crate) fn any_registry() -> Result<PathBuf> {
    let found = REGISTRY_NAMES.iter().filter_map(|name| on_path(name)).find(|path| is_distribution(path));
    if let Some(found) = found {
        return Ok(found);
    }
    let [built, debian] = installed_registries()?;
    if let Some(installed) = [&built, &debian].into_iter().find(|path| path.is_file()) {
        return Ok(installed.clone());
    }
    if on_path("apt-get").is_some() && on_path("dpkg-deb").is_some() {
        match unpack_debian_registry(&debian) {
            Ok(()) => return Ok(debian),
            Err(error) => eprintln!("Debian's {DEBIAN_REGISTRY} package could not be had: {error:#}"),
        }
    }
    if on_path("go").is_some() {
        return build_with_go(REGISTRY, built);
    }
    bail!(
        "no container registry: put distribution's `registry` on PATH (on Debian and Ubuntu: `apt-get install \
         {DEBIAN_REGISTRY}` as root), or install Go, with which `cargo xtask setup` builds one"
    )
}

fn installed_registries() -> Result<[PathBuf; 2]> {
    let target = target_folder()?;
    Ok(REGISTRIES_IN_TARGET.map(|path| target.join(path)))
}

/// Other programs are called `registry` too.
fn is_distribution(program: &Path) -> bool {
    captured(Command::new(program).arg("--version")).is_ok_and(|version| version.contains("distribution"))
}

/// A program that tests compare results with, in the pinned version: another may rightly answer otherwise.
fn oracle(package: &str, in_target: &str) -> Result<PathBuf> {
    let program = target_folder()?.join(in_target);
    if program.is_file() {
        return Ok(program);
    }
    ensure!(on_path("go").is_some(), "install Go: tests compare results with {package}, which it builds");
    build_with_go(package, program)
}

fn build_with_go(package: &str, program: PathBuf) -> Result<PathBuf> {
    eprintln!("building {package} (some minutes)");
    let folder = program.parent().context("a tool lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    shown(
        Command::new("go")
            .args(["install", "-ldflags=-s -w", package])
            .env("GOBIN", folder)
            .env("CGO_ENABLED", "0"),
    )?;
    ensure!(program.is_file(), "go installed no {}", program.display());
    Ok(program)
}

/// OpenSSH's server: the system's, unpacked before, Debian's package.
fn sshd() -> Result<PathBuf> {
    let unpacked = target_folder()?.join(SSHD_IN_TARGET);
    let found = [PathBuf::from(SSHD_IN_SYSTEM), unpacked.clone()].into_iter().find(|path| path.is_file());
    if let Some(found) = found.or_else(|| on_path("sshd")) {
        return Ok(found);
    }
    ensure!(
        on_path("apt-get").is_some() && on_path("dpkg-deb").is_some(),
        "no OpenSSH server: install the package that has `sshd`; it need not run"
    );
    let folder = root_of(&unpacked)?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for package in DEBIAN_SSHD {
        unpack_debian(package, folder).with_context(|| format!("getting Debian's {package} package"))?;
    }
    ensure!(unpacked.is_file(), "{} is not in the package", unpacked.display());
    Ok(unpacked)
}

/// Unpacks the package beside the other tools: installing it would also start a registry as a system service.
fn unpack_debian_registry(program: &Path) -> Result<()> {
    let folder = root_of(program)?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    unpack_debian(DEBIAN_REGISTRY, folder)?;
    ensure!(is_distribution(program), "{} is not in the package or does not run", program.display());
    Ok(())
}

/// The folder into which a program's package was unpacked.
fn root_of(program: &Path) -> Result<&Path> {
    program.ancestors().nth(3).context("a tool lies below the tools' folder")
}

fn unpack_debian(package: &str, folder: &Path) -> Result<()> {
    eprintln!("fetching Debian's {package} package");
    let mut download = Command::new("apt-get");
    download.args(["download", "--quiet", package]).current_dir(folder);
    if captured(&mut download).is_err() {
        // The package lists of a fresh machine are empty, and only root can fetch them.
        captured(Command::new("apt-get").args(["update", "--quiet"])).context("as root it would work")?;
        captured(&mut download)?;
    }
    let package = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded no package")?;
    captured(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(folder))?;
    fs::remove_file(&package).with_context(|| format!("removing {}", package.display()))
}

fn cargo_deny() -> Result<PathBuf> {
    if let Some(found) = on_path("cargo-deny").filter(|path| is_wanted_cargo_deny(path)) {
        return Ok(found);
    }
    let folder = target_folder()?.join(format!("tools/cargo-deny-{CARGO_DENY}"));
    let program = folder.join("bin/cargo-deny");
    if !program.is_file() {
        eprintln!("building cargo-deny {CARGO_DENY} (some minutes)");
        let mut install = Command::new("cargo");
        install
            .args(["install", "--quiet", "--locked", "cargo-deny", "--version", CARGO_DENY, "--root"])
            .arg(&folder);
        shown(&mut install)?;
    }
    ensure!(is_wanted_cargo_deny(&program), "{} is not cargo-deny {CARGO_DENY}", program.display());
    Ok(program)
}

fn is_wanted_cargo_deny(program: &Path) -> bool {
    captured(Command::new(program).arg("--version")).is_ok_and(|version| version.trim().ends_with(CARGO_DENY))
}
