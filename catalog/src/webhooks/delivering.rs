//! Deliveries: from their claim to what came of it.

use crate::database::args;
use crate::feed::FeedEvent;
use crate::{Error, State as _, WebhookId};

use super::{DeliveryState, Webhook, WebhookState, Webhooks, disable, secrets};

/// A webhook with something to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Which one.
    pub webhook: WebhookId,
    /// Every attempt since its last success has failed.
    pub is_failing: bool,
}

/// A delivery, claimed.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Who is to be told.
    pub webhook: WebhookId,
    /// Where.
    pub url: String,
    /// What signs: the newer one first.
    pub secrets: Vec<Vec<u8>>,
    /// Of what.
    pub event: FeedEvent,
    /// The fencing number of the claim.
    pub claim: u64,
    /// How often it was claimed since it was asked for, this time included.
    pub attempt: u64,
}

/// What there is to say of an attempt.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    /// How long it took.
    pub duration_ms: u64,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it does not count.
    pub problem: Option<String>,
    /// How the answer's body begins.
    pub answer: String,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: it is delivered.
    Delivered,
    /// Another one, in so many milliseconds.
    Again(i64),
    /// Nothing: it was the last.
    Failed,
    /// Nothing at all: the receiver says that it is gone.
    Gone,
}

/// What has become of a delivery and its webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where the delivery stands now.
    pub state: DeliveryState,
    /// Why the webhook is disabled by this.
    pub disabled: Option<String>,
}

// === impl Webhooks ===

impl Webhooks<'_> {
    /// Webhooks with deliveries that are due, those that have waited longest first, at most `limit`; after all others those
    /// that fail, so that they do not stand in the way.
    pub async fn waiting(&self, limit: u32) -> Result<Vec<Waiting>, Error> {
        let sql = "SELECT id, failing_since_ms FROM webhooks JOIN (SELECT webhook, MIN(due_ms) AS due_ms \
                   FROM webhook_deliveries WHERE state = 'waiting' AND due_ms <= now_ms() GROUP BY webhook) AS due \
                   ON due.webhook = webhooks.id \
                   ORDER BY CASE WHEN failing_since_ms IS NULL THEN 0 ELSE 1 END, due.due_ms, id LIMIT $1";
        let rows = self.0.rows(sql, args![i64::from(limit)]).await?;
        let waiting = rows.iter().map(|row| {
            let failing: Option<i64> = row.get("failing_since_ms")?;
            Ok(Waiting { webhook: row.get("id")?, is_failing: failing.is_some() })
        });
        waiting.collect()
    }

    /// How many deliveries wait, and for how long the one that was asked for first has.
    pub async fn backlog(&self) -> Result<(u64, Option<u64>), Error> {
        let sql = "SELECT COUNT(*) AS waiting, MIN(asked_ms) AS oldest, now_ms() AS now_ms \
                   FROM webhook_deliveries WHERE state = 'waiting'";
        let row = self.0.row(sql, args![]).await?;
        let (now, oldest): (u64, Option<u64>) = (row.get("now_ms")?, row.get("oldest")?);
        Ok((row.get("waiting")?, oldest.map(|since| now.saturating_sub(since))))
    }

    /// Claims up to `limit` deliveries of a webhook that are due, for `lease_ms`. No two callers get the same within that
    /// time.
    pub async fn claim(&self, id: WebhookId, limit: u32, lease_ms: i64) -> Result<Vec<Pending>, Error> {
        let mut write = self.0.write().await?;
        let sql = "UPDATE webhook_deliveries SET claims = claims + 1, attempts = attempts + 1, due_ms = now_ms() + $3 \
                   WHERE webhook = $1 AND event IN (SELECT event FROM webhook_deliveries \
                   WHERE webhook = $1 AND state = 'waiting' AND due_ms <= now_ms() \
                   ORDER BY due_ms, event LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING event, claims, attempts";
        let claimed = write.rows(sql, args![id, i64::from(limit), lease_ms]).await?;
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        let webhook =
            write.row("SELECT *, now_ms() AS now_ms FROM webhooks WHERE id = $1", args![id]).await?;
        let (url, secrets): (String, _) = (webhook.get("url")?, secrets(&webhook)?);
        let mut pending = Vec::with_capacity(claimed.len());
        for row in &claimed {
            let event =
                write.row("SELECT * FROM feed WHERE number = $1", args![row.get::<i64>("event")?]).await?;
            pending.push(Pending {
                webhook: id,
                url: url.clone(),
                secrets: secrets.clone(),
                event: FeedEvent::from_row(&event)?,
                claim: row.get("claims")?,
                attempt: row.get("attempts")?,
            });
        }
        write.commit().await?;
        pending.sort_by_key(|pending| pending.event.number);
        Ok(pending)
    }

    /// Says what came of an attempt. A webhook that has failed for longer than `failing_max_ms` without a success between
    /// is disabled.
    ///
    /// # Errors
    /// [`Error::Superseded`] where somebody else has claimed it since; [`Error::NotFound`] where it is gone.
    pub async fn record(
        &self,
        pending: &Pending,
        attempt: &NewAttempt,
        outcome: Outcome,
        failing_max_ms: i64,
    ) -> Result<Recorded, Error> {
        let mut write = self.0.write().await?;
        // The webhook first, as whoever disables it does.
        let sql = "SELECT *, now_ms() AS now_ms FROM webhooks WHERE id = $1 FOR UPDATE";
        let row = write.row(sql, args![pending.webhook]).await?;
        let (now, webhook): (i64, _) = (row.get("now_ms")?, Webhook::from_row(&row)?);
        let (id, event) = (pending.webhook, pending.event.number);
        let sql = "SELECT * FROM webhook_deliveries WHERE webhook = $1 AND event = $2 FOR UPDATE";
        let delivery = write.row(sql, args![id, event]).await?;
        if delivery.get::<u64>("claims")? != pending.claim {
            return Err(Error::Superseded);
        }
        let NewAttempt { duration_ms, status, problem, answer } = attempt;
        let sql = "INSERT INTO webhook_attempts (webhook, event, number, started_ms, duration_ms, status, problem, answer) \
                   VALUES ($1, $2, $3, now_ms() - $4, $4, $5, $6, $7)";
        let status = status.map(i64::from);
        let args = args![id, event, pending.claim, *duration_ms, status, problem.as_deref(), answer.as_str()];
        write.rows(sql, args).await?;

        let before: DeliveryState = delivery.get("state")?;
        let (next, delay_ms) = match outcome {
            Outcome::Delivered => (DeliveryState::Delivered, 0),
            Outcome::Again(delay_ms) => (DeliveryState::Waiting, delay_ms),
            Outcome::Failed | Outcome::Gone => (DeliveryState::Failed, 0),
        };
        // It may have been given up meanwhile, with its webhook.
        let state =
            if before == DeliveryState::Waiting && next != before { before.become_(next)? } else { before };
        let sql = "UPDATE webhook_deliveries SET state = $3, due_ms = now_ms() + $4, updated_ms = now_ms() \
                   WHERE webhook = $1 AND event = $2";
        write.rows(sql, args![id, event, state, delay_ms]).await?;

        let failing_since = match outcome {
            Outcome::Delivered => None,
            _ => webhook.failing_since_ms.or(Some(now)),
        };
        write
            .rows("UPDATE webhooks SET failing_since_ms = $2 WHERE id = $1", args![id, failing_since])
            .await?;
        let has_failed_long = failing_since.is_some_and(|since| now - since > failing_max_ms);
        let why = match outcome {
            Outcome::Gone => Some("The receiver answered 410, that it is gone."),
            _ if has_failed_long => Some("Every attempt has failed for too long."),
            _ => None,
        };
        let why = why.filter(|_| webhook.state == WebhookState::Enabled);
        if why.is_some() {
            disable(&mut write, &webhook, why).await?;
        }
        write.commit().await?;
        Ok(Recorded { state, disabled: why.map(str::to_owned) })
    }
}
