//! Mirrors of a repository with 10,000 files: the first look at it, a look that finds nothing new, and a commit by
//! somebody else. The first scan for markers, of a pack with deep delta chains, stands beside `git grep` in that pack.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use windlass_testkit::fleet::Fleet;
use windlass_testkit::folder::{Storage, fresh};
use windlass_testkit::git_repository::{self, BRANCH, BareRepository};
use windlass_testkit::git_server::{GitOptions, GitServer};

use super::program::Program;
use super::report::Table;
use super::stage::Stage;
use crate::build;
use crate::figures::{Figure, Samples, Target};

const HOST: &str = "registry.example.org";
/// Commits of the history whose pack has deep chains, and the files that each changes.
const HISTORY: usize = 400;
const CHANGED: usize = 60;
/// Deltas on top of each other, at most: Git's own bound when it repacks.
const DEPTH: &str = "--depth=50";
/// Files that somebody else's commit changes.
const FOREIGN: usize = 5;
/// `git grep` takes 0.46 s where the first scan may take 0.7 s.
const SCAN_TO_GREP: f64 = 1.52;

/// Runs everything and gives the table.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Table>> {
    let program = build::example("windlass-git", "mirror_probe")?;
    let (fleet, server) = (Fleet::default(), GitServer::start(GitOptions::default())?);
    let plain = fleet.create(&server, "plain", HOST).await?;
    let deep = server.create_repository("deep", Vec::<(String, String)>::new()).await?;
    import_history(&deep, fleet, stage.size(HISTORY, HISTORY / 4)).await?;
    let mut table =
        Table::new(format!("mirror: {} files", fleet.clusters * fleet.applications * fleet.files_each));
    first_look(&mut table, &program, &server, stage.size(5, 2)).await?;
    later_looks(&mut table, &program, &server, &plain, stage.size(60, 10)).await?;
    first_scan(&mut table, &program, &server, &deep, stage.size(7, 3)).await?;
    table.note("All files of the servers and of the mirrors are in memory.");
    Ok(vec![table])
}

/// Fetching and reading all markers, with nothing there before.
async fn first_look(table: &mut Table, program: &Path, server: &GitServer, rounds: usize) -> Result<()> {
    for (prefix, what) in [("", "all of it"), ("clusters/c03", "a tenth of it")] {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let folder = fresh(Storage::Memory)?;
            let mut probe = Probe::start(program, &server.url("plain"), folder.path(), prefix)?;
            let look = probe.answer().await?;
            times.push(look.fetch + look.list + look.scan);
        }
        let figure = Figure::time(Samples::new(times).median());
        table.row(format!("first look, `update.path` is {what}: fetched and read, p50"), figure);
    }
    Ok(())
}

async fn later_looks(
    table: &mut Table,
    program: &Path,
    server: &GitServer,
    repository: &BareRepository,
    rounds: usize,
) -> Result<()> {
    let folder = fresh(Storage::Memory)?;
    let mut probe = Probe::start(program, &server.url("plain"), folder.path(), "")?;
    probe.answer().await?;
    let (url, branch) = (server.url("plain"), format!("refs/heads/{BRANCH}"));
    let (mut polls, mut asked, mut fetched, mut read) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let look = probe.look().await?;
        polls.push(look.poll + look.fetch + look.list + look.scan);
        let started = Instant::now();
        git_repository::run(folder.path(), &["ls-remote", &url, &branch], &[]).await?;
        asked.push(started.elapsed());
        let files = Fleet::default().files(HOST);
        let files = files.into_iter().skip(round % 100 * 97).step_by(11).take(FOREIGN);
        let files = files.map(|(path, text)| (path, format!("{text}# {round}\n")));
        repository.commit(BRANCH, "By somebody else\n", files).await?;
        let look = probe.look().await?;
        ensure!(look.read == FOREIGN, "a commit of {FOREIGN} files made us read {}", look.read);
        fetched.push(look.fetch + look.scan);
        read.push(look.list);
    }
    table.row("git ls-remote, the whole process, p50", Figure::time(Samples::new(asked).median()));
    let poll = Figure::time(Samples::new(polls).median());
    table.goal("a look that finds nothing new, p50", poll, Target::AtMost(10.0));
    let fetched = Figure::time(Samples::new(fetched).median());
    table
        .row(format!("somebody else's commit of {FOREIGN} files: fetched, changed files read, p50"), fetched);
    table.row("the same: all files listed again, p50", Figure::time(Samples::new(read).median()));
    Ok(())
}

/// The mirror gets the server's own pack, as one that knows no shallow fetch sends it.
async fn first_scan(
    table: &mut Table,
    program: &Path,
    server: &GitServer,
    repository: &BareRepository,
    rounds: usize,
) -> Result<()> {
    let (mut scans, mut greps) = (Vec::new(), Vec::new());
    let mut found = 0;
    for _ in 0..rounds {
        let folder = fresh(Storage::Memory)?;
        seed(folder.path(), repository).await?;
        let mut probe = Probe::start(program, &server.url("deep"), folder.path(), "")?;
        let look = probe.answer().await?;
        ensure!(
            look.fetch < Duration::from_millis(20),
            "the mirror was fetched, not taken as it was laid out"
        );
        scans.push(look.scan);
        found = look.markers;
        let started = Instant::now();
        let list =
            repository.git(&["grep", "--name-only", "--fixed-strings", "$imagepolicy", BRANCH]).await?;
        greps.push(started.elapsed());
        ensure!(list.lines().count() == found, "git grep finds {}, we {found}", list.lines().count());
    }
    let (scan, grep) = (Samples::new(scans).median(), Samples::new(greps).median());
    let what = "with delta chains of up to 50";
    table.row(format!("git grep, {what}, p50"), Figure::time(grep));
    table.row(format!("first scan for {found} markers, {what}, p50"), Figure::time(scan));
    table.goal("first scan ÷ git grep", Figure::ratio(scan, grep), Target::AtMost(SCAN_TO_GREP));
    Ok(())
}

/// Commits of changed files, written as `git fast-import` does: each content a delta against the one before.
async fn import_history(repository: &BareRepository, fleet: Fleet, commits: usize) -> Result<()> {
    let files = fleet.files(HOST);
    let mut stream = Vec::new();
    let mut commit = |number: usize, changed: &mut dyn Iterator<Item = (&str, String)>| {
        let time = 1_700_000_000 + number;
        let head =
            format!("commit refs/heads/{BRANCH}\ncommitter A <a@example.org> {time} +0000\ndata 2\nx\n");
        stream.extend_from_slice(head.as_bytes());
        for (path, text) in changed {
            let file = format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len());
            stream.extend_from_slice(file.as_bytes());
        }
    };
    commit(0, &mut files.iter().map(|(path, text)| (path.as_str(), text.clone())));
    for number in 1..commits {
        let changed = (0..CHANGED).map(|file| &files[(number * 7919 + file * 163) % files.len()]);
        commit(number, &mut changed.map(|(path, text)| (path.as_str(), format!("{text}# {number}\n"))));
    }
    git_repository::run(repository.folder(), &["fast-import", "--quiet", "--force", DEPTH], &stream).await?;
    Ok(())
}

/// A mirror's folder, as this program lays it out, around a copy of the server's pack.
async fn seed(folder: &Path, repository: &BareRepository) -> Result<()> {
    let generation = folder.join("1.git");
    let packs = generation.join("objects/pack");
    std::fs::create_dir_all(&packs)?;
    let tip = repository.git(&["rev-parse", BRANCH]).await?;
    std::fs::write(generation.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = true\n")?;
    std::fs::write(generation.join("packed-refs"), format!("{tip} refs/heads/{BRANCH}\n"))?;
    for entry in std::fs::read_dir(repository.folder().join("objects/pack"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), packs.join(entry.file_name()))?;
    }
    Ok(())
}

/// The program that keeps a mirror and says how long each step took.
struct Probe(Program);

/// One look at the server.
struct Look {
    poll: Duration,
    fetch: Duration,
    list: Duration,
    scan: Duration,
    read: usize,
    markers: usize,
}

impl Probe {
    fn start(program: &Path, url: &str, folder: &Path, prefix: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(url).arg(folder).arg(prefix);
        Program::start(command).map(Self)
    }

    async fn look(&mut self) -> Result<Look> {
        Look::read(&self.0.order("").await?)
    }

    async fn answer(&mut self) -> Result<Look> {
        Look::read(&self.0.answer().await?)
    }
}

impl Look {
    fn read(line: &str) -> Result<Self> {
        let said: Value = serde_json::from_str(line).with_context(|| format!("reading `{line}`"))?;
        let number = |name: &str| said[name].as_f64().with_context(|| format!("`{line}` has no {name}"));
        let time = |name: &str| anyhow::Ok(Duration::from_secs_f64(number(name)? / 1000.0));
        let count = |name: &str| said[name].as_u64().and_then(|count| usize::try_from(count).ok());
        Ok(Self {
            poll: time("poll")?,
            fetch: time("fetch")?,
            list: time("list")?,
            scan: time("scan")?,
            read: count("read").context("a number of contents")?,
            markers: count("markers").context("a number of markers")?,
        })
    }
}
