//! A store whose every byte, delay and fault a test chooses. Its bytes are a function of version and offset,
//! so that a byte of a wrong version or place shows.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use seekway_cache::{Cache, Config, MetadataPolicy, RedisConfig, Segmentation};
use seekway_storage::{
    Attributes, ByteStream, Error, Get, Listing, Object, ObjectKey, ObjectStore, Page, Part, PartNumber,
    Parts, Pin, PresignedPart, UploadId, Uploads, Version,
};
use tokio::time::sleep;

pub(crate) const SEGMENT_BYTES: u64 = 4096;
pub(crate) const FIRST_BYTE: Duration = Duration::from_millis(30);

#[derive(Debug)]
pub(crate) struct TestStore {
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    /// `None`: the object is missing.
    pub(crate) object: Option<(u64, u64)>,
    /// What the next GETs do, in order; after that they are good.
    pub(crate) faults: VecDeque<Fault>,
    /// What every HEAD and GET answers while it is set.
    pub(crate) failing: Option<Error>,
    /// Whether it says that it is asked too much.
    pub(crate) throttling: bool,
    /// From a request to its answer.
    pub(crate) first_byte: Duration,
    /// Bytes a second of each body; `None` is as fast as it goes.
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) chunk_bytes: u64,
    pub(crate) heads: u64,
    pub(crate) gets: Vec<Range<u64>>,
    pub(crate) running: usize,
    pub(crate) running_max: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The body breaks after so many bytes.
    BreakAfter(u64),
    /// The body ends early, as if it were whole.
    EndAfter(u64),
    /// The request fails.
    Fail(Error),
}

pub(crate) fn key() -> ObjectKey {
    ObjectKey::new("videos/clip.mp4").expect("valid")
}

/// Byte `offset` of version `version`.
pub(crate) fn byte(version: u64, offset: u64) -> u8 {
    let word = (version << 40 ^ offset >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word ^ word >> 29).to_le_bytes()[usize::try_from(offset & 7).expect("small")]
}

pub(crate) fn unavailable() -> Error {
    Error::Unavailable(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from("test")))
}

impl TestStore {
    pub(crate) fn new(version: u64, size: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                object: Some((version, size)),
                faults: VecDeque::new(),
                failing: None,
                throttling: false,
                first_byte: FIRST_BYTE,
                bytes_per_second: None,
                chunk_bytes: 1500,
                heads: 0,
                gets: Vec::new(),
                running: 0,
                running_max: 0,
            }),
        })
    }

    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds this")
    }

    pub(crate) fn gets(&self) -> Vec<Range<u64>> {
        self.state().gets.clone()
    }

    fn describe(version: u64, size: u64) -> Object {
        Object {
            version: Version { etag: format!("\"{version}\"").into(), version_id: None },
            size,
            last_modified: None,
            attributes: Attributes::default(),
            pin: Pin::default(),
        }
    }
}

/// Counts a running body, also one that is dropped midway.
struct Running(Arc<TestStore>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state().running -= 1;
    }
}

/// The store as the cache sees it.
#[derive(Debug, Clone)]
pub(crate) struct Handle(pub Arc<TestStore>);

#[async_trait]
impl ObjectStore for Handle {
    async fn head(&self, _: &ObjectKey) -> Result<Object, Error> {
        let first_byte = {
            let mut state = self.0.state();
            state.heads += 1;
            state.first_byte
        };
        sleep(first_byte).await;
        let state = self.0.state();
        if let Some(error) = &state.failing {
            return Err(error.clone());
        }
        let (version, size) = state.object.ok_or(Error::NotFound)?;
        Ok(TestStore::describe(version, size))
    }

    async fn get(&self, _: &ObjectKey, range: Range<u64>, expected: Option<&Object>) -> Result<Get, Error> {
        let (fault, running, first_byte) = {
            let mut state = self.0.state();
            state.gets.push(range.clone());
            state.running += 1;
            state.running_max = state.running_max.max(state.running);
            (state.faults.pop_front(), Running(self.0.clone()), state.first_byte)
        };
        sleep(first_byte).await;
        let state = self.0.state();
        if let Some(error) = &state.failing {
            return Err(error.clone());
        }
        if let Some(Fault::Fail(error)) = fault {
            return Err(error);
        }
        let (version, size) = state.object.ok_or(Error::NotFound)?;
        let object = TestStore::describe(version, size);
        if expected.is_some_and(|expected| expected.version != object.version) {
            return Err(Error::VersionChanged);
        }
        if range.start >= size {
            return Err(Error::RangeNotSatisfiable { size: Some(size) });
        }
        let range = range.start..range.end.min(size);
        let end = match &fault {
            Some(Fault::BreakAfter(bytes) | Fault::EndAfter(bytes)) => range.end.min(range.start + bytes),
            _ => range.end,
        };
        let (chunk_bytes, rate) = (state.chunk_bytes, state.bytes_per_second);
        let chunks = stream::unfold((range.start, running), move |(offset, running)| async move {
            if offset >= end {
                return None;
            }
            let upto = (offset + chunk_bytes).min(end);
            if let Some(rate) = rate {
                sleep(Duration::from_nanos((upto - offset) * 1_000_000_000 / rate)).await;
            }
            let bytes: Vec<u8> = (offset..upto).map(|offset| byte(version, offset)).collect();
            Some((Ok(Bytes::from(bytes)), (upto, running)))
        });
        let body: ByteStream = match fault {
            Some(Fault::BreakAfter(_)) if end < range.end => {
                let cause = Arc::from(Box::<dyn std::error::Error + Send + Sync>::from("cut"));
                Box::pin(chunks.chain(stream::iter([Err(Error::Interrupted(cause))])))
            }
            _ => Box::pin(chunks),
        };
        Ok(Get { object, range, body })
    }

    fn head_is_cheap(&self) -> bool {
        false
    }

    fn is_throttling(&self) -> bool {
        self.0.state().throttling
    }

    async fn list(&self, _: &str, _: Page) -> Result<Listing, Error> {
        unreachable!("the cache does not list")
    }
    async fn put(&self, _: &ObjectKey, _: &Attributes, _: ByteStream) -> Result<Version, Error> {
        unreachable!("the cache does not write")
    }
    async fn create_multipart(&self, _: &ObjectKey, _: &Attributes) -> Result<UploadId, Error> {
        unreachable!("the cache does not write")
    }
    async fn put_part(&self, _: &ObjectKey, _: &UploadId, _: PartNumber, _: Bytes) -> Result<Part, Error> {
        unreachable!("the cache does not write")
    }
    async fn complete_multipart(&self, _: &ObjectKey, _: &UploadId, _: &[Part]) -> Result<Version, Error> {
        unreachable!("the cache does not write")
    }
    async fn list_parts(&self, _: &ObjectKey, _: &UploadId, _: Option<PartNumber>) -> Result<Parts, Error> {
        unreachable!("the cache does not write")
    }
    async fn list_multipart(&self, _: &str, _: Page) -> Result<Uploads, Error> {
        unreachable!("the cache does not write")
    }
    async fn presign_part(
        &self,
        _: &ObjectKey,
        _: &UploadId,
        _: PartNumber,
        _: u64,
        _: Duration,
    ) -> Result<PresignedPart, Error> {
        unreachable!("the cache does not write")
    }
    async fn abort_multipart(&self, _: &ObjectKey, _: &UploadId) -> Result<(), Error> {
        unreachable!("the cache does not write")
    }
    async fn delete(&self, _: &ObjectKey) -> Result<(), Error> {
        unreachable!("the cache does not write")
    }
}

pub(crate) const POLICY: MetadataPolicy = MetadataPolicy {
    ttl: Duration::from_secs(10),
    stale_while_revalidate: Duration::from_secs(30),
    stale_if_error: Duration::from_hours(1),
    negative_ttl: Duration::from_secs(2),
};

/// A cache in front of `store`, with so much memory.
pub(crate) fn cache(store: &Arc<TestStore>, memory_bytes: usize, budget_bytes: usize) -> Cache {
    cache_of(store, memory_bytes, budget_bytes, SEGMENT_BYTES)
}

/// The same with another segment length.
pub(crate) fn cache_of(
    store: &Arc<TestStore>,
    memory_bytes: usize,
    budget_bytes: usize,
    segment_bytes: u64,
) -> Cache {
    let segmentation = Segmentation::new(segment_bytes);
    let config = Config { memory_bytes, budget_bytes, segmentation, metadata: POLICY, redis: None };
    Cache::new(Arc::new(Handle(store.clone())), config).expect("no shared tier to get wrong")
}

/// One of several caches that share a Redis.
pub(crate) fn replica(
    store: &Arc<TestStore>,
    memory_bytes: usize,
    budget_bytes: usize,
    redis: RedisConfig,
) -> Cache {
    let segmentation = Segmentation::new(SEGMENT_BYTES);
    let config = Config { memory_bytes, budget_bytes, segmentation, metadata: POLICY, redis: Some(redis) };
    Cache::new(Arc::new(Handle(store.clone())), config).expect("a good URL")
}

/// Opens and reads a range to its end, checking every byte against the version that was opened.
pub(crate) async fn read(cache: &Cache, range: Range<u64>) -> Result<u64, seekway_cache::Error> {
    let (object, _) = cache.open(&key(), Some(range.clone())).await?;
    let version: u64 = object.object.version.etag.trim_matches('"').parse().expect("a number");
    let range = range.start.min(object.object.size)..range.end.min(object.object.size);
    let mut reader = cache.read(object, range.clone());
    let mut offset = range.start;
    while let Some(bytes) = reader.next().await {
        for got in bytes? {
            assert_eq!(got, byte(version, offset), "at {offset} of version {version}");
            offset += 1;
        }
    }
    assert_eq!(offset, range.end, "a reader is never silently short");
    Ok(version)
}
