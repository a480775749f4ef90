//! The memory tier: whole segments, weighed by what they cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

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
    segments: Cache<SegmentKey, Kept>,
    capacity_bytes: usize,
}

/// A segment in memory.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    use_so_far: Arc<AtomicU8>,
}

/// How far a segment has come; it only goes on, except back from `Shared` when it could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Use {
    /// Its fill was over before the reader came for whom it was made.
    Unread,
    /// One reader wanted it.
    Read,
    /// The shared tier has it, or will have it in a moment.
    Shared,
}

// === impl Kept ===

impl Kept {
    /// Whether nobody had read it yet; the caller does now.
    pub(crate) fn is_first_read(&self) -> bool {
        // Looked at first, because a write would take the line from the other threads each time.
        self.is(Use::Unread) && self.swap(Use::Unread, Use::Read)
    }

    /// Whether the caller is the one who gives it to the shared tier.
    pub(crate) fn begin_sharing(&self) -> bool {
        !self.is(Use::Shared) && (self.swap(Use::Read, Use::Shared) || self.swap(Use::Unread, Use::Shared))
    }

    /// It could not be written after all.
    pub(crate) fn give_up_sharing(&self) {
        self.swap(Use::Shared, Use::Read);
    }

    fn is(&self, other: Use) -> bool {
        self.use_so_far.load(Ordering::Relaxed) == other as u8
    }

    fn swap(&self, from: Use, to: Use) -> bool {
        let swapped =
            self.use_so_far.compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed);
        swapped.is_ok()
    }
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        let segments = Cache::builder()
            .max_capacity(capacity_bytes as u64)
            .weigher(|_, kept: &Kept| u32::try_from(kept.bytes.len() + OVERHEAD_BYTES).unwrap_or(u32::MAX))
            .build();
        Self { segments, capacity_bytes }
    }

    pub(crate) fn get(&self, key: &SegmentKey) -> Option<Kept> {
        self.segments.get(key)
    }

    /// Whether `get` would find it, without counting as a use.
    pub(crate) fn contains(&self, key: &SegmentKey) -> bool {
        self.segments.contains_key(key)
    }

    pub(crate) fn insert(&self, key: SegmentKey, bytes: Bytes, use_so_far: Use) {
        if self.capacity_bytes > 0 {
            self.segments.insert(key, Kept { bytes, use_so_far: Arc::new(AtomicU8::new(use_so_far as u8)) });
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
