//! The outbox: what is to be done outside of the database because of something in it.
//!
//! A row is written in the transaction that causes it, and claimed for a time by whoever does it. It is done at least
//! once: whoever claims it and dies has it claimed again.

use crate::Error;
use crate::database::{Database, Row, Write, args};

/// Something to do, claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Which one.
    pub number: i64,
    /// What kind.
    pub topic: String,
    /// What exactly.
    pub payload: String,
    /// How often it has been claimed, this time included. It is part of the claim.
    pub attempts: u64,
    /// How long ago it was added.
    pub age_ms: i64,
}

const DONE: &str = "DELETE FROM outbox WHERE number = $1 AND attempts = $2 RETURNING number";

/// See [`Catalog::outbox`](crate::Catalog::outbox).
#[derive(Debug)]
pub struct Outbox<'c>(pub(crate) &'c Database);

// === impl Outbox ===

impl Outbox<'_> {
    /// Claims up to `limit` rows of a topic, oldest first, for `lease_ms`. No two callers get the same within that
    /// time.
    pub async fn claim(&self, topic: &str, limit: u32, lease_ms: i64) -> Result<Vec<OutboxRow>, Error> {
        let sql = "UPDATE outbox SET attempts = attempts + 1, due_ms = now_ms() + $3 WHERE number IN ( \
                   SELECT number FROM outbox WHERE topic = $1 AND due_ms <= now_ms() \
                   ORDER BY due_ms, number LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING *, now_ms() AS now_ms";
        let rows = self.0.change(sql, args![topic, i64::from(limit), lease_ms]).await?;
        let mut rows = rows.iter().map(OutboxRow::from_row).collect::<Result<Vec<_>, _>>()?;
        rows.sort_by_key(|row| row.number);
        Ok(rows)
    }

    /// It is done. `false` when the lease was over and somebody else has claimed it: both did it.
    pub async fn done(&self, row: &OutboxRow) -> Result<bool, Error> {
        Ok(!self.0.change(DONE, args![row.number, row.attempts]).await?.is_empty())
    }

    /// The same for all of them at once.
    pub async fn all_done(&self, rows: &[OutboxRow]) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        for row in rows {
            write.rows(DONE, args![row.number, row.attempts]).await?;
        }
        write.commit().await
    }

    /// It could not be done: it may be claimed again after `delay_ms`.
    pub async fn retry(&self, row: &OutboxRow, delay_ms: i64) -> Result<bool, Error> {
        let sql =
            "UPDATE outbox SET due_ms = now_ms() + $3 WHERE number = $1 AND attempts = $2 RETURNING number";
        Ok(!self.0.change(sql, args![row.number, row.attempts, delay_ms]).await?.is_empty())
    }

    /// How many rows there are, also those that are claimed, or not due.
    pub async fn count(&self) -> Result<u64, Error> {
        self.0.row("SELECT COUNT(*) AS count FROM outbox", args![]).await?.get("count")
    }

    /// Waits until this process has added something that is to be done at once. One of those who wait is told, or the next
    /// who waits.
    pub async fn has_grown(&self) {
        self.0.signals().outbox_grows().await;
    }

    /// Adds something to do by itself. What has a cause in the catalog is added by what causes it.
    pub async fn add(&self, topic: &str, payload: &str) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        insert(&mut write, topic, payload).await?;
        write.commit().await
    }
}

// === impl OutboxRow ===

impl OutboxRow {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            number: row.get("number")?,
            topic: row.get("topic")?,
            payload: row.get("payload")?,
            attempts: row.get("attempts")?,
            age_ms: row.get::<i64>("now_ms")? - row.get::<i64>("created_ms")?,
        })
    }
}

/// Adds something to do, because of what else `write` does.
pub(crate) async fn insert(write: &mut Write, topic: &str, payload: &str) -> Result<(), Error> {
    insert_due(write, topic, payload, 0).await
}

/// The same, to be done in so many milliseconds.
pub(crate) async fn insert_due(
    write: &mut Write,
    topic: &str,
    payload: &str,
    delay_ms: i64,
) -> Result<(), Error> {
    let sql = "INSERT INTO outbox (topic, payload, attempts, due_ms, created_ms) \
               VALUES ($1, $2, 0, now_ms() + $3, now_ms())";
    if delay_ms == 0 {
        write.grows_outbox();
    }
    write.rows(sql, args![topic, payload, delay_ms]).await.map(drop)
}
