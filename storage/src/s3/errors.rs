//! What the SDK's errors mean for a caller. The one table from S3's codes and statuses to [`Error`].

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::error::chain;
use crate::{Error, ObjectKey, SharedError, Throttle};

/// The meaning of a failed request. What the store said is the source where the variant has one, and is in
/// the debug log in any case.
pub(super) fn from_sdk<E>(bucket: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    // Never the SDK's `Debug`, which prints the whole answer: some answers repeat the session token.
    tracing::debug!(error = chain(&error), bucket, "S3 request failed");
    if let Some(answer) = Answer::of(&error) {
        return answer.meaning(bucket);
    }
    match &error {
        SdkError::TimeoutError(_) => Error::Timeout("no answer"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            Error::Timeout(if is_connect_timeout(&error) { "no connection" } else { "no first byte" })
        }
        // Our own mistake in the request; everything else here is the way to the store, or to credentials.
        SdkError::DispatchFailure(failure) if failure.is_user() => Error::Other(Error::shared(error)),
        SdkError::DispatchFailure(_) => Error::Unavailable(Error::shared(error)),
        _ => Error::Other(Error::shared(error)),
    }
}

/// As [`from_sdk`], for a read of one object, where a refused argument is the key: nothing else in such a
/// request comes from outside.
pub(super) fn from_object_read<E>(bucket: &str, key: &ObjectKey, error: SdkError<E, HttpResponse>) -> Error
where
    E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
{
    let refuses_key = Answer::of(&error).is_some_and(|answer| answer.refuses(key));
    let meaning = from_sdk(bucket, error);
    if refuses_key {
        tracing::debug!(%key, "taken as a key that the store cannot have");
        return Error::InvalidKey("the store refuses it");
    }
    meaning
}

/// What an answer said that decides its meaning.
struct Answer {
    status: u16,
    /// Empty where there is no body: answers to HEAD, and those of proxies.
    code: String,
    message: String,
    object_bytes: Option<u64>,
    /// Which argument S3 calls invalid.
    argument: Option<String>,
    /// In seconds (RFC 9110 §10.2.3); a date there is not read.
    retry_after: Option<Duration>,
}

/// What an answer said, for whoever reads the log. It stands in for the SDK's error, whose text is "service
/// error" and whose `Debug` is the whole answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

// === impl Answer ===

impl Answer {
    /// `None` if no answer came.
    fn of<E: StdError + ProvideErrorMetadata + 'static>(error: &SdkError<E, HttpResponse>) -> Option<Self> {
        let (response, code, message) = match error {
            SdkError::ServiceError(service) => {
                let (code, message) = (service.err().code(), service.err().message());
                (service.raw(), code, message.map(str::to_owned))
            }
            SdkError::ResponseError(unreadable) => (unreadable.raw(), None, error.source().map(chain)),
            _ => return None,
        };
        // MinIO's way to tell the code without a body, in answers to HEAD.
        let header_code = response.headers().get("x-minio-error-code");
        Some(Self {
            status: response.status().as_u16(),
            code: header_code.or(code).unwrap_or_default().to_owned(),
            message: message.unwrap_or_default(),
            object_bytes: object_bytes(response),
            argument: element(response, "ArgumentName").map(str::to_owned),
            retry_after: response
                .headers()
                .get("retry-after")
                .and_then(|value| value.parse().ok())
                .map(Duration::from_secs),
        })
    }

    /// Codes come first: S3 says several things with one status.
    fn meaning(&self, bucket: &str) -> Error {
        match (self.code.as_str(), self.status) {
            ("NoSuchUpload", _) => Error::NoSuchUpload,
            ("NoSuchKey" | "NoSuchVersion" | "NotFound", _) => Error::NotFound,
            // A mistake in the configuration: as a missing object nobody would notice it.
            ("NoSuchBucket", _) => Error::Other(self.source(bucket)),
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
            ) => self.throttled(bucket),
            ("RequestTimeout", _) => Error::Timeout("the store waited for our request"),
            // These come with other statuses too.
            ("AccessDenied" | "ExpiredToken" | "InvalidToken", _) | (_, 401 | 403) => {
                Error::Forbidden(self.source(bucket))
            }
            (_, 404) => Error::NotFound,
            // MinIO's code; S3 itself is never full.
            ("XMinioStorageFull", _) | (_, 507) => Error::Full(self.source(bucket)),
            (_, 412) => Error::VersionChanged,
            (_, 416) => Error::RangeNotSatisfiable { size: self.object_bytes },
            (_, 429) => self.throttled(bucket),
            // Without a body nothing tells a busy store from a broken one, but how long to wait does.
            ("", 503) if self.retry_after.is_some() => self.throttled(bucket),
            // The two codes: another write to the same key is under way.
            ("OperationAborted" | "ConditionalRequestConflict", _) | (_, 500 | 502 | 503 | 504) => {
                Error::Unavailable(self.source(bucket))
            }
            _ => Error::Other(self.source(bucket)),
        }
    }

    fn throttled(&self, bucket: &str) -> Error {
        Error::Throttled(Throttle::new(self.source(bucket), self.retry_after))
    }

    /// Whether the store can have no such key.
    fn refuses(&self, key: &ObjectKey) -> bool {
        if self.status != 400 {
            return false;
        }
        match self.code.as_str() {
            "InvalidURI" | "InvalidObjectName" | "XMinioInvalidObjectName" => true,
            // It may also be about our signature, say: the argument's name counts where there is one.
            "InvalidArgument" => {
                let is_key = |name: &str| ["key", "object"].iter().any(|key| name.eq_ignore_ascii_case(key));
                self.argument.as_deref().is_none_or(is_key)
            }
            // These say nothing, and HEAD has no code: believed of a key that looks like a way out of the
            // bucket (SeaweedFS answers so), while any other key still shows what else is wrong.
            "InvalidRequest" | "" => key.as_str().split('/').any(|part| matches!(part, "." | "..")),
            _ => false,
        }
    }

    fn source(&self, bucket: &str) -> SharedError {
        let code = if self.code.is_empty() { "without a code" } else { &self.code };
        let separator = if self.message.is_empty() { "" } else { ": " };
        let text = format!("{} {code}{separator}{} (bucket {bucket:?})", self.status, self.message);
        Error::shared(Refusal(text))
    }
}

/// The object's length in a 416: `Content-Range: bytes */N` (RFC 9110 §15.5.17), or S3's own element.
fn object_bytes(response: &HttpResponse) -> Option<u64> {
    let header = response.headers().get("content-range").and_then(|value| value.strip_prefix("bytes */"));
    header.or_else(|| element(response, "ActualObjectSize"))?.parse().ok()
}

/// The text of an element that the SDK does not read, in an answer whose body is S3's XML.
fn element<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(response.body().bytes()?).ok()?;
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0.trim())
}

/// The SDK tells connect and read timeouts apart only in the text of a private error.
fn is_connect_timeout(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .any(|error| error.to_string().contains("HTTP connect timeout"))
}
