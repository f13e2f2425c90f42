//! Notifiers: who is told what, and where.

use super::Meta;

/// `windlass.dev/v1alpha1` Notifier: who is told what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notifier {
    /// Name, labels, origin.
    pub meta: Meta,
    /// Where to.
    pub target: NotifierTarget,
    /// `spec.events`: which; by default all.
    pub events: Vec<NoticeKind>,
    /// `spec.namespaces`: automations of these namespaces; empty means the Notifier's own.
    pub namespaces: Vec<String>,
    /// `spec.automations`: names; empty means all of those namespaces.
    pub automations: Vec<String>,
    /// `spec.suspend`
    pub suspend: bool,
}

/// What a notice is about: `spec.events` of a Notifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    /// A commit landed.
    Committed,
    /// An automation, or something that it needs, started to fail.
    Failed,
    /// What failed works again.
    Recovered,
    /// A person's older value stays, or a change that would go back and forth is refused.
    Held,
}

impl NoticeKind {
    /// As written in `spec.events`.
    pub fn as_str(self) -> &'static str {
        match self {
            NoticeKind::Committed => "committed",
            NoticeKind::Failed => "failed",
            NoticeKind::Recovered => "recovered",
            NoticeKind::Held => "held",
        }
    }
}

/// Where a Notifier sends to. URLs and tokens are secrets and stay in the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifierTarget {
    /// `spec.slack.webhook.secretRef.name`: an incoming webhook; key `address`.
    SlackWebhook {
        /// The Secret's name.
        secret: String,
    },
    /// `spec.slack.bot`: `chat.postMessage`; key `token`.
    SlackBot {
        /// `spec.slack.bot.secretRef.name`
        secret: String,
        /// `spec.slack.bot.channel`: a channel's id or name.
        channel: String,
        /// `spec.slack.bot.apiURL`, by default `https://slack.com/api`; for a proxy in front of Slack.
        api_url: String,
    },
    /// `spec.webhook.secretRef.name`: a JSON webhook; key `address`, optional `token` sent as a bearer token.
    Webhook {
        /// The Secret's name.
        secret: String,
    },
    /// `spec.fluxReceiver.secretRef.name`: a Receiver of Flux, told of commits; key `address`, and `token` where its type
    /// is `generic-hmac`.
    FluxReceiver {
        /// The Secret's name.
        secret: String,
    },
    /// `spec.argocd.secretRef.name`: Argo CD's webhook, told of commits; key `address`, and `token` where Argo CD has a
    /// `webhook.github.secret`.
    ArgoCd {
        /// The Secret's name.
        secret: String,
    },
}

impl NotifierTarget {
    /// The Secret that holds the target's address or token.
    pub fn secret(&self) -> &str {
        match self {
            NotifierTarget::SlackWebhook { secret }
            | NotifierTarget::SlackBot { secret, .. }
            | NotifierTarget::Webhook { secret }
            | NotifierTarget::FluxReceiver { secret }
            | NotifierTarget::ArgoCd { secret } => secret,
        }
    }

    /// Whether it is a reconciler, which is to look at Git at once, rather than people.
    pub fn is_reconciler(&self) -> bool {
        matches!(self, NotifierTarget::FluxReceiver { .. } | NotifierTarget::ArgoCd { .. })
    }
}
