//! Clients that leave, hang, vanish, or only come to take up room.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use seekway_loadtests::origin::{Fault, Shape};
use seekway_loadtests::pattern;

use crate::support::wire::{Wire, head};
use crate::support::{Stand, assert_pattern, until};

const SEED: u64 = 73;
const TARGET: &str = "/media/film.mp4";
const CONNECTIONS_MAX: usize = 128;

/// All places for connections are free: as many as there may be are served at once.
async fn all_places_are_free(stand: &Stand) {
    let mut held = Vec::new();
    for nth in 0..CONNECTIONS_MAX {
        let mut wire = stand.connect().await;
        assert_eq!(wire.ask("GET", "/api/health", &[]).await.status, 200, "connection {nth}");
        held.push(wire);
    }
}

/// At random points of the request, the wait and the body; by a reset, or by an orderly end that nobody ordered.
#[tokio::test]
async fn two_thousand_clients_leave_and_nothing_stays_behind() {
    let shape = Shape { bytes_per_second_per_connection: Some(20_000_000), ..Shape::default() };
    let places = CONNECTIONS_MAX.to_string();
    let stand = Stand::s3_shaped(shape, &[("SEEKWAY_MAX_CONNECTIONS", &places)]);
    stand.put_pattern("film.mp4", 400_000_000, SEED);
    stand.put_pattern("hot.mp4", 2_000_000, SEED);
    assert!(stand.get("/media/hot.mp4", &[]).await.complete);
    let leave = async |nth: u64| {
        let draw = |what, bound| pattern::draw(nth, what, bound);
        let (target, size) =
            if draw(0, 2) == 0 { (TARGET, 400_000_000) } else { ("/media/hot.mp4", 2_000_000) };
        let offset = draw(1, size);
        let request = head("GET", target, &[("Range", &format!("bytes={offset}-"))]);
        let mut wire = stand.connect().await;
        let sent = if draw(2, 4) == 0 { usize::try_from(draw(3, 60)).expect("small") } else { request.len() };
        wire.send(&request[..sent.min(request.len())]).await;
        if sent == request.len() && draw(4, 3) > 0 {
            assert_eq!(wire.answer_head("GET").await.status, 206);
            let wanted = draw(5, 200_000).min(size - offset);
            let body = wire.exactly(usize::try_from(wanted).expect("small")).await;
            assert_pattern(SEED, offset, &body, "as far as it was read");
        }
        if draw(6, 2) == 0 {
            wire.reset();
        }
    };
    stream::iter(0..2000).for_each_concurrent(64, leave).await;
    stand.until_quiet().await;
    all_places_are_free(&stand).await;
    let whole = stand.get("/media/hot.mp4", &[]).await;
    assert!(whole.complete && whole.body.len() == 2_000_000);
}

/// RFC 9112 §9.6: a client may be done sending and still listen.
#[tokio::test]
async fn a_client_that_is_done_sending_has_its_answers() {
    let stand = Stand::s3(&[("SEEKWAY_IDLE_TIMEOUT", "1h")]);
    stand.put_pattern("film.mp4", 3_000_000, SEED);
    // Cold and slow; from memory; with several requests; with an answer without a body.
    for (requests, delay) in [
        (head("GET", TARGET, &[]), Some(Duration::from_millis(300))),
        (head("GET", TARGET, &[]), None),
        (head("GET", TARGET, &[]).repeat(3), None),
        (head("HEAD", TARGET, &[]), None),
    ] {
        if let Some(delay) = delay {
            stand.origin().fault(Fault::Delay(delay));
        }
        let mut wire = Wire::connect_narrow(stand.address()).await;
        let method = if requests.starts_with(b"HEAD") { "HEAD" } else { "GET" };
        let count = requests.windows(4).filter(|window| window == b"\r\n\r\n").count();
        wire.send(&requests).await;
        wire.done_sending().await;
        for _ in 0..count {
            let answer = wire.answer(method).await;
            assert!(answer.complete && answer.status == 200);
            assert_pattern(SEED, 0, &answer.body, "the whole of it");
        }
        assert_eq!(wire.until_closed().await, b"", "and then the connection ends");
    }
    // Half a request is none, and holds nothing up.
    let mut wire = stand.connect().await;
    wire.send(&head("GET", TARGET, &[])[..20]).await;
    wire.done_sending().await;
    assert_eq!(wire.until_closed().await, b"");
    stand.until_quiet().await;
}

/// A reset is noticed while the store is waited for, without a byte being written.
#[tokio::test]
async fn a_reset_is_noticed_before_the_answer() {
    let stand = Stand::s3(&[("SEEKWAY_MAX_CONNECTIONS", "1"), ("SEEKWAY_S3_READ_TIMEOUT", "1h")]);
    stand.put_pattern("film.mp4", 3_000_000, SEED);
    stand.origin().fault(Fault::Hang.times(1));
    let mut wire = stand.connect().await;
    wire.send(head("GET", TARGET, &[])).await;
    stand.origin().until(|counts| counts.in_flight == 1).await.expect("the origin is asked");
    wire.reset();
    // The only place there is.
    assert_eq!(stand.get("/api/health", &[]).await.status, 200);
    stand.origin().release_hung();
    stand.until_quiet().await;
}

/// A flood takes up its own client's places; another client's are free.
#[tokio::test]
async fn a_flood_of_silent_connections_leaves_room_for_others() {
    let places = CONNECTIONS_MAX.to_string();
    let limits = [("SEEKWAY_MAX_CONNECTIONS", &*places), ("SEEKWAY_CLIENT_CONNECTIONS", "100")];
    let stand = Stand::local(&limits);
    stand.put_pattern("film.mp4", 100_000, SEED);
    let mut flood = Vec::new();
    for nth in 0..500 {
        // One too many may be reset while it connects.
        flood.extend(Wire::try_connect_from(stand.address(), [127, 0, 0, 66]).await);
        if nth % 50 == 49 {
            let mut good = Wire::connect_from(stand.address(), [127, 0, 0, 2]).await;
            let answer = good.ask("GET", TARGET, &[]).await;
            assert!(answer.complete && answer.status == 200, "after {nth} silent ones");
        }
    }
    let mut accepted = 0;
    for wire in &mut flood {
        let asked = wire.try_send(head("GET", "/api/health", &[])).await;
        accepted += usize::from(asked.is_ok() && !wire.some(1).await.is_empty());
    }
    assert_eq!(accepted, 100);
}

/// One byte at a time, and resets within a head.
#[tokio::test]
async fn slow_heads_end_and_give_their_places_back() {
    let places = CONNECTIONS_MAX.to_string();
    let stand = Stand::local(&[("SEEKWAY_MAX_CONNECTIONS", &places), ("SEEKWAY_HEADER_TIMEOUT", "500ms")]);
    let mut slow = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut wire = stand.connect().await;
        wire.send("G").await;
        slow.push(wire);
    }
    slow.drain(..20).for_each(Wire::reset);
    let mut rest = "ET /media/a HTTP/1.1\r\nHost: a\r\nX: ".bytes().chain(std::iter::repeat(b'x'));
    until("all slow ones are ended", async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let byte = [rest.next().expect("without end")];
        let mut left = 0;
        for wire in &mut slow {
            left += usize::from(wire.try_send(byte).await.is_ok());
        }
        (left == 0).then_some(())
    })
    .await;
    all_places_are_free(&stand).await;
}
