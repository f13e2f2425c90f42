//! The processes of a trial: one with a store of its own, or several that share a queue. Any of them, and the queue's
//! server, can be killed and comes back with what it had on disk.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::estate::Estate;
use crate::chaos::Seed;
use crate::folder::{Storage, fresh};
use crate::nats::NatsServer;
use crate::process::tail;
use crate::windlass::{Windlass, WindlassOptions};

/// One in so many kills on a shared queue is of its server.
const SERVER: u64 = 6;
/// One in so many starts is cut short by another kill,
const CUT_SHORT: u64 = 4;
/// after this many milliseconds at most: a start takes some hundred.
const LONGEST_START: u64 = 250;
/// The server stays away for this many milliseconds at most.
const LONGEST_ABSENCE: u64 = 500;

/// Where the processes keep their queue and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// One process with a store of its own.
    Embedded,
    /// So many processes on one nats-server.
    Nats(usize),
}

/// The running processes.
pub struct Troop {
    members: Vec<Member>,
    nats: Option<NatsServer>,
    logs: TempDir,
}

struct Member {
    windlass: Windlass,
    options: WindlassOptions,
    _data: TempDir,
}

/// Who was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The process with this number.
    Process(usize),
    /// The queue's server.
    Server,
}

/// A kill with what followed from it.
#[derive(Debug, Clone, Copy)]
pub struct Strike {
    /// Who.
    pub victim: Victim,
    /// Whether nobody promotes until something takes its place.
    pub stops: bool,
    /// When it was first killed.
    pub at: Instant,
}

impl Troop {
    /// Starts all processes; each is ready.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(
        estate: &Estate,
        queue: Queue,
        program: Option<PathBuf>,
        within: Duration,
    ) -> Result<Self> {
        let (count, nats) = match queue {
            Queue::Embedded => (1, None),
            Queue::Nats(processes) => (processes, Some(NatsServer::start().await?)),
        };
        let mut troop = Self { members: Vec::new(), nats, logs: fresh(Storage::Memory)? };
        for number in 0..count {
            let data = fresh(Storage::Memory)?;
            let mut options = estate.windlass(data.path(), troop.log(number))?;
            options.program.clone_from(&program);
            if let Some(nats) = &troop.nats {
                options.arguments = vec!["--queue".into(), nats.url().into()];
            }
            let mut windlass = Windlass::start(options.clone()).await?;
            windlass.wait_ready(within).await?;
            troop.members.push(Member { windlass, options, _data: data });
        }
        Ok(troop)
    }

    fn log(&self, number: usize) -> PathBuf {
        self.logs.path().join(format!("windlass-{number}.log"))
    }

    /// Where webhooks go: the same addresses before and after a kill.
    pub fn doors(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.options.listen).collect()
    }

    /// Kills a process, or the server, as the seed says.
    pub async fn strike(&mut self, seed: &mut Seed) -> Strike {
        if let Some(nats) = &mut self.nats
            && seed.one_in(SERVER)
        {
            nats.kill();
            return Strike { victim: Victim::Server, stops: true, at: Instant::now() };
        }
        let number = index(seed.among(0..=self.members.len() as u64 - 1));
        let windlass = &mut self.members[number].windlass;
        // Only who promotes shows resources; who cannot answer is not known to.
        let report = windlass.report().await.unwrap_or_default();
        let promotes = report["resources"].as_array().is_some_and(|resources| !resources.is_empty());
        windlass.kill();
        Strike { victim: Victim::Process(number), stops: promotes, at: Instant::now() }
    }

    /// Starts it again; some starts are cut short by another kill. Gives the times of those.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn revive(&mut self, victim: Victim, seed: &mut Seed) -> Result<Vec<Instant>> {
        let mut cut_short = Vec::new();
        match (victim, &mut self.nats) {
            (Victim::Process(number), _) => {
                let windlass = &mut self.members[number].windlass;
                while seed.one_in(CUT_SHORT) {
                    let moment = Duration::from_millis(seed.among(1..=LONGEST_START));
                    // Giving up waiting kills it.
                    match timeout(moment, windlass.restart()).await {
                        Ok(started) => {
                            started?;
                            return Ok(cut_short);
                        }
                        Err(_) => cut_short.push(Instant::now()),
                    }
                }
                windlass.restart().await?;
            }
            (Victim::Server, Some(nats)) => {
                sleep(Duration::from_millis(seed.among(0..=LONGEST_ABSENCE))).await;
                nats.restart().await?;
            }
            (Victim::Server, None) => {}
        }
        Ok(cut_short)
    }

    /// Starts every process again, and waits until each has looked at everything and nothing is left to do.
    ///
    /// # Errors
    /// When that does not come `within` that time.
    pub async fn look_anew(&mut self, within: Duration) -> Result<()> {
        for member in &mut self.members {
            member.windlass.kill();
        }
        for member in &mut self.members {
            member.windlass.restart().await?;
        }
        for member in &mut self.members {
            member.windlass.wait_ready(within).await?;
            member.windlass.idle(within).await?;
        }
        Ok(())
    }

    /// A process.
    pub fn member(&self, number: usize) -> &Windlass {
        &self.members[number].windlass
    }

    /// The ends of the processes' logs.
    pub fn log_ends(&self) -> String {
        let ends = (0..self.members.len()).map(|number| {
            let text = std::fs::read_to_string(self.log(number)).unwrap_or_default();
            format!("process {number}:\n{}", tail(&text, 60))
        });
        ends.collect::<Vec<_>>().join("\n---\n")
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("an index of a list that is in memory")
}
