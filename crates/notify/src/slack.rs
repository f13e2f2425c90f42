//! A notice as a Slack message: Block Kit, with a one-line text for notifications and screen readers.
//!
//! Owns the layout and Slack's limits. What comes from outside (tags, branches, error texts) is escaped, so that it
//! can neither mention people nor form links.

mod mrkdwn;

use serde_json::{Value, json};
use windlass_model::message::{ChangeNotice, CommitNotice, Notice};
use windlass_model::resource::NoticeKind;

use mrkdwn::{code, escape, link};

/// Slack's limit on blocks is 50. The title, the place, the remainder and the footer take four, so this leaves room.
const MAX_CHANGES: usize = 40;
/// Files named for one change; a release may touch hundreds.
const MAX_FILES: usize = 5;
/// Slack's limit on a section's text is 3,000 characters.
const MAX_SECTION: usize = 3000;
/// Slack recommends at most 4,000 characters for `text`; a notification shows the first few words.
const MAX_TEXT: usize = 1000;
/// A single value (a tag, an image, a path): enough for any valid one, and the eleven of a change fit a section.
const MAX_VALUE: usize = 260;
/// Characters of a digest or a commit's id that tell it apart for a person.
const SHORT_ID: usize = 12;

/// The message's `text` and `blocks`, to be completed with a channel where one is needed. `repeat` marks a delivery
/// that may have arrived before; the event id is visible in any case.
pub fn message(notice: &Notice, repeat: bool) -> Value {
    let mut blocks = vec![section(&title(notice))];
    match &notice.commit {
        Some(commit) => blocks.extend(commit_blocks(commit)),
        None if notice.summary.trim().is_empty() => {}
        None => blocks.push(section(&mrkdwn::block(&notice.summary, MAX_SECTION))),
    }
    blocks.push(footer(notice, repeat));
    json!({ "text": fallback(notice), "blocks": blocks, "unfurl_links": false, "unfurl_media": false })
}

fn title(notice: &Notice) -> String {
    let object = escape(&notice.object.to_string(), MAX_VALUE * 2);
    match notice.kind {
        NoticeKind::Committed => format!("*Committed* by {object}"),
        NoticeKind::Failed => format!("*Failing*: {object}"),
        NoticeKind::Recovered => format!("*Recovered*: {object}"),
        NoticeKind::Held => format!("*Held*: {object}"),
    }
}

fn fallback(notice: &Notice) -> String {
    let line = match notice.commit.as_ref().map(|commit| (commit, commit.changes.as_slice())) {
        Some((commit, [change, rest @ ..])) => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            format!("{}: {} → {}{more} ({})", change.image, change.from, change.to, commit.branch)
        }
        _ => format!("{} {}: {}", notice.object, notice.kind.as_str(), notice.summary),
    };
    escape(&line, MAX_TEXT)
}

fn commit_blocks(commit: &CommitNotice) -> Vec<Value> {
    let mut blocks: Vec<Value> =
        commit.changes.iter().take(MAX_CHANGES).map(|change| section(&change_text(change))).collect();
    let more = commit.changes.len().saturating_sub(MAX_CHANGES);
    if more > 0 {
        blocks.push(section(&format!("… and {more} more")));
    }
    blocks.push(section(&place(commit)));
    blocks
}

fn change_text(change: &ChangeNotice) -> String {
    let mut moved = format!("{} → {}", code(&change.from, MAX_VALUE), code(&change.to, MAX_VALUE));
    if let Some(digest) = &change.digest {
        moved.push_str("  ");
        moved.push_str(&code(&short_digest(digest), MAX_VALUE));
    }
    let policy = format!("policy {}", escape(&change.policy, MAX_VALUE));
    let files = change.files.iter().take(MAX_FILES).map(|file| code(file, MAX_VALUE));
    let more = change.files.len().saturating_sub(MAX_FILES);
    let more = (more > 0).then(|| format!("and {more} more files"));
    let details: Vec<String> = std::iter::once(policy).chain(files).chain(more).collect();
    format!("*{}*\n{moved}\n{}", escape(&change.image, MAX_VALUE), details.join(" · "))
}

fn place(commit: &CommitNotice) -> String {
    let short = short(&commit.id);
    let shown = match &commit.url {
        Some(url) => link(url, short).unwrap_or_else(|| code(short, MAX_VALUE)),
        None => code(short, MAX_VALUE),
    };
    let repository = escape(&commit.repository, MAX_VALUE);
    let branch = code(&commit.branch, MAX_VALUE);
    format!("*Repository* {repository}\n*Branch* {branch}\n*Commit* {shown}")
}

fn footer(notice: &Notice, repeat: bool) -> Value {
    let repeated = if repeat { " · sent again, it may have arrived before" } else { "" };
    let text = format!("event {} · {}{repeated}", code(&notice.id, MAX_VALUE), notice.at);
    json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": text }] })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

/// `sha256:` and the first characters.
fn short_digest(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, hex)) => format!("{algorithm}:{}", short(hex)),
        None => short(digest).to_owned(),
    }
}

fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

#[cfg(test)]
mod tests;
