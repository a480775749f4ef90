//! Redis as operators have it: with passwords, with TLS, and stopped in its tracks. What it is good for is told by the
//! cache's own tests.

use seekway_loadtests::client::Client;
use seekway_loadtests::gateway::Gateway;
use seekway_loadtests::origin::{Fault, Origin, Shape};
use seekway_loadtests::redis::Redis;
use tempfile::TempDir;

use crate::support::tools::certificates;
use crate::support::wire::head;
use crate::support::{BUCKET, Stand, assert_pattern, path_text, process, until};

const SEED: u64 = 91;
const SEGMENT: u64 = 65_536;
/// No answer is late on a busy machine.
const PATIENT: (&str, &str) = ("CACHE_REDIS_READ_TIMEOUT", "1s");

fn origin() -> Origin {
    let origin = Origin::start(Shape::default()).expect("a free port");
    origin.put_pattern(BUCKET, "film.mp4", 10_000_000, SEED);
    origin
}

async fn figure(gateway: &Gateway, name: &str) -> Option<f64> {
    gateway.metrics().await.expect("it serves").get(name)
}

async fn connected(gateway: &Gateway) {
    until("Redis is used", async || {
        figure(gateway, "seekway_redis_up").await.filter(|up| *up > 0.0).map(drop)
    })
    .await;
}

async fn read_segment(gateway: &Gateway, nth: u64) {
    let start = nth * SEGMENT;
    let mut client = Client::connect(gateway.address()).await.expect("it listens");
    let read = client.get_range("/media/film.mp4", start..start + SEGMENT).await;
    let (answer, body) = read.expect("an answer");
    assert_eq!((answer.status.as_u16(), body.len() as u64), (206, SEGMENT));
    assert_pattern(SEED, start, &body, "with or without Redis");
}

/// Two replicas at this address share segment `nth`.
async fn is_shared(origin: &Origin, url: &str, env: &[(&str, &str)], nth: u64) {
    let env = [&[("REDIS_URL", url), PATIENT][..], env].concat();
    let (one, other) = (process(origin, &env).await, process(origin, &env).await);
    connected(&one).await;
    connected(&other).await;
    read_segment(&one, nth).await;
    let asked = origin.counts().requests;
    read_segment(&other, nth).await;
    assert_eq!(figure(&other, "seekway_redis_segments_read_total").await, Some(1.0), "{url}");
    assert_eq!(origin.counts().requests, asked, "{url}");
}

/// Nobody shares anything at this address; the log says why, once, in a line that has `why` in it. All is served.
async fn is_refused(origin: &Origin, url: &str, env: &[(&str, &str)], why: &str) {
    let gateway = process(origin, &[&[("REDIS_URL", url), PATIENT][..], env].concat()).await;
    let told = || {
        let log = gateway.log_tail();
        log.lines().find(|line| line.contains("no shared tier")).map(str::to_owned)
    };
    let line = until("the log says that there is no Redis", async || told()).await;
    let hosts = url.rsplit_once(['@', '/']).expect("a URL").1;
    assert!(line.contains(why) && line.contains(hosts) && line.contains("WARN"), "{line}");
    assert!(!gateway.log_tail().contains("not-the-one"), "{}", gateway.log_tail());
    read_segment(&gateway, 0).await;
    assert_eq!(figure(&gateway, "seekway_redis_up").await, Some(0.0));
}

#[tokio::test]
async fn passwords_are_sent_and_wrong_ones_are_misses() {
    let acl = ["--user", "alice", "on", ">wonder/land@1", "~*", "&*", "+@all"];
    let redis = Redis::start_with(&[&["--requirepass", "secret"][..], &acl].concat()).expect("redis-server");
    let (origin, at) = (origin(), redis.address());
    is_shared(&origin, &format!("redis://:secret@{at}"), &[], 0).await;
    is_shared(&origin, &format!("redis://alice:wonder%2Fland%401@{at}"), &[], 1).await;
    for user in [":not-the-one@", "alice:not-the-one@", "nobody:not-the-one@"] {
        is_refused(&origin, &format!("redis://{user}{at}"), &[], "Password authentication failed").await;
    }
    is_refused(&origin, &format!("redis://{at}"), &[], "NOAUTH").await;
}

#[tokio::test]
async fn tls_trusts_whom_the_machine_does_or_is_told_to() {
    let folder = TempDir::new().expect("a temporary folder");
    let [authority, certificate, key] = certificates(folder.path());
    let (_redis, at) = Redis::start_with_tls(&certificate, &key).expect("redis-server with TLS");
    let origin = origin();
    let told = [("SSL_CERT_FILE", path_text(&authority))];
    is_shared(&origin, &format!("rediss://{at}"), &told, 0).await;
    is_refused(&origin, &format!("rediss://:not-the-one@{at}"), &told, "Password authentication failed")
        .await;
    // The machine has not heard of this authority.
    is_refused(&origin, &format!("rediss://{at}"), &[], "ertificate").await;
    // TLS is spoken there, and nothing else.
    is_refused(&origin, &format!("redis://{at}"), &[], "").await;
}

/// Not by the clock: whatever is seen here happens while Redis stands still.
#[tokio::test]
async fn a_redis_that_stands_still_holds_up_neither_the_stores_get_nor_the_answer() {
    let redis = Redis::start().expect("redis-server");
    let url = redis.url();
    let stand = Stand::s3(&[("REDIS_URL", &url), ("CACHE_REDIS_READ_TIMEOUT", "2ms")]);
    stand.put_pattern("film.mp4", 10_000_000, SEED);
    stand.until("Redis is used", |stats| stats.redis_up == 1).await;
    redis.pause();
    stand.origin().fault(Fault::Hang.times(1));
    let mut wire = stand.connect().await;
    wire.send(head("GET", "/media/film.mp4", &[("Range", "bytes=0-65535")])).await;
    stand.origin().until(|counts| counts.in_flight == 1).await.expect("the store is asked meanwhile");
    let stats = stand.stats();
    assert!(stats.redis_timeouts >= 1 && stats.redis_segments_read == 0, "Redis was asked first: {stats:?}");
    stand.origin().release_hung();
    let answer = wire.answer("GET").await;
    assert!(answer.status == 206 && answer.complete, "{answer:?}");
    assert_pattern(SEED, 0, &answer.body, "while Redis stands still");
    redis.resume();
}
