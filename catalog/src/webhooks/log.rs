//! The log of deliveries, and how one is asked for again.

use crate::database::{Database, Row, args};
use crate::feed::FeedEvent;
use crate::{AccountId, Error, EventId, State as _, WebhookId};

use super::{DeliveryState, Webhooks, locked};

/// One event for one webhook, and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Of what it tells; the delivery has no other name.
    pub event: FeedEvent,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it is tried again, or given up as lost by whoever is at it.
    pub due_ms: i64,
    /// Since when it is to be delivered.
    pub asked_ms: i64,
    /// When it last changed.
    pub updated_ms: i64,
    /// What was tried, oldest first; of many the last [`ATTEMPTS_SHOWN`](Self::ATTEMPTS_SHOWN).
    pub attempts: Vec<Attempt>,
}

/// What was tried, and what came of it. An attempt whose gateway was killed is not told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Counted for each delivery from 1.
    pub number: u64,
    /// When it began.
    pub started_ms: i64,
    /// How long it took.
    pub duration_ms: u64,
    /// The status of the answer; `None`: there was none.
    pub status: Option<u64>,
    /// Why it does not count.
    pub problem: Option<String>,
    /// How the answer's body begins.
    pub answer: String,
}

// === impl Webhooks ===

impl Webhooks<'_> {
    /// A page of at most `limit` deliveries, newest first. The next one is `after` the last of this one.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the account has no such webhook.
    pub async fn deliveries(
        &self,
        account: Option<AccountId>,
        id: WebhookId,
        after: Option<EventId>,
        limit: u32,
    ) -> Result<Vec<Delivery>, Error> {
        self.get(account, id).await?;
        let sql = "SELECT feed.*, state, claims, due_ms, asked_ms, updated_ms FROM webhook_deliveries \
                   JOIN feed ON feed.number = webhook_deliveries.event WHERE webhook_deliveries.webhook = $1 \
                   AND ($2 IS NULL OR event < (SELECT number FROM feed WHERE id = $2)) ORDER BY event DESC LIMIT $3";
        let rows = self.0.rows(sql, args![id, after, i64::from(limit)]).await?;
        let mut deliveries = Vec::with_capacity(rows.len());
        for row in &rows {
            deliveries.push(Delivery::from_row(self.0, id, row).await?);
        }
        Ok(deliveries)
    }

    /// Has an event told at once, again or for the first time; its attempts are counted from the beginning.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the account has no such webhook, or that no such delivery; [`Error::Conflict`] where the
    /// webhook is disabled.
    pub async fn redeliver(
        &self,
        account: Option<AccountId>,
        id: WebhookId,
        event: EventId,
    ) -> Result<Delivery, Error> {
        let mut write = self.0.write().await?;
        locked(&mut write, account, id).await?.must_be_enabled()?;
        let sql = "SELECT state, number FROM webhook_deliveries JOIN feed ON feed.number = webhook_deliveries.event \
                   WHERE webhook_deliveries.webhook = $1 AND feed.id = $2";
        let row = write.row(sql, args![id, event]).await?;
        let (state, number): (DeliveryState, i64) = (row.get("state")?, row.get("number")?);
        let next = match state {
            DeliveryState::Waiting => state,
            _ => state.become_(DeliveryState::Waiting)?,
        };
        let sql = "UPDATE webhook_deliveries SET state = $3, attempts = 0, due_ms = now_ms(), asked_ms = now_ms(), \
                   updated_ms = now_ms() WHERE webhook = $1 AND event = $2";
        write.rows(sql, args![id, number, next]).await?;
        write.commit().await?;
        let sql = "SELECT feed.*, state, claims, due_ms, asked_ms, updated_ms FROM webhook_deliveries \
                   JOIN feed ON feed.number = webhook_deliveries.event \
                   WHERE webhook_deliveries.webhook = $1 AND event = $2";
        Delivery::from_row(self.0, id, &self.0.row(sql, args![id, number]).await?).await
    }
}

// === impl Delivery ===

impl Delivery {
    /// A delivery that is asked for again and again has any number.
    pub const ATTEMPTS_SHOWN: i64 = 20;

    async fn from_row(database: &Database, webhook: WebhookId, row: &Row) -> Result<Self, Error> {
        let event = FeedEvent::from_row(row)?;
        let sql = "SELECT * FROM webhook_attempts WHERE webhook = $1 AND event = $2 AND number > $3 ORDER BY number";
        let first = row.get::<i64>("claims")? - Self::ATTEMPTS_SHOWN;
        let attempts = database.rows(sql, args![webhook, event.number, first]).await?;
        let attempts = attempts.iter().map(Attempt::from_row).collect::<Result<_, _>>()?;
        Ok(Self {
            event,
            state: row.get("state")?,
            due_ms: row.get("due_ms")?,
            asked_ms: row.get("asked_ms")?,
            updated_ms: row.get("updated_ms")?,
            attempts,
        })
    }
}

// === impl Attempt ===

impl Attempt {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            number: row.get("number")?,
            started_ms: row.get("started_ms")?,
            duration_ms: row.get("duration_ms")?,
            status: row.get("status")?,
            problem: row.get("problem")?,
            answer: row.get("answer")?,
        })
    }
}
