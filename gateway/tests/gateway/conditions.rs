//! RFC 9110 §13 on the wire, over both stores, and the other methods of a media path.

use crate::support::wire::Wire;
use crate::support::{Stand, WRITTEN, assert_pattern};

const SIZE: u64 = 100_000;
const SEED: u64 = 11;
const TARGET: &str = "/media/film.mp4";
const BEFORE: &str = "Wed, 21 Oct 2015 07:27:59 GMT";
const AFTER: &str = "Wed, 21 Oct 2015 07:28:01 GMT";

async fn check(wire: &mut Wire, headers: &[(&str, &str)], status: u16, bytes: u64) {
    for method in ["GET", "HEAD"] {
        let what = format!("{method} {headers:?}");
        let answer = wire.ask(method, TARGET, headers).await;
        // HEAD knows no ranges (§14.2), so also none that cannot be satisfied.
        let expected = if method == "HEAD" && (status == 206 || status == 416) { 200 } else { status };
        assert_eq!(answer.status, expected, "{what}");
        assert!(answer.complete, "{what}");
        match answer.status {
            304 => {
                for name in ["etag", "last-modified", "date"] {
                    assert!(answer.has(name), "{what}: {name} (§15.4.5)");
                }
                for name in ["content-type", "content-range", "content-length", "accept-ranges"] {
                    assert!(!answer.has(name), "{what}: {name} is of a body that is not sent");
                }
            }
            200 | 206 if method == "GET" => {
                assert_eq!(answer.body.len() as u64, bytes, "{what}");
                assert_pattern(SEED, 0, &answer.body, &what);
            }
            412 | 416 if method == "GET" => drop(answer.problem()),
            _ => assert!(answer.body.is_empty(), "{what}"),
        }
    }
}

#[tokio::test]
async fn preconditions_decide_in_their_order() {
    for stand in Stand::both(&[]) {
        stand.put_pattern("film.mp4", SIZE, SEED);
        let mut wire = stand.connect().await;
        let etag = wire.ask("HEAD", TARGET, &[]).await.header("etag").to_owned();
        let (weak, listed) = (format!("W/{etag}"), format!("\"a,b\", W/\"c\" ,{etag}"));
        for (headers, status) in [
            (vec![("If-Match", etag.as_str())], 200),
            (vec![("If-Match", &listed)], 200),
            (vec![("If-Match", "*")], 200),
            (vec![("If-Match", "\"other\"")], 412),
            (vec![("If-Match", &weak)], 412),
            (vec![("If-Match", "")], 412),
            (vec![("If-Match", "\"other\""), ("If-Match", &etag)], 200),
            (vec![("If-Unmodified-Since", WRITTEN)], 200),
            (vec![("If-Unmodified-Since", AFTER)], 200),
            (vec![("If-Unmodified-Since", BEFORE)], 412),
            (vec![("If-Unmodified-Since", "yesterday")], 200),
            (vec![("If-Match", &etag), ("If-Unmodified-Since", BEFORE)], 200),
            (vec![("If-None-Match", &etag)], 304),
            (vec![("If-None-Match", &weak)], 304),
            (vec![("If-None-Match", &listed)], 304),
            (vec![("If-None-Match", "*")], 304),
            (vec![("If-None-Match", "\"other\"")], 200),
            (vec![("If-Modified-Since", WRITTEN)], 304),
            (vec![("If-Modified-Since", AFTER)], 304),
            (vec![("If-Modified-Since", BEFORE)], 200),
            (vec![("If-Modified-Since", "yesterday")], 200),
            (vec![("If-None-Match", "\"other\""), ("If-Modified-Since", AFTER)], 200),
            (vec![("If-None-Match", &etag), ("If-Modified-Since", BEFORE)], 304),
            (vec![("If-Match", "\"other\""), ("If-None-Match", &etag)], 412),
            (vec![("If-Match", &etag), ("If-None-Match", &etag)], 304),
            (vec![("If-Unmodified-Since", BEFORE), ("If-Modified-Since", AFTER)], 412),
        ] {
            check(&mut wire, &headers, status, SIZE).await;
            // A range, one that cannot be satisfied among them, is looked at last.
            let satisfied = if status == 200 { 206 } else { status };
            let ranged: Vec<_> = headers.iter().copied().chain([("Range", "bytes=0-9")]).collect();
            check(&mut wire, &ranged, satisfied, 10).await;
            let unsatisfied = if status == 200 { 416 } else { status };
            let ranged: Vec<_> = headers.iter().copied().chain([("Range", "bytes=100000-")]).collect();
            check(&mut wire, &ranged, unsatisfied, 0).await;
        }
    }
}

#[tokio::test]
async fn if_range_gives_the_part_only_of_the_same_version() {
    for stand in Stand::both(&[]) {
        stand.put_pattern("film.mp4", SIZE, SEED);
        let mut wire = stand.connect().await;
        let etag = wire.ask("HEAD", TARGET, &[]).await.header("etag").to_owned();
        for (validator, holds) in [
            (etag.as_str(), true),
            (&format!("W/{etag}"), false),
            ("\"other\"", false),
            ("*", false),
            (&format!("{etag}, {etag}"), false),
            (etag.trim_matches('"'), false),
            ("", false),
            (WRITTEN, true),
            // An exact match, not "not modified since" (§13.1.5).
            (AFTER, false),
            (BEFORE, false),
            ("yesterday", false),
        ] {
            let (status, bytes) = if holds { (206, 10) } else { (200, SIZE) };
            check(&mut wire, &[("If-Range", validator), ("Range", "bytes=0-9")], status, bytes).await;
            let status = if holds { 416 } else { 200 };
            check(&mut wire, &[("If-Range", validator), ("Range", "bytes=100000-")], status, SIZE).await;
            check(&mut wire, &[("If-Range", validator)], 200, SIZE).await;
        }
    }
}

/// The date of a version that is not a second old may be the date of the next one, too (§8.8.2.2).
#[tokio::test]
async fn a_date_of_this_second_is_no_validator_of_a_part() {
    let stand = Stand::local(&[]);
    let in_an_hour = std::time::SystemTime::now() + std::time::Duration::from_hours(1);
    stand.put_pattern("film.mp4", SIZE, SEED);
    let file =
        std::fs::File::options().write(true).open(stand.media().join("film.mp4")).expect("it is there");
    file.set_modified(in_an_hour).expect("it is ours");
    let mut wire = stand.connect().await;
    let date = wire.ask("HEAD", TARGET, &[]).await.header("last-modified").to_owned();
    check(&mut wire, &[("If-Range", &date), ("Range", "bytes=0-9")], 200, SIZE).await;
}

#[tokio::test]
async fn conditions_of_what_is_not_there_do_not_matter() {
    for stand in Stand::both(&[]) {
        for headers in [[("If-Match", "*")], [("If-None-Match", "*")], [("If-Modified-Since", AFTER)]] {
            let answer = stand.get("/media/none", &headers).await;
            assert_eq!(answer.status, 404, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn other_methods_are_refused_and_told_what_is_allowed() {
    for stand in Stand::both(&[]) {
        stand.put_pattern("film.mp4", SIZE, SEED);
        let mut wire = stand.connect().await;
        for method in ["PUT", "POST", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"] {
            let answer = wire.ask(method, TARGET, &[]).await;
            assert_eq!(answer.status, 405, "{method}");
            assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS", "{method}");
            answer.problem();
        }
        let answer = wire.ask("DELETE", "/api/health", &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
        check(&mut wire, &[], 200, SIZE).await;
    }
}

#[tokio::test]
async fn a_page_elsewhere_may_ask_for_ranges_and_read_what_they_say() {
    for stand in Stand::both(&[("SEEKWAY_CORS_ALLOW_ORIGIN", "https://player.example,https://b.example")]) {
        stand.put_pattern("film.mp4", SIZE, SEED);
        let mut wire = stand.connect().await;
        let asks = |origin| {
            [
                ("Origin", origin),
                ("Access-Control-Request-Method", "GET"),
                ("Access-Control-Request-Headers", "range"),
            ]
        };
        let allowed = wire.ask("OPTIONS", TARGET, &asks("https://player.example")).await;
        assert_eq!((allowed.status, allowed.header("allow")), (204, "GET, HEAD, OPTIONS"));
        assert_eq!(allowed.header("access-control-allow-origin"), "https://player.example");
        assert!(allowed.header("access-control-allow-methods").contains("GET"), "{allowed:?}");
        assert!(allowed.header("access-control-allow-headers").contains("Range"), "{allowed:?}");
        assert!(allowed.header("access-control-max-age").parse::<u32>().is_ok(), "{allowed:?}");
        let refused = wire.ask("OPTIONS", TARGET, &asks("https://other.example")).await;
        assert_eq!((refused.status, refused.has("access-control-allow-origin")), (204, false));
        for (target, status) in [(TARGET, 206), ("/media/none", 404)] {
            let headers = [("Origin", "https://b.example"), ("Range", "bytes=0-9")];
            let answer = wire.ask("GET", target, &headers).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("access-control-allow-origin"), "https://b.example");
            assert_eq!(answer.header("vary"), "Origin");
        }
        let plain = wire.ask("OPTIONS", TARGET, &[]).await;
        assert_eq!((plain.status, plain.header("allow")), (204, "GET, HEAD, OPTIONS"));
    }
}
