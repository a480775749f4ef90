//! What a run came to.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latencies above this count as this.
const LATENCY_MAX: Duration = Duration::from_mins(2);
/// Points of a percentile curve, from the median to the slowest, each ten times rarer in so many steps.
const STEPS_PER_DECADE: i32 = 8;

/// Counts what one lane, or all, did.
#[derive(Debug)]
pub struct Recorder {
    pub(super) requests: u64,
    pub(super) bytes: u64,
    pub(super) verified_bytes: u64,
    pub(super) wrong: u64,
    pub(super) failed: u64,
    pub(super) first_failure: Option<String>,
    /// In nanoseconds.
    pub(super) ttfb: Histogram<u64>,
    /// In nanoseconds.
    pub(super) total: Histogram<u64>,
    pub(super) client_cpu: Duration,
}

/// What a run came to, in figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// From the start to the last answer.
    pub seconds: f64,
    /// Requests that were answered as they should.
    pub requests: u64,
    /// Requests that failed: no answer, another status than asked for, or a body cut short.
    pub failed: u64,
    /// Why the first of them did.
    pub first_failure: Option<String>,
    /// Bodies with a wrong byte, among those looked at.
    pub wrong: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Those among them that were compared with what they should be.
    pub verified_bytes: u64,
    /// From when a request was due to the first byte of its body.
    pub ttfb: Percentiles,
    /// From when a request was due to its body's end.
    pub total: Percentiles,
    /// Processor time of the client.
    pub client_cpu_seconds: f64,
}

/// A distribution of times, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many times there are.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// 95 of 100 are not later.
    pub p95: f64,
    /// 99 of 100 are not later.
    pub p99: f64,
    /// 999 of 1,000 are not later.
    pub p999: f64,
    /// The latest.
    pub max: f64,
    /// Pairs of a percentile and its time, for a curve.
    pub curve: Vec<(f64, f64)>,
}

// === impl Recorder ===

impl Recorder {
    pub(super) fn new() -> Self {
        let max = u64::try_from(LATENCY_MAX.as_nanos()).expect("two minutes fit");
        let histogram = || Histogram::new_with_bounds(1000, max, 3).expect("the bounds are valid");
        Self {
            requests: 0,
            bytes: 0,
            verified_bytes: 0,
            wrong: 0,
            failed: 0,
            first_failure: None,
            ttfb: histogram(),
            total: histogram(),
            client_cpu: Duration::ZERO,
        }
    }

    /// A request that was due at `due` had its first byte and its last byte then.
    pub(super) fn answered(&mut self, due: Instant, first_byte: Instant, end: Instant) {
        self.requests += 1;
        self.ttfb.saturating_record(nanos(first_byte - due));
        self.total.saturating_record(nanos(end - due));
    }

    pub(super) fn failed(&mut self, why: &impl ToString) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| why.to_string());
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.verified_bytes += other.verified_bytes;
        self.wrong += other.wrong;
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.ttfb.add(other.ttfb).expect("both have the same bounds");
        self.total.add(other.total).expect("both have the same bounds");
        self.client_cpu += other.client_cpu;
    }

    pub(super) fn measurement(&self, took: Duration) -> Measurement {
        Measurement {
            seconds: took.as_secs_f64(),
            requests: self.requests,
            failed: self.failed,
            first_failure: self.first_failure.clone(),
            wrong: self.wrong,
            bytes: self.bytes,
            verified_bytes: self.verified_bytes,
            ttfb: Percentiles::of(&self.ttfb),
            total: Percentiles::of(&self.total),
            client_cpu_seconds: self.client_cpu.as_secs_f64(),
        }
    }
}

// === impl Measurement ===

#[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
impl Measurement {
    /// Answers a second.
    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// 10^9 bytes of bodies a second.
    pub fn gigabytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds / 1e9
    }

    /// What of `seconds` of processor time falls on a request, in microseconds.
    pub fn micros_per_request(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.requests as f64
    }

    /// What of `seconds` of processor time falls on 10^9 bytes.
    pub fn seconds_per_gigabyte(&self, seconds: f64) -> f64 {
        seconds * 1e9 / self.bytes as f64
    }
}

// === impl Percentiles ===

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |percentile: f64| millis(histogram.value_at_quantile(percentile / 100.0));
        Self {
            count: histogram.len(),
            p50: at(50.0),
            p95: at(95.0),
            p99: at(99.0),
            p999: at(99.9),
            max: millis(histogram.max()),
            curve: curve(histogram.len()).map(|percentile| (percentile, at(percentile))).collect(),
        }
    }
}

/// Percentiles from 0 on, ever denser, as far as `count` measurements can tell them apart.
#[expect(clippy::cast_precision_loss, reason = "a curve of 2^52 requests would be as good")]
fn curve(count: u64) -> impl Iterator<Item = f64> {
    let rarest = 1.0 / count.max(1) as f64;
    let share = |step: i32| 10_f64.powf(-f64::from(step) / f64::from(STEPS_PER_DECADE));
    (0..).map(share).take_while(move |share| *share >= rarest).map(|share| 100.0 * (1.0 - share))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "minutes in nanoseconds are below 2^52")]
fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
