//! `Range` as S3 reads it: one range or none.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The whole object: there is no header, or none that S3 would heed (several ranges, another unit).
    Whole,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// Nothing that the object has: 416.
    Unsatisfiable,
}

/// Reads the header against an object of `size` bytes (RFC 9110 §14.1.2).
pub(super) fn resolve(header: Option<&str>, size: u64) -> Wanted {
    let Some(range) = header.and_then(parse) else { return Wanted::Whole };
    let wanted = match range {
        Parsed::FromTo(first, last) => first..last.saturating_add(1).min(size),
        Parsed::From(first) => first..size,
        Parsed::Suffix(len) => size.saturating_sub(len)..size,
    };
    if wanted.is_empty() { Wanted::Unsatisfiable } else { Wanted::Part(wanted) }
}

enum Parsed {
    FromTo(u64, u64),
    From(u64),
    Suffix(u64),
}

fn parse(header: &str) -> Option<Parsed> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    match (first, last) {
        ("", len) => Some(Parsed::Suffix(number(len)?)),
        (first, "") => Some(Parsed::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Parsed::FromTo(first, last))
        }
    }
}

/// Digits only, which `u64::from_str` alone does not demand: it accepts a leading plus.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_hundred_bytes() {
        for (header, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=0-", Wanted::Part(0..100)),
            ("bytes=10-19", Wanted::Part(10..20)),
            ("bytes=99-99", Wanted::Part(99..100)),
            ("bytes=90-1000", Wanted::Part(90..100)),
            ("bytes=90-18446744073709551615", Wanted::Part(90..100)),
            ("bytes=-1", Wanted::Part(99..100)),
            ("bytes=-100", Wanted::Part(0..100)),
            ("bytes=-101", Wanted::Part(0..100)),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=100-200", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=2-1", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=0-1,4-5", Wanted::Whole),
            ("bytes=+1-5", Wanted::Whole),
            ("bytes=99999999999999999999-", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
        ] {
            assert_eq!(resolve(Some(header), 100), expected, "{header}");
        }
        assert_eq!(resolve(None, 100), Wanted::Whole);
    }

    #[test]
    fn an_empty_object_has_no_ranges() {
        for header in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"] {
            assert_eq!(resolve(Some(header), 0), Wanted::Unsatisfiable, "{header}");
        }
        assert_eq!(resolve(None, 0), Wanted::Whole);
    }
}
