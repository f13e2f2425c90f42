//! From a question to the entries that belong to it: along events, choices and commits. It follows what the entries
//! themselves say; no configuration is asked, which may be another one by now.

use std::collections::BTreeSet;

use anyhow::bail;
use jiff::Timestamp;
use windlass_model::{Kind, ObjectRef};
use windlass_store::{AuditEntry, AuditKind, ReadOnly, StoreError, Subject};

use super::question::{ImageQuestion, Question};

mod mention;

/// Entries that one step reads at most, the newest.
const STEP: usize = 10_000;
/// Commits that are named where an id's beginning fits several.
const AMBIGUOUS: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// The oldest first.
    pub(super) entries: Vec<AuditEntry>,
    /// How many older ones the limit left out.
    pub(super) left_out: usize,
}

/// Follows a question, and keeps the newest `limit` entries that happened at `since` or later.
///
/// # Errors
/// The audit cannot be read, or the beginning of a commit's id fits several.
pub(super) async fn follow(
    store: &ReadOnly,
    question: &Question,
    since: Timestamp,
    limit: usize,
) -> anyhow::Result<Trail> {
    let reader = Reader { store, step: STEP.max(limit) };
    let mut entries = match question {
        Question::Everything => store.audit_about(None, since, reader.step).await?,
        Question::Object(object) if object.kind == Kind::ImageRepository => {
            reader.of_image(Subject::Object(object.clone())).await?
        }
        Question::Object(object) => reader.of_object(object).await?,
        Question::Image(question) => {
            let all = reader.of_image(Subject::Image(question.name.clone())).await?;
            if question.is_of_any() { all } else { of_one(all, question) }
        }
        Question::Commit(prefix) => reader.of_commit(prefix).await?,
    };
    entries.retain(|entry| entry.at >= since);
    entries.sort_by_key(|entry| (entry.at, rank(entry.kind)));
    let left_out = entries.len().saturating_sub(limit);
    entries.drain(..left_out);
    Ok(Trail { entries, left_out })
}

/// The order in which things of one moment come about.
fn rank(kind: AuditKind) -> usize {
    match kind {
        AuditKind::Received => 0,
        AuditKind::Requested => 1,
        AuditKind::Scanned => 2,
        AuditKind::Refused => 3,
        AuditKind::Selected => 4,
        AuditKind::Committed => 5,
        AuditKind::Failed | AuditKind::Recovered => 6,
        AuditKind::Notified | AuditKind::Undeliverable => 7,
    }
}

impl ImageQuestion {
    fn is_of_any(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }
}

struct Reader<'s> {
    store: &'s ReadOnly,
    step: usize,
}

impl Reader<'_> {
    async fn read(&self, subjects: &BTreeSet<Subject>) -> Result<Vec<AuditEntry>, StoreError> {
        let subjects = subjects.iter().cloned().collect();
        self.store.audit_about(Some(subjects), Timestamp::MIN, self.step).await
    }

    /// An image: the resources that stand for it, the policies that choose among its tags, their commits, and what was told
    /// of those.
    async fn of_image(&self, seed: Subject) -> Result<Vec<AuditEntry>, StoreError> {
        let mut entries = self.grow(seed, leads_of_image).await?;
        let repositories = entries.iter().flat_map(repositories).collect();
        self.lead_up(&mut entries, &repositories).await?;
        Ok(entries)
    }

    /// Another object: what happened to it, its commits, and what led to them.
    async fn of_object(&self, object: &ObjectRef) -> Result<Vec<AuditEntry>, StoreError> {
        let mut entries = self.grow(Subject::Object(object.clone()), commit_of).await?;
        let repositories = entries.iter().flat_map(repositories).collect();
        self.lead_up(&mut entries, &repositories).await?;
        Ok(entries)
    }

    async fn of_commit(&self, prefix: &str) -> anyhow::Result<Vec<AuditEntry>> {
        let commits = self.store.audit_commits(prefix, AMBIGUOUS + 1).await?;
        let id = match commits.as_slice() {
            [] => return Ok(Vec::new()),
            [id] => id,
            several => {
                let more = if several.len() > AMBIGUOUS { ", …" } else { "" };
                let named = several.iter().take(AMBIGUOUS).cloned().collect::<Vec<_>>().join(", ");
                bail!("{prefix} begins several commits ({named}{more}): write more digits");
            }
        };
        let mut entries = self.read(&[Subject::Commit(id.clone())].into()).await?;
        let Some(committed) = entries.iter().find(|entry| entry.kind == AuditKind::Committed).cloned() else {
            return Ok(entries);
        };
        let policies = committed.about.iter().filter(|about| is_policy(about)).cloned().collect();
        let selected = self.read(&policies).await?;
        let selected = mention::behind(&committed, &selected);
        let repositories = selected.iter().flat_map(repositories).collect();
        entries.extend(selected);
        self.lead_up(&mut entries, &repositories).await?;
        Ok(entries)
    }

    /// Reads what is about the seed, and about whatever the entries lead to, until they lead nowhere new.
    async fn grow(
        &self,
        seed: Subject,
        leads: impl Fn(&AuditEntry) -> Vec<Subject>,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut subjects = BTreeSet::from([seed]);
        loop {
            let entries = self.read(&subjects).await?;
            let known = subjects.len();
            subjects.extend(entries.iter().flat_map(&leads));
            if subjects.len() == known {
                return Ok(entries);
            }
        }
    }

    /// Adds the deliveries, requests and looks of the events that these entries name, as far as they are about these
    /// ImageRepositories. One poll is the event of many images.
    async fn lead_up(
        &self,
        entries: &mut Vec<AuditEntry>,
        repositories: &BTreeSet<ObjectRef>,
    ) -> Result<(), StoreError> {
        let events: BTreeSet<Subject> = entries.iter().flat_map(events).map(Subject::Event).collect();
        if events.is_empty() {
            return Ok(());
        }
        let belongs = |entry: &AuditEntry| match entry.kind {
            // Nothing says which images it was about, where the choice is older than the audit.
            AuditKind::Received if repositories.is_empty() || entry.object.kind == Kind::Receiver => true,
            AuditKind::Received | AuditKind::Requested | AuditKind::Scanned => {
                repositories.contains(&entry.object)
            }
            _ => false,
        };
        for entry in self.read(&events).await?.into_iter().filter(belongs) {
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        Ok(())
    }
}

fn leads_of_image(entry: &AuditEntry) -> Vec<Subject> {
    match entry.kind {
        AuditKind::Scanned => vec![Subject::Object(entry.object.clone())],
        AuditKind::Selected | AuditKind::Refused if entry.object.kind == Kind::ImagePolicy => {
            let repositories = repositories(entry).map(Subject::Object);
            repositories.chain([Subject::Object(entry.object.clone())]).collect()
        }
        _ => commit_of(entry),
    }
}

fn commit_of(entry: &AuditEntry) -> Vec<Subject> {
    let is_commit = |about: &&Subject| matches!(about, Subject::Commit(_));
    let committed = entry.kind == AuditKind::Committed;
    entry.about.iter().filter(|about| committed && is_commit(about)).cloned().collect()
}

fn is_policy(about: &Subject) -> bool {
    matches!(about, Subject::Object(object) if object.kind == Kind::ImagePolicy)
}

/// The ImageRepositories that an entry is of or about.
fn repositories(entry: &AuditEntry) -> impl Iterator<Item = ObjectRef> {
    let about = entry.about.iter().filter_map(|about| match about {
        Subject::Object(object) => Some(object),
        Subject::Event(_) | Subject::Commit(_) | Subject::Image(_) => None,
    });
    let named = about.chain([&entry.object]).filter(|object| object.kind == Kind::ImageRepository);
    named.cloned().collect::<Vec<_>>().into_iter()
}

fn events(entry: &AuditEntry) -> impl Iterator<Item = String> {
    let others = entry.about.iter().filter_map(|about| match about {
        Subject::Event(event) => Some(event),
        Subject::Object(_) | Subject::Commit(_) | Subject::Image(_) => None,
    });
    entry.event.iter().chain(others).cloned().collect::<Vec<_>>().into_iter()
}

/// Of all entries about an image, those about one tag or content of it: what names it, what its events led to, what was
/// told of its commits, and the image's failures meanwhile.
fn of_one(all: Vec<AuditEntry>, question: &ImageQuestion) -> Vec<AuditEntry> {
    let named = |entry: &AuditEntry| mention::names(entry, question);
    let (mut kept, others): (Vec<_>, Vec<_>) = all.into_iter().partition(named);
    let led = kept.iter().filter(|entry| entry.kind != AuditKind::Scanned);
    let events: BTreeSet<String> = led.flat_map(events).collect();
    let commits: BTreeSet<Subject> = kept.iter().flat_map(commit_of).collect();
    let Some(begin) = kept.iter().map(|entry| entry.at).min() else { return kept };
    let end = kept.iter().map(|entry| entry.at).max().unwrap_or(begin);
    let is_led = |entry: &AuditEntry| self::events(entry).any(|event| events.contains(&event));
    let belongs = |entry: &AuditEntry| match entry.kind {
        AuditKind::Scanned => is_led(entry),
        AuditKind::Requested => is_led(entry) || entry.about.iter().any(|about| commits.contains(about)),
        AuditKind::Received => entry.object.kind == Kind::Receiver && is_led(entry),
        AuditKind::Notified | AuditKind::Undeliverable => {
            entry.about.iter().any(|about| commits.contains(about))
        }
        AuditKind::Failed | AuditKind::Recovered => begin <= entry.at && entry.at <= end,
        AuditKind::Selected | AuditKind::Committed | AuditKind::Refused => false,
    };
    kept.extend(others.into_iter().filter(belongs));
    kept
}

#[cfg(test)]
mod tests;
