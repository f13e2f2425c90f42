//! Audit entries in words, one line each. What an entry lacks (another version wrote it) is left out.

use serde_json::Value;
use windlass_store::{AuditEntry, AuditKind};

/// Digits of a commit's id that tell it from others, for people.
const SHORT: usize = 12;

/// What the entry says, but for when, what, of which object and by which event.
pub(super) fn describe(entry: &AuditEntry) -> String {
    let detail = &entry.detail;
    match entry.kind {
        AuditKind::Received => received(detail),
        AuditKind::Scanned => scanned(detail),
        AuditKind::Selected => selected(detail),
        AuditKind::Committed => committed(detail),
        AuditKind::Notified => {
            sentence([notice(detail), some("after attempts", &detail["attempts"], |n| *n != 1)])
        }
        AuditKind::Undeliverable => {
            sentence([some("given up:", &detail["reason"], |_| true), notice(detail)])
        }
        AuditKind::Refused => sentence([text(&detail["tag"]), text(&detail["reason"])]),
        AuditKind::Failed | AuditKind::Recovered => shown(&detail["reason"]),
        AuditKind::Requested => requested(detail),
    }
}

fn received(detail: &Value) -> String {
    let claim = text(&detail["claim"]).or_else(|| some("images:", &detail["images"], |_| true));
    let sender = text(&detail["sender"]).zip(text(&detail["receiver"]));
    let sender = sender.map(|(sender, receiver)| format!("by {sender} at Receiver {receiver}"));
    sentence([claim, sender, some("delivery", &detail["delivery"], |_| true)])
}

fn scanned(detail: &Value) -> String {
    let list = |names: &str, count: &str, what: &str| {
        let count = detail[count].as_u64().filter(|count| *count > 0)?;
        let names = texts(&detail[names]);
        let more = if names.len() as u64 == count { "" } else { ", …" };
        Some(format!("{count} {what} ({}{more})", names.join(", ")))
    };
    let known = detail["tags"].as_u64().map(|tags| format!("{tags} tags known"));
    let choices = detail["choices"].as_object().into_iter().flatten();
    let choices: Vec<_> =
        choices.map(|(policy, image)| format!("{policy} chooses {}", shown(image))).collect();
    let choices = (!choices.is_empty()).then(|| choices.join(", "));
    sentence([list("new", "new_count", "new"), list("gone", "gone_count", "gone"), known, choices])
}

fn selected(detail: &Value) -> String {
    let from = text(&detail["from"]).unwrap_or_else(|| "nothing".to_owned());
    let signers = detail["verified"].as_array().into_iter().flatten();
    let signers: Vec<_> =
        signers.map(|by| format!("{} (Guard/{})", shown(&by["signer"]), shown(&by["guard"]))).collect();
    let verified = (!signers.is_empty()).then(|| format!("signed by {}", signers.join(", ")));
    sentence([Some(format!("{from} -> {}", shown(&detail["to"]))), verified])
}

fn committed(detail: &Value) -> String {
    let changes = detail["changes"].as_array().into_iter().flatten();
    let changes: Vec<_> = changes
        .map(|change| {
            format!("{} {} -> {}", shown(&change["image"]), shown(&change["from"]), shown(&change["to"]))
        })
        .collect();
    let files = texts(&detail["files"]);
    let files = (!files.is_empty()).then(|| format!("in {}", files.join(", ")));
    let branch = text(&detail["branch"]).map(|branch| format!("on {branch}"));
    let place = [Some(commit(detail)), branch].into_iter().flatten().collect::<Vec<_>>().join(" ");
    sentence([Some(place), Some(changes.join(", ")), files])
}

fn notice(detail: &Value) -> Option<String> {
    let told = text(&detail["told"])?;
    let of = if detail["commit"].is_string() { format!(" {}", commit(detail)) } else { String::new() };
    Some(format!("{told}{of}: {}", shown(&detail["summary"])))
}

fn requested(detail: &Value) -> String {
    let notice = text(&detail["notice"]).map(|id| format!("notice {id}"));
    let attempts = some("after attempts:", &detail["attempts"], |attempts| *attempts > 0);
    let reason = some("which had failed:", &detail["reason"], |_| true);
    sentence([Some(format!("a person asked: {}", shown(&detail["request"]))), notice, attempts, reason])
}

fn commit(detail: &Value) -> String {
    let id = shown(&detail["commit"]);
    id.chars().take(SHORT).collect()
}

fn sentence<const N: usize>(parts: [Option<String>; N]) -> String {
    let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("; ")
}

/// The value after a word, where it is there and wanted.
fn some(word: &str, value: &Value, wanted: impl Fn(&u64) -> bool) -> Option<String> {
    if value.as_u64().is_some_and(|number| !wanted(&number)) {
        return None;
    }
    text(value).map(|text| format!("{word} {text}"))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn shown(value: &Value) -> String {
    text(value).unwrap_or_else(|| "?".to_owned())
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn words(kind: AuditKind, detail: Value) -> String {
        let object = "ImagePolicy/apps/podinfo".parse().unwrap();
        let at = Timestamp::UNIX_EPOCH;
        describe(&AuditEntry { at, kind, object, detail, event: None, about: [].into() })
    }

    #[test]
    fn each_kind_of_entry_is_put_into_words() {
        let id = "0123456789abcdef0123";
        for (kind, detail, wanted) in [
            (
                AuditKind::Received,
                json!({"sender": "harbor", "receiver": "apps/registry", "delivery": "7", "claim": "tag 1.0 pushed"}),
                "tag 1.0 pushed; by harbor at Receiver apps/registry; delivery 7",
            ),
            (
                AuditKind::Scanned,
                json!({"tags": 31, "new": ["1.0"], "new_count": 30, "gone": [], "gone_count": 0,
                       "choices": {"apps/podinfo": "r/app:1.0"}}),
                "30 new (1.0, …); 31 tags known; apps/podinfo chooses r/app:1.0",
            ),
            (
                AuditKind::Selected,
                json!({"from": null, "to": "r/app:1.0", "verified": [{"guard": "g", "authority": "a", "signer": "ci"}]}),
                "nothing -> r/app:1.0; signed by ci (Guard/g)",
            ),
            (
                AuditKind::Committed,
                json!({"commit": id, "branch": "main", "files": ["a.yaml"],
                       "changes": [{"image": "r/app", "from": "0.9", "to": "1.0"}]}),
                "0123456789ab on main; r/app 0.9 -> 1.0; in a.yaml",
            ),
            (
                AuditKind::Notified,
                json!({"told": "committed", "commit": id, "summary": "moved", "attempts": 1}),
                "committed 0123456789ab: moved",
            ),
            (
                AuditKind::Undeliverable,
                json!({"told": "failed", "summary": "moved", "attempts": 1, "reason": "404"}),
                "given up: 404; failed: moved",
            ),
            (AuditKind::Refused, json!({"tag": "1.0", "reason": "unsigned"}), "1.0; unsigned"),
            (AuditKind::Failed, json!({"reason": "401"}), "401"),
            (
                AuditKind::Requested,
                json!({"request": "drop", "attempts": 3, "reason": "503"}),
                "a person asked: drop; after attempts: 3; which had failed: 503",
            ),
            (AuditKind::Committed, json!(null), "?"),
        ] {
            assert_eq!(words(kind, detail), wanted);
        }
    }
}
