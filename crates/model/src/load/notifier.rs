//! Notifier (`windlass.dev/v1alpha1`): our own kind, defined here and in `resource.rs`.

use url::Url;

use super::fields::{Fields, Slot, quoted};
use super::object::{MAX_LABEL, MAX_NAME, Object, check_name};
use crate::resource::{NoticeKind, Notifier, NotifierTarget};

/// Fields of `spec`.
const SPEC: &[&str] =
    &["slack", "webhook", "fluxReceiver", "argocd", "events", "namespaces", "automations", "suspend"];
/// Words of `spec.events`.
const EVENTS: [(&str, NoticeKind); 4] = [
    ("committed", NoticeKind::Committed),
    ("failed", NoticeKind::Failed),
    ("recovered", NoticeKind::Recovered),
    ("held", NoticeKind::Held),
];
/// Slack's Web API.
const SLACK_API: &str = "https://slack.com/api";
/// More namespaces or automations than this are a mistake.
const MAX_ITEMS: usize = 1_000;

pub(super) fn decode(object: &Object<'_>) -> Option<Notifier> {
    let spec = object.spec(SPEC)?;
    let target = target(&spec);
    let events = match &target {
        Some(target) if target.is_reconciler() => only_commits(&spec),
        _ => events(&spec),
    };
    let namespaces = names(&spec, "namespaces", MAX_LABEL, false);
    let automations = names(&spec, "automations", MAX_NAME, true);
    let suspend = spec.flag("suspend");
    Some(Notifier { meta: object.meta(), target: target?, events, namespaces, automations, suspend })
}

/// Exactly one of them.
fn target(spec: &Fields<'_>) -> Option<NotifierTarget> {
    const CHOICES: [&str; 5] = ["slack.webhook", "slack.bot", "webhook", "fluxReceiver", "argocd"];
    let slack = spec.fields("slack", &["webhook", "bot"]);
    let of_slack = |name| slack.as_ref().and_then(|slack| slack.slot(name));
    let slots = [
        of_slack("webhook"),
        of_slack("bot"),
        spec.slot("webhook"),
        spec.slot("fluxReceiver"),
        spec.slot("argocd"),
    ];
    let mut stated = slots.iter().zip(CHOICES).filter_map(|(slot, choice)| Some((slot.as_ref()?, choice)));
    let (Some((slot, choice)), None) = (stated.next(), stated.next()) else {
        spec.error(format_args!("needs exactly one of {}", quoted(CHOICES.into_iter())));
        return None;
    };
    match choice {
        "slack.webhook" => address(slot).map(|secret| NotifierTarget::SlackWebhook { secret }),
        "slack.bot" => slack_bot(slot),
        "fluxReceiver" => address(slot).map(|secret| NotifierTarget::FluxReceiver { secret }),
        "argocd" => address(slot).map(|secret| NotifierTarget::ArgoCd { secret }),
        _ => address(slot).map(|secret| NotifierTarget::Webhook { secret }),
    }
}

/// `{secretRef: {name}}`: the address itself is a secret.
fn address(slot: &Slot<'_>) -> Option<String> {
    slot.fields(&["secretRef"])?.required("secretRef")?.local_reference()
}

fn slack_bot(slot: &Slot<'_>) -> Option<NotifierTarget> {
    let fields = slot.fields(&["secretRef", "channel", "apiURL"])?;
    let secret = fields.required("secretRef").and_then(|slot| slot.local_reference());
    let channel = fields.required("channel").and_then(|slot| slot.filled_text().map(str::to_owned));
    let api_url = match fields.slot("apiURL") {
        Some(slot) => api_url(&slot),
        None => Some(SLACK_API.to_owned()),
    };
    Some(NotifierTarget::SlackBot { secret: secret?, channel: channel?, api_url: api_url? })
}

/// The text is not repeated in errors: people put credentials into URLs.
fn api_url(slot: &Slot<'_>) -> Option<String> {
    let text = slot.filled_text()?;
    let valid = Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if !valid {
        slot.error("must be an https:// or http:// URL without credentials, query or fragment");
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// Absent or empty means all.
fn events(spec: &Fields<'_>) -> Vec<NoticeKind> {
    let items = spec.slot("events").and_then(|slot| slot.list(MAX_ITEMS)).unwrap_or_default();
    if items.is_empty() {
        return EVENTS.map(|(_, kind)| kind).to_vec();
    }
    let mut events: Vec<NoticeKind> = items.iter().filter_map(|item| item.choice(&EVENTS)).collect();
    events.sort_unstable();
    events.dedup();
    events
}

/// A reconciler has nothing to do for anything else.
fn only_commits(spec: &Fields<'_>) -> Vec<NoticeKind> {
    if let Some(slot) = spec.slot("events")
        && events(spec) != [NoticeKind::Committed]
    {
        slot.error("a reconciler is told of commits alone: leave it out, or write [committed]");
    }
    vec![NoticeKind::Committed]
}

fn names(spec: &Fields<'_>, field: &str, max: usize, dots: bool) -> Vec<String> {
    let items = spec.slot(field).and_then(|slot| slot.list(MAX_ITEMS)).unwrap_or_default();
    let checked = |slot: &Slot<'_>| {
        slot.remember_place();
        let text = slot.text()?;
        slot.check(check_name(text, max, dots)).map(|()| text.to_owned())
    };
    items.iter().filter_map(checked).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, only, problems};
    use super::*;

    fn with(spec: &str) -> String {
        format!("apiVersion: windlass.dev/v1alpha1\nkind: Notifier\nmetadata: {{name: chat}}\nspec:\n{spec}")
    }

    fn notifier(spec: &str) -> Notifier {
        only(&with(spec)).notifiers.values().next().unwrap().as_ref().clone()
    }

    #[test]
    fn the_three_targets_are_read_with_their_defaults() {
        let webhook = notifier("  slack: {webhook: {secretRef: {name: s}}}\n");
        assert_eq!(webhook.target, NotifierTarget::SlackWebhook { secret: "s".into() });
        let all = [NoticeKind::Committed, NoticeKind::Failed, NoticeKind::Recovered, NoticeKind::Held];
        assert_eq!(webhook.events, all);
        assert!(webhook.namespaces.is_empty() && webhook.automations.is_empty() && !webhook.suspend);

        let text = "  slack: {bot: {secretRef: {name: s}, channel: '#ops'}}\n  events: [failed, committed, failed]\n  \
                    namespaces: [apps]\n  automations: [a.b]\n  suspend: true\n";
        let bot = notifier(text);
        let target = NotifierTarget::SlackBot {
            secret: "s".into(),
            channel: "#ops".into(),
            api_url: SLACK_API.into(),
        };
        assert_eq!(bot.target, target);
        assert_eq!(bot.events, [NoticeKind::Committed, NoticeKind::Failed]);
        assert_eq!(
            (bot.namespaces, bot.automations, bot.suspend),
            (vec!["apps".into()], vec!["a.b".into()], true)
        );

        let proxied =
            notifier("  slack: {bot: {secretRef: {name: s}, channel: C1, apiURL: 'http://p:1/api/'}}\n");
        assert!(
            matches!(proxied.target, NotifierTarget::SlackBot { api_url, .. } if api_url == "http://p:1/api")
        );
        let generic = notifier("  webhook: {secretRef: {name: s}}\n");
        assert_eq!(generic.target, NotifierTarget::Webhook { secret: "s".into() });
    }

    #[test]
    fn a_reconciler_is_told_of_commits_alone() {
        for (spec, target) in [
            ("  fluxReceiver: {secretRef: {name: s}}\n", NotifierTarget::FluxReceiver { secret: "s".into() }),
            (
                "  argocd: {secretRef: {name: s}}\n  events: [committed]\n",
                NotifierTarget::ArgoCd { secret: "s".into() },
            ),
        ] {
            let read = notifier(spec);
            assert!(read.target == target && read.target.is_reconciler());
            assert_eq!(read.events, [NoticeKind::Committed]);
        }
    }

    #[test]
    fn every_wrong_field_is_named_with_its_line() {
        const HOOK: &str = "  webhook: {secretRef: {name: s}}\n";
        let after = |rest: &str| format!("{HOOK}{rest}");
        for (spec, line, field, message) in [
            ("  suspend: true\n".into(), 4, "spec", "needs exactly one of `slack.webhook`"),
            (after("  slack: {bot: {secretRef: {name: s}, channel: c}}\n"), 4, "spec", "needs exactly one"),
            ("  slack: {}\n".into(), 4, "spec", "needs exactly one"),
            ("  slack: {hook: {}}\n".into(), 5, "spec.slack.hook", "is not a known field"),
            ("  webhook: {url: https://x}\n".into(), 5, "spec.webhook.url", "is not a known field"),
            ("  webhook: {}\n".into(), 5, "spec.webhook.secretRef", "is required"),
            (
                "  slack:\n    bot: {secretRef: {name: s}}\n".into(),
                6,
                "spec.slack.bot.channel",
                "is required",
            ),
            (
                "  slack:\n    bot: {secretRef: {name: s}, channel: c, apiURL: slack.com}\n".into(),
                6,
                "spec.slack.bot.apiURL",
                "must be an https://",
            ),
            (
                "  argocd: {secretRef: {name: s}}\n  events: [held]\n".into(),
                6,
                "spec.events",
                "commits alone",
            ),
            (after("  argocd: {secretRef: {name: s}}\n"), 4, "spec", "needs exactly one"),
            (after("  events: [commited]\n"), 6, "spec.events[0]", "is not one of `committed`"),
            (after("  namespaces: [A]\n"), 6, "spec.namespaces[0]", "is not a valid name"),
            (after("  automations:\n  - ok\n  - no_t\n"), 8, "spec.automations[1]", "is not a valid name"),
        ] {
            let text = with(&spec);
            assert!(found(&text, line, field, message), "{text}\n{:#?}", problems(&text));
        }
    }
}
