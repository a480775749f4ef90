//! Many at a time: herds, viewers, crowds, and streams of one connection.

use std::time::Duration;

use super::{Form, KIB, MIB, Scenario, cold, hot, hot_ranges};
use crate::{
    compare::{
        Aim, Also, Beside,
        report::{Bound, Objects},
    },
    load::{Arrivals, Crowd, Herd, Offsets, Place, Players, Ranges, RateSearch, Streams, Workload},
    peers::Kind,
};

/// Herds meet so far apart that what is read ahead for one is not the next one's.
const HERD_STRETCH: u64 = 4 * MIB;
/// As many as a film of 256 MiB has room for, twice over: a round is a second or two.
const HERDS: u64 = 20;

pub(super) fn scenarios(form: Form) -> Vec<Scenario> {
    vec![
        herds(
            form,
            "herd-64",
            "64 readers of 64 KiB where nobody was before, all at once; then where all were",
            64,
            // The last of so few waits for the transfer from the origin more than for the others.
            vec![HERD_GETS],
        ),
        herds(form, "herd-1000", "the same with 1,000 readers", 1000, vec![HERD_GETS, HERD_LAST]),
        players(form),
        players_rate(form),
        crowds(form),
        streams(
            form,
            "http2-64k",
            "100 streams of 64 KiB on one HTTP/2 connection; servers and load have one thread each",
            64 * KIB,
        ),
        streams(
            form,
            "http2-1m",
            "100 streams of 1 MiB on one HTTP/2 connection; servers and load have one thread each",
            MIB,
        ),
    ]
}

fn herds(form: Form, name: &'static str, about: &'static str, readers: usize, aims: Vec<Aim>) -> Scenario {
    let readers = form.pick(readers / 8, readers);
    let herd = |place| Workload::Herd(Herd { readers, bytes: 64 * KIB, place });
    Scenario {
        name,
        about,
        workload: herd(Place::Cold(HERD_STRETCH)),
        also: Also::Beside(herd(Place::Hot)),
        objects: Objects { count: 1, bytes: form.pick(32 * MIB, 256 * MIB) },
        requests_max: readers as u64 * form.pick(2, HERDS),
        // Comparing 64 MiB would take longer than serving them.
        verify_every: form.pick(1, 101),
        // Varnish would read the film from its beginning, whatever the place.
        peers: &[Kind::SeekwayS3, Kind::NginxSlice],
        aims,
        ..cold()
    }
}

/// Thirty seconds of film in three of the clock.
fn viewers(form: Form) -> Players {
    Players {
        per_second: form.pick(50.0, 8.0),
        watched: form.pick(Duration::from_secs(2), Duration::from_secs(30)),
        acts_every: form.pick(Duration::from_secs(1), Duration::from_secs(15)),
        paused: Duration::from_secs(1),
        speed: 10.0,
        ..Players::default()
    }
}

fn players(form: Form) -> Scenario {
    Scenario {
        name: "players",
        about: "8 viewers a second of 64 films, eight times what a cache holds; 10 seconds of film in one of the clock",
        workload: Workload::Players(viewers(form)),
        objects: form.pick(Objects { count: 4, bytes: 2 * MIB }, Objects { count: 64, bytes: 32 * MIB }),
        cache_bytes: Some(form.pick(32, 256) * MIB),
        requests_max: form.pick(20, u64::MAX),
        time: Some(Duration::from_secs(30)),
        verify_every: form.pick(1, 101),
        peers: &[Kind::SeekwayS3, Kind::NginxSlice, Kind::Varnish],
        aims: vec![HIT_RATIO],
        ..cold()
    }
}

fn players_rate(form: Form) -> Scenario {
    let search = RateSearch {
        from: form.pick(20.0, 8.0),
        factor: 2.0,
        steps: form.pick(1, 5),
        refinements: form.pick(0, 1),
        // Viewers stay for three seconds.
        step: form.pick(Duration::from_millis(300), Duration::from_secs(10)),
        held: form.pick(Duration::from_millis(300), Duration::from_secs(15)),
        ..RateSearch::default()
    };
    Scenario {
        name: "players-rate",
        about: "ever more of these viewers, until the p95 of TTFB passes 100 ms; the figures are of 70 % of that rate",
        also: Also::Rate(search),
        rounds_max: 1,
        peers: &[Kind::SeekwayS3],
        aims: vec![NO_STALL],
        ..players(form)
    }
}

fn crowds(form: Form) -> Scenario {
    let ranges = Ranges { arrivals: Arrivals::Open { per_second: 2000.0 }, ..hot_ranges(64 * KIB) };
    let crowd = Crowd {
        clients: 0,
        bytes: 8 * MIB,
        bytes_per_second: 0,
        settled: form.pick(Duration::ZERO, Duration::from_secs(1)),
    };
    Scenario {
        name: "crowd-10000",
        about: "2,000 requests a second for 64 KiB in memory, beside 10,000 clients who asked for 8 MiB and do not read",
        workload: Workload::Ranges(ranges),
        also: Also::Crowds(crowd, form.pick(vec![0, 50], vec![0, 1000, 10_000])),
        objects: Objects { count: 4, bytes: form.pick(8 * MIB, 64 * MIB) },
        rounds_max: 3,
        peers: &[Kind::SeekwayS3, Kind::NginxStatic, Kind::NginxSlice, Kind::Varnish],
        aims: vec![CROWD_MEMORY, CROWD_P95],
        ..hot(form)
    }
}

fn streams(form: Form, name: &'static str, about: &'static str, bytes: u64) -> Scenario {
    Scenario {
        name,
        about,
        workload: Workload::Streams(Streams {
            bytes,
            connections: 1,
            streams: 100,
            offsets: Offsets::Anywhere,
        }),
        also: Also::Beside(Workload::Ranges(Ranges { copies: true, ..hot_ranges(bytes) })),
        // A connection lives on one thread, so everybody has one: the servers, and the load.
        threads: Some(1),
        peers: &[Kind::SeekwayS3, Kind::NginxStatic, Kind::Varnish],
        aims: vec![STREAM_GAP, STREAM_THROUGHPUT],
        ..hot(form)
    }
}

// === What Seekway is to reach ===

const HERD_GETS: Aim = Aim {
    text: "origin GETs for each segment of 64 KiB that was read, the warm-up's among them",
    of: Kind::SeekwayS3,
    figure: |figures| figures.origin_gets_per_place,
    beside: Beside::Nothing,
    bound: Bound::AtMost(1.0),
};
const HERD_LAST: Aim = Aim {
    text: "the last reader's first byte beyond the origin's latency, in parts of a hot herd's",
    of: Kind::SeekwayS3,
    figure: |figures| figures.last_ttfb_of_beside,
    beside: Beside::Nothing,
    bound: Bound::AtMost(1.5),
};
const HIT_RATIO: Aim = Aim {
    text: "hit ratio (1 - origin bytes / delivered bytes), beyond Varnish's",
    of: Kind::SeekwayS3,
    figure: |figures| figures.hit_ratio,
    beside: Beside::MoreThan(Kind::Varnish),
    bound: Bound::AtLeast(0.0),
};
const NO_STALL: Aim = Aim {
    text: "viewers whose picture stood still, at 70 % of the rate that was found",
    of: Kind::SeekwayS3,
    figure: |figures| figures.stalled_share,
    beside: Beside::Nothing,
    bound: Bound::AtMost(0.0),
};
const CROWD_MEMORY: Aim = Aim {
    text: "memory and sockets beside 10,000 clients, in parts of seekway_memory_limit_bytes",
    of: Kind::SeekwayS3,
    figure: |figures| figures.memory_of_limit,
    beside: Beside::Nothing,
    bound: Bound::AtMost(1.0),
};
const CROWD_P95: Aim = Aim {
    text: "p95 of whole answers beside 10,000 clients, in parts of the one without",
    of: Kind::SeekwayS3,
    figure: |figures| figures.total_p95_of_first,
    beside: Beside::Nothing,
    bound: Bound::AtMost(2.0),
};
const STREAM_GAP: Aim = Aim {
    text: "the longest time that a stream got no byte, ms",
    of: Kind::SeekwayS3,
    figure: |figures| figures.longest_gap_ms,
    beside: Beside::Nothing,
    bound: Bound::AtMost(1000.0),
};
const STREAM_THROUGHPUT: Aim = Aim {
    text: "bytes a second, in parts of 16 HTTP/1.1 connections'",
    of: Kind::SeekwayS3,
    figure: |figures| figures.throughput_of_beside,
    beside: Beside::Nothing,
    bound: Bound::AtLeast(0.8),
};
