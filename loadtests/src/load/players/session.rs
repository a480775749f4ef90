//! What a viewer does: drawn before anything is asked, so that no server's speed changes it.

use std::time::Duration;

use super::Players;
use crate::{
    load::{Film, arrivals::in_unit_interval},
    pattern,
};

/// No viewer does more.
const ACTS_MAX: usize = 1000;
/// How far back a viewer jumps at most: to see again what was just there.
const BACK_MAX: Duration = Duration::from_secs(30);

/// One viewer's film, and what happens then. At the end the viewer leaves.
#[derive(Debug, PartialEq)]
pub(super) struct Session {
    /// Its index.
    pub(super) film: usize,
    pub(super) acts: Vec<Act>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Act {
    /// So many bytes of the film, at least one.
    Watch(u64),
    /// So much of the film's time.
    Pause(Duration),
    /// To this byte of the film.
    SeekTo(u64),
}

/// The sums of the films' weights.
pub(super) struct Popularity(Vec<f64>);

/// The draws of one viewer.
struct Draws {
    seed: u64,
    ticket: u64,
    drawn: u64,
}

// === impl Popularity ===

impl Popularity {
    pub(super) fn zipf(films: usize, exponent: f64) -> Self {
        let weight = |nth: u32| f64::from(nth).powf(-exponent);
        let sums = (1..).take(films).scan(0.0, |sum, nth| {
            *sum += weight(nth);
            Some(*sum)
        });
        Self(sums.collect())
    }

    /// The film at `share` of all the weight.
    fn film(&self, share: f64) -> usize {
        let wanted = share * self.0.last().expect("there is a film");
        self.0.partition_point(|sum| *sum <= wanted).min(self.0.len() - 1)
    }
}

// === impl Session ===

impl Session {
    /// That of viewer number `ticket` with this seed.
    pub(super) fn draw(
        players: &Players,
        films: &[Film],
        popularity: &Popularity,
        (seed, ticket): (u64, u64),
    ) -> Self {
        let mut draws = Draws { seed, ticket, drawn: 0 };
        let film = popularity.film(draws.share());
        let size = films[film].size;
        let mut left = whole(draws.exponential(players.bytes(players.watched))).max(1);
        let (mut acts, mut place) = (Vec::new(), 0);
        loop {
            let until_act = whole(draws.exponential(players.bytes(players.acts_every))).max(1);
            let watched = until_act.min(left).min(size - place);
            acts.push(Act::Watch(watched));
            left -= watched;
            place += watched;
            if left == 0 || place == size || acts.len() >= ACTS_MAX {
                return Self { film, acts };
            }
            acts.push(match draws.below(3) {
                0 => Act::Pause(Duration::from_secs_f64(draws.exponential(players.paused.as_secs_f64()))),
                nth => {
                    let back = draws.below(place.min(whole(players.bytes(BACK_MAX))) + 1);
                    let ahead = draws.below(size - place);
                    place = if nth == 1 { place - back } else { place + ahead };
                    Act::SeekTo(place)
                }
            });
        }
    }
}

// === impl Draws ===

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        pattern::draw(self.seed ^ (self.drawn << 48), self.ticket, bound)
    }

    /// At least 0, below 1.
    fn share(&mut self) -> f64 {
        in_unit_interval(self.below(1 << 53))
    }

    /// Most are smaller than their mean, few much greater.
    fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.share()).ln() * mean
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is no negative number")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 600_000_000;

    fn sessions(seed: u64) -> Vec<Session> {
        let films: Vec<_> =
            (0..10).map(|nth| Film { path: Film::name(nth), size: SIZE, seed: None }).collect();
        let popularity = Popularity::zipf(films.len(), 1.0);
        let draw = |ticket| Session::draw(&Players::default(), &films, &popularity, (seed, ticket));
        (0..2000).map(draw).collect()
    }

    #[test]
    fn every_server_sees_the_same_viewers() {
        assert_eq!(sessions(1), sessions(1));
        assert_ne!(sessions(1), sessions(2));
    }

    #[test]
    fn popular_films_are_popular() {
        let mut chosen = [0_u32; 10];
        for session in sessions(1) {
            chosen[session.film] += 1;
        }
        // Weights of 1, 1/2, 1/3, … make 2.93: of 2,000 viewers 683, 341, 228, …, 68.
        for (nth, (count, expected)) in chosen.into_iter().zip([683, 341, 228]).enumerate() {
            assert!(count.abs_diff(expected) < 80, "film {nth}: {chosen:?}");
        }
        assert!(chosen[9] > 30, "{chosen:?}");
    }

    #[test]
    fn viewers_stay_in_their_film_and_most_leave_early() {
        let sessions = sessions(1);
        let (mut early, mut kinds) = (0, [0_u32; 3]);
        for session in &sessions {
            let (mut place, mut watched) = (0, 0);
            for act in &session.acts {
                match *act {
                    Act::Watch(bytes) => {
                        assert!(bytes > 0);
                        place += bytes;
                        watched += bytes;
                    }
                    Act::Pause(_) => kinds[0] += 1,
                    Act::SeekTo(there) => {
                        assert!(there < SIZE && there + 15_000_001 > place);
                        kinds[if there <= place { 1 } else { 2 }] += 1;
                        place = there;
                    }
                }
                assert!(place <= SIZE);
            }
            assert!(matches!(session.acts.last(), Some(Act::Watch(_))));
            early += u32::from(watched < 150_000_000);
        }
        // 63 % of an exponential distribution lie below its mean of five minutes.
        assert!(early > 1200, "{early}");
        assert!(kinds.iter().all(|count| *count > 1000), "{kinds:?}");
    }
}
