//! From the outbox to the doorbells.
//!
//! A row is claimed for a time, rung for, and then done. Who is killed between the first and the last leaves it claimed,
//! and when that time is over another relay rings for it, perhaps for the second time: doorbells may.
//!
//! A broker may lose what it has. So jobs that have been due for long are rung for again while the backend says that no
//! ring waits there: with one that waits somebody will look, and a queue that is long because there is much to do gets no
//! longer. A few rings do for any number of jobs, since whoever ends one looks for the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seekway_catalog::{Catalog, JobId, JobState, Jobs, OutboxRow};
use tokio::time::{Instant, sleep, timeout};
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
/// Rings at a time because of jobs that have been due for long.
const SWEEP: u32 = 10;
/// Jobs that have been due for longer than this are rung for again, unless another time is asked for.
const SWEEP_AFTER: Duration = Duration::from_mins(1);
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
    sweep_after: Duration,
    counts: Arc<Rings>,
}

/// What a relay counts.
#[derive(Debug, Default)]
pub struct Rings {
    rung: AtomicU64,
    again: AtomicU64,
    failures: AtomicU64,
}

// === impl Relay ===

impl Relay {
    /// One that takes from `catalog` and rings `doorbells`.
    pub fn new(catalog: Catalog, doorbells: Arc<dyn Doorbells>) -> Self {
        let counts = Arc::default();
        Self { catalog, doorbells, lease: LEASE, sweep_after: SWEEP_AFTER, counts }
    }

    /// The same, which takes a ring to be lost where its job has been due for so long.
    #[must_use]
    pub fn sweeping_after(self, sweep_after: Duration) -> Self {
        Self { sweep_after, ..self }
    }

    /// The same, from which others take over after `lease`.
    #[must_use]
    pub fn leasing_for(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// What it counts, for as long as anybody wants to know.
    pub fn counts(&self) -> Arc<Rings> {
        self.counts.clone()
    }

    /// Relays until `stop`; what it has claimed is rung for first.
    pub async fn run(&self, stop: CancellationToken) {
        let outbox = self.catalog.outbox();
        let mut is_away = false;
        let mut sweep_at = self.next_sweep();
        while !stop.is_cancelled() {
            let mut outcome = self.step().await;
            if outcome.is_ok() && sweep_at <= Instant::now() {
                outcome = self.counted(self.sweep().await).and(outcome);
                sweep_at = self.next_sweep();
            }
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
        let ready = self.counted(self.batch().await)?;
        Ok(ready + self.counted(self.bury().await)?)
    }

    fn counted<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.is_err() {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Looks for jobs whose rings may be lost.
    async fn sweep(&self) -> Result<(), Error> {
        let jobs = self.catalog.jobs().overdue(millis(self.sweep_after), SWEEP).await?;
        if jobs.is_empty() || self.within(self.doorbells.depth()).await?.waiting > 0 {
            return Ok(());
        }
        self.within(self.doorbells.ring(&jobs)).await?;
        self.counts.again.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn next_sweep(&self) -> Instant {
        Instant::now() + self.sweep_after.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Tells the backend of jobs that are dead.
    async fn bury(&self) -> Result<usize, Error> {
        let outbox = self.catalog.outbox();
        let rows = outbox.claim(Jobs::DEAD, BATCH, millis(self.lease)).await?;
        for row in &rows {
            if let Err(error) = self.bury_one(row).await {
                outbox.retry(row, retry_ms(row)).await?;
                return Err(error);
            }
            outbox.done(row).await?;
        }
        Ok(rows.len())
    }

    /// Unless it is gone, or tried again since.
    async fn bury_one(&self, row: &OutboxRow) -> Result<(), Error> {
        let Some(id) = JobId::parse(&row.payload) else { return Ok(()) };
        match self.catalog.jobs().get(id).await {
            Ok(job) if job.state == JobState::Dead => {
                let problem = job.problem.as_deref().unwrap_or_default();
                self.within(self.doorbells.bury(id, problem)).await
            }
            Ok(_) | Err(seekway_catalog::Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn batch(&self) -> Result<usize, Error> {
        let outbox = self.catalog.outbox();
        let rows = outbox.claim(Jobs::READY, BATCH, millis(self.lease)).await?;
        let jobs: Vec<_> = rows.iter().filter_map(|row| JobId::parse(&row.payload)).collect();
        if !jobs.is_empty()
            && let Err(error) = self.within(self.doorbells.ring(&jobs)).await
        {
            for row in &rows {
                outbox.retry(row, retry_ms(row)).await?;
            }
            return Err(error);
        }
        self.counts.rung.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        if !rows.is_empty() {
            outbox.all_done(&rows).await?;
        }
        Ok(rows.len())
    }

    async fn within<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let limit = self.lease / RINGING_PER_LEASE;
        let answer = timeout(limit, asked).await;
        answer.unwrap_or_else(|_| Err(Error(format!("the backend did not answer within {limit:?}"))))
    }
}

// === impl Rings ===

impl Rings {
    /// Jobs that were rung for.
    pub fn rung(&self) -> u64 {
        self.rung.load(Ordering::Relaxed)
    }

    /// Jobs that were rung for once more, because their rings may be lost.
    pub fn again(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }

    /// Batches that came to nothing, because the backend or the database did not serve.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn retry_ms(row: &OutboxRow) -> i64 {
    let doublings = row.attempts.saturating_sub(1).min(16);
    (RETRY_MS << doublings).min(RETRY_MS_MAX)
}
