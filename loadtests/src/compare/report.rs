//! What a comparison found: a value that is written as JSON, read again, printed as tables and drawn as plots.
//!
//! Numbers that could not be had, such as bytes per request where nothing was answered, are `None`: JSON has neither
//! infinity nor NaN.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::also::Also;
use crate::{
    load::{Length, Measurement, RateFound, Sessions, Workload},
    origin::{Counts, Shape},
};

/// All of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The command that made it.
    pub command: String,
    /// The commit that was measured, with a `+` behind it when something was changed since.
    pub commit: String,
    /// When it began (RFC 3339, UTC).
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// How often each peer met each scenario.
    pub rounds: usize,
    /// What each peer that caches may keep.
    pub cache_bytes: u64,
    /// In the order in which they ran.
    pub scenarios: Vec<ScenarioReport>,
}

/// What it ran on. Client, origin and servers share it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The model of its processor.
    pub cpu: String,
    /// Processors that this process may use; each server has as many workers.
    pub cores: usize,
    /// Its memory.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// `nginx`, `varnish` and `rustc`, each with what it says of itself.
    pub versions: BTreeMap<String, String>,
}

/// What came of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioReport {
    /// Its name, such as `hot-64k-16`.
    pub name: String,
    /// A line for people.
    pub about: String,
    /// What was asked. In an open loop the rate that was chosen is in it.
    pub workload: Workload,
    /// What was measured on each peer besides.
    #[serde(default)]
    pub also: Also,
    /// What each peer that caches might keep; the report's where it is `None`.
    #[serde(default)]
    pub cache_bytes: Option<u64>,
    /// Threads that each server served with and that the load came from; one for each core where it is `None`.
    #[serde(default)]
    pub threads: Option<usize>,
    /// For how long, each time.
    pub length: Length,
    /// Of which objects.
    pub objects: Objects,
    /// What the servers knew before.
    pub prepare: Prepare,
    /// The origin behind those that have one.
    pub origin: Shape,
    /// Who was asked.
    pub peers: Vec<PeerReport>,
    /// What was aimed at. Those that need a peer that was left out are not here.
    pub goals: Vec<Goal>,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// How many.
    pub count: usize,
    /// The size of each.
    pub bytes: u64,
}

/// What the servers know when a round begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prepare {
    /// Everything: all objects were read once, before the first round.
    Hot,
    /// Nothing: each round has servers that have just been started.
    Cold,
}

/// What came of one peer in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Its name, such as `nginx-slice`.
    pub name: String,
    /// One after the other.
    pub rounds: Vec<Round>,
    /// The median of each figure over the rounds, for each by itself.
    pub median: Figures,
}

/// One peer in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// What the client saw.
    pub measurement: Measurement,
    /// Processor time of the server meanwhile; `None` for the origin itself, which shares the client's process.
    pub server_cpu_seconds: Option<f64>,
    /// The most memory that was seen meanwhile: proportional set size of all its processes, and its cache where
    /// that is files on a tmpfs.
    pub memory_bytes: Option<u64>,
    /// The most kernel memory of its sockets that was seen meanwhile.
    pub socket_bytes: u64,
    /// What the origin had to do, until it had nothing left to do.
    pub origin: Counts,
    /// Bytes that it sent in each second since the start.
    #[serde(default)]
    pub origin_timeline: Vec<(u64, u64)>,
    /// What came of [`Also::Beside`].
    #[serde(default)]
    pub beside: Option<Measurement>,
    /// What came of [`Also::Crowds`].
    #[serde(default)]
    pub crowds: Vec<CrowdRound>,
    /// What came of [`Also::Rate`].
    #[serde(default)]
    pub rate: Option<RateFound>,
    /// The same in figures.
    pub figures: Figures,
}

/// A workload beside a crowd that had settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrowdRound {
    /// How many came.
    pub clients: u64,
    /// Those who were answered with their range.
    pub served: u64,
    /// Those who were refused, by a status or by a connection that failed.
    pub refused: u64,
    /// Whether the server had nothing left to do for them when the measurement began.
    pub idle: bool,
    /// As in [`Round`].
    pub memory_bytes: Option<u64>,
    /// As in [`Round`].
    pub socket_bytes: u64,
    /// What the client of the workload saw.
    pub measurement: Measurement,
}

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

/// One thing that a scenario is judged by: a ratio or a difference within a run, so that it holds on any machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// What is measured.
    pub text: String,
    /// The median over the rounds; `None` when nothing could be measured, and then it is not met.
    pub value: Option<f64>,
    /// What is good enough.
    pub bound: Bound,
    /// Whether it is.
    pub met: bool,
}

/// The side on which a bound is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

// === impl Report ===

impl Report {
    /// Every goal, with the scenario that it belongs to.
    pub fn goals(&self) -> impl Iterator<Item = (&ScenarioReport, &Goal)> {
        self.scenarios.iter().flat_map(|scenario| scenario.goals.iter().map(move |goal| (scenario, goal)))
    }

    /// Whether every goal was met, and no peer failed a request or sent a wrong byte.
    pub fn all_met(&self) -> bool {
        let peers = || self.scenarios.iter().flat_map(|scenario| &scenario.peers);
        let is_right = |round: &Round| round.measurement.failed == 0 && round.measurement.wrong == 0;
        self.goals().all(|(_, goal)| goal.met) && peers().all(|peer| peer.rounds.iter().all(is_right))
    }
}

// === impl ScenarioReport ===

impl ScenarioReport {
    /// What came of the peer with this name.
    pub fn peer(&self, name: &str) -> Option<&PeerReport> {
        self.peers.iter().find(|peer| peer.name == name)
    }
}

// === impl PeerReport ===

impl PeerReport {
    /// Of at least one round.
    pub fn new(name: impl Into<String>, rounds: Vec<Round>) -> Self {
        let figures: Vec<Figures> = rounds.iter().map(|round| round.figures).collect();
        Self { name: name.into(), median: Figures::median(&figures), rounds }
    }
}

// === impl Round ===

impl Round {
    /// With its figures.
    pub fn new(
        measurement: Measurement,
        server_cpu_seconds: Option<f64>,
        memory_bytes: Option<u64>,
        socket_bytes: u64,
        origin: Counts,
    ) -> Self {
        let Measurement { requests, bytes, seconds, ttfb, total, .. } = &measurement;
        let (requests, bytes) = (number(*requests), number(*bytes));
        let sessions = measurement.sessions.as_ref();
        let herds = measurement.last_ttfb.as_ref().map(|last| last.count);
        let cpu = server_cpu_seconds;
        // Viewers' answers have no end of their own.
        let time = |time: f64| (requests > 0.0).then_some(time);
        let whole = |time: f64| (total.count > 0).then_some(time);
        let figures = Figures {
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
            memory_bytes: memory_bytes.map(|memory| number(memory + socket_bytes)),
            last_ttfb_p50_ms: measurement.last_ttfb.as_ref().map(|last| last.p50),
            origin_gets_per_place: herds.and_then(|herds| per(number(origin.gets), number(herds + 1))),
            hit_ratio: sessions.and_then(|_| per(bytes - number(origin.body_bytes), bytes)),
            stalled_share: sessions.map(Sessions::stalled_share),
            longest_gap_ms: measurement.longest_gap_ms,
            failed: Some(number(measurement.failed)),
            wrong: Some(number(measurement.wrong)),
            ..Figures::default()
        };
        Self {
            measurement,
            server_cpu_seconds,
            memory_bytes,
            socket_bytes,
            origin,
            origin_timeline: Vec::new(),
            beside: None,
            crowds: Vec::new(),
            rate: None,
            figures,
        }
    }
}

// === impl Figures ===

impl Figures {
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

    /// Leaves out what counts all steps of a search, and adds what it found.
    pub(super) fn put_search(&mut self, found: &RateFound) {
        self.viewers_per_second = Some(found.per_second);
        (self.cpu_micros_per_request, self.cpu_seconds_per_gigabyte) = (None, None);
        (self.origin_bytes_per_byte, self.origin_gets_per_4mib, self.hit_ratio) = (None, None, None);
    }

    /// The median of each by itself.
    fn median(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> Option<f64>| median(all.iter().filter_map(figure));
        Self {
            requests_per_second: of(|figures| figures.requests_per_second),
            gigabytes_per_second: of(|figures| figures.gigabytes_per_second),
            cpu_micros_per_request: of(|figures| figures.cpu_micros_per_request),
            cpu_seconds_per_gigabyte: of(|figures| figures.cpu_seconds_per_gigabyte),
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

// === impl Bound ===

impl Bound {
    /// Whether `value` is good enough.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
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
