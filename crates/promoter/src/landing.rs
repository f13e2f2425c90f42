//! What is recorded and told of commits: first as an intent, before the push; then for good, once they were seen on
//! the branch. After a crash in between, the intent is settled by looking.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use windlass_model::message::{ChangeNotice, CommitNotice};
use windlass_model::{ObjectKey, Spec};
use windlass_policy::lock::Track;
use windlass_store::{AuditEntry, AuditKind, Commit, Intent, LedgerWrite, Record};
use windlass_verify::Verdict;

use crate::agreements::NewAgreement;
use crate::lanes;
use crate::{notices, trail};

/// A push whose outcome is unknown may still land this long after it was sent: until then its intent is kept, even
/// when the branch does not have the commit yet. Five times the default Git timeout.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// Everything that is recorded and told when a push lands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Landing {
    /// The last commit of the push: when the branch has it, it has the others.
    pub(crate) tip: String,
    pub(crate) branch: String,
    /// Without credentials.
    pub(crate) repository: String,
    pub(crate) at: Timestamp,
    pub(crate) commits: Vec<LandingCommit>,
}

/// One automation's commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LandingCommit {
    pub(crate) automation: ObjectKey,
    pub(crate) id: String,
    /// Absent in what an older version recorded, as are the files.
    #[serde(default)]
    pub(crate) parent: Option<String>,
    #[serde(default)]
    pub(crate) files: Vec<String>,
    pub(crate) changes: Vec<ChangeNotice>,
    pub(crate) events: BTreeSet<String>,
    #[serde(default)]
    pub(crate) agreements: Vec<NewAgreement>,
    /// What the Guards said of the images, each with its policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) verdicts: Vec<serde_json::Value>,
}

impl Landing {
    /// The record that goes before the push.
    pub(crate) fn intent(&self, lane: &str) -> Record {
        let body = serde_json::to_value(self).expect("texts, times and lists always serialise");
        let intent = Intent { id: self.tip.clone(), lane: lane.to_owned(), at: self.at, body };
        Record { ledger: vec![LedgerWrite::Intent(intent)], ..Record::default() }
    }

    /// Reads an intent back.
    pub(crate) fn read(intent: &Intent) -> Option<Self> {
        serde_json::from_value(intent.body.clone()).ok()
    }

    /// The record that goes after the commits were seen on the branch; it withdraws the intent.
    pub(crate) fn landed(&self, spec: &Spec, at: Timestamp) -> Record {
        let mut record = withdrawn(&self.tip);
        for commit in &self.commits {
            let object = lanes::object(&commit.automation);
            let changes = serde_json::to_value(&commit.changes).expect("texts and lists always serialise");
            record.ledger.push(LedgerWrite::Commit(Commit {
                decision: commit.id.clone(),
                automation: commit.automation.clone(),
                id: commit.id.clone(),
                branch: self.branch.clone(),
                repository: self.repository.clone(),
                at,
                summary: changes.clone(),
            }));
            record.ledger.extend(commit.agreements.iter().map(|new| new.write(&commit.automation, at)));
            record.audit.push(AuditEntry {
                at,
                kind: AuditKind::Committed,
                object: object.clone(),
                detail: serde_json::json!({
                    "commit": commit.id, "branch": self.branch, "repository": self.repository, "changes": changes,
                    "files": commit.files, "events": commit.events, "verdicts": commit.verdicts,
                }),
                event: commit.events.first().cloned(),
                about: trail::of_commit(&commit.id, &commit.changes, &commit.events),
            });
            let notice = CommitNotice {
                repository: self.repository.clone(),
                branch: self.branch.clone(),
                id: commit.id.clone(),
                url: commit_page(&self.repository, &commit.id),
                parent: commit.parent.clone(),
                files: commit.files.clone(),
                changes: commit.changes.clone(),
            };
            record.outbox.extend(notices::committed(spec, &object, notice, at));
        }
        record
    }
}

/// Whether an intent that the branch does not show may still come true.
pub(crate) fn may_still_land(intent: &Intent, now: Timestamp) -> bool {
    now.duration_since(intent.at) < PATIENCE
}

/// What is remembered of a verdict that a commit rests on.
pub(crate) fn verdict(track: &Track, verdict: &Verdict) -> serde_json::Value {
    let mut value = serde_json::to_value(verdict).expect("texts, times and lists always serialise");
    value["policy"] = track.policy.to_string().into();
    value
}

/// The record of a push that did not land.
pub(crate) fn withdrawn(tip: &str) -> Record {
    Record { ledger: vec![LedgerWrite::IntentSettled { id: tip.to_owned() }], ..Record::default() }
}

/// A page that shows the commit, on the forges that are recognised by their host's name.
fn commit_page(repository: &str, id: &str) -> Option<String> {
    let url = url::Url::parse(repository).ok()?;
    let host = url.host_str()?;
    let has = |label: &str| host.split('.').any(|part| part == label);
    let path = if has("gitlab") {
        "-/commit"
    } else if has("bitbucket") {
        "commits"
    } else if has("github") || has("gitea") || has("forgejo") || has("codeberg") {
        "commit"
    } else {
        return None;
    };
    let base = repository.trim_end_matches('/');
    Some(format!("{}/{path}/{id}", base.strip_suffix(".git").unwrap_or(base)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_pages_are_known_for_the_usual_forges() {
        let page = |repository: &str| commit_page(repository, "abc");
        assert_eq!(page("https://github.com/o/r.git").unwrap(), "https://github.com/o/r/commit/abc");
        assert_eq!(
            page("https://gitlab.example.com/o/r").unwrap(),
            "https://gitlab.example.com/o/r/-/commit/abc"
        );
        assert_eq!(page("https://bitbucket.org/o/r.git").unwrap(), "https://bitbucket.org/o/r/commits/abc");
        assert_eq!(page("https://git.example.com/o/r.git"), None);
    }
}
