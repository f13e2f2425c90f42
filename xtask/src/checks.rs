//! `cargo xtask test`: every check, cheapest first, stopping at the first that fails. The tests come last, so that their
//! own summary ends the output.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use windlass_testkit::locate::{
    COSIGN_VARIABLES, GITEA_VARIABLE, HELM_VARIABLE, KUSTOMIZE_VARIABLE, NATS_SERVER_VARIABLE,
    REFERRERS_REGISTRY_VARIABLE, REGISTRY_VARIABLE, SSHD_VARIABLE, WINDLASS_VARIABLE, target_folder,
};

use crate::run::{Shown, captured, shown};
use crate::setup::{self, Tools};
use crate::{fuzz, root, tidy};

/// What to leave out.
#[derive(Args)]
pub(crate) struct Checks {
    /// Leave out the dependency policy, the documentation and the fuzz targets
    #[arg(long)]
    fast: bool,
}

/// Runs the checks.
pub(crate) fn run(checks: &Checks) -> Result<()> {
    let root = root()?;
    let tools = phase("setup", "cargo xtask setup", setup::everything)?;
    cargo_phase("format", cargo(&root, &["fmt", "--all", "--check"]))?;
    let fuzz = ["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"];
    cargo_phase("format of the fuzz targets", cargo(&root, &fuzz))?;
    phase("tidy", "cargo xtask tidy", tidy::run)?;
    let lint = ["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    cargo_phase("lints", cargo(&root, &lint))?;
    if !checks.fast {
        phase("dependencies", &deny_command(&tools), || dependencies(&root, &tools))?;
        let mut documentation = cargo(&root, &["doc", "--quiet", "--locked", "--workspace", "--no-deps"]);
        documentation.env("RUSTDOCFLAGS", "-D warnings");
        cargo_phase("documentation", documentation)?;
        phase("fuzz", "cargo xtask fuzz --seconds 6", fuzz::briefly)?;
    }
    // The integration tests run the program itself, which `cargo test` does not build for them.
    cargo_phase("build", cargo(&root, &["build", "--quiet", "--locked", "--package", "windlass"]))?;
    tests(&root, &tools)
}

/// The last phase prints nothing after it: the test runner's summary is the end of the output.
fn tests(root: &Path, tools: &Tools) -> Result<()> {
    let mut command = cargo(root, &["test", "--locked", "--workspace"]);
    command.env(REGISTRY_VARIABLE, &tools.registry);
    command.env(KUSTOMIZE_VARIABLE, &tools.kustomize);
    command.env(HELM_VARIABLE, &tools.helm);
    command.env(GITEA_VARIABLE, &tools.gitea);
    command.env(NATS_SERVER_VARIABLE, &tools.nats_server);
    command.env(SSHD_VARIABLE, &tools.sshd);
    command.env(COSIGN_VARIABLES[0], &tools.cosigns[0]);
    command.env(COSIGN_VARIABLES[1], &tools.cosigns[1]);
    command.env(REFERRERS_REGISTRY_VARIABLE, &tools.referrers_registry);
    command.env(WINDLASS_VARIABLE, target_folder()?.join("debug/windlass"));
    eprintln!("── tests");
    shown(&mut command).with_context(|| failed("tests", &Shown(&command).to_string()))
}

fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root);
    command
}

fn cargo_phase(name: &str, mut command: Command) -> Result<()> {
    let alone = Shown(&command).to_string();
    phase(name, &alone, || shown(&mut command))
}

/// Runs one phase and prints how long it took; a failure names the command that runs it alone.
fn phase<T>(name: &str, alone: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("── {name}");
    let started = Instant::now();
    let done = work().with_context(|| failed(name, alone))?;
    eprintln!("── {name}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(done)
}

fn failed(name: &str, alone: &str) -> String {
    format!("the phase \"{name}\" failed; run it alone with\n    {alone}\n")
}

fn deny_command(tools: &Tools) -> String {
    format!("{} check bans licenses sources", tools.cargo_deny.display())
}

/// cargo-deny. Its database of advisories comes from the network; where that is not to be had, this is said.
fn dependencies(root: &Path, tools: &Tools) -> Result<()> {
    let deny = || {
        let mut command = Command::new(&tools.cargo_deny);
        command.current_dir(root);
        command
    };
    shown(deny().args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    match captured(deny().args(["--log-level", "error", "fetch", "db"])) {
        Ok(_) => shown(deny().args(["check", "--disable-fetch", "advisories"])),
        Err(error) => {
            eprintln!("ADVISORIES WERE NOT CHECKED: their database could not be fetched.\n{error:#}");
            Ok(())
        }
    }
}
