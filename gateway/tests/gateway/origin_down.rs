//! The store is gone: what is known is served, what is not is refused soon, and another copy takes over.

use futures_util::future::{join_all, select_all};
use seekway_loadtests::origin::{Fault, Origin, Shape};

use crate::support::wire::{Answer, head};
use crate::support::{BUCKET, Stand, assert_pattern};

const SIZE: u64 = 1_000_000;
const SEED: u64 = 41;
const KEY: &str = "film.mp4";
const TARGET: &str = "/media/film.mp4";
const WHOLE: (&str, &str) = ("Range", "bytes=0-999999");
/// What is known is stale at once, and served only because the store fails.
const STALE: [(&str, &str); 2] = [("METADATA_TTL", "0s"), ("STALE_WHILE_REVALIDATE", "0s")];

#[track_caller]
fn assert_whole(answer: &Answer, what: &str) {
    assert!(answer.status == 200 || answer.status == 206, "{what}: {answer:?}");
    assert_eq!(answer.body.len() as u64, SIZE, "{what}");
    assert_pattern(SEED, 0, &answer.body, what);
}

#[track_caller]
fn assert_refused(answer: &Answer, statuses: &[u16]) {
    assert!(statuses.contains(&answer.status), "{answer:?}");
    assert!(answer.has("retry-after"), "{answer:?}");
    answer.problem();
}

#[tokio::test]
async fn a_store_that_dies_is_not_missed_by_what_is_known() {
    let mut stand = Stand::s3(&STALE);
    stand.put_pattern(KEY, SIZE, SEED);
    assert_whole(&stand.get(TARGET, &[WHOLE]).await, "while it is well");
    stand.until_quiet().await;
    stand.kill_origin();
    for answer in join_all((0..40).map(|_| stand.get(TARGET, &[WHOLE]))).await {
        assert_whole(&answer, "from memory");
        assert!(answer.header("cache-status").starts_with("seekway; hit"), "{answer:?}");
    }
    for _ in 0..4 {
        assert_refused(&stand.get("/media/unknown.mp4", &[]).await, &[503]);
    }
    assert_eq!(stand.get("/api/ready", &[]).await.status, 200, "another replica has the same store");
    assert_whole(&stand.get(TARGET, &[]).await, "still");
}

/// With limits that would keep a client for an hour, only what is known of the store can be why it is not kept.
#[tokio::test]
async fn a_store_that_hangs_and_is_known_to_is_not_waited_for() {
    let patient = [("SEEKWAY_S3_READ_TIMEOUT", "1h"), ("SEEKWAY_S3_ANSWER_TIMEOUT", "1h")];
    let stand = Stand::s3(&patient);
    stand.put_pattern(KEY, SIZE, SEED);
    stand.origin().fault(Fault::Close);
    for _ in 0..3 {
        assert_refused(&stand.get(TARGET, &[]).await, &[503]);
    }
    stand.origin().clear_faults();
    stand.origin().fault(Fault::Hang);
    // One of them may be the one that is let wait, to see whether the store is well again.
    let asking = ["/media/a", "/media/b", "/media/c"].map(|target| Box::pin(stand.get(target, &[])));
    let (answer, _, rest) = select_all(asking).await;
    assert_refused(&answer, &[503, 504]);
    let (answer, ..) = select_all(rest).await;
    assert_refused(&answer, &[503, 504]);
    stand.origin().release_hung();
    stand.origin().clear_faults();
}

#[tokio::test]
async fn another_copy_takes_over_in_the_middle_of_a_body() {
    let copy = Origin::start(Shape::default()).expect("a free port");
    let fallback = format!("{}/{BUCKET}", copy.endpoint());
    let mut stand = Stand::s3(&[("S3_FALLBACK", fallback.as_str()), ("SEEKWAY_S3_ATTEMPTS", "3")]);
    stand.put_pattern(KEY, SIZE, SEED);
    copy.put_pattern(BUCKET, KEY, SIZE, SEED);
    stand.origin().fault(Fault::HangAfter(300_000));
    let mut wire = stand.connect().await;
    wire.send(head("GET", TARGET, &[WHOLE])).await;
    let begun = wire.answer_head("GET").await;
    assert_eq!((begun.status, begun.announced), (206, Some(SIZE)));
    let mut body = wire.exactly(300_000).await;
    assert_eq!(copy.counts().requests, 0, "nobody asks it without need");
    stand.kill_origin();
    body.extend(wire.exactly(700_000).await);
    assert_pattern(SEED, 0, &body, "from two stores");
    let log = copy.log();
    assert_eq!(log[0].range.as_deref(), Some("bytes=300000-999999"));
    assert_eq!(log[0].if_match.as_deref(), Some(begun.header("etag")));

    copy.put_pattern(BUCKET, "other.mp4", SIZE, SEED);
    assert_whole(&stand.get("/media/other.mp4", &[WHOLE]).await, "an object that only the copy can tell of");
    // It may be that the copy does not have it yet: that is not for us to say.
    assert_refused(&stand.get("/media/missing.mp4", &[]).await, &[503]);
}
