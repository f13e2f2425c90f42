//! The soak: a steady stream of events for a long time, and whether anything grows that must not. What is kept for days
//! is kept for a minute here, so that what replaces it is seen too.

mod samples;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use windlass_testkit::chaos::Seed;
use windlass_testkit::endurance::branch::{Branch, seen};
use windlass_testkit::endurance::estate::{Estate, EstateOptions, Event};
use windlass_testkit::endurance::history::Verdict;
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::sender::{Courier, Tally};
use windlass_testkit::windlass::Windlass;

use super::Stage;
use super::report::Outcome;
use crate::figures::Figure;
use samples::Samples;

const IMAGES: usize = 40;
/// Between two polls of an image: they find out what is gone.
const POLLS: &str = "1m";
/// One in so many events is a release. The others are of releases that were announced before.
const RELEASES: u64 = 20;
/// An image keeps so many releases, as registries do that clean up.
const KEPT: usize = 6;
/// What comes again is of one of so many last releases.
const ECHOED: u64 = 4;
/// Senders, each with a connection and with images of its own.
const SENDERS: usize = 4;
/// `--keep-deliveries` and `--keep-history`.
const RETENTION: &str = "1m";
const PATIENCE: Duration = Duration::from_mins(2);

/// What the soak is asked for.
#[derive(Debug, Args)]
#[command(next_help_heading = "The soak trial")]
pub(super) struct SoakArgs {
    /// How long, in minutes
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..))]
    minutes: u32,
    /// Events a second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(4..=2000))]
    rate: u32,
}

/// Runs it.
pub(super) async fn run(stage: &Stage, options: &SoakArgs) -> Result<Outcome> {
    let seed = stage.seeds.start;
    let estate = Estate::start(EstateOptions {
        images: IMAGES,
        interval: POLLS.to_owned(),
        registry_program: Some(stage.registry.clone()),
    });
    let estate = Arc::new(estate.await?);
    let (data, logs) = (fresh(Storage::Memory)?, fresh(Storage::Memory)?);
    let mut settings = estate.windlass(data.path(), logs.path().join("windlass.log"))?;
    settings.program = Some(stage.released()?);
    settings.arguments =
        ["--keep-deliveries", RETENTION, "--keep-history", RETENTION].map(Into::into).to_vec();
    let door = settings.listen;
    let mut windlass = Windlass::start(settings).await?;
    windlass.wait_ready(PATIENCE).await?;
    let branch = Branch::follow(&estate).await?;

    let length = Duration::from_secs(u64::from(options.minutes) * 60);
    let (sent, samples) = tokio::try_join!(
        send(&estate, door, options.rate, length, seed),
        Samples::take(&windlass, data.path(), length)
    )?;
    let there = |released: &[usize]| released.iter().zip(&sent.released).all(|(found, due)| found >= due);
    seen(&mut branch.landed(), PATIENCE, |landed| there(&landed.releases)).await?;
    windlass.idle(PATIENCE).await?;
    let verdict = Verdict::of(&estate.history().await?, &sent.released, &estate.slack.messages());
    Ok(outcome(seed, options, &sent, &samples, &verdict))
}

/// What was sent and accepted.
struct Sent {
    events: usize,
    /// For each image, its highest release.
    released: Vec<usize>,
}

/// Sends at this rate for so long.
async fn send(
    estate: &Arc<Estate>,
    door: SocketAddr,
    rate: u32,
    length: Duration,
    seed: u64,
) -> Result<Sent> {
    let (end, tally) = (Instant::now() + length, Arc::new(Tally::default()));
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        let sender = Sender {
            estate: estate.clone(),
            door,
            courier: Courier::new(&[door], 0, tally.clone()),
            seed: Seed::new(seed ^ number as u64),
            images: (number..IMAGES).step_by(SENDERS).map(|image| (image, Vec::new())).collect(),
            events: 0,
        };
        let pause = Duration::from_secs(1) * u32::try_from(SENDERS).context("a few senders")? / rate;
        senders.spawn(sender.run(pause, end));
    }
    let mut sent = Sent { events: 0, released: vec![0; IMAGES] };
    while let Some(ended) = senders.join_next().await {
        let Sender { images, events, .. } = ended.context("a sender panicked")??;
        sent.events += events;
        for (image, digests) in images {
            sent.released[image] = digests.len();
        }
    }
    Ok(sent)
}

struct Sender {
    estate: Arc<Estate>,
    door: SocketAddr,
    courier: Courier,
    seed: Seed,
    /// Each with the digests of its releases, from the first on.
    images: Vec<(usize, Vec<String>)>,
    events: usize,
}

impl Sender {
    async fn run(mut self, pause: Duration, end: Instant) -> Result<Self> {
        // What was late is caught up with.
        let mut ticks = interval(pause);
        while ticks.tick().await < end {
            let place = usize::try_from(self.seed.among(0..=self.images.len() as u64 - 1))?;
            let (image, releases) = (self.images[place].0, self.images[place].1.len());
            if releases == 0 || self.seed.one_in(RELEASES) {
                let digest = self.estate.release(image, releases + 1).await?;
                self.images[place].1.push(digest);
                self.announce(place, releases + 1, "").await?;
                if let Some(old) = releases.checked_sub(KEPT).filter(|old| *old > 0) {
                    self.estate.withdraw(image, old).await?;
                }
            } else {
                let back = usize::try_from(self.seed.among(0..=ECHOED - 1))?;
                let again = if self.seed.one_in(2) { format!("-{}", self.events) } else { String::new() };
                self.announce(place, releases.saturating_sub(back).max(1), &again).await?;
            }
        }
        Ok(self)
    }

    async fn announce(&mut self, place: usize, release: usize, again: &str) -> Result<()> {
        let (image, digests) = &self.images[place];
        let id = format!("app-{image}-release-{release}{again}");
        let event = Event { id: &id, image: *image, release, digest: &digests[release - 1] };
        let request = self.estate.announcement(self.door, event);
        self.courier.deliver(&request, PATIENCE).await?;
        self.events += 1;
        Ok(())
    }
}

fn outcome(seed: u64, options: &SoakArgs, sent: &Sent, samples: &Samples, verdict: &Verdict) -> Outcome {
    let SoakArgs { minutes, rate } = options;
    let title = format!("soak: {minutes} minutes at {rate} events a second, {IMAGES} images, seed {seed}");
    let mut outcome = Outcome::new(title, Samples::HEADINGS);
    for row in samples.rows() {
        outcome.row(row);
    }
    let number = |number| Figure::number(number).text();
    outcome.note(format!(
        "Events accepted: {}; decisions: {}; commits: {}; lost: {}; double: {}.",
        number(sent.events),
        number(verdict.decisions),
        number(verdict.commits),
        number(verdict.lost),
        number(verdict.double)
    ));
    outcome.note(format!(
        "What is kept for days by default is kept for {RETENTION} here; an image keeps {KEPT} releases."
    ));
    for growth in samples.growths() {
        if growth.is_too_much() {
            outcome.violation(format!("seed {seed}: {growth}"));
        } else {
            outcome.note(growth.to_string());
        }
    }
    let wanted = f64::from(rate * minutes * 60);
    if Figure::number(sent.events).value < 0.95 * wanted {
        outcome.note("The machine could not keep up with the rate: fewer events were sent.");
    }
    for violation in &verdict.violations {
        outcome.violation(format!("seed {seed}: {violation}"));
    }
    outcome
}
