//! Measures a mirror from the inside: `cargo run --release -p windlass-git --example mirror_probe URL FOLDER [PREFIX]`.
//!
//! It makes a mirror of the branch `main` in FOLDER, and reads every file below PREFIX that may hold markers. Then each
//! line on its input makes it look at the server again, fetch what is new and read what changed. Every time it prints
//! one line of JSON with the milliseconds that the steps took: `poll`, `fetch`, `list`, `scan`, and the numbers of
//! `files`, of contents that were `read` and of those with `markers`.

use std::collections::HashSet;
use std::io::BufRead as _;
use std::path::Path;
use std::time::{Duration, Instant};

use windlass_git::{
    Auth, Blob, BlobId, CommitId, FileEntry, Implementation, Limits, Mirror, Remote, RemoteConfig,
};
use windlass_manifest::screen;

const BRANCH: &str = "main";

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("give the repository's URL and a folder".into());
    };
    let prefix = arguments.next().unwrap_or_default();
    let remote = Remote::new(RemoteConfig {
        url,
        auth: Auth::None,
        ca_pem: None,
        client_identity_pem: None,
        proxy: None,
        timeout: Duration::from_mins(1),
        implementation: Implementation::BuiltIn,
    })?;
    let mut mirror = Mirror::open(Path::new(&folder), remote, Limits::default()).await?;
    let mut known = Known::default();
    look(&mut mirror, &prefix, &mut known).await?;
    for line in std::io::stdin().lock().lines() {
        line?;
        look(&mut mirror, &prefix, &mut known).await?;
    }
    Ok(())
}

/// What the probe remembers, as a lane does: contents, and the list of files at a head that has not moved.
#[derive(Default)]
struct Known {
    blobs: HashSet<BlobId>,
    list: Option<(CommitId, Vec<FileEntry>)>,
}

async fn look(mirror: &mut Mirror, prefix: &str, known: &mut Known) -> Result<(), Failure> {
    let mut watch = Instant::now();
    let tip = mirror.ls_refs(&[BRANCH]).await?[BRANCH].ok_or("the repository has no branch main")?;
    let poll = lap(&mut watch);
    mirror.fetch(BRANCH, tip).await?;
    let fetch = lap(&mut watch);
    if known.list.as_ref().is_none_or(|(head, _)| *head != tip) {
        known.list = Some((tip, mirror.files(tip, prefix, screen::is_candidate).await?));
    }
    let files = known.list.as_ref().map(|(_, files)| files.as_slice()).unwrap_or_default();
    let list = lap(&mut watch);
    let unread: Vec<BlobId> =
        files.iter().map(|file| file.blob).filter(|blob| known.blobs.insert(*blob)).collect();
    let read = unread.len();
    let count = |found: &mut usize, _, blob: Blob<'_>| {
        *found += usize::from(matches!(blob, Blob::Content(bytes) if screen::may_have_marker(bytes)));
    };
    let markers = mirror.read_blobs(unread, 0, count).await?;
    let scan = lap(&mut watch);
    println!(
        "{{\"poll\":{poll:.3},\"fetch\":{fetch:.3},\"list\":{list:.3},\"scan\":{scan:.3},\"files\":{},\"read\":{read},\
         \"markers\":{markers}}}",
        files.len()
    );
    Ok(())
}

/// Milliseconds since the last time.
fn lap(watch: &mut Instant) -> f64 {
    let elapsed = watch.elapsed();
    *watch = Instant::now();
    elapsed.as_secs_f64() * 1000.0
}
