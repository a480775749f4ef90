//! How viewers fared.

use std::{ops::AddAssign, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{
    Percentiles,
    recorder::{histogram, nanos},
};

/// Counts what players met with.
#[derive(Debug)]
pub(super) struct SessionRecorder {
    pub(super) counts: SessionCounts,
    pub(super) stalled: Duration,
    /// In nanoseconds.
    pub(super) start_up: Histogram<u64>,
    /// In nanoseconds.
    pub(super) after_seek: Histogram<u64>,
    /// Bytes that came in each second since the start.
    pub(super) timeline: Vec<u64>,
}

/// How many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCounts {
    /// Viewers who came.
    pub begun: u64,
    /// Those who left when they wanted to.
    pub ended: u64,
    /// Those who were still watching at the end of the run.
    pub cut: u64,
    /// Those whose request failed. With the two above it adds up to those begun.
    pub broken: u64,
    /// Jumps within the film.
    pub seeks: u64,
    /// Times that a viewer paused.
    pub pauses: u64,
    /// Times that the picture stood still because nothing was buffered, start-up and seeks apart.
    pub stalls: u64,
    /// Viewers to whom that happened.
    pub stalled_sessions: u64,
}

/// What players met with. Times are those of the clock, however fast the film is played.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    /// How often what happened.
    #[serde(flatten)]
    pub counts: SessionCounts,
    /// How long pictures stood still, in all, start-up and seeks apart.
    pub stalled_seconds: f64,
    /// From when a viewer came to the first picture.
    pub start_up: Percentiles,
    /// From a seek to the picture there.
    pub after_seek: Percentiles,
    /// Bytes delivered in each second since the start, to put what the origin sent beside it.
    pub timeline: Vec<(u64, u64)>,
}

// === impl SessionCounts ===

impl AddAssign for SessionCounts {
    fn add_assign(&mut self, other: Self) {
        self.begun += other.begun;
        self.ended += other.ended;
        self.cut += other.cut;
        self.broken += other.broken;
        self.seeks += other.seeks;
        self.pauses += other.pauses;
        self.stalls += other.stalls;
        self.stalled_sessions += other.stalled_sessions;
    }
}

// === impl SessionRecorder ===

impl SessionRecorder {
    pub(super) fn new() -> Self {
        Self {
            counts: SessionCounts::default(),
            stalled: Duration::ZERO,
            start_up: histogram(),
            after_seek: histogram(),
            timeline: Vec::new(),
        }
    }

    /// `bytes` came so long after the start.
    pub(super) fn delivered(&mut self, since_start: Duration, bytes: u64) {
        let second = usize::try_from(since_start.as_secs()).expect("a run is shorter than that");
        if second >= self.timeline.len() {
            self.timeline.resize(second + 1, 0);
        }
        self.timeline[second] += bytes;
    }

    pub(super) fn waited_to_start(&mut self, time: Duration) {
        self.start_up.saturating_record(nanos(time));
    }

    pub(super) fn waited_after_seek(&mut self, time: Duration) {
        self.after_seek.saturating_record(nanos(time));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.counts += other.counts;
        self.stalled += other.stalled;
        self.start_up.add(other.start_up).expect("both have the same bounds");
        self.after_seek.add(other.after_seek).expect("both have the same bounds");
        self.timeline.resize(self.timeline.len().max(other.timeline.len()), 0);
        self.timeline.iter_mut().zip(other.timeline).for_each(|(mine, others)| *mine += others);
    }

    pub(super) fn sessions(&self) -> Sessions {
        Sessions {
            counts: self.counts,
            stalled_seconds: self.stalled.as_secs_f64(),
            start_up: Percentiles::of(&self.start_up),
            after_seek: Percentiles::of(&self.after_seek),
            timeline: (0..).zip(self.timeline.iter().copied()).collect(),
        }
    }
}

// === impl Sessions ===

impl Sessions {
    /// The share of viewers whose picture stood still at least once.
    #[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
    pub fn stalled_share(&self) -> f64 {
        self.counts.stalled_sessions as f64 / self.counts.begun.max(1) as f64
    }
}
