//! Webhooks: where programs are told of events, and the log of what they were told.
//!
//! A webhook is its account's alone. Its **deliveries**, one for each event, are made with the event's place in the feed
//! ([`Feed::advance`](crate::Feed::advance)). Whoever delivers one claims it for a time; what it then says of the attempt
//! counts as long as its claim is the newest ([`Error::Superseded`]). So an event may be told twice, and none is forgotten:
//! it is tried until it is delivered or failed, and its webhook is enabled.

mod delivering;
mod log;
mod record;

use crate::database::{Database, Row, Write, args};
use crate::{AccountId, Error, EventId, EventKind, State as _, WebhookId, feed};

pub use delivering::{NewAttempt, Outcome, Pending, Recorded, Waiting};
pub use log::{Attempt, Delivery};
pub use record::{DeliveryState, NewWebhook, Webhook, WebhookPatch, WebhookState};

/// Makes the deliveries of all events from a place on. A webhook that is disabled is told nothing, later either. Each half
/// finds its webhooks by an index: SQLite keeps the order of a CROSS JOIN (<https://sqlite.org/optoverview.html>, 8.2).
pub(crate) const FAN_OUT: &str = "INSERT INTO webhook_deliveries \
     (webhook, event, state, claims, attempts, due_ms, asked_ms, updated_ms) \
     SELECT webhook, event, 'waiting', 0, 0, now_ms(), now_ms(), now_ms() FROM ( \
     SELECT webhooks.id AS webhook, webhooks.state, webhooks.kinds, feed.number AS event, feed.kind, feed.webhook AS tested \
       FROM feed CROSS JOIN webhooks WHERE feed.number >= $1 AND COALESCE(webhooks.account, '') = COALESCE(feed.owner, '') \
     UNION SELECT webhooks.id, webhooks.state, webhooks.kinds, feed.number, feed.kind, feed.webhook \
       FROM feed CROSS JOIN webhooks JOIN accounts ON accounts.id = webhooks.account AND accounts.role = 'admin' \
       WHERE feed.number >= $1 AND webhooks.hears_all = 1) AS told \
     WHERE state = 'enabled' AND CASE kind WHEN 'webhook.test' THEN tested = webhook \
       ELSE kinds = '' OR kinds LIKE '% ' || kind || ' %' END";

/// See [`Catalog::webhooks`](crate::Catalog::webhooks).
#[derive(Debug)]
pub struct Webhooks<'c>(pub(crate) &'c Database);

// === impl Webhooks ===

impl Webhooks<'_> {
    /// Tests of a webhook that wait to be delivered: they are the one thing that somebody can have told to others at will.
    pub const TESTS_MAX: u64 = 10;

    /// Adds one, unless the account has `most` already.
    ///
    /// # Errors
    /// [`Error::Quota`].
    pub async fn create(
        &self,
        account: Option<AccountId>,
        new: &NewWebhook,
        most: u64,
    ) -> Result<Webhook, Error> {
        let mut write = self.0.write().await?;
        // Two who add one each wait for each other here.
        write.lock("webhooks").await?;
        let sql = "SELECT COUNT(*) AS webhooks FROM webhooks WHERE COALESCE(account, '') = COALESCE($1, '')";
        let wanted = write.row(sql, args![account]).await?.get::<u64>("webhooks")? + 1;
        if wanted > most {
            return Err(Error::Quota { what: "webhooks", wanted, limit: most });
        }
        let sql = "INSERT INTO webhooks (id, account, url, description, kinds, hears_all, state, secret, created_ms, \
                   updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now_ms(), now_ms()) RETURNING *";
        let NewWebhook { url, description, kinds, hears_all, secret } = new;
        let args = args![
            WebhookId::new(),
            account,
            url.as_str(),
            description.as_str(),
            record::joined(kinds),
            i64::from(*hears_all),
            WebhookState::Enabled,
            secret.clone()
        ];
        let webhook = Webhook::from_row(&write.row(sql, args).await?)?;
        write.commit().await?;
        Ok(webhook)
    }

    /// One of an account's.
    ///
    /// # Errors
    /// [`Error::NotFound`], also where it is somebody else's.
    pub async fn get(&self, account: Option<AccountId>, id: WebhookId) -> Result<Webhook, Error> {
        let sql = "SELECT * FROM webhooks WHERE id = $1 AND COALESCE(account, '') = COALESCE($2, '')";
        Webhook::from_row(&self.0.row(sql, args![id, account]).await?)
    }

    /// All of an account's, oldest first.
    pub async fn of_account(&self, account: Option<AccountId>) -> Result<Vec<Webhook>, Error> {
        let sql = "SELECT * FROM webhooks WHERE COALESCE(account, '') = COALESCE($1, '') ORDER BY id";
        self.0.rows(sql, args![account]).await?.iter().map(Webhook::from_row).collect()
    }

    /// Changes one. Disabled, what waits is given up; enabled again, it has not failed yet.
    pub async fn patch(
        &self,
        account: Option<AccountId>,
        id: WebhookId,
        patch: WebhookPatch,
    ) -> Result<Webhook, Error> {
        let mut write = self.0.write().await?;
        let before = locked(&mut write, account, id).await?;
        if let Some(state) = patch.state.filter(|state| *state != before.state) {
            match state {
                WebhookState::Disabled => disable(&mut write, &before, None).await?,
                WebhookState::Enabled => {
                    let sql = "UPDATE webhooks SET state = $2, problem = NULL, failing_since_ms = NULL WHERE id = $1";
                    write.rows(sql, args![id, before.state.become_(state)?]).await?;
                }
            }
        }
        let sql = "UPDATE webhooks SET url = COALESCE($2, url), description = COALESCE($3, description), \
                   kinds = COALESCE($4, kinds), hears_all = COALESCE($5, hears_all), updated_ms = now_ms() \
                   WHERE id = $1 RETURNING *";
        let kinds = patch.kinds.as_deref().map(record::joined);
        let args = args![id, patch.url, patch.description, kinds, patch.hears_all.map(i64::from)];
        let webhook = Webhook::from_row(&write.row(sql, args).await?)?;
        write.commit().await?;
        Ok(webhook)
    }

    /// Has another secret sign. The one before signs beside it for another `kept_ms`.
    pub async fn rotate(
        &self,
        account: Option<AccountId>,
        id: WebhookId,
        secret: &[u8],
        kept_ms: i64,
    ) -> Result<Webhook, Error> {
        let mut write = self.0.write().await?;
        locked(&mut write, account, id).await?;
        let sql = "UPDATE webhooks SET previous_secret = secret, previous_until_ms = now_ms() + $3, secret = $2, \
                   updated_ms = now_ms() WHERE id = $1 RETURNING *";
        let webhook = Webhook::from_row(&write.row(sql, args![id, secret.to_vec(), kept_ms]).await?)?;
        write.commit().await?;
        Ok(webhook)
    }

    /// Deletes one, with its log.
    pub async fn delete(&self, account: Option<AccountId>, id: WebhookId) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        locked(&mut write, account, id).await?;
        write.rows("DELETE FROM webhooks WHERE id = $1", args![id]).await?;
        write.commit().await
    }

    /// Has it told of an event by which only that is tried. The event's name.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it is disabled, or has not been told of the [`TESTS_MAX`](Self::TESTS_MAX) before.
    pub async fn test(&self, account: Option<AccountId>, id: WebhookId) -> Result<EventId, Error> {
        let mut write = self.0.write().await?;
        locked(&mut write, account, id).await?.must_be_enabled()?;
        let sql = "SELECT (SELECT COUNT(*) FROM feed_inbox WHERE webhook = $1 AND kind = $2) + \
                   (SELECT COUNT(*) FROM webhook_deliveries JOIN feed ON feed.number = webhook_deliveries.event \
                   WHERE webhook_deliveries.webhook = $1 AND state = 'waiting' AND kind = $2) AS tests";
        if write.row(sql, args![id, EventKind::WebhookTest]).await?.get::<u64>("tests")? >= Self::TESTS_MAX {
            return Err(Error::Conflict("ten tests of the webhook wait already"));
        }
        let event = feed::tell_of_webhook(&mut write, EventKind::WebhookTest, id, None).await?;
        write.commit().await?;
        Ok(event)
    }
}

/// The webhook, which nobody else changes until `write` ends. Whoever wants its deliveries, too, locks it before them.
async fn locked(write: &mut Write, account: Option<AccountId>, id: WebhookId) -> Result<Webhook, Error> {
    let sql = "SELECT * FROM webhooks WHERE id = $1 AND COALESCE(account, '') = COALESCE($2, '') FOR UPDATE";
    Webhook::from_row(&write.row(sql, args![id, account]).await?)
}

/// Disables it because of `problem`, or because its owner wants it. What waits is given up.
async fn disable(write: &mut Write, webhook: &Webhook, problem: Option<&str>) -> Result<(), Error> {
    let next = webhook.state.become_(WebhookState::Disabled)?;
    let sql = "UPDATE webhooks SET state = $2, problem = $3, updated_ms = now_ms() WHERE id = $1";
    write.rows(sql, args![webhook.id, next, problem]).await?;
    let sql = "UPDATE webhook_deliveries SET state = $2, updated_ms = now_ms() WHERE webhook = $1 AND state = 'waiting'";
    write.rows(sql, args![webhook.id, DeliveryState::Failed]).await?;
    if problem.is_some() {
        feed::tell_of_webhook(write, EventKind::WebhookDisabled, webhook.id, problem).await?;
    }
    Ok(())
}

/// Both secrets that sign now, the newer first.
fn secrets(row: &Row) -> Result<Vec<Vec<u8>>, Error> {
    let until: Option<i64> = row.get("previous_until_ms")?;
    let now: i64 = row.get("now_ms")?;
    let previous: Option<Vec<u8>> = row.get("previous_secret")?;
    let previous = previous.filter(|_| until.is_some_and(|until| until > now));
    Ok(std::iter::once(row.get("secret")?).chain(previous).collect())
}
