//! The memory tier: whole segments, weighed by what they cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

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

/// Of a segment whose fill was over before the reader came for whom it was made.
pub(crate) const UNREAD: u64 = 0;
/// Of a segment that one reader wanted, and the shared tier does not have.
pub(crate) const READ: u64 = 1;

/// A segment in memory.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    /// [`UNREAD`], [`READ`], or since when the shared tier has it, in milliseconds of [`now`].
    shared_since: Arc<AtomicU64>,
}

// === impl Kept ===

impl Kept {
    pub(crate) fn new(bytes: Bytes, shared_since: u64) -> Self {
        Self { bytes, shared_since: Arc::new(AtomicU64::new(shared_since)) }
    }

    /// Whether nobody had read it yet; the caller does now.
    pub(crate) fn is_first_read(&self) -> bool {
        // Looked at first, because a write would take the line from the other threads each time.
        self.shared_since.load(Ordering::Relaxed) == UNREAD && self.swap(UNREAD, READ)
    }

    /// Whether the caller is the one who gives it to the shared tier, where what was written before `valid_since`
    /// may be gone.
    pub(crate) fn begin_sharing(&self, valid_since: u64) -> bool {
        let since = self.shared_since.load(Ordering::Relaxed);
        since < valid_since.max(READ + 1) && self.swap(since, now())
    }

    /// It could not be written after all.
    pub(crate) fn give_up_sharing(&self) {
        self.shared_since.store(READ, Ordering::Relaxed);
    }

    fn swap(&self, from: u64, to: u64) -> bool {
        self.shared_since.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Milliseconds of a clock that began before any segment, and never at [`UNREAD`] or [`READ`].
pub(crate) fn now() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    READ + 1 + u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
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

    pub(crate) fn insert(&self, key: SegmentKey, bytes: Bytes, shared_since: u64) {
        if self.capacity_bytes > 0 {
            self.segments.insert(key, Kept::new(bytes, shared_since));
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
