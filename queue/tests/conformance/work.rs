//! Workers without the work, and doorbells that do not ring as they should.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use seekway_catalog::{Error as CatalogError, Failure, Job, JobId};
use seekway_queue::{Depth, Doorbells, Error, Finding, Ring, Sieve};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::stand::{HANGS_AFTER, Process};

/// Workers of some processes, which note what they claim and end it at once. Dropping it ends them.
pub(crate) struct Workers {
    claimed: Arc<Mutex<Vec<Job>>>,
    more: Arc<Notify>,
    _tasks: JoinSet<()>,
}

// === impl Workers ===

impl Workers {
    /// So many in each process.
    pub(crate) fn start(processes: &[Process], in_each: usize, lease_ms: i64) -> Self {
        let (claimed, more) = (Arc::new(Mutex::default()), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        for process in processes.iter().flat_map(|process| vec![process; in_each]) {
            let (process, claimed, more) = (process.clone(), claimed.clone(), more.clone());
            tasks.spawn(async move {
                loop {
                    while let Ok(true) = work(&process, lease_ms, &claimed).await {
                        more.notify_one();
                    }
                    match process.doorbells.heard().await {
                        Ok(ring) => {
                            if work(&process, lease_ms, &claimed).await.is_ok_and(|worked| worked) {
                                more.notify_one();
                            }
                            // It rings again if that fails.
                            drop(process.doorbells.answered(ring).await);
                        }
                        Err(_) => sleep(Duration::from_millis(100)).await,
                    }
                }
            });
        }
        Self { claimed, more, _tasks: tasks }
    }

    /// What was claimed so far, in order.
    pub(crate) fn claimed(&self) -> Vec<Job> {
        self.claimed.lock().expect("nobody panics with it").clone()
    }

    /// Waits until each of these was claimed.
    pub(crate) async fn claim(&self, jobs: &[JobId]) {
        let all = async {
            while !jobs.iter().all(|id| self.claimed().iter().any(|job| job.id == *id)) {
                self.more.notified().await;
            }
        };
        let outcome = timeout(HANGS_AFTER, all).await;
        assert!(outcome.is_ok(), "{} of {} were claimed", self.claimed().len(), jobs.len());
    }
}

/// Claims a job and ends it for good. Whether there was one.
async fn work(process: &Process, lease_ms: i64, claimed: &Mutex<Vec<Job>>) -> Result<bool, CatalogError> {
    let jobs = process.catalog.jobs();
    let Some(job) = jobs.claim("a worker", lease_ms, u64::MAX).await? else { return Ok(false) };
    let (id, attempt) = (job.id, job.attempt);
    claimed.lock().expect("nobody panics with it").push(job);
    jobs.fail(id, attempt, Failure::Input, "Nobody wanted it.", None).await?;
    Ok(true)
}

/// Doorbells whose first rings fail, or never end.
#[derive(Debug)]
pub(crate) struct Broken {
    good: Arc<dyn Doorbells>,
    /// Rings that fail.
    failing: AtomicU32,
    /// Whether those hang instead.
    hangs: bool,
    /// Told when somebody begins to ring.
    pub(crate) begun: Notify,
}

// === impl Broken ===

impl Broken {
    pub(crate) fn failing(good: &Process, times: u32) -> Arc<Self> {
        let failing = AtomicU32::new(times);
        Arc::new(Self { good: good.doorbells.clone(), failing, hangs: false, begun: Notify::new() })
    }

    pub(crate) fn hanging(good: &Process) -> Arc<Self> {
        let failing = AtomicU32::new(u32::MAX);
        Arc::new(Self { good: good.doorbells.clone(), failing, hangs: true, begun: Notify::new() })
    }
}

#[async_trait]
impl Doorbells for Broken {
    async fn inspect(&self) -> Result<Vec<Finding>, Error> {
        self.good.inspect().await
    }

    async fn sift(&self, sieve: &mut dyn Sieve) -> Result<(), Error> {
        self.good.sift(sieve).await
    }

    async fn ring(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.begun.notify_one();
        let fewer = |left: u32| left.checked_sub(1);
        if self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_err() {
            return self.good.ring(jobs).await;
        }
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Err(Error("the bell is broken".to_owned()))
    }

    async fn ensure(&self) -> Result<(), Error> {
        self.good.ensure().await
    }

    async fn bury(&self, job: JobId, problem: &str) -> Result<(), Error> {
        self.good.bury(job, problem).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.good.depth().await
    }

    async fn heard(&self) -> Result<Ring, Error> {
        self.good.heard().await
    }

    async fn answered(&self, ring: Ring) -> Result<(), Error> {
        self.good.answered(ring).await
    }

    async fn close(&self) {
        self.good.close().await;
    }
}
