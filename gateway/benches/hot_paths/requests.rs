//! Answers from memory: the body alone, and whole requests through everything but the connection.

use criterion::{BatchSize, Criterion, Throughput};
use seekway_cache::Source;
use seekway_gateway::bench;
use seekway_gateway::delivery::body::{Payload, Piece, Ranges};
use seekway_gateway::delivery::range::RANGES_MAX;
use tower::ServiceExt;

use crate::stand::{KIB, OBJECT_BYTES, drain, key, origin, receive, request, runtime, warm};

pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime = runtime();
    let (_origin, config) = origin();
    let (cache, service) = runtime.block_on(bench::open(&config)).expect("a gateway");
    runtime.block_on(warm(&cache));
    let (object, _) = runtime.block_on(cache.open(&key(), None)).expect("known");

    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Bytes(1024 * KIB)).bench_function("1 MiB from memory", |bencher| {
        bencher.to_async(&runtime).iter(|| {
            let reader = Piece::Read(cache.read(object.clone(), 0..1024 * KIB));
            drain(Payload::Ranges(Box::new(Ranges::new(vec![reader], 1024 * KIB, Source::Memory))))
        });
    });
    group.finish();

    let stride = OBJECT_BYTES / RANGES_MAX as u64;
    let parts: Vec<String> = (0..OBJECT_BYTES)
        .step_by(usize::try_from(stride).expect("small"))
        .map(|start| format!("{start}-{}", start + 65_535))
        .collect();
    let parts = format!("bytes={}", parts.join(","));
    for (group, name, headers) in [
        ("request", "64 KiB from memory", [("range", "bytes=1048576-1114111")]),
        ("request", "304", [("if-none-match", &*object.object.version.etag)]),
        ("multipart", "32 parts", [("range", &*parts)]),
    ] {
        let ask = || request(&headers);
        let answer = async |request| {
            receive(service.clone().oneshot(request).await.expect("never fails").into_body()).await
        };
        let length = runtime.block_on(answer(ask()));
        let mut group = criterion.benchmark_group(group);
        group.throughput(if length == 0 { Throughput::Elements(1) } else { Throughput::Bytes(length) });
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_batched(ask, answer, BatchSize::SmallInput);
        });
    }
}
