//! How many requests an HTTP/2 connection may have open. Each open one takes memory that no budget pays for, also when
//! it is refused, so their number is bounded for all connections together.
//!
//! A connection is told at its start (`SETTINGS_MAX_CONCURRENT_STREAMS`), and cannot be told another number later. So
//! each takes a part of what is left: the first ones as many as anybody asks for, and when nearly all is taken,
//! [`STREAMS_MIN`], which are nobody else's.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that one connection may have open. RFC 9113 §6.5.2 recommends not less than 100.
const STREAMS_MAX: u32 = 128;
/// What a connection has in the worst case: about what browsers open connections for by HTTP/1, six.
const STREAMS_MIN: u32 = 4;
/// Shared streams for each connection that may be open: few connections of so many are HTTP/2 with much to ask.
const SHARED_PER_CONNECTION: usize = 4;
/// A connection takes at most this fraction of what is left.
const FREE_FRACTION: usize = 8;
/// Open requests for each connection that may be open, on average, in the worst case.
pub(crate) const STREAMS_PER_CONNECTION: usize = SHARED_PER_CONNECTION + STREAMS_MIN as usize;

/// What is left to share.
#[derive(Debug, Clone)]
pub(super) struct StreamPlaces(Arc<Semaphore>);

/// One connection's places, until dropped.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) count: u32,
    _shared: Option<OwnedSemaphorePermit>,
}

// === impl StreamPlaces ===

impl StreamPlaces {
    pub(super) fn new(connections_max: usize) -> Self {
        let shared = connections_max.saturating_mul(SHARED_PER_CONNECTION);
        Self(Arc::new(Semaphore::new(shared.min(Semaphore::MAX_PERMITS))))
    }

    pub(super) fn take(&self) -> Places {
        let free = self.0.available_permits() / FREE_FRACTION;
        let wanted = u32::try_from(free).unwrap_or(u32::MAX).min(STREAMS_MAX - STREAMS_MIN);
        // Another thread may have been quicker, and then little is left.
        let shared = self.0.clone().try_acquire_many_owned(wanted).ok();
        let count = STREAMS_MIN + if shared.is_some() { wanted } else { 0 };
        Places { count, _shared: shared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_as_many_as_they_like_until_there_are_many_and_never_more_than_all() {
        let places = StreamPlaces::new(1000);
        let taken: Vec<Places> = (0..1000).map(|_| places.take()).collect();
        assert_eq!((taken[0].count, taken[999].count), (STREAMS_MAX, STREAMS_MIN));
        let sum: usize = taken.iter().map(|places| places.count as usize).sum();
        assert!(sum <= 1000 * STREAMS_PER_CONNECTION, "{sum}");
        drop(taken);
        assert_eq!(places.take().count, STREAMS_MAX);
    }
}
