//! The text that S3 wraps its answers in.

use std::fmt::Write as _;

use http::StatusCode;
use percent_encoding::percent_decode_str;

pub(super) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Decodes once; `None` when the result is not UTF-8.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() => {
                write!(escaped, "&#x{:X};", u32::from(control)).expect("a String takes everything");
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// The code that S3 gives an error with this status.
pub(super) fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "InvalidRequest",
        StatusCode::FORBIDDEN => "AccessDenied",
        StatusCode::NOT_FOUND => "NoSuchKey",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::PRECONDITION_FAILED => "PreconditionFailed",
        StatusCode::RANGE_NOT_SATISFIABLE => "InvalidRange",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::NOT_IMPLEMENTED => "NotImplemented",
        StatusCode::SERVICE_UNAVAILABLE => "SlowDown",
        _ => "InternalError",
    }
}

/// An error document. `more` is XML that this kind of error adds.
pub(super) fn error(code: &str, message: &str, resource: &str, request_id: &str, more: &str) -> String {
    format!(
        "{DECLARATION}<Error><Code>{code}</Code><Message>{}</Message><Resource>{}</Resource>{more}\
         <RequestId>{request_id}</RequestId><HostId>seekway-origin</HostId></Error>",
        escape(message),
        escape(resource),
    )
}
