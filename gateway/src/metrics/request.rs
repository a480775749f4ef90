//! The account of one request, from its head to the end of its response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use seekway_cache::Source;

use super::Metrics;
use super::labels::{Kind, Outcome, Protocol, Tier};
use crate::app::Surface;

/// Counts one request; dropped when its response has ended, or its client left before there was one.
#[derive(Debug)]
pub(crate) struct Meter {
    metrics: Arc<Metrics>,
    kind: Kind,
    protocol: Protocol,
    begun: Instant,
    tier: Tier,
    outcome: Outcome,
}

// === impl Meter ===

impl Meter {
    /// The head of `request` was there at `begun`.
    pub(crate) fn begin<B>(
        metrics: Arc<Metrics>,
        surface: Surface,
        request: &Request<B>,
        begun: Instant,
    ) -> Self {
        let (kind, protocol) = (Kind::of(surface, request), Protocol::from(request.version()));
        metrics.requests_running.increment(protocol);
        Self { metrics, kind, protocol, begun, tier: Tier::None, outcome: Outcome::Unanswered }
    }

    /// The status is decided and the first byte, from `source` if it is one of an object, is at hand.
    pub(crate) fn answered(&mut self, status: StatusCode, source: Option<Source>) {
        self.tier = source.into();
        self.metrics.requests.increment((self.kind, status.into(), self.protocol));
        self.metrics.first_byte.observe(self.tier, self.begun.elapsed());
    }

    /// Bytes of the body were given to the connection.
    pub(crate) fn sent(&self, bytes: usize) {
        self.metrics.body_bytes.add(self.protocol, bytes as u64);
    }

    /// The response was held back for so long.
    pub(crate) fn paced(&self, held_back: Duration) {
        if !held_back.is_zero() {
            self.metrics.paced.add(held_back);
        }
    }

    /// How the response ended.
    pub(crate) fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.metrics.requests_running.decrement(self.protocol);
        self.metrics.responses.increment(self.outcome);
        self.metrics.duration.observe(self.tier, self.begun.elapsed());
    }
}
