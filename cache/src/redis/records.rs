//! The metadata of objects in Redis, so that a fleet asks the store who an object is only once in its time to
//! live. A record lives in Redis for as long as it is fresh, so its age needs no common clock.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use deadpool_redis::redis::cmd;
use seekway_storage::{Attributes, Object, ObjectKey, Pin, Version};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::pass::{LOOK_PAUSE_MAX, LOOK_PAUSE_MIN};
use super::{Lane, MIDWAY_FACTOR, Redis, envelope, millis, script};

/// How long a replica's name stays on a question: the store answers sooner, or is in trouble.
const LEASE: Duration = Duration::from_secs(2);

/// The holder of a lease whose question the store did not answer: one replica after the other would wait in vain.
const NOBODY: &str = "";
const GIVEN_UP: Duration = Duration::from_secs(1);

/// The record with the milliseconds that it lives, or who asks the store for it; if nobody does, the caller.
///
/// `KEYS`: the record, the lease. `ARGV`: the replica, the lease in milliseconds.
const LOOK: &str = r"
local record = redis.pcall('GET', KEYS[1])
if type(record) == 'string' then return {'found', record, tostring(redis.call('PTTL', KEYS[1]))} end
local holder = redis.pcall('GET', KEYS[2])
if type(holder) == 'string' and holder ~= ARGV[1] then return {'held', holder} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'held', ARGV[1]}
";

/// An object as it lies in Redis.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// For how long it was to be believed, by whoever wrote it.
    fresh_ms: u64,
    etag: String,
    version_id: Option<String>,
    size: u64,
    /// Since 1970, in seconds and nanoseconds.
    last_modified: Option<(u64, u32)>,
    content_type: Option<String>,
    cache_control: Option<String>,
    content_encoding: Option<String>,
    content_disposition: Option<String>,
    content_language: Option<String>,
}

// === impl Redis ===

impl Redis {
    /// The object and how old this is, if another replica has asked about it or is about to. Without an
    /// answer the caller asks the store, and then calls [`publish`](Self::publish) or [`give_up`](Self::give_up).
    pub(crate) async fn record(&self, key: &ObjectKey) -> Option<(Object, Duration)> {
        let (name, [record, lease]) = self.record_names(key);
        let mut command = script(LOOK, 2);
        command.arg(record).arg(lease).arg(&self.replica).arg(millis(LEASE));
        let (mut limit, mut pause) = (self.config.read_limit, LOOK_PAUSE_MIN);
        let until = Instant::now() + self.wait_limit();
        loop {
            let answer: Vec<Vec<u8>> = self.link.query(Lane::Shared, &command, limit).await?;
            match answer.as_slice() {
                [tag, value, ttl] if tag == b"found" => {
                    let ttl = std::str::from_utf8(ttl).ok()?.parse().ok().map(Duration::from_millis)?;
                    let payload = envelope::open(name.as_bytes(), &Bytes::copy_from_slice(value));
                    let record = payload.and_then(|json| decode(&json));
                    if record.is_none() {
                        self.counters.redis_corrupt.increment();
                    }
                    let (object, fresh) = record?;
                    return Some((object, fresh.saturating_sub(ttl)));
                }
                [_, holder]
                    if !holder.is_empty() && holder != self.replica.as_bytes() && Instant::now() < until =>
                {
                    sleep(pause).await;
                    pause = (pause * 3 / 2).min(LOOK_PAUSE_MAX);
                    limit = self.config.read_limit * MIDWAY_FACTOR;
                }
                _ => return None,
            }
        }
    }

    /// Tells the others what the store said of `key` just now, and for how long to believe it.
    pub(crate) async fn publish(&self, key: &ObjectKey, object: &Object, ttl: Duration) {
        let (name, [record, lease]) = self.record_names(key);
        let json = encode(object, ttl);
        let limit = self.config.read_limit * MIDWAY_FACTOR;
        if !ttl.is_zero() {
            let mut set = cmd("SET");
            set.arg(record).arg(envelope::seal(name.as_bytes(), &json)).arg("PX").arg(millis(ttl));
            self.link.query::<()>(Lane::Shared, &set, limit).await;
        }
        self.link.query::<()>(Lane::Shared, cmd("DEL").arg(lease), limit).await;
    }

    /// Lets the others ask for themselves, all at once: the store did not say who `key` is.
    pub(crate) async fn give_up(&self, key: &ObjectKey) {
        let (_, [record, lease]) = self.record_names(key);
        let limit = self.config.read_limit * MIDWAY_FACTOR;
        // An object that is gone must not come back with an old record.
        self.link.query::<()>(Lane::Shared, cmd("DEL").arg(record), limit).await;
        let mut set = cmd("SET");
        set.arg(lease).arg(NOBODY).arg("PX").arg(millis(GIVEN_UP));
        self.link.query::<()>(Lane::Shared, &set, limit).await;
    }

    /// The record's name in its value, and the keys of record and lease.
    fn record_names(&self, key: &ObjectKey) -> (String, [String; 2]) {
        let name = format!("{}\0{key}", self.config.namespace);
        let digest = envelope::digest(name.as_bytes());
        (name, ["m", "ml"].map(|kind| format!("seekway:{{{digest}}}:{kind}")))
    }
}

/// The record that says `object`, and for how long to believe it.
pub fn encode(object: &Object, fresh: Duration) -> Vec<u8> {
    serde_json::to_vec(&Record::new(object, fresh)).expect("strings and numbers are JSON")
}

/// What a record says: the object, and for how long whoever wrote it believed it. `None` if it is no record.
pub fn decode(record: &[u8]) -> Option<(Object, Duration)> {
    let record = serde_json::from_slice::<Record>(record).ok().filter(Record::is_sound)?;
    let fresh = Duration::from_millis(record.fresh_ms);
    Some((record.into(), fresh))
}

// === impl Record ===

impl Record {
    /// What every store has seen to of its own objects: a strong tag that a header can hold, and a size that leaves room
    /// for sums (an offset is signed in S3, and in files).
    fn is_sound(&self) -> bool {
        let tag = self.etag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let is_tag = |tag: &str| !tag.bytes().any(|byte| matches!(byte, ..0x20 | b'"' | 0x7f));
        tag.is_some_and(is_tag) && i64::try_from(self.size).is_ok()
    }

    fn new(object: &Object, fresh: Duration) -> Self {
        let Object { version, size, last_modified, attributes, pin: _ } = object;
        let since_1970 = |time: &SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let attributes = attributes.clone();
        Self {
            fresh_ms: millis(fresh),
            etag: version.etag.to_string(),
            version_id: version.version_id.as_deref().map(str::to_owned),
            size: *size,
            last_modified: last_modified
                .as_ref()
                .and_then(since_1970)
                .map(|t| (t.as_secs(), t.subsec_nanos())),
            content_type: attributes.content_type,
            cache_control: attributes.cache_control,
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            content_language: attributes.content_language,
        }
    }
}

impl From<Record> for Object {
    fn from(record: Record) -> Self {
        let time = |(secs, nanos): (u64, u32)| {
            let since = Duration::from_secs(secs).checked_add(Duration::from_nanos(nanos.into()))?;
            SystemTime::UNIX_EPOCH.checked_add(since)
        };
        Self {
            version: Version { etag: record.etag.into(), version_id: record.version_id.map(Into::into) },
            size: record.size,
            last_modified: record.last_modified.and_then(time),
            attributes: Attributes {
                content_type: record.content_type,
                cache_control: record.cache_control,
                content_encoding: record.content_encoding,
                content_disposition: record.content_disposition,
                content_language: record.content_language,
            },
            pin: Pin::default(),
        }
    }
}
