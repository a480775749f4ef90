//! Conditional requests (RFC 9110 §13): whether to answer in full, with 304 or with 412.
//!
//! Pure: the request's headers, what is known of the object, and the time go in; the decision comes out.
//! What cannot be understood is decided so that no client ends up with wrong bytes: a malformed entity tag
//! never matches, an invalid date is as if it had not been sent, and an `If-Range` that is not understood is
//! false.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::method::Method;

/// Last second of the year 9999, the end of HTTP's calendar (§5.6.7: a year has four digits).
const DATE_SECS_MAX: u64 = 253_402_300_799;

/// What a request's conditions are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Validators<'a> {
    /// The entity tag as on the wire: quoted, `W/` if weak.
    pub etag: &'a str,
    /// When the object was last written, if known.
    pub last_modified: Option<SystemTime>,
}

/// What the conditions ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answer as if there were no conditions.
    Proceed {
        /// Whether `Range`, if there is one, is to be obeyed: the method is GET (§14.2) and `If-Range` is
        /// absent or true.
        range_applies: bool,
    },
    /// 304: the client has these bytes.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// Evaluates a request's conditions in the order of §13.2.2, for an object that exists.
pub fn evaluate(
    method: &Method,
    headers: &HeaderMap,
    validators: Validators<'_>,
    now: SystemTime,
) -> Outcome {
    let reading = method == Method::GET || method == Method::HEAD;
    // Steps 1 and 2: is the object still the one the client means?
    let unchanged = if headers.contains_key(header::IF_MATCH) {
        any_matches(headers, &header::IF_MATCH, |tag| strong_eq(tag, validators.etag))
    } else {
        modified_since(headers, &header::IF_UNMODIFIED_SINCE, validators.last_modified) != Some(true)
    };
    if !unchanged {
        return Outcome::PreconditionFailed;
    }
    // Steps 3 and 4: has the client got the bytes already?
    if headers.contains_key(header::IF_NONE_MATCH) {
        // §13.1.3: a recipient ignores If-Modified-Since beside If-None-Match.
        if any_matches(headers, &header::IF_NONE_MATCH, |tag| weak_eq(tag, validators.etag)) {
            return if reading { Outcome::NotModified } else { Outcome::PreconditionFailed };
        }
    } else if reading
        && modified_since(headers, &header::IF_MODIFIED_SINCE, validators.last_modified) == Some(false)
    {
        return Outcome::NotModified;
    }
    // Step 5.
    Outcome::Proceed { range_applies: method == Method::GET && if_range(headers, validators, now) }
}

/// Whether a request has conditions, so that the object's metadata must be known before any byte is asked
/// for: a cold object is then asked for by HEAD.
pub fn needs_metadata_first(headers: &HeaderMap) -> bool {
    [
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
    ]
    .iter()
    .any(|name| headers.contains_key(name))
}

/// `Last-Modified` for a time: the value that [`evaluate`] compares dates with. `None` outside the years
/// 1970 to 9999, which HTTP cannot write and `evaluate` treats as unknown.
pub fn last_modified_value(time: SystemTime) -> Option<HeaderValue> {
    let whole = UNIX_EPOCH + Duration::from_secs(date_secs(time)?);
    let text = httpdate::fmt_http_date(whole);
    Some(HeaderValue::from_maybe_shared(Bytes::from(text)).expect("a date is ASCII"))
}

// === Entity tags ===

/// Whether `*` or any listed tag holds (§13.1.1, §13.1.2). `*` counts only alone, as the grammar has it.
fn any_matches(headers: &HeaderMap, name: &HeaderName, matches: impl Fn(&[u8]) -> bool) -> bool {
    let fields = headers.get_all(name);
    let mut values = fields.iter();
    if let (Some(only), None) = (values.next(), values.next())
        && only.as_bytes().trim_ascii() == b"*"
    {
        return true;
    }
    // §5.3: several fields of a list are one list.
    fields.iter().flat_map(|field| EntityTags(field.as_bytes())).any(matches)
}

/// §8.8.3.2: equal, and neither is weak.
fn strong_eq(tag: &[u8], etag: &str) -> bool {
    !tag.starts_with(b"W/") && tag == etag.as_bytes()
}

/// §8.8.3.2: equal opaque tags, weak or not.
fn weak_eq(tag: &[u8], etag: &str) -> bool {
    let opaque = |tag| <[u8]>::strip_prefix(tag, b"W/".as_slice()).unwrap_or(tag);
    opaque(tag) == opaque(etag.as_bytes())
}

/// The well-formed entity tags of a list, as on the wire; whatever else stands between two commas is left
/// out. Commas inside a tag's quotes belong to the tag.
struct EntityTags<'a>(&'a [u8]);

impl<'a> Iterator for EntityTags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let skipped = self.0.iter().take_while(|byte| matches!(byte, b',' | b' ' | b'\t')).count();
            self.0 = &self.0[skipped..];
            if self.0.is_empty() {
                return None;
            }
            let length = entity_tag_bytes(self.0);
            let (tag, rest) = self.0.split_at(length.unwrap_or(0));
            let comma = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
            let (between, rest) = rest.split_at(comma);
            self.0 = rest;
            if length.is_some() && between.trim_ascii().is_empty() {
                return Some(tag);
            }
        }
    }
}

/// The length of the `entity-tag` that `text` starts with (§8.8.3).
fn entity_tag_bytes(text: &[u8]) -> Option<usize> {
    let prefix = if text.starts_with(b"W/") { 2 } else { 0 };
    let opaque = text[prefix..].strip_prefix(b"\"")?;
    let inside = opaque.iter().take_while(|byte| matches!(byte, 0x21 | 0x23..=0x7E | 0x80..)).count();
    (opaque.get(inside) == Some(&b'"')).then_some(prefix + 1 + inside + 1)
}

// === Dates ===

/// Whether the object was written after the date in `name`; `None` without a valid date, or if the object's
/// own is unknown (§13.1.3, §13.1.4: then the field is ignored).
fn modified_since(headers: &HeaderMap, name: &HeaderName, last_modified: Option<SystemTime>) -> Option<bool> {
    Some(date_secs(last_modified?)? > date_field(headers, name)?)
}

/// The one date in `name`, in seconds since 1970; several fields are no date.
fn date_field(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut fields = headers.get_all(name).iter();
    let only = fields.next()?;
    if fields.next().is_some() { None } else { parse_date(only) }
}

fn parse_date(value: &HeaderValue) -> Option<u64> {
    date_secs(httpdate::parse_http_date(value.to_str().ok()?.trim_ascii()).ok()?)
}

/// Dates are compared as they are sent: in whole seconds.
fn date_secs(time: SystemTime) -> Option<u64> {
    let secs = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (secs <= DATE_SECS_MAX).then_some(secs)
}

// === If-Range ===

/// §13.1.5: whether the client's partial bytes are of this very version.
fn if_range(headers: &HeaderMap, validators: Validators<'_>, now: SystemTime) -> bool {
    let mut fields = headers.get_all(header::IF_RANGE).iter();
    let Some(only) = fields.next() else { return true };
    if fields.next().is_some() {
        return false;
    }
    let value = only.as_bytes().trim_ascii();
    if let Some(length) = entity_tag_bytes(value) {
        return length == value.len() && strong_eq(value, validators.etag);
    }
    let (Some(date), Some(written)) = (parse_date(only), validators.last_modified.and_then(date_secs)) else {
        return false;
    };
    // An exact match, not an earlier-or-equal: a date is used as a tag here. And only once its second is
    // over, since until then another version with the same date may come (§8.8.2.2). That the client's own
    // copy was taken after that second is its own duty (§13.1.5).
    let second_over = now.duration_since(UNIX_EPOCH).is_ok_and(|now| now.as_secs() > written);
    date == written && second_over
}

#[cfg(test)]
mod tests;
