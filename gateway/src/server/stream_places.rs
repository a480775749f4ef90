//! How many requests an HTTP/2 connection may have open, and how much of their bodies it may send before they are read.
//! Either takes memory that no budget pays for, also when a request is refused, so both are bounded for all connections
//! together.
//!
//! A connection is told at its start (`SETTINGS_MAX_CONCURRENT_STREAMS`, `SETTINGS_INITIAL_WINDOW_SIZE`), and hyper cannot
//! tell it another number later, but for its `adaptive_window`: that goes to 16 MiB, whatever is left, and a client leads it
//! there by answering PINGs late. So each takes a part of what is left: the first ones as much as anybody asks for, and
//! when nearly all is taken, [`STREAMS_MIN`] and [`WINDOW_BYTES_MIN`], which are nobody else's.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that one connection may have open. RFC 9113 §6.5.2 recommends not less than 100.
const STREAMS_MAX: u32 = 128;
/// What a connection has in the worst case: about what browsers open connections for by HTTP/1, six.
const STREAMS_MIN: u32 = 4;
/// Shared streams for each connection that may be open: few connections of so many are HTTP/2 with much to ask.
const SHARED_PER_CONNECTION: usize = 4;
/// What is told to every connection before it is told anything (RFC 9113 §6.9.2), and to be counted on.
pub(crate) const WINDOW_BYTES_MIN: usize = 65_535;
/// For each of a connection's streams, and for all of them. Measured with 50 MiB from a client 100 ms away (debug build): the
/// smallest, above a receive buffer of 16 KiB, 0.16 MB/s; 1 MiB 6.2, and 2 MiB 10.8, which half as many connections could
/// have.
const WINDOW_BYTES_MAX: u32 = 1024 * 1024;
/// A connection takes at most this fraction of what is left.
const FREE_FRACTION: usize = 8;
/// Open requests for each connection that may be open, on average, in the worst case.
pub(crate) const STREAMS_PER_CONNECTION: usize = SHARED_PER_CONNECTION + STREAMS_MIN as usize;

/// What is left to share.
#[derive(Debug, Clone)]
pub(super) struct StreamPlaces {
    streams: Arc<Semaphore>,
    window_bytes: Arc<Semaphore>,
}

/// One connection's places, until dropped.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) count: u32,
    /// Of each stream, and of the connection.
    pub(super) window_bytes: u32,
    _shared: [Option<OwnedSemaphorePermit>; 2],
}

// === impl StreamPlaces ===

impl StreamPlaces {
    /// For so many connections, with `window_bytes` of windows beyond what each has.
    pub(super) fn new(connections_max: usize, window_bytes: usize) -> Self {
        let shared = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self {
            streams: shared(connections_max.saturating_mul(SHARED_PER_CONNECTION)),
            window_bytes: shared(window_bytes),
        }
    }

    pub(super) fn take(&self) -> Places {
        let window_bytes_min = u32::try_from(WINDOW_BYTES_MIN).expect("a constant");
        let (streams, shared_streams) = part_of(&self.streams, STREAMS_MAX - STREAMS_MIN);
        let (window_bytes, shared_window) = part_of(&self.window_bytes, WINDOW_BYTES_MAX - window_bytes_min);
        Places {
            count: STREAMS_MIN + streams,
            window_bytes: window_bytes_min + window_bytes,
            _shared: [shared_streams, shared_window],
        }
    }
}

/// As much as one connection takes of what is left, and `most` at most.
fn part_of(shared: &Arc<Semaphore>, most: u32) -> (u32, Option<OwnedSemaphorePermit>) {
    let free = shared.available_permits() / FREE_FRACTION;
    let wanted = u32::try_from(free).unwrap_or(u32::MAX).min(most);
    // Another thread may have been quicker, and then little is left.
    let taken = shared.clone().try_acquire_many_owned(wanted).ok();
    (if taken.is_some() { wanted } else { 0 }, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_as_many_as_they_like_until_there_are_many_and_never_more_than_all() {
        const WINDOWS: usize = 64 << 20;
        let places = StreamPlaces::new(1000, WINDOWS);
        let taken: Vec<Places> = (0..1000).map(|_| places.take()).collect();
        assert_eq!((taken[0].count, taken[999].count), (STREAMS_MAX, STREAMS_MIN));
        let sum: usize = taken.iter().map(|places| places.count as usize).sum();
        assert!(sum <= 1000 * STREAMS_PER_CONNECTION, "{sum}");
        let windows: Vec<usize> = taken.iter().map(|places| places.window_bytes as usize).collect();
        assert_eq!((windows[0], windows[999]), (WINDOW_BYTES_MAX as usize, WINDOW_BYTES_MIN));
        let sum: usize = windows.iter().sum();
        assert!(sum <= WINDOWS + 1000 * WINDOW_BYTES_MIN, "{sum}");
        drop(taken);
        let again = places.take();
        assert_eq!((again.count, again.window_bytes), (STREAMS_MAX, WINDOW_BYTES_MAX));
        assert_eq!(StreamPlaces::new(1000, 0).take().window_bytes as usize, WINDOW_BYTES_MIN);
    }
}
