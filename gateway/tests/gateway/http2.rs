//! HTTP/2: the same answers, many at a time, and nobody takes more than a share.

use std::time::Duration;

use seekway_loadtests::h2load;
use seekway_loadtests::origin::{Fault, Object};
use tokio::time::sleep;

use crate::support::h2::{
    END, Frames, GOAWAY, HEADERS, Http2, PING, PREFACE, RST_STREAM, frame, get, get_of, read_some, whole,
};
use crate::support::tools::stdout_of;
use crate::support::wire::{Wire, head};
use crate::support::{BUCKET, Stand, assert_pattern};

const SIZE: u64 = 300_000;
const SEED: u64 = 71;
const TARGET: &str = "/media/film.mp4";
const MIB: u64 = 1 << 20;

fn stand(env: &[(&str, &str)]) -> Stand {
    let stand = Stand::local(env);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand
}

#[tokio::test]
async fn answers_are_those_of_http1() {
    let stand = stand(&[]);
    let mut http2 = Http2::connect(stand.address()).await;
    for (method, target, range) in [
        ("GET", TARGET, "bytes=70000-70009"),
        ("GET", TARGET, ""),
        ("GET", TARGET, "bytes=0-9,1000-1009"),
        ("HEAD", TARGET, ""),
        ("OPTIONS", TARGET, ""),
        ("GET", TARGET, "bytes=300000-"),
        ("GET", "/media/none", ""),
        ("PUT", TARGET, ""),
        ("GET", "/api/health", ""),
        ("GET", "/api/objects", ""),
    ] {
        let headers: &[_] = if range.is_empty() { &[] } else { &[("range", range)] };
        let answer = http2.ask(method, target, headers).await;
        let other = stand.ask(method, target, headers).await;
        assert_eq!(answer.status.as_u16(), other.status, "{method} {target} {range}");
        if !range.contains(',') && other.status < 400 {
            assert_eq!(&answer.body[..], other.body, "{method} {target} {range}");
        }
        for (name, value) in &other.headers {
            // What is of the moment or of the request; several ranges have a boundary in between.
            let passing = ["date", "x-request-id", "server-timing", "cache-status", "age", "content-length"];
            let is_boundary = name == "content-type" && range.contains(',');
            if !is_boundary && !passing.contains(&name.as_str()) {
                assert_eq!(answer.header(name), value, "{name} of {method} {target} {range}");
            }
        }
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            assert!(!answer.headers.contains_key(name), "{name} has no place in HTTP/2");
        }
        assert!(!answer.header("x-request-id").is_empty());
    }
}

#[tokio::test]
async fn curl_speaks_it_by_prior_knowledge() {
    let stand = stand(&[]);
    let url = format!("http://{}{TARGET}", stand.address());
    let written = "%{http_version} %{response_code} %{size_download}";
    let arguments = ["-s", "-o", "/dev/null", "-w", written, "-r", "5-104", "--http2-prior-knowledge", &url];
    assert_eq!(stdout_of("curl", &arguments), "2 206 100");
}

#[tokio::test]
async fn two_hosts_are_one_too_many() {
    let stand = stand(&[]);
    let mut http2 = Http2::connect(stand.address()).await;
    assert_eq!(http2.ask("GET", TARGET, &[("host", "gateway.test")]).await.status, 200);
    assert_eq!(http2.ask("GET", TARGET, &[("host", "other.test")]).await.status, 400);
    assert_eq!(http2.ask("GET", TARGET, &[]).await.status, 200, "the connection goes on");
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let stand = stand(&[("SEEKWAY_HEADER_BYTES_MAX", "8KiB")]);
    let mut http2 = Http2::connect(stand.address()).await;
    let large = "x".repeat(10_000);
    // hyper's client heeds the announced limit itself and sends nothing, or the gateway says 431.
    if let Ok(answer) = http2.send("GET", TARGET, &[("x-large", &large)]).await {
        assert_eq!(answer.status(), 431);
    }
    let mut http2 = Http2::connect(stand.address()).await;
    assert_eq!(http2.ask("GET", TARGET, &[("a", "b"); 64]).await.status, 200);
    assert_eq!(http2.ask("GET", TARGET, &[("a", "b"); 65]).await.status, 431);
    assert_eq!(http2.ask("GET", TARGET, &[]).await.status, 200);
}

#[tokio::test]
async fn a_broken_body_is_a_reset_stream_and_the_others_go_on() {
    // Further than is read ahead, or all of it might have come before it is replaced.
    const FAR: u64 = 100_000_000;
    let stand = Stand::s3(&[]);
    stand.put_pattern("film.mp4", FAR, SEED);
    stand.put_pattern("other.mp4", SIZE, SEED + 1);
    let mut http2 = Http2::connect(stand.address()).await;
    stand.origin().fault(Fault::HangAfter(100_000).times(1));
    let broken = http2.send("GET", TARGET, &[]).await.expect("a head");
    assert_eq!(broken.status(), 200);
    // The rest is of another version: it cannot be had any more.
    stand.origin().put(BUCKET, "film.mp4", Object::pattern(FAR, SEED + 2));
    stand.origin().fault(Fault::Close.times(64));
    stand.origin().release_hung();
    let other = tokio::spawn(whole(broken.into_body()));
    let Err(error) = other.await.expect("no panic") else { panic!("it is whole") };
    assert!(!error.is_closed() && format!("{error:?}").contains("Reset"), "{error:?}");
    stand.origin().clear_faults();
    let other = http2.ask("GET", "/media/other.mp4", &[]).await;
    assert_pattern(SEED + 1, 0, &other.body, "the other stream");
    assert_eq!(other.body.len() as u64, SIZE);
}

/// A client that reads some of each response and then none holds little more with a hundred streams than with one
/// connection of HTTP/1, and takes nothing from others.
#[tokio::test]
async fn a_hundred_paused_streams_hold_one_share() {
    const STREAMS: u64 = 100;
    // What a stream always gets, and the segment that it hands on.
    const SMALLEST_RUN: u64 = 256 * 1024 + 64 * 1024;
    let stand = Stand::s3(&[("CACHE_MEMORY_BYTES", "0"), ("MEMORY_BUDGET_BYTES", "2GiB")]);
    stand.put_pattern("film.mp4", 2 << 30, SEED);

    let mut one = stand.connect().await;
    one.send(head("GET", TARGET, &[])).await;
    one.answer_head("GET").await;
    one.exactly(24 << 20).await;
    let held_by_one = settled(&stand).await;
    assert!(held_by_one > 24 * MIB, "its window is open: {held_by_one}");
    drop(one);
    stand.until("it is gone", |stats| stats.budget_in_use_bytes == 0).await;

    let mut http2 = Http2::connect(stand.address()).await;
    let mut paused = Vec::new();
    for nth in 0..STREAMS {
        let range = format!("bytes={}-", nth * 20 * MIB);
        let mut body = http2.send("GET", TARGET, &[("range", &range)]).await.expect("a head").into_body();
        read_some(&mut body, 3 << 20).await;
        paused.push(body);
    }
    let held = settled(&stand).await;
    let share = held_by_one + STREAMS * SMALLEST_RUN;
    println!("one paused reader holds {held_by_one} bytes, {STREAMS} streams {held}");
    assert!(held <= share, "{held} bytes are more than {share}");

    let mut other = stand.connect().await;
    let answer = other.ask("GET", TARGET, &[("Range", "bytes=2100000000-2104194303")]).await;
    assert_pattern(SEED, 2_100_000_000, &answer.body, "another client");
    assert_eq!((answer.body.len() as u64, stand.stats().budget_waiting), (4 * MIB, 0));
    drop(paused);
    stand.until("all is given back", |stats| stats.budget_in_use_bytes == 0).await;
}

/// What is held when nothing is under way any more.
async fn settled(stand: &Stand) -> u64 {
    stand.origin().until(|counts| counts.in_flight == 0).await.expect("reads come to rest");
    stand.until("fills end", |stats| stats.fills_running == 0).await.budget_in_use_bytes
}

#[tokio::test]
async fn a_stream_whose_client_opens_no_window_is_ended() {
    let stand = Stand::local(&[("SEEKWAY_WRITE_STALL_TIMEOUT", "300ms")]);
    stand.put_pattern("large.mp4", 8 * MIB, SEED);
    let mut http2 = Http2::connect(stand.address()).await;
    let paused = http2.send("GET", "/media/large.mp4", &[]).await.expect("a head");
    // Nothing is read until then, and then not all is there.
    http2.ended().await;
    assert!(whole(paused.into_body()).await.is_err(), "cut");
    stand.until_quiet().await;
}

/// A client that only says that it is still there takes nothing of a response.
#[tokio::test]
async fn pings_do_not_keep_a_shut_window_open() {
    let stand = Stand::local(&[("SEEKWAY_WRITE_STALL_TIMEOUT", "600ms"), ("SEEKWAY_IDLE_TIMEOUT", "1h")]);
    stand.put_pattern("large.mp4", 8 * MIB, SEED);
    let mut frames = Frames::connect(stand.address()).await;
    frames.send(PREFACE).await;
    // END_HEADERS and END_STREAM; :method GET, :scheme http, :path and :authority as literals (RFC 7541 §6.2.2).
    let mut head = vec![0x82, 0x86, 0x04, 16];
    head.extend(b"/media/large.mp4");
    head.extend([0x01, 1, b'h']);
    frames.send(&frame(HEADERS, 0x4 | 0x1, 1, &head)).await;
    let pinging = async {
        while frames.try_send(&frame(PING, 0, 0, b"12345678")).await {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, pinging)
        .await
        .expect("the connection ends under its PINGs");
    stand.until_quiet().await;
}

#[tokio::test]
async fn waiting_for_the_store_is_no_stall() {
    let stand = Stand::s3(&[("SEEKWAY_WRITE_STALL_TIMEOUT", "200ms"), ("SEEKWAY_IDLE_TIMEOUT", "200ms")]);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand.origin().fault(Fault::HangAfter(100_000).times(1));
    let mut http2 = Http2::connect(stand.address()).await;
    let mut slow = http2.send("GET", TARGET, &[]).await.expect("a head").into_body();
    let read = read_some(&mut slow, 65_536).await;
    let rest = tokio::spawn(whole(slow));
    sleep(Duration::from_secs(1)).await;
    stand.origin().release_hung();
    let rest = rest.await.expect("no panic").expect("the rest");
    assert_eq!((read + rest.len()) as u64, SIZE);
}

#[tokio::test]
async fn an_idle_connection_is_no_half_sent_head() {
    let stand = stand(&[("SEEKWAY_HEADER_TIMEOUT", "200ms"), ("SEEKWAY_IDLE_TIMEOUT", "1h")]);
    let mut frames = Frames::connect(stand.address()).await;
    frames.send(PREFACE).await;
    frames.send(&frame(PING, 0, 0, b"12345678")).await;
    assert_eq!(frames.next(PING).await.expect("a PONG"), b"12345678");
    sleep(Duration::from_millis(600)).await;
    frames.send(&frame(HEADERS, END, 1, &get("/api/health"))).await;
    assert!(frames.next(HEADERS).await.is_some(), "it is still served");
}

#[tokio::test]
async fn idle_and_half_open_connections_end() {
    for (setting, sent) in [("SEEKWAY_IDLE_TIMEOUT", PREFACE), ("SEEKWAY_HEADER_TIMEOUT", &PREFACE[..10])] {
        let stand = stand(&[(setting, "200ms")]);
        let mut frames = Frames::connect(stand.address()).await;
        frames.send(sent).await;
        assert!(frames.next(0xff).await.is_none(), "{setting} ends it");
    }
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let stand = stand(&[]);
    let mut frames = Frames::connect(stand.address()).await;
    let mut flood = PREFACE.to_vec();
    for nth in 0..1000 {
        flood.extend(frame(HEADERS, END, 2 * nth + 1, &get(TARGET)));
        flood.extend(frame(RST_STREAM, 0, 2 * nth + 1, &8_u32.to_be_bytes()));
    }
    frames.send(&flood).await;
    let goaway = frames.next(GOAWAY).await.expect("it is told why");
    assert_eq!(goaway[4..8], 11_u32.to_be_bytes(), "ENHANCE_YOUR_CALM");
    let mut other = stand.connect().await;
    assert_eq!(other.ask("GET", TARGET, &[]).await.body.len() as u64, SIZE);
    stand.until_quiet().await;
}

#[tokio::test]
async fn a_drain_finishes_streams_and_takes_no_more() {
    let mut stand = Stand::s3(&[("SEEKWAY_DRAIN_TIMEOUT", "1h")]);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand.origin().fault(Fault::HangAfter(100_000).times(1));
    let mut http2 = Http2::connect(stand.address()).await;
    let running = http2.send("GET", TARGET, &[]).await.expect("a head").into_body();
    let idle = Http2::connect(stand.address()).await;
    stand.gateway().drain();
    idle.ended().await;
    stand.origin().release_hung();
    let body = whole(running).await.expect("the running response is whole");
    assert_eq!(body.len() as u64, SIZE);
    assert_pattern(SEED, 0, &body, "the running response");
    http2.ended().await;
    let gateway = stand.take_gateway();
    tokio::task::spawn_blocking(move || gateway.join()).await.expect("no panic");
}

/// RFC 9113 §6.8: first that there will be an end, for requests on their way; then which request was the last.
#[tokio::test]
async fn a_drain_says_twice_that_it_goes_away() {
    let stand = Stand::s3(&[("SEEKWAY_DRAIN_TIMEOUT", "1h")]);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand.origin().fault(Fault::Hang.times(1));
    let mut frames = Frames::connect(stand.address()).await;
    frames.send(PREFACE).await;
    frames.send(&frame(HEADERS, END, 1, &get(TARGET))).await;
    stand.origin().until(|counts| counts.in_flight == 1).await.expect("the origin is asked");
    stand.gateway().drain();
    let goaway = async |frames: &mut Frames| frames.next(GOAWAY).await.expect("it is told");
    let ids = |last: u32| [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
    assert_eq!(goaway(&mut frames).await, ids(0x7fff_ffff));
    // A request that was on its way is served; the PING between the two has found out that there is no other.
    frames.send(&frame(HEADERS, END, 3, &get("/api/health"))).await;
    let ping = frames.next(PING).await.expect("a PING");
    frames.send(&frame(PING, 1, 0, &ping)).await;
    assert_eq!(goaway(&mut frames).await, ids(3));
    stand.origin().release_hung();
}

/// RFC 9110 §4.2.4, RFC 9113 §8.3.1: no user before the host.
#[tokio::test]
async fn a_user_in_the_authority_is_refused() {
    let stand = stand(&[]);
    // RFC 7541, appendix A: `:status` 200 and 400 have places of their own.
    for (authority, status) in [("a.test", 0x88), ("user@a.test", 0x8c), ("user:secret@a.test", 0x8c)] {
        let mut frames = Frames::connect(stand.address()).await;
        frames.send(PREFACE).await;
        frames.send(&frame(HEADERS, END, 1, &get_of(authority, "/api/health"))).await;
        let head = frames.next(HEADERS).await.expect("an answer");
        // The encoder may begin with the size of its table (§6.3).
        assert_eq!(head.iter().find(|byte| **byte >= 0x80), Some(&status), "{authority}");
    }
}

#[tokio::test]
async fn a_client_of_http1_whose_request_begins_like_the_preface_is_served() {
    let stand = stand(&[]);
    let mut wire = Wire::connect(stand.address()).await;
    wire.send("P").await;
    wire.send("RI").await;
    wire.send("NT / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(wire.answer("GET").await.status, 405);
}

#[tokio::test]
async fn h2load_has_no_failures() {
    let stand = stand(&[]);
    let url = format!("http://{}{TARGET}", stand.address());
    let range = "range: bytes=1000-66535";
    let figures = h2load::run(&["-n", "3000", "-c", "10", "-m", "100", "-H", range, &url]).await;
    assert_eq!(figures.expect("all went well").requests, 3000);
    stand.until_quiet().await;
}
