//! Whether an endpoint is worth asking.
//!
//! After [`FAILURES_MAX`] failures in a row it is not, for a while; then one request is let through to see, and
//! its success ends the trouble. A request that nobody waits for any more needs no cleaning up: the next one is
//! let through a pause later in any case.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::Error;

/// One failure is chance, and two may be two of the same moment.
const FAILURES_MAX: u32 = 3;
/// The pause before the first look, and between the later ones: twice as long each time, up to the last.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    failures: u32,
    /// Of an endpoint in trouble: when it is looked at next, how long after that again, and what it last did.
    trouble: Option<(Instant, Duration, Error)>,
}

/// What a request may do.
#[derive(Debug)]
pub(super) enum Admission {
    /// Ask: all is well.
    Well,
    /// Ask: the endpoint was in trouble, and this is the one request that finds out whether it still is.
    Look,
    /// Do not ask: the endpoint failed so.
    No(Error),
}

// === impl Breaker ===

impl Breaker {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { failures: 0, trouble: None }) }
    }

    pub(super) fn admit(&self) -> Admission {
        match &mut self.state().trouble {
            None => Admission::Well,
            Some((look_at, pause, _)) if *look_at <= Instant::now() => {
                *pause = (2 * *pause).min(PAUSE_MAX);
                *look_at = Instant::now() + *pause;
                Admission::Look
            }
            Some((.., error)) => Admission::No(error.clone()),
        }
    }

    /// Whether requests are turned away.
    pub(super) fn is_open(&self) -> bool {
        self.state().trouble.is_some()
    }

    /// The endpoint answered; true if that is news.
    pub(super) fn succeeded(&self) -> bool {
        let mut state = self.state();
        state.failures = 0;
        state.trouble.take().is_some()
    }

    /// The endpoint failed; true if it is in trouble from now on.
    pub(super) fn failed(&self, error: &Error) -> bool {
        let mut state = self.state();
        state.failures += 1;
        if let Some((.., last)) = &mut state.trouble {
            last.clone_from(error);
            return false;
        }
        let is_news = state.failures >= FAILURES_MAX;
        if is_news {
            state.trouble = Some((Instant::now() + PAUSE_MIN, PAUSE_MIN, error.clone()));
        }
        is_news
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_is_looked_at_by_one_at_a_time_and_ends_with_a_success() {
        let (breaker, error) = (Breaker::new(), Error::Timeout("test"));
        let well = |breaker: &Breaker| matches!(breaker.admit(), Admission::Well);
        assert!(!breaker.failed(&error) && !breaker.failed(&error) && !breaker.succeeded());
        assert!(!breaker.failed(&error) && !breaker.failed(&error) && well(&breaker), "not in a row");
        assert!(breaker.failed(&error) && breaker.is_open());
        for pause in [1, 2, 4, 8, 15, 15] {
            tokio::time::advance(Duration::from_secs(pause) - Duration::from_millis(1)).await;
            assert!(matches!(breaker.admit(), Admission::No(Error::Timeout("test"))), "{pause}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(matches!(breaker.admit(), Admission::Look), "{pause}");
            assert!(matches!(breaker.admit(), Admission::No(_)), "one looks");
            assert!(!breaker.failed(&error), "no news");
        }
        assert!(breaker.succeeded() && well(&breaker) && !breaker.is_open());
        assert!(!breaker.failed(&error) && well(&breaker), "counted anew");
    }
}
