//! Herds: many readers who all ask for one place at the same instant, as when a live event begins or a link goes round.
//!
//! The readers are connected before, and have been served once. The same herd on a place that the server holds
//! already costs this client as much, so the two can be compared.

use std::{
    cell::RefCell,
    ops::Range,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::{Film, Lane, Offsets, Recorder, http1::Connection, offsets::apart, ranges::get};
use crate::Error;

/// The place that every reader is served from once, before anything counts: the last byte of the first film.
const WARM_UP_BYTES: u64 = 1;

/// Herds, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Herd {
    /// Connections, all of which ask at once.
    pub readers: usize,
    /// How much each asks for.
    pub bytes: u64,
    /// Where it lies.
    pub place: Place,
}

/// Where herds meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Each herd somewhere in a stretch of this length where nobody was before, at a multiple of the herd's length.
    /// The server must be cold, and each film holds at least two stretches.
    Cold(u64),
    /// All at one place, which has been read.
    Hot,
}

// === impl Herd ===

impl Herd {
    pub(super) async fn run(&self, lane: &Lane) -> Result<Recorder, Error> {
        let warm_up = RefCell::new(Recorder::new());
        let mut connections = Vec::new();
        let (film, range) = self.warm_up(lane);
        for _ in 0..lane.share(self.readers) {
            let mut connection = Connection::connect(lane.target.address).await?;
            get(lane, &mut connection, film, range.clone(), (0, Instant::now()), &warm_up).await?;
            connections.push(Some(connection));
        }

        let start = lane.start().await?;
        let recorder = RefCell::new(Recorder::new());
        let readers = self.readers as u64;
        while let Some((first, due)) = lane.round(start, readers).await {
            let (film, range) = self.wanted(lane, first / readers);
            let own = (lane.nth as u64..).step_by(lane.lanes).map(|nth| first + nth);
            let asked = connections.iter_mut().zip(own).map(async |(slot, ticket)| {
                let asked = async {
                    let mut connected = match slot.take() {
                        Some(connection) => connection,
                        None => Connection::connect(lane.target.address).await?,
                    };
                    let times =
                        get(lane, &mut connected, film, range.clone(), (ticket, due), &recorder).await?;
                    *slot = Some(connected).filter(Connection::is_reusable);
                    Ok::<_, Error>(times)
                };
                let asked = asked.await;
                lane.progress();
                asked.map_err(|error| recorder.borrow_mut().failed(&error)).unwrap_or_default()
            });
            // All of them ask before the first is served.
            let times = tokio::task::coop::unconstrained(join_all(asked)).await;
            let last = |time: fn(&(Duration, Duration)) -> Duration| times.iter().map(time).max();
            let last = (last(|times| times.0), last(|times| times.1));
            recorder.borrow_mut().herds.push((last.0.unwrap_or_default(), last.1.unwrap_or_default()));
        }
        Ok(recorder.into_inner())
    }

    fn warm_up<'a>(&self, lane: &'a Lane) -> (&'a Film, Range<u64>) {
        match self.place {
            Place::Cold(_) => {
                let film = &lane.target.films[0];
                (film, film.size - WARM_UP_BYTES..film.size)
            }
            Place::Hot => Offsets::Anywhere.range(lane, 0, self.bytes),
        }
    }

    fn wanted<'a>(&self, lane: &'a Lane, herd: u64) -> (&'a Film, Range<u64>) {
        match self.place {
            Place::Cold(stretch) => {
                // The last one is the warm-up's.
                let per_film = lane.target.shortest() / stretch - 1;
                let (film, range) = apart(lane, herd, self.bytes, stretch, per_film);
                // As few of the server's blocks as it can be.
                let start = range.start - range.start % stretch % self.bytes;
                (film, start..start + self.bytes)
            }
            Place::Hot => self.warm_up(lane),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        load::{Drive, Length, Progress, Target, Workload, drive},
        origin::{Origin, Shape},
    };

    #[tokio::test]
    async fn herds_meet_where_nobody_was_or_where_all_were() {
        const BYTES: u64 = 64 * 1024;
        const STRETCH: u64 = 1 << 20;
        for (place, places) in [(Place::Cold(STRETCH), 6), (Place::Hot, 1)] {
            let origin = Origin::start(Shape::default()).unwrap();
            let mut target = Target::of_patterns(origin.address(), "/media/", 2, 4 << 20);
            for (nth, film) in target.films.iter().enumerate() {
                origin.put_pattern("media", &Film::name(nth), film.size, nth as u64);
            }
            target.host = "localhost".to_owned();
            let herd = Workload::Herd(Herd { readers: 7, bytes: BYTES, place });
            // There would be room for six herds and six readers.
            let length = Length::requests(6 * 7 + 6);
            let plan = Drive { threads: 2, length, seed: 3, verify_every: 1, progress: Progress::default() };
            let found = drive(&Arc::new(target), herd, &plan).await.unwrap();
            assert_eq!((found.requests, found.failed, found.wrong), (42, 0, 0), "{found:?}");
            assert_eq!(found.verified_bytes, 42 * BYTES);
            let (last, all) = (found.last_ttfb.unwrap(), found.last_total.unwrap());
            assert_eq!((last.count, all.count), (6, 6));
            assert!(last.max <= all.max && (last.max - found.ttfb.max).abs() < 1e-9);

            let log = origin.log();
            let (warm_up, asked) = log.split_at(7);
            let ranges = |log: &[crate::origin::Logged]| {
                log.iter().map(|logged| (logged.key.clone(), logged.range.clone())).collect::<Vec<_>>()
            };
            assert!(ranges(warm_up).windows(2).all(|pair| pair[0] == pair[1]));
            let mut met: Vec<_> = ranges(asked);
            assert!(met.chunks(7).all(|herd| herd.iter().all(|range| *range == herd[0])));
            met.dedup();
            assert_eq!(met.len(), places, "{met:?}");
            assert_eq!(met.contains(&ranges(warm_up)[0]), place == Place::Hot);
        }
    }
}
