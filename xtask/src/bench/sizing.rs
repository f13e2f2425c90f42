//! `cargo xtask sizing`: what a number of images, events and repositories needs, and which part of it is the limit. The
//! model is in `sizing/model.rs`; what one of each costs is measured, and kept in `xtask/sizing.json`.

mod constants;
mod measure;
mod model;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use self::constants::Measured;
use self::model::{Machine, Scenario, Use};
use super::stage::Stage;
use crate::machine::machine;
use crate::setup;

/// No part of a division is planned to be used beyond this at the peak.
const PLANNED: f64 = 0.7;
const GB: f64 = 1e9;

/// What is to be served, and by what.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask sizing                                         From one repository to 100,000 images
  cargo xtask sizing --images 2500 --events-per-day 40000    One case, part by part
  cargo xtask sizing --measure                               Measure what one of each costs on this machine first
  cargo xtask sizing --measure --keep                        and keep it in xtask/sizing.json")]
pub(crate) struct Sizing {
    /// Image repositories
    #[arg(long, value_name = "N")]
    images: Option<u32>,
    /// Tags of each image
    #[arg(long, value_name = "N", default_value = "100")]
    tags: u32,
    /// Webhooks a day
    #[arg(long, value_name = "N")]
    events_per_day: Option<u32>,
    /// How many times the mean the busiest minutes are
    #[arg(long, value_name = "TIMES", default_value = "10")]
    peak: f64,
    /// Which percentage of the events changes a file in Git
    #[arg(long, value_name = "PERCENT", default_value = "10")]
    promoted: f64,
    /// Git repositories
    #[arg(long, value_name = "N")]
    git_repositories: Option<u32>,
    /// Files of each Git repository
    #[arg(long, value_name = "N", default_value = "2000")]
    files: u32,
    /// Hours between two polls of an image
    #[arg(long, value_name = "HOURS", default_value = "6")]
    poll_hours: f64,
    /// Registry hosts
    #[arg(long, value_name = "N", default_value = "1")]
    registries: u32,
    /// Milliseconds until a registry answers
    #[arg(long, value_name = "MS", default_value = "50")]
    registry_ms: f64,
    /// Milliseconds that the Git server takes for a push
    #[arg(long, value_name = "MS", default_value = "1000")]
    push_ms: f64,
    /// Days that `windlass run --keep-deliveries` says
    #[arg(long, value_name = "DAYS", default_value = "7")]
    keep_deliveries: f64,
    /// Days that `windlass run --keep-history` says
    #[arg(long, value_name = "DAYS", default_value = "30")]
    keep_history: f64,
    /// Parts of the configuration, each with a promoter of its own [default: the fewest that do]
    #[arg(long, value_name = "N")]
    parts: Option<u32>,
    /// Cores of each process
    #[arg(long, value_name = "N", default_value = "4")]
    cores: f64,
    /// Memory of each process, in GB
    #[arg(long, value_name = "GB", default_value = "8")]
    memory: f64,
    /// Disk of each process, in GB
    #[arg(long, value_name = "GB", default_value = "100")]
    disk: f64,
    /// Measure what one of each costs on this machine, instead of using what was kept
    #[arg(long)]
    measure: bool,
    /// Measure fewer and smaller worlds: to see that it works, not to quote
    #[arg(long, requires = "measure")]
    quick: bool,
    /// Keep what was measured
    #[arg(long, requires = "measure")]
    keep: bool,
    /// Measure this `windlass` program instead of building one
    #[arg(long, value_name = "FILE", requires = "measure")]
    windlass: Option<PathBuf>,
}

/// Prints the plan.
pub(crate) fn run(sizing: &Sizing) -> Result<()> {
    let measured = if sizing.measure { measure(sizing)? } else { Measured::load()? };
    let quick = if measured.quick { " (--quick: a trial, not figures to quote)" } else { "" };
    println!("costs measured on {}{quick}", measured.machine);
    print_checks(&measured);
    let machine = Machine { cores: sizing.cores, memory: sizing.memory * GB, disk: sizing.disk * GB };
    let asked =
        sizing.images.is_some() || sizing.events_per_day.is_some() || sizing.git_repositories.is_some();
    if asked {
        let scenario = sizing.scenario(
            sizing.images.unwrap_or(1_000),
            sizing.events_per_day.unwrap_or(100_000),
            sizing.git_repositories.unwrap_or(10),
        );
        print_case(&sizing.divide(scenario, &machine, &measured), &machine, &measured);
        return Ok(());
    }
    print_plan(sizing, &machine, &measured);
    Ok(())
}

fn measure(sizing: &Sizing) -> Result<Measured> {
    setup::git()?;
    let windlass = super::windlass(sizing.windlass.as_deref())?;
    let stage = Stage { windlass, registry: setup::any_registry()?, quick: sizing.quick };
    let runtime = tokio::runtime::Runtime::new().context("making a runtime")?;
    let measured = runtime.block_on(async {
        tokio::select! {
            measured = measure::measure(&stage, machine()) => measured,
            // An error, so that everything is dropped, which ends it.
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        }
    })?;
    if sizing.keep {
        measured.keep()?;
    }
    Ok(measured)
}

impl Sizing {
    fn scenario(&self, images: u32, events_per_day: u32, repositories: u32) -> Scenario {
        Scenario {
            images: images.into(),
            tags: self.tags.into(),
            events_per_day: events_per_day.into(),
            peak: self.peak,
            promoted: self.promoted / 100.0,
            repositories: repositories.into(),
            files: self.files.into(),
            interval: self.poll_hours * 3600.0,
            registries: self.registries.into(),
            registry: self.registry_ms / 1000.0,
            push: self.push_ms / 1000.0,
            delivery_days: self.keep_deliveries,
            history_days: self.keep_history,
            parts: 1.0,
        }
    }

    fn divide(&self, scenario: Scenario, machine: &Machine, measured: &Measured) -> Scenario {
        match self.parts {
            Some(parts) => Scenario { parts: parts.max(1).into(), ..scenario },
            None => scenario.divided(machine, &measured.constants, PLANNED),
        }
    }
}

fn print_checks(measured: &Measured) {
    println!("\nforetold of worlds that were not used to find the costs, and measured:");
    for check in &measured.checks {
        let off = (check.predicted / check.measured - 1.0) * 100.0;
        println!(
            "  {:<55} {:>12} {:>12}  {off:+.0} %",
            check.what,
            short(check.predicted),
            short(check.measured)
        );
    }
}

/// From one repository to the largest, each in one process and in as many as it takes.
fn print_plan(sizing: &Sizing, machine: &Machine, measured: &Measured) {
    println!(
        "\n{:>7} {:>11} {:>5} {:>6} {:>5}  {:>7} {:>8} {:>6} {:>7} {:>7} {:>7}  limit",
        "images",
        "events/day",
        "Git",
        "peak/s",
        "parts",
        "memory",
        "disk",
        "cores",
        "queue",
        "regist.",
        "pushes"
    );
    let steps = [
        (1, 1_000, 1),
        (100, 10_000, 5),
        (1_000, 100_000, 20),
        (10_000, 1_000_000, 100),
        (100_000, 10_000_000, 1_000),
    ];
    for (images, events, repositories) in steps {
        let whole = sizing.scenario(images, events, repositories);
        print_line(&whole, machine, measured);
        let divided = sizing.divide(whole, machine, measured);
        if divided != whole {
            print_line(&divided, machine, measured);
        }
    }
    println!(
        "\nmemory, disk and cores are a promoter's; queue and registry are shares of what they bear; pushes a second go to \
         all servers."
    );
}

fn print_line(scenario: &Scenario, machine: &Machine, measured: &Measured) {
    let costs = &measured.constants;
    let uses = scenario.uses(machine, costs);
    let of = |part: &str| uses.iter().find(|of| of.part.starts_with(part));
    let amount = |part: &str| of(part).map_or(0.0, |of| of.used);
    let share = |part: &str| format!("{:.1} %", of(part).map_or(0.0, Use::share) * 100.0);
    let limit = scenario.limit(machine, costs);
    println!(
        "{:>7} {:>11} {:>5} {:>6.1} {:>5}  {:>7} {:>8} {:>6.2} {:>7} {:>7} {:>7.1}  {}: {:.0} %",
        scenario.images,
        scenario.events_per_day,
        scenario.repositories,
        scenario.rate(),
        scenario.parts,
        short(amount("memory") * GB),
        short(amount("disk") * GB),
        amount("cores"),
        share("queue: works"),
        share("requests"),
        scenario.pushes(),
        limit.part,
        limit.share() * 100.0
    );
}

/// One case, part by part.
fn print_case(scenario: &Scenario, machine: &Machine, measured: &Measured) {
    let costs = &measured.constants;
    println!(
        "\n{} images × {} tags, {} events a day, {:.1} a second at the peak, {} Git repositories, {} parts:",
        scenario.images,
        scenario.tags,
        scenario.events_per_day,
        scenario.rate(),
        scenario.repositories,
        scenario.parts
    );
    for of in scenario.uses(machine, costs) {
        println!(
            "  {:<40} {:>10.2} of {:>8.1} {:<3} {:>6.1} %",
            of.part,
            of.used,
            of.has,
            of.unit,
            of.share() * 100.0
        );
    }
    println!("  {:<40} {:>10}", "state on disk, one copy", short(scenario.state(costs)));
    println!("  {:<40} {:>10.2}", "pushes a second, to all servers", scenario.pushes());
    println!("  {:<40} {:>10.1}", "edits that share a push", scenario.edits_per_push());
    println!("  {:<40} {:>10.0} s", "first start, until all is read", scenario.first_start(costs));
    let limit = scenario.limit(machine, costs);
    println!("the limit is: {}, {:.0} % used at the peak", limit.part, limit.share() * 100.0);
}

/// `1.2 GB`, `3.4 kB`, `0.52`.
fn short(value: f64) -> String {
    let scales = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match scales.into_iter().find(|(scale, _)| value >= *scale) {
        Some((scale, unit)) => format!("{:.1} {unit}", value / scale),
        None => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_to_read() {
        assert_eq!([short(0.5), short(1_500.0), short(2e9)], ["0.50", "1.5 kB", "2.0 GB"]);
    }
}
