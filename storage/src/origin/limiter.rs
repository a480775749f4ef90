//! How many requests may be at an endpoint at once, and fewer of them while it throttles.
//!
//! A request takes a slot and keeps it until its body has ended. Slots are given first come, first served.
//!
//! A throttling answer halves the slots in use and begins a pause in which nothing is sent; each further one is
//! twice as long. Answers to requests that were under way at the time say nothing new, and change nothing. Every
//! window of good answers then gives one slot back (additive increase, multiplicative decrease: many clients of
//! one store end with equal shares, as TCP's do).

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// The first pause after a throttling answer: a store counts requests a second, so less would be nothing.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest, unless the store asks for more: a probe each time is no load, and no store is down for it.
const PAUSE_MAX: Duration = Duration::from_millis(800);
/// The most that `Retry-After` can ask for: it stops everything, and may be a mistake.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// For how long after a throttling answer nothing is asked that nobody waits for.
const THROTTLED_FOR: Duration = Duration::from_secs(2);

/// The slots of one endpoint.
#[derive(Debug)]
pub(super) struct Limiter {
    slots: Arc<Semaphore>,
    slots_max: usize,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
struct Pace {
    /// Slots there are now, 1 to `slots_max`.
    limit: usize,
    /// Of the slots given out, how many do not come back.
    owed: usize,
    /// Good answers since the last slot was added.
    good: usize,
    /// The next pause.
    pause: Duration,
    /// Nothing is sent before.
    resume_at: Instant,
    /// When the endpoint last throttled.
    throttled_at: Option<Instant>,
}

/// The right to one request. Dropping it gives the slot to whoever waits longest.
#[derive(Debug)]
pub(super) struct Slot {
    limiter: Arc<Limiter>,
    permit: Option<OwnedSemaphorePermit>,
    given_at: Instant,
}

// === impl Limiter ===

impl Limiter {
    pub(super) fn new(slots_max: usize) -> Arc<Self> {
        let pace = Pace {
            limit: slots_max,
            owed: 0,
            good: 0,
            pause: PAUSE_MIN,
            resume_at: Instant::now(),
            throttled_at: None,
        };
        Arc::new(Self { slots: Arc::new(Semaphore::new(slots_max)), slots_max, pace: Mutex::new(pace) })
    }

    /// Waits for a slot, and for the end of a pause. Cancel-safe.
    pub(super) async fn acquire(self: &Arc<Self>) -> Slot {
        let permit = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let mut slot = self.slot(permit);
        loop {
            let resume_at = self.pace().resume_at;
            if resume_at <= Instant::now() {
                slot.given_at = Instant::now();
                return slot;
            }
            sleep_until(resume_at).await;
        }
    }

    /// A slot for what need not be: none while anybody waits, or the endpoint throttles.
    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Slot> {
        if self.is_throttling() {
            return None;
        }
        Some(self.slot(self.slots.clone().try_acquire_owned().ok()?))
    }

    /// Whether the endpoint asked for fewer requests a short while ago.
    pub(super) fn is_throttling(&self) -> bool {
        self.pace().throttled_at.is_some_and(|at| at.elapsed() < THROTTLED_FOR)
    }

    /// Slots there are now: fewer than the most while the endpoint throttles and for a while after.
    pub(super) fn limit(&self) -> usize {
        self.pace().limit
    }

    /// Slots that are taken.
    pub(super) fn taken(&self) -> usize {
        let pace = self.pace();
        (pace.limit + pace.owed).saturating_sub(self.slots.available_permits())
    }

    fn slot(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Slot {
        Slot { limiter: self.clone(), permit: Some(permit), given_at: Instant::now() }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().expect("no code panics under this lock")
    }
}

// === impl Slot ===

impl Slot {
    /// The endpoint serves.
    pub(super) fn good(&self) {
        let mut pace = self.limiter.pace();
        if pace.throttled_at.is_some_and(|at| at < self.given_at) {
            pace.pause = PAUSE_MIN;
        }
        if pace.limit == self.limiter.slots_max {
            return;
        }
        pace.good += 1;
        if pace.good >= pace.limit {
            (pace.good, pace.limit) = (0, pace.limit + 1);
            if pace.owed > 0 {
                pace.owed -= 1;
            } else {
                self.limiter.slots.add_permits(1);
            }
        }
    }

    /// The endpoint throttles; `retry_after` is what it asked for.
    pub(super) fn throttled(&self, retry_after: Option<Duration>) {
        let mut pace = self.limiter.pace();
        let now = Instant::now();
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        pace.resume_at = pace.resume_at.max(now + asked);
        if pace.throttled_at.is_some_and(|at| self.given_at <= at) {
            return;
        }
        pace.throttled_at = Some(now);
        pace.resume_at = pace.resume_at.max(now + pace.pause);
        pace.pause = (2 * pace.pause).min(PAUSE_MAX);
        let slots = &self.limiter.slots;
        let in_use = (pace.limit + pace.owed).saturating_sub(slots.available_permits());
        let limit = (in_use.min(pace.limit) / 2).max(1);
        let surplus = pace.limit - limit;
        pace.owed += surplus - slots.forget_permits(surplus);
        (pace.limit, pace.good) = (limit, 0);
        tracing::debug!(limit, pause = ?pace.resume_at - now, "the store throttles");
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut pace = self.limiter.pace();
        let permit = self.permit.take().expect("taken only here");
        if pace.owed > 0 {
            pace.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn throttling_halves_once_a_window_and_good_answers_give_back() {
        let limiter = Limiter::new(16);
        let mut slots = Vec::new();
        for _ in 0..12 {
            slots.push(limiter.acquire().await);
        }
        for slot in &slots {
            slot.throttled(None);
        }
        assert_eq!((limiter.limit(), limiter.taken()), (6, 12), "half of those in use, once");
        assert!(limiter.is_throttling() && limiter.try_acquire().is_none());
        slots.truncate(6);
        assert_eq!(limiter.taken(), 6);
        let begun = Instant::now();
        drop(slots.pop());
        let next = limiter.acquire().await;
        assert_eq!(begun.elapsed(), PAUSE_MIN, "nothing is sent in the pause");
        next.throttled(None);
        assert_eq!(limiter.limit(), 3);
        drop((slots, next));
        let begun = Instant::now();
        for limit in 3..16 {
            assert_eq!(limiter.limit(), limit);
            for _ in 0..limit {
                limiter.acquire().await.good();
            }
        }
        assert_eq!((limiter.limit(), limiter.taken()), (16, 0));
        assert_eq!(begun.elapsed(), 2 * PAUSE_MIN, "the second pause was longer");
        tokio::time::advance(THROTTLED_FOR).await;
        let all: Vec<_> = (0..16).map(|_| limiter.try_acquire().expect("all are back")).collect();
        assert!(limiter.try_acquire().is_none());
        drop(all);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_heeded_and_bounded() {
        for (asked, waited) in [(1, 1), (3600, 5)] {
            let limiter = Limiter::new(4);
            limiter.acquire().await.throttled(Some(Duration::from_secs(asked)));
            let begun = Instant::now();
            drop(limiter.acquire().await);
            assert_eq!(begun.elapsed(), Duration::from_secs(waited));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_the_queue_takes_nothing_along() {
        let limiter = Limiter::new(1);
        let first = limiter.acquire().await;
        let mut leaving = Box::pin(limiter.acquire());
        let mut staying = Box::pin(limiter.acquire());
        assert!(
            futures_util::poll!(&mut leaving).is_pending() && futures_util::poll!(&mut staying).is_pending()
        );
        drop(first);
        assert!(limiter.try_acquire().is_none(), "it is somebody's already");
        drop(leaving);
        drop(staying.await);
        first_come(&limiter).await;
    }

    async fn first_come(limiter: &Arc<Limiter>) {
        // In the pause, too, a waiting request that is dropped gives its slot back.
        limiter.acquire().await.throttled(None);
        let mut waiting = Box::pin(limiter.acquire());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
        assert_eq!(limiter.taken(), 0);
    }
}
