//! The memory tier: whole segments, weighed by what they cost.

use bytes::Bytes;
use moka::sync::Cache;

use crate::segment::SegmentKey;

/// What a segment costs besides its bytes: the key, moka's entry, its place in two queues and in the
/// frequency sketch, the `Bytes` and its owner. Rounded up from their sizes; it matters for tiny objects.
const OVERHEAD_BYTES: usize = 512;

/// A bounded map from segments to their bytes. It may refuse or delay an insert, so nobody relies on one; and
/// it drops what it evicts a little later (moka reclaims by epochs, some 64 entries a thread at a time), so
/// the budget gets those bytes back late.
pub(crate) struct Memory {
    segments: Cache<SegmentKey, Bytes>,
    capacity_bytes: usize,
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        let segments = Cache::builder()
            .max_capacity(capacity_bytes as u64)
            .weigher(|_, bytes: &Bytes| u32::try_from(bytes.len() + OVERHEAD_BYTES).unwrap_or(u32::MAX))
            .build();
        Self { segments, capacity_bytes }
    }

    pub(crate) fn get(&self, key: &SegmentKey) -> Option<Bytes> {
        self.segments.get(key)
    }

    /// Whether `get` would find it, without counting as a use.
    pub(crate) fn contains(&self, key: &SegmentKey) -> bool {
        self.segments.contains_key(key)
    }

    pub(crate) fn insert(&self, key: SegmentKey, segment: Bytes) {
        if self.capacity_bytes > 0 {
            self.segments.insert(key, segment);
        }
    }

    /// Makes evictions that are due happen now, so that their bytes return to the budget.
    pub(crate) fn settle(&self) {
        self.segments.run_pending_tasks();
    }

    /// Segments held, as of the last settling.
    pub(crate) fn segments(&self) -> u64 {
        self.segments.entry_count()
    }

    /// Bytes held, with overhead, as of the last settling.
    pub(crate) fn weighed_bytes(&self) -> u64 {
        self.segments.weighted_size()
    }
}
