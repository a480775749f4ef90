//! What a comparison found: a value that is written as JSON, read again, printed as tables and drawn as plots.
//!
//! Numbers that could not be had, such as bytes per request where nothing was answered, are `None`: JSON has neither
//! infinity nor NaN.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::also::Also;
pub use super::figures::Figures;
use super::transcoding::{self, Transcoding};
use crate::{
    load::{Length, Measurement, RateFound, Workload},
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
    /// The worker beside ffmpeg alone, where that was measured.
    #[serde(default)]
    pub transcoding: Option<Transcoding>,
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
    /// What was compared, and what it was built with, each with what it says of itself.
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
    /// Every goal, with the name of the scenario that it belongs to.
    pub fn goals(&self) -> impl Iterator<Item = (&str, &Goal)> {
        let scenarios = self.scenarios.iter().map(|scenario| (scenario.name.as_str(), &scenario.goals));
        let transcoding = self.transcoding.iter().map(|found| (transcoding::NAME, &found.goals));
        scenarios.chain(transcoding).flat_map(|(name, goals)| goals.iter().map(move |goal| (name, goal)))
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
        let memory = memory_bytes.map(|memory| memory + socket_bytes);
        let figures = Figures::of(&measurement, server_cpu_seconds, memory, &origin);
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
