//! Where the tags of `windlass select` come from: a file, standard input, or a registry. All of it is bounded.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use windlass_model::{ImageName, Tag};
use windlass_policy::rank::Candidate;
use windlass_registry::{Credentials, Metrics, Pool, PoolConfig, RepositoryConfig};

use super::TagArgs;
use crate::docker_config::{self, bounded, read_text};

/// For the whole tag list, all pages.
const REGISTRY_TIMEOUT: Duration = Duration::from_mins(1);

/// Tags, each with the time at which it was first seen where that is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TagsSeen(Vec<(Tag, Option<Timestamp>)>);

impl TagsSeen {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the time of any tag is known.
    pub(super) fn has_times(&self) -> bool {
        self.0.iter().any(|(_, first_seen)| first_seen.is_some())
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.0.iter().map(|(tag, first_seen)| Candidate { tag: tag.as_str(), first_seen: *first_seen })
    }

    /// Reads lines of `TAG` or `TAG TIME`; blank ones are skipped.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut seen = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(tag) = words.next() else { continue };
            let tag = Tag::parse(tag).with_context(|| format!("line {}", index + 1))?;
            let first_seen = words.next().map(|time| {
                time.parse::<Timestamp>().map_err(|_| {
                    format!("`{}` is not a time: write 2026-01-15T10:00:00Z", time.escape_debug())
                })
            });
            match (first_seen.transpose(), words.next()) {
                (Ok(first_seen), None) => seen.push((tag, first_seen)),
                (Err(why), _) => bail!("line {}: {why}", index + 1),
                (Ok(_), Some(_)) => bail!("line {}: has more than a tag and a time", index + 1),
            }
        }
        Ok(Self(seen))
    }
}

/// Reads the tags from where the arguments say.
pub(super) async fn read(args: &TagArgs) -> anyhow::Result<TagsSeen> {
    match (&args.image, &args.tags) {
        (Some(image), _) => from_registry(image, args).await,
        (None, Some(path)) if path.as_os_str() != "-" => {
            TagsSeen::parse(&read_text(path)?).with_context(|| path.display().to_string())
        }
        (None, _) => TagsSeen::parse(&bounded(io::stdin(), "standard input")?).context("standard input"),
    }
}

async fn from_registry(image: &str, args: &TagArgs) -> anyhow::Result<TagsSeen> {
    let image = ImageName::parse(image)?;
    let credentials = match &args.docker_config {
        Some(path) => docker_config::credentials(path, &image)?,
        None => Credentials::Anonymous,
    };
    let config = RepositoryConfig {
        credentials,
        insecure: args.insecure,
        ..RepositoryConfig::new(image, REGISTRY_TIMEOUT)
    };
    let pool = Pool::new(PoolConfig::default(), Metrics::register(&mut Registry::default()));
    let listed = pool.repository(config)?.tags().await?;
    Ok(TagsSeen(listed.tags.into_iter().map(|tag| (tag, None)).collect()))
}
