//! Many writers on one branch: several `windlass` processes, each with several lanes, and somebody else who pushes too.
//! Every writer has a file, an image and a policy of its own; all files are in one repository, on one branch.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{self, ConfigFolder};
use crate::event::{ENVELOPE, Push, envelope};
use crate::folder::{Storage, fresh};
use crate::git_repository::{BRANCH, BareRepository};
use crate::git_server::{GitOptions, GitServer};
use crate::process::tail;
use crate::ref_watch::RefWatch;
use crate::registry::{Registry, RegistryOptions};
use crate::windlass::{Windlass, WindlassOptions};
use crate::{eventually, port};

/// The Receiver's namespace; every writer has one of its own.
const NAMESPACE: &str = "apps";
const RECEIVER: &str = "registry";
const TOKEN: &str = "webhook-token-for-crowds";
/// The address in the commits that are not ours.
const OTHERS: &str = "person@example.org";
/// Long beside everything that is awaited, so that only a real failure reaches it.
const PATIENCE: Duration = Duration::from_mins(3);

/// How many there are, and by which programs.
#[derive(Debug, Clone, Default)]
pub struct CrowdOptions {
    /// Processes of `windlass`.
    pub processes: usize,
    /// Lanes of each.
    pub writers: usize,
    /// The NATS server on which they share their queue, so that each may do any writer's work; with none, each process
    /// has a queue and writers of its own.
    pub queue: Option<String>,
    /// Between two pushes of somebody else.
    pub foreign: Duration,
    /// The `windlass` program; by default what `locate::windlass` finds.
    pub windlass_program: Option<PathBuf>,
    /// The registry's program; by default what `locate::registry` finds.
    pub registry_program: Option<PathBuf>,
}

/// The processes with what they work on.
pub struct Crowd {
    options: CrowdOptions,
    members: Vec<Arc<Member>>,
    registry: Registry,
    // Dropped after the processes, which write to it.
    git: GitServer,
    repository: BareRepository,
}

struct Member {
    windlass: Windlass,
    _config: ConfigFolder,
    _data: TempDir,
    logs: TempDir,
}

/// One lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Writer {
    process: usize,
    lane: usize,
}

/// What a run came to.
#[derive(Debug)]
pub struct Landings {
    /// For each event, from the webhook until the branch had its commit.
    pub times: Vec<Duration>,
    /// How often somebody else pushed.
    pub foreign: usize,
    /// Pushes that lost to another one, as the processes counted them.
    pub races: f64,
}

impl Writer {
    fn name(self) -> String {
        format!("p{}-w{}", self.process, self.lane)
    }

    fn image(self) -> String {
        format!("crowd/{}", self.name())
    }

    fn folder(self) -> String {
        format!("apps/{}", self.name())
    }

    fn file(self) -> String {
        format!("{}/app.yaml", self.folder())
    }

    fn text(self, host: &str, tag: &str) -> String {
        let name = self.name();
        let marker = format!("{{\"$imagepolicy\": \"{name}:{name}\"}}");
        format!("name: {name}\nimage: {host}/{}:{tag} # {marker}\n", self.image())
    }

    fn documents(self, host: &str, url: &str) -> String {
        let name = self.name();
        let image = format!("{host}/{}", self.image());
        config::documents([
            config::image_repository(&name, &name, &image, "24h", None),
            config::image_policy(&name, &name, ">=1.0.0", "Never"),
            config::git_repository(&name, &name, url, None),
            config::automation(&name, &name, "24h", &format!("./{}", self.folder())),
        ])
    }
}

fn tag(round: usize) -> String {
    format!("1.{round}.0")
}

impl Crowd {
    /// Starts everything; every process has read its images.
    ///
    /// # Errors
    /// When anything does not start.
    pub async fn start(options: CrowdOptions) -> Result<Self> {
        let program = options.registry_program.clone();
        let registry = Registry::start(RegistryOptions { program, ..RegistryOptions::default() }).await?;
        let git = GitServer::start(GitOptions::default())?;
        let host = registry.host();
        let writers = writers(&options);
        for writer in &writers {
            registry.images().push(&writer.image(), &tag(0), &tag(0)).await?;
        }
        let files = writers.iter().map(|writer| (writer.file(), writer.text(&host, &tag(0))));
        let repository = git.create_repository("crowd", files).await?;
        let mut members = Vec::new();
        for process in 0..options.processes {
            let is_its = |writer: &Writer| options.queue.is_some() || writer.process == process;
            let its: Vec<Writer> = writers.iter().copied().filter(is_its).collect();
            members.push(Arc::new(Member::start(&its, &host, &git.url("crowd"), &options).await?));
        }
        let crowd = Self { options, members, registry, git, repository };
        crowd.divided().await?;
        Ok(crowd)
    }

    /// Waits until every share of the work is somebody's, so that all images were read.
    async fn divided(&self) -> Result<()> {
        eventually(PATIENCE, "the processes to divide the work", async || {
            let (mut held, mut of, mut pending) = (0, 0, Vec::new());
            for member in &self.members {
                let report = member.windlass.report().await?;
                let shares =
                    |which: &str| report["shares"][which].as_u64().context("a status without shares");
                ensure!(shares("held")? > 0, "a process has no share");
                (held, of) = (held + shares("held")?, shares("of")?);
                let resources = report["resources"].as_array().context("a status without resources")?;
                pending.extend(resources.iter().filter(|resource| resource["ready"] != "ready").cloned());
            }
            let divided = self.options.queue.is_none() || held == of;
            ensure!(divided, "the processes have {held} of {of} shares");
            ensure!(pending.is_empty(), "not ready yet: {pending:#?}");
            Ok(Some(()))
        })
        .await
    }

    /// Lets every writer land this many tags, each as soon as the one before has landed, while somebody else pushes. Then
    /// checks that the history is linear, that nothing was forced or lost, and that nothing was committed twice.
    ///
    /// # Errors
    /// When something did not land in minutes, or a check fails; the message has the ends of the logs.
    pub async fn run(&self, rounds: usize) -> Result<Landings> {
        let run = self.land(rounds).await;
        run.with_context(|| {
            let logs = self.members.iter().map(|member| tail(&member.log(), 30));
            format!("the processes' logs end with:\n{}", logs.collect::<Vec<_>>().join("\n---\n"))
        })
    }

    async fn land(&self, rounds: usize) -> Result<Landings> {
        let (landed, _) = watch::channel(Arrivals::default());
        let (stop, stopped) = watch::channel(false);
        let follower = self.follow(&landed, stopped.clone());
        let foreign = self.push_as_others(stopped);
        let events = async {
            let times = self.announce_all(rounds, &landed).await;
            stop.send_replace(true);
            times
        };
        let (times, foreign, ()) = tokio::try_join!(events, foreign, follower)?;
        let mut races = 0.0;
        for member in &self.members {
            races += member.windlass.metrics().await?.count("windlass_pushes_total", &[("outcome", "moved")]);
        }
        self.verify(rounds, foreign).await?;
        Ok(Landings { times, foreign, races })
    }

    /// Each writer's tags, one after the other; all writers at once.
    async fn announce_all(&self, rounds: usize, landed: &watch::Sender<Arrivals>) -> Result<Vec<Duration>> {
        let mut running = JoinSet::new();
        for writer in writers(&self.options) {
            let (images, host) = (self.registry.images().clone(), self.registry.host());
            let member = self.members[writer.process].clone();
            let mut arrivals = landed.subscribe();
            running.spawn(async move {
                let mut times = Vec::new();
                for round in 1..=rounds {
                    let digest = images.push(&writer.image(), &tag(round), &tag(round)).await?;
                    let started = Instant::now();
                    member.announce(&host, writer, round, &digest).await?;
                    let there =
                        |arrivals: &Arrivals| arrivals.get(&writer).is_some_and(|at| at.len() >= round);
                    let arrived = tokio::time::timeout(PATIENCE, arrivals.wait_for(there));
                    let arrived =
                        arrived.await.with_context(|| format!("{writer:?} did not land {round}"))?;
                    let at = arrived.context("the branch is not followed any more")?[&writer][round - 1];
                    times.push(at.duration_since(started));
                }
                anyhow::Ok(times)
            });
        }
        let mut times = Vec::new();
        while let Some(writer) = running.join_next().await {
            times.extend(writer.context("a writer panicked")??);
        }
        Ok(times)
    }

    /// Notes when each file of a writer changed.
    async fn follow(
        &self,
        landed: &watch::Sender<Arrivals>,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<()> {
        let mut last = self.repository.git(&["rev-parse", BRANCH]).await?;
        let mut watched = RefWatch::start(self.repository.folder(), BRANCH)?;
        let owners: BTreeMap<String, Writer> =
            writers(&self.options).into_iter().map(|w| (w.file(), w)).collect();
        for number in 0.. {
            let moved = tokio::select! {
                moved = watched.moved(number, PATIENCE) => moved?,
                _ = stopped.wait_for(|stop| *stop) => return Ok(()),
            };
            let range = format!("{last}..{}", moved.commit);
            let paths = self.repository.git(&["log", "--format=", "--name-only", &range]).await?;
            landed.send_modify(|landed| {
                for writer in paths.lines().filter_map(|path| owners.get(path)) {
                    landed.entry(*writer).or_default().push(moved.at);
                }
            });
            last = moved.commit;
        }
        Ok(())
    }

    /// Pushes in the server's own repository, and tries again where another was faster. Returns how often it pushed.
    async fn push_as_others(&self, mut stopped: watch::Receiver<bool>) -> Result<usize> {
        let mut pushed = 0;
        loop {
            let stop = tokio::time::timeout(self.options.foreign, stopped.wait_for(|stop| *stop)).await;
            if stop.is_ok() {
                return Ok(pushed);
            }
            let file = [(format!("foreign/{pushed}.yaml"), format!("number: {pushed}\n"))];
            let started = Instant::now();
            while let Err(error) = self.repository.commit(BRANCH, "Foreign\n", file.clone()).await {
                ensure!(started.elapsed() < PATIENCE, "somebody else cannot push: {error:#}");
            }
            pushed += 1;
        }
    }

    /// The history holds exactly what was asked for.
    async fn verify(&self, rounds: usize, foreign: usize) -> Result<()> {
        let (repository, writers) = (&self.repository, writers(&self.options));
        let commits = repository.log(BRANCH).await?;
        ensure!(commits.iter().all(|commit| commit.parents.len() <= 1), "the history is not linear");
        let theirs = commits.iter().filter(|commit| commit.author.contains(OTHERS)).count();
        ensure!(theirs == foreign + 1, "{foreign} foreign commits became {}", theirs - 1);
        let ours = commits.len() - theirs;
        let wanted = writers.len() * rounds;
        ensure!(ours == wanted, "{wanted} events gave {ours} commits");
        // Each move of the branch in the server's own record starts where the one before ended: nothing was forced.
        let moves = repository.git(&["log", "--walk-reflogs", "--format=%H", BRANCH]).await?;
        let moves: HashSet<&str> = moves.lines().collect();
        let reached: HashSet<&str> = commits.iter().map(|commit| commit.id.as_str()).collect();
        ensure!(moves.is_subset(&reached), "commits that were on the branch are not any more");
        for writer in &writers {
            let found = repository.show(BRANCH, &writer.file()).await?;
            let wanted = writer.text(&self.registry.host(), &tag(rounds));
            ensure!(found == wanted.as_bytes(), "{} is not at {}", writer.file(), tag(rounds));
        }
        repository.git(&["fsck", "--strict", "--no-dangling"]).await.map(drop)
    }

    /// Where the repository is served.
    pub fn git(&self) -> &GitServer {
        &self.git
    }
}

/// When each writer's commits were seen on the branch.
type Arrivals = BTreeMap<Writer, Vec<Instant>>;

impl Member {
    async fn start(writers: &[Writer], host: &str, url: &str, options: &CrowdOptions) -> Result<Self> {
        let (config, data, logs) = (ConfigFolder::new()?, fresh(Storage::Memory)?, fresh(Storage::Memory)?);
        let mut receiver = config::receiver(NAMESPACE, RECEIVER, "distribution", "webhook-token", &[]);
        for name in writers.iter().map(|writer| writer.name()) {
            config::and_repository(&mut receiver, &name, &name);
        }
        config.write("writers.yaml", config::documents(writers.iter().map(|w| w.documents(host, url))))?;
        config.write(
            "receiver.yaml",
            config::documents([receiver, config::secret(NAMESPACE, "webhook-token", &[("token", TOKEN)])]),
        )?;
        let listen: SocketAddr = port::free()?;
        let mut windlass = Windlass::start(WindlassOptions {
            config: config.path().to_owned(),
            data: data.path().to_owned(),
            listen,
            admin_listen: None,
            arguments: options.queue.iter().flat_map(|url| ["--queue".into(), url.into()]).collect(),
            environment: Vec::new(),
            log: logs.path().join("windlass.log"),
            program: options.windlass_program.clone(),
            joins: None,
        })
        .await?;
        windlass.wait_ready(PATIENCE).await?;
        Ok(Self { windlass, _config: config, _data: data, logs })
    }

    async fn announce(&self, host: &str, writer: Writer, round: usize, digest: &str) -> Result<()> {
        let (id, image, tag) = (format!("{}-{round}", writer.name()), writer.image(), tag(round));
        let push = Push { id: &id, host, repository: &image, tag: Some(&tag), digest };
        let path = config::webhook_path(TOKEN, RECEIVER, NAMESPACE);
        let headers = [("authorization", TOKEN), ("content-type", ENVELOPE)];
        let body = envelope(&[push]).to_string().into_bytes();
        let answer = self.windlass.post(&path, &headers, body).await?;
        ensure!(answer.status().is_success(), "the webhook was answered {}", answer.status());
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.logs.path().join("windlass.log")).unwrap_or_default()
    }
}

fn writers(options: &CrowdOptions) -> Vec<Writer> {
    let lanes = |process| (0..options.writers).map(move |lane| Writer { process, lane });
    (0..options.processes).flat_map(lanes).collect()
}
