//! From a webhook to the commit on the remote, warm, beside a bare `git push` of an equal commit to the same server,
//! in turns. Three instances of Windlass run: one with its data in memory, as everything else here, one with it on
//! disk, where every event and every intent is written through to the disk, and one whose queue is on a NATS server.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use windlass_testkit::config::ConfigFolder;
use windlass_testkit::event::Push;
use windlass_testkit::fleet::{FIRST_TAG, Fleet};
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::git_repository::{BRANCH, BareRepository};
use windlass_testkit::git_server::{GitOptions, GitServer};
use windlass_testkit::nats::NatsServer;
use windlass_testkit::ref_watch::RefWatch;
use windlass_testkit::registry::Registry;
use windlass_testkit::sender::Line;
use windlass_testkit::traffic::Exchange;

use super::bare::{BarePush, BarePushes};
use super::report::Table;
use super::stage::{self, FLEET, Instance, PATIENCE, Stage};
use crate::figures::{Figure, Samples, Target};
use crate::setup;

/// Rounds that are not counted: first connections, first reads.
const WARM_UP: usize = 3;

/// Runs the rounds and gives the table.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Table>> {
    let rounds = stage.size(60, 15);
    let fleet = Fleet::default();
    let registry = stage.start_registry().await?;
    stage::push_all(&registry, fleet.policies, FIRST_TAG).await?;
    let server = GitServer::start(GitOptions::default())?;
    setup::nats_server()?;
    let queue = NatsServer::start().await?;
    let at = Place { server: &server, registry: &registry, fleet };
    let mut memory = Contender::start(stage, &at, "memory", fresh(Storage::Memory)?, None).await?;
    let mut disk = Contender::start(stage, &at, "disk", stage::on_disk()?, None).await?;
    let mut shared = Contender::start(stage, &at, "queue", fresh(Storage::Memory)?, Some(&queue)).await?;
    let total = rounds + WARM_UP;
    let mut bare = BarePushes::prepare(&server, "bare", fleet, &registry.host()).await?;
    for round in 0..total {
        let marker = round % fleet.marked;
        bare.commit(marker..marker + 1, &tag(round)).await?;
    }

    let mut measured = Rounds::default();
    for round in 0..total {
        let digest = registry
            .images()
            .push(&Fleet::image_path(round % fleet.policies), &tag(round), &tag(round))
            .await?;
        // The order changes, so that nobody always comes after the same other.
        for turn in 0..4 {
            match (round + turn) % 4 {
                0 => measured.memory.push(memory.promote(&server, round, &digest).await?),
                1 => measured.disk.push(disk.promote(&server, round, &digest).await?),
                2 => measured.shared.push(shared.promote(&server, round, &digest).await?),
                _ => measured.bare.push(bare.push().await?),
            }
        }
    }
    for contender in [&memory, &disk, &shared] {
        contender.verify(total).await?;
    }
    measured.skip(WARM_UP);
    Ok(vec![measured.table(fleet, [&memory, &disk, &shared])?])
}

fn tag(round: usize) -> String {
    format!("1.0.{}", round + 1)
}

/// What all instances share.
struct Place<'a> {
    server: &'a GitServer,
    registry: &'a Registry,
    fleet: Fleet,
}

/// One instance with a repository of its own.
struct Contender {
    instance: Instance,
    repository: BareRepository,
    fleet: Fleet,
    host: String,
}

/// One event, as it was seen from outside. All times are since the webhook's first byte.
#[derive(Debug, Clone, Copy)]
struct Promotion {
    /// The webhook was answered: the event is durable.
    accepted: Duration,
    /// The push arrived at the server: the tag is resolved and chosen, the commit made and its intent stored.
    pushed: Duration,
    /// The branch moved.
    moved: Duration,
}

impl Contender {
    async fn start(
        stage: &Stage,
        at: &Place<'_>,
        name: &str,
        data: TempDir,
        queue: Option<&NatsServer>,
    ) -> Result<Self> {
        let (name, fleet, host) = (format!("{FLEET}-{name}"), at.fleet, at.registry.host());
        let repository = fleet.create(at.server, &name, &host).await?;
        let config = ConfigFolder::new()?;
        stage::write_images(&config, &host, fleet.policies)?;
        config.write("git.yaml", stage::git(&at.server.url(&name)))?;
        let shares = queue.into_iter().flat_map(|queue| ["--queue".into(), queue.url().into()]).collect();
        let mut instance = stage.start_with(config, data, shares).await?;
        instance.ready().await?;
        Ok(Self { instance, repository, fleet, host })
    }

    async fn promote(&mut self, server: &GitServer, round: usize, digest: &str) -> Result<Promotion> {
        let policy = round % self.fleet.policies;
        let (tag, id) = (tag(round), format!("bench-event-{round}"));
        let repository = Fleet::image_path(policy);
        let push = Push { id: &id, host: &self.host, repository: &repository, tag: Some(&tag), digest };
        let request = stage::announcement(self.instance.address, &push);
        // A fresh one, opened before the clock starts: idle ones are closed after a while.
        let mut line = Line::open(self.instance.address).await?;
        let mark = server.traffic().mark();
        let mut watch = RefWatch::start(self.repository.folder(), BRANCH)?;
        let started = Instant::now();
        let status = line.send(&request).await?;
        let accepted = started.elapsed();
        ensure!(status == 200, "the webhook was answered {status}");
        let moved = watch.moved(0, PATIENCE).await?.at.duration_since(started);
        drop(watch);
        // What follows the push must not disturb the next turn.
        self.instance.settled().await?;
        let path = stage::path_of(self.repository.folder());
        let exchanges: Vec<Exchange> = server.traffic().exchanges().split_off(mark);
        let is_push = |exchange: &&Exchange| {
            exchange.head.path.starts_with(&path) && GitServer::pushes().matches(&exchange.head)
        };
        let push = exchanges.iter().find(is_push).context("no push was seen")?;
        let pushed = push.started.saturating_duration_since(started);
        Ok(Promotion { accepted, pushed, moved })
    }

    async fn promote_all(&mut self, at: &Place<'_>, rounds: Range<usize>) -> Result<()> {
        for round in rounds {
            let image = Fleet::image_path(round % self.fleet.policies);
            let digest = at.registry.images().push(&image, &tag(round), &tag(round)).await?;
            self.promote(at.server, round, &digest).await?;
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<u64> {
        let size = self.instance.restart().await?;
        self.instance.ready().await?;
        Ok(size)
    }

    /// One commit for each round, and nothing but the expected edits.
    async fn verify(&self, rounds: usize) -> Result<()> {
        let commits = self.repository.log(BRANCH).await?.len() - 1;
        ensure!(commits == rounds, "{rounds} events gave {commits} commits");
        let last = rounds - 1;
        let (path, policy) = self.fleet.marked_files().swap_remove(last % self.fleet.marked);
        let expected = self.fleet.marked_text(&path, &self.host, policy, &tag(last));
        ensure!(
            self.repository.show(BRANCH, &path).await? == expected.as_bytes(),
            "{path} is not as expected"
        );
        Ok(())
    }
}

/// What events with a commit of their own cost.
pub(crate) struct Cost {
    /// Processor time of each, all that the process did.
    pub(crate) processor: Duration,
    /// By which the state grew with each, in bytes.
    pub(crate) written: f64,
}

/// Measures what an event with a commit of its own costs, in an instance that has nothing else to do.
pub(crate) async fn cost(stage: &Stage) -> Result<Cost> {
    let (warm, rounds) = (WARM_UP, stage.size(200, 40));
    let (fleet, registry) = (Fleet::default(), stage.start_registry().await?);
    stage::push_all(&registry, fleet.policies, FIRST_TAG).await?;
    let server = GitServer::start(GitOptions::default())?;
    let at = Place { server: &server, registry: &registry, fleet };
    let mut contender = Contender::start(stage, &at, "cost", fresh(Storage::Memory)?, None).await?;
    contender.promote_all(&at, 0..warm).await?;
    let before = contender.restart().await?;
    contender.promote_all(&at, warm..2 * warm).await?;
    let busy = contender.instance.processor_time()?;
    contender.promote_all(&at, 2 * warm..2 * warm + rounds).await?;
    let busy = contender.instance.processor_time()?.saturating_sub(busy);
    let grown = contender.restart().await?.saturating_sub(before);
    let count = |number: usize| u32::try_from(number).context("there are few rounds");
    let written = Figure::megabytes(grown).value * 1e6 / f64::from(count(rounds + warm)?);
    Ok(Cost { processor: busy / count(rounds)?, written })
}

/// Everything that was measured.
#[derive(Default)]
struct Rounds {
    memory: Vec<Promotion>,
    disk: Vec<Promotion>,
    shared: Vec<Promotion>,
    bare: Vec<BarePush>,
}

impl Rounds {
    fn skip(&mut self, rounds: usize) {
        self.memory.drain(..rounds);
        self.disk.drain(..rounds);
        self.shared.drain(..rounds);
        self.bare.drain(..rounds);
    }

    fn table(&self, fleet: Fleet, contenders: [&Contender; 3]) -> Result<Table> {
        let files = fleet.clusters * fleet.applications * fleet.files_each;
        let mut table = Table::new(format!(
            "event: webhook → commit on the remote; {files} files, {} markers, {} rounds in turns",
            fleet.marked,
            self.bare.len()
        ));
        let process: Samples = self.bare.iter().map(|push| push.process).collect();
        let landed: Samples = self.bare.iter().map(|push| push.moved).collect();
        quantiles(&mut table, "bare git push, the whole process", &process);
        table.row("bare git push, until the branch moved, p50", Figure::time(landed.median()));
        let measured = [
            ("data in memory", &self.memory),
            ("data on disk", &self.disk),
            ("queue on NATS, data in memory", &self.shared),
        ];
        for ((name, promotions), contender) in measured.into_iter().zip(contenders) {
            let moved: Samples = promotions.iter().map(|promotion| promotion.moved).collect();
            quantiles(&mut table, name, &moved);
            table.goal(
                format!("{name}: p50 ÷ bare git push's p50"),
                Figure::ratio(moved.median(), process.median()),
                Target::AtMost(1.0),
            );
            let spread = Figure::ratio(moved.quantile(99), process.median());
            table.goal(format!("{name}: p99 ÷ bare git push's p50"), spread, Target::AtMost(3.0));
            table.row(format!("{name}: p99 ÷ p50"), Figure::ratio(moved.quantile(99), moved.median()));
            phases(&mut table, name, promotions);
            table.row(
                format!("{name}: resident memory afterwards"),
                Figure::megabytes(contender.instance.memory()?.resident),
            );
        }
        table.note("All files of the servers, and the clone of the bare push, are in memory.");
        Ok(table)
    }
}

fn quantiles(table: &mut Table, name: &str, times: &Samples) {
    for percent in [50, 95, 99] {
        table.row(format!("{name}, p{percent}"), Figure::time(times.quantile(percent)));
    }
}

/// The medians of each stretch of the way. They need not add up to the median of the whole.
fn phases(table: &mut Table, name: &str, promotions: &[Promotion]) {
    type Stretch = fn(&Promotion) -> Duration;
    let stretches: [(&str, Stretch); 3] = [
        ("webhook answered, durable", |p| p.accepted),
        ("then tag resolved, chosen, commit made, intent stored", |p| p.pushed.saturating_sub(p.accepted)),
        ("then pushed, until the branch moved", |p| p.moved.saturating_sub(p.pushed)),
    ];
    for (what, stretch) in stretches {
        let times: Samples = promotions.iter().map(stretch).collect();
        table.row(format!("{name}:   {what}"), Figure::time(times.median()));
    }
}
