//! Reads of what is at hand: whole segments in memory, and what has landed of a fill that still runs. The store is
//! the shaped origin, over real HTTP.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use seekway_cache::{Cache, Config, MetadataPolicy, Segmentation, Source};
use seekway_loadtests::origin::{Fault, Origin, Shape};
use seekway_storage::ObjectKey;
use seekway_storage::s3::{S3Config, S3Store, StaticCredentials};
use tokio::runtime::Runtime;

const KIB: u64 = 1024;
const OBJECT_BYTES: u64 = 16 * KIB * KIB;
/// Nothing that is measured becomes old or late meanwhile.
const LONG: Duration = Duration::from_hours(1);

pub(crate) fn bench(criterion: &mut Criterion) {
    memory_hit(criterion);
    follower(criterion);
}

fn memory_hit(criterion: &mut Criterion) {
    let runtime = runtime();
    let (_origin, cache) = runtime.block_on(cache(64 * KIB, None));
    runtime.block_on(read(&cache, 0..OBJECT_BYTES));
    let mut offsets = (0..OBJECT_BYTES).step_by(64 << 10).cycle();
    let mut group = criterion.benchmark_group("memory hit");
    group.throughput(Throughput::Bytes(64 * KIB)).bench_function("64 KiB", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let offset = offsets.next().expect("without end");
            read(&cache, offset..offset + 64 * KIB)
        });
    });
    assert_eq!(runtime.block_on(read(&cache, 0..1)), Some(Source::Memory));
}

fn follower(criterion: &mut Criterion) {
    let runtime = runtime();
    // Half of a segment lands, so that it is in the fill and not yet in memory.
    let (_origin, cache) = runtime.block_on(cache(128 * KIB, Some(Fault::HangAfter(64 * KIB))));
    let (object, _) = runtime.block_on(cache.open(&key(), Some(0..128 * KIB))).expect("a good store");
    let mut first = cache.read(object, 0..128 * KIB);
    while first.remaining() > 64 * KIB {
        runtime.block_on(first.next()).expect("more to come").expect("a good store");
    }
    let mut group = criterion.benchmark_group("follower");
    group.throughput(Throughput::Bytes(64 * KIB)).bench_function("64 KiB on a running fill", |bencher| {
        bencher.to_async(&runtime).iter(|| read(&cache, 0..64 * KIB));
    });
    assert_eq!(runtime.block_on(read(&cache, 0..1)), Some(Source::Joined));
}

/// A cache in front of an origin with one object, whose bodies may be broken.
async fn cache(segment_bytes: u64, fault: Option<Fault>) -> (Origin, Cache) {
    let origin = Origin::start(Shape::default()).expect("a free port");
    origin.put_pattern("bucket", key().as_str(), OBJECT_BYTES, 1);
    if let Some(fault) = fault {
        origin.fault(fault);
    }
    let secret = StaticCredentials {
        access_key_id: "bench".into(),
        secret_access_key: "bench".into(),
        session_token: None,
    };
    let store = S3Store::connect(S3Config {
        endpoint: Some(origin.endpoint()),
        region: Some("eu-central-1".into()),
        force_path_style: true,
        credentials: Some(secret),
        read_timeout: LONG,
        ..S3Config::new("bucket")
    });
    let config = Config {
        memory_bytes: 64 << 20,
        budget_bytes: 64 << 20,
        segmentation: Segmentation::new(segment_bytes),
        metadata: MetadataPolicy {
            ttl: LONG,
            stale_while_revalidate: LONG,
            stale_if_error: LONG,
            negative_ttl: LONG,
        },
        redis: None,
    };
    (origin, Cache::new(Arc::new(store.await), config).expect("no shared tier to get wrong"))
}

/// Opens and reads a range to its end, and says where its first bytes came from.
async fn read(cache: &Cache, range: Range<u64>) -> Option<Source> {
    let (object, _) = cache.open(&key(), Some(range.clone())).await.expect("a good store");
    let mut reader = cache.read(object, range);
    while let Some(bytes) = reader.next().await {
        std::hint::black_box(bytes.expect("a good store"));
    }
    reader.first_source()
}

fn key() -> ObjectKey {
    ObjectKey::new("films/one.mp4").expect("a valid key")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
