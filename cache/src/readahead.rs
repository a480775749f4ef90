//! How far a reader's fills run in front of it.
//!
//! A reader starts with one small run, so that a seek that reads little costs little. Each run that it reads
//! through widens its window four times; a fast sequential reader ends with [`WINDOW_BYTES_MAX`] under way in runs of
//! [`RUN_BYTES_MAX`], which is several origin connections at once. A seek is a new reader, and starts small.
//!
//! But no window is wider than what its reader takes in some two seconds ([`Appetite`]): a viewer fills a buffer in a
//! burst, and then takes what is played, and what lies far ahead of him when he seeks or leaves was read for nothing.
//!
//! The numbers come from the model in this file's tests, and `make cold-seek` measures them: from an origin
//! with 30 ms to the first byte and 50 MB/s a connection, a cold 100 MB takes 21 requests and arrives at 3.3
//! connections' worth. Whoever leaves after 2 or 5 MiB leaves 5.5 and 4.9 MiB unread; without the appetite it was 15 and 12.

use std::time::Duration;

use tokio::time::Instant;

/// The first run.
pub(crate) const RUN_BYTES_MIN: u64 = 256 * 1024;
/// A read that ends within this many bytes gets them in one run: the client asked for just these.
pub(crate) const WHOLE_BYTES_MAX: u64 = 1024 * 1024;
/// The longest run: long enough that its first-byte latency is small beside its transfer, and that origin
/// requests stay few.
pub(crate) const RUN_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The furthest that fills run ahead of one reader, and so the most that a paused reader holds.
pub(crate) const WINDOW_BYTES_MAX: u64 = 48 * 1024 * 1024;
/// By how much a window widens: while little lies ahead, each step costs a round trip.
const GROWTH: u64 = 4;
/// A window holds this many runs, so that while one is read the next ones are under way.
const RUNS_PER_WINDOW: u64 = 3;
/// A reader that takes little may still have this much under way.
const APPETITE_BYTES_MIN: u64 = 1024 * 1024;
/// How many times what it took lately a reader may have under way, if it had to wait for bytes.
const APPETITE_FACTOR: u64 = 3;
/// And if it had not: it is as fast as it wants to be.
const SATED_FACTOR: u64 = 1;
/// Lately is this long ago, or up to twice as long.
const LATELY: Duration = Duration::from_secs(1);

/// The first run of a reader that wants `wanted` bytes.
pub(crate) fn first_run_bytes(wanted: u64) -> u64 {
    if wanted <= WHOLE_BYTES_MAX { wanted } else { RUN_BYTES_MIN }
}

/// How much a reader takes, from what it took lately.
#[derive(Debug)]
pub(crate) struct Appetite {
    current: Span,
    before: Span,
}

/// A span of time.
#[derive(Debug, Clone, Copy)]
struct Span {
    began: Instant,
    /// Where the reader was then.
    position: u64,
    /// Whether it had to wait since.
    waited: bool,
}

/// The window of one sequential reader.
#[derive(Debug)]
pub(crate) struct Window {
    bytes: u64,
    read: u64,
}

// === impl Appetite ===

impl Appetite {
    pub(crate) fn new(now: Instant, position: u64) -> Self {
        let span = Span { began: now, position, waited: false };
        Self { current: span, before: span }
    }

    /// The reader has to wait for bytes.
    pub(crate) fn waits(&mut self) {
        self.current.waited = true;
    }

    /// How much may be under way for a reader that is at `position` now.
    pub(crate) fn bytes(&mut self, now: Instant, position: u64) -> u64 {
        if now.duration_since(self.current.began) >= LATELY {
            (self.before, self.current) = (self.current, Span { began: now, position, waited: false });
        }
        let waited = self.before.waited || self.current.waited;
        let factor = if waited { APPETITE_FACTOR } else { SATED_FACTOR };
        APPETITE_BYTES_MIN + factor * (position - self.before.position)
    }
}

// === impl Window ===

impl Window {
    pub(crate) fn new() -> Self {
        Self { bytes: RUN_BYTES_MIN, read: 0 }
    }

    /// The reader went `bytes` further.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.read += bytes;
        while self.read >= self.run_bytes() && self.bytes < WINDOW_BYTES_MAX {
            self.read -= self.run_bytes();
            self.bytes = (self.bytes * GROWTH).min(WINDOW_BYTES_MAX);
        }
    }

    /// How far ahead of the reader bytes should be under way.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How long the next run should be.
    pub(crate) fn run_bytes(&self) -> u64 {
        (self.bytes / RUNS_PER_WINDOW).clamp(RUN_BYTES_MIN, RUN_BYTES_MAX)
    }

    /// This window for now, if the reader may have only `bytes_max` under way.
    pub(crate) fn within(&self, bytes_max: u64) -> Self {
        Self { bytes: self.bytes.min(bytes_max), read: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_start_small_grow_and_stay_bounded() {
        let mut window = Window::new();
        assert_eq!((window.bytes(), window.run_bytes()), (RUN_BYTES_MIN, RUN_BYTES_MIN));
        window.advance(RUN_BYTES_MIN - 1);
        assert_eq!(window.bytes(), RUN_BYTES_MIN);
        window.advance(1);
        assert_eq!(window.bytes(), 4 * RUN_BYTES_MIN);
        for _ in 0..1000 {
            let before = window.bytes();
            window.advance(RUN_BYTES_MIN);
            assert!(window.bytes() <= GROWTH * before, "no leaps");
        }
        assert_eq!((window.bytes(), window.run_bytes()), (WINDOW_BYTES_MAX, RUN_BYTES_MAX));
    }

    #[test]
    fn a_reader_that_takes_little_has_little_ahead() {
        let began = Instant::now();
        let mut appetite = Appetite::new(began, 100);
        let mib = 1 << 20;
        appetite.waits();
        let mut at = |millis, position| appetite.bytes(began + Duration::from_millis(millis), position);
        assert_eq!(at(0, 100), APPETITE_BYTES_MIN);
        assert_eq!(at(200, 100 + 5 * mib), APPETITE_BYTES_MIN + 15 * mib, "a burst");
        assert_eq!(at(1200, 100 + 6 * mib), APPETITE_BYTES_MIN + 18 * mib, "not long ago");
        assert_eq!(at(2300, 100 + 7 * mib), APPETITE_BYTES_MIN + mib, "it is over, and it did not wait");
        assert_eq!(at(9000, 100 + 7 * mib), APPETITE_BYTES_MIN, "a pause");
    }

    /// A model of the origin: what the header promises.
    #[test]
    fn a_cold_sequential_read_gets_three_connections_worth() {
        const TOTAL: u64 = 100_000_000;
        let (latency_us, bytes_per_us) = (31_000, 50);
        let (mut window, mut runs) = (Window::new(), Vec::<(u64, u64, u64)>::new());
        let (mut now_us, mut position, mut scheduled) = (0_u64, 0_u64, 0_u64);
        let began = Instant::now();
        let mut appetite = Appetite::new(began, 0);
        while position < TOTAL {
            let now = began + Duration::from_micros(now_us);
            appetite.waits();
            let wide = window.within(appetite.bytes(now, position));
            while scheduled < TOTAL
                && position + wide.bytes() >= scheduled + wide.run_bytes().min(TOTAL - scheduled)
            {
                let end = (scheduled + wide.run_bytes()).min(TOTAL);
                runs.push((scheduled, end, now_us));
                scheduled = end;
            }
            now_us += 500;
            for (start, end, asked_us) in &runs {
                if (*start..*end).contains(&position) {
                    let landed = now_us.saturating_sub(asked_us + latency_us) * bytes_per_us;
                    let reached = (start + landed).min(*end).max(position);
                    window.advance(reached - position);
                    position = reached;
                }
            }
        }
        let one_connection_us = latency_us + TOTAL / bytes_per_us;
        assert!(now_us * 3 <= one_connection_us, "took {now_us} us; one connection {one_connection_us} us");
        assert!(TOTAL / runs.len() as u64 >= 4 << 20, "{} requests", runs.len());
    }
}
