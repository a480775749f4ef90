//! `Range` (RFC 9110 §14): what a request asks for, and which bytes of an object that is.
//!
//! Two steps, because the first is useful before anything is known of the object: [`Ranges::of`] reads the
//! header, [`Ranges::resolve`] applies it to a size. Inclusive ranges exist in this file only; everything
//! that leaves it is half-open.
//!
//! A header that is malformed, in another unit, sent twice or asking for too much is ignored as if it were
//! not there: §14.2 allows it, the client gets its bytes, and a 400 would help nobody.

use std::cmp::Ordering;
use std::ops::Range;

use http::{HeaderMap, HeaderValue, header};

use super::header_text::HeaderText;
use super::multipart::PART_OVERHEAD;

/// More ranges than this and the header is ignored (§14.2 names this defence, §17.15 the attack).
///
/// Media players send one; PDF viewers, the widest honest use, a dozen. 32 parts cost at most
/// `32 * PART_OVERHEAD` = 8 KiB of part heads.
pub const RANGES_MAX: usize = 32;

/// Offsets past this are in no object that any store can hold (`off_t` is signed), and sums of two offsets
/// below it cannot overflow.
const OFFSET_MAX: u64 = u64::MAX / 2;

/// One range as a client wrote it, before the size is known (§14.1.2). Positions are inclusive; those that
/// do not fit are `u64::MAX`, which is past the end of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spec {
    /// `first-last`, with `first <= last`.
    FromTo {
        /// The first byte's offset.
        first: u64,
        /// The last byte's offset.
        last: u64,
    },
    /// `first-`: to the end.
    From(u64),
    /// `-n`: the last `n` bytes.
    Suffix(u64),
}

/// A well-formed `Range: bytes=…`: 1 to [`RANGES_MAX`] specs in the client's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges(Vec<Spec>);

/// The bytes to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// 200 with the whole object.
    Full,
    /// 206 with this range, not empty and inside the object.
    Single(Range<u64>),
    /// 206 as `multipart/byteranges`: two or more ranges that neither touch nor nearly touch.
    Multiple(Vec<Range<u64>>),
    /// 416.
    Unsatisfiable,
}

/// Where the wanted bytes start, known without the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The first wanted byte.
    pub start: u64,
    /// One past the last wanted byte, if the client gave one. May lie past the object's end.
    pub end: Option<u64>,
}

/// Resolves a request's `Range` against an object of `size` bytes (§14.1.2, §14.2). `Full` when there is
/// no range or it is to be ignored.
pub fn resolve(headers: &HeaderMap, size: u64) -> Resolved {
    Ranges::of(headers).map_or(Resolved::Full, |ranges| ranges.resolve(size))
}

/// Where a request's bytes start, if that can be said before the size is known: 0 without a range, the
/// first offset of a single one; `None` for a suffix or several ranges, or an offset that no object has.
pub fn known_start(headers: &HeaderMap) -> Option<Wanted> {
    Ranges::of(headers).map_or(Some(Wanted { start: 0, end: None }), |ranges| ranges.known_start())
}

/// `Content-Range` of a 206 (§14.4). `range` is not empty and lies inside `size`.
pub fn content_range(text: &mut HeaderText, range: &Range<u64>, size: u64) -> HeaderValue {
    assert!(range.start < range.end && range.end <= size, "{range:?} is not a range of {size} bytes");
    text.text("bytes ").number(range.start).text("-").number(range.end - 1).text("/").number(size).value()
}

/// `Content-Range` of a 416 (§14.4): only the size.
pub fn content_range_unsatisfied(size: u64) -> HeaderValue {
    HeaderText::new().text("bytes */").number(size).value()
}

// === impl Ranges ===

impl Ranges {
    /// The request's ranges; `None` when there are none or the header is to be ignored.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(header::RANGE).iter();
        let only = fields.next()?;
        // Range is no list field, so two of them have no meaning (§5.3).
        if fields.next().is_some() { None } else { Self::parse(only.as_bytes()) }
    }

    /// Parses a field value; `None` when it is to be ignored.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let equals = value.iter().position(|&byte| byte == b'=')?;
        // §14.1: range units are case-insensitive, and an unknown one means no range.
        if !value[..equals].eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let mut specs = Vec::with_capacity(1);
        for element in value[equals + 1..].split(|&byte| byte == b',') {
            let element = trim_ows(element);
            // §5.6.1.2: a recipient skips empty list elements.
            if element.is_empty() {
                continue;
            }
            if specs.len() == RANGES_MAX {
                return None;
            }
            // One invalid spec invalidates the set (§14.1.2).
            specs.push(Spec::parse(element)?);
        }
        (!specs.is_empty()).then_some(Self(specs))
    }

    /// What the client listed, in its order.
    pub fn specs(&self) -> &[Spec] {
        &self.0
    }

    /// Where a single range starts, if it says so; see [`known_start`].
    pub fn known_start(&self) -> Option<Wanted> {
        let (start, end) = match self.0[..] {
            [Spec::FromTo { first, last }] if last < OFFSET_MAX => (first, Some(last + 1)),
            [Spec::FromTo { first, .. } | Spec::From(first)] => (first, None),
            _ => return None,
        };
        (start < OFFSET_MAX).then_some(Wanted { start, end })
    }

    /// The bytes of an object of `size` bytes that these ranges select.
    pub fn resolve(&self, size: u64) -> Resolved {
        // §14.1.2: on an empty object a suffix is satisfiable, but Content-Range cannot say so.
        if size == 0 && self.0.iter().any(|spec| matches!(spec, Spec::Suffix(1..))) {
            return Resolved::Full;
        }
        if let [only] = self.0[..] {
            return only.resolve(size).map_or(Resolved::Unsatisfiable, Resolved::Single);
        }
        // §15.3.7.2: those that select nothing are left out while one selects something.
        let mut ranges = coalesce(self.0.iter().filter_map(|spec| spec.resolve(size)).collect());
        match ranges.len() {
            0 => Resolved::Unsatisfiable,
            // §15.3.7.2: a single part MAY be sent without multipart, and every client understands that.
            1 => Resolved::Single(ranges.remove(0)),
            _ if multipart_bytes(&ranges) >= size => Resolved::Full,
            _ => Resolved::Multiple(ranges),
        }
    }
}

/// About what a multipart answer costs; no overflow, since disjoint ranges sum up to a size at most.
fn multipart_bytes(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().fold(0, |sum: u64, range| sum.saturating_add(range.end - range.start + PART_OVERHEAD))
}

/// Joins ranges that overlap or whose gap is cheaper to send than another part (§15.3.7.2). The rest keep
/// the client's order; a joined one stands where its first member stood.
fn coalesce(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut by_start: Vec<(usize, Range<u64>)> = ranges.into_iter().enumerate().collect();
    by_start.sort_by_key(|(_, range)| range.start);
    let mut joined: Vec<(usize, Range<u64>)> = Vec::with_capacity(by_start.len());
    for (place, range) in by_start {
        match joined.last_mut() {
            Some((first_place, before)) if range.start.saturating_sub(before.end) < PART_OVERHEAD => {
                before.end = before.end.max(range.end);
                *first_place = place.min(*first_place);
            }
            _ => joined.push((place, range)),
        }
    }
    joined.sort_by_key(|(place, _)| *place);
    joined.into_iter().map(|(_, range)| range).collect()
}

// === impl Spec ===

impl Spec {
    /// `range-spec` of §14.1.1, without whitespace inside.
    fn parse(element: &[u8]) -> Option<Self> {
        let dash = element.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&element[..dash], &element[dash + 1..]);
        if first.is_empty() {
            return Some(Self::Suffix(saturating(digits(last)?)));
        }
        let first = digits(first)?;
        if last.is_empty() {
            return Some(Self::From(saturating(first)));
        }
        let last = digits(last)?;
        // §14.1.2: an int-range whose last-pos is less than its first-pos is invalid. Compared as digits,
        // so that it holds for numbers of any length.
        if compare(first, last) == Ordering::Greater {
            return None;
        }
        Some(Self::FromTo { first: saturating(first), last: saturating(last) })
    }

    /// The selected bytes of an object of `size`; `None` if there are none.
    fn resolve(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            // §14.1.2: a last-pos past the end means the end.
            Self::FromTo { first, last } => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            // §14.1.2: a suffix longer than the object selects all of it.
            Self::Suffix(length) => size.saturating_sub(length)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// `1*DIGIT` without its leading zeros.
fn digits(text: &[u8]) -> Option<&[u8]> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = text.iter().take_while(|&&digit| digit == b'0').count();
    Some(&text[zeros..])
}

/// The number that digits spell, or `u64::MAX`: recipients must expect any length (§14.1.2).
fn saturating(digits: &[u8]) -> u64 {
    digits
        .iter()
        .try_fold(0u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .unwrap_or(u64::MAX)
}

/// Compares two numbers given as digits without leading zeros.
fn compare(left: &[u8], right: &[u8]) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Strips spaces and tabs (§5.6.3). Also before the first element, where the grammar has none: it is clear
/// what is meant.
fn trim_ows(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests;
