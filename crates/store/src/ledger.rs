//! The ledger: what was observed and what was done, so that a restart neither forgets nor repeats it. All of it can be
//! rebuilt from the registry and Git, but for first-seen times.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use windlass_model::{Digest, ImageRef, ObjectKey, ObjectRef, Tag};

use crate::agreement::{self, Agreement};
use crate::column::{
    bounded, key_text, micros, object_text, parse_json, parse_key, parse_object, timestamp, unreadable,
};
use crate::digests;
use crate::error::Cause;
use crate::writer::Transaction;

/// One change of the ledger. Each is idempotent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LedgerWrite {
    /// These tags are in the repository. A tag keeps the time at which it was first seen, also when it was gone in
    /// between; tags that are known cost a look-up and no write.
    TagsSeen {
        /// The ImageRepository.
        repository: ObjectKey,
        /// The tags, in any order.
        tags: Vec<Tag>,
        /// When they were seen.
        at: Timestamp,
    },
    /// These tags are no longer in the repository. Tags that were never seen are ignored.
    TagsGone {
        /// The ImageRepository.
        repository: ObjectKey,
        /// The tags, in any order.
        tags: Vec<Tag>,
        /// When they were missed.
        at: Timestamp,
    },
    /// This content is in the repository. It keeps the time at which it was first seen.
    DigestSeen {
        /// The ImageRepository.
        repository: ObjectKey,
        /// The content.
        digest: Digest,
        /// When it was seen.
        at: Timestamp,
    },
    /// A policy's choice. The same choice as before changes nothing; another one makes the old choice `previous`.
    Latest {
        /// The ImagePolicy.
        policy: ObjectKey,
        /// The variant, where the policy is locked to variants; empty otherwise.
        variant: String,
        /// What it chose.
        image: ImageRef,
        /// When.
        at: Timestamp,
    },
    /// A commit landed. A decision that is known changes nothing.
    Commit(Commit),
    /// Git and a policy agree in a file. The same agreement again changes nothing.
    Agreed(Agreement),
    /// People were told that a person's value stays. An agreement that is unknown is ignored.
    HoldTold {
        /// The ImageUpdateAutomation.
        automation: ObjectKey,
        /// The file.
        file: String,
        /// The ImagePolicy.
        policy: ObjectKey,
        /// The variant, where the policy is locked to variants; empty otherwise.
        variant: String,
        /// The person's value.
        present: Tag,
    },
    /// A person lifts the holds of an automation: of one policy, or of all.
    Resumed {
        /// The ImageUpdateAutomation.
        automation: ObjectKey,
        /// The ImagePolicy; `None` for all.
        policy: Option<ObjectKey>,
    },
    /// A push is about to be sent. An intent that is known changes nothing.
    Intent(Intent),
    /// What became of a push is recorded, or it did not land. An intent that is unknown is ignored.
    IntentSettled {
        /// The intent's id.
        id: String,
    },
    /// An object's health was reported. Equal health keeps `since` and takes the new reason.
    State {
        /// The object.
        object: ObjectRef,
        /// Its health.
        health: Health,
        /// Why, for people; cut at 1 KiB. Never a secret.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// A commit that landed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// Identifies the decision that led to it, uniquely.
    pub decision: String,
    /// The ImageUpdateAutomation.
    pub automation: ObjectKey,
    /// The commit's full object id.
    pub id: String,
    /// The branch that moved.
    pub branch: String,
    /// The repository's URL, without credentials.
    pub repository: String,
    /// When it was confirmed.
    pub at: Timestamp,
    /// What it changed, in whatever form its reader understands.
    pub summary: serde_json::Value,
}

/// A push that was begun: what is to be recorded when it turns out to have landed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Identifies the push: the object id of its last commit.
    pub id: String,
    /// Whose push it is, in the form that its writer chose.
    pub lane: String,
    /// When it was begun.
    pub at: Timestamp,
    /// What is to be recorded, in whatever form its writer understands.
    pub body: serde_json::Value,
}

/// Whether an object works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Health {
    /// It works.
    Ok,
    /// It fails, and was reported as failing.
    Failing,
}

impl Health {
    /// As stored, and as the metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Ok => "ok",
            Health::Failing => "failing",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Health::Ok, Health::Failing].into_iter().find(|health| health.as_str() == text)
    }
}

/// A policy's choice as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestImage {
    /// The ImagePolicy.
    pub policy: ObjectKey,
    /// The variant, where the policy is locked to variants; empty otherwise.
    pub variant: String,
    /// Its choice.
    pub image: ImageRef,
    /// Its choice before that.
    pub previous: Option<ImageRef>,
    /// When it chose `image`.
    pub since: Timestamp,
}

/// An object's health as it was last reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedState {
    /// The object.
    pub object: ObjectRef,
    /// Its health.
    pub health: Health,
    /// Why.
    pub reason: String,
    /// When this health began.
    pub since: Timestamp,
}

pub(crate) fn write(transaction: &Transaction<'_>, write: &LedgerWrite) -> Result<(), Cause> {
    let db = transaction.db;
    match write {
        LedgerWrite::TagsSeen { repository, tags, at } => tags_seen(db, &key_text(repository)?, tags, *at),
        LedgerWrite::TagsGone { repository, tags, at } => tags_gone(db, &key_text(repository)?, tags, *at),
        LedgerWrite::DigestSeen { repository, digest, at } => {
            digests::seen(db, &key_text(repository)?, digest, *at)
        }
        LedgerWrite::Latest { policy, variant, image, at } => latest(db, policy, variant, image, *at),
        LedgerWrite::Commit(landed) => commit(db, landed),
        LedgerWrite::Agreed(agreement) => agreement::agreed(db, agreement),
        LedgerWrite::HoldTold { automation, file, policy, variant, present } => {
            agreement::hold_told(db, automation, file, policy, variant, present)
        }
        LedgerWrite::Resumed { automation, policy } => agreement::resumed(db, automation, policy.as_ref()),
        LedgerWrite::Intent(begun) => intent(db, begun),
        LedgerWrite::IntentSettled { id } => intent_settled(db, id),
        LedgerWrite::State { object, health, reason, at } => state(db, object, *health, reason, *at),
    }
}

fn tags_seen(db: &Connection, repository: &str, tags: &[Tag], at: Timestamp) -> Result<(), Cause> {
    let mut statement = db.prepare_cached(
        "INSERT INTO tags (repository, tag, first_seen) VALUES (?1, ?2, ?3)
         ON CONFLICT (repository, tag) DO UPDATE SET gone_at = NULL WHERE gone_at IS NOT NULL",
    )?;
    for tag in tags {
        statement.execute(params![repository, tag.as_str(), micros(at)])?;
    }
    Ok(())
}

fn tags_gone(db: &Connection, repository: &str, tags: &[Tag], at: Timestamp) -> Result<(), Cause> {
    let mut statement = db.prepare_cached(
        "UPDATE tags SET gone_at = ?3 WHERE repository = ?1 AND tag = ?2 AND gone_at IS NULL",
    )?;
    for tag in tags {
        statement.execute(params![repository, tag.as_str(), micros(at)])?;
    }
    Ok(())
}

fn latest(
    db: &Connection,
    policy: &ObjectKey,
    variant: &str,
    image: &ImageRef,
    at: Timestamp,
) -> Result<(), Cause> {
    db.prepare_cached(
        "INSERT INTO latest (policy, variant, image, since) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (policy, variant) DO UPDATE SET previous = image, image = excluded.image, since = excluded.since
         WHERE image IS NOT excluded.image",
    )?
    .execute(params![key_text(policy)?, variant, serde_json::to_string(image)?, micros(at)])?;
    Ok(())
}

fn commit(db: &Connection, landed: &Commit) -> Result<(), Cause> {
    let Commit { decision, automation, id, branch, repository, at, summary } = landed;
    db.prepare_cached(
        "INSERT INTO commits (decision, automation, id, branch, repository, at, summary)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (decision) DO NOTHING",
    )?
    .execute(params![
        decision,
        key_text(automation)?,
        id,
        branch,
        repository,
        micros(*at),
        serde_json::to_string(summary)?
    ])?;
    Ok(())
}

fn intent(db: &Connection, begun: &Intent) -> Result<(), Cause> {
    let Intent { id, lane, at, body } = begun;
    db.prepare_cached(
        "INSERT INTO intents (id, lane, at, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![id, lane, micros(*at), serde_json::to_string(body)?])?;
    Ok(())
}

fn intent_settled(db: &Connection, id: &str) -> Result<(), Cause> {
    db.prepare_cached("DELETE FROM intents WHERE id = ?1")?.execute([id])?;
    Ok(())
}

fn state(
    db: &Connection,
    object: &ObjectRef,
    health: Health,
    reason: &str,
    at: Timestamp,
) -> Result<(), Cause> {
    db.prepare_cached(
        "INSERT INTO states (object, health, reason, since) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (object) DO UPDATE SET
             since = iif(health = excluded.health, since, excluded.since),
             health = excluded.health, reason = excluded.reason
         WHERE health <> excluded.health OR reason <> excluded.reason",
    )?
    .execute(params![object_text(object)?, health.as_str(), bounded(reason.to_owned()), micros(at)])?;
    Ok(())
}

/// The tags that are present, in bytewise order, with the time at which each was first seen.
pub(crate) fn load_tags(db: &Connection, repository: &str) -> rusqlite::Result<Vec<(Tag, Timestamp)>> {
    load(
        db,
        "SELECT tag, first_seen FROM tags WHERE repository = ?1 AND gone_at IS NULL ORDER BY tag",
        [repository],
        |row| {
            let text = row.get_ref(0)?.as_str()?;
            let first_seen = timestamp(row.get(1)?);
            Ok(Tag::parse(text).ok().map(|tag| (tag, first_seen)).or_unreadable("tags", text))
        },
    )
}

/// When these tags were first seen, also those that are gone, as far as it is remembered.
pub(crate) fn first_seen(
    db: &Connection,
    repository: &str,
    tags: Vec<Tag>,
) -> rusqlite::Result<Vec<(Tag, Timestamp)>> {
    let mut statement =
        db.prepare_cached("SELECT first_seen FROM tags WHERE repository = ?1 AND tag = ?2")?;
    let mut seen = Vec::with_capacity(tags.len());
    for tag in tags {
        let at = statement.query_row(params![repository, tag.as_str()], |row| row.get(0)).optional()?;
        seen.extend(at.map(|at| (tag, timestamp(at))));
    }
    Ok(seen)
}

pub(crate) fn load_latest(db: &Connection) -> rusqlite::Result<Vec<LatestImage>> {
    load(
        db,
        "SELECT policy, image, previous, since, variant FROM latest ORDER BY policy, variant",
        [],
        |row| {
            let policy = row.get_ref(0)?.as_str()?;
            let previous = row.get_ref(2)?.as_str_or_null()?;
            let (since, variant) = (timestamp(row.get(3)?), row.get(4)?);
            let entry = parse_key(policy).zip(parse_json(row.get_ref(1)?.as_str()?));
            Ok(entry
                .map(|(policy, image)| LatestImage {
                    policy,
                    variant,
                    image,
                    previous: previous.and_then(parse_json),
                    since,
                })
                .or_unreadable("latest", policy))
        },
    )
}

/// The last commit of each automation.
pub(crate) fn load_commits(db: &Connection) -> rusqlite::Result<Vec<Commit>> {
    let sql = "SELECT automation, decision, id, branch, repository, at, summary FROM commits
               WHERE seq IN (SELECT max(seq) FROM commits GROUP BY automation) ORDER BY automation";
    load(db, sql, [], |row| {
        let automation = row.get_ref(0)?.as_str()?;
        let entry = parse_key(automation).zip(parse_json(row.get_ref(6)?.as_str()?));
        let Some((automation, summary)) = entry.or_unreadable("commits", automation) else { return Ok(None) };
        Ok(Some(Commit {
            decision: row.get(1)?,
            automation,
            id: row.get(2)?,
            branch: row.get(3)?,
            repository: row.get(4)?,
            at: timestamp(row.get(5)?),
            summary,
        }))
    })
}

/// The intents of a lane that are not settled, the oldest first.
pub(crate) fn load_intents(db: &Connection, lane: &str) -> rusqlite::Result<Vec<Intent>> {
    load(db, "SELECT id, lane, at, body FROM intents WHERE lane = ?1 ORDER BY at, id", [lane], |row| {
        let id: String = row.get(0)?;
        let body = parse_json(row.get_ref(3)?.as_str()?).or_unreadable("intents", &id);
        let (lane, at) = (row.get(1)?, timestamp(row.get(2)?));
        Ok(body.map(|body| Intent { id, lane, at, body }))
    })
}

pub(crate) fn load_states(db: &Connection) -> rusqlite::Result<Vec<ReportedState>> {
    load(db, "SELECT object, health, reason, since FROM states ORDER BY object", [], |row| {
        let object = row.get_ref(0)?.as_str()?;
        let reason = row.get(2)?;
        let since = timestamp(row.get(3)?);
        let entry = parse_object(object).zip(Health::parse(row.get_ref(1)?.as_str()?));
        Ok(entry
            .map(|(object, health)| ReportedState { object, health, reason, since })
            .or_unreadable("states", object))
    })
}

/// Reads all rows; those that this version cannot read are `None` and left out.
pub(crate) fn load<T>(
    db: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = db.prepare_cached(sql)?;
    statement.query_map(params, read)?.filter_map(Result::transpose).collect()
}

/// Reports a row that could not be read.
pub(crate) trait OrUnreadable {
    fn or_unreadable(self, table: &'static str, row: &str) -> Self;
}

impl<T> OrUnreadable for Option<T> {
    fn or_unreadable(self, table: &'static str, row: &str) -> Self {
        if self.is_none() {
            unreadable(table, row);
        }
        self
    }
}
