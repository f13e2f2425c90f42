//! `cargo xtask fuzz`: inputs by the million for the parsers and the editor. The targets are in `fuzz/`, a workspace of
//! its own, since everything in it is built with the fuzzer's instrumentation.
//!
//! libFuzzer needs no more of the compiler than LLVM's coverage pass, which stable Rust takes as a flag; a sanitizer
//! would find little in code without `unsafe`, and needs a nightly toolchain.

mod evidence;
mod seeds;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use windlass_testkit::locate::target_folder;

use crate::root;
use crate::run::{captured, shown};
use seeds::Seeds;

/// What rustc is given for libFuzzer to see which code an input reaches, and what is compared in it.
const INSTRUMENTATION: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// One input that takes longer is a finding. All of them take milliseconds; a busy machine may take a hundred times as
/// long.
const LONGEST_RUN: u64 = 30;
/// More memory than any input of a few kilobytes may take.
const MEMORY_MB: u32 = 2048;
/// The seed of the short run in `cargo xtask test`, which is to try the same inputs each time.
const SEED_IN_TEST: u32 = 1;

/// What to fuzz, and for how long.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz                               Every target for a minute
  cargo xtask fuzz markers paths --seconds 3600
  cargo xtask fuzz markers --input FILE          One input again: to reproduce a finding

What was found to be interesting is kept in the target folder (fuzz/corpus) for the next run.
Put the input of a finding that was fixed into fuzz/seeds/TARGET.")]
pub(crate) struct Fuzz {
    /// bundle, constraint, filter, guard, layer, markers, notation, paths, payload, pktline, report, sideband, template, trustpolicy, version; all without one
    #[arg(value_name = "TARGET", value_parser = Target::parse)]
    targets: Vec<Target>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Run this input alone
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Fuzz nothing: sign anew what `bundle` and `layer` start from (fuzz/evidence.json), with both lines of cosign
    #[arg(long, conflicts_with_all = ["targets", "input"])]
    renew_evidence: bool,
}

/// A program of `fuzz/`.
#[derive(Debug, Clone, Copy)]
struct Target {
    name: &'static str,
    /// Which tests' data it starts from, beside `fuzz/seeds`.
    seeds: Seeds,
    /// Longest input in bytes.
    longest: u32,
    /// Inputs of the short run: a few seconds of them.
    inputs: u32,
}

/// When a target ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// After this many seconds, with whatever inputs come up, and keeping those that are of interest.
    Seconds(u64),
    /// After its number of inputs, which are the same each time.
    Inputs,
}

const TARGETS: [Target; 16] = [
    Target { name: "bundle", seeds: Seeds::Bundles, longest: 16_384, inputs: 4_000 },
    Target { name: "constraint", seeds: Seeds::Constraints, longest: 256, inputs: 40_000 },
    Target { name: "filter", seeds: Seeds::Filters, longest: 512, inputs: 4_000 },
    Target { name: "guard", seeds: Seeds::Own, longest: 2048, inputs: 8_000 },
    Target { name: "import", seeds: Seeds::Own, longest: 2048, inputs: 8_000 },
    Target { name: "layer", seeds: Seeds::Layers, longest: 16_384, inputs: 4_000 },
    Target { name: "markers", seeds: Seeds::Markers, longest: 2048, inputs: 8_000 },
    Target { name: "notation", seeds: Seeds::Envelopes, longest: 16_384, inputs: 60_000 },
    Target { name: "paths", seeds: Seeds::Paths, longest: 2048, inputs: 20_000 },
    Target { name: "payload", seeds: Seeds::Payloads, longest: 1024, inputs: 8_000 },
    Target { name: "pktline", seeds: Seeds::Own, longest: 1024, inputs: 100_000 },
    Target { name: "report", seeds: Seeds::Own, longest: 1024, inputs: 100_000 },
    Target { name: "sideband", seeds: Seeds::Own, longest: 1024, inputs: 100_000 },
    Target { name: "template", seeds: Seeds::Templates, longest: 1024, inputs: 20_000 },
    Target { name: "trustpolicy", seeds: Seeds::Own, longest: 1024, inputs: 40_000 },
    Target { name: "version", seeds: Seeds::Versions, longest: 128, inputs: 200_000 },
];

impl Target {
    fn parse(name: &str) -> Result<Self, String> {
        let names = || TARGETS.map(|target| target.name).join(", ");
        let known = TARGETS.into_iter().find(|target| target.name == name);
        known.ok_or_else(|| format!("there is no such target; there are {}", names()))
    }
}

/// Runs the targets that are named, or all.
pub(crate) fn run(fuzz: &Fuzz) -> Result<()> {
    let targets = if fuzz.targets.is_empty() { TARGETS.to_vec() } else { fuzz.targets.clone() };
    let root = root()?;
    if fuzz.renew_evidence {
        return evidence::renew(&root);
    }
    if let Some(input) = &fuzz.input {
        let [target] = targets[..] else { bail!("--input goes with one target") };
        let input = fs::canonicalize(input).with_context(|| format!("--input {}", input.display()))?;
        return shown(Command::new(build(&root)?.join(target.name)).arg(input));
    }
    all(&root, &targets, End::Seconds(fuzz.seconds))
}

/// The short run of every target.
pub(crate) fn briefly() -> Result<()> {
    all(&root()?, &TARGETS, End::Inputs)
}

fn all(root: &Path, targets: &[Target], end: End) -> Result<()> {
    let programs = build(root)?;
    for target in targets {
        let started = Instant::now();
        let executed = one(root, &programs, *target, end)?;
        eprintln!("fuzz {:<11} {executed:>9} inputs in {} s", target.name, started.elapsed().as_secs());
    }
    Ok(())
}

/// Builds every target and gives the folder of the programs. With a target triple, cargo builds build scripts and
/// procedural macros without the flags.
fn build(root: &Path) -> Result<PathBuf> {
    let host = captured(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let (host, folder) = (host.trim(), target_folder()?.join("fuzz"));
    let mut command = Command::new("cargo");
    command
        .args(["build", "--quiet", "--locked", "--release", "--bins", "--target", host, "--manifest-path"])
        .arg(root.join("fuzz/Cargo.toml"))
        .arg("--target-dir")
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\x1f"));
    shown(&mut command)?;
    Ok(folder.join(host).join("release"))
}

/// Runs one target and gives the number of inputs that it tried.
fn one(root: &Path, programs: &Path, target: Target, end: End) -> Result<u64> {
    let folder = |purpose: &str| -> Result<PathBuf> {
        let folder = target_folder()?.join("fuzz").join(purpose).join(target.name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    };
    let (corpus, from_tests, findings) = (folder("corpus")?, folder("seeds")?, folder("findings")?);
    target.seeds.write(root, &from_tests)?;
    let mut command = Command::new(programs.join(target.name));
    // What earlier runs found must not change what a short one tries.
    let nothing = tempfile::tempdir().context("making a folder")?;
    let corpus = match end {
        End::Seconds(seconds) => {
            command.arg(format!("-max_total_time={seconds}"));
            corpus.as_path()
        }
        End::Inputs => {
            command.args([format!("-seed={SEED_IN_TEST}"), format!("-runs={}", target.inputs)]);
            nothing.path()
        }
    };
    command
        .arg(format!("-max_len={}", target.longest))
        .arg(format!("-timeout={LONGEST_RUN}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .arg("-print_final_stats=1")
        .args([corpus, &from_tests]);
    let own = root.join("fuzz/seeds").join(target.name);
    if own.is_dir() {
        command.arg(own);
    }
    let dictionary = root.join("fuzz/dictionaries").join(target.name);
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting the fuzz target {}", target.name))?;
    if !output.status.success() {
        bail!(finding(target.name, output.status, &String::from_utf8_lossy(&output.stderr)));
    }
    executed(&output)
}

/// What went wrong, and how to see it again.
fn finding(target: &str, status: ExitStatus, said: &str) -> String {
    // The panic comes before the fuzzer's own report; what it tried before that is of no interest.
    let start = said.find("thread '").or_else(|| said.find("==")).unwrap_or_default();
    let input = said.lines().find_map(|line| Some(line.split_once("Test unit written to ")?.1));
    let again = input.map(|input| format!(" --input {input}")).unwrap_or_default();
    format!(
        "the fuzz target {target} ended with {status}\n{}\nReproduce it with\n    cargo xtask fuzz {target}{again}\n\
         and put the input into fuzz/seeds/{target} when it is fixed",
        said[start..].trim_end()
    )
}

fn executed(output: &Output) -> Result<u64> {
    let said = String::from_utf8_lossy(&output.stderr);
    let number = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let number = number.context("the fuzzer printed no statistics")?.trim();
    let number = number.parse().with_context(|| format!("reading `{number}`"))?;
    ensure!(number > 0, "the fuzzer tried no input");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_finding_says_how_to_see_it_again() {
        let said = "#5 NEW\nthread 'main' panicked at x.rs:1\nartifact_prefix='f/'; Test unit written to f/crash-1\n";
        let text = finding("markers", ExitStatus::from_raw(77 << 8), said);
        assert!(text.contains("\nthread 'main' panicked at x.rs:1\n") && !text.contains("#5"), "{text}");
        assert!(text.contains("cargo xtask fuzz markers --input f/crash-1\n"), "{text}");
        assert!(finding("markers", ExitStatus::from_raw(9), "").contains("cargo xtask fuzz markers\n"));
    }

    #[test]
    fn every_program_of_the_package_is_a_target() {
        let targets = root().unwrap().join("fuzz/targets");
        let mut files: Vec<_> = fs::read_dir(targets)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        assert_eq!(files, TARGETS.map(|target| target.name));
    }
}
