//! What a scenario is judged by.

use std::fmt;

use super::report::{Bound, Figures, Goal, PeerReport, median};
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
    /// What came of it. `None` when a peer that it needs was left out.
    pub(super) fn judge(&self, peers: &[PeerReport]) -> Option<Goal> {
        let rounds = |kind: Kind| {
            let peer = peers.iter().find(|peer| peer.name == kind.name())?;
            Some(peer.rounds.iter().map(|round| (self.figure)(&round.figures)).collect::<Vec<_>>())
        };
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
        let (side, bound) = match self.bound {
            Bound::AtMost(bound) => ("at most", bound),
            Bound::AtLeast(bound) => ("at least", bound),
        };
        write!(f, "{outcome:<8} {}: {value} ({side} {bound})", self.text)
    }
}
