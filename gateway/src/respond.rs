//! The one place that turns what went wrong into an answer: problem documents (RFC 9457).
//!
//! A document says what the client can do about it and never names keys, hosts or credentials of the store;
//! those go to the log, here too, so that the same failure is always logged at the same level.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts;
use crate::delivery::range::content_range_unsatisfied;
use crate::framing::BadHead;
use crate::routes::{BadKey, BadQuery};
use crate::upload;

/// What a client is told to wait before it asks again. Short, since a player's buffer is: the causes pass
/// within seconds, or another replica is better placed.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("1");

/// What went wrong.
#[derive(Debug, Clone)]
pub enum Problem {
    /// The path names nothing.
    NoRoute,
    /// There is no such object, or none that may be known of.
    NoObject,
    /// The path names no possible object.
    BadKey(BadKey),
    /// The query makes no sense.
    BadQuery(BadQuery),
    /// A body that should be JSON is not said to be.
    NotJson,
    /// A body is longer than any document.
    BodyTooLarge,
    /// A body is no document of the wanted kind, and why.
    BadBody(String),
    /// `Last-Event-ID` is no number of an event.
    BadEventId,
    /// There is no such video, or none that may be known of.
    NoVideo,
    /// There is no such asset of the caller's.
    NoAsset,
    /// There is no such job of the caller's videos.
    NoJob,
    /// The job, or its video, stands where that cannot be done. The text is for clients.
    JobConflict(String),
    /// Nobody processes videos here.
    NoTranscoding,
    /// It is somebody else's.
    NotYours,
    /// What came is no request.
    BadHead(BadHead),
    /// The request names no host, or several.
    BadHost,
    /// The request has more headers than are allowed.
    TooManyHeaders,
    /// The route has other methods.
    MethodNotAllowed(&'static [Method]),
    /// A condition of the request is false.
    PreconditionFailed,
    /// No byte of the range exists.
    RangeNotSatisfiable {
        /// The object's length, where known.
        size: Option<u64>,
    },
    /// The memory budget is spent, for now.
    Busy,
    /// As many requests as allowed are under way.
    Overloaded,
    /// One client asks too often.
    TooManyRequests {
        /// When it may ask again, at least 1.
        retry_after_secs: u64,
    },
    /// The process starts or stops.
    NotReady,
    /// How much there is to do is not known now.
    Uncounted,
    /// The object changed again and again while it was being answered.
    Changing,
    /// The store failed.
    Storage(seekway_storage::Error),
    /// The store forbids what an upload needs.
    StoreForbidsWriting(seekway_storage::Error),
    /// The catalog failed.
    Catalog(seekway_catalog::Error),
    /// An upload is not taken.
    Upload(upload::Refusal),
    /// Somebody is refused.
    Account(accounts::Refusal),
    /// The operator has switched listing off.
    ListingOff,
    /// Our own mistake.
    Panicked,
}

impl From<seekway_cache::Error> for Problem {
    fn from(error: seekway_cache::Error) -> Self {
        match error {
            seekway_cache::Error::Store(error) => Self::Storage(error),
            seekway_cache::Error::Busy => Self::Busy,
            seekway_cache::Error::ShuttingDown => Self::NotReady,
        }
    }
}

impl From<upload::Refusal> for Problem {
    fn from(refusal: upload::Refusal) -> Self {
        Self::Upload(refusal)
    }
}

impl Problem {
    /// What it is where something is uploaded: there a client that hears of no object begins again, and again.
    pub(crate) fn of_uploading(self) -> Self {
        match self {
            Self::Storage(error @ seekway_storage::Error::Forbidden(_)) => Self::StoreForbidsWriting(error),
            problem => problem,
        }
    }
}

/// How a problem looks from outside.
struct Shown<'a> {
    status: StatusCode,
    detail: &'a str,
    retry: bool,
}

/// The document itself (RFC 9457 §3.1). `request_id` is an extension member: it is no URI, as `instance`
/// would have to be.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument<'a> {
    /// `about:blank`.
    r#type: &'a str,
    /// The status code's name.
    title: &'a str,
    /// The status code.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and what the client can do about it.
    detail: &'a str,
    /// What the log calls the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// The answer to a request that went wrong. An answer to HEAD carries the same headers and no body: leaving
/// that out is up to the caller.
pub fn problem(problem: &Problem, request_id: Option<&str>) -> Response<Bytes> {
    let bad_request = match problem {
        Problem::BadKey(why) => why.to_string(),
        Problem::BadQuery(why) => why.to_string(),
        Problem::BadHead(why) => why.to_string(),
        Problem::JobConflict(why) => format!("That cannot be done now: {why}."),
        Problem::BadBody(why) => format!("The body is not what is wanted here: {why}."),
        Problem::Upload(why) => why.to_string(),
        Problem::Account(why) => why.to_string(),
        _ => String::new(),
    };
    let shown = shown(problem, &bad_request);
    let mut response = Response::new(document(&shown, request_id));
    *response.status_mut() = shown.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    // No cache in front may keep an error: what it says is true of this moment and this process.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if shown.retry {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECS);
    }
    match problem {
        Problem::TooManyRequests { retry_after_secs } => {
            // RFC 6585 §4.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_secs));
        }
        Problem::MethodNotAllowed(methods) => {
            // RFC 9110 §15.5.6: a 405 says what is allowed.
            headers.insert(header::ALLOW, allow(methods));
        }
        Problem::Upload(upload::Refusal::Offset { committed }) => {
            // So that a client goes on without asking.
            headers.insert("upload-offset", HeaderValue::from(*committed));
        }
        Problem::Account(why) => {
            if let Some(challenge) = why.challenge() {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            if let Some(seconds) = why.retry_after_secs() {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
        }
        Problem::RangeNotSatisfiable { size: Some(size) }
        | Problem::Storage(seekway_storage::Error::RangeNotSatisfiable { size: Some(size) }) => {
            // RFC 9110 §15.5.17: so that the client can ask again.
            headers.insert(header::CONTENT_RANGE, content_range_unsatisfied(*size));
        }
        _ => {}
    }
    response
}

/// Tells the operator what the client is not told: which object it was about, and what the store said.
pub fn report(problem: &Problem, path: &str) {
    use seekway_storage::Error;
    if let Problem::Catalog(error) = problem {
        tracing::error!(path, error = error.chain(), "the database failed");
    }
    if let Problem::StoreForbidsWriting(error) = problem {
        tracing::error!(
            path,
            error = error.chain(),
            "the store forbids us to write, or to read what we wrote"
        );
    }
    let Problem::Storage(error) = problem else { return };
    let text = error.chain();
    match error {
        Error::NotFound
        | Error::InvalidKey(_)
        | Error::VersionChanged
        | Error::RangeNotSatisfiable { .. } => {}
        Error::Forbidden(_) => tracing::warn!(path, error = text, "the store forbids us to read"),
        Error::Throttled(_) | Error::Unavailable(_) => {
            tracing::warn!(path, error = text, "the store does not serve");
        }
        Error::Timeout(_) => tracing::warn!(path, error = text, "the store is too slow"),
        _ => tracing::error!(path, error = text, "the store failed"),
    }
}

/// The value of `Allow` for these methods.
pub fn allow(methods: &[Method]) -> HeaderValue {
    let names: Vec<_> = methods.iter().map(Method::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).expect("method names are tokens")
}

/// The table of problems.
fn shown<'a>(problem: &Problem, bad_request: &'a str) -> Shown<'a> {
    let is = |status, detail| Shown { status, detail, retry: false };
    let later = |detail| Shown { status: StatusCode::SERVICE_UNAVAILABLE, detail, retry: true };
    match problem {
        Problem::NoRoute => is(StatusCode::NOT_FOUND, "There is nothing at this path."),
        Problem::ListingOff => is(StatusCode::NOT_FOUND, "Listing is switched off here (--listing)."),
        Problem::NoObject => is(StatusCode::NOT_FOUND, "There is no such object."),
        Problem::BadKey(_) | Problem::BadQuery(_) | Problem::BadBody(_) => {
            is(StatusCode::BAD_REQUEST, bad_request)
        }
        Problem::NotJson => is(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body must be JSON; send Content-Type: application/json.",
        ),
        Problem::BodyTooLarge => is(StatusCode::PAYLOAD_TOO_LARGE, "The body is longer than 64 KiB."),
        Problem::BadEventId => {
            is(StatusCode::BAD_REQUEST, "Last-Event-ID must be the id of an event of this stream, a number.")
        }
        Problem::NoVideo => is(StatusCode::NOT_FOUND, "There is no such video."),
        Problem::NoAsset => is(StatusCode::NOT_FOUND, "You have no such asset."),
        Problem::NoJob => is(StatusCode::NOT_FOUND, "There is no such job."),
        Problem::JobConflict(_) => is(StatusCode::CONFLICT, bad_request),
        Problem::NoTranscoding => is(StatusCode::CONFLICT, "Videos are not processed here (--transcoding)."),
        Problem::NotYours => is(StatusCode::FORBIDDEN, "Only its owner and admins may do that."),
        Problem::BadHead(why) => is(why.status(), bad_request),
        Problem::BadHost => is(StatusCode::BAD_REQUEST, "The request must name exactly one host."),
        Problem::TooManyHeaders => {
            is(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request has too many headers.")
        }
        Problem::MethodNotAllowed(_) => {
            is(StatusCode::METHOD_NOT_ALLOWED, "This path does not support the method; see the Allow header.")
        }
        Problem::PreconditionFailed => is(
            StatusCode::PRECONDITION_FAILED,
            "The object is not the one that the request's conditions name.",
        ),
        Problem::RangeNotSatisfiable { .. } => {
            is(StatusCode::RANGE_NOT_SATISFIABLE, "The range selects no byte of the object.")
        }
        Problem::Busy => later("All memory for streams is in use. Try again shortly."),
        Problem::Overloaded => later("Too many requests are under way. Try again shortly."),
        Problem::TooManyRequests { .. } => Shown {
            status: StatusCode::TOO_MANY_REQUESTS,
            detail: "This address asks too often. Try again after what Retry-After says.",
            retry: true,
        },
        Problem::NotReady => later("The gateway is starting or stopping. Try again shortly."),
        Problem::Uncounted => later(
            "How much there is to do is not known: the database does not serve, or the gateway has just started.",
        ),
        Problem::Changing => later("The object is being replaced. Try again shortly."),
        Problem::Catalog(error) if error.is_retryable() => {
            later("The database does not serve at the moment. Try again shortly.")
        }
        Problem::Catalog(_) => is(StatusCode::INTERNAL_SERVER_ERROR, "The database failed."),
        Problem::Upload(why) => is(why.status(), bad_request),
        Problem::Account(why) => is(why.status(), bad_request),
        Problem::Storage(error) => shown_storage(error),
        Problem::StoreForbidsWriting(_) => is(StatusCode::BAD_GATEWAY, "The store does not let us write."),
        Problem::Panicked => is(StatusCode::INTERNAL_SERVER_ERROR, "The gateway made a mistake."),
    }
}

/// The table of the store's errors. `Display` of these may name keys and hosts, so none of it is shown.
fn shown_storage<'a>(error: &seekway_storage::Error) -> Shown<'a> {
    use seekway_storage::Error;
    match error {
        Error::NotFound => shown(&Problem::NoObject, ""),
        Error::Forbidden(_) => {
            // 404 and not 403: a client is told the same of a key that is kept from us as of one that is not
            // there. The operator is told the truth by `report`.
            shown(&Problem::NoObject, "")
        }
        Error::InvalidKey(_) => {
            Shown { status: StatusCode::BAD_REQUEST, detail: "The store can have no such key.", retry: false }
        }
        Error::VersionChanged => shown(&Problem::Changing, ""),
        Error::RangeNotSatisfiable { .. } => shown(&Problem::RangeNotSatisfiable { size: None }, ""),
        Error::Throttled(_) | Error::Unavailable(_) => {
            let detail = "The store does not serve at the moment. Try again shortly.";
            Shown { status: StatusCode::SERVICE_UNAVAILABLE, detail, retry: true }
        }
        Error::Full(_) => {
            let detail = "The store is full.";
            Shown { status: StatusCode::INSUFFICIENT_STORAGE, detail, retry: false }
        }
        Error::Timeout(_) => {
            let detail = "The store did not answer in time. Try again shortly.";
            Shown { status: StatusCode::GATEWAY_TIMEOUT, detail, retry: true }
        }
        _ => Shown { status: StatusCode::BAD_GATEWAY, detail: "The store failed.", retry: false },
    }
}

fn document(shown: &Shown<'_>, request_id: Option<&str>) -> Bytes {
    let document = ProblemDocument {
        r#type: "about:blank",
        // RFC 9457 §4.2.1: with about:blank the title is the status code's name.
        // The one code without a name is tus' own for a checksum.
        title: shown.status.canonical_reason().unwrap_or("Checksum Mismatch"),
        status: shown.status.as_u16(),
        detail: shown.detail,
        request_id,
    };
    Bytes::from(serde_json::to_vec(&document).expect("strings and a number always serialize"))
}

#[cfg(test)]
mod tests;
