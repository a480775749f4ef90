//! Load on a server that speaks HTTP, whoever made it.
//!
//! A [`Workload`] is a value: who asks for what, how often. [`drive`] puts it on a [`Target`] from some threads of
//! this process, and returns a [`Measurement`]. Nothing here knows what kind of server answers.
//!
//! Two things keep the measurement honest. In an open loop a request counts from when it was due, not from when a
//! connection was free for it, so that a server that stalls cannot hide the requests it kept waiting (coordinated
//! omission). And the client takes most bodies without copying them, so that it leaves the processors to the
//! server; its own cost is in the measurement.

mod arrivals;
pub(crate) mod crowd;
mod herd;
mod http1;
mod lane;
mod offsets;
mod players;
mod probe;
mod ranges;
mod rate;
mod recorder;
mod streams;
mod target;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::lane::Lane;
pub use self::{
    arrivals::Arrivals,
    crowd::{Beside, Crowd, Gathered},
    herd::{Herd, Place},
    lane::{Drive, drive},
    offsets::Offsets,
    players::Players,
    ranges::Ranges,
    rate::{RateFound, RateLimit, RateSearch, RateStep},
    recorder::{Measurement, Percentiles, Recorder, SessionCounts, Sessions},
    streams::Streams,
    target::{Film, Target},
};
use crate::Error;

/// Who asks for what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Single ranges, each an answer of its own.
    Ranges(Ranges),
    /// Many who ask for the same at once.
    Herd(Herd),
    /// Single ranges, many at a time on an HTTP/2 connection.
    Streams(Streams),
    /// Viewers.
    Players(Players),
}

/// What ends a run, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Length {
    /// No request is begun later than this after the start.
    pub time: Duration,
    /// No more requests than these.
    pub requests: u64,
}

/// Requests that have been answered, for whoever shows a progress bar.
pub type Progress = Arc<AtomicU64>;

// === impl Workload ===

impl Workload {
    /// Connections that are open at a time, over all lanes; of players nobody knows.
    pub fn connections(&self) -> usize {
        match self {
            Self::Ranges(ranges) => ranges.connections,
            Self::Herd(herd) => herd.readers,
            Self::Streams(streams) => streams.connections,
            Self::Players(_) => usize::MAX,
        }
    }

    /// Runs the share of one lane.
    async fn run(&self, lane: &Lane) -> Result<Recorder, Error> {
        match self {
            Self::Ranges(ranges) => ranges.run(lane).await,
            Self::Herd(herd) => herd.run(lane).await,
            Self::Streams(streams) => streams.run(lane).await,
            Self::Players(players) => players.run(lane).await,
        }
    }
}

// === impl Length ===

impl Length {
    /// Until `time` is over.
    pub const fn time(time: Duration) -> Self {
        Self { time, requests: u64::MAX }
    }

    /// Until `requests` are made, and a minute for them at most.
    pub const fn requests(requests: u64) -> Self {
        Self { time: Duration::from_mins(1), requests }
    }
}
