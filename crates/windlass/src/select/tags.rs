//! Where the tags of `windlass select` come from: a file, standard input, or a registry. All of it is bounded.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use windlass_model::{ImageName, Tag};
use windlass_policy::rank::Candidate;
use windlass_registry::{Credentials, Metrics, Pool, PoolConfig, RepositoryConfig, credentials};

use super::TagArgs;

/// Largest input, in bytes: half a million tags of the greatest length.
const MAX_INPUT: u64 = 64 << 20;
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

/// Reads a text file that an argument names.
pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
    bounded(file, &shown)
}

fn bounded(from: impl Read, what: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    from.take(MAX_INPUT + 1).read_to_end(&mut bytes).with_context(|| format!("{what} cannot be read"))?;
    ensure!(bytes.len() as u64 <= MAX_INPUT, "{what} is larger than {} MiB", MAX_INPUT >> 20);
    String::from_utf8(bytes).ok().with_context(|| format!("{what} is not UTF-8 text"))
}

async fn from_registry(image: &str, args: &TagArgs) -> anyhow::Result<TagsSeen> {
    let image = ImageName::parse(image)?;
    let credentials = match &args.docker_config {
        Some(path) => docker_credentials(path, &image).with_context(|| path.display().to_string())?,
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

fn docker_credentials(path: &Path, image: &ImageName) -> anyhow::Result<Credentials> {
    let json = read_text(path)?;
    credentials::from_docker_config(json.as_bytes(), image)?.with_context(|| {
        format!("has no user name and password for {} (credential helpers are never run)", image.registry())
    })
}
