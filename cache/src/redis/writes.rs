//! The bounded queue of segments on their way to Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use deadpool_redis::redis::cmd;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::{Mutex, mpsc};

use super::{Lane, Redis, envelope, millis};
use crate::memory::Kept;
use crate::segment::{SegmentKey, SegmentRef};
use crate::stats::Counters;

/// Bytes that may wait. They are memory that the budget has paid for; a queue that is longer than Redis takes
/// in some tens of milliseconds serves nobody.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Segments that may wait, for small ones.
const QUEUE_LEN_MAX: usize = 4096;
/// Writes at once; each copies its segment once, to seal it.
pub(super) const WRITES_AT_ONCE: usize = 4;
/// Off the request path nobody waits, but a write must not hold its memory for ever.
const WRITE_LIMIT: Duration = Duration::from_millis(250);

/// The queue's two ends.
pub(crate) struct Writes {
    sender: mpsc::Sender<(SegmentKey, Kept)>,
    receiver: Mutex<mpsc::Receiver<(SegmentKey, Kept)>>,
    queued_bytes: Arc<AtomicUsize>,
    counters: Arc<Counters>,
}

// === impl Writes ===

impl Writes {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_LEN_MAX);
        Self { sender, receiver: Mutex::new(receiver), queued_bytes: Arc::default(), counters }
    }

    /// Queues a segment if there is room. Never waits.
    fn offer(&self, key: SegmentKey, kept: &Kept) {
        let len = kept.bytes.len();
        let queued = self.queued_bytes.fetch_add(len, Ordering::Relaxed);
        // One segment always fits, however long segments are.
        let is_taken = (queued == 0 || queued + len <= QUEUE_BYTES_MAX)
            && self.sender.try_send((key, kept.clone())).is_ok();
        if !is_taken {
            self.queued_bytes.fetch_sub(len, Ordering::Relaxed);
            self.counters.redis_writes_dropped.increment();
            kept.give_up_sharing();
        }
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }
}

// === impl Redis ===

impl Redis {
    /// Queues a segment, unless Redis has it as far as is known here.
    pub(crate) fn write_once(&self, segment: SegmentRef<'_>, kept: &Kept) {
        if self.is_up() && kept.begin_sharing(self.valid_since.load(Ordering::Relaxed)) {
            self.writes.offer(segment.to_key(), kept);
        }
    }

    /// Queues a segment that another replica looked for in vain, whatever is known here.
    pub(super) fn write_again(&self, key: SegmentKey, kept: &Kept) {
        kept.begin_sharing(u64::MAX);
        self.writes.offer(key, kept);
    }

    /// Writes what is queued. Never ends; cancel by dropping.
    pub(super) async fn write_queued(&self) {
        let mut receiver = self.writes.receiver.lock().await;
        let queued = stream::poll_fn(|cx| receiver.poll_recv(cx));
        queued
            .for_each_concurrent(WRITES_AT_ONCE, async |(key, kept)| {
                if !self.write(&key, &kept.bytes).await {
                    self.counters.redis_writes_dropped.increment();
                    kept.give_up_sharing();
                }
                self.writes.queued_bytes.fetch_sub(kept.bytes.len(), Ordering::Relaxed);
            })
            .await;
    }

    /// Says whether it was written.
    async fn write(&self, key: &SegmentKey, segment: &Bytes) -> bool {
        if !self.is_up() {
            return false;
        }
        let (names, index) = (self.names(&key.identity), key.index.get());
        let mut command = cmd("SET");
        command.arg(names.segment_key(index));
        command.arg(envelope::seal(names.segment_name(index).as_bytes(), segment));
        command.arg("PX").arg(millis(self.config.ttl));
        let is_written = self.link.query::<()>(Lane::Shared, &command, WRITE_LIMIT).await.is_some();
        if is_written {
            self.counters.redis_writes.increment();
        }
        is_written
    }
}
