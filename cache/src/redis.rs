//! The shared tier: segments and metadata that all replicas find in Redis, and who of them asks the store.
//!
//! Nothing here can fail a read. What Redis does not answer in time, what is not whole, what another replica
//! does not bring: all of it is a miss, and the store is asked. In the order in which a fill meets it:
//!
//! - `pass`, one fill's way through a run: take the segments that are there; where one is missing, claim the
//!   *leases* of the rest. Who gets them fetches the run from the store. Who finds another's name on them asks
//!   that replica for the segments, waits briefly for them to appear, and then fetches anyway.
//! - `requests`, what other replicas ask of this one: a list in Redis for each replica. A replica that has the
//!   segments writes them, one that is fetching them will, one that has neither gives its leases back.
//! - `writes`, the bounded queue to Redis. A segment is written on its second touch: by a second reader here, or
//!   by another replica's request. What one reader plays once never gets there.
//! - `records`, the metadata of objects, so that a fleet also asks who an object is only once.
//! - `link`, `envelope`, `url`: the connections and their circuit breaker, the form of values, the address.
//!
//! All keys of a stretch of an object lie in one hash slot, so that the one script works in a Cluster.

pub mod envelope;
mod link;
mod pass;
pub mod records;
pub mod requests;
mod url;
mod writes;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deadpool_redis::redis::{Cmd, cmd};
use tokio::time::Instant;

use crate::Inner;
use crate::memory;
use crate::segment::{Identity, Segmentation};
use crate::stats::Counters;
use link::{Lane, Link};
use pass::LOOK_BYTES;
use writes::Writes;

pub(crate) use pass::Next;
pub use url::RedisUrl;

/// How long a replica's name stays on what it fetched: while the fetch lasts, and a while longer, because it
/// then has the bytes in memory. A dead replica's leases cost others one wait a second until they lapse.
const LEASE: Duration = Duration::from_secs(10);
/// A stretch of this many segments has its keys in one hash slot. A run rarely crosses into a second one.
const SEGMENTS_PER_SLOT: u64 = 256;
/// How long to wait for another replica's segments: this many times what the store takes to its first byte. A wait in
/// vain then costs that much and no more, whether the store is near or far; with less than once it would always be in
/// vain, and cost a slow store's readers time without saving the store a single GET.
const WAIT_FACTOR: u32 = 2;
const WAIT_MIN: Duration = Duration::from_millis(20);
/// So a store of up to a second to its first byte is asked once by all. Longer than a question about an object may be
/// leased, nobody waits; and a player's buffer is some seconds.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// What a store is taken to need until it has answered once: more than nearly all do, because those who start together
/// want the same, and shall ask once.
const STORE_LATENCY_GUESS: Duration = Duration::from_millis(500);
/// A replica that was waited for in vain is not waited for during this time.
const SUSPICION: Duration = Duration::from_secs(1);

/// Takes values while they are there; if the first is not, claims the leases up to one that another holds.
///
/// `KEYS`: the values, then the leases. `ARGV`: how many values, the replica, the lease in milliseconds, a replica
/// whose leases no longer count.
/// Another type of value under a key is a miss, and a Redis that cannot be written to can still be read: so `pcall`.
const LOOK: &str = r"
local found, wanted = {'found'}, tonumber(ARGV[1])
for i = 1, wanted do
  local value = redis.pcall('GET', KEYS[i])
  if type(value) ~= 'string' then break end
  found[i + 1] = value
end
if #found > 1 then return found end
local holder, count = nil, 0
for i = wanted + 1, #KEYS do
  local other = redis.pcall('GET', KEYS[i])
  if type(other) ~= 'string' or other == ARGV[4] then other = ARGV[2] end
  if holder and other ~= holder then break end
  holder, count = other, count + 1
  if other == ARGV[2] then redis.pcall('SET', KEYS[i], other, 'PX', ARGV[3]) end
end
return {'held', holder, tostring(count)}
";

/// Where the shared tier is, and how long it is believed and waited for.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// The Redis.
    pub url: RedisUrl,
    /// Says which store the objects are from; caches of different stores may share a Redis.
    pub namespace: String,
    /// How long Redis keeps a segment.
    pub ttl: Duration,
    /// How long a read waits for Redis' answer before the store is asked. Mid-way through a run, where a
    /// reader has bytes in hand, it waits [`MIDWAY_FACTOR`] times as long.
    pub read_limit: Duration,
}

/// See [`RedisConfig::read_limit`].
const MIDWAY_FACTOR: u32 = 5;

impl RedisConfig {
    /// The most bytes that answers on their way in, and sealed segments on their way out, hold beside the budget.
    pub fn bytes_max(segmentation: Segmentation) -> u64 {
        let segment = segmentation.segment_bytes();
        link::ANSWERS_MAX as u64 * LOOK_BYTES.max(segment) + writes::WRITES_AT_ONCE as u64 * segment
    }
}

pub(crate) struct Redis {
    config: RedisConfig,
    segmentation: Segmentation,
    /// Names this replica in leases and in the list of what others ask of it.
    replica: String,
    link: Link,
    pub(crate) writes: Writes,
    counters: Arc<Counters>,
    /// What the store took to its first byte of late, in microseconds; 0 until it has answered.
    store_latency: AtomicU64,
    /// What was written before this, in [`memory::now`]'s milliseconds, may be gone.
    valid_since: AtomicU64,
    /// Replicas that were waited for in vain, and when.
    suspects: Mutex<HashMap<String, Instant>>,
}

/// What a look at Redis brought.
enum Look {
    Found(Vec<Vec<u8>>),
    /// The first so many segments are this replica's to fetch.
    Mine(u64),
    /// Another replica fetches or has the first so many.
    Theirs(String, u64),
}

/// The names of one version's segments, in values and in Redis' keys.
struct Names {
    identity: Arc<Identity>,
    version: String,
    digest: String,
}

// === impl Redis ===

impl Redis {
    pub(crate) fn new(
        config: RedisConfig,
        segmentation: Segmentation,
        counters: Arc<Counters>,
    ) -> Result<Self, String> {
        Ok(Self {
            link: Link::new(&config.url, counters.clone())?,
            config,
            segmentation,
            replica: format!("{:016x}", fastrand::u64(..)),
            writes: Writes::new(counters.clone()),
            counters,
            store_latency: AtomicU64::new(0),
            valid_since: AtomicU64::new(0),
            suspects: Mutex::default(),
        })
    }

    /// Keeps connections, writes what is queued and answers other replicas, until it is dropped.
    pub(crate) async fn serve(&self, inner: &Inner) {
        tokio::join!(self.link.keep(), self.write_queued(), self.answer_requests(inner));
    }

    /// Whether Redis is asked at all, or known to be in trouble.
    pub(crate) fn is_up(&self) -> bool {
        self.link.is_usable()
    }

    /// The store took this long to the first byte of an answer: what waiting for a replica is measured by.
    pub(crate) fn store_answered(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // A lost update between two threads is one sample less.
        let before = self.store_latency.load(Ordering::Relaxed);
        let now = if before == 0 { took } else { before - before / 8 + took / 8 };
        self.store_latency.store(now.max(1), Ordering::Relaxed);
    }

    fn names(&self, identity: &Arc<Identity>) -> Names {
        let Self { config: RedisConfig { namespace, .. }, segmentation, .. } = self;
        let (key, version, size) = (&identity.key, &identity.version, identity.size());
        let version_id = version.version_id.as_deref().unwrap_or_default();
        let (etag, cut) = (&version.etag, segmentation.segment_bytes());
        let version = format!("{namespace}\0{key}\0{etag}\0{version_id}\0{size}\0{cut}");
        Names { identity: identity.clone(), digest: envelope::digest(version.as_bytes()), version }
    }

    /// Lets segments be written again that Redis may have lost: after a trouble, and after half of their time.
    fn forget_old_writes(&self) {
        let half = millis(self.config.ttl) / 2;
        let since = self.link.usable_since().max(memory::now().saturating_sub(half));
        self.valid_since.store(since, Ordering::Relaxed);
    }

    fn wait_limit(&self) -> Duration {
        let store = match self.store_latency.load(Ordering::Relaxed) {
            0 => STORE_LATENCY_GUESS,
            micros => Duration::from_micros(micros),
        };
        (store * WAIT_FACTOR).clamp(WAIT_MIN, WAIT_MAX)
    }

    fn suspects(&self, replica: &str) -> bool {
        let suspects = self.suspects.lock().expect("no code panics under this lock");
        suspects.get(replica).is_some_and(|since| since.elapsed() < SUSPICION)
    }

    fn suspect(&self, replica: String) {
        let mut suspects = self.suspects.lock().expect("no code panics under this lock");
        suspects.retain(|_, since| since.elapsed() < SUSPICION);
        suspects.insert(replica, Instant::now());
    }

    /// One look at the segments of `range`, of which the first `wanted` would be taken. Leases that `disregarded`
    /// holds count as free.
    async fn look(
        &self,
        names: &Names,
        range: Range<u64>,
        wanted: u64,
        disregarded: Option<&str>,
        limit: Duration,
    ) -> Option<Look> {
        let first = self.segmentation.containing(range.start).get();
        let end = self.segmentation.align_up(range.end) / self.segmentation.segment_bytes();
        // Beyond the slot's end another look finds out.
        let end = end.min((first / SEGMENTS_PER_SLOT + 1) * SEGMENTS_PER_SLOT);
        let wanted = wanted.min(end - first);
        let mut command = script(LOOK, wanted + (end - first));
        for index in first..first + wanted {
            command.arg(names.segment_key(index));
        }
        for index in first..end {
            command.arg(names.lease_key(index));
        }
        // A long answer is not late while it arrives: 1 GB/s is what any Redis nearby does.
        let limit = limit + Duration::from_nanos(wanted * self.segmentation.segment_bytes());
        command.arg(wanted).arg(&self.replica).arg(millis(LEASE)).arg(disregarded.unwrap_or_default());
        let answer: Vec<Vec<u8>> = self.link.query(Lane::Shared, &command, limit).await?;
        let mut answer = answer.into_iter();
        if answer.next()? == b"found" {
            return Some(Look::Found(answer.collect()));
        }
        let (holder, count) = (answer.next()?, answer.next()?);
        let (holder, count) = (String::from_utf8(holder).ok()?, std::str::from_utf8(&count).ok()?);
        let count = count.parse().ok().filter(|count| (1..=end - first).contains(count))?;
        Some(if holder == self.replica { Look::Mine(count) } else { Look::Theirs(holder, count) })
    }

    /// Puts this replica's name on a run that it is fetching already.
    pub(crate) async fn claim(&self, identity: &Arc<Identity>, mut run: Range<u64>) {
        let names = self.names(identity);
        while run.start < run.end {
            let limit = self.config.read_limit * MIDWAY_FACTOR;
            let Some(Look::Mine(count) | Look::Theirs(_, count)) =
                self.look(&names, run.clone(), 0, None, limit).await
            else {
                return;
            };
            run.start = self.after(run.start, count);
        }
    }

    /// The offset of the segment that comes `count` after the one at `offset`.
    fn after(&self, offset: u64, count: u64) -> u64 {
        self.segmentation.align_down(offset).saturating_add(count * self.segmentation.segment_bytes())
    }
}

// === impl Names ===

impl Names {
    fn segment_name(&self, index: u64) -> String {
        format!("{}\0{index}", self.version)
    }

    fn segment_key(&self, index: u64) -> String {
        format!("seekway:{{{}:{}}}:s{index}", self.digest, index / SEGMENTS_PER_SLOT)
    }

    fn lease_key(&self, index: u64) -> String {
        format!("seekway:{{{}:{}}}:l{index}", self.digest, index / SEGMENTS_PER_SLOT)
    }
}

/// `EVAL`, because Redis finds the script by its text as fast as by a digest that we would have to manage.
fn script(text: &str, keys: u64) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(text).arg(keys);
    command
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
