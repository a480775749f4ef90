//! What the catalog promises, tried on both engines, and what only one of them can get wrong.

mod stand;
mod suite;
mod uploads;

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
