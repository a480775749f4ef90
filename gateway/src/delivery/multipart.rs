//! `multipart/byteranges` (RFC 9110 §14.6): everything around the bytes of the parts, computed up front, so
//! that the exact `Content-Length` is known before the first byte leaves.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;

use super::header_text::HeaderText;
use super::range::content_range;

/// What one more part costs beside its own bytes, rounded up: delimiter, two headers with 20-digit offsets
/// and a type of up to 100 characters. `range` joins ranges whose gap is smaller.
pub const PART_OVERHEAD: u64 = 256;

/// The line between parts, as the text after `--`.
///
/// It must not occur in the parts (RFC 2046 §5.1.1), and whoever wrote the object must not be able to make
/// it occur. The 128 bits come from `SipHash` under the random key that std draws from the operating system
/// for each thread's hash maps and never shows: a new one per answer, so an old one tells nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(String);

/// A whole multipart body but for the object's bytes.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The parts, in the order to send them.
    pub parts: Vec<Part>,
    /// What follows the last part's bytes.
    pub closing: Bytes,
    /// The exact length of the body.
    pub content_length: u64,
    /// The answer's `Content-Type`.
    pub content_type: HeaderValue,
}

/// One part: its head, then the bytes of `range`.
#[derive(Debug, Clone)]
pub struct Part {
    /// The delimiter and the part's headers, up to its first byte.
    pub head: Bytes,
    /// The object's bytes that follow the head.
    pub range: Range<u64>,
}

// === impl Boundary ===

impl Boundary {
    /// A boundary that nobody can foresee.
    pub fn random() -> Self {
        let key = RandomState::new();
        Self(format!("{:016x}{:016x}", key.hash_one(0u8), key.hash_one(1u8)))
    }

    /// The boundary's text, 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Layout ===

impl Layout {
    /// Lays out `ranges` of an object of `size` bytes and type `content_type`. The ranges are those of
    /// [`Resolved::Multiple`](super::range::Resolved::Multiple): not empty, inside the object, disjoint.
    pub fn new(boundary: &Boundary, content_type: &HeaderValue, ranges: &[Range<u64>], size: u64) -> Self {
        let boundary = boundary.as_str();
        // A type of obsolete bytes (RFC 9110 §5.5) cannot be text; such a part goes without one (§15.3.7.2
        // asks for it only if a single answer would have had it).
        let content_type = content_type.to_str().ok();
        let parts: Vec<Part> = ranges
            .iter()
            .enumerate()
            .map(|(index, range)| Part {
                head: head(boundary, content_type, range, size, index == 0),
                range: range.clone(),
            })
            .collect();
        let closing = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let content_length = parts.iter().fold(byte_count(&closing), |sum, part| {
            sum + byte_count(&part.head) + (part.range.end - part.range.start)
        });
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        let content_type = HeaderValue::from_maybe_shared(Bytes::from(content_type)).expect("ASCII text");
        Self { parts, closing, content_length, content_type }
    }
}

/// `delimiter`, headers and empty line of a part (RFC 2046 §5.1.1; the first delimiter has no line before
/// it to end).
fn head(boundary: &str, content_type: Option<&str>, range: &Range<u64>, size: u64, first: bool) -> Bytes {
    let mut head = String::with_capacity(256);
    head.push_str(if first { "--" } else { "\r\n--" });
    head.push_str(boundary);
    if let Some(content_type) = content_type {
        write!(head, "\r\nContent-Type: {content_type}").expect("a String takes all text");
    }
    let place = content_range(&mut HeaderText::new(), range, size);
    write!(head, "\r\nContent-Range: {}\r\n\r\n", place.to_str().expect("visible ASCII"))
        .expect("a String takes all text");
    Bytes::from(head)
}

fn byte_count(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).expect("usize is at most 64 bits")
}

#[cfg(test)]
mod tests;
