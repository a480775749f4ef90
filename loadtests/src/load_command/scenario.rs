//! The workloads by name, and what the knobs and the objects' sizes make of each.

use std::{sync::Arc, time::Duration};

use bytesize::ByteSize;
use clap::ValueEnum;
use seekway_loadtests::{
    Error,
    load::{
        Arrivals, Crowd, Drive, Herd, Length, Offsets, Place, Players, Ranges, RateSearch, Streams, Target,
        Workload, drive,
    },
};

use super::{Knobs, outcome::Found};

/// Cold places lie this far apart, so that what a server reads ahead for one is not the next.
const APART_BYTES: u64 = 4 << 20;
/// What each of a crowd asks for.
const CROWD_BYTES: u64 = 8 << 20;
const HERDS: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// Single ranges, anywhere.
    Ranges,
    /// Single ranges, each far from all others: cold ones, if the server is.
    Seeks,
    /// Single ranges one after the other, as CDNs pull.
    InOrder,
    /// Single ranges, each on a connection of its own.
    Churn,
    /// Many readers of one place at the same instant, where nobody was before.
    Herd,
    /// The same where all were before.
    HotHerd,
    /// Single ranges over HTTP/2, many at a time.
    Streams,
    /// Viewers who watch, pause, seek and leave.
    Players,
    /// Ever more viewers, until answers are late; then 70 % of that rate.
    FindRate,
    /// Single ranges without and with a crowd of slow clients.
    Crowd,
}

/// What is to be run.
pub(super) struct Plan {
    pub(super) length: Length,
    /// In words.
    pub(super) text: String,
    doing: Doing,
}

enum Doing {
    Drive(Workload),
    Crowd(Crowd, Workload),
    FindRate(RateSearch, Players),
}

// === impl Scenario ===

impl Scenario {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ranges => "ranges",
            Self::Seeks => "seeks",
            Self::InOrder => "in-order",
            Self::Churn => "churn",
            Self::Herd => "herd",
            Self::HotHerd => "hot-herd",
            Self::Streams => "streams",
            Self::Players => "players",
            Self::FindRate => "find-rate",
            Self::Crowd => "crowd",
        }
    }

    /// What it is with these knobs on this target. Fails where the objects are too short for it.
    pub(super) fn plan(self, knobs: &Knobs, target: &Target) -> Result<Plan, Error> {
        let bytes = knobs.bytes.as_u64();
        let apart = APART_BYTES.max(bytes);
        let connections = |usual| knobs.connections.map_or(usual, std::num::NonZero::get);
        let requests = |usual| knobs.requests.map_or(usual, std::num::NonZero::get);
        let (size, films) = (target.shortest(), target.films.len() as u64);
        let refuse = |what: &str, least: u64| Error::Target {
            url: target.films[0].path.clone(),
            why: format!(
                "{what} needs objects of at least {}, and one has {}",
                ByteSize(least),
                ByteSize(size)
            ),
        };
        let ranges = |offsets| Ranges {
            bytes,
            connections: connections(16),
            arrivals: knobs.rate.map_or(Arrivals::Closed, |per_second| Arrivals::Open { per_second }),
            offsets,
            churn: self == Self::Churn,
            copies: false,
        };
        let players = Players {
            per_second: knobs.rate.unwrap_or(5.0),
            bytes_per_second: knobs.bitrate.as_u64(),
            watched: knobs.watched,
            speed: knobs.speed,
            ..Players::default()
        };
        let readers = connections(1000);
        let herds = |places: u64| Length {
            time: knobs.time,
            requests: requests(HERDS * readers as u64).min(places * readers as u64),
        };
        let least = match self {
            Self::Seeks => apart,
            Self::Herd => 2 * apart,
            Self::Players | Self::FindRate => 1,
            _ => bytes,
        };
        if bytes == 0 || size < least {
            return Err(refuse(self.name(), least.max(1)));
        }

        let of = ByteSize(bytes);
        let usual = Length { time: knobs.time, requests: requests(u64::MAX) };
        let on = |text: &str, offsets| {
            let ranges = ranges(offsets);
            let pace = match ranges.arrivals {
                Arrivals::Closed => String::new(),
                Arrivals::Open { per_second } => format!(", {per_second} a second"),
            };
            let text = format!("{of} {text}, {} connections{pace}", ranges.connections);
            (Doing::Drive(Workload::Ranges(ranges)), text)
        };
        let herd = |place| Doing::Drive(Workload::Herd(Herd { readers, bytes, place }));
        let ((doing, text), length) = match self {
            Self::Ranges => (on("anywhere", Offsets::Anywhere), usual),
            Self::Churn => (on("anywhere, each on a connection of its own", Offsets::Anywhere), usual),
            Self::InOrder => (on("one after the other", Offsets::InOrder), usual),
            Self::Seeks => {
                let places = size / apart * films;
                let length = Length { requests: usual.requests.min(places), ..usual };
                (on(&format!("each {} from the next", ByteSize(apart)), Offsets::Apart(apart)), length)
            }
            Self::Herd => {
                let text = format!("{readers} readers at once of {of} where nobody was before");
                ((herd(Place::Cold(apart)), text), herds((size / apart - 1) * films))
            }
            Self::HotHerd => {
                let text = format!("{readers} readers at once of {of} where all were before");
                ((herd(Place::Hot), text), herds(u64::MAX / readers as u64))
            }
            Self::Streams => {
                let (connections, streams) = (connections(1), knobs.streams.get());
                let workload = Streams { bytes, connections, streams, offsets: Offsets::Anywhere };
                let text = format!("{of} anywhere, {connections} HTTP/2 connections of {streams} streams");
                ((Doing::Drive(Workload::Streams(workload)), text), usual)
            }
            Self::Players => {
                let text =
                    format!("{} viewers a second, {} of film a second", players.per_second, knobs.bitrate);
                ((Doing::Drive(Workload::Players(players)), text), usual)
            }
            Self::FindRate => {
                let search =
                    search(knobs).map_err(|why| Error::Target { url: target.films[0].path.clone(), why })?;
                let text =
                    format!("from {} viewers a second, {} of film a second", search.from, knobs.bitrate);
                ((Doing::FindRate(search, players), text), usual)
            }
            Self::Crowd => {
                let clients = knobs.clients.get();
                let crowd = crowd(knobs);
                let text = format!("{of} anywhere beside {clients} who ask for {}", ByteSize(CROWD_BYTES));
                ((Doing::Crowd(crowd, Workload::Ranges(ranges(Offsets::Anywhere))), text), usual)
            }
        };
        Ok(Plan { length, text, doing })
    }
}

fn crowd(knobs: &Knobs) -> Crowd {
    Crowd {
        clients: knobs.clients.get(),
        bytes: CROWD_BYTES,
        bytes_per_second: knobs.pace.as_u64(),
        settled: knobs.settled,
    }
}

/// Steps that end before the first viewers leave would find too high a rate.
fn search(knobs: &Knobs) -> Result<RateSearch, String> {
    let stay = knobs.watched.div_f64(knobs.speed);
    if knobs.time < stay {
        return Err(format!(
            "find-rate needs steps (--time) no shorter than viewers stay, which is {stay:?}: only then are as many there \
             as come; more --speed or less --watched makes them shorter"
        ));
    }
    let usual = RateSearch::default();
    Ok(RateSearch { step: knobs.time, held: 2 * knobs.time, from: knobs.rate.unwrap_or(usual.from), ..usual })
}

// === impl Plan ===

impl Plan {
    /// How long it takes at most, or nearly so.
    pub(super) fn takes(&self) -> Duration {
        match &self.doing {
            Doing::Drive(_) => self.length.time,
            Doing::Crowd(..) => self.length.time * 2,
            Doing::FindRate(search, _) => {
                let steps = u32::try_from(search.steps + search.refinements).expect("there are few");
                search.step * steps + search.held
            }
        }
    }

    pub(super) async fn run(&self, target: &Arc<Target>, plan: &Drive) -> Result<Found, Error> {
        Ok(match &self.doing {
            Doing::Drive(workload) => Found::Measured(drive(target, *workload, plan).await?),
            Doing::Crowd(crowd, workload) => Found::Crowd(crowd.beside(target, *workload, plan).await?),
            Doing::FindRate(search, players) => Found::Rate(search.run(target, *players, plan).await?),
        })
    }
}
