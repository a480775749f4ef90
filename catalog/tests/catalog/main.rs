//! What the catalog promises, tried on both engines, and what only one of them can get wrong.

mod accounts;
mod away;
mod crashes;
mod feed;
mod jobs;
mod parts;
mod pooled;
mod quotas;
mod stand;
mod suite;
mod uploads;
mod videos;

use stand::Stand;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_conforms() {
    suite::conformance(&Stand::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_conforms() {
    let stand = Stand::postgres().await;
    suite::conformance(&stand).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_behind_a_pooler_conforms() {
    suite::conformance(&Stand::pooled().await).await;
}
