//! What the cache counts. Every figure is read at the admin listener and by tests.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Running totals since the start.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)+ }

        /// A reading of the cache's totals and gauges.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// Fills that run now.
            pub fills_running: u64,
            /// Bytes in the memory tier, with overhead.
            pub memory_bytes: u64,
            /// Bytes of the budget that buffers hold or fills have reserved.
            pub budget_in_use_bytes: u64,
            /// All of the budget, the memory tier included.
            pub budget_capacity_bytes: u64,
            /// Readers that wait for budget now.
            pub budget_waiting: u64,
        }

        impl Counters {
            /// The totals; the gauges are left at zero.
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.get(),)+ ..Stats::default() }
            }
        }
    };
}

counters! {
    /// Bytes handed to readers from the memory tier.
    memory_hit_bytes,
    /// Bytes handed to readers from a running fill.
    fill_hit_bytes,
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
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
