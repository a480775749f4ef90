//! A PostgreSQL server, by itself or behind a pooler.
//!
//! A pooler in transaction mode (pgbouncer's `pool_mode=transaction`) gives every transaction whichever of its
//! connections to the server is free. So nothing may outlive a transaction: no setting, and no statement that was
//! prepared; and where sqlx prepares and executes in two steps, both have to be in one transaction. That costs a read
//! three round trips more, which is why it has to be asked for: `?pool_mode=transaction`.

use std::fmt::Write as _;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor as _, Postgres, Transaction};

use crate::{Error, Options};

/// What is asked of one.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(super) pool: PgPool,
    /// How a transaction begins behind a pooler: with the limits that connections have elsewhere.
    begin: Option<String>,
}

// === impl Server ===

impl Server {
    pub(super) async fn connect(
        server: &PgConnectOptions,
        is_pooled: bool,
        options: &Options,
    ) -> Result<Self, Error> {
        let server = server.clone().application_name("seekway");
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max)
            .acquire_timeout(options.answer_within);
        if is_pooled {
            // Poolers refuse parameters that they do not know, and no column here is a floating-point number.
            let pool = pool.connect_with(server.extra_float_digits(None)).await?;
            return Ok(Self { pool, begin: Some(limits("BEGIN", "SET LOCAL", options)) });
        }
        let limits = limits("", "SET", options);
        let pool = pool.after_connect(move |connection, _| {
            let limits = limits.clone();
            Box::pin(async move { connection.execute(AssertSqlSafe(limits)).await.map(drop) })
        });
        Ok(Self { pool: pool.connect_with(server).await?, begin: None })
    }

    /// Whether a connection is ours for one transaction only.
    pub(crate) fn is_pooled(&self) -> bool {
        self.begin.is_some()
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        Ok(match &self.begin {
            Some(begin) => self.pool.begin_with(AssertSqlSafe(begin.clone())).await?,
            None => self.pool.begin().await?,
        })
    }

    /// A pool for one connection beside the others.
    pub(crate) fn one_more(&self) -> PgPool {
        let options = self.pool.options();
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(options.get_acquire_timeout())
            .connect_lazy_with((*self.pool.connect_options()).clone())
    }

    /// Waits until the connections are closed.
    pub(crate) async fn closed(&self) {
        self.pool.close_event().await;
    }
}

/// The server ends what we have given up on, also when we are gone without a word.
fn limits(first: &str, set: &str, options: &Options) -> String {
    let limit_ms = options.answer_within.as_millis();
    let mut sql = first.to_owned();
    for limit in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
        write!(sql, "; {set} {limit} = {limit_ms}").expect("a string takes it");
    }
    sql
}
