//! The memory tier: whole segments, weighed by what they cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::segment::{SegmentKey, SegmentRef, Segmentation};

/// What a segment costs besides its bytes: the key, its entry and its ghost, the `Bytes` and its owner. Rounded up
/// from their sizes; it matters for tiny objects.
const OVERHEAD_BYTES: usize = 512;

/// A bounded map from segments to their bytes.
///
/// What is read once goes before what is read again (S3-FIFO), so one long read through a film does not take the place
/// of what many watch. It may refuse an insert, so nobody relies on one. What it evicts is dropped at once.
pub(crate) struct Memory {
    segments: Cache<SegmentKey, Kept, Weight>,
    capacity_bytes: usize,
}

#[derive(Clone)]
struct Weight;

impl Weighter<SegmentKey, Kept> for Weight {
    fn weight(&self, _: &SegmentKey, kept: &Kept) -> u64 {
        (kept.bytes.len() + OVERHEAD_BYTES) as u64
    }
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
    pub(crate) fn new(capacity_bytes: usize, segmentation: Segmentation) -> Self {
        // Each of its shards has a part of the capacity, so there must be few where segments are large.
        let segments = capacity_bytes as u64 / segmentation.segment_bytes();
        let options = OptionsBuilder::new()
            .weight_capacity(capacity_bytes as u64)
            .estimated_items_capacity(usize::try_from(segments).unwrap_or(usize::MAX))
            .build()
            .expect("both capacities are set");
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self { segments: Cache::with_options(options, Weight, hasher, lifecycle), capacity_bytes }
    }

    pub(crate) fn get(&self, key: SegmentRef<'_>) -> Option<Kept> {
        self.segments.get(&key)
    }

    /// Whether `get` would find it, without counting as a use.
    pub(crate) fn contains(&self, key: SegmentRef<'_>) -> bool {
        self.segments.contains_key(&key)
    }

    pub(crate) fn insert(&self, key: SegmentKey, bytes: Bytes, shared_since: u64) {
        if self.capacity_bytes > 0 {
            self.segments.insert(key, Kept::new(bytes, shared_since));
        }
    }

    /// Segments held.
    pub(crate) fn segments(&self) -> u64 {
        self.segments.len() as u64
    }

    /// Bytes held, with overhead.
    pub(crate) fn weighed_bytes(&self) -> u64 {
        self.segments.weight()
    }
}
