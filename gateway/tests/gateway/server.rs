//! Connections: limits, patience, and requests that are none.

use std::time::Duration;

use seekway_loadtests::origin::{Fault, Shape};
use seekway_loadtests::pattern;

use crate::support::wire::{Wire, head};
use crate::support::{BUCKET, Stand, assert_pattern, until};

const SIZE: u64 = 300_000;
const SEED: u64 = 51;
const TARGET: &str = "/media/film.mp4";
const PART: (&str, &str) = ("Range", "bytes=70000-70009");

fn stand(env: &[(&str, &str)]) -> Stand {
    let stand = Stand::local(env);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand
}

/// A request on this connection is answered as ever.
async fn check_alive(wire: &mut Wire) {
    let answer = wire.ask("GET", TARGET, &[PART]).await;
    assert_eq!((answer.status, answer.body.len()), (206, 10));
    assert_pattern(SEED, 70_000, &answer.body, "alive");
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let stand = stand(&[]);
    let mut wire = stand.connect().await;
    for _ in 0..50 {
        let head = wire.ask("HEAD", TARGET, &[]).await;
        assert_eq!(head.header("content-length"), "300000");
        check_alive(&mut wire).await;
        assert_eq!(wire.ask("GET", "/media/none", &[]).await.status, 404);
        let whole = wire.ask("GET", TARGET, &[]).await;
        assert_pattern(SEED, 0, &whole.body, "whole");
        assert_eq!(whole.body.len() as u64, SIZE);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let stand = stand(&[]);
    let mut wire = stand.connect().await;
    let mut sent = Vec::new();
    for nth in 0..20 {
        let range = format!("bytes={}-{}", nth * 10_000, nth * 10_000 + 9999);
        sent.extend(head("GET", TARGET, &[("Range", &range)]));
        sent.extend(head("HEAD", TARGET, &[]));
        sent.extend(head("GET", "/media/none", &[]));
    }
    wire.send(sent).await;
    for nth in 0..20 {
        let part = wire.answer("GET").await;
        assert_eq!((part.status, part.body.len()), (206, 10_000));
        assert_pattern(SEED, nth * 10_000, &part.body, "pipelined");
        assert_eq!(wire.answer("HEAD").await.status, 200);
        assert_eq!(wire.answer("GET").await.status, 404);
    }
}

#[tokio::test]
async fn http_1_0_and_close_end_the_connection_after_the_answer() {
    let stand = stand(&[]);
    for (request, version) in [
        (format!("GET {TARGET} HTTP/1.0\r\n\r\n"), "HTTP/1.0"),
        (format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), "HTTP/1.1"),
    ] {
        let mut wire = stand.connect().await;
        wire.send(request).await;
        let answer = wire.answer("GET").await;
        assert_eq!((answer.status, answer.announced), (200, Some(SIZE)), "{version}");
        assert!(answer.version == version || answer.version == "HTTP/1.1", "{answer:?}");
        assert_pattern(SEED, 0, &answer.body, version);
        assert!(wire.until_closed().await.is_empty(), "{version}");
    }
    let mut wire = stand.connect().await;
    for _ in 0..2 {
        wire.send(format!("GET {TARGET} HTTP/1.0\r\nConnection: keep-alive\r\nRange: bytes=0-9\r\n\r\n"))
            .await;
        assert_eq!(wire.answer("GET").await.body.len(), 10);
    }
}

#[tokio::test]
async fn large_or_many_headers_get_431() {
    let stand = stand(&[("SEEKWAY_HEADER_BYTES_MAX", "8KiB"), ("SEEKWAY_HEADERS_MAX", "16")]);
    let mut wire = stand.connect().await;
    let fits = "x".repeat(6000);
    assert_eq!(wire.ask("GET", TARGET, &[("X-Long", &fits), PART]).await.status, 206);
    let names: Vec<String> = (0..20).map(|nth| format!("X-{nth}")).collect();
    let many = |count| names.iter().take(count).map(|name| (name.as_str(), "v")).collect::<Vec<_>>();
    assert_eq!(wire.ask("GET", TARGET, &many(15)).await.status, 200, "15 and Host");
    let too_many = many(16);
    let too_long = "x".repeat(9000);
    for headers in [&too_many[..], &[("X-Long", &too_long)]] {
        let mut wire = stand.connect().await;
        wire.try_send(head("GET", TARGET, headers)).await.expect("it fits into the socket");
        assert_eq!(wire.answer("GET").await.status, 431, "{} headers", headers.len());
        assert!(wire.until_closed().await.is_empty());
    }
    let mut wire = stand.connect().await;
    wire.send(head("GET", &format!("/media/{too_long}"), &[])).await;
    assert!([414, 431].contains(&wire.answer("GET").await.status));
    check_alive(&mut stand.connect().await).await;
}

#[tokio::test]
async fn a_head_that_drips_in_is_ended() {
    let stand = stand(&[("SEEKWAY_HEADER_TIMEOUT", "300ms"), ("SEEKWAY_IDLE_TIMEOUT", "1h")]);
    // In the first request and in a later one.
    for before in [0, 1] {
        let mut wire = stand.connect().await;
        for _ in 0..before {
            check_alive(&mut wire).await;
        }
        // Each byte is progress, and still the head never ends.
        let mut drops = head("GET", TARGET, &[]).into_iter().cycle().filter(|byte| *byte != b'\n');
        until("the connection ends", async || {
            tokio::time::sleep(Duration::from_millis(10)).await;
            wire.try_send([drops.next().expect("without end")]).await.err()
        })
        .await;
    }
    let mut wire = stand.connect().await;
    let request = head("GET", TARGET, &[PART]);
    let (one, other) = request.split_at(20);
    wire.send(one).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    wire.send(other).await;
    assert_eq!(wire.answer("GET").await.status, 206, "in time");
}

#[tokio::test]
async fn an_idle_connection_is_ended() {
    let stand = stand(&[("SEEKWAY_IDLE_TIMEOUT", "200ms"), ("SEEKWAY_HEADER_TIMEOUT", "1h")]);
    let mut silent = stand.connect().await;
    let mut served = stand.connect().await;
    check_alive(&mut served).await;
    for wire in [&mut silent, &mut served] {
        assert!(wire.until_closed().await.is_empty());
    }
}

/// Idle is the time since the last answer, not since the first request.
#[tokio::test]
async fn a_connection_that_is_used_is_not_idle() {
    let stand = stand(&[("SEEKWAY_IDLE_TIMEOUT", "1s")]);
    let mut wire = stand.connect().await;
    for _ in 0..16 {
        check_alive(&mut wire).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_slow_store_does_not_make_a_connection_idle() {
    let stand = Stand::s3(&[
        ("SEEKWAY_IDLE_TIMEOUT", "300ms"),
        ("SEEKWAY_HEADER_TIMEOUT", "300ms"),
        ("SEEKWAY_WRITE_STALL_TIMEOUT", "300ms"),
    ]);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand.origin().fault(Fault::Delay(Duration::from_millis(700)));
    stand.origin().fault(Fault::Bandwidth(400_000));
    let answer = stand.get(TARGET, &[]).await;
    assert!(answer.complete && answer.body.len() as u64 == SIZE, "{} bytes", answer.body.len());
    assert_pattern(SEED, 0, &answer.body, "slow");
}

/// All of the body may have been given to the connection while the client still takes it.
#[tokio::test]
async fn a_slow_client_is_neither_idle_nor_stalled() {
    let stand = Stand::local(&[("SEEKWAY_IDLE_TIMEOUT", "250ms"), ("SEEKWAY_WRITE_STALL_TIMEOUT", "2s")]);
    stand.put_pattern("film.mp4", 2_000_000, SEED);
    let mut wire = Wire::connect_narrow(stand.address()).await;
    wire.send(head("GET", TARGET, &[])).await;
    let mut body = Vec::new();
    assert_eq!(wire.answer_head("GET").await.status, 200);
    while body.len() < 2_000_000 {
        if body.len() > 1_200_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let piece = wire.some(16 * 1024).await;
        assert!(!piece.is_empty(), "cut after {} bytes", body.len());
        body.extend(piece);
    }
    assert_pattern(SEED, 0, &body, "slowly");
}

/// The kernel's send buffer is larger than what a slow client reads in the limit: that must not look like a stall.
#[tokio::test]
async fn a_client_that_reads_steadily_is_never_stalled() {
    let stand = Stand::local(&[("SEEKWAY_WRITE_STALL_TIMEOUT", "2s"), ("SEEKWAY_IDLE_TIMEOUT", "400ms")]);
    stand.put_pattern("film.mp4", 40_000_000, SEED);
    let mut wire = Wire::connect_narrow(stand.address()).await;
    wire.send(head("GET", TARGET, &[])).await;
    assert_eq!(wire.answer_head("GET").await.status, 200);
    let begun = tokio::time::Instant::now();
    let mut offset = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let piece = wire.some(8 * 1024).await;
        assert!(!piece.is_empty(), "cut after {offset} bytes");
        assert_pattern(SEED, offset, &piece, "steadily");
        offset += piece.len() as u64;
    }
}

/// Requests that come in pairs leave the connection no moment in which it waits for the rest of a head.
#[tokio::test]
async fn a_connection_that_is_used_in_bursts_is_not_idle() {
    let stand = Stand::local(&[("SEEKWAY_IDLE_TIMEOUT", "500ms")]);
    let mut wire = stand.connect().await;
    for nth in 0..12 {
        let pair = head("GET", "/api/health", &[]).repeat(2);
        wire.send(pair).await;
        for _ in 0..2 {
            assert_eq!(wire.answer("GET").await.status, 200, "pair {nth}");
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// The stalled client holds the only place there is, so the next one is served exactly when it is gone.
#[tokio::test]
async fn a_client_that_never_reads_is_ended() {
    let stand = Stand::local(&[("SEEKWAY_MAX_CONNECTIONS", "1"), ("SEEKWAY_WRITE_STALL_TIMEOUT", "300ms")]);
    stand.put_pattern("film.mp4", 20_000_000, SEED);
    let mut stalled = Wire::connect_narrow(stand.address()).await;
    stalled.send(head("GET", TARGET, &[])).await;
    assert_eq!(stalled.answer_head("GET").await.status, 200);
    let mut next = stand.connect().await;
    assert_eq!(next.ask("GET", "/api/health", &[]).await.status, 200);
    let left = stalled.until_closed().await;
    assert!(left.len() < 19_000_000, "it was cut: {} bytes were left in the sockets", left.len());
    assert_pattern(SEED, 0, &left, "what had been sent");
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_served() {
    let stand = stand(&[("SEEKWAY_MAX_CONNECTIONS", "4")]);
    let mut served = Vec::new();
    for _ in 0..4 {
        let mut wire = stand.connect().await;
        check_alive(&mut wire).await;
        served.push(wire);
    }
    let mut waiting = stand.connect().await;
    waiting.send(head("GET", TARGET, &[PART])).await;
    waiting.stays_silent(150).await;
    for wire in &mut served {
        check_alive(wire).await;
    }
    drop(served.pop());
    assert_eq!(waiting.answer("GET").await.status, 206, "a place was free");
}

#[tokio::test]
async fn requests_have_ids() {
    let stand = stand(&[]);
    for address in [stand.address(), stand.admin_address()] {
        let mut wire = Wire::connect(address).await;
        let echoed = wire.ask("GET", "/api/health", &[("X-Request-Id", "from-a-proxy/1")]).await;
        assert_eq!(echoed.header("x-request-id"), "from-a-proxy/1");
        let one = wire.ask("GET", "/api/health", &[]).await.header("x-request-id").to_owned();
        let other = wire.ask("GET", "/nowhere", &[]).await;
        assert!(!one.is_empty() && one != other.header("x-request-id"), "{one}");
        assert_eq!(other.problem()["request_id"], other.header("x-request-id"));
    }
}

#[tokio::test]
async fn the_admin_listener_shows_figures_and_no_media() {
    let stand = stand(&[]);
    let mut admin = Wire::connect(stand.admin_address()).await;
    let metrics = admin.ask("GET", "/metrics", &[]).await;
    let text = String::from_utf8(metrics.body.clone()).expect("text");
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    assert!(text.lines().any(|line| line == "seekway_cache_fills_running 0"), "{text}");
    for target in ["/api/health", "/api/ready"] {
        assert_eq!(admin.ask("GET", target, &[]).await.status, 200, "{target}");
        assert_eq!(stand.get(target, &[]).await.status, 200, "{target}");
    }
    assert_eq!(admin.ask("GET", TARGET, &[]).await.status, 404);
    assert_eq!(stand.get("/metrics", &[]).await.status, 404);
}

/// 2,000 requests that are nearly right, or not at all; the same ones each time.
#[tokio::test]
async fn no_bytes_whatsoever_end_the_gateway() {
    let stand = Stand::s3_shaped(
        Shape::default(),
        &[("SEEKWAY_HEADER_TIMEOUT", "1s"), ("SEEKWAY_IDLE_TIMEOUT", "1s")],
    );
    stand.put_pattern("film.mp4", SIZE, SEED);
    for seed in 0..2000 {
        let mut wire = stand.connect().await;
        // It may be refused in the middle.
        drop(wire.try_send(mutant(seed)).await);
        if seed % 10 == 0 {
            drop(wire.try_send("\r\n\r\n").await);
            wire.some(1).await;
        }
    }
    assert_eq!(stand.get("/api/health", &[]).await.status, 200);
    let mut wire = stand.connect().await;
    check_alive(&mut wire).await;
    stand.until_quiet().await;
    assert!(stand.origin().log().iter().all(|logged| logged.bucket == BUCKET), "no other bucket was asked");
}

/// A right request with some bytes changed, left out, repeated, or nothing but noise.
fn mutant(seed: u64) -> Vec<u8> {
    let draw = |nth, bound| pattern::draw(seed, nth, bound);
    let at = |nth, len: usize| usize::try_from(draw(nth, len as u64)).expect("an index");
    let ranges =
        ["bytes=0-9", "bytes=-5", "bytes=5-,-5,7-8", "bytes=18446744073709551615-18446744073709551615"];
    let methods = ["GET", "HEAD", "OPTIONS", "POST"];
    let headers = [("Range", ranges[at(1, 4)]), ("If-Range", "\"a"), ("If-None-Match", ",W/\"\",*")];
    let mut bytes = head(methods[at(2, 4)], TARGET, &headers[..=at(3, 3)]);
    if draw(4, 4) == 0 {
        bytes = vec![0; 1 + at(5, 600)];
        pattern::fill(seed, 0, &mut bytes);
    }
    for nth in 0..draw(6, 8) {
        let (from, to) = (at(10 + 4 * nth, bytes.len()), at(11 + 4 * nth, bytes.len()));
        match draw(12 + 4 * nth, 4) {
            0 => bytes[from] = u8::try_from(draw(13 + 4 * nth, 256)).expect("a byte"),
            1 => drop(bytes.remove(from)),
            2 => bytes.extend_from_within(from.min(to)..from.max(to)),
            _ => bytes.insert(to, b"%\r\n,-=\0\xff"[at(13 + 4 * nth, 8)]),
        }
        if bytes.is_empty() {
            bytes.push(b'%');
        }
    }
    bytes
}
