//! RFC 9110 §14 on the wire, over both stores.

mod multipart;

use std::ops::Range;

use crate::support::wire::{Answer, Wire};
use crate::support::{Stand, WRITTEN, assert_pattern};

use multipart::Part;

/// Four whole segments and a short one.
const SIZE: u64 = 300_000;
const SEED: u64 = 7;

/// What a GET is answered with.
enum Expected {
    /// 200 with everything.
    Full,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 206 with these parts in this order.
    Parts(Vec<Range<u64>>),
    /// 416.
    Unsatisfiable,
}

use Expected::{Full, Part as One, Parts, Unsatisfiable};

/// Every header field that each answer with bytes of an object carries, and what it says.
#[track_caller]
fn assert_media_headers(answer: &Answer, what: &str) {
    let header = |name: &str| answer.header(name);
    let etag = header("etag");
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{what}: strong ETag, {etag}");
    assert_eq!(header("last-modified"), WRITTEN, "{what}");
    assert_eq!(header("accept-ranges"), "bytes", "{what}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(header("content-security-policy"), "sandbox", "{what}");
    assert_eq!(header("access-control-allow-origin"), "*", "{what}");
    let exposed = header("access-control-expose-headers").to_ascii_lowercase();
    let exposed: Vec<&str> = exposed.split(", ").collect();
    for name in ["content-range", "content-length", "accept-ranges", "etag", "cache-status"] {
        assert!(exposed.contains(&name), "{what}: {name} is not exposed by {exposed:?}");
    }
    assert!(httpdate::parse_http_date(header("date")).is_ok(), "{what}: Date");
    assert!(!header("x-request-id").is_empty() && header("server") == "seekway", "{what}");
    assert!(header("server-timing").starts_with("cache;desc="), "{what}");
    assert_cache_status(header("cache-status"), what);
}

/// One member of RFC 9211 §2, with the parameters that we use.
#[track_caller]
fn assert_cache_status(text: &str, what: &str) {
    let mut pieces = text.split("; ");
    assert_eq!(pieces.next(), Some("seekway"), "{what}: {text}");
    let parameters: Vec<&str> = pieces.collect();
    for parameter in &parameters {
        let known = match parameter.split_once('=') {
            None => ["hit", "stored", "collapsed"].contains(parameter),
            Some(("fwd", reason)) => reason == "uri-miss" || reason == "partial",
            Some(("ttl", seconds)) => seconds.parse::<i64>().is_ok(),
            Some(_) => false,
        };
        assert!(known, "{what}: {text}");
    }
    let hit = parameters.contains(&"hit");
    let forwarded = parameters.iter().any(|parameter| parameter.starts_with("fwd="));
    assert!(hit != forwarded, "{what}: either it was there or it was fetched, {text}");
}

fn content_range(range: &Range<u64>) -> String {
    format!("bytes {}-{}/{SIZE}", range.start, range.end - 1)
}

async fn check(wire: &mut Wire, headers: &[(&str, &str)], expected: Expected) -> Answer {
    let what = format!("{headers:?}");
    let answer = wire.ask("GET", "/media/films/film.mp4", headers).await;
    assert!(answer.complete && answer.version == "HTTP/1.1", "{what}: {answer:?}");
    assert_eq!(answer.announced, Some(answer.body.len() as u64), "{what}");
    if let Unsatisfiable = expected {
        assert_eq!(answer.status, 416, "{what}");
        assert_eq!(answer.header("content-range"), format!("bytes */{SIZE}"), "{what}");
        answer.problem();
        return answer;
    }
    assert_media_headers(&answer, &what);
    match expected {
        Full => {
            assert_eq!((answer.status, answer.header("content-range")), (200, ""), "{what}");
            assert_eq!(answer.body.len() as u64, SIZE, "{what}");
            assert_eq!(answer.header("content-type"), "video/mp4", "{what}");
            assert_pattern(SEED, 0, &answer.body, &what);
        }
        One(range) => {
            assert_eq!(answer.status, 206, "{what}");
            assert_eq!(answer.header("content-range"), content_range(&range), "{what}");
            assert_eq!(answer.body.len() as u64, range.end - range.start, "{what}");
            assert_eq!(answer.header("content-type"), "video/mp4", "{what}");
            assert_pattern(SEED, range.start, &answer.body, &what);
        }
        Parts(ranges) => {
            assert_eq!((answer.status, answer.header("content-range")), (206, ""), "{what}");
            let parts = multipart::parse(answer.header("content-type"), &answer.body);
            assert_eq!(parts.len(), ranges.len(), "{what}");
            for (Part { headers, body }, range) in parts.iter().zip(&ranges) {
                let expected = [
                    ("content-type".to_owned(), "video/mp4".to_owned()),
                    ("content-range".to_owned(), content_range(range)),
                ];
                assert_eq!(headers[..], expected, "{what}");
                assert_eq!(body.len() as u64, range.end - range.start, "{what}");
                assert_pattern(SEED, range.start, body, &what);
            }
        }
        Unsatisfiable => unreachable!("returned above"),
    }
    answer
}

#[tokio::test]
async fn ranges_of_both_stores() {
    for stand in Stand::both(&[]) {
        stand.put_pattern("films/film.mp4", SIZE, SEED);
        // All on one connection: an answer that is longer or shorter than it says spoils the next one.
        let mut wire = stand.connect().await;
        for (range, expected) in [
            ("bytes=0-0", One(0..1)),
            // Safari's probe, and what it and others ask for first: 206, or they do not seek.
            ("bytes=0-1", One(0..2)),
            ("bytes=0-", One(0..SIZE)),
            ("bytes=0-299999", One(0..SIZE)),
            ("bytes=100-199", One(100..200)),
            ("bytes=65535-65536", One(65_535..65_537)),
            ("bytes=65536-131071", One(65_536..131_072)),
            ("bytes=1-262144", One(1..262_145)),
            ("bytes=299999-", One(299_999..SIZE)),
            ("bytes=299999-299999", One(299_999..SIZE)),
            ("bytes=299000-400000", One(299_000..SIZE)),
            ("bytes=-1", One(299_999..SIZE)),
            ("bytes=-500", One(299_500..SIZE)),
            ("bytes=-300000", One(0..SIZE)),
            ("bytes=-300001", One(0..SIZE)),
            ("BYTES=5-9", One(5..10)),
            ("bytes= 5-9 ", One(5..10)),
            ("bytes=,, 5-9 ,", One(5..10)),
            ("bytes=000000000000000000000000005-0000000000000000000000000000009", One(5..10)),
            ("bytes=5-99999999999999999999999999999999", One(5..SIZE)),
            ("bytes=-99999999999999999999999999999999", One(0..SIZE)),
            ("bytes=5-18446744073709551615", One(5..SIZE)),
            ("bytes=-18446744073709551615", One(0..SIZE)),
            ("bytes=300000-", Unsatisfiable),
            ("bytes=300000-300001", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=18446744073709551615-", Unsatisfiable),
            ("bytes=18446744073709551616-18446744073709551617", Unsatisfiable),
            ("bytes=99999999999999999999999999999999-", Unsatisfiable),
            ("bytes=300000-300001,400000-", Unsatisfiable),
            ("items=0-1", Full),
            ("bytes", Full),
            ("bytes=", Full),
            ("bytes=,", Full),
            ("bytes=-", Full),
            ("bytes=5-4", Full),
            ("bytes=a-b", Full),
            ("bytes=0--1", Full),
            ("bytes=+1-5", Full),
            ("bytes=1-5x", Full),
            ("bytes=0x1-5", Full),
            ("bytes 0-5", Full),
            ("bytes=0-1,x", Full),
            ("bytes=0-1;2-3", Full),
            ("none", Full),
        ] {
            check(&mut wire, &[("Range", range)], expected).await;
        }
        check(&mut wire, &[], Full).await;
        check(&mut wire, &[("Range", "bytes=0-1"), ("Range", "bytes=5-9")], Full).await;
    }
}

#[tokio::test]
async fn several_ranges_of_both_stores() {
    for stand in Stand::both(&[]) {
        stand.put_pattern("films/film.mp4", SIZE, SEED);
        let mut wire = stand.connect().await;
        for (range, expected) in [
            ("bytes=0-9,1000-1009", Parts(vec![0..10, 1000..1010])),
            // In the order asked for, across segments, with a suffix and without what selects nothing.
            (
                "bytes=200000-200009, 65530-65545 ,-3",
                Parts(vec![200_000..200_010, 65_530..65_546, 299_997..SIZE]),
            ),
            ("bytes=0-0,400000-,2000-2000", Parts(vec![0..1, 2000..2001])),
            ("bytes=0-0,400000-400001", One(0..1)),
            // What touches, overlaps or nearly touches is one range.
            ("bytes=0-9,10-19", One(0..20)),
            ("bytes=0-99,50-149", One(0..150)),
            ("bytes=50-149,0-99", One(0..150)),
            ("bytes=0-9,20-29", One(0..30)),
            ("bytes=0-,0-", One(0..SIZE)),
            // As long as everything is: then everything is simpler.
            ("bytes=0-149500,150000-", Full),
            ("bytes=0-1,300-", Full),
        ] {
            check(&mut wire, &[("Range", range)], expected).await;
        }
        let asked = [("Range", "bytes=0-1,1000-1001")];
        let one = check(&mut wire, &asked, Parts(vec![0..2, 1000..1002])).await;
        let other = check(&mut wire, &asked, Parts(vec![0..2, 1000..1002])).await;
        assert_ne!(
            one.header("content-type"),
            other.header("content-type"),
            "each body has its own boundary"
        );
    }
}

/// RFC 9110 §17.15: many small or overlapping ranges must not make the server work for nothing.
#[tokio::test]
async fn an_attack_with_ranges_gets_no_more_than_the_object() {
    for stand in Stand::both(&[]) {
        stand.put_pattern("films/film.mp4", SIZE, SEED);
        let mut wire = stand.connect().await;
        let repeated = |range: &str, times| format!("bytes={}", vec![range; times].join(","));
        let scattered = |count: u64| {
            let ranges: Vec<String> = (0..count).map(|nth| format!("{}-{}", nth * 290, nth * 290)).collect();
            format!("bytes={}", ranges.join(","))
        };
        let backwards: Vec<String> = (0..32).rev().map(|nth| format!("{}-", nth * 5000)).collect();
        for range in [
            repeated("0-", 1000),
            repeated("0-", 32),
            repeated("-299999", 32),
            repeated("0-299999", 500),
            scattered(1000),
            scattered(33),
            scattered(32),
            format!("bytes={}", backwards.join(",")),
        ] {
            let answer = wire.ask("GET", "/media/films/film.mp4", &[("Range", &range)]).await;
            let shown = &range[..40];
            assert!(answer.status == 200 || answer.status == 206, "{shown}…: {}", answer.status);
            assert!(answer.complete && answer.body.len() as u64 <= SIZE + 16 * 1024, "{shown}…");
        }
        let most = scattered(32);
        let singles = (0..32).map(|nth| nth * 290..nth * 290 + 1).collect();
        let answer = check(&mut wire, &[("Range", &most)], Parts(singles)).await;
        assert!(answer.body.len() < 32 * 256, "what parts cost is bounded");
        if stand.is_s3() {
            assert_eq!(stand.origin().counts().body_bytes, SIZE, "nothing was fetched twice");
        }
    }
}

#[tokio::test]
async fn an_empty_object_has_no_ranges() {
    for stand in Stand::both(&[]) {
        stand.put_pattern("films/film.mp4", 0, SEED);
        let mut wire = stand.connect().await;
        for range in ["bytes=0-", "bytes=0-0", "bytes=-0", "bytes=5-", "bytes=0-,5-"] {
            let answer = wire.ask("GET", "/media/films/film.mp4", &[("Range", range)]).await;
            assert_eq!((answer.status, answer.header("content-range")), (416, "bytes */0"), "{range}");
        }
        // Satisfiable (RFC 9110 §14.1.2), but there is no Content-Range that says so.
        for headers in [&[("Range", "bytes=-5")][..], &[]] {
            let answer = wire.ask("GET", "/media/films/film.mp4", headers).await;
            assert_eq!((answer.status, answer.announced), (200, Some(0)), "{headers:?}");
            assert_media_headers(&answer, "an empty object");
        }
        let answer = wire.ask("HEAD", "/media/films/film.mp4", &[]).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, "0"));
    }
}

/// RFC 9110 §14.2: ranges are for GET.
#[tokio::test]
async fn head_has_the_headers_and_length_of_a_whole_get() {
    for stand in Stand::both(&[]) {
        stand.put_pattern("films/film.mp4", SIZE, SEED);
        let mut wire = stand.connect().await;
        for range in ["bytes=0-1", "bytes=300000-", "bytes=0-1,1000-1001", "x"] {
            let answer = wire.ask("HEAD", "/media/films/film.mp4", &[("Range", range)]).await;
            assert_eq!((answer.status, answer.header("content-range")), (200, ""), "{range}");
            assert_eq!(answer.header("content-length"), SIZE.to_string(), "{range}");
            assert_eq!(answer.header("content-type"), "video/mp4", "{range}");
            assert_media_headers(&answer, "HEAD");
        }
        if stand.is_s3() {
            assert_eq!(stand.origin().counts().gets, 0, "a HEAD fetches no bytes");
        }
        // A body after a HEAD would be read here as the start of the next answer.
        check(&mut wire, &[("Range", "bytes=5-9")], One(5..10)).await;
        let missing = wire.ask("HEAD", "/media/none", &[]).await;
        assert_eq!(missing.status, 404);
        check(&mut wire, &[("Range", "bytes=5-9")], One(5..10)).await;
    }
}

#[tokio::test]
async fn what_is_not_there_has_no_ranges() {
    for stand in Stand::both(&[]) {
        let mut wire = stand.connect().await;
        for range in ["bytes=0-1", "bytes=-1", "bytes=5-4", "bytes=0-1,5-6", "bytes=99999999999-"] {
            let answer = wire.ask("GET", "/media/films/none.mp4", &[("Range", range)]).await;
            assert_eq!((answer.status, answer.header("content-range")), (404, ""), "{range}");
            answer.problem();
        }
    }
}

#[tokio::test]
async fn an_answer_says_how_old_its_knowledge_is() {
    let [local, s3] = Stand::both(&[]);
    for stand in [&local, &s3] {
        stand.put_pattern("films/film.mp4", SIZE, SEED);
    }
    let mut wire = local.connect().await;
    for _ in 0..2 {
        let answer = check(&mut wire, &[], Full).await;
        assert!(!answer.has("age"), "a folder is asked each time");
    }
    let mut wire = s3.connect().await;
    let first = check(&mut wire, &[("Range", "bytes=0-9")], One(0..10)).await;
    assert!(!first.has("age"), "just asked");
    assert!(first.header("cache-status").starts_with("seekway; fwd=uri-miss"), "{first:?}");
    let second = check(&mut wire, &[("Range", "bytes=0-9")], One(0..10)).await;
    assert!(second.header("age").parse::<u64>().is_ok_and(|age| age <= 10), "{second:?}");
    assert!(second.header("cache-status").starts_with("seekway; hit; ttl="), "{second:?}");
}

/// RFC 9211 §2.7 and §2.8: `collapsed` is for those whose request was spared.
#[tokio::test]
async fn the_first_reader_of_a_cold_object_is_not_collapsed_with_itself() {
    let stand = Stand::s3(&[]);
    stand.put_pattern("films/film.mp4", SIZE, SEED);
    let mut wire = stand.connect().await;
    let first = check(&mut wire, &[("Range", "bytes=0-9")], One(0..10)).await;
    assert_eq!(first.header("cache-status"), "seekway; fwd=uri-miss; stored", "nobody else asked for it");
    assert!(first.header("server-timing").starts_with("cache;desc=filled"), "{first:?}");
}

#[tokio::test]
async fn a_download_has_a_name() {
    for stand in Stand::both(&[]) {
        stand.put_pattern("films/Fête 1.mp4", 10, SEED);
        let plain = stand.get("/media/films/F%C3%AAte%201.mp4", &[]).await;
        assert_eq!((plain.status, plain.header("content-disposition")), (200, ""));
        for query in ["?download=1", "?x=y&download=1"] {
            let target = format!("/media/films/F%C3%AAte%201.mp4{query}");
            let answer = stand.get(&target, &[("Range", "bytes=2-3")]).await;
            assert_eq!((answer.status, answer.body.len()), (206, 2));
            let expected = "attachment; filename=\"F_te 1.mp4\"; filename*=UTF-8''F%C3%AAte%201.mp4";
            assert_eq!(answer.header("content-disposition"), expected);
        }
    }
}
