//! Attempts to log in, counted where every replica sees them.

use crate::Error;
use crate::database::{Database, args};

/// See [`Catalog::login_attempts`](crate::Catalog::login_attempts).
#[derive(Debug)]
pub struct LoginAttempts<'c>(pub(crate) &'c Database);

// === impl LoginAttempts ===

impl LoginAttempts<'_> {
    /// Counts an attempt of a subject, and says how many it has made within its window of `window_ms`, this one
    /// included, and after how many milliseconds its next window begins. Attempts at the same moment count one by one.
    pub async fn count(&self, subject: &str, window_ms: i64) -> Result<(u64, i64), Error> {
        let mut write = self.0.write().await?;
        let sql = "INSERT INTO login_attempts (subject, attempts, since_ms) VALUES ($1, 1, now_ms()) \
                   ON CONFLICT (subject) DO UPDATE SET \
                   attempts = CASE WHEN login_attempts.since_ms <= now_ms() - $2 THEN 1 \
                     ELSE login_attempts.attempts + 1 END, \
                   since_ms = CASE WHEN login_attempts.since_ms <= now_ms() - $2 THEN now_ms() \
                     ELSE login_attempts.since_ms END \
                   RETURNING attempts, since_ms + $2 - now_ms() AS ends_in_ms";
        let row = write.row(sql, args![subject, window_ms]).await?;
        // Nobody else tidies up.
        let sql = "DELETE FROM login_attempts WHERE subject IN (SELECT subject FROM login_attempts \
                   WHERE since_ms <= now_ms() - $1 FOR UPDATE SKIP LOCKED)";
        write.rows(sql, args![window_ms]).await?;
        write.commit().await?;
        Ok((row.get("attempts")?, row.get("ends_in_ms")?))
    }

    /// Forgets a subject's attempts.
    pub async fn forget(&self, subject: &str) -> Result<(), Error> {
        self.0.change("DELETE FROM login_attempts WHERE subject = $1", args![subject]).await.map(drop)
    }
}
