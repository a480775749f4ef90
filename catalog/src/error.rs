//! One error for the whole catalog: a variant for each thing a caller can do about it.

use std::sync::Arc;
use std::time::Duration;

/// A cause that can be told to several.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// Why the catalog did not do what it was asked. Nothing has changed then.
///
/// `Display` may name hosts and tables: it is for logs, never for clients.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no such row, or no longer.
    #[error("not found")]
    NotFound,
    /// It was there, and its time is over.
    #[error("expired")]
    Expired,
    /// Something else has that name, or the same was said before in other words.
    #[error("conflict: {0}")]
    Conflict(&'static str),
    /// The writer knows another offset than the catalog.
    #[error("the offset is {committed}")]
    OffsetConflict {
        /// Bytes that are committed.
        committed: u64,
    },
    /// Somebody has begun to append since: this writer's epoch is over.
    #[error("another writer has taken over")]
    Superseded,
    /// There is no way from the state it is in.
    #[error("{what} is {from}, from which it cannot become {to}")]
    IllegalTransition {
        /// What has the state.
        what: &'static str,
        /// The state it is in.
        from: &'static str,
        /// The state it was to have.
        to: &'static str,
    },
    /// The account has no room left.
    #[error("quota: {what} would be {wanted}, at most {limit} are allowed")]
    Quota {
        /// What is counted.
        what: &'static str,
        /// How many there would be.
        wanted: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The database cannot be reached, or cannot serve now.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] SharedError),
    /// The database did not answer within the limit.
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    /// The schema was written by a newer program.
    #[error(
        "the database has schema {found}, and this program knows schemas up to {known}: start a newer one"
    )]
    NewerSchema {
        /// What the database says.
        found: i64,
        /// The last migration that is known here.
        known: i64,
    },
    /// Anything else.
    #[error("the database failed: {0}")]
    Other(#[source] SharedError),
}

/// What sqlx says of a connection that ended before the server's first byte, as a balancer without a server ends it.
const NOTHING_SAID: &str = "unexpected response from SSLRequest: 0x00";

// === impl Error ===

impl Error {
    /// There is no such row.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound)
    }

    /// The same request may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout(_))
    }

    /// The error's text; causes are part of it already.
    pub fn chain(&self) -> String {
        self.to_string()
    }

    pub(crate) fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(Arc::from(error.into()))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let away = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Protocol(said) => said.starts_with(NOTHING_SAID),
            sqlx::Error::Database(error) if error.is_unique_violation() => {
                return Self::Conflict("there is one like it");
            }
            sqlx::Error::Database(error) if error.is_foreign_key_violation() => return Self::NotFound,
            sqlx::Error::Database(error) if is_untold_pooler(&**error) => {
                let hint =
                    "behind a pooler in transaction mode DATABASE_URL has to say pool_mode=transaction";
                return Self::other(format!("{error}; {hint}"));
            }
            sqlx::Error::Database(error) => error.code().is_some_and(|code| may_pass(&code)),
            _ => false,
        };
        if away { Self::Unavailable(Arc::new(error)) } else { Self::Other(Arc::new(error)) }
    }
}

/// Whether a pooler has taken a connection for one that keeps to transactions: it knows not all that sqlx asks for at the
/// start, and a statement that was prepared is on another connection, or one of the same name is.
fn is_untold_pooler(error: &dyn sqlx::error::DatabaseError) -> bool {
    let code = error.code();
    let is_of_statements = ["26000", "42P05"].map(Some).contains(&code.as_deref());
    is_of_statements || error.message().starts_with("unsupported startup parameter")
}

/// Whether a database's own error may be gone the next time.
///
/// Letters and five digits are PostgreSQL's (<https://www.postgresql.org/docs/current/errcodes-appendix.html>), short
/// numbers SQLite's (<https://sqlite.org/rescode.html>): the low byte is the primary code.
fn may_pass(code: &str) -> bool {
    const SQLITE_BUSY: i64 = 5;
    const SQLITE_LOCKED: i64 = 6;
    const SQLITE_FULL: i64 = 13;
    if code.len() == 5 {
        // Connections, resources, an operator; serialization and deadlock; a lock or a statement that took too long.
        let classes = ["08", "53", "57", "58"];
        return classes.iter().any(|class| code.starts_with(class))
            || ["40001", "40P01", "55P03"].contains(&code);
    }
    code.parse::<i64>().is_ok_and(|code| [SQLITE_BUSY, SQLITE_LOCKED, SQLITE_FULL].contains(&(code & 0xff)))
}
