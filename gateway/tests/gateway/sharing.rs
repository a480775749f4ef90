//! Many clients, one origin request.

use std::sync::Once;

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seekway_loadtests::client::Client;
use seekway_loadtests::origin::Fault;

use crate::support::wire::{Wire, head};
use crate::support::{BUCKET, Stand, assert_pattern};

const READERS: usize = 1000;
const SEED: u64 = 41;
const SEGMENT: u64 = 65_536;

/// Both ends of each connection are this process's; many systems give a process 1,024 descriptors.
fn allow_many_sockets() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
            .expect("up to the hard limit");
    });
}

/// All of them hold bytes of the one fill before it is done.
#[tokio::test]
async fn a_thousand_readers_of_a_cold_segment_are_one_get() {
    allow_many_sockets();
    let stand = Stand::s3(&[]);
    stand.put_pattern("film.mp4", 10_000_000, SEED);
    stand.origin().fault(Fault::HangAfter(40_000).times(1));
    let range = format!("bytes={}-{}", 3 * SEGMENT, 4 * SEGMENT - 1);
    let request = head("GET", "/media/film.mp4", &[("Range", &range)]);
    let start = |_| async {
        let mut wire = Wire::connect(stand.address()).await;
        wire.send(&request).await;
        let answer = wire.answer_head("GET").await;
        assert_eq!((answer.status, answer.announced), (206, Some(SEGMENT)));
        let body = wire.exactly(40_000).await;
        (wire, body)
    };
    let started = join_all((0..READERS).map(start)).await;
    assert_eq!(stand.origin().counts().in_flight, 1, "the segment is still on its way");
    stand.origin().release_hung();
    let end = |(mut wire, mut body): (Wire, Vec<u8>)| async move {
        body.extend(wire.exactly(25_536).await);
        assert_pattern(SEED, 3 * SEGMENT, &body, "one of a thousand");
    };
    join_all(started.into_iter().map(end)).await;
    let log = stand.origin().log();
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!((log[0].method.as_str(), log[0].range.as_deref()), ("GET", Some(range.as_str())));
    stand.until_quiet().await;
    assert_eq!(stand.stats().store_bytes, SEGMENT);
}

/// The same with a client library, all at once and nobody held back, and with HEAD among them.
#[tokio::test]
async fn a_crowd_on_an_unknown_object_asks_once_for_what_it_is() {
    allow_many_sockets();
    let stand = Stand::s3(&[]);
    stand.put_pattern("film.mp4", SEGMENT, SEED);
    stand.origin().fault(Fault::Hang.times(1));
    let clients =
        join_all((0..200).map(|_| async { Client::connect(stand.address()).await.expect("accepted") }));
    let reads = clients.await.into_iter().map(|mut client| async move {
        let (answer, body) = client.get_range("/media/film.mp4", 100..60_000).await.expect("an answer");
        assert_eq!(answer.status, 206);
        assert_pattern(SEED, 100, &body, "one of the crowd");
    });
    let release = async {
        stand.origin().until(|counts| counts.in_flight == 1).await.expect("the origin is asked");
        stand.origin().release_hung();
    };
    tokio::join!(join_all(reads), release);
    let log = stand.origin().log();
    assert_eq!(log.len(), 1, "{log:?}");
}

#[tokio::test]
async fn what_is_missing_is_asked_for_once() {
    let stand = Stand::s3(&[("NEGATIVE_TTL", "1h")]);
    for _ in 0..20 {
        assert_eq!(stand.get("/media/none.mp4", &[]).await.status, 404);
    }
    let log = stand.origin().log();
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!((log[0].bucket.as_str(), log[0].key.as_str()), (BUCKET, "none.mp4"));
}

/// Players read audio and video, and several places at once: bytes that are here are not fetched again.
#[tokio::test]
async fn bytes_are_fetched_once_however_they_are_asked_for() {
    const SIZE: u64 = 3_000_000;
    let stand = Stand::s3(&[]);
    stand.put_pattern("film.mp4", SIZE, SEED);
    let ranges =
        ["bytes=1000000-1999999", "bytes=0-", "bytes=-500000", "bytes=5-,70000-80000", "bytes=1-2,2000000-"];
    for range in ranges {
        let answer = stand.get("/media/film.mp4", &[("Range", range)]).await;
        assert!(
            answer.complete && (answer.status == 206 || answer.status == 200),
            "{range}: {}",
            answer.status
        );
    }
    stand.until_quiet().await;
    assert_eq!(stand.origin().counts().body_bytes, SIZE);
    assert_eq!(stand.stats().store_bytes, SIZE);
}
