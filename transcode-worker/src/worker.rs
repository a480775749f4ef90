//! A worker: claims as many jobs as it has slots, and goes on until it is to stop.

use std::sync::Arc;
use std::time::Duration;

use seekway_queue::{Doorbells, Relay};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::attempt::attempt;
use crate::metrics::Metrics;
use crate::work::Tools;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Jobs at a time.
    pub slots: usize,
    /// For how long a job is claimed, and renewed in time.
    pub lease: Duration,
    /// What running work may still take when the worker is to stop.
    pub drain: Duration,
    /// After which a ring counts as lost.
    pub sweep_after: Duration,
    /// Bytes of the disk that stay free.
    pub reserve_bytes: u64,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Worker {
    tools: Arc<Tools>,
    doorbells: Arc<dyn Doorbells>,
    metrics: Arc<Metrics>,
    pace: Pace,
    name: String,
}

/// Between two looks for leases that are over.
const EXPIRE_EVERY: Duration = Duration::from_secs(2);
/// Leases that are ended at a time.
const EXPIRE_BATCH: u32 = 100;
/// After the database or the disk did not serve.
const PAUSE: Duration = Duration::from_secs(1);
/// A source, its renditions as they are encoded, and as they are published: the disk has to hold about so many times the
/// source, or the worker leaves it to others.
const FOLDER_PER_SOURCE: u64 = 3;

// === impl Worker ===

impl Worker {
    /// One that has not begun.
    pub fn new(tools: Tools, doorbells: Arc<dyn Doorbells>, metrics: Arc<Metrics>, pace: Pace) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // A pod that begins anew may have the host and the process number of one before.
        let name = format!("{host}/{}/{:08x}", std::process::id(), fastrand::u32(..));
        Self { tools: Arc::new(tools), doorbells, metrics, pace, name }
    }

    /// Works until `stop`; then no job is claimed any more, and what runs has [`Pace::drain`] to end before it is given
    /// back.
    pub async fn run(self, stop: CancellationToken) {
        let worker = Arc::new(self);
        let drain = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for slot in 0..worker.pace.slots {
            tasks.spawn(worker.clone().slot(slot, stop.clone(), drain.clone()));
        }
        tasks.spawn(worker.clone().expire(stop.clone()));
        let relay = Relay::new(worker.tools.catalog.clone(), worker.doorbells.clone())
            .sweeping_after(worker.pace.sweep_after);
        let stop_relay = stop.clone();
        tasks.spawn(async move { relay.run(stop_relay).await });
        stop.cancelled().await;
        info!(drain = ?worker.pace.drain, "no job is claimed any more");
        let ended = async { while tasks.join_next().await.is_some() {} };
        tokio::pin!(ended);
        if tokio::time::timeout(worker.pace.drain, &mut ended).await.is_err() {
            drain.cancel();
            ended.await;
        }
    }

    async fn slot(self: Arc<Self>, slot: usize, stop: CancellationToken, drain: CancellationToken) {
        let name = format!("{}/{slot}", self.name);
        while !stop.is_cancelled() {
            let worked = self.one(&name, &drain).await;
            if worked {
                continue;
            }
            tokio::select! {
                ring = self.doorbells.heard() => match ring {
                    Ok(ring) => self.after(ring, &name, &drain).await,
                    Err(error) => {
                        warn!(%error, "no doorbell is heard; jobs are looked for");
                        sleep(PAUSE).await;
                    }
                },
                () = stop.cancelled() => {}
            }
        }
    }

    /// Answers a ring once the catalog has been asked, and not once the work is done. Where it could not be asked the ring
    /// is left to be heard again.
    async fn after(&self, ring: seekway_queue::Ring, name: &str, drain: &CancellationToken) {
        let Some(claimed) = self.claim(name).await else { return };
        if let Err(error) = self.doorbells.answered(ring).await {
            warn!(%error, "a doorbell cannot be answered; it rings again");
        }
        if let Some((job, asked)) = claimed {
            self.attempt(&job, asked, drain).await;
        }
    }

    /// Does one job, if there is one.
    async fn one(&self, name: &str, drain: &CancellationToken) -> bool {
        let Some(Some((job, asked))) = self.claim(name).await else { return false };
        self.attempt(&job, asked, drain).await;
        true
    }

    /// The job that is next, if there is one; `None` where that could not be asked.
    #[allow(clippy::option_option, reason = "there is none, or nobody knows")]
    async fn claim(&self, name: &str) -> Option<Option<(seekway_catalog::Job, Instant)>> {
        let free = match self.tools.scratch.free_bytes() {
            Ok(free) => free.saturating_sub(self.pace.reserve_bytes),
            Err(error) => {
                warn!(%error, "the scratch folder cannot be looked at; no job is claimed");
                return None;
            }
        };
        let asked = Instant::now();
        let lease_ms = i64::try_from(self.pace.lease.as_millis()).unwrap_or(i64::MAX);
        match self.tools.catalog.jobs().claim(name, lease_ms, free / FOLDER_PER_SOURCE).await {
            Ok(job) => Some(job.map(|job| (job, asked))),
            Err(error) => {
                warn!(error = error.chain(), "no job can be claimed");
                sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
                None
            }
        }
    }

    async fn attempt(&self, job: &seekway_catalog::Job, asked: Instant, drain: &CancellationToken) {
        let _busy = self.metrics.busy();
        let began = Instant::now();
        let ended = attempt(&self.tools, job, self.pace.lease, asked, drain).await;
        self.metrics.ended(ended, began.elapsed());
    }

    /// Has jobs tried again whose workers have vanished, and deletes their files. Every worker looks.
    async fn expire(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.tools.catalog.jobs().expire(EXPIRE_BATCH).await {
                Ok(jobs) => jobs.iter().for_each(|job| {
                    warn!(job = %job.id, attempt = job.attempt, worker = job.worker, "a worker vanished");
                }),
                Err(error) => warn!(error = error.chain(), "cannot look for workers that vanished"),
            }
            let scratch = self.tools.scratch.clone();
            match spawn_blocking(move || scratch.sweep()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "cannot look for what workers left in the scratch folder"),
                Err(error) => warn!(%error, "sweeping the scratch folder failed"),
            }
            tokio::select! {
                () = sleep(EXPIRE_EVERY.mul_f64(0.5 + fastrand::f64())) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
