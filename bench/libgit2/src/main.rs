//! Lands edits with libgit2, for a measurement: `libgit2-rounds URL FOLDER`, with a bare clone in FOLDER.
//!
//! The protocol is that of windlass-git's example `landing_rounds`: `ready`, then for each folder named on a line of
//! standard input one commit on `main`, and its time in microseconds, from fetching the branch until the push is done.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::Instant;

use git2::build::{RepoBuilder, TreeUpdateBuilder};
use git2::{FetchOptions, FileMode, Oid, PushOptions, RemoteCallbacks, Repository, Signature};

const REMOTE: &str = "refs/remotes/origin/main";

/// Paths and contents.
type Files = Vec<(String, Vec<u8>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, folder] = arguments.as_slice() else { return Err("give URL and FOLDER".into()) };
    let mut options = FetchOptions::new();
    options.depth(1);
    let repository = RepoBuilder::new().bare(true).fetch_options(options).clone(url, Path::new(folder))?;
    say("ready")?;
    for line in std::io::stdin().lock().lines() {
        let changes = read(Path::new(&line?))?;
        let started = Instant::now();
        land(&repository, &changes)?;
        say(&started.elapsed().as_micros().to_string())?;
    }
    Ok(())
}

fn land(repository: &Repository, changes: &Files) -> Result<(), Box<dyn Error>> {
    let mut remote = repository.find_remote("origin")?;
    let mut options = FetchOptions::new();
    options.depth(1);
    remote.fetch(&[format!("+refs/heads/main:{REMOTE}")], Some(&mut options), None)?;
    let parent = repository.find_reference(REMOTE)?.peel_to_commit()?;
    let mut update = TreeUpdateBuilder::new();
    for (path, bytes) in changes {
        let blob: Oid = repository.blob(bytes)?;
        update.upsert(path.as_str(), blob, FileMode::Blob);
    }
    let tree = repository.find_tree(update.create_updated(repository, &parent.tree()?)?)?;
    let who = Signature::now("libgit2", "libgit2@example.org")?;
    let commit = repository.commit(None, &who, &who, "Update\n", &tree, &[&parent])?;
    repository.reference("refs/heads/main", commit, true, "update")?;
    let mut refusal = None;
    let mut callbacks = RemoteCallbacks::new();
    callbacks.push_update_reference(|_, status| {
        refusal = status.map(str::to_owned);
        Ok(())
    });
    let mut options = PushOptions::new();
    options.remote_callbacks(callbacks);
    remote.push(&["refs/heads/main:refs/heads/main"], Some(&mut options))?;
    drop(options);
    refusal.map_or(Ok(()), |why| Err(why.into()))
}

/// The files below a folder, by their paths relative to it.
fn read(folder: &Path) -> Result<Files, Box<dyn Error>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder)?.to_str().ok_or("a path that is not UTF-8")?.to_owned();
                files.push((name, std::fs::read(&path)?));
            }
        }
    }
    Ok(files)
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
