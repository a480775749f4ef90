//! `Range` (RFC 9110 §14). The first line of the input is an object's size, the rest is the header's value.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header};
use seekway_gateway::delivery::header_text::HeaderText;
use seekway_gateway::delivery::range::{
    RANGES_MAX, Ranges, Resolved, Spec, Wanted, content_range, known_start, resolve,
};

/// See the module.
pub fn check(data: &[u8]) {
    let (size, value) = crate::line(data);
    let Some(size) = std::str::from_utf8(size).ok().and_then(|size| size.parse::<u64>().ok()) else { return };
    // No store has larger objects: an offset is signed there.
    let size = size.min(u64::MAX / 2);
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let headers = HeaderMap::from_iter([(header::RANGE, value.clone())]);
    let (resolved, wanted) = (resolve(&headers, size), known_start(&headers));
    let Some(ranges) = Ranges::parse(value.as_bytes()) else {
        // As if there were no header.
        assert_eq!((resolved, wanted), (Resolved::Full, Some(Wanted { start: 0, end: None })));
        return;
    };
    let specs = ranges.specs();
    assert!((1..=RANGES_MAX).contains(&specs.len()), "{} ranges", specs.len());
    let printed: Vec<String> = specs.iter().map(|spec| print(*spec)).collect();
    let again = Ranges::parse(format!("bytes={}", printed.join(",")).as_bytes());
    assert_eq!(again.as_ref(), Some(&ranges), "printed and read again");

    let asked: Vec<Range<u64>> = specs.iter().filter_map(|spec| selected(*spec, size)).collect();
    check_resolved(&resolved, &asked, specs, size);
    if let Some(Wanted { start, end }) = wanted {
        match &resolved {
            Resolved::Single(range) => assert_eq!(*range, start..end.unwrap_or(size).min(size)),
            Resolved::Unsatisfiable => assert!(start >= size),
            other => panic!("{other:?} starts where nobody knows"),
        }
    }
    check_against_another(&value, &resolved, &asked, size);
}

fn check_resolved(resolved: &Resolved, asked: &[Range<u64>], specs: &[Spec], size: u64) {
    let within = |range: &Range<u64>| range.start < range.end && range.end <= size;
    let covers =
        |outer: &Range<u64>, inner: &Range<u64>| outer.start <= inner.start && inner.end <= outer.end;
    match resolved {
        Resolved::Unsatisfiable => assert_eq!(asked, [], "something is selected"),
        Resolved::Single(range) => {
            assert!(within(range), "{range:?} of {size}");
            assert!(
                !asked.is_empty() && asked.iter().all(|asked| covers(range, asked)),
                "{range:?} misses some"
            );
            assert!(asked.iter().any(|asked| asked.start == range.start), "{range:?} begins too early");
            assert!(asked.iter().any(|asked| asked.end == range.end), "{range:?} ends too late");
            let text = content_range(&mut HeaderText::new(), range, size);
            let expected = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            assert_eq!(text.as_bytes(), expected.as_bytes());
        }
        Resolved::Multiple(ranges) => {
            assert!(ranges.len() >= 2 && ranges.iter().all(within), "{ranges:?} of {size}");
            for asked in asked {
                assert_eq!(ranges.iter().filter(|range| covers(range, asked)).count(), 1, "{asked:?}");
            }
            let mut sorted = ranges.clone();
            sorted.sort_by_key(|range| range.start);
            assert!(sorted.windows(2).all(|pair| pair[0].end < pair[1].start), "{ranges:?} touch");
            let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            assert!(bytes < size, "the whole object is shorter than {ranges:?}");
        }
        Resolved::Full => {
            let empty = size == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix(1..)));
            assert!(empty || asked.len() >= 2, "one range is never the whole object's answer");
        }
    }
}

/// What another parser makes of it. It is laxer in places (`gateway/src/delivery/range/tests.rs` says which),
/// but where both take a single range, it is the same.
fn check_against_another(value: &HeaderValue, resolved: &Resolved, asked: &[Range<u64>], size: u64) {
    let Ok(theirs) = value
        .to_str()
        .map_err(drop)
        .and_then(|text| http_range_header::parse_range_header(text).map_err(drop))
    else {
        return;
    };
    if size == 0 {
        return; // A suffix of nothing: theirs is unsatisfiable, ours the empty object.
    }
    if let (Ok(ranges), Resolved::Single(ours)) = (theirs.validate(size), resolved)
        && let ([theirs], [_]) = (&ranges[..], asked)
    {
        assert_eq!(*ours, *theirs.start()..theirs.end() + 1, "{value:?} of {size}");
    }
}

fn print(spec: Spec) -> String {
    match spec {
        Spec::FromTo { first, last } => format!("{first}-{last}"),
        Spec::From(first) => format!("{first}-"),
        Spec::Suffix(length) => format!("-{length}"),
    }
}

/// The bytes of `size` that one spec selects, by the words of §14.1.2.
fn selected(spec: Spec, size: u64) -> Option<Range<u64>> {
    let (first, end) = match spec {
        Spec::FromTo { first, last } if last >= size => (first, size),
        Spec::FromTo { first, last } => (first, last + 1),
        Spec::From(first) => (first, size),
        Spec::Suffix(length) => (size - length.min(size), size),
    };
    (first < end).then_some(first..end)
}
