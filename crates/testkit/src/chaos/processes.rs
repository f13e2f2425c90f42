//! The processes of one run: who is broken, and who goes on.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::case::{Case, Queue};
use super::ground::Ground;
use super::point::{Fault, VARIABLE};
use crate::folder::{Storage, fresh};
use crate::process::tail;
use crate::windlass::{Windlass, WindlassOptions};
use crate::{eventually, port};

const SIGKILL: i32 = 9;
/// What the first process of a shared queue says when it begins to promote.
const TURN: &str = "polls, chooses and commits for a share of the work";
/// Of these two, the first has the run's namespace, whether or not the other is there; see `windlass_model::share`.
const MEMBERS: [&str; 2] = ["one", "two"];
const START: Duration = Duration::from_mins(1);

/// One process, whether it runs or not.
struct Member {
    options: WindlassOptions,
    windlass: Option<Windlass>,
    _data: TempDir,
}

/// The processes. The first is to be broken.
pub(super) struct Processes {
    case: Case,
    members: Vec<Member>,
    logs: TempDir,
    /// The fault has come, and whatever had to be done about it is done.
    over: bool,
}

impl Processes {
    /// Starts the processes of a case: one, or on a shared queue two, of which the first has the work.
    pub(super) async fn start(
        ground: &Ground,
        case: Case,
        stream: &str,
        config: &Path,
        passing: u64,
    ) -> Result<Self> {
        let mut processes = Self { case, members: Vec::new(), logs: fresh(Storage::Memory)?, over: false };
        let plan = (VARIABLE.to_owned(), case.fault.at(case.point, passing));
        processes.add(ground, stream, config, vec![plan]).await?;
        if case.queue == Queue::Nats {
            eventually(START, "the first process to have its turn, or to end", async || {
                Ok((processes.log(0).contains(TURN) || processes.has_fired()).then_some(()))
            })
            .await?;
            processes.add(ground, stream, config, Vec::new()).await?;
        }
        Ok(processes)
    }

    async fn add(
        &mut self,
        ground: &Ground,
        stream: &str,
        config: &Path,
        environment: Vec<(String, String)>,
    ) -> Result<()> {
        let data = fresh(Storage::Memory)?;
        let mut arguments: Vec<OsString> = Vec::new();
        if self.case.queue == Queue::Nats {
            arguments.extend(["--queue".into(), ground.nats.url().into()]);
            arguments.extend(["--queue-stream".into(), stream.into()]);
            arguments.extend(["--queue-member".into(), MEMBERS[self.members.len()].into()]);
        }
        let options = WindlassOptions {
            config: config.to_owned(),
            data: data.path().to_owned(),
            listen: port::free()?,
            admin_listen: None,
            arguments,
            environment,
            log: self.log_file(self.members.len()),
            program: ground.program.clone(),
            joins: None,
        };
        let started = Windlass::start(options.clone()).await;
        self.members.push(Member { options, windlass: None, _data: data });
        let member = self.members.len() - 1;
        match started {
            Ok(windlass) => self.members[member].windlass = Some(windlass),
            // The end came before it could say where it listens.
            Err(_) if self.has_fired() => self.replace().await?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Looks whether the first process ended, as it should, and sees to what comes after it. Whoever ends otherwise
    /// breaks a promise.
    pub(super) async fn tend(&mut self) -> Result<()> {
        for place in 0..self.members.len() {
            let Some(windlass) = &mut self.members[place].windlass else { continue };
            let Some(status) = windlass.process().exited()? else { continue };
            let meant = place == 0 && !self.over && self.case.fault == Fault::Kill;
            ensure!(
                meant && status.signal() == Some(SIGKILL) && self.has_fired(),
                "process {place} ended by itself, with {status}"
            );
            self.replace().await?;
        }
        Ok(())
    }

    /// After the kill: the same process again, with nothing that breaks it, or the one that stands by.
    async fn replace(&mut self) -> Result<()> {
        self.over = true;
        let Member { options, windlass, .. } = &mut self.members[0];
        options.environment.clear();
        *windlass = None;
        if self.case.queue == Queue::Embedded {
            *windlass = Some(Windlass::start(options.clone()).await?);
        }
        Ok(())
    }

    /// Lets a process that stands still go on.
    pub(super) fn wake(&mut self) -> Result<()> {
        if self.case.fault == Fault::Stop && !self.over && self.has_fired() {
            self.over = true;
            self.members[0]
                .windlass
                .as_mut()
                .context("the stopped process is there")?
                .process()
                .signal("CONT")?;
        }
        Ok(())
    }

    /// Whether the fault came.
    pub(super) fn has_fired(&self) -> bool {
        self.log(0).contains(&format!("fail point {}: ", self.case.point))
    }

    /// Waits until a hang has ended.
    pub(super) async fn hang_is_over(&self) -> Result<()> {
        let Fault::Hang(time) = self.case.fault else { return Ok(()) };
        let over = format!("fail point {}: over", self.case.point);
        eventually(time + START, "the hang to be over", async || {
            Ok(self.log(0).contains(&over).then_some(()))
        })
        .await
    }

    /// Where webhooks go: to the first process as long as it answers.
    pub(super) fn addresses(&self) -> Vec<String> {
        let mut running: Vec<_> = self.running().map(|windlass| windlass.url().to_owned()).collect();
        if self.case.fault == Fault::Stop && self.has_fired() {
            running.reverse();
        }
        running
    }

    /// The processes that run.
    pub(super) fn running(&self) -> impl Iterator<Item = &Windlass> {
        self.members.iter().filter_map(|member| member.windlass.as_ref())
    }

    /// The end of every log.
    pub(super) fn logs(&self) -> String {
        let logs = (0..self.members.len()).map(|place| {
            let log = tail(&self.log(place), 120);
            format!("---- log of process {place} ----\n{log}\n")
        });
        logs.collect()
    }

    fn log_file(&self, place: usize) -> PathBuf {
        self.logs.path().join(format!("{place}.log"))
    }

    fn log(&self, place: usize) -> String {
        // A log that is not there yet is empty.
        std::fs::read_to_string(self.log_file(place)).unwrap_or_default()
    }
}
