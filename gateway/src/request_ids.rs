//! The ids that requests are told apart by, in answers and in the log.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Where a request's id is, in a proxy's request and in our answer.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Ids that are unique across restarts and replicas, and cheap.
pub(crate) struct RequestIds {
    prefix: u32,
    next: AtomicU64,
}

// === impl RequestIds ===

impl RequestIds {
    pub(crate) fn new() -> Self {
        let random = RandomState::new().hash_one(std::process::id()) >> 32;
        Self { prefix: u32::try_from(random).expect("32 bits are left"), next: AtomicU64::new(0) }
    }

    /// The id of a request: a proxy's, or a new one.
    pub(crate) fn of(&self, request: &HeaderMap) -> HeaderValue {
        request.get(&REQUEST_ID).cloned().unwrap_or_else(|| {
            let id = format!("{:08x}-{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
            HeaderValue::from_maybe_shared(Bytes::from(id)).expect("hexadecimal digits")
        })
    }
}
