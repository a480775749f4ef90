//! What a viewer sees: the picture moves while film is buffered. Pure; times are handed in.

use std::time::{Duration, Instant};

/// The state of one player. Places are bytes of the film.
#[derive(Debug)]
pub(super) struct Playback {
    /// Bytes that are played in a second.
    pace: f64,
    /// The picture starts when so many are there.
    start_up: f64,
    size: u64,
    /// Up to here the film has come.
    received: u64,
    /// Here the picture is.
    played: f64,
    /// Here the viewer will do something else.
    until: f64,
    /// Of what `state` and `played` say.
    since: Instant,
    state: State,
    stalls: Stalls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Playing,
    Waiting(Why),
}

/// What the viewer waits after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Start,
    Seek,
    Stall,
}

/// A wait that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) why: Why,
    pub(super) time: Duration,
}

/// Times that the picture stood still though it had been moving.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stalls {
    pub(super) count: u64,
    pub(super) time: Duration,
}

// === impl Playback ===

#[expect(clippy::cast_precision_loss, reason = "no film has 2^52 bytes")]
impl Playback {
    /// Of a film from its beginning, wanted since `due`.
    pub(super) fn new(pace: f64, start_up: f64, size: u64, due: Instant) -> Self {
        let state = State::Waiting(Why::Start);
        let stalls = Stalls::default();
        Self { pace, start_up, size, received: 0, played: 0.0, until: 0.0, since: due, state, stalls }
    }

    /// The viewer wants to see `bytes` more.
    pub(super) fn play_on(&mut self, bytes: u64) {
        self.until = (self.until + bytes as f64).min(self.size as f64);
    }

    /// A pause is over.
    pub(super) fn go_on(&mut self, now: Instant) {
        self.since = now;
    }

    /// The viewer wants to go on at `place`.
    pub(super) fn seek(&mut self, place: u64, now: Instant) {
        (self.received, self.played, self.until) = (place, place as f64, place as f64);
        (self.since, self.state) = (now, State::Waiting(Why::Seek));
    }

    /// Whether the viewer has seen what was wanted.
    pub(super) fn is_there(&mut self, now: Instant) -> bool {
        self.advance(now);
        self.played >= self.until
    }

    /// `bytes` more of the film have come. Says which wait is over by that.
    pub(super) fn came(&mut self, bytes: u64, now: Instant) -> Option<Wait> {
        self.advance(now);
        self.received += bytes;
        let State::Waiting(why) = self.state else { return None };
        if self.buffered() < self.start_up && self.received < self.size {
            return None;
        }
        let time = now - self.since;
        if why == Why::Stall {
            self.stalls.time += time;
        }
        (self.since, self.state) = (now, State::Playing);
        Some(Wait { why, time })
    }

    /// Up to where the film has come.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Since when it is as it is.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// How many bytes a buffer of so many takes now; none when the film's end is in it.
    pub(super) fn room(&self, buffer: f64) -> f64 {
        if self.received == self.size { 0.0 } else { (buffer - self.buffered()).max(0.0) }
    }

    /// When the viewer has seen what was wanted, as far as that is known.
    pub(super) fn there_at(&self) -> Option<Instant> {
        (self.state == State::Playing).then(|| self.since + self.time(self.until - self.played))
    }

    /// When no more than this will be buffered, if nothing comes.
    pub(super) fn buffered_at(&self, bytes: f64) -> Option<Instant> {
        let ends_here = self.received == self.size || self.state != State::Playing;
        (!ends_here).then(|| self.since + self.time(self.buffered() - bytes))
    }

    /// The stalls up to now, one that is not over yet among them.
    pub(super) fn stalls(&mut self, now: Instant) -> Stalls {
        self.advance(now);
        let mut stalls = self.stalls;
        if self.state == State::Waiting(Why::Stall) {
            stalls.time += now - self.since;
        }
        stalls
    }

    fn advance(&mut self, now: Instant) {
        if self.state != State::Playing {
            return;
        }
        let wanted = (self.played + (now - self.since).as_secs_f64() * self.pace).min(self.until);
        let there = self.received as f64;
        if wanted > there {
            // It ran out before now.
            self.since += self.time(there - self.played);
            self.played = there;
            self.state = State::Waiting(Why::Stall);
            self.stalls.count += 1;
        } else {
            (self.played, self.since) = (wanted, now);
        }
    }

    fn buffered(&self) -> f64 {
        self.received as f64 - self.played
    }

    fn time(&self, bytes: f64) -> Duration {
        Duration::from_secs_f64(bytes.max(0.0) / self.pace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred bytes a second, ten seconds of film.
    fn playback(start: Instant) -> Playback {
        let mut playback = Playback::new(100.0, 100.0, 1000, start);
        playback.play_on(2000);
        playback
    }

    #[test]
    fn the_picture_starts_stands_still_and_goes_on() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut playback = playback(start);
        assert_eq!(playback.came(99, at(500)), None);
        let time = Duration::from_millis(700);
        assert_eq!(playback.came(101, at(700)), Some(Wait { why: Why::Start, time }));
        assert!((playback.room(300.0) - 100.0).abs() < 1e-9);
        assert_eq!(playback.buffered_at(50.0), Some(at(2200)));
        // Two seconds of film end at 2.7 s; it goes on when there is one second again.
        assert!(!playback.is_there(at(3000)));
        assert_eq!(playback.there_at(), None);
        assert_eq!(playback.stalls(at(3000)), Stalls { count: 1, time: Duration::from_millis(300) });
        assert_eq!(playback.came(99, at(3500)), None);
        let time = Duration::from_millis(1300);
        assert_eq!(playback.came(1, at(4000)), Some(Wait { why: Why::Stall, time }));
        assert_eq!(playback.came(700, at(4500)), None);
        // The end of the film needs no buffer, and is no stall.
        assert!(playback.received() == 1000 && playback.room(1e9) <= 0.0);
        assert_eq!(playback.there_at(), Some(at(12_000)));
        assert!(!playback.is_there(at(11_999)) && playback.is_there(at(12_001)));
        assert_eq!(playback.stalls(at(20_000)), Stalls { count: 1, time });
    }

    #[test]
    fn pauses_and_seeks_are_no_stalls() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut playback = Playback::new(100.0, 100.0, 1000, start);
        playback.play_on(100);
        assert!(playback.came(200, at(0)).is_some());
        assert!(playback.is_there(at(1500)), "the picture stops where the viewer wanted");
        playback.go_on(at(9000));
        playback.play_on(50);
        assert_eq!(playback.there_at(), Some(at(9500)));
        assert!(playback.is_there(at(9500)));
        playback.seek(850, at(9600));
        playback.play_on(1000);
        assert_eq!(playback.received(), 850);
        assert_eq!(playback.came(60, at(9700)), None);
        let wait = playback.came(90, at(9900));
        assert_eq!(wait, Some(Wait { why: Why::Seek, time: Duration::from_millis(300) }));
        assert!(playback.is_there(at(11_400)));
        assert_eq!(playback.stalls(at(20_000)), Stalls::default());
    }
}
