//! Single ranges: hot ones, cold seeks, and connections that are closed after each.

use std::{
    cell::RefCell,
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{Arrivals, Film, Lane, Offsets, Recorder, arrivals::Schedule, http1::Connection};
use crate::Error;

/// After a failure, so that a server that is gone is not asked a million times.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// Ranges of one length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ranges {
    /// The length of each.
    pub bytes: u64,
    /// Over so many connections, each with one request at a time.
    pub connections: usize,
    /// When they are asked for.
    pub arrivals: Arrivals,
    /// Where they lie.
    pub offsets: Offsets,
    /// Whether each is asked for on a connection of its own, which is closed then.
    pub churn: bool,
    /// Whether the client copies the bodies out of its sockets, as every client does that uses them; it throws them
    /// away in the kernel otherwise.
    #[serde(default)]
    pub copies: bool,
}

/// What the connections of a lane share.
struct Shared<'a> {
    lane: &'a Lane,
    recorder: RefCell<Recorder>,
    schedule: Mutex<Schedule>,
    start: Instant,
}

// === impl Ranges ===

impl Ranges {
    pub(super) async fn run(&self, lane: &Lane) -> Result<Recorder, Error> {
        let mut connections = Vec::new();
        for _ in 0..lane.share(self.connections) {
            connections.push(Connection::connect(lane.target.address).await?);
        }
        let start = lane.start().await?;
        let seed = lane.seed() ^ (lane.nth as u64) << 32;
        let shared = Rc::new(Shared {
            lane,
            recorder: RefCell::new(Recorder::new()),
            schedule: Mutex::new(Schedule::new(self.arrivals, lane.lanes, seed, start)?),
            start,
        });
        try_join_all(connections.into_iter().map(|connection| self.ask_on(connection, &shared))).await?;
        Ok(shared.recorder.replace(Recorder::new()))
    }

    async fn ask_on(&self, connection: Connection, shared: &Shared<'_>) -> Result<(), Error> {
        let lane = shared.lane;
        let mut connection = Some(connection);
        loop {
            // Held while it waits, so the connection that has waited longest gets the next request.
            let due = shared.schedule.lock().await.next().await?;
            let Some(ticket) = lane.ticket(shared.start) else { return Ok(()) };
            let (film, range) = self.offsets.range(lane, ticket, self.bytes);
            let asked = async {
                let mut connected = match connection.take() {
                    Some(connection) => connection,
                    None => Connection::connect(lane.target.address).await?,
                };
                connected.set_copies(self.copies);
                get(lane, &mut connected, film, range, (ticket, due), &shared.recorder).await?;
                Ok::<_, Error>(connected)
            };
            match asked.await {
                Ok(connected) if connected.is_reusable() && !self.churn => connection = Some(connected),
                Ok(_) => {}
                Err(error) => {
                    shared.recorder.borrow_mut().failed(&error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
            lane.progress();
        }
    }
}

/// Asks for one range and records what came of it: when, since it was due, its first byte and its end had come. An
/// error is for the caller to record.
pub(super) async fn get(
    lane: &Lane,
    connection: &mut Connection,
    film: &Film,
    range: Range<u64>,
    (ticket, due): (u64, Instant),
    recorder: &RefCell<Recorder>,
) -> Result<(Duration, Duration), Error> {
    let request = lane.target.request(film, &range);
    connection.ask(&request).await?.expect(&request, &range, film)?;
    let (mut first_byte, mut wrong) = (None, false);
    let mut at = range.start;
    let looks = lane.verifies(ticket, film);
    let mut own = if looks { vec![0; 64 * 1024] } else { Vec::new() };
    while connection.remaining() > 0 {
        let len = if looks {
            let len = connection.read(&mut own).await?;
            wrong |= film.first_wrong(at, &own[..len]).is_some();
            len
        } else {
            connection.discard(&lane.scratch, usize::MAX).await?
        };
        first_byte.get_or_insert_with(Instant::now);
        at += len as u64;
    }
    let bytes = range.end - range.start;
    Ok(recorder.borrow_mut().answered(due, first_byte, bytes, looks.then_some(wrong)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        load::{Drive, Length, Progress, Target, Workload, drive},
        origin::{Origin, Shape},
    };

    const SIZE: u64 = 8 << 20;

    fn origin() -> (Origin, Arc<Target>) {
        let origin = Origin::start(Shape::default()).unwrap();
        for film in 0..3 {
            origin.put_pattern("media", &Film::name(film), SIZE, film as u64);
        }
        let target = Target::of_patterns(origin.address(), "/media/", 3, SIZE);
        (origin, Arc::new(target))
    }

    fn ranges() -> Ranges {
        Ranges {
            bytes: 64 * 1024,
            connections: 5,
            arrivals: Arrivals::Closed,
            offsets: Offsets::Anywhere,
            churn: false,
            copies: false,
        }
    }

    fn plan(requests: u64) -> Drive {
        let length = Length::requests(requests);
        Drive { threads: 2, length, seed: 1, verify_every: 3, progress: Progress::default() }
    }

    #[tokio::test]
    async fn every_way_of_asking_asks_for_as_much_as_it_should() {
        for ranges in [
            ranges(),
            Ranges { arrivals: Arrivals::Open { per_second: 5000.0 }, ..ranges() },
            Ranges { churn: true, ..ranges() },
            Ranges { copies: true, ..ranges() },
            Ranges { offsets: Offsets::Apart(256 * 1024), ..ranges() },
            Ranges { offsets: Offsets::InOrder, bytes: 1 << 20, ..ranges() },
        ] {
            let (origin, target) = origin();
            let drive_ = plan(24);
            let found = drive(&target, Workload::Ranges(ranges), &drive_).await.unwrap();
            assert_eq!((found.requests, found.failed, found.wrong), (24, 0, 0), "{found:?}");
            assert_eq!((found.bytes, found.verified_bytes), (24 * ranges.bytes, 8 * ranges.bytes));
            assert_eq!((found.ttfb.count, found.total.count), (24, 24));
            assert_eq!(origin.counts().gets, 24);
            assert_eq!(drive_.progress.load(std::sync::atomic::Ordering::Relaxed), 24);
        }
    }

    #[tokio::test]
    async fn what_fails_is_counted_and_explained() {
        let (_origin, target) = origin();
        let mut films = target.films.clone();
        films[0].path = "/media/none.mp4".to_owned();
        films[1].seed = Some(77);
        let target = Arc::new(Target { films, ..Target::clone(&target) });
        let found = drive(&target, Workload::Ranges(ranges()), &plan(300)).await.unwrap();
        assert_eq!(found.requests + found.failed, 300);
        assert!(found.failed > 0 && found.wrong > 0, "{found:?}");
        let why = found.first_failure.unwrap();
        assert!(why.contains("GET /media/none.mp4") && why.contains("404"), "{why}");
    }
}
