//! The real S3 server starts, stores, serves, refuses strangers, and leaves nothing behind.

use std::time::Duration;

use http::{Method, StatusCode, header};
use seekway_loadtests::{
    client::Client,
    load::{Content, Uploads},
    seaweed::{Checked, SeaweedFs},
};

#[tokio::test]
async fn stores_and_serves_an_object_over_s3() {
    let seaweed = SeaweedFs::start().await.unwrap();
    let address = seaweed.endpoint().strip_prefix("http://").unwrap().parse().unwrap();

    // The one bucket that unsigned requests may use: this test has no signer.
    seaweed.put("seekway-ready", "a/film.mp4", "video/mp4", "0123456789").await.unwrap();
    let mut s3 = Client::connect(address).await.unwrap();
    let (answer, body) = s3.get_range("/seekway-ready/a/film.mp4", 2..5).await.unwrap();
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(body, "234");
    assert_eq!(answer.header(header::CONTENT_RANGE), "bytes 2-4/10");
    assert_eq!(answer.header(header::CONTENT_TYPE), "video/mp4");

    // A bucket made for a test exists, and is not open to everybody.
    seaweed.create_bucket("media").await.unwrap();
    seaweed.create_bucket("media").await.unwrap();
    let (answer, body) = s3.request(Method::GET, "/media/none", &[], "").await.unwrap();
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{body:?}");

    drop(seaweed);
    assert!(Client::connect(address).await.is_err(), "the server must not outlive its value");
}

#[tokio::test]
async fn what_is_in_a_bucket_is_compared_with_what_was_uploaded() {
    const SEED: u64 = 5;
    const BYTES: usize = 100_000;
    let seaweed = SeaweedFs::start().await.unwrap();
    let bucket = seaweed.new_bucket().await.unwrap();
    let uploads = Uploads { at_once: 1, bytes: BYTES as u64, piece_bytes: u64::MAX };
    let content = Content::new();
    let put = async |key: &str, bytes: Vec<u8>| {
        seaweed.put(bucket.name(), key, "video/mp4", bytes).await.unwrap();
    };
    let of = |ticket: u64| content.bytes(SEED, ticket, BYTES);
    assert_eq!(bucket.check(&uploads, SEED).await.unwrap(), Checked { right: 0, bytes: 0 });
    put("zero", of(0)).await;
    put("a/b/one", of(1)).await;
    put("zero.info", b"{}".to_vec()).await;
    put("another-run", content.bytes(SEED + 1, 0, BYTES)).await;
    let right = Checked { right: 2, bytes: 2 * BYTES as u64 };
    assert_eq!(bucket.check(&uploads, SEED).await.unwrap(), right);
    let mut changed = of(2);
    changed[BYTES - 1] ^= 1;
    put("changed", changed).await;
    put("short", of(3)[..BYTES - 1].to_vec()).await;
    put("long", content.bytes(SEED, 4, BYTES + 1)).await;
    put("twice", of(1)).await;
    assert_eq!(bucket.check(&uploads, SEED).await.unwrap().right, 1);
    bucket.delete().await.unwrap();
    assert!(bucket.check(&uploads, SEED).await.is_err(), "the bucket is gone");
}

#[tokio::test]
async fn two_servers_run_beside_each_other() {
    let (one, two) = tokio::join!(SeaweedFs::start(), SeaweedFs::start());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.endpoint(), two.endpoint());
}

/// A server that is shared by all tests sits in a static and is never dropped.
#[test]
fn a_server_outlives_the_thread_that_started_it() {
    let start = || tokio::runtime::Runtime::new().unwrap().block_on(SeaweedFs::start()).unwrap();
    let seaweed = std::thread::spawn(start).join().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(seaweed.create_bucket("later")).unwrap();
}
