//! The access log: one line for a request, when its response has ended one way or the other.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode, Version, header};
use tracing::{Level, Span, info, info_span, warn};

use crate::config::AccessLog;
use crate::delivery::body::BodyError;
use crate::metrics::Outcome;

/// A response that took this long before its first byte is logged also when only failures are.
const SLOW: Duration = Duration::from_secs(1);

/// What is known of one request so far.
pub(crate) struct Entry {
    mode: AccessLog,
    /// Only filled in when a line may be written.
    request: Option<Box<Line>>,
    begun: Instant,
    answered: Option<(StatusCode, Duration)>,
    announced: u64,
    sent: u64,
    error: Option<String>,
}

struct Line {
    id: String,
    client: IpAddr,
    method: String,
    target: String,
    version: Version,
    range: Option<String>,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn new<B>(
        request: &Request<B>,
        id: &HeaderValue,
        client: IpAddr,
        mode: AccessLog,
        begun: Instant,
    ) -> Self {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let request = (mode != AccessLog::Off).then(|| {
            Box::new(Line {
                id: text(id),
                client,
                method: request.method().to_string(),
                // In HTTP/2 the URI has scheme and host, too; the line looks the same for both.
                target: request.uri().path_and_query().map_or("*", PathAndQuery::as_str).to_owned(),
                version: request.version(),
                range: request.headers().get(header::RANGE).map(text),
            })
        });
        Self { mode, request, begun, answered: None, announced: 0, sent: 0, error: None }
    }

    /// The span that everything done for this request is logged in.
    pub(crate) fn span(&self) -> Span {
        match &self.request {
            Some(line) if tracing::enabled!(Level::INFO) => info_span!("request", id = %line.id),
            _ => Span::none(),
        }
    }

    /// The headers are decided, `length` bytes of body will follow.
    pub(crate) fn answered(&mut self, status: StatusCode, length: u64) {
        self.answered = Some((status, self.begun.elapsed()));
        self.announced = length;
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    pub(crate) fn broke(&mut self, error: &BodyError) {
        self.error = Some(error.to_string());
    }

    /// How the response ended. `client_stalled`: the client was cut off because it read nothing.
    pub(crate) fn outcome(&self, client_stalled: bool) -> Outcome {
        match &self.error {
            Some(_) => Outcome::Cut,
            None if client_stalled => Outcome::ClientStalled,
            None if self.sent < self.announced => Outcome::ClientLeft,
            None => Outcome::Complete,
        }
    }

    /// Writes the line, if it is to be written.
    pub(crate) fn write(&mut self, outcome: Outcome) {
        let (Some(line), Some((status, first_byte))) = (self.request.take(), self.answered) else { return };
        let failed = status.is_server_error() || matches!(outcome, Outcome::Cut | Outcome::ClientStalled);
        if self.mode == AccessLog::Errors && !failed && first_byte < SLOW {
            return;
        }
        let (total_ms, first_byte_ms) = (millis(self.begun.elapsed()), millis(first_byte));
        let Line { id, client, method, target, version, range } = *line;
        let (range, error) = (range.as_deref().unwrap_or("-"), self.error.as_deref().unwrap_or("-"));
        macro_rules! write_at {
            ($level:ident) => {
                $level!(
                    id,
                    %client,
                    method,
                    // `target` is what says which module a line is from.
                    request_target = target,
                    protocol = ?version,
                    range,
                    status = status.as_u16(),
                    bytes = self.sent,
                    first_byte_ms,
                    total_ms,
                    outcome = outcome.text(),
                    error,
                    "request"
                )
            };
        }
        if failed { write_at!(warn) } else { write_at!(info) }
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
