//! What the origin stores: objects made of a pattern or of bytes in memory.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};

use crate::pattern;

/// The bytes, ETag and headers of one version of an object.
#[derive(Debug, Clone)]
pub struct Object {
    content: Content,
    etag: String,
    last_modified: SystemTime,
    content_type: String,
}

/// What happens to responses that are under way when their object is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Running {
    /// They go on sending the old bytes, as S3 does.
    #[default]
    KeepOld,
    /// They go on with the new bytes at their offset: a store without atomic replacement, the worst case.
    SwitchToNew,
}

#[derive(Debug, Clone)]
enum Content {
    Pattern { seed: u64, size: u64 },
    Memory(Bytes),
}

/// A version of an object as the requests that read it hold it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) object: Object,
    /// Set when the object was replaced under [`Running::SwitchToNew`].
    switched_to: OnceLock<Arc<Stored>>,
}

/// All buckets. A bucket exists once something was put into it, or once it was created.
#[derive(Debug, Default)]
pub(super) struct Buckets(BTreeMap<String, BTreeMap<String, Arc<Stored>>>);

// === impl Object ===

impl Object {
    /// An object of `size` bytes of the [`pattern`] of `seed`. It takes no memory, whatever its size.
    pub fn pattern(size: u64, seed: u64) -> Self {
        // Like an MD5, the tag depends on the content alone.
        let etag = format!("\"{:016x}{:016x}\"", pattern::draw(seed, 0, u64::MAX), size);
        Self::new(Content::Pattern { seed, size }, etag)
    }

    /// An object that holds `bytes`.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3) // FNV-1a
        });
        let etag = format!("\"{hash:016x}{:016x}\"", bytes.len());
        Self::new(Content::Memory(bytes), etag)
    }

    fn new(content: Content, etag: String) -> Self {
        // HTTP dates have whole seconds.
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        Self {
            content,
            etag,
            last_modified: UNIX_EPOCH + Duration::from_secs(seconds),
            content_type: "binary/octet-stream".to_owned(), // S3's default
        }
    }

    /// The same object with another ETag, given as the header has it: quoted, with `W/` if it is weak.
    #[must_use]
    pub fn with_etag(mut self, etag: impl Into<String>) -> Self {
        self.etag = etag.into();
        self
    }

    /// The same object with another media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// The same object with another time of its last change.
    #[must_use]
    pub fn with_last_modified(mut self, last_modified: SystemTime) -> Self {
        self.last_modified = last_modified;
        self
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match &self.content {
            Content::Pattern { size, .. } => *size,
            Content::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// The ETag as the header has it.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Time of the last change.
    pub fn last_modified(&self) -> SystemTime {
        self.last_modified
    }

    /// The media type.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// `len` bytes from `offset` on; fewer where bytes in memory end.
    pub fn read(&self, offset: u64, len: usize) -> Bytes {
        match &self.content {
            Content::Pattern { seed, .. } => {
                let mut out = BytesMut::zeroed(len);
                pattern::fill(*seed, offset, &mut out);
                out.freeze()
            }
            Content::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                bytes.slice(start..start.saturating_add(len).min(bytes.len()))
            }
        }
    }
}

// === impl Stored ===

impl Stored {
    /// `len` bytes from `offset` on, as a response sends them now.
    pub(super) fn read(&self, offset: u64, len: usize) -> Bytes {
        match self.switched_to.get() {
            Some(newer) => newer.read(offset, len),
            None => self.object.read(offset, len),
        }
    }
}

// === impl Buckets ===

impl Buckets {
    pub(super) fn create(&mut self, bucket: &str) {
        self.0.entry(bucket.to_owned()).or_default();
    }

    pub(super) fn put(&mut self, bucket: &str, key: &str, object: Object, running: Running) {
        let stored = Arc::new(Stored { object, switched_to: OnceLock::new() });
        let bucket = self.0.entry(bucket.to_owned()).or_default();
        let replaced = bucket.insert(key.to_owned(), Arc::clone(&stored));
        if let (Some(replaced), Running::SwitchToNew) = (replaced, running) {
            replaced.switched_to.set(stored).expect("a version is replaced once");
        }
    }

    pub(super) fn remove(&mut self, bucket: &str, key: &str) -> bool {
        self.0.get_mut(bucket).is_some_and(|objects| objects.remove(key).is_some())
    }

    pub(super) fn contains(&self, bucket: &str) -> bool {
        self.0.contains_key(bucket)
    }

    pub(super) fn get(&self, bucket: &str, key: &str) -> Option<Arc<Stored>> {
        self.0.get(bucket)?.get(key).cloned()
    }

    /// The objects of a bucket in the order of their keys, from the first key after `after` on.
    pub(super) fn list(&self, bucket: &str, after: &str) -> impl Iterator<Item = (&str, &Object)> {
        let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        let objects = self.0.get(bucket).into_iter();
        objects
            .flat_map(move |objects| objects.range::<str, _>((from, Bound::Unbounded)))
            .map(|(key, stored)| (key.as_str(), &stored.object))
    }
}
