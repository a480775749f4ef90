//! What the cache counts. Every figure is read at the admin listener and by tests.

use std::time::Duration;

use crate::measure::{Cells, Histogram, Times};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Running totals since the start.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
            pub(crate) fill_times: Timed,
            pub(crate) redis_times: Timed,
        }

        /// A reading of the cache's totals and gauges.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// 1 while the shared tier is used, 0 without one or while its circuit breaker is open.
            pub redis_up: u64,
            /// How long the shared tier took to answer, of what came in time.
            pub redis_times: Times,
            /// Bytes that wait to be written to the shared tier.
            pub redis_queued_bytes: u64,
            /// Fills that run now.
            pub fills_running: u64,
            /// How long fills took that brought all their bytes.
            pub fill_times: Times,
            /// Bytes in the memory tier, with overhead.
            pub memory_bytes: u64,
            /// Segments in the memory tier.
            pub memory_segments: u64,
            /// Bytes of the budget that buffers hold or fills have reserved.
            pub budget_in_use_bytes: u64,
            /// All of the budget, the memory tier included.
            pub budget_capacity_bytes: u64,
            /// Readers that wait for budget now.
            pub budget_waiting: u64,
            /// How long readers have waited for budget.
            pub budget_waits: Times,
        }

        impl Counters {
            /// The totals; the gauges are left at zero.
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.get(),)+ fill_times: self.fill_times.0.read(0), redis_times: self.redis_times.0.read(0), ..Stats::default() }
            }
        }
    };
}

counters! {
    /// Bytes handed to readers from the memory tier.
    memory_hit_bytes,
    /// Bytes handed to readers that the shared tier gave.
    redis_hit_bytes,
    /// Bytes handed to readers from a fill that another reader had started.
    joined_hit_bytes,
    /// Bytes handed to readers from a fill of their own.
    fill_hit_bytes,
    /// Segments that were looked for in the memory tier and found.
    memory_hits,
    /// Segments that were looked for in the memory tier and not found.
    memory_misses,
    /// Segments offered to the memory tier; less those it holds, these were evicted or not admitted.
    memory_inserts,
    /// Bytes that landed from the store.
    store_bytes,
    /// Fills started.
    fills_started,
    /// Readers that joined a fill another reader had started.
    fills_joined,
    /// Breaks of a fill's body that were resumed.
    fills_resumed,
    /// Fills that ended with an error.
    fills_failed,
    /// Fills that were stopped because nobody followed them any more.
    fills_stopped,
    /// Metadata requests sent to the store, ranged reads that discover an object among them.
    metadata_requests,
    /// Metadata served past its time to live.
    metadata_stale,
    /// Metadata that another replica had asked for.
    redis_records,
    /// Looks at the shared tier that found no segment.
    redis_misses,
    /// Segments that the shared tier gave.
    redis_segments_read,
    /// Bytes of them.
    redis_read_bytes,
    /// Values in the shared tier that were not what their key says.
    redis_corrupt,
    /// Segments written to the shared tier.
    redis_writes,
    /// Segments that were not written: the queue was full, or the shared tier in trouble.
    redis_writes_dropped,
    /// Commands that the shared tier did not answer in time.
    redis_timeouts,
    /// Commands that the shared tier answered with an error, or not at all.
    redis_errors,
    /// How often the circuit breaker of the shared tier opened.
    redis_opened,
    /// Requests to other replicas for segments that they fetch or have.
    redis_asked,
    /// Requests of other replicas.
    redis_asked_by_others,
    /// Waits for another replica's segments that ended with them.
    redis_waits_served,
    /// Waits that ended without, so that the store was asked after all.
    redis_waits_vain,
    /// Responses that waited for budget in vain.
    budget_refusals,
}

/// A number that only grows.
#[derive(Debug)]
pub(crate) struct Counter(Cells);

/// How long something took.
#[derive(Debug)]
pub(crate) struct Timed(Histogram);

// === impl Counter ===

impl Default for Counter {
    fn default() -> Self {
        Self(Cells::new(1))
    }
}

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.add(0, n);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    fn get(&self) -> u64 {
        self.0.get(0)
    }
}

// === impl Timed ===

impl Default for Timed {
    fn default() -> Self {
        Self(Histogram::new(1))
    }
}

impl Timed {
    pub(crate) fn observe(&self, time: Duration) {
        self.0.observe(0, time);
    }
}
