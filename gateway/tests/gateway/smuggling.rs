//! Bytes that two readers could take for different requests, and bytes that are none: each has one answer, and
//! nothing that comes after it on the connection is a request.

use crate::support::wire::{Wire, head};
use crate::support::{Stand, assert_pattern};

const SIZE: u64 = 100_000;
const SEED: u64 = 71;
const TARGET: &str = "/media/film.mp4";
const PART: (&str, &str) = ("Range", "bytes=70000-70009");
/// If this is answered (with 404), it was smuggled in.
const SMUGGLED: &str = "GET /media/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn stand(env: &[(&str, &str)]) -> Stand {
    let stand = Stand::local(env);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand
}

/// The request is answered with `status` and a problem document, and the connection ends: sent at once, and byte
/// by byte.
async fn refused(stand: &Stand, request: &str, status: u16) {
    let sent = format!("{request}{SMUGGLED}");
    for is_slow in [false, true] {
        let mut wire = stand.connect().await;
        let pieces = if is_slow { 1 } else { sent.len() };
        for piece in sent.as_bytes().chunks(pieces) {
            // It may be refused before its end.
            if wire.try_send(piece).await.is_err() {
                break;
            }
        }
        let answer = wire.answer("GET").await;
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        assert!(answer.complete && !answer.problem()["detail"].as_str().expect("text").is_empty());
        assert_eq!(answer.header("connection"), "close", "{request:?}");
        assert_eq!(wire.until_closed().await, b"", "{request:?} is the last request of its connection");
    }
}

async fn refused_headers(stand: &Stand, headers: &str, status: u16) {
    refused(stand, &format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n"), status).await;
}

async fn check_alive(wire: &mut Wire) {
    let answer = wire.ask("GET", TARGET, &[PART]).await;
    assert_eq!((answer.status, answer.body.len()), (206, 10));
    assert_pattern(SEED, 70_000, &answer.body, "alive");
}

/// RFC 9112 §6.1, §6.3; RFC 9110 §8.6.
#[tokio::test]
async fn a_body_has_one_length() {
    let stand = stand(&[]);
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 44\r\nContent-Length: 44",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length:",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Content-Length : 5",
    ] {
        refused_headers(&stand, headers, 400).await;
    }
    refused_headers(&stand, "Transfer-Encoding: gzip, chunked", 501).await;
    refused_headers(&stand, "Content-Length: 18446744073709551621", 413).await;
    refused_headers(&stand, &format!("Content-Length: {}", "9".repeat(100)), 413).await;
    let old = format!("GET {TARGET} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    refused(&stand, &old, 400).await;
}

/// RFC 9112 §2.2, §5.
#[tokio::test]
async fn lines_end_in_one_way() {
    let stand = stand(&[]);
    for request in [
        format!("GET {TARGET} HTTP/1.1\nHost: a\n\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: a\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\n\n"),
        format!("\nGET {TARGET} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\rHost: a\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nX\n: b\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\n Host: a\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n"),
        format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    ] {
        refused(&stand, &request, 400).await;
    }
    let mut wire = stand.connect().await;
    wire.send("\r\n\r\n").await;
    check_alive(&mut wire).await;
}

/// RFC 9112 §3.2, §3.2.2; RFC 9110 §7.2, §4.2.4.
#[tokio::test]
async fn a_request_names_one_host() {
    let stand = stand(&[]);
    for hosts in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@a\r\n",
        "Host: a:b\r\n",
        "Host: ::1\r\n",
    ] {
        refused(&stand, &format!("GET {TARGET} HTTP/1.1\r\n{hosts}\r\n"), 400).await;
        refused(&stand, &format!("GET http://a{TARGET} HTTP/1.1\r\n{hosts}\r\n"), 400).await;
    }
    for request in [
        format!("GET {TARGET} HTTP/1.0\r\n\r\n"),
        format!("GET http://a.test:80{TARGET} HTTP/1.1\r\nHost: b\r\n\r\n"),
        format!("GET HTTPS://a.test{TARGET} HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
    ] {
        let mut wire = stand.connect().await;
        wire.send(&request).await;
        assert_eq!(wire.answer("GET").await.body.len() as u64, SIZE, "{request:?}");
    }
}

/// RFC 9112 §3.2.2: the target's host counts, not the one that somebody else could check.
#[tokio::test]
async fn an_absolute_targets_host_counts() {
    let stand = Stand::local(&[("SEEKWAY_LISTING", "auto")]);
    for (target, host, status) in [
        ("/api/objects", "localhost", 200),
        ("/api/objects", "a.test", 404),
        ("http://localhost/api/objects", "a.test", 200),
        ("http://a.test/api/objects", "localhost", 404),
    ] {
        let mut wire = stand.connect().await;
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(wire.answer("GET").await.status, status, "{target} {host}");
    }
}

/// RFC 9112 §3; RFC 9110 §9.3.6, §15.6.2, §15.6.6.
#[tokio::test]
async fn a_request_line_is_a_method_a_target_and_a_version() {
    let stand = stand(&[]);
    for (line, status) in [
        (&*format!("GET {TARGET}"), 400), // HTTP/0.9
        ("GET", 400),
        ("GARBAGE", 400),
        ("\x16\x03\x01\x02", 400), // TLS
        ("PRI * HTTP/2.0\r\n\r\nNO", 505),
        (&*format!("GET  {TARGET} HTTP/1.1"), 400),
        (&*format!("GET {TARGET}  HTTP/1.1"), 400),
        (&*format!("GET {TARGET} HTTP/1.1 "), 400),
        (&*format!(" GET {TARGET} HTTP/1.1"), 400),
        (&*format!("GET\t{TARGET}\tHTTP/1.1"), 400),
        (&*format!("GET {TARGET} x HTTP/1.1"), 400),
        (&*format!("G\"T {TARGET} HTTP/1.1"), 400),
        (&*format!("GET {TARGET} http/1.1"), 400),
        (&*format!("GET {TARGET} HTTP/11"), 400),
        (&*format!("GET {TARGET} HTTP/2.0"), 505),
        (&*format!("GET {TARGET} HTTP/3.7"), 505),
        (&*format!("GET {TARGET}#fragment HTTP/1.1"), 400),
        ("GET media/film.mp4 HTTP/1.1", 400),
        ("GET a.test:80 HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET ftp://a/b HTTP/1.1", 400),
        ("GET http://user@a/b HTTP/1.1", 400),
        ("CONNECT a.test:443 HTTP/1.1", 501),
        (&*format!("CONNECT {TARGET} HTTP/1.1"), 501),
        (&*format!("{} {TARGET} HTTP/1.1", "M".repeat(100)), 501),
    ] {
        refused(&stand, &format!("{line}\r\nHost: a\r\n\r\n"), status).await;
    }
    let mut wire = stand.connect().await;
    for (method, target, status) in
        [("TRACE", TARGET, 405), ("BREW", TARGET, 405), ("OPTIONS", "*", 204), ("REFUSED", "/", 405)]
    {
        assert_eq!(wire.ask(method, target, &[]).await.status, status, "{method} {target}");
    }
    check_alive(&mut wire).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_its_end() {
    let stand = stand(&[("SEEKWAY_HEADER_BYTES_MAX", "8KiB"), ("SEEKWAY_HEADERS_MAX", "16")]);
    let long = "x".repeat(20_000);
    for (request, status) in [
        (format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET /media/{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\n{long}: a\r\n\r\n"), 431),
        (format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(16)), 431),
        ("\r\n".repeat(10_000), 414),
        (long.clone(), 414),
    ] {
        // All at once: 20,000 single bytes would only be slow.
        let mut wire = stand.connect().await;
        drop(wire.try_send(request.as_bytes()).await);
        let answer = wire.answer("GET").await;
        assert_eq!(answer.status, status, "{:?}", &request[..40]);
        answer.problem();
        assert_eq!(wire.until_closed().await, b"");
    }
}

/// Its answer comes after all that were owed before it.
#[tokio::test]
async fn what_was_asked_before_a_bad_request_is_answered() {
    let stand = stand(&[]);
    let mut wire = stand.connect().await;
    let mut sent = head("GET", TARGET, &[]).repeat(20);
    sent.extend(b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n");
    wire.send(sent).await;
    for _ in 0..20 {
        let answer = wire.answer("GET").await;
        assert_pattern(SEED, 0, &answer.body, "before");
        assert!(answer.complete && answer.status == 200);
    }
    assert_eq!(wire.answer("GET").await.problem()["status"], 400);
    assert_eq!(wire.until_closed().await, b"");
}

#[tokio::test]
async fn a_thousand_requests_may_come_at_once() {
    let stand = stand(&[]);
    let mut wire = stand.connect().await;
    wire.send(head("GET", "/api/health", &[]).repeat(1000)).await;
    for nth in 0..1000 {
        assert_eq!(wire.answer("GET").await.status, 200, "request {nth}");
    }
    check_alive(&mut wire).await;
}

/// RFC 9110 §9.3.1: content of a GET has no meaning. What was announced is not the next request.
#[tokio::test]
async fn a_get_may_have_a_body_that_nobody_reads() {
    let stand = stand(&[]);
    for (framing, body) in [
        (format!("Content-Length: {}", SMUGGLED.len()), SMUGGLED.to_owned()),
        ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len())),
        ("Transfer-Encoding: chunked".to_owned(), format!("0\r\n\r\n{SMUGGLED}")),
        // Announced and not sent.
        ("Content-Length: 1000000".to_owned(), SMUGGLED.to_owned()),
        ("Expect: 100-continue\r\nContent-Length: 44".to_owned(), String::new()),
        ("Expect: something\r\nContent-Length: 0".to_owned(), String::new()),
    ] {
        let mut wire = stand.connect().await;
        let request =
            format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\n{framing}\r\n\r\n{body}");
        wire.send(&request).await;
        let answer = wire.answer("GET").await;
        assert_eq!((answer.status, answer.body.len()), (206, 10), "{request:?}");
        // Then either the connection ends, or it is the next request's turn.
        if wire.try_send(head("GET", TARGET, &[PART])).await.is_ok() {
            let rest = String::from_utf8_lossy(&wire.some(12).await).into_owned();
            assert!(rest.is_empty() || rest == "HTTP/1.1 206", "{request:?}: {rest}");
        }
    }
    // One that was sent whole costs the connection nothing.
    let mut wire = stand.connect().await;
    for _ in 0..3 {
        let request =
            format!("GET {TARGET} HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\nContent-Length: 5\r\n\r\nhello");
        wire.send(request).await;
        assert_eq!(wire.answer("GET").await.status, 206);
    }
    check_alive(&mut wire).await;
}

/// A large upload to where there is none: the answer must not be lost in the reset that unread bytes cause.
#[tokio::test]
async fn an_answer_before_the_end_of_a_body_arrives() {
    let stand = stand(&[]);
    let mut wire = stand.connect().await;
    let request = format!("POST {TARGET} HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n");
    wire.send(request).await;
    drop(wire.try_send(vec![b'x'; 900_000]).await);
    let answer = wire.answer("POST").await;
    assert_eq!((answer.status, answer.problem()["status"].as_u64()), (405, Some(405)));
}

/// RFC 9110 §7.8: a server may ignore Upgrade.
#[tokio::test]
async fn upgrades_are_not_taken_up() {
    let stand = stand(&[]);
    let mut wire = stand.connect().await;
    for upgrade in ["h2c", "websocket", "TLS/1.0"] {
        let settings = ("HTTP2-Settings", "AAMAAABkAAQAAP__");
        let asked = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", upgrade), settings, PART];
        let answer = wire.ask("GET", TARGET, &asked).await;
        assert_eq!((answer.status, answer.body.len()), (206, 10), "{upgrade}");
        check_alive(&mut wire).await;
    }
}
