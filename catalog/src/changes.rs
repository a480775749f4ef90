//! The change feed: which keys somebody else may see from now on, or no longer.
//!
//! Every replica asks for what is new several times a second, so that what it remembers of a key follows within one. A
//! reader that goes on after the last number it has seen misses nothing: numbers become visible in their order, because
//! writers wait for each other (a sequence alone gives a smaller number to a transaction that ends later).

use crate::Error;
use crate::database::{Database, Write, args};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where to go on after it.
    pub number: i64,
    /// The key of the object that other people may see now.
    pub key: String,
}

/// See [`Catalog::changes`](crate::Catalog::changes).
#[derive(Debug)]
pub struct Changes<'c>(pub(crate) &'c Database);

/// Far more than a replica may sleep and still go on where it was.
const KEPT_MS: i64 = 3_600_000;

// === impl Changes ===

impl Changes<'_> {
    /// The last number: where a replica that remembers nothing yet begins.
    pub async fn last(&self) -> Result<i64, Error> {
        self.0.row("SELECT COALESCE(MAX(number), 0) AS last FROM changes", args![]).await?.get("last")
    }

    /// What came after `number`, in order, at most `limit`. Rows are kept for an hour: whoever has not asked for that
    /// long forgets everything and begins at [`last`](Self::last).
    pub async fn after(&self, number: i64, limit: u32) -> Result<Vec<Change>, Error> {
        let sql = "SELECT number, object_key FROM changes WHERE number > $1 ORDER BY number LIMIT $2";
        let rows = self.0.rows(sql, args![number, i64::from(limit)]).await?;
        rows.iter()
            .map(|row| Ok(Change { number: row.get("number")?, key: row.get("object_key")? }))
            .collect()
    }

    /// Whether the feed has named that key within the hour for which it keeps what it says.
    pub async fn named_lately(&self, key: &str) -> Result<bool, Error> {
        let sql =
            "SELECT 1 AS named FROM changes WHERE object_key = $1 AND created_ms > now_ms() - $2 LIMIT 1";
        Ok(!self.0.rows(sql, args![key, KEPT_MS]).await?.is_empty())
    }
}

/// Tells of a key. It is the last thing that `write` does, because other writers of this feed wait for its end.
pub(crate) async fn tell(write: &mut Write, key: &str) -> Result<(), Error> {
    write.lock("changes").await?;
    write.rows("DELETE FROM changes WHERE created_ms < now_ms() - $1", args![KEPT_MS]).await?;
    let sql = "INSERT INTO changes (object_key, created_ms) VALUES ($1, now_ms())";
    write.rows(sql, args![key]).await.map(drop)
}
