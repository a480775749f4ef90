//! Jobs, and the worker that this gateway runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use seekway_queue::Relay;

use super::table::{Counter, Gauge, Table};
use crate::jobs::NewestWork;

/// States of jobs that are counted, in the order of [`seekway_catalog::Jobs::OPEN`].
const STATES: &[&str] = &["queued", "leased", "running", "retry", "dead"];

/// The numbers of jobs.
#[derive(Debug)]
pub(crate) struct Transcoding {
    /// What there is to do.
    pub(crate) work: NewestWork,
    /// Where this gateway tells of jobs.
    relay: OnceLock<Arc<Relay>>,
    jobs: [AtomicU64; STATES.len()],
    worker: Gauge<()>,
    restarts: Counter<()>,
}

// === impl Transcoding ===

impl Transcoding {
    pub(super) fn new(t: &mut Table) -> Self {
        t.read_by(
            "seekway_jobs",
            "Jobs that have not ended well, of all replicas together, as the database said some seconds ago; of none without one.",
            ("state", STATES),
            |n, state| n.jobs[state],
        );
        work_rows(t);
        queue_rows(t);
        Self {
            work: NewestWork::default(),
            relay: OnceLock::new(),
            jobs: <[AtomicU64; STATES.len()]>::default(),
            worker: t.gauge("seekway_worker_running", "1 while the worker runs that this gateway started."),
            restarts: t.counter(
                "seekway_worker_restarts_total",
                "How often that worker was started again after it had ended.",
            ),
        }
    }

    /// The database has said so.
    pub(crate) fn set_jobs(&self, counts: [u64; STATES.len()]) {
        for (jobs, count) in self.jobs.iter().zip(counts) {
            jobs.store(count, Ordering::Relaxed);
        }
    }

    /// Shows what the relay does, from now on.
    pub(crate) fn watch(&self, relay: Arc<Relay>) {
        // There is one.
        let _ = self.relay.set(relay);
    }

    /// Rings, and batches that came to nothing.
    pub(super) fn rings(&self) -> Option<[u64; 2]> {
        self.relay.get().map(|relay| [relay.rung(), relay.failures()])
    }

    pub(super) fn jobs(&self) -> [u64; STATES.len()] {
        std::array::from_fn(|state| self.jobs[state].load(Ordering::Relaxed))
    }

    pub(crate) fn worker_runs(&self, does: bool) {
        if does { self.worker.increment(()) } else { self.worker.decrement(()) }
    }

    pub(crate) fn worker_restarts(&self) {
        self.restarts.increment(());
    }
}

/// How much work there is, which is nowhere while the database does not say so.
fn work_rows(t: &mut Table) {
    t.read_some(
        "seekway_jobs_work_waiting_seconds",
        "How long one slot of a worker would be at all jobs that are due: their length, or their bytes before that is known, times what jobs of their kind took lately. Divide by how long the last may wait, and it is how many slots are needed.",
        |n| n.work.map(|work| work.seconds()[0]),
    )
    .read_some(
        "seekway_jobs_work_running_seconds",
        "What is left of the jobs that workers have, counted in the same way.",
        |n| n.work.map(|work| work.seconds()[1]),
    )
    .read_some("seekway_jobs_oldest_due_seconds", "How long the job has been due that has been so longest; 0 without one.", |n| {
        n.work.map(|work| work.oldest_due().as_secs_f64())
    });
}

/// The backend by which workers hear of jobs (`QUEUE_URL`). What a broker does not tell has no sample.
fn queue_rows(t: &mut Table) {
    t.read_some("seekway_queue_up", "1 while the broker of QUEUE_URL answers.", |n| {
        n.work.map(|work| f64::from(u8::from(work.queue().is_some())))
    })
    .read_some("seekway_queue_waiting", "Rings that wait in the broker; with sql: jobs that are due.", |n| {
        Some(count(n.work?.queue()?.waiting))
    })
    .read_some(
        "seekway_queue_oldest_seconds",
        "How long the oldest of them has waited. RabbitMQ and SQS do not tell.",
        |n| Some(n.work?.queue()?.oldest?.as_secs_f64()),
    )
    .read_some(
        "seekway_queue_in_flight",
        "Rings that workers have heard and not answered; with sql: jobs that they have. RabbitMQ does not tell.",
        |n| Some(count(n.work?.queue()?.in_flight?)),
    )
    .read_some("seekway_queue_rings_total", "Rings that this gateway has given it for jobs that became ready.", |n| {
        Some(count(n.rings?[0]))
    })
    .read_some(
        "seekway_queue_ring_failures_total",
        "Batches of rings that came to nothing, because the broker or the database did not serve; they are tried again.",
        |n| Some(count(n.rings?[1])),
    )
    .read_some("seekway_queue_dead", "Dead letters; with sql: dead jobs.", |n| {
        Some(count(n.work?.queue()?.dead))
    });
}

/// Exact as far as anybody counts.
#[allow(clippy::cast_precision_loss)]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use seekway_catalog::{JobState, Jobs};

    use super::STATES;

    #[test]
    fn the_states_are_those_of_the_catalog() {
        assert_eq!(Jobs::OPEN.map(JobState::as_str), STATES);
    }
}
