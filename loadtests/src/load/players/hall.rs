//! A viewer's stay: asks, reads ahead, waits, and does what was drawn.

use std::{cell::RefCell, time::Instant};

use tokio::time::{sleep_until, timeout_at};

use super::{
    Players, START_UP,
    playback::{Playback, Wait, Why},
    session::{Act, Popularity, Session},
};
use crate::{
    Error,
    load::{Film, Lane, Recorder, http1::Connection, sessions::SessionRecorder},
};

/// What a player's kernel takes in beyond what the player reads; the kernel doubles it. With more, back-pressure would
/// begin in the client.
const RECEIVE_BUFFER_BYTES: u32 = 128 * 1024;
/// A player that has read enough reads on when this share of it has been played.
const REFILL_SHARE: f64 = 0.25;
/// A buffer with less room than this share of it is full: room for some bytes more comes with every microsecond.
const FULL_SHARE: f64 = 0.03;

/// What the viewers of a lane share.
pub(super) struct Hall<'a> {
    pub(super) players: Players,
    pub(super) lane: &'a Lane,
    pub(super) popularity: Popularity,
    pub(super) recorder: RefCell<Recorder>,
    pub(super) start: Instant,
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

// === impl Hall ===

impl Hall<'_> {
    /// The stay of viewer number `ticket`, who came at `due`.
    pub(super) async fn watch(&self, ticket: u64, due: Instant) {
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
