//! What one image, one event, one commit costs, as it was measured.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::root;

/// Where the constants of the last measurement are kept, below the workspace's folder.
const FILE: &str = "xtask/sizing.json";

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measured {
    /// On what.
    pub(crate) machine: String,
    /// With fewer and smaller worlds: a trial, not figures to quote.
    pub(crate) quick: bool,
    pub(crate) constants: Constants,
    /// What the constants foretell of worlds that were not used to find them, and what those came to.
    pub(crate) checks: Vec<Check>,
}

/// Bytes, seconds, and numbers a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Constants {
    /// Memory of a process with next to nothing to do,
    pub(crate) idle: f64,
    /// more for each image with its policy,
    pub(crate) image: f64,
    /// for each tag of it,
    pub(crate) image_tag: f64,
    /// for each Git repository (without mapped packs, which the kernel takes back),
    pub(crate) mirror: f64,
    /// and for each file in it.
    pub(crate) mirror_file: f64,
    /// The state's size on disk for each image,
    pub(crate) state_image: f64,
    /// for each tag of it,
    pub(crate) state_image_tag: f64,
    /// for each delivery that is kept, by which repetitions are recognised,
    pub(crate) state_delivery: f64,
    /// for what the audit says of each event that is kept,
    pub(crate) state_event: f64,
    /// and more for each commit that is kept.
    pub(crate) state_commit: f64,
    /// A mirror's size on disk,
    pub(crate) mirror_disk: f64,
    /// and more for each file.
    pub(crate) mirror_disk_file: f64,
    /// Processor time of an event that names a new tag: taken, resolved, chosen, recorded;
    pub(crate) event_cpu: f64,
    /// of one that makes a commit of its own, all of it;
    pub(crate) commit_cpu: f64,
    /// of an event that another process took and completed, in a process that runs the shared log along.
    pub(crate) follow_cpu: f64,
    /// Durable appends a second by 64 callers, embedded,
    pub(crate) embedded_appends: f64,
    /// and over NATS;
    pub(crate) shared_appends: f64,
    /// works claimed and completed a second, embedded,
    pub(crate) embedded_works: f64,
    /// and over NATS.
    pub(crate) shared_works: f64,
    /// Bytes of the log for each event, appended, claimed and completed,
    pub(crate) log_bytes: f64,
    /// and messages, where events come one by one.
    pub(crate) log_messages: f64,
    /// Bytes a second that a copy of the state is made with, for a snapshot.
    pub(crate) copy_rate: f64,
    /// Until an image is read for the first time after a start, with a registry that answers at once,
    pub(crate) first_start_image: f64,
    /// and after a later start.
    pub(crate) start_image: f64,
}

/// A prediction beside what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) predicted: f64,
    pub(crate) measured: f64,
}

impl Measured {
    /// The last measurement that was kept.
    pub(crate) fn load() -> Result<Self> {
        let file = file()?;
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("reading {}: `--measure --keep` makes it", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))
    }

    /// Keeps it for later runs.
    pub(crate) fn keep(&self) -> Result<()> {
        let file = file()?;
        let text = serde_json::to_string_pretty(self).context("numbers are JSON")?;
        std::fs::write(&file, text + "\n").with_context(|| format!("writing {}", file.display()))
    }
}

fn file() -> Result<PathBuf> {
    Ok(root()?.join(FILE))
}
