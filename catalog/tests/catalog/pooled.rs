//! A pooler in transaction mode: nothing outlives a transaction, and whoever forgot to say that it is one is told.

use futures_util::future::join_all;
use seekway_catalog::Catalog;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _, Row as _};

use crate::stand::{Stand, options, upload};

/// Connections of the pooler to its server, and some.
const ASKED: usize = 16;

async fn raw(stand: &Stand) -> PgConnection {
    let url = stand.url.split('?').next().expect("a URL");
    let options: PgConnectOptions = url.parse().expect("a URL");
    options.extra_float_digits(None).connect().await.expect("connects")
}

async fn text(connection: &mut PgConnection, sql: &'static str) -> String {
    connection.fetch_one(sqlx::raw_sql(sql)).await.expect("answers").get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_limit_and_no_statement_is_left_on_connections() {
    let stand = Stand::pooled().await;
    let others = [stand.another().await, stand.another().await];
    let catalogs = || others.iter().chain([&stand.catalog]);
    for round in 0..4 {
        join_all(catalogs().enumerate().map(async |(nth, catalog)| {
            upload(catalog, &format!("{round}/{nth}"), None).await;
            catalog.ping().await.expect("answers");
        }))
        .await;
    }
    let mut connection = raw(&stand).await;
    for _ in 0..ASKED {
        assert_eq!(text(&mut connection, "SHOW statement_timeout").await, "0");
        assert_eq!(text(&mut connection, "SELECT COUNT(*)::TEXT FROM pg_prepared_statements").await, "0");
        assert_eq!(text(&mut connection, "SELECT COUNT(*)::TEXT FROM pg_listening_channels()").await, "0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_did_not_say_that_it_is_one_is_told() {
    let stand = Stand::pooled().await;
    let url = stand.url.replace("?pool_mode=transaction", "");
    let error = Catalog::open(&url.parse().expect("a URL"), &options()).await.expect_err("it is one");
    assert!(!error.is_retryable() && error.to_string().contains("pool_mode=transaction"), "{error:?}");
}
