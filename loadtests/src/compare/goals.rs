//! What a scenario is judged by.

use std::fmt;

use super::{
    figures::median,
    report::{Bound, Figures, Goal},
};
use crate::peers::Kind;

/// What a [`Goal`] is before anything was measured.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    /// What is measured.
    pub text: &'static str,
    /// Whose.
    pub of: Kind,
    /// Which of its figures.
    pub figure: fn(&Figures) -> Option<f64>,
    /// Beside what.
    pub beside: Beside,
    /// What is good enough.
    pub bound: Bound,
}

/// What a figure is put beside, in each round by itself, so that a busy moment of the machine is in both.
#[derive(Debug, Clone, Copy)]
pub enum Beside {
    /// It speaks for itself.
    Nothing,
    /// In parts of another peer's.
    PartsOf(Kind),
    /// What it has more than another peer's.
    MoreThan(Kind),
}

// === impl Aim ===

impl Aim {
    /// What came of it, given the figures of a peer round by round, if that was not left out. `None` when one that it
    /// needs was.
    pub(super) fn judge(&self, rounds_of: impl Fn(Kind) -> Option<Vec<Figures>>) -> Option<Goal> {
        let rounds = |kind: Kind| Some(rounds_of(kind)?.iter().map(self.figure).collect::<Vec<_>>());
        let own = rounds(self.of)?;
        let both = |other: Vec<Option<f64>>, put: fn(f64, f64) -> f64| {
            let pairs = own.iter().zip(other).filter_map(|(own, other)| Some(put((*own)?, other?)));
            median(pairs.filter(|value| value.is_finite()))
        };
        let value = match self.beside {
            Beside::Nothing => median(own.iter().copied().flatten()),
            Beside::PartsOf(other) => both(rounds(other)?, |own, other| own / other),
            Beside::MoreThan(other) => both(rounds(other)?, |own, other| own - other),
        };
        let met = value.is_some_and(|value| self.bound.holds(value));
        Some(Goal { text: self.text.to_owned(), value, bound: self.bound, met })
    }
}

// === impl Goal ===

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.met { "met" } else { "NOT MET" };
        let value = self.value.map_or_else(|| "none".to_owned(), |value| format!("{value:.3}"));
        write!(f, "{outcome:<8} {}: {value} ({})", self.text, self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEED: Aim = Aim {
        text: "speed, in parts of nginx-static's",
        of: Kind::SeekwayS3,
        figure: |figures| figures.gigabytes_per_second,
        beside: Beside::PartsOf(Kind::NginxStatic),
        bound: Bound::AtLeast(2.0),
    };

    fn judge(aim: Aim, seekway: &[f64], nginx: &[f64]) -> Option<Goal> {
        let figures = |speed: &f64| Figures { gigabytes_per_second: Some(*speed), ..Figures::default() };
        aim.judge(|kind| match kind {
            Kind::SeekwayS3 => Some(seekway.iter().map(figures).collect()),
            Kind::NginxStatic if !nginx.is_empty() => Some(nginx.iter().map(figures).collect()),
            _ => None,
        })
    }

    #[test]
    fn peers_are_put_beside_each_other_round_by_round() {
        // The machine was slow for both in the second round; the medians by themselves would say 1.
        let goal = judge(SPEED, &[6.0, 1.0, 2.0], &[3.0, 0.5, 2.0]).unwrap();
        assert_eq!((goal.value, goal.met), (Some(2.0), true));
        let less = Aim { beside: Beside::MoreThan(Kind::NginxStatic), bound: Bound::AtMost(0.4), ..SPEED };
        let goal = judge(less, &[6.0, 1.0, 2.0], &[3.0, 0.5, 2.0]).unwrap();
        assert_eq!((goal.value, goal.met), (Some(0.5), false));
        assert_eq!(goal.to_string(), "NOT MET  speed, in parts of nginx-static's: 0.500 (at most 0.4)");
        let alone = Aim { beside: Beside::Nothing, ..SPEED };
        assert_eq!(judge(alone, &[1.0, 4.0], &[]).unwrap().value, Some(2.5));
    }

    #[test]
    fn who_was_left_out_has_no_goal_and_who_did_nothing_misses_it() {
        assert!(judge(SPEED, &[1.0], &[]).is_none());
        let goal = judge(SPEED, &[0.0], &[0.0]).unwrap();
        assert_eq!((goal.value, goal.met), (None, false));
    }
}
