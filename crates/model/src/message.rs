//! Notices: what people are told about a commit or a failure. The outbox stores them; `notify` renders them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::ObjectRef;
use crate::resource::NoticeKind;

/// One notice, addressed to one Notifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The visible event id: equal in every delivery of this notice, so that a repeat can be recognised.
    pub id: String,
    /// What kind of thing happened.
    pub kind: NoticeKind,
    /// The object that it is about, usually an ImageUpdateAutomation.
    pub object: ObjectRef,
    /// When it happened.
    pub at: Timestamp,
    /// The commit, where one landed.
    pub commit: Option<CommitNotice>,
    /// One line for people: the failure's reason, or a summary of the commit.
    pub summary: String,
}

/// A landed commit, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitNotice {
    /// The repository's URL, without credentials.
    pub repository: String,
    /// The branch that moved.
    pub branch: String,
    /// The full object id.
    pub id: String,
    /// A page that shows the commit, where the forge is recognised.
    pub url: Option<String>,
    /// The commit that it builds on; absent in what an older version recorded.
    #[serde(default)]
    pub parent: Option<String>,
    /// Every file that differs from the parent's.
    #[serde(default)]
    pub files: Vec<String>,
    /// What moved, in order.
    pub changes: Vec<ChangeNotice>,
}

/// One value that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeNotice {
    /// The policy that chose it: `namespace/name`.
    pub policy: String,
    /// The image without tag.
    pub image: String,
    /// The value before.
    pub from: String,
    /// The value after.
    pub to: String,
    /// The digest, where one was resolved.
    pub digest: Option<String>,
    /// The files that changed.
    pub files: Vec<String>,
}
