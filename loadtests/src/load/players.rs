//! Viewers: they come at a fixed rate, choose a film by its popularity, and watch it as players do.
//!
//! A player asks for everything from one place on, reads some seconds ahead of the picture, and then only as fast as it
//! plays: it leaves the rest where it is, so the server feels the film's own pace. It pauses with the connection open,
//! and seeks by hanging up and asking elsewhere. Who does what is drawn from the seed ([`session`]), so every server
//! sees the same viewers; a viewer's stay is in [`hall`], and how it went is what [`playback`] finds out.

mod hall;
mod playback;
mod session;

use std::{cell::RefCell, time::Duration};

use futures_util::{TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use self::{hall::Hall, session::Popularity};
use super::{Arrivals, Lane, Recorder, arrivals::Schedule, sessions::SessionRecorder};
use crate::Error;

/// The picture starts when so much film is there, and again after it stood still.
const START_UP: Duration = Duration::from_secs(1);

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        load::{Drive, Film, Length, Measurement, Progress, Target, Workload, drive},
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
        watch(players(), shape, length).await
    }

    async fn watch(players: Players, shape: Shape, length: Length) -> (Origin, Measurement) {
        let origin = Origin::start(shape).unwrap();
        for film in 0..3 {
            origin.put_pattern("media", &Film::name(film), SIZE, film as u64);
        }
        let target = Arc::new(Target::of_patterns(origin.address(), "/media/", 3, SIZE));
        let plan = Drive { threads: 2, length, seed: 1, verify_every: 2, progress: Progress::default() };
        let found = drive(&target, Workload::Players(players), &plan).await.unwrap();
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
        // The film alone takes twenty seconds.
        let hour = Duration::from_hours(1);
        let patient = Players { watched: 1000 * hour, acts_every: 1000 * hour, speed: 1.0, ..players() };
        let length = Length::time(Duration::from_millis(500));
        let (_origin, found) = watch(patient, Shape::default(), length).await;
        let counts = found.sessions.unwrap().counts;
        assert!(counts.begun > 0 && counts.cut == counts.begun, "{counts:?}");
        assert_eq!((counts.ended, counts.broken, found.failed), (0, 0, 0));

        let (_origin, found) = run(Shape { error_rate: 1.0, ..Shape::default() }, Length::requests(5)).await;
        assert_eq!((found.sessions.unwrap().counts.broken, found.failed, found.requests), (5, 5, 0));
        assert!(found.first_failure.unwrap().contains("503"));
    }
}
