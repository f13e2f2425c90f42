//! What the measurements have in common: the programs, a running `windlass` with its folders, and the documents of the
//! generated fleet's policies.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::task::JoinSet;
use windlass_testkit::config::{self, ConfigFolder};
use windlass_testkit::event::Push;
use windlass_testkit::fleet::{Fleet, NAMESPACE};
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::locate::target_folder;
use windlass_testkit::registry::{Registry, RegistryOptions};
use windlass_testkit::windlass::{Windlass, WindlassOptions};
use windlass_testkit::{eventually, port, sender};

use crate::figures::Samples;

/// The Receiver's token.
const TOKEN: &str = "webhook-token-for-benchmarks";
/// The name of the GitRepository, of the automation, and of the repository on the Git server.
pub(crate) const FLEET: &str = "fleet";
const RECEIVER: &str = "registry";
/// Polls must not disturb a measurement.
pub(crate) const INTERVAL: &str = "24h";
/// Long beside everything that is awaited, so that only a real failure reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);
/// Pushes to the registry at one time.
const PUSHERS: usize = 16;
/// Writes of the disk's baseline.
const SYNCS: usize = 100;

/// What is measured, and how thoroughly.
pub(crate) struct Stage {
    /// The program under measurement.
    pub(crate) windlass: PathBuf,
    /// The registry's program.
    pub(crate) registry: PathBuf,
    /// Fewer iterations and smaller worlds.
    pub(crate) quick: bool,
}

impl Stage {
    /// One of two sizes.
    pub(crate) fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// A registry that announces nothing, with its files in memory.
    pub(crate) async fn start_registry(&self) -> Result<Registry> {
        let program = Some(self.registry.clone());
        Registry::start(RegistryOptions { program, ..RegistryOptions::default() }).await
    }

    /// Starts the program on a configuration, with `--data` in this folder; returns when it takes webhooks.
    pub(crate) async fn start(&self, config: ConfigFolder, data: TempDir) -> Result<Instance> {
        self.start_with(config, data, Vec::new()).await
    }

    /// As [`Self::start`], with more arguments of `run`.
    pub(crate) async fn start_with(
        &self,
        config: ConfigFolder,
        data: TempDir,
        arguments: Vec<OsString>,
    ) -> Result<Instance> {
        let logs = fresh(Storage::Memory)?;
        let address = port::free()?;
        let windlass = Windlass::start(WindlassOptions {
            config: config.path().to_owned(),
            data: data.path().to_owned(),
            listen: address,
            admin_listen: None,
            arguments,
            environment: Vec::new(),
            log: logs.path().join("windlass.log"),
            program: Some(self.windlass.clone()),
            joins: None,
        })
        .await?;
        Ok(Instance { windlass, address, data, _config: config, _logs: logs })
    }
}

/// A running program with its folders. Dropping it kills the program.
pub(crate) struct Instance {
    pub(crate) windlass: Windlass,
    pub(crate) address: SocketAddr,
    // After the program, so that they outlive it.
    data: TempDir,
    _config: ConfigFolder,
    _logs: TempDir,
}

impl Instance {
    /// Waits until every resource was tried and nothing is left to do.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        self.windlass.wait_ready(PATIENCE).await?;
        self.settled().await
    }

    /// Waits until nothing is left to do.
    pub(crate) async fn settled(&self) -> Result<()> {
        eventually(PATIENCE, "the queue to be empty", async || {
            let metrics = self.windlass.metrics().await?;
            let left =
                metrics.count("windlass_queue_waiting", &[]) + metrics.count("windlass_queue_running", &[]);
            Ok((left < 0.5).then_some(()))
        })
        .await
    }

    /// Ends the program in order and starts it again on the same data; gives the size of the state between the two.
    pub(crate) async fn restart(&mut self) -> Result<u64> {
        self.windlass.terminate(PATIENCE).await?;
        let state = self.data.path().join("windlass.db");
        let size = std::fs::metadata(&state).with_context(|| format!("reading {}", state.display()))?.len();
        self.windlass.restart().await?;
        Ok(size)
    }

    /// Bytes of all files below the data folder.
    pub(crate) fn disk(&self) -> Result<u64> {
        size_below(self.data.path()).context("measuring the data folder")
    }

    /// The processor time that the process has used.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        processor_time(self.windlass.id())
    }

    /// The process's memory, from the kernel.
    pub(crate) fn memory(&self) -> Result<Memory> {
        Memory::of(self.windlass.id())
    }
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What is in memory now (`VmRSS`).
    pub(crate) resident: u64,
    /// The most that was (`VmHWM`).
    pub(crate) peak: u64,
    /// What the process alone holds, without files that it reads through the page cache (`RssAnon`).
    pub(crate) anonymous: u64,
}

impl Memory {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let file = format!("/proc/{process}/status");
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file} (Linux only)"))?;
        let kibibytes = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            let number = line.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
            number.map(|number| number * 1024).with_context(|| format!("{file} has no {key}"))
        };
        Ok(Self {
            resident: kibibytes("VmRSS")?,
            peak: kibibytes("VmHWM")?,
            anonymous: kibibytes("RssAnon")?,
        })
    }
}

/// User and system time of a process. The kernel counts in hundredths of a second.
pub(crate) fn processor_time(process: u32) -> Result<Duration> {
    let file = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file} (Linux only)"))?;
    // The second field is the program's name in parentheses, which may hold anything; the third comes after it.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>).collect::<Result<Vec<_>, _>>();
    Ok(Duration::from_millis(10 * ticks.with_context(|| format!("reading {file}"))?.iter().sum::<u64>()))
}

fn size_below(folder: &Path) -> std::io::Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        size += if about.is_dir() { size_below(&entry.path())? } else { about.len() };
    }
    Ok(size)
}

/// A fresh folder beside the build's output: on a real disk, also where the system keeps temporary files in memory.
pub(crate) fn on_disk() -> Result<TempDir> {
    let target = target_folder()?;
    let made = tempfile::Builder::new().prefix("windlass-bench-").tempdir_in(&target);
    made.with_context(|| format!("making a folder in {}", target.display()))
}

/// What the disk takes to make a small write durable: a baseline.
pub(crate) fn synced(folder: &Path) -> Result<Samples> {
    let mut file = std::fs::File::create(folder.join("baseline")).context("making a file")?;
    let times = (0..SYNCS).map(|_| {
        let started = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        Ok(started.elapsed())
    });
    times.collect::<std::io::Result<Samples>>().context("writing the baseline")
}

/// The most that a Receiver lists.
pub(crate) const LISTED: usize = 1_000;

/// Writes ImageRepositories and ImagePolicies for the first policies of the generated fleet, in files that are no larger
/// than one may be, and a Receiver for as many of them as one lists.
pub(crate) fn write_images(config: &ConfigFolder, host: &str, policies: usize) -> Result<()> {
    for first in (0..policies).step_by(LISTED) {
        let resources = (first..policies.min(first + LISTED)).flat_map(|index| {
            let (name, image) = (Fleet::policy(index), format!("{host}/{}", Fleet::image_path(index)));
            [
                config::image_repository(NAMESPACE, &name, &image, INTERVAL, None),
                config::image_policy(NAMESPACE, &name, ">=1.0.0", "Never"),
            ]
        });
        config.write(&format!("images-{first}.yaml"), config::documents(resources))?;
    }
    let names: Vec<String> = (0..policies.min(LISTED)).map(Fleet::policy).collect();
    let listed: Vec<&str> = names.iter().map(String::as_str).collect();
    let receiver = [
        config::receiver(NAMESPACE, RECEIVER, "distribution", "webhook-token", &listed),
        config::secret(NAMESPACE, "webhook-token", &[("token", TOKEN)]),
    ];
    config.write("receiver.yaml", config::documents(receiver))
}

/// A GitRepository and one automation for all of it.
pub(crate) fn git(url: &str) -> String {
    config::documents([
        config::git_repository(NAMESPACE, FLEET, url, None),
        config::automation(NAMESPACE, FLEET, INTERVAL, "./"),
    ])
}

/// A notification of a push, for the Receiver of [`write_images`], as the bytes of a request.
pub(crate) fn announcement(address: SocketAddr, push: &Push<'_>) -> Vec<u8> {
    sender::announcement(address, &config::webhook_path(TOKEN, RECEIVER, NAMESPACE), TOKEN, push)
}

/// Pushes an image under this tag for each of the policies.
pub(crate) async fn push_all(registry: &Registry, policies: usize, tag: &str) -> Result<()> {
    let mut pushers = JoinSet::new();
    for first in 0..PUSHERS {
        let (images, tag) = (registry.images().clone(), tag.to_owned());
        pushers.spawn(async move {
            for index in (first..policies).step_by(PUSHERS) {
                images.push(&Fleet::image_path(index), &tag, "benchmark").await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(pushed) = pushers.join_next().await {
        pushed.context("a pusher panicked")??;
    }
    Ok(())
}

/// The path of a repository's requests on the Git server.
pub(crate) fn path_of(repository: &Path) -> String {
    let name = repository.file_name().unwrap_or_default().to_string_lossy();
    format!("/{name}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_a_peak_that_is_no_smaller() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident, "{memory:?}");
    }

    #[test]
    fn a_process_that_works_uses_processor_time() {
        let before = processor_time(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while processor_time(std::process::id()).unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
    }

    #[test]
    fn requests_are_told_apart_by_their_repository() {
        assert_eq!(path_of(Path::new("/srv/x/fleet.git")), "/fleet.git/");
    }
}
