//! The Git engine alone, warm: an edit of five files of 10,000 until it has landed, in turns with a bare `git push` of an
//! equal commit, with a fresh shallow clone that is edited, committed and pushed by the `git` program, and over HTTP with
//! libgit2 on a warm bare clone. Each works on a repository of its own on the same server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use windlass_testkit::fleet::Fleet;
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::git_repository::{BRANCH, BareRepository};
use windlass_testkit::git_server::{Checkout, GitOptions, GitServer};
use windlass_testkit::locate::target_folder;
use windlass_testkit::ssh_server::{SshOptions, SshServer};

use super::bare::BarePushes;
use super::program::Program;
use super::report::Table;
use super::stage::Stage;
use crate::figures::{Figure, Samples, Target};
use crate::run::shown;
use crate::{build, root};

/// Files of one edit.
const EDITED: usize = 5;
/// Rounds that are not counted.
const WARM_UP: usize = 2;
/// Clones take seconds, and so do their checkouts: fewer of them are measured.
const ROUNDS_PER_CLONE: usize = 4;
/// Nobody pulls these images.
const HOST: &str = "registry.example.org";

/// Runs the rounds over HTTP, then over SSH, and gives a table for each.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Table>> {
    let server = GitServer::start(GitOptions::default())?;
    let ssh = Ssh::start().await?;
    let (engine, libgit2) = (build::example("windlass-git", "landing_rounds")?, libgit2_rounds()?);
    let rounds = stage.size(40, 10) + WARM_UP;
    let http = measure_over(&server, None, rounds, &engine, Some(&libgit2)).await?;
    Ok(vec![http, measure_over(&server, Some(&ssh), rounds, &engine, None).await?])
}

/// Runs the rounds on repositories of this server, which are reached over SSH where that is given.
async fn measure_over(
    server: &GitServer,
    ssh: Option<&Ssh>,
    rounds: usize,
    engine: &Path,
    libgit2: Option<&Path>,
) -> Result<Table> {
    let fleet = Fleet::default();
    let named = |name: &str| format!("{name}-{}", if ssh.is_some() { "ssh" } else { "http" });
    let start = async |program: &Path, name: &str| {
        let repository = fleet.create(server, &named(name), HOST).await?;
        let url = ssh.map_or_else(|| server.url(&named(name)), |ssh| ssh.server.url(repository.folder()));
        Contender::start(program, &url, ssh.map(|ssh| ssh.keys.path()), repository, fleet).await
    };
    let mut ours = start(engine, "ours").await?;
    let mut libgit2 = match libgit2 {
        Some(program) => Some(start(program, "libgit2").await?),
        None => None,
    };
    let mut bare = BarePushes::prepare(server, &named("bare"), fleet, HOST).await?;
    let clones = fleet.create(server, &named("clones"), HOST).await?;
    let mut source = Source { url: server.url(&named("clones")), options: Vec::new() };
    if let Some(ssh) = ssh {
        bare.over_ssh(&ssh.server.url(bare.folder()), &ssh.command()).await?;
        let setting = format!("core.sshCommand={}", ssh.command());
        source =
            Source { url: ssh.server.url(clones.folder()), options: vec!["--config".to_owned(), setting] };
    }
    for round in 0..rounds {
        bare.commit(markers(round), &tag(round)).await?;
    }
    let mut measured = Rounds::default();
    for round in 0..rounds {
        // The order changes, so that nobody always comes after the same other.
        for turn in 0..4 {
            match (round + turn) % 4 {
                0 => measured.ours.push(ours.land(round).await?),
                1 => {
                    if let Some(libgit2) = &mut libgit2 {
                        measured.libgit2.push(libgit2.land(round).await?);
                    }
                }
                2 => measured.bare.push(bare.push().await?.process),
                _ if round % ROUNDS_PER_CLONE == 0 => {
                    measured.clones.push(clone_and_push(&source, &clones, fleet, round).await?);
                }
                _ => {}
            }
        }
    }
    ours.verify(rounds).await?;
    if let Some(libgit2) = &libgit2 {
        libgit2.verify(rounds).await?;
    }
    Ok(measured.table(fleet, if ssh.is_some() { "SSH" } else { "HTTP" }))
}

/// OpenSSH's server, which reaches the same repositories, and what a client needs.
struct Ssh {
    server: SshServer,
    keys: TempDir,
}

impl Ssh {
    async fn start() -> Result<Self> {
        let (server, keys) = (SshServer::start(&SshOptions::default()).await?, fresh(Storage::Memory)?);
        server.write_client_files(keys.path())?;
        Ok(Self { server, keys })
    }

    /// What the git program runs.
    fn command(&self) -> String {
        let keys = self.keys.path().display();
        format!(
            "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -i {keys}/identity -o StrictHostKeyChecking=yes \
             -o UserKnownHostsFile={keys}/known_hosts"
        )
    }
}

/// What a clone is made from.
struct Source {
    url: String,
    options: Vec<String>,
}

fn tag(round: usize) -> String {
    format!("1.0.{}", round + 1)
}

/// The markers that a round edits.
fn markers(round: usize) -> std::ops::Range<usize> {
    let places = Fleet::default().marked / EDITED;
    let first = round % places * EDITED;
    first..first + EDITED
}

/// The files of a round with their new contents.
fn edited(fleet: Fleet, round: usize) -> Vec<(String, String)> {
    let files = fleet.marked_files();
    let text = |(path, policy): &(String, usize)| {
        (path.clone(), fleet.marked_text(path, HOST, *policy, &tag(round)))
    };
    files[markers(round)].iter().map(text).collect()
}

fn write(folder: &Path, files: Vec<(String, String)>) -> Result<()> {
    for (path, text) in files {
        let file = folder.join(path);
        std::fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// A program that keeps a warm clone and lands what it is told to.
struct Contender {
    program: Program,
    repository: BareRepository,
    fleet: Fleet,
    _clone: TempDir,
}

impl Contender {
    async fn start(
        program: &Path,
        url: &str,
        keys: Option<&Path>,
        repository: BareRepository,
        fleet: Fleet,
    ) -> Result<Self> {
        let clone = fresh(Storage::Memory)?;
        let mut command = Command::new(program);
        command.arg(url).arg(clone.path().join("clone")).args(keys);
        let mut started = Program::start(command)?;
        let said = started.answer().await?;
        ensure!(said == "ready", "{} said `{said}`", program.display());
        Ok(Self { program: started, repository, fleet, _clone: clone })
    }

    async fn land(&mut self, round: usize) -> Result<Duration> {
        let folder = fresh(Storage::Memory)?;
        write(folder.path(), edited(self.fleet, round))?;
        let answer = self.program.order(&folder.path().display().to_string()).await?;
        Ok(Duration::from_micros(answer.parse().context("a time in microseconds")?))
    }

    /// One commit for each round, and the last one's text.
    async fn verify(&self, rounds: usize) -> Result<()> {
        let commits = self.repository.log(BRANCH).await?.len() - 1;
        ensure!(commits == rounds, "{rounds} edits gave {commits} commits");
        for (path, text) in edited(self.fleet, rounds - 1) {
            ensure!(
                self.repository.show(BRANCH, &path).await? == text.as_bytes(),
                "{path} is not as expected"
            );
        }
        Ok(())
    }
}

/// What a job does that keeps nothing: clone, edit, commit, push.
async fn clone_and_push(
    source: &Source,
    repository: &BareRepository,
    fleet: Fleet,
    round: usize,
) -> Result<Duration> {
    let before = repository.log(BRANCH).await?.len();
    let files = edited(fleet, round);
    let mut options = vec!["--depth", "1"];
    options.extend(source.options.iter().map(String::as_str));
    let started = Instant::now();
    let checkout = Checkout::clone_from(&source.url, &options).await?;
    write(checkout.folder(), files)?;
    checkout.git(&["commit", "--quiet", "--all", "--message", "Update"]).await?;
    checkout.git(&["push", "--quiet", "origin", BRANCH]).await?;
    let took = started.elapsed();
    ensure!(repository.log(BRANCH).await?.len() == before + 1, "the clone's commit did not land");
    Ok(took)
}

#[derive(Default)]
struct Rounds {
    ours: Vec<Duration>,
    libgit2: Vec<Duration>,
    bare: Vec<Duration>,
    clones: Vec<Duration>,
}

impl Rounds {
    fn table(self, fleet: Fleet, over: &str) -> Table {
        let warm = |times: Vec<Duration>| Samples::new(times.into_iter().skip(WARM_UP).collect());
        let libgit2 = if self.libgit2.is_empty() { None } else { Some(warm(self.libgit2)) };
        let (ours, bare, clones) = (warm(self.ours), warm(self.bare), Samples::new(self.clones));
        let files = fleet.clusters * fleet.applications * fleet.files_each;
        let mut table = Table::new(format!(
            "engine: an edit of {EDITED} files of {files} → landed, warm, over {over}; {} rounds in turns",
            ours.len()
        ));
        for (name, samples) in [
            ("ours: committed where the branch was last seen, pushed and seen", Some(&ours)),
            ("bare git push of an equal commit, the whole process", Some(&bare)),
            ("git clone --depth 1, edit, commit, push", Some(&clones)),
            ("libgit2 on a warm clone: fetch, commit, push", libgit2.as_ref()),
        ] {
            if let Some(samples) = samples {
                table.row(format!("{name}, p50"), Figure::time(samples.median()));
            }
        }
        let times = |other: &Samples| Figure::ratio(ours.median(), other.median());
        let faster = |other: &Samples| Figure::ratio(other.median(), ours.median());
        table.goal("ours ÷ bare git push", times(&bare), Target::AtMost(1.0));
        table.goal("clone, edit, commit, push ÷ ours", faster(&clones), Target::AtLeast(25.0));
        match &libgit2 {
            Some(libgit2) => table.row("libgit2 ÷ ours", faster(libgit2)),
            None => table.note(
                "libgit2 is left out: its SSH needs libssh2 and OpenSSL, which it does not bring along.",
            ),
        }
        table.note("All files of the servers and of the clones are in memory.");
        table
    }
}

/// Builds libgit2's program, which is no part of the workspace.
fn libgit2_rounds() -> Result<PathBuf> {
    eprintln!("building libgit2-rounds (release profile)");
    let folder = target_folder()?.join("bench-libgit2");
    let mut command = Command::new("cargo");
    command
        .args(["build", "--locked", "--release", "--target-dir"])
        .arg(&folder)
        .current_dir(root()?.join("bench/libgit2"));
    shown(&mut command)?;
    Ok(folder.join("release/libgit2-rounds"))
}
