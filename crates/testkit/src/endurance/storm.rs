//! A storm of duplicates: every event is delivered up to twenty times, in any order, before and long after its commit,
//! under its own delivery id and under others, while the registry is polled too.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::branch::{Branch, Landed};
use super::estate::{Estate, EstateOptions, Event};
use super::history::Verdict;
use super::troop::{Queue, Troop};
use crate::chaos::Seed;
use crate::sender::{Courier, Tally};
use crate::traffic::lock;

/// Long beside everything that is awaited, so that only a real failure reaches it.
const PATIENCE: Duration = Duration::from_mins(2);
/// Each event comes so often at most.
const MOST_COPIES: u64 = 20;

/// How much is done.
#[derive(Debug, Clone)]
pub struct StormOptions {
    /// Decides how often each event comes, and in what order.
    pub seed: u64,
    /// Images, each with an automation.
    pub images: usize,
    /// Releases of each: the decisions that are to be made.
    pub releases: usize,
    /// Between two polls of an image.
    pub interval: String,
    /// The `windlass` program; by default what `locate::windlass` finds.
    pub windlass_program: Option<PathBuf>,
    /// The registry's program; by default what `locate::registry` finds.
    pub registry_program: Option<PathBuf>,
}

/// What it came to.
#[derive(Debug, Clone, Default)]
pub struct Stormed {
    /// Events: one for each release.
    pub events: usize,
    /// Deliveries, all answered with 2xx.
    pub deliveries: usize,
    /// Requests of tag lists.
    pub polls: usize,
    /// What history and chat say at the end.
    pub verdict: Verdict,
}

/// Copies that wait to be delivered, in no order.
#[derive(Debug, Default)]
struct Clouds {
    now: Mutex<Vec<Vec<u8>>>,
}

struct Application {
    estate: Arc<Estate>,
    image: usize,
    releases: usize,
    seed: Seed,
    clouds: Arc<Clouds>,
    courier: Courier,
    door: std::net::SocketAddr,
    landed: watch::Receiver<Landed>,
}

/// Releases each image's tags one after the other, the next when the one before has landed: so there are as many
/// decisions as releases. Judges when nothing is left to do.
///
/// # Errors
/// When something does not start, or a release does not land; the message has the ends of the logs. Broken promises
/// are in the verdict.
pub async fn run(options: &StormOptions) -> Result<Stormed> {
    let estate = Estate::start(EstateOptions {
        images: options.images,
        interval: options.interval.clone(),
        registry_program: options.registry_program.clone(),
    });
    let estate = Arc::new(estate.await?);
    let program = options.windlass_program.clone();
    let troop = Troop::start(&estate, Queue::Embedded, program, PATIENCE).await?;
    let run = rage(options, &estate, &troop).await;
    run.with_context(|| format!("seed {}: the logs end with\n{}", options.seed, troop.log_ends()))
}

async fn rage(options: &StormOptions, estate: &Arc<Estate>, troop: &Troop) -> Result<Stormed> {
    let mut seed = Seed::new(options.seed);
    let branch = Branch::follow(estate).await?;
    let (clouds, tally, doors) = (Arc::new(Clouds::default()), Arc::new(Tally::default()), troop.doors());
    let mut applications = JoinSet::new();
    for image in 0..options.images {
        let application = Application {
            estate: estate.clone(),
            image,
            releases: options.releases,
            seed: Seed::new(seed.next_number()),
            clouds: clouds.clone(),
            courier: Courier::new(&doors, 0, tally.clone()),
            door: doors[0],
            landed: branch.landed(),
        };
        applications.spawn(application.run());
    }
    while let Some(ended) = applications.join_next().await {
        ended.context("an image's storm panicked")??;
    }
    let mut courier = Courier::new(&doors, 0, tally.clone());
    while let Some(copy) = clouds.draw(&mut seed) {
        courier.deliver(&copy, PATIENCE).await?;
    }
    troop.member(0).idle(PATIENCE).await?;
    let released = vec![options.releases; options.images];
    let verdict = Verdict::of(&estate.history().await?, &released, &estate.slack.messages());
    estate.repository.fsck().await?;
    Ok(Stormed {
        events: options.images * options.releases,
        deliveries: tally.requests() - tally.repeats(),
        polls: estate.proxy.traffic().count(&crate::http_fault::tag_lists()),
        verdict,
    })
}

impl Clouds {
    fn gather(&self, copies: impl IntoIterator<Item = Vec<u8>>) {
        lock(&self.now).extend(copies);
    }

    /// Any of those that wait.
    fn draw(&self, seed: &mut Seed) -> Option<Vec<u8>> {
        let mut now = lock(&self.now);
        let last = now.len().checked_sub(1)?;
        let place = usize::try_from(seed.among(0..=last as u64)).ok()?;
        Some(now.swap_remove(place))
    }
}

impl Application {
    async fn run(mut self) -> Result<()> {
        for release in 1..=self.releases {
            let digest = self.estate.release(self.image, release).await?;
            let mut copies = self.copies(release, &digest);
            self.seed.shuffle(&mut copies);
            // Half of them come when their release has landed, and others with them.
            let late = copies.split_off(copies.len().div_ceil(2));
            self.clouds.gather(copies);
            self.deliver_until_landed(release).await?;
            self.clouds.gather(late);
        }
        Ok(())
    }

    /// The event, some of its copies under the same delivery id, the others each under one of its own.
    fn copies(&mut self, release: usize, digest: &str) -> Vec<Vec<u8>> {
        let (image, count) = (self.image, self.seed.among(1..=MOST_COPIES));
        let copies = (0..count).map(|copy| {
            let own = if copy > 0 && self.seed.one_in(2) { format!("-{copy}") } else { String::new() };
            let id = format!("app-{image}-release-{release}{own}");
            self.estate.announcement(self.door, Event { id: &id, image, release, digest })
        });
        copies.collect()
    }

    /// Delivers what waits, of any image, until the own release is on the branch.
    async fn deliver_until_landed(&mut self, release: usize) -> Result<()> {
        let image = self.image;
        let there = |landed: &Landed| landed.releases[image] >= release;
        while !there(&self.landed.borrow_and_update()) {
            if let Some(copy) = self.clouds.draw(&mut self.seed) {
                self.courier.deliver(&copy, PATIENCE).await?;
                continue;
            }
            // Somebody else has it in hand, or a poll has to find it.
            let moved = tokio::time::timeout(PATIENCE, self.landed.changed()).await;
            moved
                .with_context(|| format!("release {release} of app-{image} did not land"))?
                .context("the branch is not followed any more")?;
        }
        Ok(())
    }
}
