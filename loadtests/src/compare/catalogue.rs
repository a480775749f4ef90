//! The scenarios. A new one is one more entry.

mod audience;
mod uploads;

use std::time::Duration;

use super::{
    Aim, Also, Beside,
    report::{Bound, Objects, Prepare},
};
use crate::{
    load::{Arrivals, Offsets, Ranges, Workload},
    origin::{Shape, Tail},
    peers::Kind,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Each cold seek has so much of a film for itself: what is read around one must not warm another.
const STRETCH: u64 = 2 * MIB;
/// Everybody who can have everything in memory.
const HOT: &[Kind] =
    &[Kind::SeekwayS3, Kind::SeekwayLocal, Kind::NginxStatic, Kind::NginxSlice, Kind::Varnish];
/// Everybody with an origin behind, and the origin itself.
const COLD: &[Kind] = &[Kind::Origin, Kind::SeekwayS3, Kind::NginxSlice, Kind::Varnish];
/// Varnish reads a film from its beginning, whatever the range, so a seek would wait for all before it.
const SEEKING: &[Kind] = &[Kind::Origin, Kind::SeekwayS3, Kind::NginxSlice];

/// The same workload for some peers.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// A line for people.
    pub about: &'static str,
    /// What is asked.
    pub workload: Workload,
    /// An open loop at this share of what the slowest peer reaches in a closed one.
    pub pace: Option<f64>,
    /// No more requests than these, however long a round may take.
    pub requests_max: u64,
    /// Every so many bodies are compared with what they should be.
    pub verify_every: u64,
    /// What is read.
    pub objects: Objects,
    /// What the servers know before.
    pub prepare: Prepare,
    /// The origin behind those that have one.
    pub origin: Shape,
    /// Who is asked.
    pub peers: &'static [Kind],
    /// What each round measures besides.
    pub also: Also,
    /// No more rounds than these.
    pub rounds_max: usize,
    /// How long each time, where that is not for the plan to say.
    pub time: Option<Duration>,
    /// What each peer that caches may keep, where that is not for the plan to say.
    pub cache_bytes: Option<u64>,
    /// Threads of each server and of the load, in place of one for each core.
    pub threads: Option<usize>,
    /// What it is judged by.
    pub aims: Vec<Aim>,
}

/// How much of a scenario is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Some dozens of requests, for tests.
    Short,
    /// As long as it is asked for, to measure.
    Full,
}

/// All scenarios, in the order in which they run.
pub fn catalogue(form: Form) -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, about, bytes, connections) in [
        ("hot-64k", "64 KiB at random places, all in memory", 64 * KIB, 16),
        ("hot-64k-256", "the same over 256 connections", 64 * KIB, 256),
        ("hot-256k", "256 KiB at random places, all in memory", 256 * KIB, 16),
        ("hot-256k-256", "the same over 256 connections", 256 * KIB, 256),
        ("hot-1m", "1 MiB at random places, all in memory", MIB, 16),
        ("hot-1m-256", "the same over 256 connections", MIB, 256),
    ] {
        let aims = match name {
            "hot-64k" => vec![HOT_CPU_PER_REQUEST, HOT_P95],
            "hot-1m" => vec![HOT_CPU_PER_GIGABYTE, HOT_THROUGHPUT],
            _ => vec![],
        };
        let workload = Workload::Ranges(Ranges { connections, ..hot_ranges(bytes) });
        all.push(Scenario { name, about, workload, aims, ..hot(form) });
    }
    all.extend([
        Scenario {
            name: "churn",
            about: "connect, ask for 64 KiB that are in memory, close",
            workload: Workload::Ranges(Ranges { churn: true, ..hot_ranges(64 * KIB) }),
            ..hot(form)
        },
        Scenario {
            name: "open-loop",
            about: "64 KiB from memory, at half of the rate that the slowest reaches, however long answers take",
            workload: Workload::Ranges(Ranges { connections: 64, ..hot_ranges(64 * KIB) }),
            pace: Some(0.5),
            // A closed loop is as late as its own load makes the machine; this one leaves it half of its time.
            aims: vec![HOT_P95],
            ..hot(form)
        },
        Scenario {
            name: "cold-seeks",
            about: "64 KiB at places that nobody has asked for",
            workload: cold_seeks(4),
            objects: form.pick(Objects { count: 1, bytes: 64 * MIB }, Objects { count: 1, bytes: 1024 * MIB }),
            requests_max: form.pick(24, 1024 * MIB / STRETCH),
            peers: SEEKING,
            aims: vec![COLD_TTFB, COLD_BYTES],
            ..cold()
        },
        Scenario {
            name: "cold-sequential",
            about: "one film that nobody has asked for, on one connection",
            workload: in_order(form.pick(8_000_000, 100_000_000), 1),
            objects: Objects { count: 1, bytes: form.pick(8_000_000, 100_000_000) },
            requests_max: 1,
            aims: vec![SEQUENTIAL_SPEEDUP, SEQUENTIAL_GETS],
            ..cold()
        },
        Scenario {
            name: "origin-tail",
            about: "cold seeks where 3 % of the origin's answers take ten times as long",
            workload: cold_seeks(8),
            objects: form.pick(Objects { count: 1, bytes: 64 * MIB }, Objects { count: 4, bytes: 1024 * MIB }),
            requests_max: form.pick(24, 4 * 1024 * MIB / STRETCH),
            origin: Shape { tail: Some(Tail { fraction: 0.03, factor: 10.0 }), ..Shape::remote() },
            peers: SEEKING,
            aims: vec![TAIL_TTFB],
            ..cold()
        },
        Scenario {
            name: "cdn-pull",
            about: "films that nobody has asked for in slices of 1 MiB, in order, as CDNs pull them",
            workload: in_order(MIB, 4),
            objects: form.pick(Objects { count: 2, bytes: 4 * MIB }, Objects { count: 8, bytes: 32 * MIB }),
            requests_max: form.pick(8, 256),
            ..cold()
        },
    ]);
    all.extend(audience::scenarios(form));
    all.extend(uploads::scenarios(form));
    all
}

// === impl Form ===

impl Form {
    /// What this form has of something.
    fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

// === What scenarios have in common ===

fn hot(form: Form) -> Scenario {
    Scenario {
        name: "",
        about: "",
        workload: Workload::Ranges(hot_ranges(64 * KIB)),
        pace: None,
        requests_max: form.pick(48, u64::MAX),
        // Comparing takes the client longer than the server takes to answer.
        verify_every: form.pick(4, 101),
        objects: Objects { count: 4, bytes: form.pick(2 * MIB, 64 * MIB) },
        prepare: Prepare::Hot,
        origin: Shape::remote(),
        peers: HOT,
        also: Also::Nothing,
        rounds_max: usize::MAX,
        time: None,
        cache_bytes: None,
        threads: None,
        aims: vec![],
    }
}

fn cold() -> Scenario {
    Scenario { verify_every: 1, prepare: Prepare::Cold, peers: COLD, ..hot(Form::Full) }
}

fn hot_ranges(bytes: u64) -> Ranges {
    let (arrivals, offsets) = (Arrivals::Closed, Offsets::Anywhere);
    Ranges { bytes, connections: 16, arrivals, offsets, churn: false, copies: false }
}

fn cold_seeks(connections: usize) -> Workload {
    Workload::Ranges(Ranges { connections, offsets: Offsets::Apart(STRETCH), ..hot_ranges(64 * KIB) })
}

fn in_order(bytes: u64, connections: usize) -> Workload {
    Workload::Ranges(Ranges { connections, offsets: Offsets::InOrder, ..hot_ranges(bytes) })
}

// === What Seekway is to reach ===

const HOT_CPU_PER_REQUEST: Aim = Aim {
    text: "CPU per request, in parts of nginx-static's",
    of: Kind::SeekwayS3,
    figure: |figures| figures.cpu_micros_per_request,
    beside: Beside::PartsOf(Kind::NginxStatic),
    bound: Bound::AtMost(0.75),
};
const HOT_P95: Aim = Aim {
    text: "p95 of whole answers, in parts of nginx-static's",
    of: Kind::SeekwayS3,
    figure: |figures| figures.total_p95_ms,
    beside: Beside::PartsOf(Kind::NginxStatic),
    bound: Bound::AtMost(1.0),
};
const HOT_CPU_PER_GIGABYTE: Aim = Aim {
    text: "CPU per GB, in parts of nginx-static's",
    of: Kind::SeekwayS3,
    figure: |figures| figures.cpu_seconds_per_gigabyte,
    beside: Beside::PartsOf(Kind::NginxStatic),
    bound: Bound::AtMost(0.7),
};
const HOT_THROUGHPUT: Aim = Aim {
    text: "bytes a second, in parts of Varnish's",
    of: Kind::SeekwayS3,
    figure: |figures| figures.gigabytes_per_second,
    beside: Beside::PartsOf(Kind::Varnish),
    bound: Bound::AtLeast(1.0),
};
const COLD_TTFB: Aim = Aim {
    text: "TTFB p95 over the origin's own, ms",
    of: Kind::SeekwayS3,
    figure: |figures| figures.ttfb_p95_ms,
    beside: Beside::MoreThan(Kind::Origin),
    bound: Bound::AtMost(3.0),
};
const COLD_BYTES: Aim = Aim {
    text: "origin bytes for each delivered byte",
    of: Kind::SeekwayS3,
    figure: |figures| figures.origin_bytes_per_byte,
    beside: Beside::Nothing,
    bound: Bound::AtMost(3.0),
};
const SEQUENTIAL_SPEEDUP: Aim = Aim {
    text: "bytes a second, in multiples of one origin connection's",
    of: Kind::SeekwayS3,
    figure: |figures| figures.gigabytes_per_second,
    beside: Beside::PartsOf(Kind::Origin),
    bound: Bound::AtLeast(3.0),
};
const SEQUENTIAL_GETS: Aim = Aim {
    text: "origin GETs for each 4 MiB",
    of: Kind::SeekwayS3,
    figure: |figures| figures.origin_gets_per_4mib,
    beside: Beside::Nothing,
    bound: Bound::AtMost(1.0),
};
const TAIL_TTFB: Aim = Aim {
    text: "TTFB p99, in parts of nginx-slice's",
    of: Kind::SeekwayS3,
    figure: |figures| figures.ttfb_p99_ms,
    beside: Beside::PartsOf(Kind::NginxSlice),
    bound: Bound::AtMost(0.5),
};
