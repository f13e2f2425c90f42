//! The pure crates: selection among very many tags, scanning and editing manifests. They are measured by examples of
//! their own, since this program must not be built with the product; each prints its baseline beside its figures.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result};
use windlass_testkit::locate::{COSIGN_VARIABLES, REFERRERS_REGISTRY_VARIABLE};

use super::report::Table;
use super::stage::Stage;
use crate::figures::{Figure, Target, Unit};
use crate::run::captured;
use crate::{root, setup};

/// Builds and runs both examples.
pub(crate) fn measure(stage: &Stage) -> Result<Vec<Table>> {
    Ok(vec![selection(stage)?, edits(stage)?])
}

fn selection(stage: &Stage) -> Result<Table> {
    let tags = stage.size(100_000, 10_000);
    let measured = example("windlass-policy", "select_rate", tags)?;
    let time = |name: &str| figure(&measured, name, Unit::Milliseconds);
    let mut table = Table::new(format!("selection: {tags} tags, a semver policy with a regex filter"));
    table.goal("all tags", time("all")?, Target::AtMost(50.0));
    table.row("the bare expression over the same tags", time("matching")?);
    table.goal("one new tag beside the known ones", time("one")?, Target::AtMost(1.0));
    Ok(table)
}

fn edits(stage: &Stage) -> Result<Table> {
    let megabytes = stage.size(8, 2);
    let measured = example("windlass-manifest", "edit_rate", megabytes)?;
    let rate = |name: &str| figure(&measured, name, Unit::MegabytesPerSecond);
    let mut table = Table::new(format!("manifests: {megabytes} MB of Deployments, one a file"));
    table.goal("files without markers: scanned", rate("scan without markers")?, Target::AtLeast(50.0));
    table.row("a memory search over the same bytes", rate("memory search")?);
    table.goal("files with a marker: scanned", rate("scan with markers")?, Target::AtLeast(10.0));
    table.goal("files with a marker: scanned, edited, proved", rate("scan and edit")?, Target::AtLeast(10.0));
    table.row("the YAML parser alone over the same bytes", rate("parsing")?);
    Ok(table)
}

/// Verdicts: the cryptography alone, with a registry on loopback, and remembered.
pub(crate) fn verification(stage: &Stage) -> Result<Vec<Table>> {
    let tools = setup::everything()?;
    let rounds = stage.size(500, 50);
    let mut command = example_command("windlass-verify", "verify_rounds", rounds)?;
    command.env(COSIGN_VARIABLES[0], &tools.cosigns[0]).env(COSIGN_VARIABLES[1], &tools.cosigns[1]);
    command.env(REFERRERS_REGISTRY_VARIABLE, &tools.referrers_registry);
    let measured = read(&captured(&mut command)?)?;
    let time = |name: &str| figure(&measured, name, Unit::Milliseconds);
    let mut table = Table::new(format!("verification: medians of {rounds} rounds, bundles by cosign"));
    let keyless = "crypto by certificate, log entry and timestamp";
    table.goal("a bundle by certificate, with log entry and timestamp", time(keyless)?, Target::AtMost(1.0));
    table.goal("a bundle by key", time("crypto by key")?, Target::AtMost(1.0));
    table.row("a verdict by key, with a registry on loopback", time("with a registry on loopback")?);
    table.row("one request to that registry", time("one request to the registry")?);
    table.goal("a verdict that is remembered", time("remembered")?, Target::AtMost(0.05));
    table.row("the cosign program, by key, once", time("the cosign program, by key")?);
    Ok(vec![table])
}

/// Runs an example of a crate and reads its lines, each `NAME: NUMBER`.
fn example(package: &str, name: &str, size: usize) -> Result<BTreeMap<String, f64>> {
    read(&captured(&mut example_command(package, name, size)?)?)
}

fn example_command(package: &str, name: &str, size: usize) -> Result<Command> {
    let mut command = Command::new("cargo");
    command
        .args(["run", "--quiet", "--locked", "--release", "--package", package, "--example", name, "--"])
        .arg(size.to_string())
        .current_dir(root()?);
    Ok(command)
}

fn read(printed: &str) -> Result<BTreeMap<String, f64>> {
    let read = |line: &str| -> Result<(String, f64)> {
        let (name, number) = line.split_once(": ").with_context(|| format!("`{line}` is no figure"))?;
        Ok((name.to_owned(), number.parse().with_context(|| format!("reading `{line}`"))?))
    };
    printed.lines().map(read).collect()
}

fn figure(measured: &BTreeMap<String, f64>, name: &str, unit: Unit) -> Result<Figure> {
    let value = *measured.get(name).with_context(|| format!("the example printed no `{name}`"))?;
    Ok(Figure { value, unit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_an_example_are_figures() {
        let measured = read("all: 12.5\nscan and edit: 3\n").unwrap();
        assert!((figure(&measured, "all", Unit::Milliseconds).unwrap().value - 12.5).abs() < 1e-9);
        assert!(figure(&measured, "edit", Unit::Number).is_err());
        assert!(read("12.5\n").is_err());
    }
}
