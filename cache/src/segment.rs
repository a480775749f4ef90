//! Segments: which bytes they hold, whose they are, and the buffer that is written once and read while
//! it is being written.

use std::cell::UnsafeCell;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use quick_cache::Equivalent;
use seekway_storage::{ObjectKey, Version};

use crate::budget::Permit;

/// The place of a segment in its object: segment `i` starts at byte `i * segment_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentIndex(u64);

/// How objects are cut into segments; one value for the whole process.
#[derive(Debug, Clone, Copy)]
pub struct Segmentation {
    segment_bytes: u64,
}

/// One version of one object, named once and compared by address first.
///
/// Cache keys contain it, so a segment can never be taken for one of another version. The size is part of it:
/// it decides how long the last segment is, and a store may be wrong about it once.
pub struct Identity {
    hash: u64,
    size: u64,
    /// The object's key.
    pub key: ObjectKey,
    /// The version of its bytes.
    pub version: Version,
}

/// A cache key: a segment of one version.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct SegmentKey {
    pub(crate) identity: Arc<Identity>,
    pub(crate) index: SegmentIndex,
}

/// A [`SegmentKey`] to look one up with.
#[derive(Clone, Copy, Hash)]
pub(crate) struct SegmentRef<'a> {
    pub(crate) identity: &'a Arc<Identity>,
    pub(crate) index: SegmentIndex,
}

/// An exact-size buffer with one writer, filled front to back, and any number of readers of what is
/// already written.
///
/// The budget's permit for it lives inside, so that it returns when the last reader lets go.
pub(crate) struct SegmentBuf {
    data: Box<[UnsafeCell<u8>]>,
    _permit: Permit,
}

/// The only handle that writes; there is one for each buffer.
pub(crate) struct SegmentWriter {
    buf: Arc<SegmentBuf>,
    written: usize,
}

// === impl SegmentIndex, Segmentation ===

impl Segmentation {
    /// Segments of `segment_bytes` bytes: a power of two from 4 KiB to 16 MiB.
    pub fn new(segment_bytes: u64) -> Self {
        assert!(
            segment_bytes.is_power_of_two() && (1 << 12..=1 << 24).contains(&segment_bytes),
            "segment_bytes is {segment_bytes}, not a power of two from 4 KiB to 16 MiB"
        );
        Self { segment_bytes }
    }

    /// Length of every segment but an object's last.
    pub fn segment_bytes(self) -> u64 {
        self.segment_bytes
    }

    /// The segment that holds byte `offset`.
    pub fn containing(self, offset: u64) -> SegmentIndex {
        SegmentIndex(offset / self.segment_bytes)
    }

    /// Where `index`'s segment lies in an object of `size` bytes.
    pub fn range(self, index: SegmentIndex, size: u64) -> Range<u64> {
        let start = index.0.saturating_mul(self.segment_bytes);
        start..start.saturating_add(self.segment_bytes).min(size)
    }

    /// `offset`, or the start of the segment it lies in.
    pub fn align_down(self, offset: u64) -> u64 {
        offset - offset % self.segment_bytes
    }

    /// `offset`, or the end of the segment it lies in.
    pub fn align_up(self, offset: u64) -> u64 {
        offset.checked_next_multiple_of(self.segment_bytes).unwrap_or(u64::MAX)
    }
}

// === impl SegmentIndex ===

impl SegmentIndex {
    pub(crate) fn new(index: u64) -> Self {
        Self(index)
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

// === impl SegmentRef ===

impl SegmentRef<'_> {
    pub(crate) fn to_key(self) -> SegmentKey {
        SegmentKey { identity: self.identity.clone(), index: self.index }
    }
}

impl Equivalent<SegmentKey> for SegmentRef<'_> {
    fn equivalent(&self, key: &SegmentKey) -> bool {
        self.index == key.index && *self.identity == key.identity
    }
}

// === impl Identity ===

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Identity {
    /// Names `version` of `key`, which is `size` bytes long.
    pub fn new(key: ObjectKey, version: Version, size: u64) -> Self {
        // Keyed, so that uploaders cannot choose keys that collide; equality still compares everything.
        let hash = HASHER.hash_one((&key, &version, size));
        Self { hash, size, key, version }
    }

    /// The object's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.hash == other.hash
                && self.size == other.size
                && self.key == other.key
                && self.version == other.version)
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{:?}", self.key, self.version)
    }
}

// === impl SegmentBuf, SegmentWriter ===

// SAFETY: bytes below `SegmentWriter::written` are never written again, bytes above are touched by the one
// writer only, and a reader learns of `written` through the fill's mutex, which orders the writes before.
#[allow(unsafe_code)]
unsafe impl Sync for SegmentBuf {}

impl SegmentWriter {
    /// A buffer for exactly `len` bytes, paid for by `permit`.
    pub(crate) fn new(len: usize, permit: Permit) -> Self {
        let data = std::iter::repeat_with(|| UnsafeCell::new(0)).take(len).collect();
        Self { buf: Arc::new(SegmentBuf { data, _permit: permit }), written: 0 }
    }

    /// Appends as much of `bytes` as fits, and returns how much that was.
    #[allow(unsafe_code)]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.remaining());
        let base = UnsafeCell::raw_get(self.buf.data.as_ptr());
        // SAFETY: `written + len` is within the buffer, and nobody reads or writes at or past `written` but
        // this one writer (`&mut self`).
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), base.add(self.written), len) };
        self.written += len;
        len
    }

    /// Room that is left.
    pub(crate) fn remaining(&self) -> usize {
        self.buf.data.len() - self.written
    }

    /// A view of what is written so far, without a copy.
    pub(crate) fn written(&self) -> Bytes {
        view(&self.buf, self.written)
    }
}

/// The first `len` bytes as a shared slice; the buffer and its permit live as long as it does.
fn view(buf: &Arc<SegmentBuf>, len: usize) -> Bytes {
    struct View(Arc<SegmentBuf>, usize);
    impl AsRef<[u8]> for View {
        #[allow(unsafe_code)]
        fn as_ref(&self) -> &[u8] {
            let base = UnsafeCell::raw_get(self.0.data.as_ptr());
            // SAFETY: the first `self.1` bytes are written and never written again (see `Sync` above).
            unsafe { std::slice::from_raw_parts(base, self.1) }
        }
    }
    Bytes::from_owner(View(buf.clone(), len))
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn segments_tile_an_object() {
        let cut = Segmentation::new(4096);
        assert_eq!(cut.range(cut.containing(4095), 5000), 0..4096);
        assert_eq!(cut.range(cut.containing(4096), 5000), 4096..5000);
        assert_eq!((cut.align_down(4097), cut.align_up(4097), cut.align_up(4096)), (4096, 8192, 4096));
        assert_eq!(cut.align_up(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_buffer_is_read_while_it_is_written_and_pays_until_the_last_view_drops() {
        let budget = crate::Budget::new(100);
        let mut writer = SegmentWriter::new(10, budget.try_reserve(10).expect("free"));
        assert_eq!(writer.write(b"hello"), 5);
        let early = writer.written();
        assert_eq!(writer.write(b" world"), 5);
        let whole = writer.written();
        drop(writer);
        assert_eq!((&early[..], &whole[..]), (&b"hello"[..], &b"hello worl"[..]));
        assert_eq!(early.as_ptr(), whole.as_ptr());
        drop(whole);
        let tail = early.slice(4..);
        drop(early);
        assert_eq!(budget.in_use(), 10);
        drop(tail);
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn identities_are_equal_by_content() {
        let named = |key: &str, etag: &str, size| {
            let version = Version { etag: etag.into(), version_id: None };
            Identity::new(ObjectKey::new(key).expect("valid"), version, size)
        };
        assert_eq!(named("a", "\"1\"", 5), named("a", "\"1\"", 5));
        assert_ne!(named("a", "\"1\"", 5), named("a", "\"2\"", 5));
        assert_ne!(named("a", "\"1\"", 5), named("b", "\"1\"", 5));
        assert_ne!(named("a", "\"1\"", 5), named("a", "\"1\"", 6));
    }
}
