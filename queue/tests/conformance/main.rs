//! What doorbells promise, tried on every backend with its real server, and what only one of them can get wrong.

mod amqp;
mod brokers;
mod films;
mod fleet;
mod hints;
mod promises;
mod sqs;
mod stand;
mod suite;
mod work;

use stand::Stand;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_conforms() {
    suite::conformance(Stand::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_conforms() {
    suite::conformance(Stand::postgres()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_behind_a_pooler_conforms() {
    suite::conformance(Stand::pooled()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_conforms() {
    suite::conformance(Stand::redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_conforms() {
    suite::conformance(Stand::rabbitmq()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqs_conforms() {
    suite::conformance(Stand::moto()).await;
}
