//! A second request when the first is late.
//!
//! A read that has not brought its first byte when [`Hedging::quantile`] of the recent ones had is asked again,
//! and whichever answers first is used; the other is dropped. A store's slow minority so costs two ordinary
//! latencies at most, for one more request in every twenty or so.
//!
//! The budget bounds that: every read earns a part of a hedge, and without a whole one there is none. When
//! all of a store gets slow, hedges only make it slower, and the budget keeps them a small share.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use tokio::time::{Instant, timeout};

use crate::Error;

/// Answers of one operation that the quantile is taken over: few enough to follow a store whose latency
/// changes within seconds, enough that a quantile of 0.95 is that of a dozen slow ones.
const RECENT: usize = 256;
/// No hedge before so many answers: a quantile of fewer is chance.
const RECENT_MIN: usize = 32;
/// A hedge can be early by the difference between a slow answer and a usual one. Where that is less than this,
/// as for the later half of a store that is always on time, it is not worth a request.
const GAIN_MIN: Duration = Duration::from_millis(5);
/// Where more answers are slow than the quantile leaves out, the quantile itself is slow, and a hedge after it comes
/// too late to help: so many medians are late enough. The budget says how many of those are asked again.
const LATE_MEDIANS: u32 = 3;
/// Hedges that can be saved up.
const SAVED_MAX: f64 = 10.0;

/// When to ask twice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hedging {
    /// The quantile of recent times to the first byte after which a read is asked again, such as 0.95.
    pub quantile: f64,
    /// Hedges for each read, at most, such as 0.05.
    pub budget: f64,
}

/// Which reads are compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Head,
    Get,
}

/// What one endpoint's hedges are decided by.
#[derive(Debug)]
pub(super) struct Hedger {
    hedging: Hedging,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    heads: Recent,
    gets: Recent,
    saved: f64,
    tally: Hedges,
}

/// What became of hedges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hedges {
    /// Whose answer was used, because it was there earlier or the only one.
    pub won: u64,
    /// That were not sent, because too many had been.
    pub denied: u64,
}

/// A ring of the last times to the first byte.
#[derive(Debug, Default)]
struct Recent {
    times: Vec<Duration>,
    next: usize,
}

// === impl Hedger ===

impl Hedger {
    pub(super) fn new(hedging: Hedging) -> Self {
        Self { hedging, books: Mutex::default() }
    }

    /// The answer of `first`, or that of what `second` starts if that is there earlier. What `is_answer` says no
    /// to is waited past as long as the other may bring better. `second` may have nothing to start.
    pub(super) async fn race<'a, T>(
        &self,
        kind: Kind,
        is_answer: fn(&Result<T, Error>) -> bool,
        first: impl Future<Output = Result<T, Error>>,
        second: impl FnOnce() -> Option<BoxFuture<'a, Result<T, Error>>>,
    ) -> Result<T, Error> {
        let (begun, mut first) = (Instant::now(), pin!(first));
        let answered = |answer: &Result<T, Error>| {
            if is_answer(answer) {
                self.books().of(kind).record(begun.elapsed());
            }
        };
        let patience = self.begin(kind);
        if let Some(patience) = patience
            && let Ok(answer) = timeout(patience, &mut first).await
        {
            answered(&answer);
            return answer;
        }
        let hedge = patience.filter(|_| self.spend()).and_then(|_| {
            let second = second();
            if second.is_none() {
                self.books().saved += 1.0;
            }
            second
        });
        let Some(second) = hedge else {
            let answer = first.await;
            answered(&answer);
            return answer;
        };
        match select(first, second).await {
            Either::Left((answer, second)) => {
                answered(&answer);
                if is_answer(&answer) {
                    return answer;
                }
                let other = second.await;
                if !is_answer(&other) {
                    return answer;
                }
                self.books().tally.won += 1;
                other
            }
            Either::Right((other, first)) => {
                if is_answer(&other) {
                    // The first would have taken longer still; leaving it out would make the store look fast.
                    answered(&other);
                    self.books().tally.won += 1;
                    return other;
                }
                let answer = first.await;
                answered(&answer);
                answer
            }
        }
    }

    /// Counts a read in, and says how long to wait for it before there is a second one.
    fn begin(&self, kind: Kind) -> Option<Duration> {
        let mut books = self.books();
        books.saved = (books.saved + self.hedging.budget).min(SAVED_MAX);
        books.of(kind).patience(self.hedging.quantile)
    }

    fn spend(&self) -> bool {
        let mut books = self.books();
        let enough = books.saved >= 1.0;
        if enough {
            books.saved -= 1.0;
        } else {
            books.tally.denied += 1;
        }
        enough
    }

    pub(super) fn tally(&self) -> Hedges {
        self.books().tally
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no code panics under this lock")
    }
}

// === impl Books ===

impl Books {
    fn of(&mut self, kind: Kind) -> &mut Recent {
        match kind {
            Kind::Head => &mut self.heads,
            Kind::Get => &mut self.gets,
        }
    }
}

// === impl Recent ===

impl Recent {
    fn record(&mut self, time: Duration) {
        if self.times.len() < RECENT {
            self.times.push(time);
        } else {
            self.times[self.next] = time;
            self.next = (self.next + 1) % RECENT;
        }
    }

    /// Two selections in 256 numbers, some microseconds beside the milliseconds of a request.
    fn patience(&self, quantile: f64) -> Option<Duration> {
        if self.times.len() < RECENT_MIN {
            return None;
        }
        let mut times = self.times.clone();
        let last = times.len() - 1;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index below 256 from a quantile below 1"
        )]
        let index = ((times.len() as f64 * quantile).ceil() as usize).min(last);
        let late = *times.select_nth_unstable(index).1;
        let usual = *times.select_nth_unstable(last / 2).1;
        Some(late.min(LATE_MEDIANS * usual).max(usual + GAIN_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::sleep;

    const USUAL: Duration = Duration::from_millis(30);
    const SLOW: Duration = Duration::from_millis(300);

    fn unavailable() -> Error {
        Error::Unavailable(Error::shared("test"))
    }

    async fn after<T>(time: Duration, answer: T) -> T {
        sleep(time).await;
        answer
    }

    fn is_ok<T>(answer: &Result<T, Error>) -> bool {
        answer.is_ok()
    }

    /// A hedger that knows the store, with nothing saved.
    async fn trained(quantile: f64, budget: f64) -> Hedger {
        let hedger = Hedger::new(Hedging { quantile, budget });
        for _ in 0..RECENT {
            hedger
                .race(Kind::Get, is_ok, after(USUAL, Ok(())), || panic!("too early"))
                .await
                .expect("answers");
        }
        hedger.books().saved = 0.0;
        hedger
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_answer_wins_and_a_failure_waits_for_the_other() {
        let hedger = trained(0.95, 1.0).await;
        let begun = Instant::now();
        let race = async |first: (Duration, Result<u8, Error>), second: (Duration, Result<u8, Error>)| {
            let begun = Instant::now();
            let second = || -> Option<BoxFuture<'_, _>> { Some(Box::pin(after(second.0, second.1))) };
            let answer = hedger.race(Kind::Get, is_ok, after(first.0, first.1), second).await;
            (answer.ok(), begun.elapsed())
        };
        let hedge_at = USUAL + GAIN_MIN;
        assert_eq!(race((SLOW, Ok(1)), (USUAL, Ok(2))).await, (Some(2), hedge_at + USUAL));
        assert_eq!(race((2 * USUAL, Ok(1)), (SLOW, Ok(2))).await, (Some(1), 2 * USUAL));
        assert_eq!(race((2 * USUAL, Err(unavailable())), (SLOW, Ok(2))).await, (Some(2), hedge_at + SLOW));
        assert_eq!(race((SLOW, Ok(1)), (USUAL, Err(unavailable()))).await, (Some(1), SLOW));
        let both = race((SLOW, Err(unavailable())), (USUAL, Err(unavailable()))).await;
        assert_eq!(both, (None, SLOW), "the first one's error, when it is sure that there is nothing better");
        assert!(begun.elapsed() > SLOW);
        assert_eq!(hedger.tally(), Hedges { won: 2, denied: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn hedges_are_at_most_their_share_of_the_reads_in_any_window() {
        let hedger = trained(0.5, 0.05).await;
        let sent = Cell::new(0_u32);
        let mut at = Vec::new();
        for _ in 0..2000 {
            // Four in ten would like one.
            let second = || -> Option<BoxFuture<'_, _>> {
                sent.set(sent.get() + 1);
                Some(Box::pin(after(SLOW, Ok(()))))
            };
            let latency = if at.len() % 5 < 2 { SLOW } else { USUAL };
            hedger.race(Kind::Get, is_ok, after(latency, Ok(())), second).await.expect("answers");
            at.push(sent.get());
        }
        assert!((95..=100).contains(&sent.get()), "{}", sent.get());
        for (reads, sent) in (1_u32..).zip(&at) {
            assert!(sent * 20 <= reads, "{sent} hedges in {reads} reads");
        }
        let in_200 = at.windows(201).map(|window| window[200] - window[0]).max().expect("windows");
        assert!(f64::from(in_200) <= 0.05 * 200.0 + SAVED_MAX, "{in_200} in 200");
        // All that were late by themselves were sent or denied; the hedges took just as long.
        assert_eq!(hedger.tally(), Hedges { won: 0, denied: 800 - u64::from(sent.get()) });
    }

    #[test]
    fn patience_is_a_quantile_within_bounds() {
        let patience = |slow: usize, latency: Duration| {
            let mut recent = Recent::default();
            for nth in 0..RECENT {
                recent.record(if nth < slow { latency } else { USUAL });
            }
            recent.patience(0.95).expect("there are enough")
        };
        assert_eq!(patience(0, SLOW), USUAL + GAIN_MIN, "later by nothing is not late");
        assert_eq!(patience(8, SLOW), USUAL + GAIN_MIN, "3 % do not reach the quantile");
        assert_eq!(patience(20, 2 * USUAL), 2 * USUAL, "this is what 95 of 100 need");
        assert_eq!(patience(20, SLOW), 3 * USUAL, "8 % are all that is slow");
        let mut few = Recent::default();
        (1..RECENT_MIN).for_each(|_| few.record(USUAL));
        assert_eq!(few.patience(0.95), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hedge_that_cannot_be_sent_is_not_spent() {
        let hedger = trained(0.95, 0.5).await;
        for _ in 0..3 {
            hedger.race(Kind::Get, is_ok, after(SLOW, Ok(())), || None).await.expect("answers");
        }
        assert!((hedger.books().saved - 1.5).abs() < 1e-9);
        // The other operation has not enough answers yet, however slow it is.
        hedger.race(Kind::Head, is_ok, after(SLOW, Ok(())), || panic!("too early")).await.expect("answers");
    }
}
