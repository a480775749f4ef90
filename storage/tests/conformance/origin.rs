//! Endpoints in trouble: slow ones, throttling ones, dead ones, and several of them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::{join_all, try_join_all};
use http::{Method, StatusCode};
use seekway_loadtests::origin::{Fault, Object as Stored, Origin as Server, Shape};
use seekway_loadtests::pattern::verify;
use seekway_storage::measured::{BodyEnd, Observer, Operation, Outcome, Request};
use seekway_storage::origin::{Hedging, Origin, Policy};
use seekway_storage::s3::{S3Config, S3Store};
use seekway_storage::{Error, Get, ObjectStore, Page};
use tokio::net::TcpListener;

use crate::objects::{eventually, key};
use crate::s3::config;

const BUCKET: &str = "media";
const KEY: &str = "film.mp4";
const SIZE: u64 = 1_000_000;
const SEED: u64 = 31;

/// Everything that was observed.
#[derive(Debug, Default)]
struct Tally(Mutex<Seen>);

#[derive(Debug, Default, Clone)]
struct Seen {
    running: i64,
    answers: Vec<(Request, Outcome)>,
    bytes: u64,
    bodies: Vec<BodyEnd>,
}

impl Observer for Tally {
    fn began(&self, _: &Request) {
        self.books().running += 1;
    }

    fn answered(&self, request: &Request, outcome: Outcome, _: Duration) {
        self.books().answers.push((request.clone(), outcome));
    }

    fn received(&self, _: &Request, bytes: u64) {
        self.books().bytes += bytes;
    }

    fn ended(&self, _: &Request, body: Option<BodyEnd>) {
        let mut seen = self.books();
        seen.running -= 1;
        seen.bodies.extend(body);
    }
}

impl Tally {
    fn books(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("no panic while it was held")
    }

    fn seen(&self) -> Seen {
        self.books().clone()
    }

    fn count(&self, what: impl Fn(&Request, Outcome) -> bool) -> usize {
        self.seen().answers.iter().filter(|(request, outcome)| what(request, *outcome)).count()
    }
}

fn policy() -> Policy {
    Policy { attempts_max: 1, answer_timeout: Duration::from_secs(20), requests_max: 64, hedging: None }
}

fn server() -> Server {
    let server = Server::start(Shape::default()).expect("a free port");
    server.put_pattern(BUCKET, KEY, SIZE, SEED);
    server
}

fn s3(endpoint: String) -> S3Config {
    S3Config { read_timeout: Duration::from_secs(5), ..config(endpoint, "key", "secret", BUCKET) }
}

/// The store as the only endpoint, with all that can be in its way.
pub(crate) fn around(store: impl ObjectStore) -> Origin {
    let hedging = Some(Hedging { quantile: 0.5, budget: 0.5 });
    let policy = Policy { attempts_max: 3, requests_max: 4, hedging, ..policy() };
    let observer: Arc<dyn Observer> = Arc::new(());
    Origin::new([("only", Arc::new(store) as Arc<dyn ObjectStore>)], &observer, policy)
}

async fn origin(configs: impl IntoIterator<Item = S3Config>, policy: Policy) -> (Origin, Arc<Tally>) {
    let tally = Arc::new(Tally::default());
    let names = ["preferred", "fallback-1"];
    let mut endpoints: Vec<(&str, Arc<dyn ObjectStore>)> = Vec::new();
    for (name, config) in names.into_iter().zip(configs) {
        endpoints.push((name, Arc::new(S3Store::connect(config).await)));
    }
    let observer: Arc<dyn Observer> = tally.clone();
    (Origin::new(endpoints, &observer, policy), tally)
}

async fn of(servers: &[&Server], policy: Policy) -> (Origin, Arc<Tally>) {
    origin(servers.iter().map(|server| s3(server.endpoint())), policy).await
}

/// All of a body, each byte checked.
async fn finish(get: Get) -> Result<(), Error> {
    let range = get.range.clone();
    let bytes: Vec<u8> = get.body.map_ok(|chunk| chunk.to_vec()).try_concat().await?;
    assert_eq!(bytes.len() as u64, range.end - range.start);
    assert_eq!(verify(SEED, range.start, &bytes), None, "a wrong byte in {range:?}");
    Ok(())
}

async fn read(origin: &Origin) -> Result<(), Error> {
    finish(origin.get(&key(KEY), 1000..2000, None).await?).await
}

#[tokio::test]
async fn what_is_measured_is_what_the_endpoint_saw() {
    let server = server();
    let (store, tally) = of(&[&server], Policy { attempts_max: 3, ..policy() }).await;
    read(&store).await.expect("reads");
    let object = store.head(&key(KEY)).await.expect("is there");
    store.list("", Page { after: None, limit: 10 }).await.expect("lists");
    assert!(store.get(&key("missing"), 0..1, None).await.expect_err("missing").is_not_found());
    server.put_pattern(BUCKET, KEY, SIZE, SEED + 1);
    let changed = store.get(&key(KEY), 0..1, Some(&object)).await.expect_err("replaced");
    assert!(changed.version_changed());
    server.put_pattern(BUCKET, KEY, SIZE, SEED);
    server.fault(Fault::Status(StatusCode::INTERNAL_SERVER_ERROR).times(2));
    read(&store).await.expect("the third attempt");
    server.clear_faults();
    server.fault(Fault::Truncate(500).times(1));
    let broken = finish(store.get(&key(KEY), 0..1000, None).await.expect("begins")).await;
    assert!(matches!(broken, Err(Error::Interrupted(_))), "{broken:?}");
    drop(store.get(&key(KEY), 0..SIZE, None).await.expect("begins"));
    server.fault(Fault::Hang.times(1));
    let (key, mut left) = (key(KEY), Vec::new());
    left.push(store.get(&key, 0..1, None));
    tokio::select! {
        _ = join_all(left) => panic!("it hangs"),
        _ = server.until(|counts| counts.in_flight == 1) => {}
    }
    let log = server.log();
    let seen = tally.seen();
    assert_eq!(seen.running, 0, "nothing is left");
    assert_eq!(seen.answers.len(), log.len(), "each request is seen once");
    let gets = |outcome| tally.count(|request, got| request.operation == Operation::Get && got == outcome);
    assert_eq!(
        [Outcome::Ok, Outcome::NotFound, Outcome::Changed, Outcome::Unavailable, Outcome::Cancelled]
            .map(gets),
        [4, 1, 1, 2, 1]
    );
    assert_eq!(tally.count(|request, _| request.operation == Operation::Head), 1);
    assert_eq!(tally.count(|request, _| request.operation == Operation::List), 1);
    assert_eq!(tally.count(|request, _| request.is_hedge || &*request.endpoint != "preferred"), 0);
    assert_eq!(
        seen.bodies,
        [BodyEnd::Complete, BodyEnd::Complete, BodyEnd::Broken, BodyEnd::Dropped],
        "in this order"
    );
    assert!((2500..2500 + SIZE).contains(&seen.bytes), "{}", seen.bytes);
    server.release_hung();
}

#[tokio::test]
async fn every_phase_of_a_request_has_a_limit() {
    // TCP is accepted, and TLS never answered: that is still connecting.
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = mute.local_addr().expect("bound");
    let impatient = Duration::from_millis(200);
    let tls = S3Config { connect_timeout: impatient, ..s3(format!("https://{address}")) };
    let (store, _) = origin([tls], policy()).await;
    let error = store.head(&key(KEY)).await.expect_err("no handshake");
    assert!(matches!(error, Error::Timeout("no connection")), "{error:?}");
    let (store, _) =
        origin([S3Config { read_timeout: impatient, ..s3(format!("http://{address}")) }], policy()).await;
    let error = store.head(&key(KEY)).await.expect_err("no answer");
    assert!(matches!(error, Error::Timeout("no first byte")), "{error:?}");

    let server = server();
    server.fault(Fault::HangAfter(500).times(1));
    let (store, _) = origin([S3Config { read_timeout: impatient, ..s3(server.endpoint()) }], policy()).await;
    let error = read(&store).await.expect_err("the body pauses");
    assert!(matches!(error, Error::Timeout("a pause in the body")), "{error:?}");

    // However patient each part is, and however many attempts there are, the whole has an end.
    server.fault(Fault::Hang);
    let whole = Policy { attempts_max: 10, answer_timeout: impatient, ..policy() };
    let (store, tally) = of(&[&server], whole).await;
    let page = Page { after: None, limit: 1 };
    for error in [
        store.head(&key(KEY)).await.map(drop),
        store.get(&key(KEY), 0..1, None).await.map(drop),
        store.list("", page).await.map(drop),
    ] {
        assert!(matches!(error, Err(Error::Timeout("no answer in all its attempts"))), "{error:?}");
    }
    assert_eq!(tally.count(|_, outcome| outcome == Outcome::Cancelled), 3);
    server.release_hung();
}

#[tokio::test]
async fn no_more_requests_are_at_an_endpoint_than_it_has_slots() {
    let server = server();
    server.set_shape(Shape { bytes_per_second_per_connection: Some(2_000_000), ..Shape::default() });
    let (store, tally) = of(&[&server], Policy { requests_max: 3, ..policy() }).await;
    let reads = (0..12_u64).map(async |nth| {
        let start = nth * 80_000;
        finish(store.get(&key(KEY), start..start + 80_000, None).await?).await
    });
    try_join_all(reads).await.expect("all are served");
    // The server may see a request before it knows that the one before has ended.
    let at_once = server.counts().max_in_flight;
    assert!((3..=4).contains(&at_once), "{at_once}: a slot is taken until the body's end");
    assert_eq!(tally.seen().running, 0);
    assert_eq!(store.endpoints()[0].slots_taken, 0);
    assert!(server.counts().connections <= 4, "connections are used again: {:?}", server.counts());
}

#[tokio::test]
async fn a_late_read_is_asked_again_and_the_loser_is_dropped() {
    let server = server();
    server.set_shape(Shape { first_byte_latency: Duration::from_millis(2), ..Shape::default() });
    let hedging = Some(Hedging { quantile: 0.95, budget: 0.5 });
    let (store, tally) = of(&[&server], Policy { hedging, ..policy() }).await;
    let hedges = || tally.count(|request, _| request.is_hedge);
    let losers = || tally.count(|request, outcome| !request.is_hedge && outcome == Outcome::Cancelled);
    for _ in 0..100 {
        read(&store).await.expect("reads");
        store.head(&key(KEY)).await.expect("is there");
    }
    // On a busy machine some were late by themselves.
    let (before, lost, won) = (hedges(), losers(), store.endpoints()[0].hedges.won);
    server.fault(Fault::Hang.times(1));
    read(&store).await.expect("the second one answers");
    server.fault(Fault::Hang.times(1));
    store.head(&key(KEY)).await.expect("the second one answers");
    assert_eq!(hedges(), before + 2);
    assert_eq!(losers(), lost + 2);
    assert_eq!(store.endpoints()[0].hedges.won, won + 2);
    server.release_hung();
    server.until(|counts| counts.in_flight == 0).await.expect("the losers are gone");

    // A page of keys is nobody's first byte.
    server.fault(Fault::Delay(Duration::from_millis(100)));
    store.list("", Page { after: None, limit: 10 }).await.expect("lists");
    assert_eq!(hedges(), before + 2);
    // One that was dropped at once may not have been sent.
    let (sent, all) = (tally.count(|_, outcome| outcome != Outcome::Cancelled), tally.seen().answers.len());
    assert!((sent as u64..=all as u64).contains(&server.counts().requests), "{sent} to {all}");
}

#[tokio::test]
async fn a_throttling_store_is_asked_less_until_it_recovers() {
    let server = server();
    server.set_shape(Shape { first_byte_latency: Duration::from_millis(5), ..Shape::default() });
    let patient = Policy { attempts_max: 10, requests_max: 32, ..policy() };
    let (store, tally) = of(&[&server], patient).await;
    let crowd = async |reads: usize| {
        let readers = (0..16).map(async |_| {
            for _ in 0..reads {
                read(&store).await?;
            }
            Ok::<_, Error>(())
        });
        try_join_all(readers).await.expect("every read is served in the end")
    };
    server.fault(Fault::Throttle(40));
    assert!(!store.is_throttling());
    crowd(10).await;
    assert!(store.is_throttling(), "reading ahead would only make it worse");
    let slots = store.endpoints()[0].slots;
    assert!(slots < 32, "{slots} slots");
    let throttled = tally.count(|_, outcome| outcome == Outcome::Throttled);
    assert!(
        (1..=160).contains(&throttled),
        "{throttled} refusals for 160 reads, where 16 readers could have had thousands"
    );
    assert_eq!(server.counts().requests, 160 + throttled as u64);

    server.clear_faults();
    eventually("all slots are back", async || {
        crowd(5).await;
        store.endpoints()[0].slots == 32
    })
    .await;
    eventually("it is forgotten", async || !store.is_throttling()).await;
    assert_eq!(tally.count(|_, outcome| outcome == Outcome::Throttled), throttled);
}

#[tokio::test]
async fn reads_go_on_elsewhere_and_come_back() {
    let (preferred, fallback) = (server(), server());
    let (store, tally) = of(&[&preferred, &fallback], policy()).await;
    read(&store).await.expect("reads");
    assert_eq!(fallback.counts().requests, 0, "nobody asks it without need");
    preferred.fault(Fault::Close);
    for _ in 0..50 {
        read(&store).await.expect("the fallback serves");
    }
    store.head(&key(KEY)).await.expect("this, too");
    assert!(store.endpoints()[0].is_in_trouble && !store.endpoints()[1].is_in_trouble);
    let failed = tally.count(|request, _| &*request.endpoint == "preferred");
    assert!(failed <= 10, "it is let alone: {failed}");
    preferred.clear_faults();
    eventually("it is preferred again", async || {
        read(&store).await.expect("reads");
        !store.endpoints()[0].is_in_trouble
    })
    .await;
    let before = fallback.counts().requests;
    read(&store).await.expect("reads");
    assert_eq!(fallback.counts().requests, before);
}

#[tokio::test]
async fn throttled_and_late_reads_go_on_elsewhere() {
    for fault in [Fault::Status(StatusCode::TOO_MANY_REQUESTS), Fault::Hang, Fault::IgnoreRange] {
        let (preferred, fallback) = (server(), server());
        preferred.fault(fault);
        let impatient = S3Config { read_timeout: Duration::from_millis(200), ..s3(preferred.endpoint()) };
        let (store, _) = origin([impatient, s3(fallback.endpoint())], policy()).await;
        read(&store).await.expect("the fallback serves");
        preferred.release_hung();
    }
}

#[tokio::test]
async fn a_fallback_is_not_believed_when_it_has_less() {
    let (preferred, fallback) = (server(), server());
    let (store, _) = of(&[&preferred, &fallback], policy()).await;
    let object = store.head(&key(KEY)).await.expect("is there");

    // What the preferred one says is final, also when the other has more.
    fallback.put_pattern(BUCKET, "old.mp4", SIZE, SEED);
    assert!(store.head(&key("old.mp4")).await.expect_err("gone").is_not_found());
    preferred.fault(Fault::Status(StatusCode::FORBIDDEN).times(1));
    assert!(matches!(store.head(&key(KEY)).await, Err(Error::Forbidden(_))));
    assert_eq!(fallback.counts().requests, 0);

    preferred.put_pattern(BUCKET, "new.mp4", SIZE, SEED);
    preferred.fault(Fault::Status(StatusCode::INTERNAL_SERVER_ERROR));
    let is_down = |error: Error| assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    // Through the first failures and on, when the preferred one is no longer asked.
    for _ in 0..5 {
        is_down(store.head(&key("new.mp4")).await.expect_err("not copied yet"));
        is_down(store.get(&key("new.mp4"), 0..10, None).await.expect_err("not copied yet"));
        finish(store.get(&key(KEY), 10..20, Some(&object)).await.expect("the same version"))
            .await
            .expect("reads");
    }
    fallback.put(BUCKET, KEY, Stored::pattern(SIZE, SEED + 1));
    for _ in 0..5 {
        is_down(store.get(&key(KEY), 10..20, Some(&object)).await.expect_err("another version there"));
    }
    assert!(store.endpoints()[0].is_in_trouble);
    // Asked from scratch, the other version is a whole of its own.
    let other = store.head(&key(KEY)).await.expect("there is one");
    assert_ne!(other.version, object.version);
}

#[tokio::test]
async fn writes_go_to_the_preferred_endpoint_alone() {
    let (preferred, fallback) = (server(), server());
    let (store, _) = of(&[&preferred, &fallback], policy()).await;
    // The shaped origin can only be read.
    store.delete(&key(KEY)).await.expect_err("refused");
    assert_eq!((preferred.counts().requests, fallback.counts().requests), (1, 0));
    assert_eq!(preferred.log()[0].method, Method::DELETE.as_str());
}

/// With nowhere else to go, a client is told soon, and the store is left in peace.
#[tokio::test]
async fn alone_and_in_trouble_each_read_is_one_short_try() {
    let server = server();
    server.fault(Fault::Status(StatusCode::BAD_GATEWAY));
    let (store, tally) = of(&[&server], Policy { attempts_max: 3, ..policy() }).await;
    read(&store).await.expect_err("down");
    assert_eq!(tally.seen().answers.len(), 3, "as often as allowed");
    read(&store).await.expect_err("down");
    assert_eq!(tally.seen().answers.len(), 4, "and then once each");
    server.clear_faults();
    read(&store).await.expect("well again, and asked at once");
    assert!(!store.endpoints()[0].is_in_trouble);
}
