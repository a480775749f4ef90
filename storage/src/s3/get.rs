//! Reads: one request, an answer checked against the question, a body that is counted.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_smithy_types::DateTime;
use aws_smithy_types::byte_stream::ByteStream as SdkStream;
use bytes::Bytes;
use futures_util::stream;

use super::S3Store;
use super::errors::from_object_read;
use crate::{Attributes, ByteStream, Error, Get, Object, ObjectKey, Pin, Version};

/// No object ends behind this, and many servers read offsets as signed numbers: they ignore a range with a
/// larger one and send everything.
const OFFSET_MAX: u64 = i64::MAX.unsigned_abs();

pub(super) async fn head(store: &S3Store, key: &ObjectKey) -> Result<Object, Error> {
    let request = store.client.head_object().bucket(&*store.bucket).key(key.as_str());
    let request = request.customize().config_override(store.read_config.clone());
    let found = request.send().await.map_err(|error| from_object_read(&store.bucket, key, error))?;
    Ok(Object {
        version: version(found.e_tag(), found.version_id())?,
        size: length(found.content_length())?,
        last_modified: found.last_modified.and_then(system_time),
        attributes: Attributes {
            content_type: found.content_type,
            cache_control: found.cache_control,
            content_encoding: found.content_encoding,
            content_disposition: found.content_disposition,
            content_language: found.content_language,
        },
        pin: Pin::default(),
    })
}

pub(super) async fn get(
    store: &S3Store,
    key: &ObjectKey,
    range: Range<u64>,
    expected: Option<&Object>,
) -> Result<Get, Error> {
    let end_max = expected.map_or(OFFSET_MAX, |object| object.size);
    let range = range.start..range.end.min(end_max);
    if range.is_empty() {
        return Err(Error::RangeNotSatisfiable { size: expected.map(|object| object.size) });
    }
    let status = StatusProbe::default();
    let found = store
        .client
        .get_object()
        .bucket(&*store.bucket)
        .key(key.as_str())
        .range(format!("bytes={}-{}", range.start, range.end - 1))
        .set_if_match(expected.map(|object| object.version.etag.to_string()))
        .customize()
        .config_override(store.read_config.clone())
        .interceptor(status.clone())
        // Ranges count the stored bytes: a server or proxy must not compress them on the way.
        .mutate_request(|request| {
            request.headers_mut().insert("accept-encoding", "identity");
        })
        .send()
        .await
        .map_err(|error| pinned(from_object_read(&store.bucket, key, error), expected))?;
    let answer = check(&found, status.get(), &range).map_err(|error| pinned(error, expected))?;
    let version = version(found.e_tag(), found.version_id())?;
    let size = answer.total;
    if let Some(expected) = expected {
        check_expected(expected, &version, size)?;
    }
    let body = counted(found.body, answer.range.end - answer.range.start, store.idle_timeout);
    let object = Object {
        // The same bytes written again have another version id: they are still the version asked for.
        version: expected.map_or(version, |object| object.version.clone()),
        size,
        last_modified: found.last_modified.and_then(system_time),
        attributes: Attributes {
            content_type: found.content_type,
            cache_control: found.cache_control,
            content_encoding: found.content_encoding,
            content_disposition: found.content_disposition,
            content_language: found.content_language,
        },
        pin: Pin::default(),
    };
    Ok(Get { object, range: answer.range, body })
}

/// Sees the status of the answer, which the SDK's output does not tell.
#[derive(Debug, Clone, Default)]
struct StatusProbe(Arc<AtomicU16>);

/// A `Content-Range`, half-open.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    range: Range<u64>,
    total: u64,
}

// === impl StatusProbe ===

impl StatusProbe {
    fn get(&self) -> u16 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for StatusProbe {
    fn name(&self) -> &'static str {
        "StatusProbe"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.store(context.response().status().as_u16(), Ordering::Relaxed);
        Ok(())
    }
}

// === impl ContentRange ===

impl ContentRange {
    /// `bytes first-last/total` (RFC 9110 §14.4); `None` for anything else, also an unknown total.
    fn parse(header: &str) -> Option<Self> {
        let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = number(first)?..number(last)?.checked_add(1)?;
        let total = number(total)?;
        (range.start < range.end && range.end <= total).then_some(Self { range, total })
    }
}

/// Digits only: `parse` alone would take a plus sign.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// The answer's range, if it is the one that was asked for.
fn check(found: &GetObjectOutput, status: u16, asked: &Range<u64>) -> Result<ContentRange, Error> {
    // An empty object has no range to send, and a server may then send the empty whole (RFC 9110 §14.2).
    if status == 200 && found.content_length() == Some(0) && found.content_range().is_none() {
        return Err(Error::RangeNotSatisfiable { size: Some(0) });
    }
    if status != 206 {
        return Err(Error::Protocol(format!("status {status} to a ranged read")));
    }
    let header = found.content_range().unwrap_or_default();
    let answer = ContentRange::parse(header)
        .ok_or_else(|| Error::Protocol(format!("Content-Range {header:?} is no range of known total")))?;
    if answer.range != (asked.start..asked.end.min(answer.total)) {
        return Err(Error::Protocol(format!("asked for {asked:?}, got Content-Range {header:?}")));
    }
    let length = length(found.content_length())?;
    if length != answer.range.end - answer.range.start {
        return Err(Error::Protocol(format!("Content-Length {length} with Content-Range {header:?}")));
    }
    Ok(answer)
}

/// `If-Match` was sent; a server that ignores it must not get another version past us.
fn check_expected(expected: &Object, version: &Version, size: u64) -> Result<(), Error> {
    if version.etag != expected.version.etag {
        return Err(Error::VersionChanged);
    }
    if size != expected.size {
        let text = format!("version {version:?} had {} bytes and now has {size}", expected.size);
        return Err(Error::Protocol(text));
    }
    Ok(())
}

/// The range lies inside the expected object, so one that ends before it is another: such a server looks at
/// `Range` before `If-Match`.
fn pinned(error: Error, expected: Option<&Object>) -> Error {
    match error {
        Error::RangeNotSatisfiable { .. } if expected.is_some() => Error::VersionChanged,
        error => error,
    }
}

/// The version in an answer. Only a strong tag identifies bytes (RFC 9110 §8.8.1).
pub(super) fn version(etag: Option<&str>, version_id: Option<&str>) -> Result<Version, Error> {
    let etag = etag.ok_or_else(|| Error::Protocol("no ETag".to_owned()))?;
    let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if inner.is_none_or(|inner| inner.is_empty() || inner.contains('"')) {
        return Err(Error::Protocol(format!("ETag {etag} is not a strong entity tag")));
    }
    // Objects from before a bucket was versioned have the id `null`, and so have all that replace them.
    let version_id = version_id.filter(|id| !id.is_empty() && *id != "null").map(Arc::from);
    Ok(Version { etag: etag.into(), version_id })
}

fn length(content_length: Option<i64>) -> Result<u64, Error> {
    content_length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| Error::Protocol("no Content-Length".to_owned()))
}

fn system_time(time: DateTime) -> Option<std::time::SystemTime> {
    time.try_into().ok()
}

/// Exactly `bytes` bytes of `body`, or an error; no pause longer than `idle`, counted while somebody waits.
fn counted(body: SdkStream, bytes: u64, idle: Duration) -> ByteStream {
    // `None` after the end or an error.
    let state = Some((body, bytes)).filter(|_| bytes > 0);
    Box::pin(stream::unfold(state, move |state| async move {
        let (mut body, left) = state?;
        match next(&mut body, left, idle).await {
            Ok(chunk) => {
                let left = left - u64::try_from(chunk.len()).expect("usize fits in u64");
                Some((Ok(chunk), Some((body, left)).filter(|_| left > 0)))
            }
            Err(error) => {
                tracing::debug!(%error, left, "S3 body ended early");
                Some((Err(error), None))
            }
        }
    }))
}

/// The next chunk, at most `left` bytes.
async fn next(body: &mut SdkStream, left: u64, idle: Duration) -> Result<Bytes, Error> {
    match tokio::time::timeout(idle, body.next()).await {
        Err(_) => Err(Error::Timeout("a pause in the body")),
        Ok(None) => Err(Error::Interrupted(Error::shared(format!("the body ended {left} bytes early")))),
        Ok(Some(Err(error))) => Err(Error::Interrupted(Error::shared(error))),
        Ok(Some(Ok(chunk))) if u64::try_from(chunk.len()).is_ok_and(|length| length <= left) => Ok(chunk),
        Ok(Some(Ok(_))) => Err(Error::Protocol("the body is longer than its Content-Length".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        let parsed = |range, total| Some(ContentRange { range, total });
        assert_eq!(ContentRange::parse("bytes 0-0/1"), parsed(0..1, 1));
        assert_eq!(ContentRange::parse("bytes 5-9/100"), parsed(5..10, 100));
        for bad in [
            "",
            "bytes",
            "bytes 0-0/*",
            "bytes */5",
            "bytes 5-4/10",
            "bytes 0-10/10",
            "bytes +0-1/10",
            "0-1/10",
            "bytes 0-18446744073709551615/18446744073709551615",
            "items 0-1/2",
            "bytes 0-/2",
            "bytes -1/2",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_strong_tags_are_versions() {
        assert_eq!(&*version(Some("\"abc-2\""), None).expect("strong").etag, "\"abc-2\"");
        for bad in
            [None, Some("W/\"abc\""), Some("abc"), Some("\"\""), Some("\"a\"b\""), Some("\""), Some("")]
        {
            assert!(matches!(version(bad, None), Err(Error::Protocol(_))), "{bad:?}");
        }
        assert_eq!(version(Some("\"a\""), Some("null")).expect("strong").version_id, None);
        assert_eq!(version(Some("\"a\""), Some("v1")).expect("strong").version_id.as_deref(), Some("v1"));
    }
}
