//! How much there is to do, for who rings for it and who measures.

use crate::database::args;
use crate::{Error, JobId};

use super::Jobs;

/// Jobs that are not done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Those that may be claimed now.
    pub due: u64,
    /// How long the one that has been due longest has been.
    pub oldest_ms: Option<u64>,
    /// Those that a worker has.
    pub claimed: u64,
    /// Those that are dead.
    pub dead: u64,
}

// === impl Jobs ===

impl Jobs<'_> {
    /// Jobs that may be claimed and have been due for longer than that, longest first, at most `limit`: whoever was to tell
    /// of them may have lost it.
    pub async fn overdue(&self, older_than_ms: i64, limit: u32) -> Result<Vec<JobId>, Error> {
        let sql = "SELECT id FROM jobs WHERE state IN ('queued', 'retry') AND due_ms <= now_ms() - $1 \
                   ORDER BY due_ms, id LIMIT $2";
        let rows = self.0.rows(sql, args![older_than_ms, i64::from(limit)]).await?;
        rows.iter().map(|row| row.get("id")).collect()
    }

    /// How many there are.
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        let sql = "SELECT now_ms() AS now_ms, \
                   (SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'retry') AND due_ms <= now_ms()) AS due, \
                   (SELECT MIN(due_ms) FROM jobs WHERE state IN ('queued', 'retry') AND due_ms <= now_ms()) AS oldest, \
                   (SELECT COUNT(*) FROM jobs WHERE state IN ('leased', 'running')) AS claimed, \
                   (SELECT COUNT(*) FROM jobs WHERE state = 'dead' AND parent IS NULL) AS dead";
        let row = self.0.row(sql, args![]).await?;
        let now: u64 = row.get("now_ms")?;
        let oldest: Option<u64> = row.get("oldest")?;
        let oldest_ms = oldest.map(|since| now.saturating_sub(since));
        Ok(Backlog { due: row.get("due")?, oldest_ms, claimed: row.get("claimed")?, dead: row.get("dead")? })
    }
}
