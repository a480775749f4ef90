//! The end: what is running finishes, what comes later is sent elsewhere, and it does not take for ever.

use std::time::Duration;

use seekway_gateway::Gateway;
use seekway_loadtests::origin::Fault;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::wire::{Wire, head};
use crate::support::{PATIENCE, Stand, assert_pattern, until};

const SIZE: u64 = 1_000_000;
const SEED: u64 = 61;
const TARGET: &str = "/media/film.mp4";

/// A stand with a response under way that the store holds up after 100,000 bytes.
async fn with_a_running_response(env: &[(&str, &str)]) -> (Stand, Wire) {
    let stand = Stand::s3(env);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand.origin().fault(Fault::HangAfter(100_000).times(1));
    let mut running = stand.connect().await;
    running.send(head("GET", TARGET, &[])).await;
    assert_eq!(running.answer_head("GET").await.status, 200);
    stand.origin().until(|counts| counts.body_bytes >= 100_000).await.expect("it is held up");
    (stand, running)
}

async fn joined(gateway: Gateway) {
    let joining = tokio::task::spawn_blocking(move || gateway.join());
    timeout(PATIENCE, joining).await.expect("everything stops").expect("no panic");
}

async fn body(mut wire: Wire) -> Vec<u8> {
    wire.until_closed().await
}

/// A client that connected just before has not been told anything yet, and cannot know that it must go elsewhere.
#[tokio::test]
async fn a_connection_from_just_before_the_drain_gets_its_first_answer() {
    let (stand, running) = with_a_running_response(&[]).await;
    let mut new = stand.connect().await;
    // The connection is in a serving thread's hands once a later one has been answered by it.
    for _ in 0..2 {
        assert_eq!(stand.connect().await.ask("GET", "/api/health", &[]).await.status, 200);
    }
    stand.gateway().drain();
    assert_eq!(new.ask("GET", "/api/health", &[]).await.status, 200);
    stand.origin().release_hung();
    assert_eq!(body(running).await.len() as u64, SIZE);
}

#[tokio::test]
async fn draining_finishes_what_runs_and_takes_nothing_new() {
    let (mut stand, running) = with_a_running_response(&[("SEEKWAY_DRAIN_TIMEOUT", "1h")]).await;
    let mut idle = stand.connect().await;
    assert_eq!(idle.ask("GET", "/api/ready", &[]).await.status, 200);
    let mut probe = Wire::connect(stand.admin_address()).await;
    assert_eq!(probe.ask("GET", "/api/ready", &[]).await.status, 200);
    stand.gateway().drain();

    // A load balancer's probe comes on a new connection, and finds the truth.
    let mut later = Wire::connect(stand.admin_address()).await;
    assert_eq!(later.ask("GET", "/api/ready", &[]).await.status, 503);
    assert_eq!(later.ask("GET", "/api/health", &[]).await.status, 200, "not ready is not dead");
    assert!(idle.until_closed().await.is_empty(), "an idle connection ends");
    until("new connections are refused", async || TcpStream::connect(stand.address()).await.err()).await;
    stand.origin().release_hung();
    let body = body(running).await;
    assert_eq!(body.len() as u64, SIZE, "the running response is whole");
    assert_pattern(SEED, 0, &body, "the running response");
    let gateway = stand.take_gateway();
    joined(gateway).await;
    assert!(TcpStream::connect(stand.admin_address()).await.is_err(), "the admin listener ends last");
}

#[tokio::test]
async fn the_drain_timeout_cuts_what_is_left() {
    let (mut stand, running) = with_a_running_response(&[("SEEKWAY_DRAIN_TIMEOUT", "200ms")]).await;
    let gateway = stand.take_gateway();
    gateway.drain();
    joined(gateway).await;
    let body = body(running).await;
    assert!((body.len() as u64) < SIZE, "cut, and not padded");
    assert_pattern(SEED, 0, &body, "what had come");
    // Its fill went with it: the store is not read for nobody.
    stand.origin().release_hung();
    stand.origin().until(|counts| counts.in_flight == 0).await.expect("no request is left at the origin");
}

#[tokio::test]
async fn a_drain_without_clients_is_at_once() {
    let mut stand = Stand::local(&[("SEEKWAY_DRAIN_TIMEOUT", "1h")]);
    assert_eq!(stand.get("/api/health", &[]).await.status, 200);
    // Idle clients and half a request do not hold it up.
    let _silent = stand.connect().await;
    let mut kept = stand.connect().await;
    assert_eq!(kept.ask("GET", "/api/health", &[]).await.status, 200);
    let gateway = stand.take_gateway();
    gateway.drain();
    joined(gateway).await;
}

#[tokio::test]
async fn a_gateway_that_is_dropped_stops() {
    let (mut stand, running) = with_a_running_response(&[]).await;
    drop(stand.take_gateway());
    let body = body(running).await;
    assert!((body.len() as u64) < SIZE);
    assert_pattern(SEED, 0, &body, "what had come");
    tokio::time::timeout(Duration::from_secs(10), async {
        while TcpStream::connect(stand.address()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("nobody listens any more");
}
