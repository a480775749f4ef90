//! The first invariant on real sockets: a response never mixes bytes of two versions, whatever happens to the
//! object while it is read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use seekway_loadtests::origin::{Fault, Object, Running, Shape};
use seekway_loadtests::pattern;

use crate::support::wire::{Wire, head};
use crate::support::{BUCKET, Stand, assert_pattern};

const KEY: &str = "film.mp4";
const TARGET: &str = "/media/film.mp4";

/// Version `seed` of the object: its length and its bytes differ from the others', and its tag names it.
fn version(seed: u64) -> Object {
    let size = 2_000_000 + pattern::draw(99, seed, 1_000_000);
    Object::pattern(size, seed).with_etag(format!("\"version-{seed}\""))
}

fn seed_of(etag: &str) -> u64 {
    let seed = etag.strip_prefix("\"version-").and_then(|rest| rest.strip_suffix('"'));
    seed.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| panic!("{etag} names no version"))
}

#[tokio::test]
async fn a_known_object_that_was_replaced_is_answered_anew() {
    let (old, new) = (version(1), version(2));
    for (headers, status) in [
        (vec![("Range", "bytes=100-199")], 206),
        (vec![], 200),
        (vec![("Range", "bytes=-100")], 206),
        // Conditions are about the object as it is, not as it was remembered.
        (vec![("If-None-Match", new.etag())], 304),
        (vec![("If-Match", old.etag())], 412),
        (vec![("If-Range", old.etag()), ("Range", "bytes=100-199")], 200),
        (vec![("If-Range", new.etag()), ("Range", "bytes=100-199")], 206),
    ] {
        // It learns the old version by its metadata alone: no bytes of it are in memory.
        let fresh = Stand::s3(&[]);
        fresh.origin().put(BUCKET, KEY, old.clone());
        assert_eq!(fresh.ask("HEAD", TARGET, &[]).await.header("etag"), old.etag());
        fresh.origin().put(BUCKET, KEY, new.clone());
        let answer = fresh.get(TARGET, &headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 412 {
            continue;
        }
        assert_eq!(answer.header("etag"), new.etag(), "{headers:?}");
        assert!(answer.complete, "{headers:?}");
        match (status, answer.header("content-range").strip_prefix("bytes ")) {
            (206, Some(range)) => {
                let (first, rest) = range.split_once('-').expect("a range");
                assert!(rest.ends_with(&format!("/{}", new.size())), "{range}");
                assert_pattern(2, first.parse().expect("a number"), &answer.body, "a part");
                assert_eq!(answer.body.len(), 100, "{headers:?}");
            }
            (200, None) => {
                assert_eq!(answer.body.len() as u64, new.size(), "{headers:?}");
                assert_pattern(2, 0, &answer.body, "all");
            }
            _ => assert!(answer.body.is_empty(), "{headers:?}"),
        }
        let refused = fresh.origin().log().iter().filter(|logged| logged.status == Some(412)).count();
        assert_eq!(refused, 1, "{headers:?}: the old version was asked for, once");
    }
}

#[tokio::test]
async fn an_object_that_shrank_is_answered_with_its_new_end() {
    let stand = Stand::s3(&[]);
    stand.origin().put(BUCKET, KEY, Object::pattern(1_000_000, 1));
    assert_eq!(stand.ask("HEAD", TARGET, &[]).await.status, 200);
    stand.origin().put(BUCKET, KEY, Object::pattern(1000, 2));
    let answer = stand.get(TARGET, &[("Range", "bytes=500000-500099")]).await;
    assert_eq!((answer.status, answer.header("content-range")), (416, "bytes */1000"));
}

#[tokio::test]
async fn a_response_under_way_is_cut_when_its_version_is_gone() {
    for known in [false, true] {
        let stand = Stand::s3(&[]);
        let (old, new) = (version(1), version(2));
        stand.origin().put(BUCKET, KEY, old.clone());
        if known {
            assert_eq!(stand.ask("HEAD", TARGET, &[]).await.status, 200);
        }
        stand
            .origin()
            .fault(Fault::Replace { after: 100_000, with: new.clone(), running: Running::KeepOld }.times(1));
        let mut wire = stand.connect().await;
        let answer = wire.ask("GET", TARGET, &[]).await;
        assert_eq!((answer.status, answer.header("etag")), (200, old.etag()));
        assert!(!answer.complete, "the rest of the old version is nowhere to be had");
        assert_pattern(1, 0, &answer.body, "the old version");
        assert!(wire.until_closed().await.is_empty(), "never padded");
        let next = stand.get(TARGET, &[]).await;
        assert_eq!((next.status, next.header("etag"), next.complete), (200, new.etag(), true));
        assert_pattern(2, 0, &next.body, "the new version");
        stand.until_quiet().await;
    }
}

/// What happened to a reader's requests.
#[derive(Debug, Default)]
struct Seen {
    complete: AtomicU64,
    cut: AtomicU64,
    refused: AtomicU64,
}

/// 32 clients read random ranges while the object is replaced every few milliseconds. Each body, complete or
/// cut, must be of the version that its ETag names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_mixes_versions_while_the_object_is_replaced_again_and_again() {
    // Slow enough that versions end while they are read, and with metadata that is mostly outdated.
    let shape = Shape {
        first_byte_latency: Duration::from_millis(2),
        bytes_per_second_per_connection: Some(40_000_000),
        ..Shape::default()
    };
    let stand = Stand::s3_shaped(shape, &[("METADATA_TTL", "30ms"), ("STALE_WHILE_REVALIDATE", "30ms")]);
    stand.origin().put(BUCKET, KEY, version(1));
    let (seen, over) = (Seen::default(), AtomicBool::new(false));
    let replacing = async {
        let mut newest = 1;
        while !over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1 + pattern::draw(5, newest, 8))).await;
            newest += 1;
            stand.origin().put(BUCKET, KEY, version(newest));
        }
        newest
    };
    let reading = async {
        let readers = (0..32).map(|reader| read_again_and_again(&stand, reader, &seen));
        futures_util::future::join_all(readers).await;
        over.store(true, Ordering::Relaxed);
    };
    let (versions, ()) = tokio::join!(replacing, reading);
    println!("{versions} versions, {seen:?}");
    assert!(versions > 50, "the object must have changed under the readers: {versions} versions");
    assert!(seen.complete.load(Ordering::Relaxed) > 32, "{seen:?}");
    assert!(seen.cut.load(Ordering::Relaxed) > 0, "the test must see versions end midway: {seen:?}");
    stand.until_quiet().await;
    let now = stand.get("/media/film.mp4?last", &[]).await;
    assert!(now.complete, "and it works on: {}", now.status);
}

async fn read_again_and_again(stand: &Stand, reader: u64, seen: &Seen) {
    let mut wire = stand.connect().await;
    for request in 0..40_u64 {
        let draw = |nth, bound| pattern::draw(1000 + reader, 4 * request + nth, bound);
        let range = match draw(0, 4) {
            0 => "bytes=0-".to_owned(),
            1 => format!("bytes=-{}", 1 + draw(1, 1_500_000)),
            2 => format!("bytes={}-", draw(1, 2_000_000)),
            _ => {
                let first = draw(1, 1_900_000);
                format!("bytes={first}-{}", first + draw(2, 200_000))
            }
        };
        if !read_once(&mut wire, &range, seen).await {
            wire = stand.connect().await;
        }
    }
}

/// Whether the connection can be used again.
async fn read_once(wire: &mut Wire, range: &str, seen: &Seen) -> bool {
    wire.send(head("GET", TARGET, &[("Range", range)])).await;
    let answer = wire.answer("GET").await;
    if answer.status != 206 {
        // It changed three times while one answer was made: then the client is asked to come back.
        assert_eq!(answer.status, 503, "{range}: {answer:?}");
        answer.problem();
        seen.refused.fetch_add(1, Ordering::Relaxed);
        return true;
    }
    let named = seed_of(answer.header("etag"));
    let told = answer.header("content-range").strip_prefix("bytes ").expect("a range").to_owned();
    let (told, total) = told.split_once('/').expect("a total");
    let (first, last) = told.split_once('-').expect("a range");
    let (first, last): (u64, u64) = (first.parse().expect("a number"), last.parse().expect("a number"));
    assert_eq!(total, version(named).size().to_string(), "{range}: the size of that version");
    assert_eq!(answer.announced, Some(last - first + 1), "{range}");
    assert_pattern(named, first, &answer.body, range);
    let counter = if answer.complete { &seen.complete } else { &seen.cut };
    counter.fetch_add(1, Ordering::Relaxed);
    answer.complete
}
