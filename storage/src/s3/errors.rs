//! What the SDK's errors mean for a caller. The one table from S3's codes and statuses to [`Error`].

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::Error;

/// The meaning of a failed request. The SDK's error stays as the source where the variant has one, and is in
/// the debug log in any case.
pub(super) fn from_sdk<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    tracing::debug!(error = %DisplayErrorContext(&error), "S3 request failed");
    match &error {
        SdkError::TimeoutError(_) => Error::Timeout("no answer"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            Error::Timeout(if is_connect_timeout(&error) { "no connection" } else { "no first byte" })
        }
        // Our own mistake in the request; everything else here is the way to the store, or to credentials.
        SdkError::DispatchFailure(failure) if failure.is_user() => Error::Other(Error::shared(error)),
        SdkError::DispatchFailure(_) => Error::Unavailable(Error::shared(error)),
        SdkError::ServiceError(service) => {
            let answer = Answer::of(service.raw(), service.err().code());
            answer.meaning(error)
        }
        SdkError::ResponseError(response) => {
            let answer = Answer::of(response.raw(), None);
            answer.meaning(error)
        }
        _ => Error::Other(Error::shared(error)),
    }
}

/// What an answer said that decides its meaning.
struct Answer {
    status: u16,
    /// Absent where there is no body: answers to HEAD, and those of proxies.
    code: String,
    object_bytes: Option<u64>,
}

// === impl Answer ===

impl Answer {
    fn of(response: &HttpResponse, code: Option<&str>) -> Self {
        Self {
            status: response.status().as_u16(),
            code: code.unwrap_or_default().to_owned(),
            object_bytes: object_bytes(response),
        }
    }

    /// Codes come first: S3 says several things with one status.
    fn meaning(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let source = Error::shared(source);
        match (self.code.as_str(), self.status) {
            ("NoSuchKey" | "NoSuchBucket" | "NoSuchUpload" | "NoSuchVersion" | "NotFound", _) => {
                Error::NotFound
            }
            ("PreconditionFailed", _) => Error::VersionChanged,
            ("InvalidRange", _) => Error::RangeNotSatisfiable { size: self.object_bytes },
            ("KeyTooLongError", _) => Error::InvalidKey("it is too long"),
            (
                "SlowDown"
                | "Throttling"
                | "ThrottlingException"
                | "TooManyRequests"
                | "RequestLimitExceeded",
                _,
            ) => Error::Throttled(source),
            ("RequestTimeout", _) => Error::Timeout("the store waited for our request"),
            // These come with other statuses too.
            ("AccessDenied" | "ExpiredToken" | "InvalidToken", _) | (_, 401 | 403) => {
                Error::Forbidden(source)
            }
            (_, 404) => Error::NotFound,
            (_, 412) => Error::VersionChanged,
            (_, 416) => Error::RangeNotSatisfiable { size: self.object_bytes },
            (_, 429) => Error::Throttled(source),
            // The two codes: another write to the same key is under way.
            ("OperationAborted" | "ConditionalRequestConflict", _) | (_, 500 | 502 | 503 | 504) => {
                Error::Unavailable(source)
            }
            _ => Error::Other(source),
        }
    }
}

/// The object's length in a 416: `Content-Range: bytes */N` (RFC 9110 §15.5.17), or S3's own element.
fn object_bytes(response: &HttpResponse) -> Option<u64> {
    let header = response.headers().get("content-range").and_then(|value| value.strip_prefix("bytes */"));
    if let Some(size) = header {
        return size.parse().ok();
    }
    let text = std::str::from_utf8(response.body().bytes()?).ok()?;
    let (_, rest) = text.split_once("<ActualObjectSize>")?;
    rest.split_once('<')?.0.trim().parse().ok()
}

/// The SDK tells connect and read timeouts apart only in the text of a private error.
fn is_connect_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.to_string().contains("HTTP connect timeout"))
}
