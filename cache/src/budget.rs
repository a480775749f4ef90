//! One budget for every buffered byte of the process.
//!
//! Rules that keep it from deadlocking:
//! - A fill reserves its whole run before its GET, and whoever waits for budget holds none while waiting.
//! - A permit lives as long as the buffer it paid for: until the last clone drops, also after eviction.
//! - Every response is owed one segment, first come first served ([`Budget::reserve`]), unless it would begin by
//!   waiting in a queue that does not move ([`Budget::expected_wait`]): then it is told so at once. Whatever goes
//!   beyond that (read-ahead) is taken only from what lies free ([`Budget::try_reserve_spare`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::measure::{Histogram, Times};

/// Reads ahead take at most this fraction of what is free, so that what remains shrinks geometrically and
/// never reaches zero through read-ahead alone.
const SPARE_FRACTION: usize = 8;

/// A number of bytes that buffers are paid from.
#[derive(Debug, Clone)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    capacity: usize,
    queue: Arc<Queue>,
}

/// What is known about those who wait.
#[derive(Debug)]
struct Queue {
    epoch: Instant,
    count: AtomicUsize,
    /// When the queue formed, or last moved, in nanoseconds of the epoch.
    moved_at: AtomicU64,
    /// For how long the last one to be served had waited, in nanoseconds; 0 when the queue formed.
    last_wait: AtomicU64,
    /// All waits, those that were given up too.
    waits: Histogram,
}

/// Paid bytes; they return to the budget on drop.
#[derive(Debug)]
pub struct Permit(Option<OwnedSemaphorePermit>);

// === impl Budget ===

impl Budget {
    /// A budget of `capacity` bytes (at most `usize::MAX / 8`, tokio's limit).
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(Semaphore::MAX_PERMITS);
        Self { semaphore: Arc::new(Semaphore::new(capacity)), capacity, queue: Arc::new(Queue::new()) }
    }

    /// Takes `bytes` now, or nothing.
    pub fn try_reserve(&self, bytes: usize) -> Option<Permit> {
        let permit = self.semaphore.clone().try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
        Some(Permit(Some(permit)))
    }

    /// Takes `bytes` now if that leaves plenty for others.
    pub fn try_reserve_spare(&self, bytes: usize) -> Option<Permit> {
        if bytes > self.available() / SPARE_FRACTION { None } else { self.try_reserve(bytes) }
    }

    /// Waits its turn, in order of arrival, until `bytes` are free. Cancel by dropping the future.
    ///
    /// More than the whole budget is taken as the whole budget: it can be had, if late.
    pub async fn reserve(&self, bytes: usize) -> Permit {
        struct Waiting<'a>(&'a Queue, u64);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.count.fetch_sub(1, Ordering::Relaxed);
                self.0.waits.observe(0, Duration::from_nanos(self.0.now().saturating_sub(self.1)));
            }
        }
        let bytes = u32::try_from(bytes.min(self.capacity)).expect("a segment is at most 16 MiB");
        let begun = self.queue.enter();
        let _waiting = Waiting(&self.queue, begun);
        let permit = self.semaphore.clone().acquire_many_owned(bytes).await;
        self.queue.served(begun);
        Permit(Some(permit.expect("the semaphore is never closed")))
    }

    /// Bytes that are free.
    pub fn available(&self) -> usize {
        self.semaphore.available_permits()
    }

    /// Bytes that buffers hold or fills have reserved.
    pub fn in_use(&self) -> usize {
        self.capacity - self.available()
    }

    /// All bytes, free or not.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many callers wait in [`reserve`](Self::reserve).
    pub fn waiting(&self) -> usize {
        self.queue.count.load(Ordering::Relaxed)
    }

    /// Whether somebody waits whom nothing that is free will serve.
    pub(crate) fn is_wanted(&self) -> bool {
        // What is free while somebody is still counted was given to nobody: those who wait have their due.
        self.waiting() > 0 && self.available() == 0
    }

    /// How long callers have waited in [`reserve`](Self::reserve), also those that gave up.
    pub fn waits(&self) -> Times {
        self.queue.waits.read(0)
    }

    /// For how long a newcomer to [`reserve`](Self::reserve) must expect to wait, at the least: as long as the last
    /// one to be served did, or as nobody has been served. Nothing if nobody waits.
    pub fn expected_wait(&self) -> Duration {
        let queue = &self.queue;
        if self.waiting() == 0 {
            return Duration::ZERO;
        }
        let still = queue.now().saturating_sub(queue.moved_at.load(Ordering::Relaxed));
        Duration::from_nanos(still.max(queue.last_wait.load(Ordering::Relaxed)))
    }
}

// === impl Queue ===

impl Queue {
    fn new() -> Self {
        Self {
            epoch: Instant::now(),
            count: AtomicUsize::new(0),
            moved_at: AtomicU64::new(0),
            last_wait: AtomicU64::new(0),
            waits: Histogram::new(1),
        }
    }

    fn enter(&self) -> u64 {
        let now = self.now();
        if self.count.fetch_add(1, Ordering::Relaxed) == 0 {
            self.moved_at.store(now, Ordering::Relaxed);
            self.last_wait.store(0, Ordering::Relaxed);
        }
        now
    }

    fn served(&self, begun: u64) {
        let now = self.now();
        self.moved_at.store(now, Ordering::Relaxed);
        self.last_wait.store(now.saturating_sub(begun), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).expect("584 years are enough")
    }
}

// === impl Permit ===

impl Permit {
    /// A permit for nothing.
    #[cfg(all(test, feature = "shuttle"))]
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Splits `bytes` off, or all that is left.
    pub(crate) fn split(&mut self, bytes: usize) -> Permit {
        let Some(permit) = &mut self.0 else { return Permit(None) };
        match permit.split(bytes.min(permit.num_permits())) {
            Some(part) => Permit(Some(part)),
            None => Permit(self.0.take()),
        }
    }

    /// Gives back what goes beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let held = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        drop(self.split(held.saturating_sub(bytes)));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn waiters_are_served_in_order_and_leaving_is_free() {
        let budget = Budget::new(100);
        let held = budget.try_reserve(100).expect("all of it is free");
        assert!(budget.try_reserve(1).is_none());
        let mut first = Box::pin(budget.reserve(60));
        let mut second = Box::pin(budget.reserve(10));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        assert_eq!(budget.waiting(), 2);
        drop(first);
        drop(held);
        assert!(poll!(&mut second).is_ready());
        drop(second);
        assert_eq!((budget.waiting(), budget.in_use()), (0, 0));
        assert_eq!(budget.waits().counts.iter().sum::<u64>(), 2, "who left has waited, too");
    }

    #[tokio::test(start_paused = true)]
    async fn newcomers_expect_to_wait_like_those_before_them() {
        let second = Duration::from_secs(1);
        let budget = Budget::new(100);
        let mut held = budget.try_reserve(100).expect("all of it is free");
        assert_eq!(budget.expected_wait(), Duration::ZERO);
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(budget.reserve(10))).collect();
        for one in &mut waiting {
            assert!(poll!(one).is_pending());
        }
        assert_eq!(budget.expected_wait(), Duration::ZERO, "the queue has only formed");
        tokio::time::advance(2 * second).await;
        assert_eq!(budget.expected_wait(), 2 * second, "nobody was served for so long");
        drop(held.split(20));
        for one in waiting.drain(..2) {
            drop(one.await);
        }
        // One is left, whose turn has come.
        assert_eq!(budget.expected_wait(), 2 * second, "as long as the last one did");
        drop(waiting);
        assert_eq!(budget.expected_wait(), Duration::ZERO);
        let mut next = Box::pin(budget.reserve(100));
        assert!(poll!(&mut next).is_pending());
        assert_eq!(budget.expected_wait(), Duration::ZERO, "a new queue");
    }

    #[test]
    fn permits_split_and_return() {
        let budget = Budget::new(100);
        let mut permit = budget.try_reserve(100).expect("free");
        let part = permit.split(30);
        permit.shrink_to(50);
        assert_eq!(budget.in_use(), 80);
        drop(permit.split(1000));
        assert_eq!(budget.in_use(), 30);
        drop((part, permit));
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn spare_leaves_most_of_it_free() {
        let budget = Budget::new(800);
        assert!(budget.try_reserve_spare(101).is_none());
        let _held = budget.try_reserve_spare(100).expect("an eighth");
        assert!(budget.try_reserve_spare(100).is_none());
    }
}
