//! Any byte range of any object version, from memory or from the store, exact and early.
//!
//! [`Cache::open`] says what an object is now; [`Cache::read`] gives a [`Reader`] over a range of that
//! version. Below them, in the order in which a read meets them:
//!
//! - `metadata`: who an object is now, how long that is believed, one request for all who ask;
//! - `reader`, `readahead`, `share`: the pass over a range, and how far fills run in front of it;
//! - `memory`: the tier of whole segments;
//! - `redis`: the tier that all replicas share, in Redis;
//! - `fills`, `fill`, `filler`: origin reads that are shared by all who want their bytes;
//! - `segment`, `budget`: the buffers, and the one budget that pays for them;
//! - `stats`, `measure`: what is counted.
//!
//! Nothing here knows HTTP. What a store cannot do now is an [`Error`]; what memory cannot hold is a miss.

mod budget;
mod error;
mod fill;
mod filler;
mod fills;
mod measure;
mod memory;
mod metadata;
mod readahead;
mod reader;
#[doc(hidden)] // Of use to the fuzzers, but for what is named below.
pub mod redis;
mod segment;
mod share;
mod stats;
mod sync;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use seekway_storage::{ObjectKey, ObjectStore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug_span};

pub use budget::{Budget, Permit};
pub use error::Error;
pub use measure::{BUCKETS, Cells, Histogram, Times};
pub use metadata::{Freshness, METADATA_BYTES_MAX, MetadataPolicy, OpenObject};
pub use reader::{Reader, Source};
pub use redis::{RedisConfig, RedisUrl};
pub use segment::{Identity, SegmentIndex, Segmentation};
pub use share::Share;
pub use stats::Stats;

use fills::{Claim, Fills};
use memory::Memory;
use metadata::{Flight, Landing, Lookup, Metadata, Opened, STALE_PATIENCE};
use readahead::first_run_bytes;
use redis::Redis;
use stats::Counters;

/// How long a response that has not begun waits for the one segment it is owed.
const PATIENCE: Duration = Duration::from_secs(5);
/// A response that would have to expect more than this does not begin to wait. Waits that end are shorter, and a
/// player that is told at once can ask another replica within its buffer.
const EXPECTED_WAIT_MAX: Duration = Duration::from_secs(1);

/// The cache's bounds.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of the memory tier, overhead included.
    pub memory_bytes: usize,
    /// Bytes for everything else that is buffered: fills, and segments that clients still read after they
    /// left the memory tier.
    pub budget_bytes: usize,
    /// How objects are cut.
    pub segmentation: Segmentation,
    /// How long metadata is believed.
    pub metadata: MetadataPolicy,
    /// The tier that is shared with other replicas. Not used where the store is as near as Redis would be
    /// ([`ObjectStore::head_is_cheap`]).
    pub redis: Option<RedisConfig>,
}

/// The segment cache in front of one store. Cheap to clone; all clones are one cache.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

/// What the cache's parts share.
pub(crate) struct Inner {
    store: Arc<dyn ObjectStore>,
    segmentation: Segmentation,
    metadata: Metadata,
    memory: Memory,
    redis: Option<Redis>,
    fills: Fills,
    budget: Budget,
    counters: Arc<Counters>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

// === impl Cache ===

impl Cache {
    /// A cache in front of `store`. Nothing is asked of Redis before [`serve_redis`](Self::serve_redis) runs.
    ///
    /// # Errors
    /// When the shared tier's address cannot be used.
    pub fn new(store: Arc<dyn ObjectStore>, config: Config) -> Result<Self, String> {
        let counters = Arc::<Counters>::default();
        let redis = config.redis.filter(|_| !store.head_is_cheap());
        let redis = redis.map(|redis| Redis::new(redis, config.segmentation, counters.clone()));
        let inner = Inner {
            store,
            redis: redis.transpose()?,
            segmentation: config.segmentation,
            metadata: Metadata::new(config.metadata),
            memory: Memory::new(config.memory_bytes, config.segmentation),
            fills: Fills::new(config.segmentation),
            // One pool for both, because a permit stays with its buffer when a segment moves from a fill
            // into the memory tier, and when it is evicted while a client still reads it.
            budget: Budget::new(config.memory_bytes.saturating_add(config.budget_bytes)),
            counters,
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the object is now, as far as the metadata policy wants it asked.
    ///
    /// `wanted` is the range that will be read, where it is known without the object's size: an unknown
    /// object then costs one round trip, because the read that discovers it is already its first fill.
    /// Without it, an unknown object is asked for by a metadata request.
    pub async fn open(
        &self,
        key: &ObjectKey,
        wanted: Option<Range<u64>>,
    ) -> Result<(Arc<OpenObject>, Freshness), Error> {
        let inner = &self.inner;
        if inner.store.head_is_cheap() {
            let object = inner.store.head(key).await?;
            let identity = Arc::new(Identity::new(key.clone(), object.version.clone(), object.size));
            return Ok((Arc::new(OpenObject::new(identity, object)), Freshness::Live));
        }
        match inner.metadata.lookup(key) {
            Lookup::Serve(object, freshness) => {
                if matches!(freshness, Freshness::Stale { .. }) {
                    inner.counters.metadata_stale.increment();
                }
                Ok((object, freshness))
            }
            Lookup::Revalidate(object, freshness) => {
                if let (landing, Some(flight)) = inner.metadata.board(key) {
                    inner.fly(key.clone(), flight, None, Some(landing));
                }
                inner.counters.metadata_stale.increment();
                Ok((object, freshness))
            }
            Lookup::IfError(object, freshness) => {
                let wanted = wanted
                    .filter(|wanted| !inner.fills.provides(&inner.memory, &object.identity, wanted.start));
                match timeout(STALE_PATIENCE, inner.ask(key, wanted, true)).await {
                    Ok(Err(error)) if error.is_retryable() => {}
                    Ok(answer) => return answer,
                    // The flight goes on; whoever comes next need not wait for it.
                    Err(_) => inner.metadata.store_failed(key),
                }
                inner.counters.metadata_stale.increment();
                Ok((object, freshness))
            }
            Lookup::Refused(error) => Err(error),
            Lookup::Unknown => inner.ask(key, wanted, false).await,
        }
    }

    /// A reader of `range` of this version.
    ///
    /// # Panics
    /// When the range does not lie within the object.
    pub fn read(&self, object: Arc<OpenObject>, range: Range<u64>) -> Reader {
        Reader::new(self.inner.clone(), object, range)
    }

    /// Keeps the shared tier going: its connections, the writes to it, the requests of other replicas. Ends
    /// with [`shutdown`](Self::shutdown), or at once where there is no shared tier. Run it once, on a runtime
    /// that outlives the readers.
    pub async fn serve_redis(&self) {
        let Some(redis) = &self.inner.redis else { return };
        tokio::select! {
            () = redis.serve(&self.inner) => {}
            () = self.inner.cancel.cancelled() => {}
        }
    }

    /// The totals and gauges now.
    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        Stats {
            redis_up: inner.redis.as_ref().is_some_and(Redis::is_up).into(),
            redis_queued_bytes: inner.redis.as_ref().map_or(0, |redis| redis.writes.queued_bytes() as u64),
            fills_running: inner.fills.count() as u64,
            memory_bytes: inner.memory.weighed_bytes(),
            memory_segments: inner.memory.segments(),
            budget_in_use_bytes: inner.budget.in_use() as u64,
            budget_capacity_bytes: inner.budget.capacity() as u64,
            budget_waiting: inner.budget.waiting() as u64,
            budget_waits: inner.budget.waits(),
            ..inner.counters.read()
        }
    }

    /// Stops all fills and waits for their tasks. Readers get errors from then on.
    pub async fn shutdown(&self) {
        self.inner.cancel.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

// === impl Inner ===

impl Inner {
    /// Asks the store, together with everybody who asks for the same key. What is begun here ends when nobody
    /// waits any more, or `goes_on` without them.
    async fn ask(
        self: &Arc<Self>,
        key: &ObjectKey,
        wanted: Option<Range<u64>>,
        goes_on: bool,
    ) -> Result<Opened, Error> {
        while !self.cancel.is_cancelled() {
            let (landing, flight) = self.metadata.board(key);
            if let Some(flight) = flight {
                self.fly(key.clone(), flight, wanted.clone(), goes_on.then(|| landing.clone()));
            }
            // Boarded at the moment in which it was given up, it never lands.
            if let Some(answer) = metadata::landed(landing).await {
                return answer;
            }
        }
        Err(Error::ShuttingDown)
    }

    /// Flies until it lands, or nobody waits for it. `own` is a wait of its own: nobody else need wait.
    fn fly(
        self: &Arc<Self>,
        key: ObjectKey,
        flight: Flight,
        wanted: Option<Range<u64>>,
        own: Option<Landing>,
    ) {
        let (inner, span) = (self.clone(), debug_span!("metadata", %key));
        let task = async move {
            let _own = own;
            let answer = tokio::select! {
                answer = inner.discover(&key, wanted) => answer,
                () = flight.abandoned() => return inner.metadata.give_up(&flight),
                () = inner.cancel.cancelled() => Err(Error::ShuttingDown),
            };
            inner.metadata.land(&flight, answer);
        };
        self.tasks.spawn(task.instrument(span));
    }

    /// Learns what `key` is now: from another replica that has asked, or from the store.
    async fn discover(
        self: &Arc<Self>,
        key: &ObjectKey,
        wanted: Option<Range<u64>>,
    ) -> Result<Opened, Error> {
        // Without a time to live there is nothing to share.
        let Some(redis) = self.redis.as_ref().filter(|_| !self.metadata.ttl().is_zero()) else {
            return Ok((self.ask_store(key, wanted).await?, Freshness::Live));
        };
        let ttl = self.metadata.ttl();
        if let Some((object, age)) = redis.record(key).await
            && age < ttl // The writer may believe for longer.
            && !self.metadata.is_outdated(key, &object.version)
        {
            self.counters.redis_records.increment();
            let freshness = Freshness::Fresh { age, ttl: ttl.saturating_sub(age) };
            return Ok((self.metadata.remember(key, object, age), freshness));
        }
        let answer = self.ask_store(key, wanted.clone()).await;
        // Told to the others while our own reader goes on.
        let (inner, key, told) = (self.clone(), key.clone(), answer.clone());
        self.tasks.spawn(async move {
            let Some(redis) = &inner.redis else { return };
            match told {
                Ok(object) => {
                    // In this order: whoever reads the record looks for the leases next.
                    if let Some(wanted) = wanted {
                        let run = inner.first_run(&wanted, object.object.size);
                        redis.claim(&object.identity, run).await;
                    }
                    redis.publish(&key, &object.object, inner.metadata.ttl()).await;
                }
                Err(_) => redis.give_up(&key).await,
            }
        });
        Ok((answer?, Freshness::Live))
    }

    /// Asks the store what `key` is; with `wanted`, by a ranged read that is also the first fill.
    async fn ask_store(
        self: &Arc<Self>,
        key: &ObjectKey,
        wanted: Option<Range<u64>>,
    ) -> Result<Arc<OpenObject>, Error> {
        self.counters.metadata_requests.increment();
        if let Some(wanted) = wanted {
            let mut run = self.first_run(&wanted, u64::MAX);
            let mut permit = match self.try_reserve_run(&mut run) {
                Some(permit) => permit,
                None => self.reserve_first(&run).await?,
            };
            let asked = Instant::now();
            match self.store.get(key, run, None).await {
                Ok(get) => {
                    self.store_answered(asked);
                    let object = self.metadata.remember(key, get.object, Duration::ZERO);
                    permit.shrink_to(usize::try_from(get.range.end - get.range.start).unwrap_or(usize::MAX));
                    let claim = self.fills.claim(&self.memory, &object.identity, get.range, permit);
                    if let Claim::Started(writer) = claim {
                        filler::spawn_with(self, &object, writer, Some(get.body));
                    }
                    return Ok(object);
                }
                // The size is needed, to say which ranges there are; also the empty object answers so.
                Err(seekway_storage::Error::RangeNotSatisfiable { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            self.counters.metadata_requests.increment();
        }
        Ok(self.metadata.remember(key, self.store.head(key).await?, Duration::ZERO))
    }

    /// The store has answered what it was asked for then.
    fn store_answered(&self, asked: Instant) {
        if let Some(redis) = &self.redis {
            redis.store_answered(asked.elapsed());
        }
    }

    /// What is read first of an object of `size` bytes for somebody who wants `wanted`.
    fn first_run(&self, wanted: &Range<u64>, size: u64) -> Range<u64> {
        let end = wanted.start.saturating_add(first_run_bytes(wanted.end.saturating_sub(wanted.start)));
        self.align(wanted.start..end, size)
    }

    /// The whole segments that hold `range`, up to the object's end.
    fn align(&self, range: Range<u64>, size: u64) -> Range<u64> {
        self.segmentation.align_down(range.start)..self.segmentation.align_up(range.end).min(size)
    }

    fn first_segment(&self, run: Range<u64>) -> Range<u64> {
        run.start..run.end.min(run.start.saturating_add(self.segmentation.segment_bytes()))
    }

    /// Pays for `run` from what lies free, or cuts it down to its first segment and pays for that.
    fn try_reserve_run(&self, run: &mut Range<u64>) -> Option<Permit> {
        let bytes = usize::try_from(run.end - run.start).unwrap_or(usize::MAX);
        if let Some(permit) = self.budget.try_reserve_spare(bytes) {
            return Some(permit);
        }
        *run = self.first_segment(run.clone());
        let bytes = usize::try_from(run.end - run.start).unwrap_or(usize::MAX);
        self.fills.give_way_to(|| self.budget.try_reserve(bytes))
    }

    /// Waits for the first segment of `run` for a response that has not begun, but not in a queue that does not move.
    /// Responses under way are before it, and those do wait.
    async fn reserve_first(&self, run: &Range<u64>) -> Result<Permit, Error> {
        if self.budget.expected_wait() > EXPECTED_WAIT_MAX {
            return Err(Error::Busy);
        }
        self.reserve_segment(run, PATIENCE).await
    }

    /// Waits for the first segment of `run` to be paid for.
    async fn reserve_segment(&self, run: &Range<u64>, patience: Duration) -> Result<Permit, Error> {
        let run = self.first_segment(run.clone());
        let bytes = usize::try_from(run.end - run.start).unwrap_or(usize::MAX);
        timeout(patience, self.budget.reserve(bytes)).await.map_err(|_| {
            self.counters.budget_refusals.increment();
            Error::Busy
        })
    }
}
