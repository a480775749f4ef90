//! Clients that leave, hang, vanish, or only come to take up room.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use seekway_loadtests::origin::{Fault, Shape};
use seekway_loadtests::pattern;

use crate::metrics::page_with;
use crate::support::h2::Http2;
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

/// Hanging up ends the work, long before the store answers: by an orderly close of HTTP/1, by the end of an HTTP/2
/// connection, and by resets of its streams.
#[tokio::test]
async fn hundreds_hang_up_before_their_answers_and_no_work_is_left() {
    let stand = Stand::s3(&[("SEEKWAY_S3_READ_TIMEOUT", "1h"), ("SEEKWAY_S3_ANSWER_TIMEOUT", "1h")]);
    let target = |nth: usize| format!("/media/{nth}.mp4");
    let mut wire = stand.connect().await;
    for nth in 0..200 {
        stand.put_pattern(&format!("{nth}.mp4"), 3_000_000, SEED);
        // Half of them are known, so that a fill waits instead of a request for metadata.
        if nth % 2 == 0 {
            assert_eq!(wire.ask("HEAD", &target(nth), &[]).await.status, 200);
        }
    }
    stand.origin().fault(Fault::Hang);
    let running = |protocol| format!("seekway_requests_running{{protocol=\"{protocol}\"}}");
    let unanswered = "seekway_responses_total{outcome=\"unanswered\"}";

    let mut wires = Vec::new();
    for nth in 0..200 {
        let mut wire = stand.connect().await;
        wire.send(head("GET", &target(nth), &[])).await;
        wires.push(wire);
    }
    // The page is one, too.
    page_with(&stand, &running("h1"), 201.0).await;
    assert!(stand.origin().counts().in_flight > 0);
    drop(wires);
    page_with(&stand, unanswered, 200.0).await;
    page_with(&stand, &running("h1"), 1.0).await;
    stand.until_quiet().await;

    for (round, is_reset) in (2..).zip([true, false]) {
        let mut http2 = Http2::connect(stand.address()).await;
        let mut asking = Vec::new();
        for nth in 0..100 {
            asking.push(http2.begin("GET", &target(nth), &[]).await.expect("it is open"));
        }
        page_with(&stand, &running("h2"), 100.0).await;
        let kept = if is_reset {
            Some(http2)
        } else {
            drop(http2);
            None
        };
        drop(asking);
        page_with(&stand, unanswered, 100.0 * f64::from(round)).await;
        stand.until_quiet().await;
        drop(kept);
    }
    assert_eq!(stand.stats().budget_in_use_bytes, 0, "nothing came, so nothing is kept");
}

/// Whoever shuts only its sending side looks the same, and is treated the same.
#[tokio::test]
async fn a_shut_sending_side_is_a_hang_up() {
    let stand = Stand::s3(&[("SEEKWAY_S3_READ_TIMEOUT", "1h"), ("SEEKWAY_IDLE_TIMEOUT", "1h")]);
    stand.put_pattern("film.mp4", 3_000_000, SEED);
    for (fault, outcome) in [(Fault::Hang, "unanswered"), (Fault::HangAfter(100_000), "client_left")] {
        stand.origin().fault(fault.times(1));
        let mut wire = stand.connect().await;
        wire.send(head("GET", TARGET, &[])).await;
        stand.origin().until(|counts| counts.in_flight == 1).await.expect("the origin is asked");
        if outcome == "client_left" {
            assert_eq!(wire.answer_head("GET").await.status, 200);
        }
        wire.done_sending().await;
        assert!(wire.until_closed().await.len() < 3_000_000);
        page_with(&stand, &format!("seekway_responses_total{{outcome=\"{outcome}\"}}"), 1.0).await;
        stand.until_quiet().await;
    }
    // Half a request is none, and holds nothing up.
    let mut wire = stand.connect().await;
    wire.send(&head("GET", TARGET, &[])[..20]).await;
    wire.done_sending().await;
    assert_eq!(wire.until_closed().await, b"");
    // The answer to what is no request comes in any case.
    let mut wire = stand.connect().await;
    wire.send("GET / HTTP/1.1\nHost: a\n\n").await;
    wire.done_sending().await;
    assert!(wire.until_closed().await.starts_with(b"HTTP/1.1 400 "));
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
