//! What is counted.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use http::Method;
use seekway_cache::Source;
use seekway_gateway::bench;
use seekway_gateway::delivery::body::{Payload, Piece, Ranges};
use seekway_gateway::delivery::conditional::{self, Validators};
use seekway_gateway::delivery::range;
use tower::ServiceExt;

use crate::allocations;
use crate::stand::{KIB, OBJECT_BYTES, drain, key, origin, receive, request, runtime, warm};

/// So many operations are counted as one, so that what happens now and then (the cache's own housekeeping) has its
/// part in each.
pub(crate) const OPERATIONS: u64 = 1000;
/// Operations before those, so that nothing counts what happens once.
const WARM_UP: u64 = 100;

/// The cases' names: a whole request; the part of it that is the cache's and the body's; the part that is pure.
pub(crate) const CASES: [&str; 3] = [REQUEST, MEMORY_HIT, RANGE];
const REQUEST: &str = "request, 64 KiB from memory";
const MEMORY_HIT: &str = "memory hit and body, 64 KiB";
const RANGE: &str = "range and conditions";

const ETAG: &str = "\"9b2cf535f27731c974343645a3985328-88\"";

/// Runs a case, and returns the allocations of all its operations.
pub(crate) fn run(case: &str) -> u64 {
    let asked = [("range", "bytes=1048576-1114111"), ("if-range", ETAG)];
    let requests = |count| (0..count).map(|_| request(&asked[..1])).collect::<Vec<_>>();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let runtime = runtime();
    let hot = || {
        let (origin, config) = origin();
        let (cache, service) = runtime.block_on(bench::open(&config)).expect("a gateway");
        runtime.block_on(warm(&cache));
        (origin, cache, service)
    };
    match case {
        REQUEST => {
            let (_origin, _, service) = hot();
            let answer = async |requests| {
                for request in requests {
                    let response = service.clone().oneshot(request).await.expect("it never fails");
                    assert_eq!(receive(response.into_body()).await, 64 * KIB);
                }
            };
            runtime.block_on(answer(requests(WARM_UP)));
            let requests = requests(OPERATIONS);
            counted(|| runtime.block_on(answer(requests)))
        }
        MEMORY_HIT => {
            let (_origin, cache, _) = hot();
            let (key, cache) = (key(), &cache);
            let read = async |count: u64| {
                for start in
                    (0..OBJECT_BYTES).step_by(64 << 10).cycle().take(usize::try_from(count).expect("few"))
                {
                    let range = start..start + 64 * KIB;
                    let (object, _) = cache.open(&key, Some(range.clone())).await.expect("known");
                    let pieces = vec![Piece::Read(cache.read(object, range))];
                    let body = Payload::Ranges(Box::new(Ranges::new(pieces, 64 * KIB, Source::Memory)));
                    assert_eq!(drain(body).await, 64 * KIB);
                }
            };
            runtime.block_on(read(WARM_UP));
            counted(|| runtime.block_on(read(OPERATIONS)))
        }
        RANGE => {
            let headers = request(&asked).into_parts().0.headers;
            let validators =
                Validators { etag: ETAG, last_modified: Some(now - Duration::from_secs(100_000)) };
            let resolve = |count| {
                for _ in 0..count {
                    let headers = black_box(&headers);
                    black_box(conditional::needs_metadata_first(headers));
                    black_box(range::known_start(headers));
                    black_box(conditional::evaluate(&Method::GET, headers, validators, now));
                    black_box(range::resolve(headers, OBJECT_BYTES));
                }
            };
            resolve(WARM_UP);
            counted(|| resolve(OPERATIONS))
        }
        other => panic!("{other:?} is none of {CASES:?}"),
    }
}

/// Runs `operations`, which is all that callgrind looks at: it knows this function by its name. Returns their
/// allocations.
#[inline(never)]
fn counted(operations: impl FnOnce()) -> u64 {
    let before = allocations::so_far();
    operations();
    allocations::so_far() - before
}
