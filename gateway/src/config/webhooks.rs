//! Settings about how programs are told of events.

use std::time::Duration;

use super::values::{boolean, duration_in, limit, number};

pub(super) const EVENTS: &str = "Events and webhooks";

/// Longer than deliveries are tried, or what they tell would go before.
const KEPT_MIN: Duration = Duration::from_hours(48);

/// How programs are told of events.
#[derive(Debug, Clone, clap::Args)]
pub struct WebhookSettings {
    /// How long events are kept for programs that were away, and the log of what webhooks were told; at least 48h
    #[arg(long, env = "SEEKWAY_EVENTS_KEPT", value_name = "TIME", default_value = "7days")]
    #[arg(value_parser = |text: &str| duration_in(text, KEPT_MIN, "48h"), help_heading = EVENTS)]
    events_kept: humantime::Duration,

    /// Webhooks that one account may have; all that come without an account share one number. 0: none are added, and this
    /// gateway tells none
    #[arg(long, env = "SEEKWAY_WEBHOOKS_MAX", value_name = "COUNT", default_value = "10")]
    #[arg(value_parser = |text: &str| number(text, 0..=1000u64), help_heading = EVENTS)]
    webhooks_max: u64,

    /// Whether webhooks may be at addresses of this machine and the networks around it; whoever may add one can then have
    /// the gateway send requests there
    #[arg(long, env = "SEEKWAY_WEBHOOKS_TO_PRIVATE", value_name = "BOOL", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    #[arg(help_heading = EVENTS)]
    webhooks_to_private: bool,

    /// How long a webhook may take for an answer
    #[arg(long, env = "SEEKWAY_WEBHOOK_TIMEOUT", value_name = "TIME", default_value = "15s")]
    #[arg(value_parser = limit, help_heading = EVENTS)]
    webhook_timeout: humantime::Duration,

    /// How long after the first failed attempt to tell a webhook there is another; each further pause is four times as long,
    /// up to 8h, and the tenth attempt is the last
    #[arg(long, env = "SEEKWAY_WEBHOOK_RETRY_AFTER", value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = |text: &str| duration_in(text, Duration::from_millis(1), "1ms"), help_heading = EVENTS)]
    webhook_retry_after: humantime::Duration,
}

// === impl WebhookSettings ===

impl WebhookSettings {
    /// How long events are kept.
    pub(crate) fn events_kept_ms(&self) -> i64 {
        i64::try_from(self.events_kept.as_millis()).unwrap_or(i64::MAX)
    }

    /// Webhooks that one account may have.
    pub(crate) fn per_account(&self) -> u64 {
        self.webhooks_max
    }

    /// Whether they may be at addresses that are not everybody's.
    pub(crate) fn to_private(&self) -> bool {
        self.webhooks_to_private
    }

    /// How long an attempt may take.
    pub(crate) fn within(&self) -> Duration {
        *self.webhook_timeout
    }

    /// The first pause between attempts.
    pub(crate) fn pause(&self) -> Duration {
        *self.webhook_retry_after
    }
}
