//! Load whose every effect is known beforehand: each image gets a few releases, waits until the highest of them is on the
//! branch, and gets the next. In between, events of older releases come again.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::branch::{Landed, seen};
use super::estate::{Estate, Event};
use crate::chaos::Seed;
use crate::sender::{Courier, Tally};

/// Releases that come together.
const BURST: RangeInclusive<u64> = 1..=3;
/// Events of older releases that come with them.
const ECHOES: RangeInclusive<u64> = 0..=16;

/// What was answered with 2xx so far.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    /// Events.
    pub events: usize,
    /// For each image, the highest release that an accepted event named.
    pub releases: Vec<usize>,
}

/// The running load.
pub struct Load {
    accepted: watch::Receiver<Accepted>,
    tally: Arc<Tally>,
    stop: watch::Sender<bool>,
    applications: JoinSet<Result<()>>,
    patience: Duration,
}

/// What one image's load works with.
struct Application {
    estate: Arc<Estate>,
    image: usize,
    seed: Seed,
    doors: Vec<SocketAddr>,
    tally: Arc<Tally>,
    accepted: Arc<watch::Sender<Accepted>>,
    landed: watch::Receiver<Landed>,
    stop: watch::Receiver<bool>,
    patience: Duration,
}

impl Load {
    /// Starts to release every image, all at once.
    pub fn start(
        estate: &Arc<Estate>,
        doors: &[SocketAddr],
        landed: &watch::Receiver<Landed>,
        seed: &mut Seed,
        patience: Duration,
    ) -> Self {
        let first = Accepted { events: 0, releases: vec![0; estate.images()] };
        let (sender, accepted) = watch::channel(first);
        let (sender, tally, stop) = (Arc::new(sender), Arc::new(Tally::default()), watch::Sender::new(false));
        let mut applications = JoinSet::new();
        for image in 0..estate.images() {
            let application = Application {
                estate: estate.clone(),
                image,
                seed: Seed::new(seed.next_number()),
                doors: doors.to_vec(),
                tally: tally.clone(),
                accepted: sender.clone(),
                landed: landed.clone(),
                stop: stop.subscribe(),
                patience,
            };
            applications.spawn(application.run());
        }
        Self { accepted, tally, stop, applications, patience }
    }

    /// What was accepted so far.
    pub fn accepted(&self) -> Accepted {
        self.accepted.borrow().clone()
    }

    /// Requests and repeats.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Waits until so many events were accepted.
    ///
    /// # Errors
    /// When they are not in time, or an image's load failed.
    pub async fn reaches(&mut self, events: usize) -> Result<()> {
        let enough = self.accepted.wait_for(|accepted| accepted.events >= events);
        tokio::select! {
            reached = tokio::time::timeout(self.patience, enough) => {
                let reached = reached.with_context(|| format!("{events} events were not accepted in time"))?;
                reached.map(drop).context("nobody sends any more")
            }
            Some(ended) = self.applications.join_next() => ended.context("an image's load panicked")?,
        }
    }

    /// Ends it: every image's last release is on the branch.
    ///
    /// # Errors
    /// When one does not get there.
    pub async fn finish(&mut self) -> Result<()> {
        self.stop.send_replace(true);
        while let Some(ended) = self.applications.join_next().await {
            ended.context("an image's load panicked")??;
        }
        Ok(())
    }
}

impl Application {
    async fn run(mut self) -> Result<()> {
        let mut courier = Courier::new(&self.doors, self.image, self.tally.clone());
        let mut digests = vec![String::new()];
        let mut sent = 0;
        while !*self.stop.borrow() {
            let mut events = Vec::new();
            for _ in 0..self.seed.among(BURST) {
                let release = digests.len();
                digests.push(self.estate.release(self.image, release).await?);
                events.push(release);
            }
            let highest = digests.len() - 1;
            for _ in 0..self.seed.among(ECHOES) {
                let older = self.seed.among(1..=highest as u64);
                events.push(usize::try_from(older).context("a number of a release")?);
            }
            self.seed.shuffle(&mut events);
            for release in events {
                sent += 1;
                self.announce(&mut courier, sent, release, &digests[release]).await?;
            }
            let (image, patience) = (self.image, self.patience);
            let there = |landed: &Landed| landed.releases[image] >= highest;
            seen(&mut self.landed, patience, there).await.with_context(|| {
                format!("the events of app-{image} up to release {highest} were accepted")
            })?;
        }
        Ok(())
    }

    async fn announce(
        &self,
        courier: &mut Courier,
        number: usize,
        release: usize,
        digest: &str,
    ) -> Result<()> {
        let (image, id) = (self.image, format!("app-{}-event-{number}", self.image));
        let request = self.estate.announcement(self.doors[0], Event { id: &id, image, release, digest });
        courier.deliver(&request, self.patience).await?;
        self.accepted.send_modify(|accepted| {
            accepted.events += 1;
            let highest = &mut accepted.releases[image];
            *highest = release.max(*highest);
        });
        Ok(())
    }
}
