//! Viewers: they come at a fixed rate, choose a film by its popularity, and watch it as players do.
//!
//! A player asks for everything from one place on, reads some seconds ahead of the picture, and then only as fast as it
//! plays: it leaves the rest where it is, so the server feels the film's own pace. It pauses with the connection open,
//! and seeks by hanging up and asking elsewhere. Who does what is drawn from the seed ([`session`]), so every server
//! sees the same viewers; how well they fare is what [`playback`] finds out.

mod playback;
mod session;

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use futures_util::{TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep_until, timeout_at};

use self::{
    playback::{Playback, Wait, Why},
    session::{Act, Popularity, Session},
};
use super::{
    Arrivals, Film, Lane, Recorder, arrivals::Schedule, http1::Connection, recorder::SessionRecorder,
};
use crate::Error;

/// What a player's kernel takes in beyond what the player reads; the kernel doubles it. With more, back-pressure would
/// begin in the client.
const RECEIVE_BUFFER_BYTES: u32 = 128 * 1024;
/// The picture starts when so much film is there, and again after it stood still.
const START_UP: Duration = Duration::from_secs(1);
/// A player that has read enough reads on when this share of it has been played.
const REFILL_SHARE: f64 = 0.25;
/// A buffer with less room than this share of it is full: room for some bytes more comes with every microsecond.
const FULL_SHARE: f64 = 0.03;

/// Viewers. Times are the film's own: with a `speed` of 10 a second of film takes a tenth of one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Players {
    /// Viewers who come each second of the clock, at random times, however many are there.
    pub per_second: f64,
    /// A second of film.
    pub bytes_per_second: u64,
    /// How much of a film a viewer watches, on the average. Most leave earlier, some stay much longer.
    pub watched: Duration,
    /// Between two seeks or pauses of a viewer, on the average: a third each are pauses, jumps back and jumps ahead.
    pub acts_every: Duration,
    /// How long a pause is, on the average.
    pub paused: Duration,
    /// How far ahead of the picture a player reads.
    pub buffered: Duration,
    /// The exponent of Zipf's law: film number `n`, counted from 1, is chosen with a weight of `1 / n^zipf`.
    pub zipf: f64,
    /// How many seconds of film are played in one of the clock.
    pub speed: f64,
}

/// What the viewers of a lane share.
struct Hall<'a> {
    players: Players,
    lane: &'a Lane,
    popularity: Popularity,
    recorder: RefCell<Recorder>,
    start: Instant,
}

/// One viewer's open range.
struct Open<'a> {
    connection: Connection,
    film: &'a Film,
    /// When it was wanted, until its first byte came.
    due: Option<Instant>,
    /// Whether its bytes are compared with what they should be.
    looks: bool,
    is_wrong: bool,
}

/// How a viewer's stay ended.
enum Left {
    Watched,
    Cut,
}

impl Default for Players {
    /// A viewer a second, of films of 4 Mbit/s, for five minutes.
    fn default() -> Self {
        Self {
            per_second: 1.0,
            bytes_per_second: 500_000,
            watched: Duration::from_mins(5),
            acts_every: Duration::from_secs(30),
            paused: Duration::from_secs(10),
            buffered: Duration::from_secs(10),
            zipf: 0.8,
            speed: 1.0,
        }
    }
}

// === impl Players ===

impl Players {
    pub(super) async fn run(&self, lane: &Lane) -> Result<Recorder, Error> {
        assert!(self.buffered >= 2 * START_UP, "a player that buffers less than it starts with never starts");
        let start = lane.start().await?;
        let recorder = Recorder { sessions: Some(SessionRecorder::new()), ..Recorder::new() };
        let popularity = Popularity::zipf(lane.target.films.len(), self.zipf);
        let hall = &Hall { players: *self, lane, popularity, recorder: RefCell::new(recorder), start };
        let arrivals = Arrivals::Open { per_second: self.per_second };
        let schedule = Schedule::new(arrivals, lane.lanes, lane.seed() ^ (lane.nth as u64) << 32, start)?;
        let viewers = stream::try_unfold(schedule, async |mut schedule| {
            let due = schedule.next().await?;
            Ok(lane.ticket(start).map(|ticket| ((ticket, due), schedule)))
        });
        viewers
            .try_for_each_concurrent(None, async |(ticket, due)| {
                hall.watch(ticket, due).await;
                Ok::<_, Error>(())
            })
            .await?;
        Ok(hall.recorder.replace(Recorder::new()))
    }

    /// Bytes of film in so much of its time.
    fn bytes(&self, film_time: Duration) -> f64 {
        film_time.as_secs_f64() * self.pace() / self.speed
    }

    /// Bytes that are played in a second of the clock.
    #[expect(clippy::cast_precision_loss, reason = "a bitrate is far below 2^52")]
    fn pace(&self) -> f64 {
        self.bytes_per_second as f64 * self.speed
    }
}

// === impl Hall ===

impl Hall<'_> {
    /// The stay of viewer number `ticket`, who came at `due`.
    async fn watch(&self, ticket: u64, due: Instant) {
        let session = Session::draw(
            &self.players,
            &self.lane.target.films,
            &self.popularity,
            (self.lane.seed(), ticket),
        );
        self.sessions(|sessions| sessions.counts.begun += 1);
        let film = &self.lane.target.films[session.film];
        let mut playback = Playback::new(self.players.pace(), self.players.bytes(START_UP), film.size, due);
        let left = self.follow(&session, film, ticket, &mut playback).await;

        let now = Instant::now();
        let stalls = playback.stalls(now);
        self.sessions(|sessions| {
            sessions.counts.stalls += stalls.count;
            sessions.counts.stalled_sessions += u64::from(stalls.count > 0);
            sessions.stalled += stalls.time;
            match left {
                Ok(Left::Watched) => sessions.counts.ended += 1,
                Ok(Left::Cut) => sessions.counts.cut += 1,
                Err(_) => sessions.counts.broken += 1,
            }
        });
        if let Err(error) = left {
            self.recorder.borrow_mut().failed(&error);
        }
        self.lane.progress();
    }

    /// One act after the other.
    async fn follow(
        &self,
        session: &Session,
        film: &Film,
        ticket: u64,
        playback: &mut Playback,
    ) -> Result<Left, Error> {
        let end = self.lane.end(self.start);
        let mut open = self.open(film, 0, ticket, playback.since()).await?;
        for act in &session.acts {
            match *act {
                Act::Watch(bytes) => {
                    playback.play_on(bytes);
                    while !playback.is_there(Instant::now()) {
                        if Instant::now() >= end {
                            return Ok(Left::Cut);
                        }
                        self.step(&mut open, playback, end).await?;
                    }
                }
                Act::Pause(film_time) => {
                    self.sessions(|sessions| sessions.counts.pauses += 1);
                    let until = Instant::now() + film_time.div_f64(self.players.speed);
                    sleep_until(until.min(end).into()).await;
                    playback.go_on(Instant::now());
                }
                Act::SeekTo(place) => {
                    self.sessions(|sessions| sessions.counts.seeks += 1);
                    // Hanging up comes first.
                    drop(open);
                    playback.seek(place, Instant::now());
                    open = self.open(film, place, ticket, playback.since()).await?;
                }
            }
        }
        Ok(Left::Watched)
    }

    async fn open<'a>(
        &self,
        film: &'a Film,
        place: u64,
        ticket: u64,
        due: Instant,
    ) -> Result<Open<'a>, Error> {
        let target = &self.lane.target;
        let mut connection = Connection::connect_holding(target.address, RECEIVE_BUFFER_BYTES).await?;
        let request = target.open_request(film, place);
        connection.ask(&request).await?.expect(&request, &(place..film.size), film)?;
        let looks = self.lane.verifies(ticket, film);
        Ok(Open { connection, film, due: Some(due), looks, is_wrong: false })
    }

    /// Reads what the buffer has room for, or waits until it has; no longer than to the end of the act or the run.
    async fn step(&self, open: &mut Open<'_>, playback: &mut Playback, end: Instant) -> Result<(), Error> {
        let buffer = self.players.bytes(self.players.buffered);
        let until = playback.there_at().map_or(end, |there| there.min(end));
        let room = playback.room(buffer);
        if room < buffer * FULL_SHARE {
            let refill = playback.buffered_at(buffer * (1.0 - REFILL_SHARE));
            sleep_until(refill.map_or(until, |refill| refill.min(until)).into()).await;
            return Ok(());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is no negative number"
        )]
        let taking = self.take(open, playback.received(), room as usize);
        let Ok(taken) = timeout_at(until.into(), taking).await else {
            return Ok(());
        };
        let (taken, now) = (taken?, Instant::now());
        if let Some(due) = open.due.take() {
            let mut recorder = self.recorder.borrow_mut();
            recorder.requests += 1;
            recorder.first_byte(now - due);
        }
        self.recorder.borrow_mut().bytes += taken;
        self.sessions(|sessions| {
            sessions.delivered(now - self.start, taken);
            match playback.came(taken, now) {
                Some(Wait { why: Why::Start, time }) => sessions.waited_to_start(time),
                Some(Wait { why: Why::Seek, time }) => sessions.waited_after_seek(time),
                Some(Wait { why: Why::Stall, .. }) | None => {}
            }
        });
        Ok(())
    }

    /// Takes up to `room` bytes, which begin at `place` of the film.
    async fn take(&self, open: &mut Open<'_>, place: u64, room: usize) -> Result<u64, Error> {
        if !open.looks {
            return Ok(open.connection.discard(&self.lane.scratch, room).await? as u64);
        }
        let mut own = vec![0; room.min(64 * 1024)];
        let len = open.connection.read(&mut own).await?;
        let mut recorder = self.recorder.borrow_mut();
        recorder.verified_bytes += len as u64;
        if !open.is_wrong && open.film.first_wrong(place, &own[..len]).is_some() {
            open.is_wrong = true;
            recorder.wrong += 1;
        }
        Ok(len as u64)
    }

    fn sessions(&self, change: impl FnOnce(&mut SessionRecorder)) {
        change(self.recorder.borrow_mut().sessions.as_mut().expect("made at the start"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        load::{Drive, Length, Measurement, Progress, Target, Workload, drive},
        origin::{Origin, Shape},
    };

    const SIZE: u64 = 2_000_000;

    /// Twenty seconds of film in one.
    fn players() -> Players {
        Players {
            per_second: 200.0,
            bytes_per_second: 100_000,
            watched: Duration::from_secs(3),
            acts_every: Duration::from_secs(1),
            paused: Duration::from_millis(500),
            buffered: Duration::from_secs(4),
            speed: 20.0,
            ..Players::default()
        }
    }

    async fn run(shape: Shape, length: Length) -> (Origin, Measurement) {
        let origin = Origin::start(shape).unwrap();
        for film in 0..3 {
            origin.put_pattern("media", &Film::name(film), SIZE, film as u64);
        }
        let target = Arc::new(Target::of_patterns(origin.address(), "/media/", 3, SIZE));
        let plan = Drive { threads: 2, length, seed: 1, verify_every: 2, progress: Progress::default() };
        let found = drive(&target, Workload::Players(players()), &plan).await.unwrap();
        (origin, found)
    }

    #[tokio::test]
    async fn viewers_come_seek_pause_and_leave_as_drawn() {
        let (origin, found) = run(Shape::default(), Length::requests(60)).await;
        let sessions = found.sessions.clone().unwrap();
        let counts = sessions.counts;
        assert_eq!((found.failed, found.wrong), (0, 0), "{found:?}");
        assert_eq!((counts.begun, counts.ended, counts.cut, counts.broken), (60, 60, 0, 0));
        assert!(counts.seeks > 20 && counts.pauses > 10, "{counts:?}");
        // A range is asked for at the beginning and after each seek, and no more is read than the buffer holds.
        assert_eq!(found.requests, counts.begun + counts.seeks);
        assert_eq!(origin.counts().gets, found.requests);
        assert_eq!((sessions.start_up.count, sessions.after_seek.count), (counts.begun, counts.seeks));
        assert!(found.bytes <= origin.counts().body_bytes && found.verified_bytes > 0);
        assert_eq!(sessions.timeline.iter().map(|(_, bytes)| bytes).sum::<u64>(), found.bytes);

        let (_, again) = run(Shape::default(), Length::requests(60)).await;
        let again = again.sessions.unwrap().counts;
        assert_eq!((again.begun, again.seeks, again.pauses), (counts.begun, counts.seeks, counts.pauses));
    }

    #[tokio::test]
    async fn pictures_stand_still_when_the_film_comes_too_slowly() {
        // Half of what 20 times 100,000 bytes a second take.
        let slow = Shape { bytes_per_second_per_connection: Some(1_000_000), ..Shape::default() };
        let (_origin, found) = run(slow, Length::requests(40)).await;
        let sessions = found.sessions.unwrap();
        assert_eq!((sessions.counts.ended, found.failed), (40, 0));
        assert!(sessions.counts.stalled_sessions > 5 && sessions.stalled_seconds > 0.1, "{sessions:?}");
        assert!(sessions.counts.stalls >= sessions.counts.stalled_sessions);
    }

    #[tokio::test]
    async fn who_watches_when_the_time_is_over_is_cut_and_who_is_refused_broken() {
        let (_origin, found) = run(Shape::default(), Length::time(Duration::from_millis(200))).await;
        let counts = found.sessions.unwrap().counts;
        assert!(counts.begun > 5 && counts.cut > 0, "{counts:?}");
        assert_eq!((counts.ended + counts.cut, counts.broken), (counts.begun, 0));

        let (_origin, found) = run(Shape { error_rate: 1.0, ..Shape::default() }, Length::requests(5)).await;
        assert_eq!((found.sessions.unwrap().counts.broken, found.failed, found.requests), (5, 5, 0));
        assert!(found.first_failure.unwrap().contains("503"));
    }
}
