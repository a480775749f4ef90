//! From the outbox to the doorbells.

use std::sync::Arc;
use std::time::Duration;

use seekway_catalog::{Catalog, JobId, Jobs, OutboxRow};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{Doorbells, Error};

/// Between two looks at the outbox that find nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Rows that are claimed at a time.
const BATCH: u32 = 100;
/// Whoever claimed rows and died leaves them to others after this.
const LEASE_MS: i64 = 30_000;
/// After a ring that failed.
const RETRY_MS: i64 = 1_000;

/// Rings for what the outbox says is ready. Several may run; each row is claimed by one of them, and rung for at least
/// once.
#[derive(Debug)]
pub struct Relay {
    catalog: Catalog,
    doorbells: Arc<dyn Doorbells>,
}

// === impl Relay ===

impl Relay {
    /// One that takes from `catalog` and rings `doorbells`.
    pub fn new(catalog: Catalog, doorbells: Arc<dyn Doorbells>) -> Self {
        Self { catalog, doorbells }
    }

    /// Relays until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let mut is_away = false;
        while !stop.is_cancelled() {
            let outcome = self.step().await;
            if let (Err(Error(error)), false) = (&outcome, is_away) {
                warn!(error, "cannot ring for jobs that are ready; workers find them by looking");
            }
            is_away = outcome.is_err();
            if !matches!(outcome, Ok(rung) if rung > 0) {
                tokio::select! {
                    () = sleep(LOOK_EVERY / 2 + LOOK_EVERY.mul_f64(fastrand::f64())) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Rings for one batch. How many rows it had.
    ///
    /// # Errors
    /// The rows are then tried again, by whoever looks next.
    pub async fn step(&self) -> Result<usize, Error> {
        let outbox = self.catalog.outbox();
        let rows = outbox.claim(Jobs::READY, BATCH, LEASE_MS).await?;
        let jobs: Vec<_> = rows.iter().filter_map(|row| JobId::parse(&row.payload)).collect();
        let rung = if jobs.is_empty() { Ok(()) } else { self.doorbells.ring(&jobs).await };
        for row in &rows {
            self.settle(row, rung.is_ok()).await?;
        }
        rung.map(|()| rows.len())
    }

    async fn settle(&self, row: &OutboxRow, is_rung: bool) -> Result<(), Error> {
        let outbox = self.catalog.outbox();
        if is_rung {
            outbox.done(row).await?
        } else {
            outbox.retry(row, RETRY_MS).await?
        };
        Ok(())
    }
}
