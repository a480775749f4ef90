//! The ids that requests are told apart by, in answers and in the log.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderValue, Request};
use tower_http::request_id::{MakeRequestId, RequestId};

/// Ids that are unique across restarts and replicas, and cheap.
#[derive(Clone)]
pub(crate) struct RequestIds {
    prefix: u32,
    next: Arc<AtomicU64>,
}

// === impl RequestIds ===

impl RequestIds {
    pub(crate) fn new() -> Self {
        let random = RandomState::new().hash_one(std::process::id()) >> 32;
        Self { prefix: u32::try_from(random).expect("32 bits are left"), next: Arc::default() }
    }
}

impl MakeRequestId for RequestIds {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let id = format!("{:08x}-{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        HeaderValue::from_str(&id).ok().map(RequestId::new)
    }
}
