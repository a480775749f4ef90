//! One SQL text, and what each engine calls it.

use std::borrow::Cow;

use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, IntoArguments};

/// Whose words.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dialect {
    Postgres,
    Sqlite,
}

/// Milliseconds since 1970 by the engine's clock: the same throughout a statement, later in the next one of the same
/// transaction.
const NOW: &str = "now_ms()";
const POSTGRES_NOW: &str = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)";
const SQLITE_NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/// SQLite locks the file instead.
const ROW_LOCKS: [&str; 2] = [" FOR UPDATE SKIP LOCKED", " FOR UPDATE"];

/// What columns are called. Longer ones first: they contain the others.
const SQLITE_TYPES: [(&str, &str); 4] = [
    ("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT"),
    ("BIGINT", "INTEGER"),
    ("BYTEA", "BLOB"),
    // Without it a column takes values of any type.
    ("\n);", "\n) STRICT;"),
];

// === impl Dialect ===

impl Dialect {
    /// A statement with its arguments.
    pub(crate) fn query<'q, DB, A>(self, sql: &'static str, args: A) -> Query<'q, DB, A>
    where
        DB: Database,
        A: IntoArguments<DB>,
    {
        sqlx::query_with(AssertSqlSafe(self.statement(sql)), args)
    }

    fn statement(self, sql: &'static str) -> Cow<'static, str> {
        let (now, locks) = match self {
            Self::Postgres => (POSTGRES_NOW, &[][..]),
            Self::Sqlite => (SQLITE_NOW, &ROW_LOCKS[..]),
        };
        let replaced = replace(Cow::Borrowed(sql), NOW, now);
        locks.iter().fold(replaced, |sql, clause| replace(sql, clause, ""))
    }

    /// Statements that make tables.
    pub(crate) fn schema(self, sql: &'static str) -> String {
        let sql = self.statement(sql);
        let words = match self {
            Self::Postgres => &[][..],
            Self::Sqlite => &SQLITE_TYPES[..],
        };
        words.iter().fold(sql, |sql, (theirs, ours)| replace(sql, theirs, ours)).into_owned()
    }
}

fn replace(sql: Cow<'static, str>, from: &str, to: &str) -> Cow<'static, str> {
    if sql.contains(from) { Cow::Owned(sql.replace(from, to)) } else { sql }
}
