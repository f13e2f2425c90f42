//! The queue alone: durable appends a second, and how long an event waits until it is claimed, embedded and over NATS
//! with the server's default `sync_interval` and with `always`, all on one disk. Beside each stands what carries it: bare
//! commits of SQLite, bare publishes to JetStream. A program of the store's crate drives it; several share one queue.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use windlass_testkit::nats::NatsServer;

use super::program::Program;
use super::report::Table;
use super::stage::{self, Stage};
use crate::figures::{Figure, Target, Unit};
use crate::{build, setup};

/// Callers that append at the same time: a lone one, as many as the webhooks' measurement has, and a crowd.
const CALLERS: [usize; 3] = [1, CROWD, 512];
const CROWD: usize = 64;
/// Processes that share a queue.
const PROCESSES: usize = 3;
/// Events a second while their way is timed: few, so that none waits for another,
const CALM: usize = 20;
/// and ten times the mean of 10 million a day.
const BUSY: usize = 1_160;

/// Measures the three ways to keep a queue, one after the other.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Table>> {
    let program = build::example("windlass-store", "queue_rate")?;
    setup::nats_server()?;
    let mut tables = vec![embedded(stage, &program).await.context("embedded")?];
    for (name, jetstream) in
        [("default sync_interval", ""), ("sync_interval: always", "sync_interval: always")]
    {
        tables.push(shared(stage, &program, name, jetstream).await.context(name)?);
    }
    Ok(tables)
}

async fn embedded(stage: &Stage, program: &Path) -> Result<Table> {
    let mut table = Table::new(format!("queue, embedded: {}", conditions(stage)));
    let folder = stage::on_disk()?;
    let synced = stage::synced(folder.path())?.median();
    table.row("4 KiB written and synced to the same disk, p50", Figure::time(synced));
    let mut queue = Queue::start(program, None).await?;
    let bare = queue.rates(&format!("bare 1 {}", time(stage))).await?;
    table.row("bare SQLite, one commit after the other", bare.rate);
    table.row("bare SQLite: p50", bare.p50);
    for callers in CALLERS {
        let appended = queue.rates(&format!("append {callers} {}", time(stage))).await?;
        appends(&mut table, &plural(callers, "caller"), &appended, callers == CROWD);
        queue.drain().await?;
    }
    ways(stage, &mut table, &mut queue, None, bare.p50, "bare commits").await?;
    Ok(table)
}

async fn shared(stage: &Stage, program: &Path, name: &str, jetstream: &str) -> Result<Table> {
    let mut table = Table::new(format!("queue, NATS with {name}: {}", conditions(stage)));
    let server = NatsServer::keeping(stage::on_disk()?, jetstream).await?;
    let mut queues = Vec::new();
    for _ in 0..PROCESSES {
        queues.push(Queue::start(program, Some(&server)).await?);
    }
    let mut one_by_one = None;
    for callers in CALLERS {
        let bare = queues[0].rates(&format!("bare {callers} {}", time(stage))).await?;
        let who = plural(callers, "caller");
        table.row(format!("bare JetStream, {who}: published"), bare.rate);
        table.row(format!("bare JetStream, {who}: p50"), bare.p50);
        one_by_one.get_or_insert(bare.p50);
        let appended = queues[0].rates(&format!("append {callers} {}", time(stage))).await?;
        appends(&mut table, &who, &appended, callers == CROWD);
        queues[0].drain().await?;
    }
    let order = format!("append {CROWD} {}", time(stage));
    let [first, second, third] = queues.as_mut_slice() else { unreachable!("there are three") };
    let (a, b, c) = tokio::try_join!(first.rates(&order), second.rates(&order), third.rates(&order))?;
    let sum = a.rate.value + b.rate.value + c.rate.value;
    let who = format!("{PROCESSES} processes with {CROWD} callers each");
    table.row(format!("{who}: appended"), Figure { value: sum, unit: Unit::PerSecond });
    let slowest = [a, b, c].iter().map(|of| of.p99.value).fold(0.0, f64::max);
    table.row(format!("{who}: p99"), Figure { value: slowest, unit: Unit::Milliseconds });
    first.drain().await?;
    let bare = one_by_one.context("there is a baseline")?;
    ways(stage, &mut table, first, Some(second), bare, "bare publishes").await?;
    let log = first.order("log").await?;
    let bytes = number(&log, "bytes")? / number(&log, "messages")?.max(1.0);
    table.note(format!("A message of the log took {bytes:.0} bytes on the server on the average."));
    table.note("Each of the three processes runs the log on a copy of its own, on the same processors as the server.");
    Ok(table)
}

/// From an append's begin to the claim, in the same process and from another one, and how fast work is taken.
async fn ways(
    stage: &Stage,
    table: &mut Table,
    queue: &mut Queue,
    mut other: Option<&mut Queue>,
    bare: Figure,
    carrier: &str,
) -> Result<()> {
    let seconds = stage.size(10, 2);
    for rate in [CALM, BUSY] {
        let count = rate * seconds;
        let own = queue.rates(&format!("events {count} {rate}")).await?;
        let what = format!("event → claim, {rate} events/s");
        claims(table, &what, &own, bare, carrier);
        if let Some(other) = other.as_deref_mut() {
            let (pace, claim) = (format!("pace {count} {rate}"), format!("claim {count}"));
            let (_, claimed) = tokio::try_join!(queue.order(&pace), other.rates(&claim))?;
            claims(table, &format!("{what}, by another process"), &claimed, bare, carrier);
        }
    }
    let keys = stage.size(20_000, 2_000);
    queue.order(&format!("backlog {keys}")).await?;
    let taken = queue.drain().await?;
    table.row(format!("{keys} works that wait: claimed and completed"), taken.rate);
    Ok(())
}

fn appends(table: &mut Table, who: &str, measured: &Rates, held_to: bool) {
    let (rate, p99) = (format!("{who}: appended"), format!("{who}: p99"));
    if held_to {
        table.goal(rate, measured.rate, Target::AtLeast(5_000.0));
    } else {
        table.row(rate, measured.rate);
    }
    table.row(format!("{who}: p50"), measured.p50);
    if held_to {
        table.goal(p99, measured.p99, Target::AtMost(100.0));
    } else {
        table.row(p99, measured.p99);
    }
}

fn claims(table: &mut Table, what: &str, measured: &Rates, bare: Figure, carrier: &str) {
    table.row(format!("{what}: p50"), measured.p50);
    table.row(format!("{what}: p99"), measured.p99);
    let ratio = Figure { value: measured.p50.value / bare.value, unit: Unit::Times };
    table.row(format!("{what}: p50 in {carrier}"), ratio);
}

fn conditions(stage: &Stage) -> String {
    format!(
        "durable appends for {} ms each, and the way of an event to its claim; all on one disk",
        time(stage)
    )
}

/// How long each rate is measured, in milliseconds.
fn time(stage: &Stage) -> usize {
    stage.size(5_000, 500)
}

fn plural(number: usize, noun: &str) -> String {
    if number == 1 { format!("one {noun}") } else { format!("{number} {noun}s") }
}

/// A program that drives a store, with the folder of its state.
pub(crate) struct Queue {
    program: Program,
    _folder: TempDir,
}

/// What it says of many like operations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) rate: Figure,
    pub(crate) p50: Figure,
    pub(crate) p99: Figure,
}

impl Queue {
    /// Starts it on a store on disk: embedded, or shared over a server.
    pub(crate) async fn start(program: &Path, server: Option<&NatsServer>) -> Result<Self> {
        let folder = stage::on_disk()?;
        let mut command = Command::new(PathBuf::from(program));
        command.arg(folder.path()).args(server.map(NatsServer::url));
        let mut program = Program::start(command)?;
        let ready = program.answer().await?;
        ensure!(ready.contains("ready"), "the program said `{ready}`");
        Ok(Self { program, _folder: folder })
    }

    /// The processor time that it has used.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        stage::processor_time(self.program.id()?)
    }

    /// Gives an order and reads the answer.
    pub(crate) async fn order(&mut self, order: &str) -> Result<Value> {
        let answer = self.program.order(order).await.with_context(|| format!("ordering `{order}`"))?;
        serde_json::from_str(&answer).with_context(|| format!("reading `{answer}`"))
    }

    /// As [`Self::order`], for what answers with rates.
    pub(crate) async fn rates(&mut self, order: &str) -> Result<Rates> {
        let said = self.order(order).await?;
        let time = |name| anyhow::Ok(Figure { value: number(&said, name)?, unit: Unit::Milliseconds });
        let value = number(&said, "count")? / number(&said, "seconds")?;
        Ok(Rates {
            rate: Figure { value, unit: Unit::PerSecond },
            p50: time("p50_ms")?,
            p99: time("p99_ms")?,
        })
    }

    /// Takes what waits.
    pub(crate) async fn drain(&mut self) -> Result<Rates> {
        self.rates("drain").await
    }
}

/// A number of an answer.
pub(crate) fn number(said: &Value, name: &str) -> Result<f64> {
    said[name].as_f64().with_context(|| format!("`{said}` has no {name}"))
}
