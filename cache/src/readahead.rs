//! How far a reader's fills run in front of it.
//!
//! A reader starts with one small run, so that a seek that reads little costs little. Each run that it reads
//! through widens its window, four times while it is small and then twice; a fast sequential reader ends with [`WINDOW_BYTES_MAX`] under way in runs of
//! [`RUN_BYTES_MAX`], which is several origin connections at once. A seek is a new reader, and starts small.
//!
//! The numbers come from the model in this file's tests, and `make cold-seek` measures them: from an origin
//! with 30 ms to the first byte and 50 MB/s a connection, a cold 100 MB takes 23 requests and arrives at more
//! than three connections' worth. Doubling from the start took 27 requests and 5 % longer.

/// The first run.
pub(crate) const RUN_BYTES_MIN: u64 = 256 * 1024;
/// A read that ends within this many bytes gets them in one run: the client asked for just these.
pub(crate) const WHOLE_BYTES_MAX: u64 = 1024 * 1024;
/// The longest run: long enough that its first-byte latency is small beside its transfer, and that origin
/// requests stay few.
pub(crate) const RUN_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The furthest that fills run ahead of one reader, and so the most that a paused reader holds.
pub(crate) const WINDOW_BYTES_MAX: u64 = 48 * 1024 * 1024;
/// Below this a window quadruples: what lies ahead is still little, and each doubling costs a round trip.
const STEEP_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// A window holds this many runs, so that while one is read the next ones are under way.
const RUNS_PER_WINDOW: u64 = 4;

/// The first run of a reader that wants `wanted` bytes.
pub(crate) fn first_run_bytes(wanted: u64) -> u64 {
    if wanted <= WHOLE_BYTES_MAX { wanted } else { RUN_BYTES_MIN }
}

/// The window of one sequential reader.
#[derive(Debug)]
pub(crate) struct Window {
    bytes: u64,
    read: u64,
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
            let growth = if self.bytes < STEEP_BYTES_MAX { 4 } else { 2 };
            self.bytes = (self.bytes * growth).min(WINDOW_BYTES_MAX);
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
            let growth = if before < STEEP_BYTES_MAX { 4 } else { 2 };
            assert!(window.bytes() <= growth * before, "no leaps");
        }
        assert_eq!((window.bytes(), window.run_bytes()), (WINDOW_BYTES_MAX, RUN_BYTES_MAX));
    }

    /// A model of the origin: what the header promises.
    #[test]
    fn a_cold_sequential_read_gets_three_connections_worth() {
        const TOTAL: u64 = 100_000_000;
        let (latency_us, bytes_per_us) = (31_000, 50);
        let (mut window, mut runs) = (Window::new(), Vec::<(u64, u64, u64)>::new());
        let (mut now_us, mut position, mut scheduled) = (0_u64, 0_u64, 0_u64);
        while position < TOTAL {
            while scheduled < TOTAL
                && position + window.bytes() >= scheduled + window.run_bytes().min(TOTAL - scheduled)
            {
                let end = (scheduled + window.run_bytes()).min(TOTAL);
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
