//! Jobs, and the worker that this gateway runs.

use std::sync::atomic::{AtomicU64, Ordering};

use super::table::{Counter, Gauge, Table};

/// States of jobs that are counted, in the order of [`seekway_catalog::Jobs::OPEN`].
const STATES: &[&str] = &["queued", "leased", "running", "waiting", "retry", "dead"];

/// The numbers of jobs.
#[derive(Debug)]
pub(crate) struct Transcoding {
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
        Self {
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

#[cfg(test)]
mod tests {
    use seekway_catalog::{JobState, Jobs};

    use super::STATES;

    #[test]
    fn the_states_are_those_of_the_catalog() {
        assert_eq!(Jobs::OPEN.map(JobState::as_str), STATES);
    }
}
