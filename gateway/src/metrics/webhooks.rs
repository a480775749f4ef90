//! What programs are told of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Now;
use super::labels::{Label, label};
use super::table::{Counter, Gauge, Table};

/// The numbers of webhooks and listeners.
#[derive(Debug)]
pub(crate) struct Webhooks {
    attempts: Counter<Delivered>,
    waiting: AtomicU64,
    oldest_ms: AtomicU64,
    listeners: Gauge<()>,
}

label! {
    /// What came of an attempt.
    Delivered "outcome" {
        Taken "delivered",
        Again "again",
        Failed "failed",
    }
}

/// What the database said some seconds ago.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backlog {
    waiting: u64,
    oldest: Duration,
}

// === impl Webhooks ===

impl Webhooks {
    pub(super) fn new(t: &mut Table) -> Self {
        let listeners = t.gauge("seekway_event_listeners", "Streams of `/api/events` that are open.");
        let attempts = t.counter(
            "seekway_webhook_attempts_total",
            "Requests to webhooks, by what came of them; `failed` were the last ones.",
        );
        t.read(
            "seekway_webhook_deliveries_waiting",
            "Deliveries to be tried or under way, of all replicas together, as the database said some seconds ago.",
            |n: &Now| n.webhooks.waiting,
        )
        .read_time(
            "seekway_webhook_oldest_waiting_seconds",
            "For how long the one that was asked for first has waited.",
            |n| n.webhooks.oldest,
        );
        Self { attempts, waiting: AtomicU64::default(), oldest_ms: AtomicU64::default(), listeners }
    }

    pub(crate) fn attempted(&self, outcome: Delivered) {
        self.attempts.increment(outcome);
    }

    /// The database has said so.
    pub(crate) fn set_backlog(&self, waiting: u64, oldest_ms: Option<u64>) {
        self.waiting.store(waiting, Ordering::Relaxed);
        self.oldest_ms.store(oldest_ms.unwrap_or_default(), Ordering::Relaxed);
    }

    pub(super) fn backlog(&self) -> Backlog {
        let oldest = Duration::from_millis(self.oldest_ms.load(Ordering::Relaxed));
        Backlog { waiting: self.waiting.load(Ordering::Relaxed), oldest }
    }

    pub(crate) fn listens(&self) {
        self.listeners.increment(());
    }

    pub(crate) fn leaves(&self) {
        self.listeners.decrement(());
    }
}
