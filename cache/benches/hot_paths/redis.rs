//! What it costs to write a segment as a value for Redis, and to believe one that came back.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use seekway_cache::redis::envelope;

const SEGMENT_BYTES: usize = 64 * 1024;
/// As `redis.rs` makes them, between NULs: store, key, ETag, version id, size, segment length and place.
const NAME: [&str; 7] =
    ["s3 bucket", "films/one.mp4", "\"9b2cf535f27731c974343645a3985328-88\"", "", "734003200", "65536", "42"];

pub(crate) fn bench(criterion: &mut Criterion) {
    let segment: Vec<u8> = (0..=u8::MAX).cycle().take(SEGMENT_BYTES).collect();
    let name = NAME.join("\0");
    let name = name.as_bytes();
    let value = Bytes::from(envelope::seal(name, &segment));
    let mut group = criterion.benchmark_group("redis");
    group.throughput(Throughput::Bytes(SEGMENT_BYTES as u64));
    group.bench_function("seal 64 KiB", |bencher| {
        bencher.iter(|| envelope::seal(black_box(name), black_box(&segment)));
    });
    group.bench_function("open 64 KiB", |bencher| {
        bencher.iter(|| envelope::open(black_box(name), black_box(&value)).expect("as it was sealed"));
    });
}
