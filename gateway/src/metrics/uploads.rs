//! What becomes of uploads, by how they come in.

use std::sync::Arc;
use std::time::Duration;

use seekway_cache::{Budget, Times};
use seekway_catalog::Via;

use super::labels::{Label, label};
use super::table::{Counter, Durations, Gauge, Table};
use super::{Metrics, Now};
use crate::respond::Problem;
use crate::upload::Refusal;

/// The numbers of uploads.
#[derive(Debug)]
pub(crate) struct Uploads {
    begun: Counter<Via>,
    ended: Counter<(Via, UploadEnd)>,
    failures: Counter<(Via, Failure)>,
    received: Counter<Via>,
    writing: Gauge<Via>,
    parts: Durations<()>,
    swept: Counter<Left>,
}

/// Counts one writer among those that write, until dropped.
#[derive(Debug)]
pub(crate) struct Writing(Arc<Metrics>, Via);

/// The memory of uploads; nothing where nobody may upload.
#[derive(Default)]
pub(crate) struct Memory {
    capacity: u64,
    in_use: u64,
    spare: u64,
    waiting: u64,
    waits: Times,
}

label! {
    /// How an upload ended.
    UploadEnd "outcome" {
        Completed "completed",
        Joined "joined",
        Refused "refused",
        Terminated "terminated",
        Expired "expired",
    }
}

label! {
    /// What a sweep found.
    Left "left" {
        Completing "completing",
        Expired "expired",
        Ended "ended",
    }
}

label! {
    /// Why a request of an upload failed.
    Failure "reason" {
        Type "type",
        Length "length",
        Quota "quota",
        Checksum "checksum",
        Interrupted "interrupted",
        Stalled "stalled",
        TakenOver "taken_over",
        Refused "refused",
        Memory "memory",
        Draining "draining",
        Store "store",
        Database "database",
        Other "other",
    }
}

impl Label for Via {
    const NAME: &'static str = "via";
    const COUNT: usize = Self::ALL.len();

    fn values() -> Vec<&'static str> {
        Self::ALL.iter().map(|via| via.as_str()).collect()
    }

    fn index(self) -> usize {
        self as usize
    }
}

// === impl Uploads ===

impl Uploads {
    pub(super) fn new(t: &mut Table) -> Self {
        let uploads = Self {
            begun: t.counter("seekway_uploads_begun_total", "Uploads begun."),
            ended: t.counter(
                "seekway_uploads_ended_total",
                "Uploads that have ended, by how; `joined` are pieces of a concatenation, and `refused` are none of the types taken, or lost by the store.",
            ),
            failures: t.counter(
                "seekway_upload_failures_total",
                "Requests that could not begin, continue or complete an upload, by why; after most of them a client can go on. `refused` is what else was wrong with them.",
            ),
            received: t.counter(
                "seekway_upload_received_bytes_total",
                "Bytes taken from clients; those that went straight to the bucket once they are complete.",
            ),
            writing: t.gauge("seekway_uploads_writing", "Requests whose bytes are being taken."),
            parts: t.durations("seekway_upload_part_seconds", "How long the store took for a part."),
            swept: t.counter(
                "seekway_uploads_swept_total",
                "Uploads found that nobody deals with any more: interrupted while they completed, expired or half deleted, or to be forgotten.",
            ),
        };
        t.read("seekway_upload_memory_capacity_bytes", "Bytes of parts that may be held.", |n| {
            n.uploads.capacity
        })
        .read("seekway_upload_memory_in_use_bytes", "Bytes of parts held or reserved.", |n| n.uploads.in_use)
        .read(
                "seekway_upload_memory_spare_bytes",
                "Bytes of buffers that wait for the next part, besides those in use; none when no upload is under way.",
                |n| n.uploads.spare,
            )
        .read("seekway_upload_memory_waiting", "Writers that wait for memory.", |n| n.uploads.waiting)
        .read_times(
            "seekway_upload_memory_wait_seconds",
            "How long writers waited for memory, also those that gave up.",
            |n: &Now| &n.uploads.waits,
        );
        uploads
    }

    pub(crate) fn began(&self, via: Via) {
        self.begun.increment(via);
    }

    pub(crate) fn ended(&self, via: Via, end: UploadEnd) {
        self.ended.increment((via, end));
    }

    pub(crate) fn failed(&self, via: Via, problem: &Problem) {
        self.failures.increment((via, Failure::of(problem)));
    }

    pub(crate) fn received(&self, via: Via, bytes: u64) {
        self.received.add(via, bytes);
    }

    pub(crate) fn stored_part(&self, within: Duration) {
        self.parts.observe((), within);
    }

    pub(crate) fn swept(&self, left: Left) {
        self.swept.increment(left);
    }
}

// === impl Writing, Memory, Failure ===

impl Writing {
    pub(crate) fn begin(metrics: Arc<Metrics>, via: Via) -> Self {
        metrics.uploads.writing.increment(via);
        Self(metrics, via)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.uploads.writing.decrement(self.1);
    }
}

impl Memory {
    pub(crate) fn of(budget: &Budget, spare_bytes: usize) -> Self {
        Self {
            spare: spare_bytes as u64,
            capacity: budget.capacity() as u64,
            in_use: budget.in_use() as u64,
            waiting: budget.waiting() as u64,
            waits: budget.waits(),
        }
    }
}

impl Failure {
    fn of(problem: &Problem) -> Self {
        match problem {
            Problem::Upload(refusal) => match refusal {
                Refusal::Type { .. } => Self::Type,
                Refusal::TooLarge { .. } | Refusal::TooLong | Refusal::Length | Refusal::Empty => {
                    Self::Length
                }
                Refusal::Quota(_) => Self::Quota,
                Refusal::Checksum => Self::Checksum,
                Refusal::Interrupted => Self::Interrupted,
                Refusal::Stalled => Self::Stalled,
                Refusal::TakenOver => Self::TakenOver,
                _ => Self::Refused,
            },
            Problem::Busy => Self::Memory,
            Problem::NotReady => Self::Draining,
            Problem::Storage(_) => Self::Store,
            Problem::Catalog(_) => Self::Database,
            _ => Self::Other,
        }
    }
}
