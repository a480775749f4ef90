//! The two engines behind one way to ask: an enum of pools, and SQL in one text.
//!
//! The text is PostgreSQL's, with `$1` for arguments, which SQLite reads too. Where the engines have other words for
//! the same, [`Dialect`] puts them in: `now_ms()` is each one's clock, and the clauses that lock rows go away in
//! SQLite, where a transaction that writes has the file to itself from its beginning (`BEGIN IMMEDIATE`). Reads in
//! SQLite have connections of their own; writes of one process queue for one connection, first come first served,
//! where a busy timeout would have them race.
//!
//! Nothing waits forever: each statement, and getting a connection for it, has a limit.

mod dialect;
mod postgres;
mod row;

use std::fs;
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgArguments;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Postgres, Sqlite, Transaction};

use crate::hints::Signals;
use crate::{DatabaseUrl, Error, Options};
use row::bind;

pub(crate) use dialect::Dialect;
pub(crate) use postgres::Server;
pub(crate) use row::{Column, Row, Value, args};

/// The pools of one database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pools: Pools,
    answer_within: Duration,
    signals: Arc<Signals>,
}

#[derive(Debug, Clone)]
enum Pools {
    Postgres(Server),
    Sqlite { writer: SqlitePool, readers: SqlitePool },
}

/// A transaction that may write. Dropping it takes back what it did.
#[derive(Debug)]
pub(crate) struct Write {
    transaction: Engine,
    answer_within: Duration,
    /// Whether the next transaction may have use for what is prepared in this one.
    prepares: bool,
    /// What the outbox has more of when it is committed is told here.
    signals: Arc<Signals>,
    has_grown: bool,
}

/// For what happens once: an index over many rows takes minutes.
const PATIENCE: Duration = Duration::from_mins(30);

#[derive(Debug)]
enum Engine {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

// === impl Database ===

impl Database {
    pub(crate) async fn connect(url: &DatabaseUrl, options: &Options) -> Result<Self, Error> {
        let answer_within = options.answer_within;
        let pools = match url {
            DatabaseUrl::Postgres { server, is_pooled } => {
                Pools::Postgres(Server::connect(server, *is_pooled, options).await?)
            }
            DatabaseUrl::Sqlite(path) => sqlite(path, options).await?,
        };
        Ok(Self { pools, answer_within, signals: Arc::default() })
    }

    pub(crate) async fn close(&self) {
        match &self.pools {
            Pools::Postgres(server) => server.pool.close().await,
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }

    /// The server, where there is one.
    pub(crate) fn server(&self) -> Option<&Server> {
        match &self.pools {
            Pools::Postgres(server) => Some(server),
            Pools::Sqlite { .. } => None,
        }
    }

    /// What this process tells itself.
    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    /// One statement that reads.
    pub(crate) async fn rows(&self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, Error> {
        if self.server().is_some_and(Server::is_pooled) {
            // Boxed, or the futures of whoever asks are nested too deep for the compiler.
            return Box::pin(self.change(sql, args)).await;
        }
        within(self.answer_within, async {
            match &self.pools {
                Pools::Postgres(server) => {
                    let query = Dialect::Postgres.query(sql, bind::<PgArguments>(args)?);
                    let rows = query.fetch_all(&server.pool).await?;
                    Ok(rows.into_iter().map(Row::Postgres).collect())
                }
                Pools::Sqlite { readers, .. } => {
                    let rows =
                        Dialect::Sqlite.query(sql, bind::<SqliteArguments>(args)?).fetch_all(readers).await?;
                    Ok(rows.into_iter().map(Row::Sqlite).collect())
                }
            }
        })
        .await
    }

    /// The one row of such a statement.
    pub(crate) async fn row(&self, sql: &'static str, args: Vec<Value>) -> Result<Row, Error> {
        self.rows(sql, args).await?.pop().ok_or(Error::NotFound)
    }

    /// Begins a transaction that writes.
    pub(crate) async fn write(&self) -> Result<Write, Error> {
        let transaction = within(self.answer_within, async {
            Ok(match &self.pools {
                Pools::Postgres(server) => Engine::Postgres(server.begin().await?),
                Pools::Sqlite { writer, .. } => Engine::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            })
        });
        Ok(Write {
            transaction: transaction.await?,
            answer_within: self.answer_within,
            prepares: !self.server().is_some_and(Server::is_pooled),
            signals: self.signals.clone(),
            has_grown: false,
        })
    }

    /// One statement that writes, in a transaction of its own.
    pub(crate) async fn change(&self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, Error> {
        let mut write = self.write().await?;
        let rows = write.rows(sql, args).await?;
        write.commit().await?;
        Ok(rows)
    }
}

// === impl Write ===

impl Write {
    /// One statement. What it wrote is told by `RETURNING`.
    pub(crate) async fn rows(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>, Error> {
        within(self.answer_within, async {
            match &mut self.transaction {
                Engine::Postgres(transaction) => {
                    let query = Dialect::Postgres.query(sql, bind::<PgArguments>(args)?);
                    let rows = query.persistent(self.prepares).fetch_all(&mut **transaction).await?;
                    Ok(rows.into_iter().map(Row::Postgres).collect())
                }
                Engine::Sqlite(transaction) => {
                    let query = Dialect::Sqlite.query(sql, bind::<SqliteArguments>(args)?);
                    let rows = query.fetch_all(&mut **transaction).await?;
                    Ok(rows.into_iter().map(Row::Sqlite).collect())
                }
            }
        })
        .await
    }

    /// The one row of such a statement.
    pub(crate) async fn row(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Row, Error> {
        self.rows(sql, args).await?.pop().ok_or(Error::NotFound)
    }

    /// Has whoever asks for the same name wait until this transaction ends.
    pub(crate) async fn lock(&mut self, name: &str) -> Result<(), Error> {
        match &self.transaction {
            Engine::Postgres(_) => {
                let sql =
                    "SELECT 1 AS done FROM (SELECT pg_advisory_xact_lock(hashtextextended($1, 0))) AS locked";
                self.rows(sql, args![name]).await.map(drop)
            }
            // It has the file to itself.
            Engine::Sqlite(_) => Ok(()),
        }
    }

    /// Takes as long as it takes, for this transaction.
    pub(crate) async fn be_patient(&mut self) -> Result<(), Error> {
        self.answer_within = PATIENCE;
        match &mut self.transaction {
            Engine::Postgres(transaction) => {
                let limits = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0";
                transaction.execute(sqlx::raw_sql(limits)).await?;
                Ok(())
            }
            Engine::Sqlite(_) => Ok(()),
        }
    }

    /// Several statements without arguments, such as a migration's.
    pub(crate) async fn script(&mut self, sql: &'static str) -> Result<(), Error> {
        within(self.answer_within, async {
            match &mut self.transaction {
                Engine::Postgres(transaction) => {
                    let script = sqlx::raw_sql(AssertSqlSafe(Dialect::Postgres.schema(sql)));
                    transaction.execute(script).await?;
                }
                Engine::Sqlite(transaction) => {
                    let script = sqlx::raw_sql(AssertSqlSafe(Dialect::Sqlite.schema(sql)));
                    transaction.execute(script).await?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The outbox has something to do at once.
    pub(crate) fn grows_outbox(&mut self) {
        self.has_grown = true;
    }

    /// Makes all of it so.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        within(self.answer_within, async {
            match self.transaction {
                Engine::Postgres(transaction) => transaction.commit().await?,
                Engine::Sqlite(transaction) => transaction.commit().await?,
            }
            if self.has_grown {
                self.signals.outbox_has_grown();
            }
            Ok(())
        })
        .await
    }
}

async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    // Boxed, because every caller's future holds this one.
    tokio::time::timeout(limit, Box::pin(asked)).await.unwrap_or(Err(Error::Timeout(limit)))
}

async fn sqlite(path: &Path, options: &Options) -> Result<Pools, Error> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)
            .map_err(|error| Error::other(format!("{} cannot be made: {error}", folder.display())))?;
    }
    // Keys that sign are in it, so it is its owner's alone; SQLite gives the files beside it the same mode.
    let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(|error| Error::other(format!("{} cannot be opened: {error}", path.display())))?;
    // FULL: what a client was told is committed outlives a power cut, at the price of one fsync for each commit.
    let file = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(options.answer_within);
    let pool = |connections| {
        SqlitePoolOptions::new().max_connections(connections).acquire_timeout(options.answer_within)
    };
    // The writer first: it makes the file, and sets its journal mode.
    let writer = pool(1).after_release(|connection, _| Box::pin(is_free(connection)));
    let writer = writer.connect_with(file.clone()).await?;
    let readers = pool(options.connections_max).connect_with(file.read_only(true)).await?;
    Ok(Pools::Sqlite { writer, readers })
}

/// Whether a connection that was given back can be used again. SQLite ends some transactions by itself, of which sqlx
/// does not learn: when the disk is full, say (<https://sqlite.org/lang_transaction.html>, 3). It would begin none after that.
async fn is_free(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // What was to be rolled back is when this is answered.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_transaction_that_the_database_ended_spoils_nothing() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let url = DatabaseUrl::Sqlite(folder.path().join("x.db"));
        let database = Database::connect(&url, &Options::default()).await.expect("opens");
        let mut write = database.write().await.expect("begins");
        write.script("CREATE TABLE things (id INTEGER)").await.expect("makes a table");
        write.script("ROLLBACK").await.expect("as SQLite does it by itself");
        assert!(write.commit().await.is_err(), "there is nothing to commit any more");
        let mut write = database.write().await.expect("begins again");
        write.script("CREATE TABLE things (id INTEGER)").await.expect("nothing is left of the first");
        write.commit().await.expect("commits");
    }
}
