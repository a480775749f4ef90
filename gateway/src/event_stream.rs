//! What streams of server-sent events have in common (WHATWG HTML §9.2).

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::Response;
use http::header::{self, HeaderMap, HeaderValue};

use crate::delivery::body::Payload;
use crate::respond::Problem;

/// A comment goes out when nothing happens for so long: proxies take a silent connection for a dead one.
pub(crate) const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// The answer that is this stream.
pub(crate) fn response(events: impl Stream<Item = Bytes> + Send + 'static) -> Response<Payload> {
    let mut response = Response::new(Payload::Stream(Box::pin(events)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds back what it proxies, unless it is told.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// The last event that the client has heard, if it has heard any.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let value = headers.get("last-event-id").map(|value| value.to_str().map_err(|_| Problem::BadEventId));
    value.transpose()
}
