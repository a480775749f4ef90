//! What the API says of webhooks, and what is said to it.

use seekway_catalog::{Attempt, Delivery, DeliveryState, Webhook, WebhookState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::signature::Secret;
use crate::feed::EventDocument;
use crate::videos::timestamp;

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookDocument {
    /// Its name.
    #[schema(format = "uuid")]
    id: String,
    /// Where requests go.
    url: String,
    /// What its owner says of it.
    description: String,
    /// The events that it is told of; empty: all.
    events: Vec<String>,
    /// Whose events.
    scope: ScopeWord,
    /// Whether it is told of anything.
    enabled: bool,
    /// Why it was disabled, where its owner did not do it.
    problem: Option<String>,
    /// Since when every attempt has failed.
    #[schema(format = "date-time")]
    failing_since: Option<String>,
    /// What signs, `whsec_…`. Only once: nobody is told it after.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// Until when the secret before signs, too.
    #[schema(format = "date-time")]
    previous_secret_until: Option<String>,
    /// When it was added.
    #[schema(format = "date-time")]
    created: String,
    /// When it last changed.
    #[schema(format = "date-time")]
    updated: String,
}

/// All webhooks of somebody.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhooks)]
pub(crate) struct WebhooksDocument {
    /// Oldest first.
    pub(super) webhooks: Vec<WebhookDocument>,
}

/// A webhook to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWebhook)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhookDocument {
    /// Where requests go: `https` or `http`, to an address that everybody can reach.
    #[schema(max_length = 2048, example = "https://example.org/hook")]
    pub(super) url: String,
    /// At most 300 characters in one line.
    #[schema(max_length = 300)]
    pub(super) description: Option<String>,
    /// The events that it is told of; all without it.
    pub(super) events: Option<Vec<String>>,
    /// Whose events; one's own without it.
    pub(super) scope: Option<ScopeWord>,
}

/// What to change. What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WebhookPatch)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchDocument {
    /// Where requests go.
    #[schema(max_length = 2048)]
    pub(super) url: Option<String>,
    /// At most 300 characters in one line.
    #[schema(max_length = 300)]
    pub(super) description: Option<String>,
    /// The events that it is told of; empty: all.
    pub(super) events: Option<Vec<String>>,
    /// Whose events.
    pub(super) scope: Option<ScopeWord>,
    /// Whether it is told of anything. Of what happens while it is not, it is not told later.
    pub(super) enabled: Option<bool>,
}

/// Whose events: one's own, or, for admins, everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WebhookScope)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScopeWord {
    Own,
    All,
}

/// What a test is called.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookTest)]
pub(crate) struct TestedDocument {
    /// The event that the webhook is told of.
    #[schema(format = "uuid")]
    pub(super) event: String,
}

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Deliveries)]
pub(crate) struct DeliveriesDocument<'a> {
    /// Newest first.
    pub(super) deliveries: Vec<DeliveryDocument<'a>>,
    /// `after` of the next page; none on the last one.
    #[schema(format = "uuid")]
    pub(super) next: Option<String>,
}

/// One event for one webhook. It is called as the event is, which is also the header `webhook-id`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(crate) struct DeliveryDocument<'a> {
    /// What it tells.
    event: EventDocument<'a>,
    /// Where it stands.
    state: DeliveryWord,
    /// When it is tried again.
    #[schema(format = "date-time")]
    next_attempt: Option<String>,
    /// What was tried, oldest first; of many the last 20.
    attempts: Vec<AttemptDocument<'a>>,
    /// When it last changed.
    #[schema(format = "date-time")]
    updated: String,
}

/// Where a delivery stands: it is to be tried, or somebody is at it; its receiver has taken it; it is not tried again by
/// itself.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = DeliveryState)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeliveryWord {
    Waiting,
    Delivered,
    Failed,
}

/// What was tried.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryAttempt)]
pub(crate) struct AttemptDocument<'a> {
    /// Which one. An attempt whose gateway was killed is left out.
    #[schema(minimum = 1)]
    number: u64,
    /// When it began.
    #[schema(format = "date-time")]
    started: String,
    /// How long it took.
    #[schema(minimum = 0)]
    duration_ms: u64,
    /// The status of the answer; none: there was none.
    status: Option<u64>,
    /// Why it does not count.
    problem: Option<&'a str>,
    /// How the answer's body begins.
    answer: &'a str,
}

// === impl WebhookDocument ===

impl WebhookDocument {
    /// With its secret where that is new.
    pub(super) fn of(webhook: Webhook, secret: Option<&Secret>) -> Self {
        Self {
            id: webhook.id.to_string(),
            url: webhook.url,
            description: webhook.description,
            events: webhook.kinds,
            scope: if webhook.hears_all { ScopeWord::All } else { ScopeWord::Own },
            enabled: webhook.state == WebhookState::Enabled,
            problem: webhook.problem,
            failing_since: webhook.failing_since_ms.map(timestamp),
            secret: secret.map(Secret::to_text),
            previous_secret_until: webhook.previous_until_ms.map(timestamp),
            created: timestamp(webhook.created_ms),
            updated: timestamp(webhook.updated_ms),
        }
    }
}

// === impl DeliveryDocument ===

impl<'a> From<&'a Delivery> for DeliveryDocument<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        let is_waiting = delivery.state == DeliveryState::Waiting;
        Self {
            event: EventDocument::from(&delivery.event),
            state: match delivery.state {
                DeliveryState::Waiting => DeliveryWord::Waiting,
                DeliveryState::Delivered => DeliveryWord::Delivered,
                DeliveryState::Failed => DeliveryWord::Failed,
            },
            next_attempt: is_waiting.then(|| timestamp(delivery.due_ms)),
            attempts: delivery.attempts.iter().map(AttemptDocument::from).collect(),
            updated: timestamp(delivery.updated_ms),
        }
    }
}

// === impl AttemptDocument ===

impl<'a> From<&'a Attempt> for AttemptDocument<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            number: attempt.number,
            started: timestamp(attempt.started_ms),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            problem: attempt.problem.as_deref(),
            answer: &attempt.answer,
        }
    }
}
