//! The tier that replicas share, on a real Redis: alone, watched by Sentinels, as a Cluster; in good health, slow,
//! dead and corrupted. A "replica" here is a cache of its own, with its own memory; the gateway's tests have
//! processes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use seekway_cache::{Cache, RedisConfig, Source, Stats};
use seekway_loadtests::redis::{Cluster, Redis, Sentinels};
use tokio::time::sleep;

use crate::store::{self, TestStore, byte, key, read};

const MIB: usize = 1 << 20;
const SIZE: u64 = 10 << 20;
/// So long that an answer is never late on a busy machine; tests of lateness set their own.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// Whatever a test waits for comes within this.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(url: &str, read_limit: Duration) -> RedisConfig {
    let url = url.parse().expect("a Redis URL");
    RedisConfig { url, namespace: "store".into(), ttl: Duration::from_mins(1), read_limit }
}

/// A cache that is connected to its Redis.
async fn replica(store: &Arc<TestStore>, url: &str) -> Cache {
    let cache = unconnected(store, url, READ_LIMIT);
    until("the replica is connected", || cache.stats().redis_up == 1).await;
    cache
}

fn unconnected(store: &Arc<TestStore>, url: &str, read_limit: Duration) -> Cache {
    let cache = store::replica(store, 16 * MIB, 64 * MIB, config(url, read_limit));
    let served = cache.clone();
    tokio::spawn(async move { served.serve_redis().await });
    cache
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

async fn first_source(cache: &Cache, range: Range<u64>) -> Source {
    let (object, _) = cache.open(&key(), Some(range.clone())).await.expect("good store");
    let mut reader = cache.read(object, range.clone());
    let mut offset = range.start;
    while let Some(bytes) = reader.next().await {
        for got in bytes.expect("good store") {
            assert_eq!(got, byte(1, offset), "at {offset}");
            offset += 1;
        }
    }
    assert_eq!(offset, range.end);
    reader.first_source().expect("it has read")
}

fn asked(store: &TestStore) -> (usize, u64) {
    (store.gets().len(), store.state().heads)
}

#[tokio::test]
async fn a_segment_is_written_on_its_second_touch_and_read_by_others_after_a_restart() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let one = replica(&store, &redis.url()).await;
    assert_eq!(first_source(&one, 8192..20_000).await, Source::Filled);
    assert_eq!(one.stats().redis_writes, 0, "one touch is no reason");
    assert_eq!(first_source(&one, 8192..20_000).await, Source::Memory);
    until("the second touch is written", || one.stats().redis_writes == 3).await;
    assert_eq!(first_source(&one, 8192..20_000).await, Source::Memory);
    one.shutdown().await;

    let other = replica(&store, &redis.url()).await;
    assert_eq!(first_source(&other, 9000..20_000).await, Source::Redis);
    assert_eq!(asked(&store), (1, 0), "neither the object nor its bytes were asked for again");
    let stats = other.stats();
    assert_eq!((stats.redis_segments_read, stats.redis_corrupt, stats.redis_records), (3, 0, 1));
    assert_eq!(first_source(&other, 9000..20_000).await, Source::Memory);
    assert_eq!(other.stats().redis_writes, 0, "it is there already");
}

#[tokio::test]
async fn many_replicas_that_want_one_cold_range_cause_one_get() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let url = redis.url();
    let replicas = join_all((0..8).map(|_| replica(&store, &url))).await;
    for start in [0, 1 << 20, 5_000_000] {
        let before = store.gets().len();
        let range = start..start + 100_000;
        let reads = replicas.iter().flat_map(|cache| (0..4).map(|_| read(cache, range.clone())));
        assert!(join_all(reads).await.iter().all(Result::is_ok));
        assert_eq!(store.gets().len() - before, 1, "{:?}", store.gets());
    }
    assert_eq!(store.state().heads, 0);
    let waits = sum(&replicas, |stats| stats.redis_waits_vain);
    assert_eq!(waits, 0);
}

/// Also when that is far longer than Redis takes, and from the first read on.
#[tokio::test]
async fn a_slow_store_is_asked_once_all_the_same() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    store.state().first_byte = Duration::from_millis(400);
    let url = redis.url();
    let replicas = join_all((0..4).map(|_| replica(&store, &url))).await;
    for start in [0, 1 << 20, 5_000_000] {
        let before = store.gets().len();
        let range = start..start + 100_000;
        assert!(
            join_all(replicas.iter().map(|cache| read(cache, range.clone()))).await.iter().all(Result::is_ok)
        );
        assert_eq!(store.gets().len() - before, 1, "{:?}", store.gets());
    }
    assert_eq!((store.state().heads, sum(&replicas, |stats| stats.redis_waits_vain)), (0, 0));
}

#[tokio::test]
async fn what_one_replica_has_in_memory_another_gets_without_the_store() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let (one, other) = (replica(&store, &redis.url()).await, replica(&store, &redis.url()).await);
    assert_eq!(first_source(&one, 0..300_000).await, Source::Filled);
    assert_eq!(first_source(&other, 100_000..200_000).await, Source::Redis);
    assert_eq!(store.gets().len(), 1);
    assert!(one.stats().redis_asked_by_others >= 1);
}

#[tokio::test]
async fn a_replica_that_died_is_not_waited_for_twice() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let (one, other) = (replica(&store, &redis.url()).await, replica(&store, &redis.url()).await);
    read(&one, 0..300_000).await.expect("good store");
    one.shutdown().await;
    assert_eq!(first_source(&other, 0..4096).await, Source::Filled);
    assert_eq!(first_source(&other, 100_000..104_096).await, Source::Filled);
    assert_eq!(other.stats().redis_waits_vain, 1, "the second time it is suspected");
    // It was given up because it does not listen, and not for the time that the store may take: what it was asked was
    // found in its list, long before that would have lapsed.
    assert_eq!(redis.command(&["KEYS", "seekway:requests:*"]).expect("it answers"), "*0\r\n");
}

#[tokio::test]
async fn a_replica_that_has_evicted_what_it_leased_gives_the_lease_back() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let forgetful = store::replica(&store, 0, 64 * MIB, config(&redis.url(), READ_LIMIT));
    let served = forgetful.clone();
    tokio::spawn(async move { served.serve_redis().await });
    until("the replica is connected", || forgetful.stats().redis_up == 1).await;
    read(&forgetful, 0..4096).await.expect("good store");
    until("the fill is forgotten", || forgetful.stats().fills_running == 0).await;
    let other = replica(&store, &redis.url()).await;
    assert_eq!(first_source(&other, 0..4096).await, Source::Filled);
    assert_eq!(other.stats().redis_waits_vain, 0);
    assert_eq!(forgetful.stats().redis_asked_by_others, 1);
}

/// Nor is its lease a reason for a herd: whoever claims it next is asked by the others.
#[tokio::test]
async fn a_lease_that_is_given_back_makes_no_herd() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let forgetful = store::replica(&store, 0, 64 * MIB, config(&redis.url(), READ_LIMIT));
    let served = forgetful.clone();
    tokio::spawn(async move { served.serve_redis().await });
    until("the replica is connected", || forgetful.stats().redis_up == 1).await;
    read(&forgetful, 0..4096).await.expect("good store");
    until("the fill is forgotten", || forgetful.stats().fills_running == 0).await;
    let before = store.gets().len();
    let url = redis.url();
    let replicas = join_all((0..6).map(|_| replica(&store, &url))).await;
    assert!(join_all(replicas.iter().map(|cache| read(cache, 0..4096))).await.iter().all(Result::is_ok));
    assert_eq!(sum(&replicas, |stats| stats.redis_waits_vain), 0);
    assert_eq!(store.gets().len() - before, 1, "{:?}", store.gets());
}

#[tokio::test]
async fn what_redis_has_lost_is_given_to_it_again() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let one = replica(&store, &redis.url()).await;
    for _ in 0..2 {
        read(&one, 0..4096).await.expect("good store");
    }
    until("the second touch is written", || one.stats().redis_writes == 1).await;
    let keys = redis.command(&["KEYS", "*:s0"]).expect("it answers");
    let key = keys.lines().last().expect("one key");
    assert!(redis.command(&["DEL", key]).expect("it answers").starts_with(":1"), "{keys}");
    // Another replica finds the lease, and asks.
    let other = replica(&store, &redis.url()).await;
    assert_eq!(first_source(&other, 0..4096).await, Source::Redis);
    assert_eq!((store.gets().len(), other.stats().redis_waits_vain), (1, 0));
    // And after Redis was away, so is what a reader wants once more.
    redis.pause();
    let late = async {
        while one.stats().redis_up == 1 {
            read(&one, fastrand::u64(..SIZE - 4096)..SIZE).await.expect("the store is enough");
        }
    };
    tokio::time::timeout(PATIENCE * 2, late).await.expect("the circuit breaker notices");
    redis.resume();
    until("Redis is back", || one.stats().redis_up == 1).await;
    let before = one.stats().redis_writes;
    let again = async {
        while one.stats().redis_writes == before {
            read(&one, 0..4096).await.expect("hot");
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("written again");
}

#[tokio::test]
async fn a_redis_that_is_full_is_read_and_left_in_peace() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let one = replica(&store, &redis.url()).await;
    for _ in 0..2 {
        read(&one, 0..4096).await.expect("good store");
    }
    until("the second touch is written", || one.stats().redis_writes == 1).await;
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).expect("it answers");
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).expect("it answers");
    let other = replica(&store, &redis.url()).await;
    assert_eq!(first_source(&other, 0..4096).await, Source::Redis);
    for nth in 1..40 {
        for _ in 0..2 {
            read(&other, nth * 8192..nth * 8192 + 100).await.expect("the store is enough");
        }
    }
    assert_eq!((other.stats().redis_up, other.stats().redis_opened), (1, 0), "{:?}", other.stats());
}

/// A record that outlives its object would bring it back when the "missing" is forgotten.
#[tokio::test]
async fn an_object_that_is_gone_stays_gone() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let (one, other) = (replica(&store, &redis.url()).await, replica(&store, &redis.url()).await);
    read(&one, 0..4096).await.expect("good store");
    store.state().object = None;
    // The record still says that it is there; the store, asked for a segment, that it is not.
    assert!(read(&other, 1_000_000..1_000_001).await.is_err());
    assert!(read(&other, 1_000_000..1_000_001).await.expect_err("gone").is_not_found());
    let gone = || redis.command(&["KEYS", "*:m"]).expect("it answers").starts_with("*0");
    until("the record is gone, too", gone).await;
}

#[tokio::test]
async fn a_version_that_is_outdated_is_not_believed_again() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let (one, other) = (replica(&store, &redis.url()).await, replica(&store, &redis.url()).await);
    read(&one, 0..4096).await.expect("good store");
    store.state().object = Some((2, SIZE));
    // The record in Redis still says version 1; a segment that nobody has tells that it is gone.
    let error = read(&other, 1_000_000..1_004_096).await.expect_err("the object has changed");
    assert!(error.version_changed());
    assert_eq!(read(&other, 1_000_000..1_004_096).await.expect("asked anew"), 2);
    until("the others are told", || other.stats().metadata_requests == 1).await;
    let third = replica(&store, &redis.url()).await;
    assert_eq!(read(&third, 1_000_000..1_004_096).await.expect("told by the other"), 2);
    assert_eq!(third.stats().metadata_requests, 0);
}

#[tokio::test]
async fn replicas_that_ask_for_what_is_missing_do_not_queue_for_it() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    store.state().object = None;
    let url = redis.url();
    let replicas = join_all((0..4).map(|_| replica(&store, &url))).await;
    let answers = join_all(replicas.iter().map(|cache| read(cache, 0..4096))).await;
    assert!(answers.into_iter().all(|answer| answer.is_err_and(|error| error.is_not_found())));
    store.state().object = Some((1, SIZE));
    let asked = store.gets().len();
    // Whoever asks next is told at once that nobody asks for it.
    let other = replica(&store, &url).await;
    read(&other, 0..4096).await.expect("it is there now");
    assert_eq!((store.gets().len(), other.stats().redis_waits_vain), (asked + 1, 0));
}

#[tokio::test]
async fn corrupted_values_are_misses_and_are_replaced() {
    let redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let one = replica(&store, &redis.url()).await;
    for _ in 0..2 {
        read(&one, 0..1 << 20).await.expect("good store");
    }
    until("all is written", || one.stats().redis_writes == (1 << 20) / store::SEGMENT_BYTES).await;
    redis.corrupt_all().expect("it answers");
    let other = replica(&store, &redis.url()).await;
    for start in (0..2).flat_map(|_| (0..4).map(|quarter| quarter << 18)) {
        read(&other, start..start + (1 << 18)).await.expect("not one wrong byte");
    }
    assert!(other.stats().redis_corrupt > 1, "the record of the object, and segments");
    until("the second touch writes them anew", || other.stats().redis_writes > 200).await;
    let third = replica(&store, &redis.url()).await;
    read(&third, 0..1 << 20).await.expect("good again");
    assert!(third.stats().redis_segments_read > 200, "{:?}", third.stats());
    assert_eq!(third.stats().redis_corrupt, 0);
}

/// The circuit opens, nobody waits, and it closes again by itself.
#[tokio::test]
async fn a_redis_that_is_paused_killed_and_started_again_fails_no_read() {
    let mut redis = Redis::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let cache = unconnected(&store, &redis.url(), Duration::from_millis(50));
    let breaker = async |expected: u64| {
        until("the circuit breaker notices", || cache.stats().redis_up == expected).await;
    };
    let reading = AtomicBool::new(true);
    let readers = async {
        let mut reads = 0;
        while reading.load(Ordering::Relaxed) {
            let start = fastrand::u64(..SIZE - 10_000);
            read(&cache, start..start + 10_000).await.expect("Redis is no reason to fail");
            reads += 1;
        }
        reads
    };
    let faults = async {
        breaker(1).await;
        redis.pause();
        breaker(0).await;
        redis.resume();
        breaker(1).await;
        redis.kill();
        breaker(0).await;
        redis.restart().expect("the same port");
        breaker(1).await;
        reading.store(false, Ordering::Relaxed);
    };
    let (reads, ()) = tokio::join!(readers, faults);
    assert!(reads > 0);
    let stats: Stats = cache.stats();
    assert!(stats.redis_timeouts > 0 && stats.redis_opened >= 2, "{stats:?}");
}

#[tokio::test]
async fn without_redis_a_cache_starts_and_reads() {
    let store = TestStore::new(1, SIZE);
    let cache = unconnected(&store, "redis://127.0.0.1:1", READ_LIMIT);
    read(&cache, 0..100_000).await.expect("the store is enough");
    assert_eq!(cache.stats().redis_up, 0);
}

#[tokio::test]
async fn a_cluster_serves_as_one_server_does() {
    let redis = Cluster::start().expect("redis-server");
    let store = TestStore::new(1, 40 << 20);
    let (one, other) = (replica(&store, &redis.url()).await, replica(&store, &redis.url()).await);
    // Several stretches, which lie on several nodes.
    for start in (0..10_u64).map(|nth| nth << 22) {
        assert_eq!(first_source(&one, start..start + 100_000).await, Source::Filled);
        assert_eq!(first_source(&other, start..start + 100_000).await, Source::Redis);
    }
    assert_eq!(store.gets().len(), 10);
}

#[tokio::test]
async fn a_failover_by_sentinels_is_followed() {
    let mut redis = Sentinels::start().expect("redis-server");
    let store = TestStore::new(1, SIZE);
    let (one, other) = (replica(&store, &redis.url()).await, replica(&store, &redis.url()).await);
    assert_eq!(first_source(&one, 0..4096).await, Source::Filled);
    assert_eq!(first_source(&other, 0..4096).await, Source::Redis);
    redis.servers[0].kill();
    let back = || async {
        // Reads notice that the master is gone; the Sentinels then name another.
        read(&one, 1_000_000..1_004_096).await.expect("the store is enough");
        let start = fastrand::u64(..7_000_000);
        read(&other, start..start + 10_000).await.expect("the store is enough");
        [&one, &other].iter().all(|cache| cache.stats().redis_up == 1 && cache.stats().redis_opened > 0)
    };
    let waiting = async {
        while !back().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the new master is found");
    assert_eq!(first_source(&one, 8_000_000..8_004_096).await, Source::Filled);
    assert_eq!(first_source(&other, 8_000_000..8_004_096).await, Source::Redis);
}

fn sum(replicas: &[Cache], figure: impl Fn(&Stats) -> u64) -> u64 {
    replicas.iter().map(|cache| figure(&cache.stats())).sum()
}
