//! What is known of each resource while the process runs: what `windlass status` shows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::ObjectRef;

/// One resource's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// Which resource.
    pub object: ObjectRef,
    /// Whether it works.
    pub ready: Readiness,
    /// A sentence for people.
    pub message: String,
    /// Since when it is in this state; absent before the first try.
    pub since: Option<Timestamp>,
    /// Kind-specific details, each only where it applies.
    #[serde(flatten)]
    pub details: Details,
}

/// Whether a resource works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    /// The last try succeeded.
    Ready,
    /// The last try failed, or the configuration does not allow one.
    Failing,
    /// A person suspended it.
    Suspended,
    /// It was not tried yet.
    Pending,
}

impl Readiness {
    /// As shown in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Readiness::Ready => "ready",
            Readiness::Failing => "failing",
            Readiness::Suspended => "suspended",
            Readiness::Pending => "pending",
        }
    }
}

/// Kind-specific details.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Details {
    /// ImageRepository: when its tags were last listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scan: Option<Timestamp>,
    /// ImageRepository: how many tags are known. Exclusions are applied where a policy chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<usize>,
    /// ImagePolicy: the chosen image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,
    /// ImageUpdateAutomation: the last commit that landed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<String>,
    /// ImageUpdateAutomation: when it landed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit_at: Option<Timestamp>,
    /// ImageUpdateAutomation: places that were not written, each with file, line and cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<String>,
    /// Receiver: the path that senders post to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_path: Option<String>,
}
