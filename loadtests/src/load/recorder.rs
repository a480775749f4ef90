//! What a run came to.

use std::{
    ops::AddAssign,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::sessions::{SessionRecorder, Sessions};
use crate::seaweed::Checked;

/// Latencies above this count as this.
const LATENCY_MAX: Duration = Duration::from_mins(2);
/// Points of a percentile curve, from the median to the slowest, each ten times rarer in so many steps.
const STEPS_PER_DECADE: i32 = 8;
/// A client that is busier than this has hardly been waiting for the server.
const CLIENT_SHARE_MAX: f64 = 0.9;

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
    /// Of each herd, the first byte and the end of the one who was served last.
    pub(super) herds: Vec<(Duration, Duration)>,
    /// The longest time that a stream which was owed bytes got none.
    pub(super) longest_gap: Option<Duration>,
    pub(super) sessions: Option<SessionRecorder>,
    pub(super) client: ClientTime,
}

/// What the threads that made the load did with their time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClientTime {
    pub(super) threads: usize,
    /// On a processor.
    pub(super) cpu: Duration,
    /// Ready, but another thread had the processor.
    pub(super) queued: Duration,
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
    /// Of each herd, the first byte of the one who got it last.
    pub last_ttfb: Option<Percentiles>,
    /// Of each herd, the end of the last one's body.
    pub last_total: Option<Percentiles>,
    /// The longest time that an HTTP/2 stream with a request under way got no byte, in milliseconds.
    pub longest_gap_ms: Option<f64>,
    /// What players met with.
    pub sessions: Option<Sessions>,
    /// Threads that made the load.
    pub client_threads: usize,
    /// Their processor time.
    pub client_cpu_seconds: f64,
    /// How long they were ready to go on and got no processor: what the machine, not the server, is to blame for.
    pub client_queued_seconds: f64,
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
        Self {
            requests: 0,
            bytes: 0,
            verified_bytes: 0,
            wrong: 0,
            failed: 0,
            first_failure: None,
            ttfb: histogram(),
            total: histogram(),
            herds: Vec::new(),
            longest_gap: None,
            sessions: None,
            client: ClientTime::default(),
        }
    }

    /// A request that was due at `due` has its whole body of `bytes` now; `wrong` says whether a byte of it was, if they
    /// were looked at. Returns when, since it was due, its first byte and its end had come.
    pub(super) fn answered(
        &mut self,
        due: Instant,
        first_byte: Option<Instant>,
        bytes: u64,
        wrong: Option<bool>,
    ) -> (Duration, Duration) {
        let end = Instant::now();
        let times = (first_byte.unwrap_or(end) - due, end - due);
        self.requests += 1;
        self.first_byte(times.0);
        self.total.saturating_record(nanos(times.1));
        self.bytes += bytes;
        self.verified_bytes += if wrong.is_some() { bytes } else { 0 };
        self.wrong += u64::from(wrong == Some(true));
        times
    }

    /// An answer took so long to begin.
    pub(super) fn first_byte(&mut self, after: Duration) {
        self.ttfb.saturating_record(nanos(after));
    }

    /// A stream got its last bytes at `then`, and the next ones now.
    pub(super) fn gap(&mut self, then: Instant) {
        self.longest_gap = self.longest_gap.max(Some(then.elapsed()));
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
        let herds = self.herds.len().max(other.herds.len());
        self.herds.resize(herds, Default::default());
        for (mine, others) in self.herds.iter_mut().zip(other.herds) {
            *mine = (mine.0.max(others.0), mine.1.max(others.1));
        }
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        match (&mut self.sessions, other.sessions) {
            (Some(mine), Some(others)) => mine.merge(others),
            (mine, others) => *mine = mine.take().or(others),
        }
        self.client += other.client;
    }

    pub(super) fn measurement(&self, took: Duration) -> Measurement {
        let last = |time: fn(&(Duration, Duration)) -> Duration| {
            let mut times = histogram();
            self.herds.iter().for_each(|herd| times.saturating_record(nanos(time(herd))));
            (!times.is_empty()).then(|| Percentiles::of(&times))
        };
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
            last_ttfb: last(|herd| herd.0),
            last_total: last(|herd| herd.1),
            longest_gap_ms: self.longest_gap.map(|gap| gap.as_secs_f64() * 1e3),
            sessions: self.sessions.as_ref().map(SessionRecorder::sessions),
            client_threads: self.client.threads,
            client_cpu_seconds: self.client.cpu.as_secs_f64(),
            client_queued_seconds: self.client.queued.as_secs_f64(),
        }
    }
}

// === impl ClientTime ===

impl ClientTime {
    /// What has been added since an earlier reading.
    pub(super) fn since(self, earlier: Self) -> Self {
        let (cpu, queued) = (earlier.cpu, earlier.queued);
        Self { cpu: self.cpu.saturating_sub(cpu), queued: self.queued.saturating_sub(queued), ..self }
    }
}

impl AddAssign for ClientTime {
    fn add_assign(&mut self, other: Self) {
        self.threads += other.threads;
        self.cpu += other.cpu;
        self.queued += other.queued;
    }
}

// === impl Measurement ===

#[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
impl Measurement {
    /// Adds what the store has of uploads: those that were answered and are not there are wrong, too.
    pub fn put_checked(&mut self, Checked { right, bytes }: Checked) {
        self.wrong = self.requests.abs_diff(right);
        self.verified_bytes = bytes;
    }

    /// Answers a second.
    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// The share of requests that failed or had a wrong byte.
    pub fn failed_share(&self) -> f64 {
        let failed = self.failed + self.wrong;
        failed as f64 / (self.requests + self.failed).max(1) as f64
    }

    /// The share of their time that the client's threads were at work, or would have been with a processor of their
    /// own.
    pub fn client_share(&self) -> f64 {
        (self.client_cpu_seconds + self.client_queued_seconds) / (self.seconds * self.client_threads as f64)
    }

    /// Whether the client had no time left: then it was the one that was measured.
    pub fn client_was_the_limit(&self) -> bool {
        self.client_share() > CLIENT_SHARE_MAX
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
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
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

pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1000, nanos(LATENCY_MAX), 3).expect("the bounds are valid")
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "minutes in nanoseconds are below 2^52")]
fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
