//! The pure steps of an answer: which bytes are asked for, whether they are wanted, and what lies between them.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, Throughput};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::method::Method;
use seekway_gateway::delivery::conditional::{self, Validators};
use seekway_gateway::delivery::multipart::{Boundary, Layout};
use seekway_gateway::delivery::range::{RANGES_MAX, Ranges, Resolved};

const OBJECT_BYTES: u64 = 734_003_200;
const ETAG: &str = "\"9b2cf535f27731c974343645a3985328-88\"";
const WRITTEN: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

pub(crate) fn bench(criterion: &mut Criterion) {
    range(criterion);
    conditional(criterion);
    multipart(criterion);
}

fn range(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("range");
    for (count, name) in [(1, "one"), (RANGES_MAX as u64, "32")] {
        let headers = headers(header::RANGE, &range_of(count));
        let ranges = Ranges::of(&headers).expect("well-formed");
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("parse {name}"), |bencher| {
            bencher.iter(|| Ranges::of(black_box(&headers)));
        });
        group.bench_function(format!("resolve {name}"), |bencher| {
            bencher.iter(|| black_box(&ranges).resolve(black_box(OBJECT_BYTES)));
        });
    }
}

fn conditional(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conditional");
    group.throughput(Throughput::Elements(1));
    let validators = Validators { etag: ETAG, last_modified: httpdate::parse_http_date(WRITTEN).ok() };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    for (name, value) in [
        (header::RANGE, "bytes=0-"),
        (header::IF_NONE_MATCH, ETAG),
        (header::IF_RANGE, ETAG),
        (header::IF_MODIFIED_SINCE, WRITTEN),
    ] {
        let title = if name == header::RANGE { "none" } else { name.as_str() };
        let headers = headers(name.clone(), value);
        group.bench_function(title, |bencher| {
            bencher.iter(|| {
                conditional::evaluate(&Method::GET, black_box(&headers), validators, black_box(now))
            });
        });
    }
}

fn multipart(criterion: &mut Criterion) {
    let ranges = Ranges::parse(range_of(RANGES_MAX as u64).as_bytes()).expect("well-formed");
    let Resolved::Multiple(ranges) = ranges.resolve(OBJECT_BYTES) else { panic!("they lie apart") };
    let media_type = HeaderValue::from_static("video/mp4");
    let mut group = criterion.benchmark_group("multipart");
    group.throughput(Throughput::Elements(ranges.len() as u64));
    group.bench_function("32 heads", |bencher| {
        bencher.iter(|| Layout::new(&Boundary::random(), &media_type, black_box(&ranges), OBJECT_BYTES));
    });
}

/// So many ranges of 64 KiB, a MiB apart.
fn range_of(count: u64) -> String {
    let ranges: Vec<String> =
        (1..=count).map(|nth| format!("{}-{}", nth << 20, (nth << 20) + 65_535)).collect();
    format!("bytes={}", ranges.join(", "))
}

/// One header that counts, among those that a player sends with it.
fn headers(name: HeaderName, value: &str) -> HeaderMap {
    let value = HeaderValue::from_str(value).expect("visible ASCII");
    let others = [(header::HOST, "media.example"), (header::ACCEPT, "*/*"), (header::ACCEPT_LANGUAGE, "en")];
    let others = others.map(|(name, value)| (name, HeaderValue::from_static(value)));
    others.into_iter().chain([(name, value)]).collect()
}
