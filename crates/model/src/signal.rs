//! Signals: hints that something may have changed. A signal carries a key and a reason, never state.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::{Digest, Tag};
use crate::name::{ObjectKey, ObjectRef};

/// A hint about one object, on its way into the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The object to look at: an ImageRepository or an ImageUpdateAutomation. It is the queue's key.
    pub target: ObjectRef,
    /// What to look for.
    pub hint: Hint,
}

/// Why an object should be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Hint {
    /// A sender said that this tag was pushed. The digest is only what the sender claims.
    TagPushed {
        /// The tag to resolve.
        tag: Tag,
        /// The sender's claim, never trusted.
        digest: Option<Digest>,
    },
    /// A signature, attestation or other referrer of this digest was pushed.
    ReferrerPushed {
        /// The subject.
        subject: Digest,
    },
    /// A manifest was pushed without a tag: a child of an index, or a referrer whose payload does not say so. What is
    /// known is decided again; nothing is listed.
    ManifestPushed {
        /// The sender's claim, never trusted.
        digest: Digest,
    },
    /// Git holds a variant of a policy with a variant lock for which nothing was chosen yet. What is known is chosen
    /// among; nothing is listed.
    VariantFound,
    /// A person lifts the holds of an automation: those of one policy, or all.
    Resume {
        /// The ImagePolicy; `None` for all.
        policy: Option<ObjectKey>,
    },
    /// Read everything again: a poll, a resync, a change of configuration, or a sender that names no image.
    Rescan {
        /// Who asked.
        reason: RescanReason,
    },
}

/// Who asked for a rescan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RescanReason {
    /// The object's own interval elapsed.
    Interval,
    /// The object is new or changed, or the process started.
    Configuration,
    /// A webhook that names no image.
    Webhook,
    /// A person asked (`windlass reconcile`).
    Requested,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hint::TagPushed { tag, .. } => write!(f, "tag {tag} pushed"),
            Hint::ReferrerPushed { subject } => write!(f, "referrer of {subject} pushed"),
            Hint::ManifestPushed { digest } => write!(f, "manifest {digest} pushed"),
            Hint::VariantFound => f.write_str("variant found in Git"),
            Hint::Resume { policy: Some(policy) } => write!(f, "resume {policy}"),
            Hint::Resume { policy: None } => f.write_str("resume"),
            Hint::Rescan { reason } => write!(f, "rescan ({reason:?})"),
        }
    }
}

/// A signal as it entered the queue: when, and by which event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// What to look for.
    pub hint: Hint,
    /// The visible id of the event that brought it; ends up in the commit's `Windlass-Event` trailer.
    pub event: String,
    /// When it was accepted.
    pub at: Timestamp,
}
