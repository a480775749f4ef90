//! Where ranges lie.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Film, Lane};

/// Where ranges lie in their film.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offsets {
    /// Anywhere, aligned to nothing.
    Anywhere,
    /// Anywhere in a stretch of this length that no other range of the run has.
    Apart(u64),
    /// One after the other, aligned to their length, as CDNs pull.
    InOrder,
}

// === impl Offsets ===

impl Offsets {
    /// The range of `bytes` that request `ticket` asks for. No film is shorter than that, or than a stretch.
    pub(super) fn range(self, lane: &Lane, ticket: u64, bytes: u64) -> (&Film, Range<u64>) {
        let target = &lane.target;
        let (film, start) = match self {
            Self::Anywhere => {
                let film = lane.any_film(ticket);
                (film, lane.draw(1, ticket, film.size - bytes + 1))
            }
            Self::Apart(stretch) => {
                return apart(lane, ticket, bytes, stretch, target.shortest() / stretch);
            }
            Self::InOrder => {
                let per_film = target.shortest() / bytes;
                (target.film(ticket / per_film), ticket % per_film * bytes)
            }
        };
        (film, start..start + bytes)
    }
}

/// A range of `bytes` somewhere in stretch number `nth`: film by film, `per_film` of each, all of them once.
pub(super) fn apart(lane: &Lane, nth: u64, bytes: u64, stretch: u64, per_film: u64) -> (&Film, Range<u64>) {
    let start = scatter(nth % per_film, per_film) * stretch + lane.draw(1, nth, stretch - bytes + 1);
    (lane.target.film(nth / per_film), start..start + bytes)
}

/// Each number below `count` once, none near the one before it.
fn scatter(nth: u64, count: u64) -> u64 {
    // Any step that shares no factor with the count visits all; near the golden section it visits them far apart.
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = count * 618 / 1000;
    let step = (golden.max(1)..=count).find(|step| gcd(*step, count) == 1).expect("one is near");
    u64::try_from(u128::from(nth) * u128::from(step) % u128::from(count)).expect("below the count")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_numbers_are_all_there_once() {
        for count in [1, 2, 3, 7, 16, 1000] {
            let mut numbers: Vec<u64> = (0..count).map(|nth| scatter(nth, count)).collect();
            assert!(count < 16 || numbers.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > 1));
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..count), "{count}");
        }
    }
}
