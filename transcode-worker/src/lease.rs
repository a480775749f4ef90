//! A worker's hold on a job: renewed in time, and given up before it can be over.
//!
//! The database says when a lease is over; the worker counts from before it asked, so its own end is always earlier. Who
//! cannot renew stops at [`Lease::fence`], and so never works on what somebody else has claimed.

use std::time::Duration;

use seekway_catalog::{Catalog, Error, Job, Progress};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

/// Why an attempt has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody gave the job up.
    Cancelled,
    /// The job is somebody else's by now, or is no more.
    Superseded,
    /// The lease could not be renewed in time.
    Lost,
}

/// A lease on a job.
#[derive(Debug)]
pub struct Lease<'c> {
    catalog: &'c Catalog,
    job: &'c Job,
    length: Duration,
    /// Until then it is held for sure.
    fence: Instant,
}

/// Between two notes of how far the work is.
const NOTE_EVERY: Duration = Duration::from_secs(1);

// === impl Lease ===

impl<'c> Lease<'c> {
    /// The lease of a claim that was asked for at `asked`.
    pub fn new(catalog: &'c Catalog, job: &'c Job, length: Duration, asked: Instant) -> Self {
        Self { catalog, job, length, fence: asked + fence(length) }
    }

    /// Renews it, and notes `progress` at most once a second, until the attempt has to stop.
    pub async fn keep(mut self, mut progress: watch::Receiver<Option<Progress>>) -> Stop {
        let renew_every = self.length / 4;
        let mut next_renewal = Instant::now() + renew_every;
        let mut next_note = Instant::now();
        loop {
            let now = Instant::now();
            if now >= self.fence {
                return Stop::Lost;
            }
            if now >= next_renewal {
                next_renewal = now + renew_every;
                match self.renew(now).await {
                    Ok(Some(stop)) => return stop,
                    Ok(None) => {}
                    Err(error) => {
                        warn!(job = %self.job.id, error, "cannot renew the lease; it is tried again");
                        next_renewal = Instant::now() + NOTE_EVERY.min(renew_every);
                    }
                }
            }
            if now >= next_note && progress.has_changed().unwrap_or(false) {
                next_note = now + NOTE_EVERY;
                let newest = *progress.borrow_and_update();
                if let Some(stop) = self.note(newest).await {
                    return stop;
                }
            }
            let wake = next_renewal.min(now + NOTE_EVERY / 4).min(self.fence);
            sleep_until(wake).await;
        }
    }

    /// `Err` with why it could not be renewed.
    async fn renew(&mut self, now: Instant) -> Result<Option<Stop>, String> {
        let length_ms = i64::try_from(self.length.as_millis()).unwrap_or(i64::MAX);
        let jobs = self.catalog.jobs();
        let renewed = jobs.renew(self.job.id, self.job.attempt, length_ms);
        match timeout_at(self.fence, renewed).await {
            Ok(Ok(lease)) if lease.is_cancelled => Ok(Some(Stop::Cancelled)),
            Ok(Ok(_)) => {
                self.fence = now + fence(self.length);
                Ok(None)
            }
            Ok(Err(Error::Superseded | Error::NotFound)) => Ok(Some(Stop::Superseded)),
            Ok(Err(error)) => Err(error.chain()),
            Err(_) => Err("the database did not answer in time".to_owned()),
        }
    }

    /// What cannot be noted is not worth stopping for, unless the job is no longer this attempt's.
    async fn note(&self, progress: Option<Progress>) -> Option<Stop> {
        let jobs = self.catalog.jobs();
        let noted = jobs.set_progress(self.job.id, self.job.attempt, progress?);
        match timeout_at(self.fence, noted).await {
            Ok(Err(Error::Superseded | Error::NotFound)) => Some(Stop::Superseded),
            _ => None,
        }
    }
}

/// How long a lease is sure to be held: an eighth is left for whatever it takes to stop.
fn fence(length: Duration) -> Duration {
    length.saturating_sub(length / 8)
}
