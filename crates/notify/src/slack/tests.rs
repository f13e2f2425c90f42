use jiff::Timestamp;
use windlass_model::name::{Kind, ObjectKey, ObjectRef};

use super::*;

fn change(number: usize) -> ChangeNotice {
    ChangeNotice {
        policy: format!("apps/app-{number}"),
        image: format!("ghcr.io/org/app-{number}"),
        from: "1.0.0".into(),
        to: "1.1.0".into(),
        digest: Some(format!("sha256:{}", "0123456789abcdef".repeat(4))),
        files: vec!["deploy/app.yaml".into()],
    }
}

fn notice(kind: NoticeKind, changes: Option<Vec<ChangeNotice>>) -> Notice {
    Notice {
        id: "4b2f89a6-548d".into(),
        kind,
        object: ObjectRef::new(Kind::ImageUpdateAutomation, ObjectKey::new("apps", "fleet")),
        at: "2026-01-02T03:04:05Z".parse::<Timestamp>().unwrap(),
        commit: changes.map(|changes| CommitNotice {
            repository: "https://git.example/fleet.git".into(),
            branch: "main".into(),
            id: "1a2b3c4d5e6f708192a3b4c5d6e7f80912345678".into(),
            url: Some("https://git.example/fleet/commit/1a2b3c4d".into()),
            parent: None,
            files: Vec::new(),
            changes,
        }),
        summary: "the registry <down> answered 503".into(),
    }
}

#[test]
fn a_commit_shows_what_moved_where_and_by_whom() {
    assert_eq!(
        message(&notice(NoticeKind::Committed, Some(vec![change(1)])), false),
        json!({
            "text": "ghcr.io/org/app-1: 1.0.0 → 1.1.0 (main)",
            "unfurl_links": false,
            "unfurl_media": false,
            "blocks": [
                { "type": "section", "text": { "type": "mrkdwn",
                    "text": "*Committed* by ImageUpdateAutomation/apps/fleet" } },
                { "type": "section", "text": { "type": "mrkdwn",
                    "text": "*ghcr.io/org/app-1*\n`1.0.0` → `1.1.0`  `sha256:0123456789ab`\npolicy apps/app-1 · `deploy/app.yaml`" } },
                { "type": "section", "text": { "type": "mrkdwn",
                    "text": "*Repository* https://git.example/fleet.git\n*Branch* `main`\n*Commit* <https://git.example/fleet/commit/1a2b3c4d|1a2b3c4d5e6f>" } },
                { "type": "context", "elements": [{ "type": "mrkdwn",
                    "text": "event `4b2f89a6-548d` · 2026-01-02T03:04:05Z" }] },
            ],
        })
    );
}

#[test]
fn failures_and_recoveries_name_the_object_and_the_reason() {
    for (kind, title, text) in [
        (
            NoticeKind::Failed,
            "*Failing*: ImageUpdateAutomation/apps/fleet",
            "ImageUpdateAutomation/apps/fleet failed: the registry &lt;down&gt; answered 503",
        ),
        (
            NoticeKind::Recovered,
            "*Recovered*: ImageUpdateAutomation/apps/fleet",
            "ImageUpdateAutomation/apps/fleet recovered: the registry &lt;down&gt; answered 503",
        ),
    ] {
        assert_eq!(
            message(&notice(kind, None), true),
            json!({
                "text": text,
                "unfurl_links": false,
                "unfurl_media": false,
                "blocks": [
                    { "type": "section", "text": { "type": "mrkdwn", "text": title } },
                    { "type": "section", "text": { "type": "mrkdwn",
                        "text": "```\nthe registry &lt;down&gt; answered 503\n```" } },
                    { "type": "context", "elements": [{ "type": "mrkdwn",
                        "text": "event `4b2f89a6-548d` · 2026-01-02T03:04:05Z · sent again, it may have arrived before" }] },
                ],
            })
        );
    }
}

#[test]
fn a_thousand_changes_with_the_longest_values_stay_within_slacks_limits() {
    let long = "&".repeat(5000);
    let changes = (0..1000)
        .map(|_| ChangeNotice {
            policy: long.clone(),
            image: long.clone(),
            from: long.clone(),
            to: long.clone(),
            digest: Some(long.clone()),
            files: vec![long.clone(); 300],
        })
        .collect();
    let mut notice = notice(NoticeKind::Committed, Some(changes));
    let commit = notice.commit.as_mut().unwrap();
    commit.repository.clone_from(&long);
    commit.branch.clone_from(&long);
    commit.id.clone_from(&long);
    commit.url = Some(format!("https://git.example/{long}"));
    notice.id.clone_from(&long);
    notice.summary.clone_from(&long);
    let message = message(&notice, true);
    let blocks = message["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50, "{}", blocks.len());
    for block in blocks {
        let text = block["text"]["text"].as_str().or(block["elements"][0]["text"].as_str()).unwrap();
        assert!(text.chars().count() <= 3000, "{} characters: {text}", text.chars().count());
    }
    assert_eq!(blocks[41]["text"]["text"], "… and 960 more");
    assert!(message["text"].as_str().unwrap().chars().count() <= 4000);
}

#[test]
fn several_changes_are_summed_up_in_the_notification_line() {
    let message = message(&notice(NoticeKind::Committed, Some(vec![change(1), change(2), change(3)])), false);
    assert_eq!(message["text"], "ghcr.io/org/app-1: 1.0.0 → 1.1.0 and 2 more (main)");
}
