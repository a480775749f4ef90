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
mod sessions;
mod streams;
mod target;
mod uploads;

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
    recorder::{Measurement, Percentiles, Recorder},
    sessions::{SessionCounts, Sessions},
    streams::Streams,
    target::{Film, Target},
    uploads::{Content, Uploads},
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
    /// Files that come in.
    Uploads(Uploads),
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
            Self::Uploads(uploads) => uploads.at_once,
        }
    }

    /// Runs the share of one lane.
    async fn run(&self, lane: &Lane) -> Result<Recorder, Error> {
        match self {
            Self::Ranges(ranges) => ranges.run(lane).await,
            Self::Herd(herd) => herd.run(lane).await,
            Self::Streams(streams) => streams.run(lane).await,
            Self::Players(players) => players.run(lane).await,
            Self::Uploads(uploads) => uploads.run(lane).await,
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

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::origin::{Origin, Shape};

    fn assert_comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
        let json = serde_json::to_value(value).unwrap();
        assert_eq!(serde_json::from_value::<T>(json).unwrap(), *value);
    }

    #[tokio::test]
    async fn workloads_and_what_they_came_to_can_be_read_back() {
        let origin = Origin::start(Shape::default()).unwrap();
        origin.put_pattern("media", &Film::name(0), 16 << 20, 0);
        let target = Arc::new(Target::of_patterns(origin.address(), "/media/", 1, 16 << 20));
        let offsets = Offsets::Apart(1 << 20);
        let arrivals = Arrivals::Open { per_second: 500.0 };
        let ranges = Ranges { bytes: 1000, connections: 2, arrivals, offsets, churn: false, copies: false };
        assert_comes_back(&Workload::Streams(Streams { bytes: 1, connections: 1, streams: 1, offsets }));
        assert_comes_back(&Workload::Uploads(Uploads { at_once: 8, bytes: 9 << 20, piece_bytes: 8 << 20 }));
        assert_comes_back(&Length::time(Duration::from_secs(1)));
        for workload in [
            Workload::Ranges(ranges),
            Workload::Herd(Herd { readers: 2, bytes: 1000, place: Place::Cold(1 << 20) }),
            Workload::Players(Players { per_second: 50.0, speed: 100.0, ..Players::default() }),
        ] {
            assert_comes_back(&workload);
            let length = Length::requests(8);
            let plan = Drive { threads: 2, length, seed: 1, verify_every: 1, progress: Progress::default() };
            let found = drive(&target, workload, &plan).await.unwrap();
            assert_eq!((found.failed, found.wrong), (0, 0), "{found:?}");
            assert_comes_back(&found);
        }
    }
}
