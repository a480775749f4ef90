//! From the outbox to the doorbells.
//!
//! A row is claimed for a time, rung for, and then done. Who is killed between the first and the last leaves it claimed,
//! and when that time is over another relay rings for it, perhaps for the second time: doorbells may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seekway_catalog::{Catalog, JobId, Jobs, OutboxRow};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{Doorbells, Error};

/// Between two looks at the outbox that find nothing. What this process adds is looked for at once, so this is about what
/// others left, and what comes later.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Rows that are claimed at a time.
const BATCH: u32 = 100;
/// Whoever claimed rows and died leaves them to others after this.
const LEASE: Duration = Duration::from_secs(30);
/// A backend that takes longer than this part of the lease to ring has failed: others would ring at the same time.
const RINGING_PER_LEASE: u32 = 3;
/// After a ring that failed, doubled with each failure of the same row up to the limit.
const RETRY_MS: i64 = 500;
const RETRY_MS_MAX: i64 = 30_000;

/// Rings for what the outbox says is ready. Several may run, here and elsewhere: each row is claimed by one of them, and
/// rung for at least once.
#[derive(Debug)]
pub struct Relay {
    catalog: Catalog,
    doorbells: Arc<dyn Doorbells>,
    lease: Duration,
    rung: AtomicU64,
    failures: AtomicU64,
}

// === impl Relay ===

impl Relay {
    /// One that takes from `catalog` and rings `doorbells`.
    pub fn new(catalog: Catalog, doorbells: Arc<dyn Doorbells>) -> Self {
        Self { catalog, doorbells, lease: LEASE, rung: AtomicU64::new(0), failures: AtomicU64::new(0) }
    }

    /// The same, from which others take over after `lease`.
    #[must_use]
    pub fn leasing_for(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Jobs that it has rung for.
    pub fn rung(&self) -> u64 {
        self.rung.load(Ordering::Relaxed)
    }

    /// Batches that came to nothing, because the backend or the database did not serve.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Relays until `stop`; what it has claimed is rung for first.
    pub async fn run(&self, stop: CancellationToken) {
        let outbox = self.catalog.outbox();
        let mut is_away = false;
        while !stop.is_cancelled() {
            let outcome = self.step().await;
            if let (Err(Error(error)), false) = (&outcome, is_away) {
                warn!(error, "cannot ring for jobs that are ready; workers find them by looking");
            }
            is_away = outcome.is_err();
            if matches!(outcome, Ok(rung) if rung > 0) {
                continue;
            }
            tokio::select! {
                () = sleep(LOOK_EVERY.mul_f64(0.5 + fastrand::f64())) => {}
                () = outbox.has_grown(), if !is_away => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Rings for one batch. How many rows it had.
    ///
    /// # Errors
    /// The rows are then tried again, by whoever looks next.
    pub async fn step(&self) -> Result<usize, Error> {
        let outcome = self.batch().await;
        if outcome.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    async fn batch(&self) -> Result<usize, Error> {
        let outbox = self.catalog.outbox();
        let lease_ms = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        let rows = outbox.claim(Jobs::READY, BATCH, lease_ms).await?;
        let jobs: Vec<_> = rows.iter().filter_map(|row| JobId::parse(&row.payload)).collect();
        if !jobs.is_empty()
            && let Err(error) = self.ring(&jobs).await
        {
            for row in &rows {
                outbox.retry(row, retry_ms(row)).await?;
            }
            return Err(error);
        }
        if !rows.is_empty() {
            outbox.all_done(&rows).await?;
        }
        Ok(rows.len())
    }

    async fn ring(&self, jobs: &[JobId]) -> Result<(), Error> {
        let within = self.lease / RINGING_PER_LEASE;
        let rung = timeout(within, self.doorbells.ring(jobs)).await;
        rung.unwrap_or_else(|_| Err(Error(format!("ringing took longer than {within:?}"))))?;
        self.rung.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn retry_ms(row: &OutboxRow) -> i64 {
    let doublings = row.attempts.saturating_sub(1).min(16);
    (RETRY_MS << doublings).min(RETRY_MS_MAX)
}
