//! What the client sees when the store is slow, breaks off, fails or lies: the right bytes, a real status, or
//! a connection that visibly ends. Never other bytes.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use seekway_loadtests::origin::{Fault, Logged, Object, Rule, Shape};

use crate::support::wire::{Answer, head};
use crate::support::{BUCKET, Stand, assert_pattern, until};

/// 16 segments, the last of them short.
const SIZE: u64 = 1_000_000;
const SEED: u64 = 21;
const KEY: &str = "clients/acme-corp/secret-film.mp4";
const TARGET: &str = "/media/clients/acme-corp/secret-film.mp4";
/// A bounded range of at most 1 MiB is brought by one fill, so that faults hit what a test means.
const WHOLE: (&str, &str) = ("Range", "bytes=0-999999");
const IMPATIENT: (&str, &str) = ("SEEKWAY_S3_READ_TIMEOUT", "200ms");

/// A stand with the object in its store.
fn stand(env: &[(&str, &str)]) -> Stand {
    let stand = Stand::s3(env);
    stand.put_pattern(KEY, SIZE, SEED);
    stand
}

fn first_byte(logged: &Logged) -> u64 {
    let range = logged.range.as_deref().expect("every GET has a range");
    range
        .strip_prefix("bytes=")
        .and_then(|range| range.split('-').next())
        .expect("a start")
        .parse()
        .expect("a number")
}

#[track_caller]
fn assert_whole(answer: &Answer, what: &str) {
    assert!(answer.status == 200 || answer.status == 206, "{what}: {answer:?}");
    assert_eq!((answer.announced, answer.body.len() as u64), (Some(SIZE), SIZE), "{what}");
    assert_pattern(SEED, 0, &answer.body, what);
}

/// A failure that came before the headers is a status, and says nothing about the store.
#[track_caller]
fn assert_problem(stand: &Stand, answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    answer.problem();
    assert_eq!(answer.has("retry-after"), matches!(status, 503 | 504), "{what}: {answer:?}");
    assert!(!answer.has("etag") && !answer.has("content-range") && !answer.has("accept-ranges"), "{what}");
    let shown = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body));
    let host = stand.origin().address().to_string();
    for secret in [BUCKET, "acme", "secret-film", &host, "127.0.0.1", "injected", "SlowDown", "AccessDenied"]
    {
        assert!(!shown.contains(secret), "{what}: {secret} is shown in {shown}");
    }
}

/// A failure that came after the headers: right bytes, fewer than announced, and then the end.
#[track_caller]
fn assert_cut(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.announced), (206, Some(SIZE)), "{what}");
    assert!(!answer.complete && (answer.body.len() as u64) < SIZE, "{what}: {} bytes", answer.body.len());
    assert_pattern(SEED, 0, &answer.body, what);
}

#[tokio::test]
async fn a_slow_store_delays_those_who_wait_for_it_and_nobody_else() {
    let stand = stand(&[]);
    stand.put_pattern("fast.mp4", SIZE, SEED);
    stand.origin().fault(Fault::Hang.on(BUCKET, KEY));
    let mut waiting = stand.connect().await;
    waiting.send(head("GET", TARGET, &[WHOLE])).await;
    stand.origin().until(|counts| counts.in_flight == 1).await.expect("the origin is asked");
    // More connections than threads that serve them: a blocked one would be met.
    for _ in 0..8 {
        assert_whole(&stand.get("/media/fast.mp4", &[WHOLE]).await, "another object");
    }
    waiting.stays_silent(1).await;
    stand.origin().release_hung();
    assert_whole(&waiting.answer("GET").await, "the slow object");

    let delay = Duration::from_millis(150);
    stand.put_pattern("late.mp4", SIZE, SEED);
    stand.origin().fault(Fault::Delay(delay).on(BUCKET, "late.mp4"));
    let asked = Instant::now();
    assert_whole(&stand.get("/media/late.mp4", &[WHOLE]).await, "the late object");
    assert!(asked.elapsed() >= delay, "nothing can be there before the store has sent it");
}

/// The first byte does not wait for the segment that it is in.
#[tokio::test]
async fn bytes_leave_as_they_land() {
    let stand = stand(&[]);
    stand.origin().fault(Fault::HangAfter(1000).times(1));
    let mut wire = stand.connect().await;
    wire.send(head("GET", TARGET, &[WHOLE])).await;
    let begun = wire.answer_head("GET").await;
    assert_eq!((begun.status, begun.announced), (206, Some(SIZE)));
    let mut body = wire.exactly(1000).await;
    assert_pattern(SEED, 0, &body, "what landed");
    wire.stays_silent(20).await;
    stand.origin().release_hung();
    body.extend(wire.exactly(999_000).await);
    assert_pattern(SEED, 0, &body, "all of it");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_resumed_where_it_broke() {
    for (breaks, at) in [(1, 100_000), (1, 65_536), (1, 1), (8, 100_000), (3, 0)] {
        let stand = stand(&[]);
        stand.origin().fault(Fault::Truncate(at).times(breaks));
        let answer = stand.get(TARGET, &[WHOLE]).await;
        let what = format!("{breaks} breaks after {at} bytes");
        assert_whole(&answer, &what);
        let log = stand.origin().log();
        let starts: Vec<u64> = log.iter().map(first_byte).collect();
        assert_eq!(starts, (0..=breaks).map(|nth| nth * at).collect::<Vec<_>>(), "{what}");
        assert_eq!(log[0].if_match, None, "{what}: nothing was known yet");
        for resumed in &log[1..] {
            assert_eq!(resumed.if_match.as_deref(), Some(answer.header("etag")), "{what}");
        }
        assert_eq!(stand.stats().fills_resumed, breaks, "{what}");
        stand.until_quiet().await;
        assert_whole(&stand.get(TARGET, &[]).await, "from memory");
        assert_eq!(stand.origin().log().len(), log.len(), "{what}: what landed is kept");
    }
}

/// As long as there is progress, a client is not given up.
#[tokio::test]
async fn a_store_that_always_breaks_off_is_slow_and_right() {
    let stand = stand(&[]);
    stand.origin().fault(Fault::Truncate(20_000));
    assert_whole(&stand.get(TARGET, &[WHOLE]).await, "20,000 bytes at a time");
}

/// In the worst case the store sends no more at all: then the client is told, and not kept.
#[tokio::test]
async fn a_store_that_breaks_off_for_good_ends_in_a_cut() {
    let stand = stand(&[]);
    stand.origin().fault(Fault::Truncate(100_000).times(1));
    stand.origin().fault(Fault::Truncate(0).skip(1));
    let answer = stand.get(TARGET, &[WHOLE]).await;
    assert_cut(&answer, "nothing after 100,000 bytes");
    let asked = stand.origin().log().len();
    assert!((3..=80).contains(&asked), "a bounded number of tries, not {asked}");
    stand.until_quiet().await;
    stand.origin().clear_faults();
    assert_whole(&stand.get(TARGET, &[WHOLE]).await, "once it is well again");
}

#[tokio::test]
async fn failures_before_the_headers_are_statuses() {
    for (fault, status) in [
        (Fault::Status(StatusCode::INTERNAL_SERVER_ERROR), 503),
        (Fault::Status(StatusCode::BAD_GATEWAY), 503),
        (Fault::Status(StatusCode::SERVICE_UNAVAILABLE), 503),
        (Fault::Status(StatusCode::GATEWAY_TIMEOUT), 503),
        (Fault::Status(StatusCode::TOO_MANY_REQUESTS), 503),
        // As if it were not there: whether a key exists is nobody's business.
        (Fault::Status(StatusCode::FORBIDDEN), 404),
        (Fault::Status(StatusCode::NOT_FOUND), 404),
        (Fault::Status(StatusCode::BAD_REQUEST), 502),
        (Fault::Status(StatusCode::IM_A_TEAPOT), 502),
        // The object changes each time it is asked for.
        (Fault::Status(StatusCode::PRECONDITION_FAILED), 503),
        (Fault::Close, 503),
        (Fault::Hang, 504),
        (Fault::MissingEtag, 502),
        (Fault::WeakEtag, 502),
        (Fault::WrongEtag("unquoted".to_owned()), 502),
    ] {
        let stand = stand(&[IMPATIENT, ("NEGATIVE_TTL", "0s")]);
        stand.origin().fault(fault.clone());
        for range in [None, Some("bytes=500000-500099"), Some("bytes=-100"), Some("bytes=0-1,5000-5001")] {
            let what = format!("{fault:?}, {range:?}");
            let headers: Vec<_> = range.map(|range| ("Range", range)).into_iter().collect();
            assert_problem(&stand, &stand.get(TARGET, &headers).await, status, &what);
        }
        assert_eq!(stand.ask("HEAD", TARGET, &[]).await.status, status, "HEAD, {fault:?}");
        stand.origin().clear_faults();
        stand.origin().release_hung();
        assert_whole(&stand.get(TARGET, &[WHOLE]).await, "once it is well again: no failure is kept");
        stand.until_quiet().await;
    }
}

/// A store whose answer is not to the question: nothing of it is delivered or kept.
#[tokio::test]
async fn lies_before_the_headers_are_a_bad_gateway() {
    let (whatever_is_known, once_known) = (&[false, true][..], &[true][..]);
    for (fault, when) in [
        (Fault::ShiftContentRange(1), whatever_is_known),
        (Fault::ShiftContentRange(65_536), whatever_is_known),
        // A total is a lie where it contradicts the range, or what is known.
        (Fault::WrongTotal(5), whatever_is_known),
        (Fault::WrongTotal(SIZE - 1), once_known),
        (Fault::WrongTotal(SIZE + 1), once_known),
        (Fault::IgnoreRange, whatever_is_known),
        (Fault::MissingEtag, whatever_is_known),
        (Fault::WeakEtag, whatever_is_known),
    ] {
        for &known in when {
            let stand = stand(&[]);
            if known {
                assert_eq!(stand.ask("HEAD", TARGET, &[]).await.status, 200);
            }
            stand.origin().fault(fault.clone().method(Method::GET));
            for range in ["bytes=0-", "bytes=70000-70099"] {
                let what = format!("{fault:?}, {range}, known: {known}");
                assert_problem(&stand, &stand.get(TARGET, &[("Range", range)]).await, 502, &what);
            }
            stand.origin().clear_faults();
            assert_whole(&stand.get(TARGET, &[WHOLE]).await, "no lie is kept");
            stand.until_quiet().await;
        }
    }
}

#[tokio::test]
async fn failures_after_the_headers_cut_the_connection() {
    let changed = || Fault::Replace {
        after: 200_000,
        with: Object::pattern(SIZE, SEED + 1),
        running: seekway_loadtests::origin::Running::KeepOld,
    };
    let from_the_second: Vec<Rule> = vec![
        Fault::Status(StatusCode::INTERNAL_SERVER_ERROR).skip(1),
        Fault::Status(StatusCode::SERVICE_UNAVAILABLE).skip(1),
        Fault::Status(StatusCode::FORBIDDEN).skip(1),
        Fault::Status(StatusCode::NOT_FOUND).skip(1),
        Fault::Status(StatusCode::PRECONDITION_FAILED).skip(1),
        Fault::Close.skip(1),
        Fault::Hang.skip(1),
        Fault::HangAfter(0).skip(1),
        Fault::ShiftContentRange(1).skip(1),
        Fault::WrongTotal(SIZE + 1).skip(1),
        Fault::IgnoreRange.skip(1),
        Fault::MissingEtag.skip(1),
        Fault::WeakEtag.skip(1),
        Fault::WrongEtag("\"other\"".to_owned()).skip(1),
        changed().times(1),
    ];
    // All at once: each is tried again for some seconds before the client is given up.
    let cuts = from_the_second.into_iter().map(async |rule| {
        let what = format!("{rule:?}");
        let stand = stand(&[IMPATIENT]);
        stand.origin().fault(Fault::Truncate(200_000).times(1));
        stand.origin().fault(rule);
        let mut wire = stand.connect().await;
        let answer = wire.ask("GET", TARGET, &[WHOLE]).await;
        assert_cut(&answer, &what);
        assert!(answer.body.len() <= 200_000, "{what}: {} bytes", answer.body.len());
        assert!(wire.until_closed().await.is_empty(), "{what}: nothing follows the cut");
        stand.until_quiet().await;
        stand.origin().release_hung();
    });
    futures_util::future::join_all(cuts).await;
}

/// The answer of several ranges has its own length, and is cut like any other.
#[tokio::test]
async fn a_part_that_fails_cuts_the_whole_multipart() {
    let stand = stand(&[]);
    assert_eq!(stand.ask("HEAD", TARGET, &[]).await.status, 200);
    stand.origin().fault(Fault::Status(StatusCode::NOT_FOUND).method(Method::GET).skip(1));
    let answer = stand.get(TARGET, &[("Range", "bytes=0-9,900000-900009")]).await;
    assert_eq!(answer.status, 206);
    assert!(!answer.complete, "{answer:?}");
    stand.until_quiet().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_behind() {
    let shape = Shape { bytes_per_second_per_connection: Some(4_000_000), ..Shape::default() };
    let stand = Stand::s3_shaped(shape, &[]);
    stand.put_pattern(KEY, 400_000_000, SEED);
    let mut clients = Vec::new();
    for nth in 0..16_u64 {
        let mut wire = stand.connect().await;
        let range = format!("bytes={}-", nth * 20_000_000 + 77);
        wire.send(head("GET", TARGET, &[("Range", &range)])).await;
        clients.push((nth * 20_000_000 + 77, wire));
    }
    for (offset, wire) in &mut clients {
        assert_eq!(wire.answer_head("GET").await.status, 206);
        let body = wire.exactly(300_000).await;
        assert_pattern(SEED, *offset, &body, "as far as it was read");
    }
    // No fill is so nearly done, or so fast, that finishing it would be right.
    stand.origin().set_shape(Shape { bytes_per_second_per_connection: Some(50_000), ..shape });
    assert!(stand.stats().fills_running > 0, "the test must see fills that are stopped");
    drop(clients);
    stand.until_quiet().await;
    let fetched = stand.origin().counts().body_bytes;
    assert!(fetched < 200_000_000, "{fetched} bytes were fetched for 16 clients that read 300 kB each");
    assert!(stand.stats().fills_stopped > 0);
}

/// Hanging up before the first byte, too.
#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_leaves_nothing_behind() {
    let stand = stand(&[]);
    stand.origin().fault(Fault::Hang);
    let mut wire = stand.connect().await;
    wire.send(head("GET", TARGET, &[("Range", "bytes=5-")])).await;
    stand.origin().until(|counts| counts.in_flight == 1).await.expect("the origin is asked");
    drop(wire);
    stand.origin().release_hung();
    stand.until_quiet().await;
    stand.origin().clear_faults();
    assert_whole(&stand.get(TARGET, &[WHOLE]).await, "the next client");
}

#[tokio::test]
async fn what_is_known_is_served_while_the_store_is_down() {
    let always_ask = [("METADATA_TTL", "0s"), ("STALE_WHILE_REVALIDATE", "0s")];
    for (fault, kept) in [
        (Fault::Status(StatusCode::SERVICE_UNAVAILABLE), true),
        (Fault::Close, true),
        (Fault::Hang, true),
        // The store is well, and says that there is no such object.
        (Fault::Status(StatusCode::NOT_FOUND), false),
        (Fault::Status(StatusCode::FORBIDDEN), false),
    ] {
        let stand = stand(&[&always_ask[..], &[IMPATIENT, ("STALE_IF_ERROR", "1h")]].concat());
        let etag = stand.get(TARGET, &[WHOLE]).await.header("etag").to_owned();
        stand.until_quiet().await;
        stand.origin().fault(fault.clone());
        for headers in [&[][..], &[WHOLE], &[("If-Match", etag.as_str())]] {
            let answer = stand.get(TARGET, headers).await;
            let what = format!("{fault:?}, {headers:?}");
            if kept {
                assert_whole(&answer, &what);
                assert!(
                    answer.header("cache-status").starts_with("seekway; hit; ttl=-"),
                    "{what}: {answer:?}"
                );
                assert!(answer.has("age"), "{what}");
            } else {
                assert_problem(&stand, &answer, 404, &what);
            }
        }
        stand.origin().release_hung();
    }
    let stand = stand(&[&always_ask[..], &[("STALE_IF_ERROR", "0s")]].concat());
    assert_whole(&stand.get(TARGET, &[WHOLE]).await, "while it is well");
    stand.origin().fault(Fault::Status(StatusCode::SERVICE_UNAVAILABLE));
    assert_problem(&stand, &stand.get(TARGET, &[WHOLE]).await, 503, "nothing stale is wanted");
}

#[tokio::test]
async fn a_replaced_object_becomes_visible() {
    let next = || Object::pattern(2 * SIZE, SEED + 1);
    let at_once = stand(&[("METADATA_TTL", "0s"), ("STALE_WHILE_REVALIDATE", "0s")]);
    assert_whole(&at_once.get(TARGET, &[WHOLE]).await, "the first version");
    at_once.origin().put(BUCKET, KEY, next());
    let answer = at_once.get(TARGET, &[("Range", "bytes=1500000-1500009")]).await;
    assert_eq!((answer.status, answer.header("etag")), (206, next().etag()));
    assert_pattern(SEED + 1, 1_500_000, &answer.body, "the second version");
    at_once.origin().remove(BUCKET, KEY);
    assert_eq!(at_once.get(TARGET, &[WHOLE]).await.status, 404);

    let soon = stand(&[("METADATA_TTL", "20ms"), ("STALE_WHILE_REVALIDATE", "1h")]);
    assert_whole(&soon.get(TARGET, &[WHOLE]).await, "the first version");
    soon.origin().put(BUCKET, KEY, next());
    let answer = until("the second version", async || {
        let answer = soon.get(TARGET, &[WHOLE]).await;
        if answer.header("etag") == next().etag() {
            return Some(answer);
        }
        assert_whole(&answer, "still the first version, whole");
        None
    });
    assert_pattern(SEED + 1, 0, &answer.await.body, "the second version");

    let missing = stand(&[("NEGATIVE_TTL", "50ms")]);
    assert_eq!(missing.get("/media/new.mp4", &[]).await.status, 404);
    missing.put_pattern("new.mp4", 10, SEED);
    until("the new object", async || (missing.get("/media/new.mp4", &[]).await.status == 200).then_some(()))
        .await;
    let asked = missing.origin().log().iter().filter(|logged| logged.key == "new.mp4").count();
    assert!(asked >= 2, "asked again once the time is over");
}

/// Further attempts, which the other tests switch off.
#[tokio::test]
async fn a_short_failure_is_retried_and_not_seen() {
    let stand = stand(&[("SEEKWAY_S3_ATTEMPTS", "3")]);
    stand.origin().fault(Fault::Status(StatusCode::SERVICE_UNAVAILABLE).times(2));
    assert_whole(&stand.get(TARGET, &[WHOLE]).await, "the third attempt");
    assert_eq!(stand.origin().counts().gets, 3);
}
