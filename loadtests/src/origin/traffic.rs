//! What the origin saw: counters, and a log of requests.

use std::collections::VecDeque;

use http::{HeaderMap, Method, StatusCode, header};
use serde::{Deserialize, Serialize};

/// Requests beyond this many drop the oldest from the log.
const LOG_LEN: usize = 100_000;

/// How much the origin had to do since it started, or since
/// [`Origin::reset_counts`](super::Origin::reset_counts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// All requests, failed ones included.
    pub requests: u64,
    /// GETs of objects.
    pub gets: u64,
    /// HEADs of objects.
    pub heads: u64,
    /// Lists of a bucket.
    pub lists: u64,
    /// Requests that were answered with 400 or above.
    pub errors: u64,
    /// Bytes of objects that were handed to connections.
    pub body_bytes: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that are open now. Not reset.
    pub open_connections: u64,
    /// Requests that are being answered now, bodies included. Not reset.
    pub in_flight: u64,
    /// The most that were ever being answered at once.
    pub max_in_flight: u64,
}

/// One request, as far as it got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Logged {
    /// `GET`, `HEAD`, ….
    pub method: String,
    /// The bucket.
    pub bucket: String,
    /// The key, decoded; empty for requests of the bucket.
    pub key: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `If-Match` header.
    pub if_match: Option<String>,
    /// The `If-None-Match` header.
    pub if_none_match: Option<String>,
    /// The status of the answer; `None` while there is none.
    pub status: Option<u16>,
    /// Bytes of the body that were handed to the connection.
    pub body_bytes: u64,
}

/// The counters and the log, kept in step.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    counts: Counts,
    log: VecDeque<Logged>,
    /// How many requests came before the first of the log.
    forgotten: u64,
    /// How many requests came since the start; not reset, so that no ticket is ambiguous.
    seen: u64,
}

/// Where a request is in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

// === impl Traffic ===

impl Traffic {
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn log(&self) -> Vec<Logged> {
        self.log.iter().cloned().collect()
    }

    pub(super) fn reset(&mut self) {
        let Counts { open_connections, in_flight, .. } = self.counts;
        self.counts = Counts { open_connections, in_flight, max_in_flight: in_flight, ..Counts::default() };
        self.log.clear();
        self.forgotten = self.seen;
    }

    pub(super) fn connection_opened(&mut self) {
        self.counts.connections += 1;
        self.counts.open_connections += 1;
    }

    pub(super) fn connection_closed(&mut self) {
        self.counts.open_connections -= 1;
    }

    pub(super) fn request_began(
        &mut self,
        method: &Method,
        bucket: &str,
        key: &str,
        headers: &HeaderMap,
    ) -> Ticket {
        self.counts.requests += 1;
        match *method {
            Method::GET if key.is_empty() => self.counts.lists += 1,
            Method::GET => self.counts.gets += 1,
            Method::HEAD if !key.is_empty() => self.counts.heads += 1,
            _ => {}
        }
        self.counts.in_flight += 1;
        self.counts.max_in_flight = self.counts.max_in_flight.max(self.counts.in_flight);

        let header = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into());
        if self.log.len() == LOG_LEN {
            self.log.pop_front();
            self.forgotten += 1;
        }
        self.log.push_back(Logged {
            method: method.to_string(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            range: header(header::RANGE),
            if_match: header(header::IF_MATCH),
            if_none_match: header(header::IF_NONE_MATCH),
            status: None,
            body_bytes: 0,
        });
        self.seen += 1;
        Ticket(self.seen - 1)
    }

    pub(super) fn answered(&mut self, ticket: Ticket, status: StatusCode) {
        if status.as_u16() >= 400 {
            self.counts.errors += 1;
        }
        if let Some(logged) = self.logged(ticket) {
            logged.status = Some(status.as_u16());
        }
    }

    pub(super) fn sent(&mut self, ticket: Ticket, bytes: u64) {
        self.counts.body_bytes += bytes;
        if let Some(logged) = self.logged(ticket) {
            logged.body_bytes += bytes;
        }
    }

    pub(super) fn request_ended(&mut self) {
        self.counts.in_flight -= 1;
    }

    fn logged(&mut self, Ticket(number): Ticket) -> Option<&mut Logged> {
        let index = usize::try_from(number.checked_sub(self.forgotten)?).ok()?;
        self.log.get_mut(index)
    }
}

impl Ticket {
    /// The request's number since the origin started.
    pub(super) fn ordinal(self) -> u64 {
        self.0
    }
}
