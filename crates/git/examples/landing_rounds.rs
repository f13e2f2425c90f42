//! Lands edits for a measurement: `landing_rounds URL FOLDER [KEYS]`, with the mirror in FOLDER. For SSH, the folder KEYS
//! has `identity` and `known_hosts`.
//!
//! Prints `ready` once the mirror is there. Then each line of standard input names a folder, whose files are the new
//! contents of the files of the same paths in the repository. Each is landed as one commit on `main`, on top of where the
//! branch was last seen, as a lane of the promoter does on a branch that others leave alone, until the commit was seen
//! there; its time is printed in microseconds.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use windlass_git::{
    Auth, CommitId, CommitText, Identity, Implementation, Limits, Mirror, PushOutcome, PushRequest, Remote,
    RemoteConfig,
};

const BRANCH: &str = "main";

/// Paths and contents.
type Files = Vec<(String, Vec<u8>)>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, folder, keys @ ..] = arguments.as_slice() else { return Err("give URL and FOLDER".into()) };
    let auth = match keys {
        [] => Auth::None,
        [keys, ..] => Auth::Ssh {
            identity: std::fs::read(Path::new(keys).join("identity"))?.into(),
            passphrase: None,
            known_hosts: std::fs::read(Path::new(keys).join("known_hosts"))?,
        },
    };
    let config = RemoteConfig {
        url: url.clone(),
        auth,
        ca_pem: None,
        client_identity_pem: None,
        proxy: None,
        timeout: Duration::from_mins(1),
        implementation: Implementation::BuiltIn,
    };
    let mut mirror = Mirror::open(Path::new(folder), Remote::new(config)?, Limits::default()).await?;
    let mut tip = fetch(&mut mirror).await?;
    say("ready")?;
    for line in std::io::stdin().lock().lines() {
        let changes = read(Path::new(&line?))?;
        let started = Instant::now();
        tip = land(&mut mirror, tip, changes).await?;
        say(&started.elapsed().as_micros().to_string())?;
    }
    Ok(())
}

async fn fetch(mirror: &mut Mirror) -> Result<CommitId, Box<dyn Error>> {
    let tip = mirror.ls_refs(&[BRANCH]).await?[BRANCH].ok_or("the branch does not exist")?;
    mirror.fetch(BRANCH, tip).await?;
    Ok(tip)
}

#[expect(clippy::disallowed_methods, reason = "a measurement runs on the wall clock")]
async fn land(mirror: &mut Mirror, tip: CommitId, changes: Files) -> Result<CommitId, Box<dyn Error>> {
    let author = Identity { name: "Windlass".to_owned(), email: "windlass@example.org".to_owned() };
    let message = "Update\n".to_owned();
    let text =
        CommitText { committer: author.clone(), author, time: Timestamp::now(), message, signer: None };
    let prepared = mirror.commit(tip, changes, &text).await?.ok_or("the edit changes nothing")?;
    let request = PushRequest::new(BRANCH, Some(tip), &prepared);
    match mirror.push(request).await? {
        PushOutcome::Landed { .. } => Ok(prepared.id()),
        other => Err(format!("not landed: {other:?}").into()),
    }
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
