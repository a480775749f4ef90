//! Range delivery: one object, one request, one answer.
//!
//! The steps, in the order in which they happen: `cache::open` says which version there is;
//! [`conditional`] whether the client wants it; [`range`] which bytes of it; the cache's reader brings the
//! first of them; only then the status is chosen, so that an origin's error becomes a real status code;
//! [`body`] sends the rest, exactly as many as were announced.

pub mod body;
pub mod cache_status;
pub mod conditional;
pub mod cors;
pub mod header_text;
pub mod media_type;
pub mod multipart;
pub mod range;
pub mod slices;
mod template;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use seekway_cache::{Cache, Error, Freshness, OpenObject, Share, Source};
use seekway_storage::ObjectKey;

use body::{Payload, Piece, Ranges};
use cache_status::{Served, Timings};
use conditional::{Outcome, Validators};
use header_text::HeaderText;
use range::Resolved;
use template::Template;

use crate::respond::Problem;

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How often a request begins again because the object changed under it, before its headers left.
const RESTARTS_MAX: u32 = 2;

/// An answer has about so many headers; a map that grows while it is filled costs more than filling it.
const HEADERS_USUAL: usize = 20;

/// What delivery needs besides the request.
#[derive(Debug)]
pub struct Delivery {
    /// `Cache-Control` by key prefix, for objects that bring none; the longest matching prefix wins.
    pub cache_control: Vec<(String, HeaderValue)>,
}

/// A request for an object.
#[derive(Debug, Clone, Copy)]
pub struct MediaRequest<'a> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Which object.
    pub key: &'a ObjectKey,
    /// Whether the client wants a file to keep (`?download=1`).
    pub download: bool,
    /// What its readers divide with those of the same client's other requests.
    pub share: &'a Arc<Share>,
}

// === impl Delivery ===

impl Delivery {
    /// Answers `request`. When the object changes while the answer is made, it is made again from the start,
    /// preconditions included.
    pub async fn answer(
        &self,
        cache: &Cache,
        request: MediaRequest<'_>,
    ) -> Result<Response<Payload>, Problem> {
        let mut restarts = 0;
        loop {
            match self.attempt(cache, request).await {
                Err(Problem::Storage(error)) if error.version_changed() && restarts < RESTARTS_MAX => {
                    restarts += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn attempt(&self, cache: &Cache, request: MediaRequest<'_>) -> Result<Response<Payload>, Problem> {
        let begun = Instant::now();
        let (object, freshness) = cache.open(request.key, wanted(request)).await?;
        let opened = begun.elapsed();
        let validators =
            Validators { etag: &object.object.version.etag, last_modified: object.object.last_modified };
        let size = object.object.size;
        let template = Template::of(self, request.key, &object);
        let mut text = HeaderText::new();
        let mut response = Response::new(Payload::Empty);
        let headers = response.headers_mut();
        headers.reserve(HEADERS_USUAL);
        template.add_validators(headers);
        // RFC 9111 §5.1: the answer is made from something remembered, this long ago.
        if let Freshness::Fresh { age, .. } | Freshness::Stale { age, .. } = freshness {
            headers.insert(header::AGE, text.number(age.as_secs()).value());
        }
        let resolved =
            match conditional::evaluate(request.method, request.headers, validators, SystemTime::now()) {
                Outcome::PreconditionFailed => return Err(Problem::PreconditionFailed),
                Outcome::NotModified => {
                    source_headers(headers, &mut text, None, freshness, opened, begun);
                    *response.status_mut() = StatusCode::NOT_MODIFIED;
                    return Ok(response);
                }
                Outcome::Proceed { range_applies: true } => range::resolve(request.headers, size),
                Outcome::Proceed { range_applies: false } => Resolved::Full,
            };

        template.add_representation(headers);
        if request.download {
            headers.insert(header::CONTENT_DISPOSITION, attachment(request.key.as_str()));
        }
        let (status, ranges, layout) = match resolved {
            Resolved::Unsatisfiable => return Err(Problem::RangeNotSatisfiable { size: Some(size) }),
            Resolved::Full => (StatusCode::OK, vec![0..size], None),
            Resolved::Single(range) => {
                headers.insert(header::CONTENT_RANGE, range::content_range(&mut text, &range, size));
                (StatusCode::PARTIAL_CONTENT, vec![range], None)
            }
            Resolved::Multiple(ranges) => {
                let boundary = multipart::Boundary::random();
                let layout = multipart::Layout::new(&boundary, &template.media_type, &ranges, size);
                (StatusCode::PARTIAL_CONTENT, ranges, Some(layout))
            }
        };
        let (content_type, length) = match &layout {
            Some(layout) => (layout.content_type.clone(), layout.content_length),
            None => (template.media_type.clone(), ranges[0].end - ranges[0].start),
        };
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CONTENT_LENGTH, text.number(length).value());

        let mut source = None;
        if request.method != Method::HEAD && !ranges[0].is_empty() {
            let (pieces, first) = begin(cache, &object, &ranges, layout, request.share).await?;
            source = Some(first);
            *response.body_mut() = Payload::Ranges(Box::new(Ranges::new(pieces, length, first)));
        }
        source_headers(response.headers_mut(), &mut text, source, freshness, opened, begun);
        *response.status_mut() = status;
        Ok(response)
    }

    fn cache_control(&self, key: &ObjectKey) -> Option<HeaderValue> {
        self.cache_control
            .iter()
            .filter(|(prefix, _)| key.as_str().starts_with(prefix))
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(_, value)| value.clone())
    }
}

/// The range that will be read, where it is known before the object is: then a cold object costs one round
/// trip. HEAD, suffixes, several ranges and conditions need the metadata first.
fn wanted(request: MediaRequest<'_>) -> Option<Range<u64>> {
    if request.method != Method::GET || conditional::needs_metadata_first(request.headers) {
        return None;
    }
    range::known_start(request.headers).map(|wanted| wanted.start..wanted.end.unwrap_or(u64::MAX))
}

/// The body's pieces, with the first bytes of the first range at hand.
async fn begin(
    cache: &Cache,
    object: &Arc<OpenObject>,
    ranges: &[Range<u64>],
    layout: Option<multipart::Layout>,
    share: &Arc<Share>,
) -> Result<(Vec<Piece>, Source), Error> {
    let read = |range| cache.read(object.clone(), range).sharing(share);
    let mut reader = read(ranges[0].clone());
    let first = reader.next().await.unwrap_or(Err(Error::Busy))?;
    let source = reader.first_source().expect("a reader that yielded bytes knows where they came from");
    let mut start = Some([Piece::Bytes(first), Piece::Read(reader)]);
    let Some(layout) = layout else {
        return Ok((start.into_iter().flatten().collect(), source));
    };
    let mut pieces = Vec::with_capacity(2 * layout.parts.len() + 2);
    for part in layout.parts {
        pieces.push(Piece::Bytes(part.head));
        match start.take() {
            Some(begun) => pieces.extend(begun),
            None => pieces.push(Piece::Read(read(part.range))),
        }
    }
    pieces.push(Piece::Bytes(layout.closing));
    Ok((pieces, source))
}

/// Says where the answer came from, and what its time went to.
fn source_headers(
    headers: &mut HeaderMap,
    text: &mut HeaderText,
    source: Option<Source>,
    freshness: Freshness,
    opened: Duration,
    begun: Instant,
) {
    let timings = Timings {
        metadata: matches!(freshness, Freshness::Live).then_some(opened),
        first_byte: source.map(|_| begun.elapsed()),
    };
    let served = served(source, freshness);
    headers.insert(CACHE_STATUS.clone(), served.cache_status(text));
    headers.insert(SERVER_TIMING.clone(), served.server_timing(timings, text));
}

/// Where the answer came from: its first byte, or without a body what is known of the object.
fn served(source: Option<Source>, freshness: Freshness) -> Served {
    match (source, freshness) {
        (Some(Source::Joined), _) => Served::Joined,
        (Some(Source::Redis), _) => Served::Redis,
        (Some(Source::Filled), Freshness::Live) => Served::Filled,
        (Some(Source::Filled), _) => Served::FilledPart,
        (None, Freshness::Live) => Served::Asked,
        (Some(Source::Memory), Freshness::Live) => Served::Memory { ttl: None },
        (_, Freshness::Fresh { ttl, .. }) => Served::Memory { ttl: Some(ttl) },
        (_, Freshness::Stale { past, .. }) => Served::Stale { past },
    }
}

/// `Content-Disposition` for a file to keep (RFC 6266 §4.3): the key's last segment, in UTF-8, and once more
/// in ASCII for clients that know no better.
fn attachment(key: &str) -> HeaderValue {
    /// What RFC 8187 §3.2.1 lets stand as it is.
    const ATTR_CHAR: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'!').remove(b'$');
    let name = key.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or("download");
    let plain = |c: char| match c {
        '"' | '\\' | '%' => '_',
        ' '..='~' => c,
        _ => '_',
    };
    let ascii: String = name.chars().map(plain).collect();
    let utf8 = utf8_percent_encode(name, ATTR_CHAR);
    let value = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{utf8}");
    HeaderValue::from_str(&value).expect("visible ASCII and spaces")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_has_a_name_that_every_client_can_read() {
        for (key, expected) in [
            ("a/b.mp4", "attachment; filename=\"b.mp4\"; filename*=UTF-8''b.mp4"),
            ("a\"\\%.mp4", "attachment; filename=\"a___.mp4\"; filename*=UTF-8''a%22%5C%25.mp4"),
            ("x/é ü.mp4", "attachment; filename=\"_ _.mp4\"; filename*=UTF-8''%C3%A9%20%C3%BC.mp4"),
            ("a\r\nb", "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab"),
            ("///", "attachment; filename=\"download\"; filename*=UTF-8''download"),
        ] {
            assert_eq!(attachment(key), expected, "{key:?}");
        }
    }
}
