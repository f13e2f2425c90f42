//! Where a Notifier sends to.

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
