//! Agreements: what Git and a policy last agreed upon in a file. A value that differs later was set by a person.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use windlass_model::{ObjectKey, Tag};

use crate::column::{key_text, micros, parse_key, timestamp};
use crate::error::Cause;
use crate::ledger::{OrUnreadable as _, load};

/// What Git and a policy agreed upon in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// The ImageUpdateAutomation.
    pub automation: ObjectKey,
    /// The file, relative to the repository's root.
    pub file: String,
    /// The ImagePolicy.
    pub policy: ObjectKey,
    /// The variant, where the policy is locked to variants; empty otherwise.
    pub variant: String,
    /// The tag.
    pub tag: Tag,
    /// The tag that was agreed upon before.
    pub before: Option<Tag>,
    /// The policy's fingerprint at that time.
    pub rule: String,
    /// When.
    pub at: Timestamp,
    /// The person's later value that people were told of.
    pub told: Option<Tag>,
}

pub(crate) fn agreed(db: &Connection, agreement: &Agreement) -> Result<(), Cause> {
    let Agreement { automation, file, policy, variant, tag, before, rule, at, told: _ } = agreement;
    db.prepare_cached(
        "INSERT INTO agreed (automation, file, policy, variant, tag, before, rule, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (automation, file, policy, variant) DO UPDATE SET
             tag = excluded.tag, before = excluded.before, rule = excluded.rule, at = excluded.at, told = NULL
         WHERE tag <> excluded.tag OR rule <> excluded.rule",
    )?
    .execute(params![
        key_text(automation)?,
        file,
        key_text(policy)?,
        variant,
        tag.as_str(),
        before.as_ref().map(Tag::as_str),
        rule,
        micros(*at)
    ])?;
    Ok(())
}

pub(crate) fn hold_told(
    db: &Connection,
    automation: &ObjectKey,
    file: &str,
    policy: &ObjectKey,
    variant: &str,
    present: &Tag,
) -> Result<(), Cause> {
    db.prepare_cached(
        "UPDATE agreed SET told = ?5 WHERE automation = ?1 AND file = ?2 AND policy = ?3 AND variant = ?4",
    )?
    .execute(params![key_text(automation)?, file, key_text(policy)?, variant, present.as_str()])?;
    Ok(())
}

pub(crate) fn resumed(
    db: &Connection,
    automation: &ObjectKey,
    policy: Option<&ObjectKey>,
) -> Result<(), Cause> {
    let policy = policy.map(key_text).transpose()?;
    db.prepare_cached("DELETE FROM agreed WHERE automation = ?1 AND (?2 IS NULL OR policy = ?2)")?
        .execute(params![key_text(automation)?, policy])?;
    Ok(())
}

/// Everything that an automation and its policies agreed upon.
pub(crate) fn load_agreed(db: &Connection, automation: &str) -> rusqlite::Result<Vec<Agreement>> {
    let sql = "SELECT automation, file, policy, tag, before, rule, at, told, variant FROM agreed WHERE automation = ?1
               ORDER BY file, policy, variant";
    load(db, sql, [automation], |row| {
        let file: String = row.get(1)?;
        let optional =
            |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str_or_null()?.map(str::to_owned));
        let (before, told) = (optional(4)?, optional(7)?);
        let keys = parse_key(row.get_ref(0)?.as_str()?).zip(parse_key(row.get_ref(2)?.as_str()?));
        let entry = keys.zip(Tag::parse(row.get_ref(3)?.as_str()?).ok()).or_unreadable("agreed", &file);
        let Some(((automation, policy), tag)) = entry else { return Ok(None) };
        Ok(Some(Agreement {
            automation,
            file,
            policy,
            variant: row.get(8)?,
            tag,
            before: before.and_then(|text| Tag::parse(&text).ok()),
            rule: row.get(5)?,
            at: timestamp(row.get(6)?),
            told: told.and_then(|text| Tag::parse(&text).ok()),
        }))
    })
}
