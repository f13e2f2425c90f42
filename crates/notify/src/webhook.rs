//! The JSON webhook: a stable, documented body for other programs.
//!
//! `POST` to the Secret's `address`, with `Content-Type: application/json`, `Idempotency-Key: <id>`, and
//! `Authorization: Bearer <token>` where the Secret has one. Any 2xx is success. A notice is sent once, unless an
//! answer was lost: then the same `id` comes again, with `repeat` true.
//!
//! ```json
//! {
//!   "schema": "windlass.dev/notice/v1",
//!   "id": "the visible event id",
//!   "kind": "committed | failed | recovered",
//!   "repeat": false,
//!   "at": "2026-01-02T03:04:05Z",
//!   "object": { "kind": "ImageUpdateAutomation", "namespace": "apps", "name": "fleet" },
//!   "summary": "one line for people",
//!   "commit": {
//!     "repository": "https://git.example/fleet.git", "branch": "main", "id": "full object id", "url": null,
//!     "changes": [{ "policy": "apps/app", "image": "ghcr.io/org/app", "from": "1.0.0", "to": "1.1.0",
//!                   "digest": "sha256:… or null", "files": ["deploy/app.yaml"] }]
//!   }
//! }
//! ```
//!
//! `commit` is null where none landed. Fields may be added within `v1`, never changed or removed.

use serde::Serialize;
use windlass_model::message::{ChangeNotice, CommitNotice, Notice};

/// The version of the body.
pub const SCHEMA: &str = "windlass.dev/notice/v1";

/// The body. It mirrors the model field by field, so that a change there cannot change what is sent.
#[derive(Debug, Serialize)]
pub struct Body<'a> {
    schema: &'static str,
    id: &'a str,
    kind: &'static str,
    repeat: bool,
    at: String,
    object: Object<'a>,
    summary: &'a str,
    commit: Option<Commit<'a>>,
}

#[derive(Debug, Serialize)]
struct Object<'a> {
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct Commit<'a> {
    repository: &'a str,
    branch: &'a str,
    id: &'a str,
    url: Option<&'a str>,
    changes: Vec<Change<'a>>,
}

#[derive(Debug, Serialize)]
struct Change<'a> {
    policy: &'a str,
    image: &'a str,
    from: &'a str,
    to: &'a str,
    digest: Option<&'a str>,
    files: &'a [String],
}

impl<'a> Body<'a> {
    /// The body for a notice; `repeat` where an earlier delivery of it may have arrived.
    pub fn new(notice: &'a Notice, repeat: bool) -> Self {
        let Notice { id, kind, object, at, commit, summary } = notice;
        Self {
            schema: SCHEMA,
            id,
            kind: kind.as_str(),
            repeat,
            at: at.to_string(),
            object: Object {
                kind: object.kind.as_str(),
                namespace: &object.key.namespace,
                name: &object.key.name,
            },
            summary,
            commit: commit.as_ref().map(Commit::new),
        }
    }
}

impl<'a> Commit<'a> {
    fn new(commit: &'a CommitNotice) -> Self {
        let CommitNotice { repository, branch, id, url, parent: _, files: _, changes } = commit;
        let changes = changes.iter().map(Change::new).collect();
        Self { repository, branch, id, url: url.as_deref(), changes }
    }
}

impl<'a> Change<'a> {
    fn new(change: &'a ChangeNotice) -> Self {
        let ChangeNotice { policy, image, from, to, digest, files } = change;
        Self { policy, image, from, to, digest: digest.as_deref(), files }
    }
}
