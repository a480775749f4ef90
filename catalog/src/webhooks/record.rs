//! What is known of a webhook.

use crate::database::Row;
use crate::state::states;
use crate::{AccountId, Error, EventKind, WebhookId};

states! {
    /// Whether a webhook is told of anything.
    WebhookState, "the webhook" {
        /// It is.
        Enabled = "enabled",
        /// It is not, and will not be told later of what happens meanwhile.
        Disabled = "disabled",
    }
    ways {
        Enabled => Disabled,
        Disabled => Enabled,
    }
}

states! {
    /// Where a delivery stands.
    DeliveryState, "the delivery" {
        /// It is to be tried, or somebody is at it.
        Waiting = "waiting",
        /// Its receiver has taken it.
        Delivered = "delivered",
        /// It is not tried again by itself.
        Failed = "failed",
    }
    ways {
        Waiting => Delivered | Failed,
        Delivered => Waiting,
        Failed => Waiting,
    }
}

/// A webhook to be.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Where it is.
    pub url: String,
    /// What people say of it.
    pub description: String,
    /// What it is told of; all where there are none.
    pub kinds: Vec<EventKind>,
    /// It is told of everybody's, if its account is an admin's.
    pub hears_all: bool,
    /// What signs.
    pub secret: Vec<u8>,
}

/// A webhook as it is, without what signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its name.
    pub id: WebhookId,
    /// Whose it is; on a gateway without accounts nobody's.
    pub account: Option<AccountId>,
    /// Where it is.
    pub url: String,
    /// What people say of it.
    pub description: String,
    /// What it is told of; all where there are none.
    pub kinds: Vec<String>,
    /// It is told of everybody's, if its account is an admin's.
    pub hears_all: bool,
    /// Whether it is told of anything.
    pub state: WebhookState,
    /// Why it was disabled, where its owner did not do it.
    pub problem: Option<String>,
    /// Until when the secret before signs, too.
    pub previous_until_ms: Option<i64>,
    /// Since when every attempt has failed.
    pub failing_since_ms: Option<i64>,
    /// When it was added.
    pub created_ms: i64,
    /// When it last changed.
    pub updated_ms: i64,
}

/// What to change. `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct WebhookPatch {
    /// Where it is.
    pub url: Option<String>,
    /// What people say of it.
    pub description: Option<String>,
    /// What it is told of; all where there are none.
    pub kinds: Option<Vec<EventKind>>,
    /// It is told of everybody's, if its account is an admin's.
    pub hears_all: Option<bool>,
    /// Whether it is told of anything.
    pub state: Option<WebhookState>,
}

/// Each between two spaces, so that one is not found in another.
pub(super) fn joined(kinds: &[EventKind]) -> String {
    let words: String = kinds.iter().flat_map(|kind| [" ", kind.as_str()]).collect();
    if words.is_empty() { words } else { words + " " }
}

// === impl Webhook ===

impl Webhook {
    pub(super) fn must_be_enabled(&self) -> Result<(), Error> {
        if self.state == WebhookState::Enabled {
            return Ok(());
        }
        Err(Error::Conflict("the webhook is disabled; enable it first"))
    }

    pub(super) fn from_row(row: &Row) -> Result<Self, Error> {
        let (kinds, hears_all): (String, i64) = (row.get("kinds")?, row.get("hears_all")?);
        Ok(Self {
            id: row.get("id")?,
            account: row.get("account")?,
            url: row.get("url")?,
            description: row.get("description")?,
            kinds: kinds.split_whitespace().map(str::to_owned).collect(),
            hears_all: hears_all != 0,
            state: row.get("state")?,
            problem: row.get("problem")?,
            previous_until_ms: row.get("previous_until_ms")?,
            failing_since_ms: row.get("failing_since_ms")?,
            created_ms: row.get("created_ms")?,
            updated_ms: row.get("updated_ms")?,
        })
    }
}
