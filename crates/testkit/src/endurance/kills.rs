//! A random `kill -9` loop under load. Until what was accepted of an image before a kill has landed, the registry gives
//! out no list of its tags: only the stored events can bring its release in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::branch::{Branch, Landed, seen};
use super::estate::{Estate, EstateOptions, image_of};
use super::history::Verdict;
use super::load::{Accepted, Load};
use super::troop::{Queue, Strike, Troop, Victim};
use crate::chaos::Seed;
use crate::http_fault::tag_lists;
use crate::http_server::Canned;
use crate::traffic::Match;

/// Long beside any recovery, so that only a real failure reaches it.
const PATIENCE: Duration = Duration::from_mins(2);
/// From the last recovery, or the event whose turn it is, until the kill: so many milliseconds at most. A release takes
/// about a tenth of a second from its event to its commit.
const LONGEST_WAIT: u64 = 400;

/// How much is done.
#[derive(Debug, Clone)]
pub struct KillOptions {
    /// Decides who is killed when, and the load.
    pub seed: u64,
    /// Where the processes keep their queue and state.
    pub queue: Queue,
    /// Kills, at least.
    pub kills: usize,
    /// Events that are accepted, at least.
    pub events: usize,
    /// Images, each with an automation.
    pub images: usize,
    /// The `windlass` program; by default what `locate::windlass` finds.
    pub windlass_program: Option<PathBuf>,
    /// The registry's program; by default what `locate::registry` finds.
    pub registry_program: Option<PathBuf>,
}

/// What it came to.
#[derive(Debug, Clone, Default)]
pub struct Killed {
    /// Kills of processes while they worked.
    pub kills: usize,
    /// Kills of processes while they started.
    pub starting: usize,
    /// Kills of the queue's server.
    pub servers: usize,
    /// Requests that were sent.
    pub requests: usize,
    /// Those of them that repeat one which was not answered with 2xx.
    pub repeats: usize,
    /// Events that were accepted.
    pub accepted: usize,
    /// Releases of which an event was accepted before a kill, and which landed after it.
    pub under_way: usize,
    /// Of kills after which nobody promotes: until the branch moved again.
    pub recoveries: Vec<Duration>,
    /// What history and chat say at the end.
    pub verdict: Verdict,
}

/// Runs the loop, then looks at everything once more with tag lists, and judges.
///
/// # Errors
/// When something does not start, or the trial cannot go on; the message has the ends of the logs. Broken promises are
/// in the verdict.
pub async fn run(options: &KillOptions) -> Result<Killed> {
    let estate = Estate::start(EstateOptions {
        images: options.images,
        // Polls must not bring in what an event has to.
        interval: "24h".to_owned(),
        registry_program: options.registry_program.clone(),
    });
    let estate = Arc::new(estate.await?);
    let mut troop = Troop::start(&estate, options.queue, options.windlass_program.clone(), PATIENCE).await?;
    let run = loop_of(options, &estate, &mut troop).await;
    run.with_context(|| format!("seed {}: the logs end with\n{}", options.seed, troop.log_ends()))
}

async fn loop_of(options: &KillOptions, estate: &Arc<Estate>, troop: &mut Troop) -> Result<Killed> {
    let mut seed = Seed::new(options.seed);
    let branch = Branch::follow(estate).await?;
    let mut load = Load::start(estate, &troop.doors(), &branch.landed(), &mut seed, PATIENCE * 2);
    let mut killed = Killed::default();
    while killed.all() < options.kills {
        load.reaches(options.events * killed.all() / options.kills).await?;
        tokio::time::sleep(Duration::from_millis(seed.among(0..=LONGEST_WAIT))).await;
        killed.strike(estate, troop, &branch, &load, &mut seed).await?;
    }
    load.reaches(options.events).await?;
    load.finish().await?;
    let Accepted { events, releases } = load.accepted();
    troop.look_anew(PATIENCE).await?;
    killed.accepted = events;
    (killed.requests, killed.repeats) = (load.tally().requests(), load.tally().repeats());
    killed.verdict = Verdict::of(&estate.history().await?, &releases, &estate.slack.messages());
    estate.repository.fsck().await?;
    Ok(killed)
}

impl Killed {
    /// All kills.
    pub fn all(&self) -> usize {
        self.kills + self.starting + self.servers
    }

    /// Kills once, and waits until everything that was accepted before has landed.
    async fn strike(
        &mut self,
        estate: &Estate,
        troop: &mut Troop,
        branch: &Branch,
        load: &Load,
        seed: &mut Seed,
    ) -> Result<()> {
        let traffic = estate.proxy.traffic();
        let no_lists = traffic.answer(tag_lists(), Canned::status(503));
        let Strike { victim, stops, at } = troop.strike(seed).await;
        let due = load.accepted().releases;
        let _no_lists_of_due = traffic.answer(lists_of_due(branch, due.clone()), Canned::status(503));
        no_lists.lift();
        let cut_short = troop.revive(victim, seed).await?;
        match victim {
            Victim::Server => self.servers += 1,
            Victim::Process(_) => self.kills += 1,
        }
        self.starting += cut_short.len();
        let mut landed = branch.landed();
        if stops {
            let last = cut_short.last().copied().unwrap_or(at);
            self.recoveries.push(moved_after(&mut landed, last).await?);
        }
        let all = |landed: &Landed| landed.releases.iter().zip(&due).all(|(release, due)| release >= due);
        seen(&mut landed, PATIENCE, all).await.with_context(|| {
            format!(
                "after the kill of {victim:?}, {due:?} was accepted, and of it landed {:?}",
                landed.borrow()
            )
        })?;
        let late = |since: &&Option<Instant>| since.is_some_and(|since| since > at);
        self.under_way += landed.borrow().since.iter().filter(late).count();
        Ok(())
    }
}

/// Lists of the tags of images whose release is due.
fn lists_of_due(branch: &Branch, due: Vec<usize>) -> Match {
    let landed = branch.landed();
    tag_lists().and(Match::new("list of an image that waits for its release", move |head| {
        let image = image_of(&head.path);
        image.is_some_and(|image| due.get(image) > landed.borrow().releases.get(image))
    }))
}

async fn moved_after(landed: &mut tokio::sync::watch::Receiver<Landed>, at: Instant) -> Result<Duration> {
    seen(landed, PATIENCE, |landed| landed.moved.is_some_and(|moved| moved > at)).await?;
    let moved = landed.borrow().moved.context("it moved")?;
    Ok(moved.duration_since(at))
}
