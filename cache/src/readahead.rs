//! How far a reader's fills run in front of it.
//!
//! A reader starts with one small run, so that a seek that reads little costs little. Each run that it reads
//! through widens its window four times; a fast sequential reader ends with [`WINDOW_BYTES_MAX`] under way in runs of
//! [`RUN_BYTES_MAX`], which is several origin connections at once. A seek is a new reader, and starts small.
//!
//! But no window is wider than what its reader's [`Appetite`] allows: a viewer fills a buffer in a burst, and then takes
//! what is played, and what lies far ahead of him when he seeks or leaves was read for nothing. A burst of a few
//! megabytes is what a player does, and gets half as much ahead; who took tens of megabytes at once is no player; and
//! who still waits after a quarter of a second gets twice as much with every further one, however slow the origin.
//!
//! The numbers come from the model in this file's tests, and `make cold-seek` measures them: from an origin
//! with 30 ms to the first byte and 50 MB/s a connection, a cold 100 MB takes 23 requests and arrives at 3.4
//! connections' worth; from one with 300 ms, and from one with 1 s, it arrives as early as with an open window. Whoever
//! leaves after 2, 5 or 7 MB leaves 2.6, 4.0 and 7.0 MB unread. Viewers who seek every fifteen seconds of film made the
//! origin send 1.06 bytes for each that they took; with three times what was taken in two seconds it was 1.49.

use std::time::Duration;

use tokio::time::Instant;

/// The first run.
pub(crate) const RUN_BYTES_MIN: u64 = 256 * 1024;
/// A read that ends within this many bytes gets them in one run: the client asked for just these.
pub(crate) const WHOLE_BYTES_MAX: u64 = 1024 * 1024;
/// The longest run: long enough that its first-byte latency is small beside its transfer, and that origin
/// requests stay few. In runs of 8 MiB the film of the model arrives at 3.1 connections' worth, in these at 3.6.
pub(crate) const RUN_BYTES_MAX: u64 = 6 * 1024 * 1024;
/// The furthest that fills run ahead of one reader, and so the most that a paused reader holds.
pub(crate) const WINDOW_BYTES_MAX: u64 = 48 * 1024 * 1024;
/// By how much a window widens: while little lies ahead, each step costs a round trip.
const GROWTH: u64 = 4;
/// A window holds this many runs, so that while one is read the next one is under way. With three, a cold film took more
/// than one request for each 4 MiB.
const RUNS_PER_WINDOW: u64 = 2;
/// A reader that takes little may still have this much under way.
const APPETITE_BYTES_MIN: u64 = 1024 * 1024;
/// A reader that took so much lately is no player that fills its buffer: one of 4 Mbit/s takes 5 MB for ten seconds.
const BURST_BYTES: u64 = 6 * 1024 * 1024;
/// Lately is this long ago, or up to twice as long.
const LATELY: Duration = Duration::from_millis(250);
/// Who need not wait may have this share of what it took lately under way: one part in so many.
const SATED_SHARE: u64 = 2;
/// By then any reader may have as much under way as its window allows.
const HUNGRY_SPANS_MAX: u32 = 8;

/// The first run of a reader that wants `wanted` bytes.
pub(crate) fn first_run_bytes(wanted: u64) -> u64 {
    if wanted <= WHOLE_BYTES_MAX { wanted } else { RUN_BYTES_MIN }
}

/// How much a reader takes, from what it took lately.
#[derive(Debug)]
pub(crate) struct Appetite {
    current: Span,
    before: Span,
    /// Spans in a row in which the reader had to wait.
    hungry_spans: u32,
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
        Self { current: span, before: span, hungry_spans: 0 }
    }

    /// The reader has to wait for bytes.
    pub(crate) fn waits(&mut self) {
        self.current.waited = true;
    }

    /// How much may be under way for a reader that is at `position` now.
    pub(crate) fn bytes(&mut self, now: Instant, position: u64) -> u64 {
        if now.duration_since(self.current.began) >= LATELY {
            let hungry = if self.current.waited { self.hungry_spans + 1 } else { 0 };
            self.hungry_spans = hungry.min(HUNGRY_SPANS_MAX);
            (self.before, self.current) = (self.current, Span { began: now, position, waited: false });
        }
        let taken = position - self.before.position;
        let waited = self.before.waited || self.current.waited;
        // Who need not wait is as fast as it wants to be.
        let more =
            if waited { taken / 2 + taken.saturating_mul(taken) / BURST_BYTES } else { taken / SATED_SHARE };
        APPETITE_BYTES_MIN + more.saturating_mul(1 << self.hungry_spans)
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
        assert_eq!(at(100, 100 + 3 * mib), APPETITE_BYTES_MIN + 3 * mib, "a burst: half, and 9 / 6 MiB");
        assert_eq!(
            at(300, 100 + 3 * mib),
            APPETITE_BYTES_MIN + 6 * mib,
            "the first span is over, and it waited"
        );
        assert_eq!(at(560, 100 + 4 * mib), APPETITE_BYTES_MIN + mib / 2, "now it does not wait");
        assert_eq!(at(9000, 100 + 4 * mib), APPETITE_BYTES_MIN, "a pause");
    }

    #[test]
    fn a_reader_that_always_waits_ends_with_its_whole_window() {
        let began = Instant::now();
        let mut appetite = Appetite::new(began, 0);
        let mut hungriest = 0;
        for span in 0..12 {
            // 400 kB/s: less than a window of 1 MiB gives over an origin that is two seconds away.
            hungriest = appetite.bytes(began + span * LATELY, u64::from(span) * 100_000);
            appetite.waits();
        }
        assert!(hungriest > 12 * 1024 * 1024, "{hungriest}");
    }

    /// What the header promises.
    #[test]
    fn a_cold_sequential_read_gets_three_connections_worth() {
        let (taken_us, runs) = read_through(31_000);
        let one_connection_us = 31_000 + TOTAL / BYTES_PER_US;
        assert!(
            taken_us * 34 <= one_connection_us * 10,
            "took {taken_us} us; one connection {one_connection_us} us"
        );
        assert!(TOTAL / runs >= 4 << 20, "{runs} requests");
        // Some round trips to widen the window, and from then on the window's worth in each.
        for latency_us in [300_000, 1_000_000] {
            let (taken_us, _) = read_through(latency_us);
            assert!(taken_us < 8 * latency_us, "{taken_us} us");
        }
    }

    const TOTAL: u64 = 100_000_000;
    const BYTES_PER_US: u64 = 50;

    /// A model of an origin: how long a film takes, in microseconds, and how many runs.
    fn read_through(latency_us: u64) -> (u64, u64) {
        let (mut window, mut runs) = (Window::new(), Vec::<(u64, u64, u64)>::new());
        let (mut now_us, mut position, mut scheduled) = (0_u64, 0_u64, 0_u64);
        let began = Instant::now();
        let mut appetite = Appetite::new(began, 0);
        while position < TOTAL {
            let now = began + Duration::from_micros(now_us);
            let wide = window.within(appetite.bytes(now, position));
            appetite.waits();
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
                    let landed = now_us.saturating_sub(asked_us + latency_us) * BYTES_PER_US;
                    let reached = (start + landed).min(*end).max(position);
                    window.advance(reached - position);
                    position = reached;
                }
            }
        }
        (now_us, runs.len() as u64)
    }
}
