//! HTTP/1.1 and HTTP/2 as hyper is told to speak them, and the numbers.

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use tokio_util::task::TaskTracker;

use crate::config::Config;

/// Bytes of one response that wait in the connection before its reader is asked for more: one frame, so at most two
/// segments of it are held, one here and one in hyper's hand.
///
/// More does not pay. Measured with `h2load` over loopback, hot, CPU per request (median of three rounds, in turn):
/// 64 KiB on 10 connections with 100 streams: 1 byte 36 µs, 16 KiB 38, 64 KiB 36, 256 KiB 39.5, 400 KiB (hyper's
/// default) 38; 1 MiB on 16 connections with one: 425, 430, 410, 425, 405 µs.
///
/// What one connection of 100 streams costs is what becomes of its frames: see `gathered`.
///
/// By HTTP/1 it is the same, but not below the bound of a request head, for which hyper has no bound of its own. Its
/// default there is 408 KiB: then 10,000 paused clients want 2.5 GiB of segments.
const SEND_BYTES_MAX: usize = 16 * 1024;
/// Streams that were reset before we saw their request: more in one connection is an attack (rapid reset,
/// CVE-2023-44487), which is ended with `ENHANCE_YOUR_CALM`. Seeking players reset streams that are answered already.
const RESET_BEFORE_ACCEPT_MAX: usize = 20;
/// Streams that we had to reset for the client's mistakes, before the connection ends with them.
const RESET_FOR_ERRORS_MAX: usize = 128;

/// How to serve a connection of either kind. How much one of HTTP/2 may ask and send is told to each (`stream_places`).
#[derive(Clone)]
pub(super) struct Protocols {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<Streams>,
}

/// Runs the requests of HTTP/2 connections as tasks of their runtime's.
#[derive(Clone)]
pub(super) struct Streams(TaskTracker);

// === impl Protocols ===

impl Protocols {
    pub(super) fn new(config: &Config, tasks: TaskTracker) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .max_headers(config.listeners.headers_max)
            .max_header_size(config.listeners.header_bytes_max())
            .max_buf_size(config.listeners.header_bytes_max().max(SEND_BYTES_MAX))
            .header_read_timeout(None); // `GuardedStream` tells idle from slow; see there.
        let mut http2 = http2::Builder::new(Streams(tasks));
        http2
            .max_send_buf_size(SEND_BYTES_MAX)
            .max_header_list_size(u32::try_from(config.listeners.header_bytes_max()).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESET_BEFORE_ACCEPT_MAX)
            .max_local_error_reset_streams(RESET_FOR_ERRORS_MAX);
        Self { http1, http2 }
    }
}

// === impl Streams ===

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}
