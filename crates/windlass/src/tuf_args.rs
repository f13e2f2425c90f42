//! The arguments by which commands name a TUF repository for the trust root.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use windlass_model::guard::{TufAnchor, TufRepository};
use windlass_tuf::Cache;

use crate::docker_config::read_text;

/// Where a trust root is fetched from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Trust root")]
pub(crate) struct TufArgs {
    /// The mirror of a TUF repository whose target `trusted_root.json` is the trust root
    #[arg(long, value_name = "URL")]
    tuf_mirror: Option<String>,
    /// The first root of that repository (`root.json`); that of Sigstore's own mirror is built in
    #[arg(long, value_name = "FILE", requires = "tuf_mirror")]
    tuf_root: Option<PathBuf>,
    /// Keep what TUF repositories vouch for in this directory, as an instance does in `trust-roots` of its data directory
    #[arg(long, value_name = "DIR")]
    tuf_cache: Option<PathBuf>,
    /// Do not ask the mirror: take what the directory holds
    #[arg(long, requires = "tuf_mirror", requires = "tuf_cache")]
    tuf_offline: bool,
    /// Allow plain HTTP to the mirror
    #[arg(long, requires = "tuf_mirror")]
    allow_http_mirror: bool,
}

impl TufArgs {
    /// The repository, if one is named.
    ///
    /// # Errors
    /// An argument is wrong, or the file cannot be read.
    pub(crate) fn repository(&self) -> anyhow::Result<Option<TufRepository>> {
        let Some(mirror) = &self.tuf_mirror else { return Ok(None) };
        let mirror = TufRepository::mirror(mirror, self.allow_http_mirror)
            .with_context(|| format!("--tuf-mirror {mirror}"))?;
        let anchor = match &self.tuf_root {
            Some(path) => TufAnchor::Inline(read_text(path)?),
            None if mirror == TufRepository::SIGSTORE => TufAnchor::PublicGood,
            None => {
                anyhow::bail!("give --tuf-root: the first root of this mirror's repository is not built in")
            }
        };
        Ok(Some(TufRepository {
            mirror,
            anchor,
            target: TufRepository::TRUSTED_ROOT.to_owned(),
            refresh_interval: TufRepository::REFRESH_INTERVAL,
            offline: self.tuf_offline,
        }))
    }

    /// Where files outlive the command.
    pub(crate) fn cache(&self) -> Cache {
        self.tuf_cache.clone().map_or(Cache::Nowhere, Cache::Keep)
    }
}
