//! The cache as its users meet it: one store, many readers, and time that is paused and told.

mod model;
mod redis;
mod store;

use std::time::Duration;

use futures_util::future::join_all;
use seekway_cache::{Error, Freshness, Source};
use seekway_storage::Error as StoreError;
use store::{Fault, POLICY, SEGMENT_BYTES, TestStore, cache, cache_of, key, read, unavailable};
use tokio::time::{Instant, sleep};

const MIB: usize = 1 << 20;
const SIZE: u64 = 10 << 20;

#[tokio::test(start_paused = true)]
async fn a_cold_read_costs_one_round_trip_and_a_hot_one_none() {
    let store = TestStore::new(1, SIZE);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    let begun = Instant::now();
    read(&cache, 100_000..110_000).await.expect("good store");
    assert_eq!(begun.elapsed(), store::FIRST_BYTE);
    assert_eq!((&store.gets()[..], store.state().heads), (&[98_304..110_592][..], 0));
    read(&cache, 100_000..110_000).await.expect("hot");
    assert_eq!((store.gets().len(), begun.elapsed()), (1, store::FIRST_BYTE));
    let (object, freshness) = cache.open(&key(), None).await.expect("known");
    assert!(matches!(freshness, Freshness::Fresh { .. }));
    let mut reader = cache.read(object, 100_000..100_001);
    reader.next().await.expect("one byte").expect("hot");
    assert_eq!(reader.first_source(), Some(Source::Memory));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_of_one_cold_segment_cause_one_get() {
    let store = TestStore::new(1, SIZE);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    let answers = join_all((0..1000).map(|n| read(&cache, 5000 + n..5000 + n + 1000))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(store.gets().len(), 1, "{:?}", store.gets());
}

#[tokio::test(start_paused = true)]
async fn a_sequential_read_has_several_long_runs_under_way() {
    let store = TestStore::new(1, 200 << 20);
    store.state().chunk_bytes = 64 << 10;
    store.state().bytes_per_second = Some(65_536_000);
    let cache = cache(&store, 64 * MIB, 512 * MIB);
    let begun = Instant::now();
    read(&cache, 0..100_000_000).await.expect("good store");
    let gets = store.gets();
    assert!(gets.len() <= 24, "{} GETs", gets.len());
    assert!(store.state().running_max >= 3);
    // Paused time runs by the timers alone, so this counts what overlapped: one connection takes 1.556 s.
    assert!(begun.elapsed() < Duration::from_millis(1556) / 3, "{:?}", begun.elapsed());
    let mut asked: Vec<_> = gets.iter().map(|get| (get.start, get.end)).collect();
    asked.sort_unstable();
    assert!(asked.windows(2).all(|pair| pair[0].1 <= pair[1].0), "no byte is asked for twice");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_ahead_of_a_throttling_store() {
    let store = TestStore::new(1, 200 << 20);
    store.state().throttling = true;
    store.state().chunk_bytes = 64 << 10;
    let cache = cache(&store, 64 * MIB, 512 * MIB);
    read(&cache, 0..20_000_000).await.expect("slow, and right");
    assert_eq!(store.state().running_max, 1, "only what the reader waits for");
}

/// A run is made of whole segments also when one segment is longer than a run would be.
#[tokio::test(start_paused = true)]
async fn segments_may_be_longer_than_runs() {
    for segment_bytes in [1 << 12, 1 << 16, 1 << 18, 1 << 19, 1 << 20, 1 << 22, 1 << 24] {
        let store = TestStore::new(1, SIZE * 4 + 12_345);
        store.state().chunk_bytes = 64 << 10;
        let cache = cache_of(&store, 64 * MIB, 256 * MIB, segment_bytes);
        read(&cache, 0..u64::MAX).await.expect("good store");
    }
}

/// A store that once said a wrong size of the right version must not poison what is remembered.
#[tokio::test(start_paused = true)]
async fn a_version_whose_size_was_wrong_once_is_read_right_later() {
    let store = TestStore::new(1, 10_000);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    read(&cache, 0..u64::MAX).await.expect("good store");
    store.state().object = Some((1, SIZE));
    sleep(POLICY.ttl + POLICY.stale_while_revalidate).await;
    read(&cache, 0..u64::MAX).await.expect("good store");
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_is_resumed_at_the_byte_where_it_broke() {
    let store = TestStore::new(1, SIZE);
    store.state().faults.extend([Fault::BreakAfter(10_001), Fault::BreakAfter(0), Fault::EndAfter(7)]);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    read(&cache, 0..100_000).await.expect("resumed");
    assert_eq!(store.gets(), [0..102_400, 10_001..102_400, 10_001..102_400, 10_008..102_400]);
    assert_eq!(cache.stats().fills_resumed, 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_while_resuming_is_tried_again() {
    let store = TestStore::new(1, SIZE);
    store.state().faults.extend([Fault::BreakAfter(100), Fault::Fail(unavailable())]);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    read(&cache, 0..100_000).await.expect("resumed");
    assert_eq!(store.gets().len(), 3);
}

/// Read-ahead that failed long ago, and a failure that the reader does wait for: neither cuts what is under way.
#[tokio::test(start_paused = true)]
async fn a_response_under_way_outlives_a_store_that_fails_for_a_while() {
    for (pause, outage) in [(Duration::from_millis(100), 9), (Duration::ZERO, 2)] {
        let store = TestStore::new(1, SIZE);
        store.state().bytes_per_second = Some(10_000_000);
        let cache = cache(&store, 64 * MIB, 64 * MIB);
        let (object, _) = cache.open(&key(), Some(0..u64::MAX)).await.expect("good store");
        let mut reader = cache.read(object, 0..SIZE);
        let outage = async {
            sleep(Duration::from_millis(150)).await;
            store.state().failing = Some(unavailable());
            sleep(Duration::from_secs(outage)).await;
            store.state().failing = None;
        };
        let reading = async {
            let mut offset = 0;
            while let Some(bytes) = reader.next().await {
                for got in bytes.expect("the response goes on") {
                    assert_eq!(got, store::byte(1, offset));
                    offset += 1;
                }
                sleep(pause).await;
            }
            assert_eq!(offset, SIZE);
        };
        tokio::join!(outage, reading);
        assert!(cache.stats().fills_failed > 0, "the test must see the outage");
    }
}

/// Whoever trails another reader relies on its fills, and must not be left alone with its window empty.
#[tokio::test(start_paused = true)]
async fn read_ahead_of_a_reader_that_leaves_goes_on_for_the_one_behind() {
    let store = TestStore::new(1, 64 << 20);
    store.state().chunk_bytes = 64 << 10;
    store.state().bytes_per_second = Some(1_000_000);
    let cache = cache(&store, 0, 1024 * MIB);
    let (object, _) = cache.open(&key(), Some(0..u64::MAX)).await.expect("good store");
    let (mut ahead, mut behind) = (cache.read(object.clone(), 0..64 << 20), cache.read(object, 0..64 << 20));
    for reader in [&mut ahead, &mut behind] {
        let mut taken = 0;
        while taken < 4 << 20 {
            taken += reader.next().await.expect("more").expect("good store").len();
        }
    }
    let running = cache.stats().fills_running;
    assert!(running > 1, "{running} fills: the window is open");
    drop(ahead);
    sleep(Duration::from_millis(300)).await;
    let stats = cache.stats();
    assert!(stats.fills_running > 1 && stats.fills_stopped == 0, "{stats:?}");
    read_all(behind).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_hardly_delays_what_is_known() {
    let store = TestStore::new(1, SIZE);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    read(&cache, 0..10).await.expect("good store");
    store.state().first_byte = Duration::from_mins(10);
    sleep(POLICY.ttl + POLICY.stale_while_revalidate).await;
    let begun = Instant::now();
    read(&cache, 0..10).await.expect("stale");
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    for _ in 0..100 {
        read(&cache, 0..10).await.expect("stale");
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(201), "nobody else waited");
    assert_eq!(store.state().heads, 1, "and nobody else asked");
}

#[tokio::test(start_paused = true)]
async fn what_is_forbidden_is_remembered_briefly() {
    let store = TestStore::new(1, SIZE);
    let denied = std::io::Error::other("denied");
    store.state().failing = Some(StoreError::Forbidden(std::sync::Arc::new(denied)));
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    for _ in 0..10 {
        let error = read(&cache, 0..10).await.expect_err("forbidden");
        assert!(matches!(error, Error::Store(StoreError::Forbidden(_))));
    }
    assert_eq!(store.gets().len(), 1);
    store.state().failing = None;
    sleep(POLICY.negative_ttl).await;
    read(&cache, 0..10).await.expect("allowed now");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_always_breaks_is_given_up() {
    let store = TestStore::new(1, SIZE);
    store.state().faults.extend(std::iter::repeat_n(Fault::BreakAfter(0), 100));
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    let error = read(&cache, 0..100_000).await.expect_err("nothing ever comes");
    assert!(matches!(error, Error::Store(StoreError::Interrupted(_))), "{error:?}");
    assert!(store.gets().len() <= 5, "{}", store.gets().len());
}

#[tokio::test(start_paused = true)]
async fn a_replaced_object_fails_its_readers_and_the_next_open_finds_the_new_version() {
    let store = TestStore::new(1, SIZE);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    let (object, _) = cache.open(&key(), Some(0..1000)).await.expect("good store");
    store.state().object = Some((2, SIZE / 2));
    let error = cache.read(object, SIZE - 10..SIZE).next().await.expect("an answer").expect_err("gone");
    assert!(error.version_changed());
    assert_eq!(read(&cache, SIZE / 2 - 100..SIZE).await.expect("new version"), 2);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_fill_stops_after_a_while_and_keeps_its_whole_segments() {
    let store = TestStore::new(1, SIZE);
    store.state().bytes_per_second = Some(100_000);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    let (object, _) = cache.open(&key(), Some(0..100_000)).await.expect("good store");
    let mut reader = cache.read(object.clone(), 0..100_000);
    reader.next().await.expect("bytes").expect("good store");
    drop(reader);
    sleep(Duration::from_millis(240)).await;
    assert_eq!(cache.stats().fills_running, 1, "a seek may come back");
    sleep(Duration::from_millis(20)).await;
    let stats = cache.stats();
    assert_eq!((stats.fills_running, stats.fills_stopped), (0, 1));
    let landed = stats.store_bytes;
    assert!((20_000..40_000).contains(&landed), "{landed}");
    let hot = cache.read(object, 0..landed / SEGMENT_BYTES * SEGMENT_BYTES);
    let gets = store.gets().len();
    read_all(hot).await;
    assert_eq!(store.gets().len(), gets, "whole segments were kept");
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_fill_that_is_nearly_done_finishes() {
    let store = TestStore::new(1, SIZE);
    store.state().bytes_per_second = Some(10_000);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    let (object, _) = cache.open(&key(), Some(0..SEGMENT_BYTES)).await.expect("good store");
    drop(cache.read(object.clone(), 0..SEGMENT_BYTES));
    sleep(Duration::from_secs(1)).await;
    assert_eq!((cache.stats().fills_running, cache.stats().fills_stopped), (0, 0));
    read_all(cache.read(object, 0..SEGMENT_BYTES)).await;
    assert_eq!(store.gets().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_only_its_own_wait() {
    let store = TestStore::new(1, SIZE);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    let leader = tokio::spawn({
        let cache = cache.clone();
        async move { read(&cache, 0..1000).await }
    });
    let joiner = read(&cache, 0..1000);
    let leave = async {
        sleep(Duration::from_millis(10)).await;
        leader.abort();
    };
    let (answer, ()) = tokio::join!(joiner, leave);
    answer.expect("the flight went on");
    assert_eq!(store.gets().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_reader_holds_at_most_its_window() {
    let store = TestStore::new(1, 200 << 20);
    store.state().chunk_bytes = 64 << 10;
    let cache = cache(&store, 0, 1024 * MIB);
    let (object, _) = cache.open(&key(), Some(0..u64::MAX)).await.expect("good store");
    let mut reader = cache.read(object, 0..200 << 20);
    let mut taken = 0;
    while taken < 40 << 20 {
        taken += reader.next().await.expect("more").expect("good store").len();
    }
    sleep(Duration::from_secs(10)).await;
    let held = cache.stats().budget_in_use_bytes;
    assert!(held <= 64 << 20, "{held} bytes: the window and the run that is being read");
    drop(reader);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(cache.stats().budget_in_use_bytes, 0);
}

/// What many watch is not driven out by one who reads a huge film from end to end.
#[tokio::test(start_paused = true)]
async fn a_long_read_that_is_made_once_leaves_the_hot_set_in_memory() {
    const HOT: u64 = 4 << 20;
    let store = TestStore::new(1, 200 << 20);
    store.state().chunk_bytes = 64 << 10;
    let cache = cache(&store, 8 * MIB, 64 * MIB);
    let read_hot = async || {
        for start in (0..HOT).step_by(64 << 10) {
            read(&cache, start..start + (64 << 10)).await.expect("good store");
        }
    };
    for _ in 0..3 {
        read_hot().await;
    }
    read(&cache, 100 << 20..200 << 20).await.expect("good store");
    store.state().gets.clear();
    read_hot().await;
    let again: u64 = store.gets().iter().map(|get| get.end - get.start).sum();
    assert!(again <= HOT / 10, "{again} of {HOT} bytes had to be read again");
}

#[tokio::test(start_paused = true)]
async fn without_memory_a_reader_waits_its_turn_and_then_is_told() {
    let store = TestStore::new(1, SIZE);
    let cache = cache(&store, 0, 4 * 4096);
    let (object, _) = cache.open(&key(), None).await.expect("good store");
    let mut held = Vec::new();
    for nth in 0..4 {
        let mut reader = cache.read(object.clone(), nth * SEGMENT_BYTES..(nth + 1) * SEGMENT_BYTES);
        while let Some(bytes) = reader.next().await {
            held.push(bytes.expect("good store"));
        }
    }
    let begun = Instant::now();
    let error = cache.read(object.clone(), 100_000..100_001).next().await.expect("an answer");
    assert!(matches!(error, Err(Error::Busy)));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    let mut waiting = cache.read(object, 100_000..100_001);
    let give = async {
        sleep(Duration::from_secs(2)).await;
        held.clear();
    };
    let (bytes, ()) = tokio::join!(waiting.next(), give);
    bytes.expect("an answer").expect("there was memory in time");
}

#[tokio::test(start_paused = true)]
async fn metadata_is_fresh_then_revalidated_behind_a_stale_answer() {
    let store = TestStore::new(1, SIZE);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    read(&cache, 0..10).await.expect("good store");
    store.state().object = Some((2, SIZE));
    sleep(POLICY.ttl.saturating_sub(Duration::from_secs(1))).await;
    assert_eq!(read(&cache, 0..10).await.expect("fresh"), 1);
    sleep(Duration::from_secs(2)).await;
    let (object, freshness) = cache.open(&key(), None).await.expect("stale");
    assert_eq!(&*object.object.version.etag, "\"1\"");
    assert!(matches!(freshness, Freshness::Stale { past, .. } if past < Duration::from_secs(2)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(store.state().heads, 1, "one background request");
    assert_eq!(read(&cache, 0..10).await.expect("revalidated"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_is_hidden_for_a_bounded_time() {
    let store = TestStore::new(1, SIZE);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    read(&cache, 0..10).await.expect("good store");
    store.state().failing = Some(unavailable());
    sleep(POLICY.ttl + POLICY.stale_while_revalidate + Duration::from_secs(1)).await;
    assert_eq!(read(&cache, 0..10).await.expect("stale if error"), 1);
    let heads = store.state().heads;
    assert_eq!(read(&cache, 0..10).await.expect("at once"), 1);
    assert_eq!(store.state().heads, heads, "a store that just failed is left alone");
    sleep(POLICY.stale_if_error).await;
    let error = read(&cache, 0..10).await.expect_err("bounded");
    assert!(error.is_retryable());
    store.state().failing = None;
    read(&cache, 0..10).await.expect("back again");
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_is_remembered_briefly_and_a_deleted_one_goes() {
    let store = TestStore::new(1, SIZE);
    store.state().object = None;
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    for _ in 0..10 {
        assert!(read(&cache, 0..10).await.expect_err("missing").is_not_found());
    }
    assert_eq!(store.gets().len(), 1);
    store.state().object = Some((1, SIZE));
    sleep(POLICY.negative_ttl).await;
    read(&cache, 0..10).await.expect("it is there now");
    store.state().object = None;
    sleep(POLICY.ttl + POLICY.stale_while_revalidate).await;
    assert!(read(&cache, 0..10).await.expect_err("deleted").is_not_found());
}

#[tokio::test(start_paused = true)]
async fn an_empty_object_and_an_offset_past_the_end_are_known_by_their_size() {
    let store = TestStore::new(1, 0);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    let (object, _) = cache.open(&key(), Some(0..u64::MAX)).await.expect("it exists");
    assert_eq!((object.object.size, store.gets().len(), store.state().heads), (0, 1, 1));
    assert!(cache.read(object, 0..0).next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn after_shutdown_nothing_runs_and_readers_are_told() {
    let store = TestStore::new(1, SIZE);
    store.state().bytes_per_second = Some(100_000);
    let cache = cache(&store, 64 * MIB, 64 * MIB);
    let (object, _) = cache.open(&key(), Some(0..100_000)).await.expect("good store");
    let mut reader = cache.read(object, 0..100_000);
    reader.next().await.expect("bytes").expect("good store");
    cache.shutdown().await;
    assert_eq!((cache.stats().fills_running, store.state().running), (0, 0));
    loop {
        match reader.next().await.expect("not silently short") {
            Ok(_) => {}
            Err(error) => break assert!(matches!(error, Error::ShuttingDown)),
        }
    }
}

async fn read_all(mut reader: seekway_cache::Reader) {
    while let Some(bytes) = reader.next().await {
        bytes.expect("readable");
    }
}
