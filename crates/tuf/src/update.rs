//! One update: from the first root, over what is known, to the trust root that a repository vouches for now. Whole, or
//! nothing.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sigstore_tuf::{Repository, TrustedMetadataSet, Updater, UpdaterConfig};
use windlass_verify::{RootError, TrustRoot};

use crate::folder::Folder;
use crate::source::Source;
use crate::staging::{Files, Staging};

/// Longest trust root: what `windlass-verify` reads.
const MAX_TARGET: u64 = 1 << 20;
/// For one update, however many requests it needs.
const DEADLINE: Duration = Duration::from_mins(2);

/// What an update found.
#[derive(Debug)]
pub(crate) struct Update {
    /// The files that are new or were changed.
    pub(crate) files: Files,
    /// The trust root.
    pub(crate) root: TrustRoot,
    /// When the first of the signatures that vouch for it expires.
    pub(crate) until: Timestamp,
}

/// Why an update failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    /// The repository could not be reached, or what it shows is not to be believed.
    #[error("{}", chain(.0))]
    Tuf(#[from] sigstore_tuf::Error),
    /// It takes too long.
    #[error("it did not end within {DEADLINE:?}")]
    Deadline,
    /// The target is not what it should be.
    #[error("the target is not text")]
    NotText,
    /// The same.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Nothing is kept between processes, and the mirror is not to be asked.
    #[error("there is no folder to read it from, and the mirror is not to be asked")]
    NoFolder,
    /// The HTTP client could not be made.
    #[error("the mirror cannot be asked: {0}")]
    Client(String),
}

/// Updates from a mirror, or from a folder. Of what is not known, `folder` has the lowest versions that are taken.
pub(crate) async fn update(
    source: &Source,
    from: impl Repository + 'static,
    known: Arc<Files>,
    folder: Option<Folder>,
    now: Timestamp,
) -> Result<Update, UpdateError> {
    let updating = attempt(source, from, known, folder, now);
    tokio::time::timeout(DEADLINE, updating).await.unwrap_or(Err(UpdateError::Deadline))
}

async fn attempt(
    source: &Source,
    from: impl Repository + 'static,
    known: Arc<Files>,
    folder: Option<Folder>,
    now: Timestamp,
) -> Result<Update, UpdateError> {
    let staging = Arc::new(Staging::new(known, folder));
    let mut bounds = UpdaterConfig::default();
    bounds.target_max_length = MAX_TARGET;
    let updater = Updater::new(from, source.anchor.as_bytes())?;
    let mut updater = updater.with_config(bounds).with_store(staging.clone());
    updater.refresh(now).await?;
    let target = updater.get_target(&source.repository.target, now).await?;
    let json = String::from_utf8(target).map_err(|_| UpdateError::NotText)?;
    let root = TrustRoot::from_json(&json)?;
    Ok(Update { files: staging.take(), root, until: until(updater.trusted()) })
}

/// When the first of these expires. Roles that were delegated to and were not looked at do not count.
fn until(trusted: &TrustedMetadataSet) -> Timestamp {
    let roles = trusted.snapshot().into_iter().flat_map(|snapshot| snapshot.meta.keys());
    let targets =
        roles.filter_map(|file| trusted.targets_role(file.strip_suffix(".json")?)).map(|role| role.expires);
    let above = [
        Some(trusted.root().expires),
        trusted.timestamp().map(|role| role.expires),
        trusted.snapshot().map(|role| role.expires),
    ];
    above.into_iter().flatten().chain(targets).min().unwrap_or(Timestamp::MIN)
}

/// An error with its causes, which it leaves out.
pub(crate) fn chain(error: &sigstore_tuf::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
