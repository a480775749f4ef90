//! What one client may have, and all of them together.

use std::time::{Duration, Instant};

use seekway_loadtests::origin::{Fault, Shape};

use crate::metrics::Page;
use crate::support::h2::{Http2, whole};
use crate::support::wire::{Wire, head};
use crate::support::{Stand, assert_pattern, until};

const SIZE: u64 = 300_000;
const SEED: u64 = 72;
const TARGET: &str = "/media/film.mp4";
const HERE: [u8; 4] = [127, 0, 0, 1];
const THERE: [u8; 4] = [127, 0, 0, 2];

fn stand(env: &[(&str, &str)]) -> Stand {
    let stand = Stand::local(env);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand
}

async fn is_served(wire: &mut Wire) -> bool {
    wire.try_send(head("GET", "/api/health", &[])).await.is_ok() && !wire.some(1).await.is_empty()
}

/// On a new connection, which may be reset at once.
async fn would_be_served(stand: &Stand, from: [u8; 4]) -> bool {
    match Wire::try_connect_from(stand.address(), from).await {
        Ok(mut wire) => is_served(&mut wire).await,
        Err(_) => false,
    }
}

#[tokio::test]
async fn one_clients_connections_are_limited_and_given_back() {
    let stand = stand(&[("SEEKWAY_CLIENT_CONNECTIONS", "3")]);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut wire = stand.connect().await;
        assert!(is_served(&mut wire).await);
        held.push(wire);
    }
    for _ in 0..5 {
        assert!(!would_be_served(&stand, HERE).await, "a fourth one");
    }
    assert!(would_be_served(&stand, THERE).await, "another client");
    held.pop();
    until("a place is given back", async || would_be_served(&stand, HERE).await.then_some(())).await;
    let mut admin = Wire::connect(stand.admin_address()).await;
    assert!(is_served(&mut admin).await, "the admin listener has no strangers");
}

#[tokio::test]
async fn one_clients_requests_are_limited() {
    let stand = stand(&[("SEEKWAY_CLIENT_REQUESTS_PER_SECOND", "1"), ("SEEKWAY_CLIENT_REQUESTS_BURST", "3")]);
    let mut wire = stand.connect().await;
    // All at once, so that few seconds can pass meanwhile.
    wire.send(head("HEAD", TARGET, &[]).repeat(3)).await;
    wire.send(head("GET", "/", &[]).repeat(30)).await;
    for _ in 0..3 {
        assert_eq!(wire.answer("HEAD").await.status, 200);
    }
    let mut refused = 0;
    for _ in 0..30 {
        let answer = wire.answer("GET").await;
        if answer.status != 200 {
            refused += 1;
            assert_eq!((answer.status, answer.problem()["status"].as_u64()), (429, Some(429)));
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
    assert!(refused > 0);
    for target in ["/api/health", "/api/ready"] {
        assert_eq!(wire.ask("GET", target, &[]).await.status, 200, "probes are not counted");
    }
    let mut other = Wire::connect_from(stand.address(), THERE).await;
    assert_eq!(other.ask("GET", TARGET, &[]).await.status, 200, "another client");
}

/// Not faster than its rate over all connections; that it is not much slower is the unit tests' to show, with a
/// clock of their own.
#[tokio::test]
async fn one_clients_bytes_are_paced_over_its_connections() {
    let stand = stand(&[("SEEKWAY_CLIENT_BYTES_PER_SECOND", "1000000")]);
    let begun = Instant::now();
    let answers = (0..3).map(|_| stand.get(TARGET, &[]));
    for answer in futures_util::future::join_all(answers).await {
        assert!(answer.complete && answer.status == 200);
        assert_pattern(SEED, 0, &answer.body, "paced");
    }
    // 900 kB; the first steps leave at once, and as much is caught up with.
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
    // Each of the three was held back for most of that time.
    let held_back = Page::of(&stand).await.get("seekway_responses_paced_seconds_total");
    assert!(held_back >= 0.8, "{held_back}");
}

/// Also over the streams of one connection.
#[tokio::test]
async fn one_clients_bytes_are_paced_over_its_streams() {
    let stand = stand(&[("SEEKWAY_CLIENT_BYTES_PER_SECOND", "1000000")]);
    let mut http2 = Http2::connect(stand.address()).await;
    let begun = Instant::now();
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(http2.send("GET", TARGET, &[]).await.expect("an answer"));
    }
    for answer in answers {
        let body = whole(answer.into_body()).await.expect("all of it");
        assert_eq!(body.len() as u64, SIZE);
        assert_pattern(SEED, 0, &body, "paced");
    }
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
}

/// A step of 1 KiB every 50 ms: nothing is written for longer than the stall allows, and it is not the client's fault.
#[tokio::test]
async fn a_paced_client_is_neither_stalled_nor_idle() {
    let timeouts = [
        ("SEEKWAY_WRITE_STALL_TIMEOUT", "20ms"),
        ("SEEKWAY_IDLE_TIMEOUT", "20ms"),
        ("SEEKWAY_HEADER_TIMEOUT", "10s"),
    ];
    let stand = stand(&[&[("SEEKWAY_CLIENT_BYTES_PER_SECOND", "20480")][..], &timeouts].concat());
    let mut wire = stand.connect().await;
    let answer = wire.ask("GET", TARGET, &[("Range", "bytes=100-10339")]).await;
    assert!(answer.complete, "{} bytes", answer.body.len());
    assert_pattern(SEED, 100, &answer.body, "slowly");
}

#[tokio::test]
async fn a_paced_client_holds_no_more_than_a_paused_one() {
    let stand = Stand::s3(&[("SEEKWAY_CLIENT_BYTES_PER_SECOND", "100000"), ("CACHE_MEMORY_BYTES", "0")]);
    stand.put_pattern("film.mp4", 60_000_000, SEED);
    let mut wire = stand.connect().await;
    wire.send(head("GET", TARGET, &[])).await;
    assert_eq!(wire.answer_head("GET").await.status, 200);
    assert_pattern(SEED, 0, &wire.exactly(20_000).await, "the first steps");
    let stats = stand.until("what was under way has come", |stats| stats.fills_running == 0).await;
    assert!(stats.budget_in_use_bytes < 2_000_000, "{stats:?}");
    drop(wire);
    stand.until_quiet().await;
}

#[tokio::test]
async fn more_requests_than_allowed_are_refused_and_those_under_way_are_not() {
    let stand = Stand::local(&[("SEEKWAY_MAX_REQUESTS", "2")]);
    stand.put_pattern("film.mp4", 20_000_000, SEED);
    let mut running = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::connect_narrow(stand.address()).await;
        wire.send(head("GET", TARGET, &[])).await;
        assert_eq!(wire.answer_head("GET").await.status, 200);
        running.push(wire);
    }
    let mut wire = stand.connect().await;
    for target in [TARGET, "/", "/api/objects"] {
        let answer = wire.ask("GET", target, &[]).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{target}");
        answer.problem();
    }
    for target in ["/api/health", "/api/ready"] {
        assert_eq!(wire.ask("GET", target, &[]).await.status, 200, "{target}");
    }
    let mut admin = Wire::connect(stand.admin_address()).await;
    assert_eq!(admin.ask("GET", "/metrics", &[]).await.status, 200);
    let whole = running.pop().expect("two").exactly(20_000_000).await;
    assert_pattern(SEED, 0, &whole, "it was not cut");
    until("its place is given back", async || {
        (stand.get(TARGET, &[("Range", "bytes=0-9")]).await.status == 206).then_some(())
    })
    .await;
}

/// Those who wait for memory go on waiting; only newcomers are told at once that it would be in vain.
#[tokio::test]
async fn newcomers_are_refused_while_others_wait_for_memory() {
    let stand = Stand::s3_shaped(
        Shape::default(),
        &[("MEMORY_BUDGET_BYTES", "1MiB"), ("CACHE_MEMORY_BYTES", "0"), ("SEEKWAY_S3_READ_TIMEOUT", "1h")],
    );
    stand.put_pattern("film.mp4", 60_000_000, SEED);
    // The metadata are known, so that each request is a fill of its own.
    assert_eq!(stand.ask("HEAD", TARGET, &[]).await.status, 200);
    stand.origin().fault(Fault::Hang);
    let mut waiting = Vec::new();
    let mut nth = 0;
    while stand.stats().budget_waiting == 0 {
        let mut wire = stand.connect().await;
        wire.send(head("GET", TARGET, &[("Range", &format!("bytes={}-", nth * 1_000_000))])).await;
        waiting.push((nth * 1_000_000, wire));
        nth += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(nth < 60, "the budget is spent by then: {:?}", stand.stats());
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let refused = stand.get(TARGET, &[("Range", "bytes=59000000-")]).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    refused.problem();
    stand.origin().clear_faults();
    stand.origin().release_hung();
    let (offset, last) = waiting.last_mut().expect("somebody waits");
    assert_eq!(last.answer_head("GET").await.status, 206, "it had come before");
    assert_pattern(SEED, *offset, &last.exactly(100_000).await, "and is served");
    drop(waiting);
    stand.until_quiet().await;
}
