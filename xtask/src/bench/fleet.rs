//! A thousand images updated at once, all in one repository: how many pushes and how long until every marker has its
//! new tag, in the time of bare pushes to the same server: counted from when all edits were ready, and from the first
//! webhook.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use windlass_testkit::config::ConfigFolder;
use windlass_testkit::event::Push;
use windlass_testkit::fleet::{FIRST_TAG, Fleet};
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::git_repository::{BRANCH, BareRepository};
use windlass_testkit::git_server::{GitOptions, GitServer};
use windlass_testkit::image::digest_of;
use windlass_testkit::ref_watch::{Move, RefWatch};
use windlass_testkit::registry::Registry;

use super::bare::BarePushes;
use super::hooks::flood;
use super::report::Table;
use super::stage::{self, FLEET, Instance, PATIENCE, Stage};
use crate::figures::{Figure, Samples, Target};

/// Senders; a registry that announces a thousand pushes has fewer.
const CONNECTIONS: usize = 64;
/// How often all images are updated: a single time is as noisy as its machine.
const ROUNDS: usize = 5;
/// Bare pushes of one edit beside each update, and then one of all edits together.
const BARE: usize = 5;

/// Updates every image several times, each time beside bare pushes of its own, and follows the branch.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Table>> {
    let (policies, rounds) = (stage.size(1_000, 200), stage.size(ROUNDS, 1));
    let fleet = Fleet { marked: policies, policies, ..Fleet::default() };
    let registry = stage.start_registry().await?;
    stage::push_all(&registry, policies, FIRST_TAG).await?;
    let server = GitServer::start(GitOptions::default())?;
    let repository = fleet.create(&server, FLEET, &registry.host()).await?;
    let mut bare = BarePushes::prepare(&server, "bare", fleet, &registry.host()).await?;
    for round in 1..=rounds {
        for marker in 0..BARE {
            bare.commit(marker..marker + 1, &format!("1.{round}.0")).await?;
        }
        bare.commit(0..policies, &format!("1.{round}.1")).await?;
    }
    let config = ConfigFolder::new()?;
    stage::write_images(&config, &registry.host(), policies)?;
    config.write("git.yaml", stage::git(&server.url(FLEET)))?;
    let mut instance = stage.start(config, fresh(Storage::Memory)?).await?;
    instance.ready().await?;
    let mut measured = Vec::with_capacity(rounds);
    for round in 1..=rounds {
        let tag = format!("1.{round}.0");
        stage::push_all(&registry, policies, &tag).await?;
        let baseline = Baseline { one: pushed(&mut bare, BARE).await?, all: pushed(&mut bare, 1).await? };
        let before = server.traffic().count(&GitServer::pushes());
        let update = update(&instance, &repository, &registry, policies, &tag).await?;
        instance.settled().await?;
        let pushes = server.traffic().count(&GitServer::pushes()) - before;
        verify(&repository, policies, &tag).await?;
        measured.push(Round { update, baseline, pushes });
    }
    Ok(vec![table(policies, &measured)])
}

/// One update of all images, and the bare pushes beside it.
struct Round {
    update: Update,
    baseline: Baseline,
    pushes: usize,
}

/// How it went.
struct Update {
    /// From the first webhook to the last's answer.
    accepted: Duration,
    /// From the first webhook until the registry gave its last answer: then the edits are ready.
    resolved: Duration,
    /// From the first webhook, for each move of the branch: how many files have changed since the start.
    moves: Vec<(Duration, usize)>,
}

async fn update(
    instance: &Instance,
    repository: &BareRepository,
    registry: &Registry,
    policies: usize,
    tag: &str,
) -> Result<Update> {
    let host = registry.host();
    // All images are equal.
    let digest = digest_of(&registry.images().manifest(&Fleet::image_path(0), tag).await?.1);
    let requests = (0..policies).map(|policy| {
        let (id, image) = (format!("bench-fleet-{tag}-{policy}"), Fleet::image_path(policy));
        let push = Push { id: &id, host: &host, repository: &image, tag: Some(tag), digest: &digest };
        stage::announcement(instance.address, &push)
    });
    let requests: Vec<Vec<u8>> = requests.collect();
    let start = repository.git(&["rev-parse", BRANCH]).await?;
    let mut watch = RefWatch::start(repository.folder(), BRANCH)?;
    let (started, clock) = (Instant::now(), now());
    let flooded = flood(instance.address, requests, CONNECTIONS, PATIENCE);
    let followed = async {
        let mut moves: Vec<(Duration, usize)> = Vec::new();
        while moves.last().is_none_or(|(_, changed)| *changed < policies) {
            let Move { at, commit } = watch.moved(moves.len(), PATIENCE).await?;
            let changed = repository.git(&["diff-tree", "-r", "--name-only", &start, &commit]).await?;
            moves.push((at.duration_since(started), changed.lines().count()));
        }
        anyhow::Ok(moves)
    };
    let (flooded, moves) = tokio::try_join!(flooded, followed)?;
    ensure!(flooded.waits.len() == policies, "not every webhook was sent");
    let resolved = last_answer(&registry.log_text(), tag)?.duration_since(clock).try_into()?;
    Ok(Update { accepted: flooded.took, resolved, moves })
}

#[expect(clippy::disallowed_methods, reason = "compared with the times in the registry's log")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// When the registry last answered a request for a manifest under the tag, by its own log.
fn last_answer(log: &str, tag: &str) -> Result<Timestamp> {
    let wanted = format!("/manifests/{tag}");
    let time = |line: &str| line.split("time=\"").nth(1)?.split('"').next()?.parse::<Timestamp>().ok();
    let asked = |line: &&str| line.contains("response completed") && line.contains(&wanted);
    let last = log.lines().filter(asked).filter_map(time).max();
    last.context("the registry's log shows no request for a manifest")
}

/// Every marker has the new tag, and nothing else has.
async fn verify(repository: &BareRepository, policies: usize, tag: &str) -> Result<()> {
    let at_new = format!(":{tag} # {{");
    let found = repository.git(&["grep", "--name-only", "--fixed-strings", &at_new, BRANCH]).await?;
    ensure!(found.lines().count() == policies, "{} markers have the new tag", found.lines().count());
    Ok(())
}

async fn pushed(bare: &mut BarePushes, pushes: usize) -> Result<Samples> {
    let mut times = Vec::with_capacity(pushes);
    for _ in 0..pushes {
        times.push(bare.push().await?.process);
    }
    Ok(Samples::new(times))
}

/// What bare pushes to the same server take.
struct Baseline {
    one: Samples,
    all: Samples,
}

impl Round {
    /// From the first webhook until every marker was at the new tag.
    fn done(&self) -> Duration {
        self.update.moves.last().map(|(at, _)| *at).unwrap_or_default()
    }

    /// From when all edits were ready until then.
    fn since_ready(&self) -> Duration {
        self.done().saturating_sub(self.update.resolved)
    }
}

fn table(policies: usize, rounds: &[Round]) -> Table {
    let mut table = Table::new(format!(
        "fleet: {policies} images updated at once in one repository of 10,000 files, median of {} times",
        rounds.len()
    ));
    let time =
        |of: &dyn Fn(&Round) -> Duration| Figure::time(rounds.iter().map(of).collect::<Samples>().median());
    let ratio = |of: &dyn Fn(&Round) -> Figure| {
        let mut figures: Vec<Figure> = rounds.iter().map(of).collect();
        figures.sort_by(|a, b| a.value.total_cmp(&b.value));
        figures[figures.len() / 2]
    };
    table.row("bare git push of one edit", time(&|round| round.baseline.one.median()));
    table.row("bare git push of all edits in one commit", time(&|round| round.baseline.all.median()));
    table.row("all webhooks answered after", time(&|round| round.update.accepted));
    table.row("all tags resolved, so all edits ready, after", time(&|round| round.update.resolved));
    table.row("all markers at the new tag after", time(&Round::done));
    table.goal(
        "since all were ready, in bare pushes of one edit",
        ratio(&|round| Figure::ratio(round.since_ready(), round.baseline.one.median())),
        Target::AtMost(10.0),
    );
    table.row(
        "since the first webhook, in bare pushes of one edit",
        ratio(&|round| Figure::ratio(round.done(), round.baseline.one.median())),
    );
    table.row(
        "since the first webhook, in bare pushes of all edits",
        ratio(&|round| Figure::ratio(round.done(), round.baseline.all.median())),
    );
    let most = rounds.iter().map(|round| round.pushes).max().unwrap_or_default();
    table.goal("pushes, at most", Figure::number(most), Target::AtMost(5.0));
    for round in rounds {
        let moves =
            round.update.moves.iter().map(|(at, changed)| format!("{changed} after {} ms", at.as_millis()));
        table.note(format!(
            "{:.2} bare pushes of {:.1} ms; markers at the new tag: {}.",
            Figure::ratio(round.since_ready(), round.baseline.one.median()).value,
            round.baseline.one.median().as_secs_f64() * 1000.0,
            moves.collect::<Vec<_>>().join(", ")
        ));
    }
    table
}
