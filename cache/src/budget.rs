//! One budget for every buffered byte of the process.
//!
//! Rules that keep it from deadlocking:
//! - A fill reserves its whole run before its GET, and whoever waits for budget holds none while waiting.
//! - A permit lives as long as the buffer it paid for: until the last clone drops, also after eviction.
//! - Every response is owed one segment, first come first served ([`Budget::reserve`]); whatever goes
//!   beyond that (read-ahead) is taken only from what lies free ([`Budget::try_reserve_spare`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::measure::{Histogram, Times};

/// Reads ahead take at most this fraction of what is free, so that what remains shrinks geometrically and
/// never reaches zero through read-ahead alone.
const SPARE_FRACTION: usize = 8;

/// A number of bytes that buffers are paid from.
#[derive(Debug, Clone)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    capacity: usize,
    waits: Arc<Waits>,
}

#[derive(Debug)]
struct Waits {
    running: AtomicUsize,
    ended: Histogram,
}

/// One caller's wait, however it ends.
struct Wait<'a>(&'a Waits, Instant);

/// Paid bytes; they return to the budget on drop.
#[derive(Debug)]
pub struct Permit(Option<OwnedSemaphorePermit>);

// === impl Budget ===

impl Budget {
    /// A budget of `capacity` bytes (at most `usize::MAX / 8`, tokio's limit).
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(Semaphore::MAX_PERMITS);
        let waits = Waits { running: AtomicUsize::new(0), ended: Histogram::new(1) };
        Self { semaphore: Arc::new(Semaphore::new(capacity)), capacity, waits: Arc::new(waits) }
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
        let bytes = u32::try_from(bytes.min(self.capacity)).expect("a segment is at most 16 MiB");
        let _wait = Wait::begin(&self.waits);
        let permit = self.semaphore.clone().acquire_many_owned(bytes).await;
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
        self.waits.running.load(Ordering::Relaxed)
    }

    /// How long callers have waited in [`reserve`](Self::reserve), also those that gave up.
    pub fn waits(&self) -> Times {
        self.waits.ended.read(0)
    }
}

// === impl Wait ===

impl<'a> Wait<'a> {
    fn begin(waits: &'a Waits) -> Self {
        waits.running.fetch_add(1, Ordering::Relaxed);
        Self(waits, Instant::now())
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.ended.observe(0, self.1.elapsed());
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
