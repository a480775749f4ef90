//! What replicas ask of each other: "you hold the leases of these segments; write them".
//!
//! Each replica reads a list of its own in Redis. A request says which version and which bytes, in full, so
//! that it can be answered from memory by whoever still has them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{Cmd, cmd};
use seekway_storage::{ObjectKey, Version};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::debug;

use super::{Lane, MIDWAY_FACTOR, Names, Redis, script};
use crate::Inner;
use crate::segment::{Identity, SegmentIndex, SegmentRef, Segmentation};

/// A request that nobody reads is gone after this; whoever asked has long fetched for itself.
const UNREAD_MAX: Duration = Duration::from_secs(2);
/// How long one read of the list waits in Redis: less than the connection's own limit of half a second.
const READ_WAIT_SECS: &str = "0.25";
const READ_LIMIT: Duration = Duration::from_secs(1);
/// Without a connection there is nothing to read.
const PAUSE: Duration = Duration::from_millis(100);

/// Removes this replica's name from leases. `KEYS`: the leases. `ARGV`: the replica.
const GIVE_BACK: &str = r"
for i = 1, #KEYS do
  if redis.pcall('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
end
return 1
";

/// A request as it lies in a list.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    namespace: String,
    segment_bytes: u64,
    key: String,
    etag: String,
    version_id: Option<String>,
    size: u64,
    first: u64,
    end: u64,
}

// === impl Redis ===

impl Redis {
    /// Asks `replica` for the segments of `range`, and returns the request, for [`take_back`](Self::take_back).
    pub(super) async fn ask(&self, replica: &str, names: &Names, range: Range<u64>) -> Vec<u8> {
        let request = encode(&self.config.namespace, self.segmentation, &names.identity, range);
        let (list, limit) = (list_key(replica), self.config.read_limit * MIDWAY_FACTOR);
        self.counters.redis_asked.increment();
        let push = cmd("RPUSH").arg(&list).arg(&request).to_owned();
        if self.link.query::<()>(Lane::Shared, &push, limit).await.is_some() {
            let expire = cmd("PEXPIRE").arg(&list).arg(super::millis(UNREAD_MAX)).to_owned();
            self.link.query::<()>(Lane::Shared, &expire, limit).await;
        }
        request
    }

    /// Takes a request out of the list of `replica`. Says whether it still was there: nobody has read it.
    pub(super) async fn take_back(&self, replica: &str, request: &[u8]) -> bool {
        let limit = self.config.read_limit * MIDWAY_FACTOR;
        let remove = cmd("LREM").arg(list_key(replica)).arg(1).arg(request).to_owned();
        self.link.query::<u64>(Lane::Shared, &remove, limit).await.is_some_and(|removed| removed > 0)
    }

    /// Answers what other replicas ask. Never ends; cancel by dropping.
    pub(super) async fn answer_requests(&self, inner: &Inner) {
        let list = list_key(&self.replica);
        let read: Cmd = cmd("BLPOP").arg(&list).arg(READ_WAIT_SECS).to_owned();
        loop {
            self.forget_old_writes();
            match self.link.query::<Option<(String, Vec<u8>)>>(Lane::Blocking, &read, READ_LIMIT).await {
                Some(Some((_, request))) => {
                    let request = decode(&self.config.namespace, self.segmentation, &request);
                    let Some((identity, segments)) = request else {
                        debug!("a request that makes no sense, or of a replica of another store");
                        continue;
                    };
                    self.answer(inner, &Arc::new(identity), segments).await;
                }
                Some(None) => {}
                None => {
                    // Whatever lies there that is no list; without a connection this is nothing.
                    self.link.query::<()>(Lane::Blocking, cmd("DEL").arg(&list), READ_LIMIT).await;
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn answer(&self, inner: &Inner, identity: &Arc<Identity>, segments: Range<u64>) {
        self.counters.redis_asked_by_others.increment();
        // First the fills, then memory: a segment that completes in between is then in one of the two.
        let segment_bytes = self.segmentation.segment_bytes();
        let range = segments.start * segment_bytes..segments.end * segment_bytes;
        let is_coming = inner.fills.share(identity, &range);
        let mut missing = Vec::new();
        for index in segments {
            let segment = SegmentRef { identity, index: SegmentIndex::new(index) };
            match inner.memory.get(segment) {
                Some(kept) => self.write_again(segment.to_key(), &kept),
                None => missing.push(index),
            }
        }
        if !is_coming && !missing.is_empty() {
            let names = self.names(identity);
            for slot in missing.chunk_by(|a, b| a / super::SEGMENTS_PER_SLOT == b / super::SEGMENTS_PER_SLOT)
            {
                let mut command = script(GIVE_BACK, slot.len() as u64);
                for &index in slot {
                    command.arg(names.lease_key(index));
                }
                command.arg(&self.replica);
                let limit = self.config.read_limit * MIDWAY_FACTOR;
                self.link.query::<()>(Lane::Shared, &command, limit).await;
            }
        }
    }
}

/// The request for the segments that hold `range`.
pub fn encode(namespace: &str, cut: Segmentation, identity: &Identity, range: Range<u64>) -> Vec<u8> {
    let request = Request {
        namespace: namespace.to_owned(),
        segment_bytes: cut.segment_bytes(),
        key: identity.key.as_str().to_owned(),
        etag: identity.version.etag.to_string(),
        version_id: identity.version.version_id.as_deref().map(str::to_owned),
        size: identity.size(),
        first: cut.containing(range.start).get(),
        end: cut.align_up(range.end) / cut.segment_bytes(),
    };
    serde_json::to_vec(&request).expect("strings and numbers are JSON")
}

/// The version and its segments that are asked for, if they can be ours: a list in Redis can hold anything.
pub fn decode(namespace: &str, cut: Segmentation, request: &[u8]) -> Option<(Identity, Range<u64>)> {
    let request: Request = serde_json::from_slice(request).ok()?;
    // No store has larger objects, and sums have room.
    i64::try_from(request.size).ok()?;
    let key = ObjectKey::new(&request.key).ok()?;
    let version = Version { etag: request.etag.into(), version_id: request.version_id.map(Into::into) };
    let all = cut.align_up(request.size) / cut.segment_bytes();
    let segments = request.first..request.end.min(all).min(request.first.saturating_add(SEGMENTS_MAX));
    let is_ours = request.namespace == namespace
        && request.segment_bytes == cut.segment_bytes()
        && !segments.is_empty();
    is_ours.then(|| (Identity::new(key, version, request.size), segments))
}

/// More segments than a run has are not asked for at once.
pub const SEGMENTS_MAX: u64 = 4096;

fn list_key(replica: &str) -> String {
    format!("seekway:requests:{replica}")
}
