//! What a comparison found: a value that is written as JSON, read again, printed as tables and drawn as plots.
//!
//! Numbers that could not be had, such as bytes per request where nothing was answered, are `None`: JSON has neither
//! infinity nor NaN.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    load::{Length, Measurement, Workload},
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
    /// The same in figures.
    pub figures: Figures,
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

// === impl Bound ===

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "at most {bound}"),
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
        }
    }
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
        let per = |amount: f64, of: f64| Some(amount / of).filter(|ratio| ratio.is_finite());
        let cpu = server_cpu_seconds;
        let time = |time: f64| (requests > 0.0).then_some(time);
        let figures = Figures {
            requests_per_second: per(requests, *seconds),
            gigabytes_per_second: per(bytes / 1e9, *seconds),
            cpu_micros_per_request: cpu.and_then(|cpu| per(cpu * 1e6, requests)),
            cpu_seconds_per_gigabyte: cpu.and_then(|cpu| per(cpu, bytes / 1e9)),
            ttfb_p50_ms: time(ttfb.p50),
            ttfb_p95_ms: time(ttfb.p95),
            ttfb_p99_ms: time(ttfb.p99),
            total_p50_ms: time(total.p50),
            total_p95_ms: time(total.p95),
            total_p99_ms: time(total.p99),
            origin_bytes_per_byte: per(number(origin.body_bytes), bytes),
            origin_gets_per_4mib: per(number(origin.gets), bytes / f64::from(4 << 20)),
            memory_bytes: memory_bytes.map(|memory| number(memory + socket_bytes)),
            failed: Some(number(measurement.failed)),
            wrong: Some(number(measurement.wrong)),
        };
        Self { measurement, server_cpu_seconds, memory_bytes, socket_bytes, origin, figures }
    }
}

// === impl Figures ===

impl Figures {
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
