//! The verdict on one delivery: done, try again, or never. Owns the reading of statuses and of Slack's error codes.

use std::time::Duration;

use http::StatusCode;

/// Why a notice was not delivered. The reasons are for people and hold no address, token or body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// Another try can succeed: the network, a limit, or the receiver's own trouble.
    #[error("not delivered: {reason}")]
    Retry {
        /// What the receiver asked for; otherwise the caller's own backoff applies.
        after: Option<Duration>,
        /// What happened.
        reason: String,
    },
    /// The request went out and no answer came: it may have arrived. Another try is a possible repeat.
    #[error("perhaps not delivered: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
    /// Another try cannot succeed before a person changes something.
    #[error("refused: {reason}")]
    Rejected {
        /// What happened, and what to do about it.
        reason: String,
    },
}

impl DeliveryError {
    /// The metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            DeliveryError::Retry { .. } => "retry",
            DeliveryError::Unknown { .. } => "unknown",
            DeliveryError::Rejected { .. } => "rejected",
        }
    }

    pub(crate) fn retry(reason: impl Into<String>) -> Self {
        DeliveryError::Retry { after: None, reason: reason.into() }
    }

    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        DeliveryError::Unknown { reason: reason.into() }
    }

    pub(crate) fn rejected(reason: impl Into<String>) -> Self {
        DeliveryError::Rejected { reason: reason.into() }
    }
}

/// Reads an HTTP status. 408, 425 and 429 are the client errors that time mends (RFC 9110, 8470, 6585).
pub(crate) fn judge_status(status: StatusCode, after: Option<Duration>) -> Result<(), DeliveryError> {
    let reason = format!("the receiver answered {status}");
    match status.as_u16() {
        200..=299 => Ok(()),
        300..=399 => Err(DeliveryError::rejected(format!(
            "{reason}: redirects are not followed, set the final address in the Secret"
        ))),
        408 | 425 | 429 | 500..=599 => Err(DeliveryError::Retry { after, reason }),
        _ => Err(DeliveryError::Rejected { reason }),
    }
}

/// Reads an `error` code of Slack's Web API (`chat.postMessage`, "Errors"). What is not known to pass is refused: the
/// same message would meet the same answer.
pub(crate) fn judge_slack_code(code: &str, after: Option<Duration>) -> DeliveryError {
    let advice = match code {
        "ratelimited"
        | "rate_limited"
        | "message_limit_exceeded"
        | "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org" => {
            return DeliveryError::Retry { after, reason: format!("Slack answered `{code}`") };
        }
        "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive" => {
            ": set a valid bot token in the Secret's key `token`"
        }
        "missing_scope" | "no_permission" | "not_allowed_token_type" => {
            ": the token must be a bot token with the scope `chat:write`"
        }
        "channel_not_found" | "not_in_channel" => {
            ": check `spec.slack.bot.channel`, and invite the bot to the channel"
        }
        "is_archived" => ": the channel is archived, choose another",
        "restricted_action"
        | "restricted_action_read_only_channel"
        | "restricted_action_thread_only_channel" => ": the workspace does not let the bot post there",
        _ => "",
    };
    DeliveryError::rejected(format!("Slack answered `{code}`{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_delivered_retried_or_rejected() {
        let after = Some(Duration::from_secs(7));
        for (status, expected) in [
            (200, "ok"),
            (204, "ok"),
            (301, "rejected"),
            (307, "rejected"),
            (400, "rejected"),
            (401, "rejected"),
            (403, "rejected"),
            (404, "rejected"),
            (408, "retry"),
            (410, "rejected"),
            (413, "rejected"),
            (425, "retry"),
            (429, "retry"),
            (500, "retry"),
            (503, "retry"),
            (599, "retry"),
            (999, "rejected"),
        ] {
            let verdict = judge_status(StatusCode::from_u16(status).unwrap(), after);
            assert_eq!(verdict.as_ref().err().map_or("ok", DeliveryError::kind), expected, "{status}");
            if let Err(DeliveryError::Retry { after: given, .. }) = verdict {
                assert_eq!(given, after, "{status}");
            }
        }
    }

    #[test]
    fn slack_codes_are_retried_only_where_time_mends_them() {
        for (code, expected) in [
            ("ratelimited", "retry"),
            ("rate_limited", "retry"),
            ("message_limit_exceeded", "retry"),
            ("internal_error", "retry"),
            ("fatal_error", "retry"),
            ("service_unavailable", "retry"),
            ("request_timeout", "retry"),
            ("team_added_to_org", "retry"),
            ("invalid_auth", "rejected"),
            ("not_authed", "rejected"),
            ("account_inactive", "rejected"),
            ("token_revoked", "rejected"),
            ("missing_scope", "rejected"),
            ("channel_not_found", "rejected"),
            ("not_in_channel", "rejected"),
            ("is_archived", "rejected"),
            ("invalid_blocks", "rejected"),
            ("msg_too_long", "rejected"),
            ("a_code_of_the_future", "rejected"),
        ] {
            assert_eq!(judge_slack_code(code, None).kind(), expected, "{code}");
        }
        let text = judge_slack_code("not_in_channel", None).to_string();
        assert!(text.contains("invite the bot"), "{text}");
    }
}
