//! What peers are compared by: the same of everybody, and what only some scenarios have.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::report::CrowdRound;
use crate::{
    load::{Measurement, RateFound, Sessions},
    origin::Counts,
};

/// What peers are compared by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Answers a second.
    pub requests_per_second: Option<f64>,
    /// 10^9 bytes of bodies a second.
    pub gigabytes_per_second: Option<f64>,
    /// Processor time of the server for a request, in microseconds.
    pub cpu_micros_per_request: Option<f64>,
    /// Processor time of the server for 10^9 bytes of bodies, in seconds.
    pub cpu_seconds_per_gigabyte: Option<f64>,
    /// Processor time of the client for as many, in seconds; only of uploads, which it has to copy.
    pub client_cpu_seconds_per_gigabyte: Option<f64>,
    /// To the first byte of a body, in milliseconds, from when it was due.
    pub ttfb_p50_ms: Option<f64>,
    /// 95 of 100 are not later.
    pub ttfb_p95_ms: Option<f64>,
    /// 99 of 100 are not later.
    pub ttfb_p99_ms: Option<f64>,
    /// To the end of a body, in milliseconds, from when it was due.
    pub total_p50_ms: Option<f64>,
    /// 95 of 100 are not later.
    pub total_p95_ms: Option<f64>,
    /// 99 of 100 are not later.
    pub total_p99_ms: Option<f64>,
    /// Bytes that the origin sent for each byte that was delivered.
    pub origin_bytes_per_byte: Option<f64>,
    /// GETs of the origin for each 4 MiB that were delivered.
    pub origin_gets_per_4mib: Option<f64>,
    /// Memory of the server, with its sockets'.
    pub memory_bytes: Option<f64>,
    /// The median over herds of when the last of each has its first byte, in milliseconds.
    pub last_ttfb_p50_ms: Option<f64>,
    /// That without the origin's latency, in parts of the workload's beside it.
    pub last_ttfb_of_beside: Option<f64>,
    /// GETs of the origin for each place where a herd met, the warm-up's among them.
    pub origin_gets_per_place: Option<f64>,
    /// The share of the bytes that viewers got that the origin did not have to send.
    pub hit_ratio: Option<f64>,
    /// The share of viewers whose picture stood still.
    pub stalled_share: Option<f64>,
    /// Viewers a second that a search found too many, or the most that it tried.
    pub viewers_per_second: Option<f64>,
    /// The longest time that an HTTP/2 stream got no byte, in milliseconds.
    pub longest_gap_ms: Option<f64>,
    /// Bytes a second over HTTP/2, in parts of those of the workload beside it.
    pub throughput_of_beside: Option<f64>,
    /// The 95th percentile of whole answers beside the last crowd, in parts of the one beside the first.
    pub total_p95_of_first: Option<f64>,
    /// Clients of the last crowd who were refused.
    pub refused: Option<f64>,
    /// The most memory that the server says it takes by its configuration.
    pub memory_limit_bytes: Option<f64>,
    /// Its memory beside the last crowd, in parts of that.
    pub memory_of_limit: Option<f64>,
    /// Requests that failed.
    pub failed: Option<f64>,
    /// Bodies with a wrong byte.
    pub wrong: Option<f64>,
}

// === impl Figures ===

impl Figures {
    /// What a measurement says by itself.
    pub(super) fn of(
        measurement: &Measurement,
        cpu: Option<f64>,
        memory_bytes: Option<u64>,
        origin: &Counts,
    ) -> Self {
        let Measurement { requests, bytes, seconds, ttfb, total, .. } = measurement;
        let (requests, bytes) = (number(*requests), number(*bytes));
        let sessions = measurement.sessions.as_ref();
        let herds = measurement.last_ttfb.as_ref().map(|last| last.count);
        // Viewers' answers have no end of their own.
        let time = |time: f64| (requests > 0.0).then_some(time);
        let whole = |time: f64| (total.count > 0).then_some(time);
        Self {
            requests_per_second: per(requests, *seconds),
            gigabytes_per_second: per(bytes / 1e9, *seconds),
            cpu_micros_per_request: cpu.and_then(|cpu| per(cpu * 1e6, requests)),
            cpu_seconds_per_gigabyte: cpu.and_then(|cpu| per(cpu, bytes / 1e9)),
            ttfb_p50_ms: time(ttfb.p50),
            ttfb_p95_ms: time(ttfb.p95),
            ttfb_p99_ms: time(ttfb.p99),
            total_p50_ms: whole(total.p50),
            total_p95_ms: whole(total.p95),
            total_p99_ms: whole(total.p99),
            origin_bytes_per_byte: per(number(origin.body_bytes), bytes),
            origin_gets_per_4mib: per(number(origin.gets), bytes / f64::from(4 << 20)),
            memory_bytes: memory_bytes.map(number),
            last_ttfb_p50_ms: measurement.last_ttfb.as_ref().map(|last| last.p50),
            origin_gets_per_place: herds.and_then(|herds| per(number(origin.gets), number(herds + 1))),
            hit_ratio: sessions.and_then(|_| per(bytes - number(origin.body_bytes), bytes)),
            stalled_share: sessions.map(Sessions::stalled_share),
            longest_gap_ms: measurement.longest_gap_ms,
            failed: Some(number(measurement.failed)),
            wrong: Some(number(measurement.wrong)),
            ..Self::default()
        }
    }

    /// Adds what compares `own` measurement with the one `beside` it, of an origin with this `latency`.
    pub(super) fn put_beside(&mut self, own: &Measurement, beside: &Measurement, latency: Duration) {
        let last = own.last_ttfb.as_ref().zip(beside.last_ttfb.as_ref());
        self.last_ttfb_of_beside =
            last.and_then(|(own, beside)| per(own.p50 - latency.as_secs_f64() * 1e3, beside.p50));
        let throughput = || per(own.gigabytes_per_second(), beside.gigabytes_per_second());
        self.throughput_of_beside = own.longest_gap_ms.and_then(|_| throughput());
    }

    /// Adds what compares the last crowd with the first, and with the memory that the server says it takes.
    pub(super) fn put_crowds(&mut self, crowds: &[CrowdRound], memory_limit_bytes: Option<f64>) {
        let [first, .., last] = crowds else { return };
        self.total_p95_of_first = per(last.measurement.total.p95, first.measurement.total.p95);
        self.refused = Some(number(last.refused));
        self.memory_bytes = last.memory_bytes.map(|memory| number(memory + last.socket_bytes));
        self.memory_limit_bytes = memory_limit_bytes;
        self.memory_of_limit =
            self.memory_bytes.zip(memory_limit_bytes).and_then(|(memory, limit)| per(memory, limit));
    }

    /// Leaves out what uploads ask of no origin, and adds what they cost their client.
    pub(super) fn put_uploads(&mut self, own: &Measurement) {
        (self.origin_bytes_per_byte, self.origin_gets_per_4mib) = (None, None);
        self.client_cpu_seconds_per_gigabyte = per(own.client_cpu_seconds, number(own.bytes) / 1e9);
    }

    /// Leaves out what counts all steps of a search, and adds what it found.
    pub(super) fn put_search(&mut self, found: &RateFound) {
        self.viewers_per_second = Some(found.per_second);
        (self.cpu_micros_per_request, self.cpu_seconds_per_gigabyte) = (None, None);
        (self.origin_bytes_per_byte, self.origin_gets_per_4mib, self.hit_ratio) = (None, None, None);
    }

    /// The median of each by itself.
    pub(super) fn median(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> Option<f64>| median(all.iter().filter_map(figure));
        Self {
            requests_per_second: of(|figures| figures.requests_per_second),
            gigabytes_per_second: of(|figures| figures.gigabytes_per_second),
            cpu_micros_per_request: of(|figures| figures.cpu_micros_per_request),
            cpu_seconds_per_gigabyte: of(|figures| figures.cpu_seconds_per_gigabyte),
            client_cpu_seconds_per_gigabyte: of(|figures| figures.client_cpu_seconds_per_gigabyte),
            ttfb_p50_ms: of(|figures| figures.ttfb_p50_ms),
            ttfb_p95_ms: of(|figures| figures.ttfb_p95_ms),
            ttfb_p99_ms: of(|figures| figures.ttfb_p99_ms),
            total_p50_ms: of(|figures| figures.total_p50_ms),
            total_p95_ms: of(|figures| figures.total_p95_ms),
            total_p99_ms: of(|figures| figures.total_p99_ms),
            origin_bytes_per_byte: of(|figures| figures.origin_bytes_per_byte),
            origin_gets_per_4mib: of(|figures| figures.origin_gets_per_4mib),
            memory_bytes: of(|figures| figures.memory_bytes),
            last_ttfb_p50_ms: of(|figures| figures.last_ttfb_p50_ms),
            last_ttfb_of_beside: of(|figures| figures.last_ttfb_of_beside),
            origin_gets_per_place: of(|figures| figures.origin_gets_per_place),
            hit_ratio: of(|figures| figures.hit_ratio),
            stalled_share: of(|figures| figures.stalled_share),
            viewers_per_second: of(|figures| figures.viewers_per_second),
            longest_gap_ms: of(|figures| figures.longest_gap_ms),
            throughput_of_beside: of(|figures| figures.throughput_of_beside),
            total_p95_of_first: of(|figures| figures.total_p95_of_first),
            refused: of(|figures| figures.refused),
            memory_limit_bytes: of(|figures| figures.memory_limit_bytes),
            memory_of_limit: of(|figures| figures.memory_of_limit),
            failed: of(|figures| figures.failed),
            wrong: of(|figures| figures.wrong),
        }
    }
}

/// How much of one for each of the other, where that is a number.
fn per(amount: f64, of: f64) -> Option<f64> {
    Some(amount / of).filter(|ratio| ratio.is_finite())
}

/// The one in the middle; the mean of the two, where there are two. `None` of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(f64::midpoint(values[last / 2], values[last.div_ceil(2)]))
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}
