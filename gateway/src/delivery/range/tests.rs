use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const BIG: u64 = 1_000_000;
const FIRST_PAST_U64: &str = "18446744073709551616";

fn resolve_value(value: &[u8], size: u64) -> Resolved {
    Ranges::parse(value).map_or(Resolved::Full, |ranges| ranges.resolve(size))
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "tables read better without references")]
fn check(value: &str, size: u64, expected: Resolved) {
    assert_eq!(resolve_value(value.as_bytes(), size), expected, "{value:?} of {size} bytes");
}

use Resolved::{Full, Multiple, Single, Unsatisfiable};

#[test]
fn the_examples_of_the_rfc() {
    // §14.1.2, for 10,000 bytes.
    check("bytes=0-499", 10_000, Single(0..500));
    check("bytes=500-999", 10_000, Single(500..1000));
    check("bytes=-500", 10_000, Single(9500..10_000));
    check("bytes=9500-", 10_000, Single(9500..10_000));
    check("bytes= 0-999, 4500-5499, -1000", 10_000, Multiple(vec![0..1000, 4500..5500, 9000..10_000]));
    // "Other valid (but not canonical) specifications of the second 500 bytes".
    check("bytes=500-600,601-999", 10_000, Single(500..1000));
    check("bytes=500-700,601-999", 10_000, Single(500..1000));
    // "The first and last bytes only": two parts that cost less than 10,000 bytes.
    check("bytes=0-0,-1", 10_000, Multiple(vec![0..1, 9999..10_000]));
}

#[test]
fn single_ranges_are_clamped_to_the_object() {
    check("bytes=0-", 10, Single(0..10));
    check("bytes=0-1", 10, Single(0..2));
    check("bytes=0-9", 10, Single(0..10));
    check("bytes=5-100", 10, Single(5..10));
    check("bytes=9-9", 10, Single(9..10));
    check("bytes=-11", 10, Single(0..10));
    check("bytes=-10", 10, Single(0..10));
    check("bytes=10-", 10, Unsatisfiable);
    check("bytes=10-20", 10, Unsatisfiable);
    check("bytes=-0", 10, Unsatisfiable);
    check("bytes=-00", 10, Unsatisfiable);
    check("bytes=007-0008", 10, Single(7..9));
}

#[test]
fn an_empty_object_has_no_range_to_name() {
    check("bytes=0-", 0, Unsatisfiable);
    check("bytes=0-0", 0, Unsatisfiable);
    check("bytes=-0", 0, Unsatisfiable);
    check("bytes=-5", 0, Full);
    check("bytes=0-,-5", 0, Full);
    check("bytes=0-,-0", 0, Unsatisfiable);
}

#[test]
fn numbers_of_any_length_are_understood() {
    check(&format!("bytes=0-{FIRST_PAST_U64}"), 10, Single(0..10));
    check(&format!("bytes={FIRST_PAST_U64}-"), 10, Unsatisfiable);
    check(&format!("bytes={FIRST_PAST_U64}-"), u64::MAX, Unsatisfiable);
    check(&format!("bytes=-{FIRST_PAST_U64}"), 10, Single(0..10));
    check(&format!("bytes=4-{}", "9".repeat(500)), 10, Single(4..10));
    check(&format!("bytes={}4-5", "0".repeat(500)), 10, Single(4..6));
    check(&format!("bytes={FIRST_PAST_U64}-{FIRST_PAST_U64}"), 10, Unsatisfiable);
    // Reversed, though both ends do not fit: malformed, so ignored.
    check(&format!("bytes={FIRST_PAST_U64}1-{FIRST_PAST_U64}"), 10, Full);
    check(&format!("bytes={FIRST_PAST_U64}-5"), 10, Full);
    check("bytes=0-18446744073709551615", u64::MAX, Single(0..u64::MAX));
    check("bytes=18446744073709551614-", u64::MAX, Single(u64::MAX - 1..u64::MAX));
}

#[test]
fn what_is_malformed_is_ignored() {
    for value in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes= , ,",
        "=0-5",
        "bytes=-",
        "bytes=5",
        "bytes=a-b",
        "bytes=0-5x",
        "bytes=5-4",
        "bytes=0--1",
        "bytes=--1",
        "bytes=+0-5",
        "bytes=0-+5",
        "bytes=0 - 5",
        "bytes=0- 5",
        "bytes=0x0-0x5",
        "bytes=1.0-5",
        "bytes 0-5",
        "bytes =0-5",
        " bytes=0-5",
        "byte=0-5",
        "items=0-5",
        "seconds=0-5",
        "bytes=0-5;6-7",
        "bytes=0-5,x",
        "bytes=0-5,9-8",
        "bytes=0-5 6-7",
        "bytes=\u{0}0-5",
        "bytes==0-5",
    ] {
        check(value, 10, Full);
    }
}

#[test]
fn units_ignore_case_and_lists_may_have_gaps() {
    check("BYTES=0-5", 10, Single(0..6));
    check("ByTeS=0-5", 10, Single(0..6));
    check("bytes=,0-5", 10, Single(0..6));
    check("bytes=0-5,", 10, Single(0..6));
    check("bytes=,, \t,0-5 ,\t,", 10, Single(0..6));
    check("bytes=0-0 ,\t500000-500000", BIG, Multiple(vec![0..1, 500_000..500_001]));
}

#[test]
fn two_header_fields_are_no_range() {
    let mut headers = HeaderMap::new();
    assert_eq!(resolve(&headers, 10), Full);
    headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
    assert_eq!(resolve(&headers, 10), Single(0..2));
    headers.append(header::RANGE, HeaderValue::from_static("bytes=3-4"));
    assert_eq!(resolve(&headers, 10), Full);
    assert_eq!(known_start(&headers), Some(Wanted { start: 0, end: None }));
}

#[test]
fn the_start_is_known_before_the_size() {
    let known = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(value).expect("a header value"));
        known_start(&headers)
    };
    let wanted = |start, end| Some(Wanted { start, end });
    assert_eq!(known_start(&HeaderMap::new()), wanted(0, None));
    assert_eq!(known("bytes=5-"), wanted(5, None));
    assert_eq!(known("bytes=5-9"), wanted(5, Some(10)));
    assert_eq!(known("bytes=5-99999999999999999999"), wanted(5, None));
    assert_eq!(known("bytes=junk"), wanted(0, None));
    assert_eq!(known("bytes=-5"), None);
    assert_eq!(known("bytes=0-1,5-6"), None);
    // No object reaches there, and callers may add to a start without fear.
    assert_eq!(known("bytes=99999999999999999999-"), None);
    assert_eq!(known("bytes=18446744073709551614-18446744073709551614"), None);
}

#[test]
fn near_ranges_are_joined_and_the_rest_keep_their_order() {
    let gap = PART_OVERHEAD;
    check(&format!("bytes=0-9,{}-{}", 10 + gap - 1, 10 + gap), BIG, Single(0..10 + gap + 1));
    check(
        &format!("bytes=0-9,{}-{}", 10 + gap, 10 + gap),
        BIG,
        Multiple(vec![0..10, 10 + gap..10 + gap + 1]),
    );
    check("bytes=500000-500009,0-9", BIG, Multiple(vec![500_000..500_010, 0..10]));
    check(
        "bytes=500000-500009,0-9,500005-500019,900000-900000",
        BIG,
        Multiple(vec![500_000..500_020, 0..10, 900_000..900_001]),
    );
    // A range that bridges two others joins all three, at the place of the first.
    check("bytes=900000-900000,0-999,2000-2999,500-2500", BIG, Multiple(vec![900_000..900_001, 0..3000]));
    // The place is that of the first asked for, though it is not the first in the object.
    check("bytes=500010-500019,0-9,500000-500009", BIG, Multiple(vec![500_000..500_020, 0..10]));
    // One that contains another changes nothing of its end.
    check("bytes=0-9999,5-6,900000-900000", BIG, Multiple(vec![0..10_000, 900_000..900_001]));
}

#[test]
fn unsatisfiable_ranges_are_dropped_beside_others() {
    check("bytes=0-9,2000000-", BIG, Single(0..10));
    check("bytes=2000000-,-0", BIG, Unsatisfiable);
    check("bytes=-0,0-0,500000-500000", BIG, Multiple(vec![0..1, 500_000..500_001]));
}

#[test]
fn many_ranges_never_cost_more_than_the_object() {
    let list = |count: u64| {
        let ranges: Vec<_> = (0..count).map(|i| format!("{0}-{0}", i * 10_000)).collect();
        format!("bytes={}", ranges.join(","))
    };
    let most = u64::try_from(RANGES_MAX).expect("small");
    assert!(
        matches!(resolve_value(list(most).as_bytes(), BIG), Multiple(ranges) if ranges.len() == RANGES_MAX)
    );
    check(&list(most + 1), BIG, Full);
    check(&list(most + 1), 0, Full);
    // §17.15: the classic attack, overlapping to the end.
    check("bytes=0-,1-,2-,3-,4-,5-", BIG, Single(0..BIG));
    // Two parts of nearly everything: as much as the object, so the object.
    let size = 2 * PART_OVERHEAD + 1000;
    let value = format!("bytes=0-499,{}-", 500 + PART_OVERHEAD);
    assert_eq!(resolve_value(value.as_bytes(), 500 + PART_OVERHEAD + 10), Full);
    assert!(matches!(resolve_value(b"bytes=0-9,-10", size), Multiple(_)));
    assert_eq!(resolve_value(b"bytes=0-499,-500", size), Full);
    assert!(matches!(resolve_value(b"bytes=0-499,-499", size), Multiple(_)));
}

#[test]
fn content_ranges_are_inclusive() {
    let text = &mut HeaderText::new();
    assert_eq!(content_range(text, &(0..10), 10), "bytes 0-9/10");
    assert_eq!(content_range(text, &(9..10), 10), "bytes 9-9/10");
    assert_eq!(content_range(text, &(u64::MAX - 1..u64::MAX), u64::MAX).as_bytes().len(), 68);
    assert_eq!(content_range_unsatisfied(0), "bytes */0");
}

// === The model: sets of bytes, and u128 so that nothing overflows ===

/// Another parser, from the grammar: text, split and `u128`. Numbers up to 30 digits.
fn model_specs(value: &str) -> Option<Vec<(Option<u128>, Option<u128>)>> {
    let (unit, set) = value.split_once('=')?;
    if unit.to_lowercase() != "bytes" {
        return None;
    }
    let number = |text: &str| -> Option<Option<u128>> {
        if text.is_empty() {
            return Some(None);
        }
        text.chars().all(|c| c.is_ascii_digit()).then(|| Some(text.parse().expect("up to 30 digits")))
    };
    let mut specs = Vec::new();
    for element in set.split(',').map(|element| element.trim_matches([' ', '\t'])).filter(|e| !e.is_empty()) {
        let (first, last) = element.split_once('-')?;
        let spec = (number(first)?, number(last)?);
        match spec {
            (None, None) => return None,
            (Some(first), Some(last)) if first > last => return None,
            _ => specs.push(spec),
        }
    }
    (!specs.is_empty()).then_some(specs)
}

/// The bytes that the header selects, or `None` if it is malformed.
fn model_bytes(value: &str, size: u128) -> Option<BTreeSet<u128>> {
    let selected = |(first, last): &(Option<u128>, Option<u128>)| match (*first, *last) {
        (Some(first), last) => {
            (0..size).filter(|&at| at >= first && last.is_none_or(|last| at <= last)).collect()
        }
        (None, Some(suffix)) => (0..size).filter(|&at| size - at <= suffix).collect::<Vec<_>>(),
        (None, None) => unreachable!("not a spec"),
    };
    Some(model_specs(value)?.iter().flat_map(selected).collect())
}

fn spec_text(limit: u64) -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0..limit, 0..limit).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (0..limit, 0..limit).prop_map(|(a, b)| format!("{a}-{b}")),
        2 => (0..limit).prop_map(|a| format!("{a}-")),
        2 => (0..limit).prop_map(|a| format!("-{a}")),
        1 => "[0-9]{1,25}-[0-9]{0,25}",
        1 => "-[0-9]{1,25}",
        1 => "[ \t]{0,2}",
    ]
}

fn header_text(limit: u64, specs: usize) -> impl Strategy<Value = String> {
    (
        prop_oneof![9 => Just("bytes="), 1 => Just("Bytes= ")],
        prop::collection::vec(spec_text(limit), 1..=specs),
    )
        .prop_map(|(unit, specs)| format!("{unit}{}", specs.join(", ")))
}

/// Everything that must hold of an answer, whatever was asked.
fn well_formed(resolved: &Resolved, size: u64) -> Result<(), TestCaseError> {
    let inside = |range: &Range<u64>| range.start < range.end && range.end <= size;
    match resolved {
        Full | Unsatisfiable => {}
        Single(range) => prop_assert!(inside(range)),
        Multiple(ranges) => {
            prop_assert!((2..=RANGES_MAX).contains(&ranges.len()));
            prop_assert!(ranges.iter().all(inside));
            let total: u64 = ranges.iter().map(|range| range.end - range.start + PART_OVERHEAD).sum();
            prop_assert!(total < size);
            let mut sorted = ranges.clone();
            sorted.sort_by_key(|range| range.start);
            for pair in sorted.windows(2) {
                prop_assert!(pair[1].start >= pair[0].end + PART_OVERHEAD, "{pair:?}");
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_answered(value: Vec<u8>, size: u64) {
        well_formed(&resolve_value(&value, size), size)?;
        let mut prefixed = b"bytes=".to_vec();
        prefixed.extend(value);
        well_formed(&resolve_value(&prefixed, size), size)?;
    }

    #[test]
    fn any_text_of_the_alphabet_is_answered(value in "bytes=[-0-9, ]{0,60}", size: u64) {
        well_formed(&resolve_value(value.as_bytes(), size), size)?;
    }

    #[test]
    fn one_range_is_the_models(value in header_text(40, 1), size in 0u64..40) {
        let selected = model_bytes(&value, size.into());
        let expected = match &selected {
            None => Full,
            Some(bytes) => match (bytes.first(), bytes.last()) {
                (Some(first), Some(last)) => {
                    let at = |byte: u128| u64::try_from(byte).expect("below size");
                    Single(at(*first)..at(*last) + 1)
                }
                _ if size == 0 && model_specs(&value).is_some_and(|s| matches!(s[0], (None, Some(1..)))) => Full,
                _ => Unsatisfiable,
            },
        };
        prop_assert_eq!(resolve_value(value.as_bytes(), size), expected);
    }

    #[test]
    fn several_ranges_select_the_models_bytes(value in header_text(3000, 6), size in 1u64..3000) {
        let resolved = resolve_value(value.as_bytes(), size);
        well_formed(&resolved, size)?;
        let Some(bytes) = model_bytes(&value, size.into()) else {
            prop_assert_eq!(resolved, Full);
            return Ok(());
        };
        let sent: BTreeSet<u128> = match &resolved {
            Unsatisfiable => BTreeSet::new(),
            Full => (0..u128::from(size)).collect(),
            Single(range) => (u128::from(range.start)..u128::from(range.end)).collect(),
            Multiple(ranges) => ranges.iter().flat_map(|r| u128::from(r.start)..u128::from(r.end)).collect(),
        };
        prop_assert_eq!(bytes.is_empty(), resolved == Unsatisfiable);
        prop_assert!(sent.is_superset(&bytes));
        // What is sent unasked lies in gaps that are cheaper than a part: runs shorter than PART_OVERHEAD.
        if !matches!(resolved, Full) {
            let unasked: Vec<u128> = sent.difference(&bytes).copied().collect();
            for run in unasked.chunk_by(|a, b| a + 1 == *b) {
                prop_assert!(u64::try_from(run.len()).expect("small") < PART_OVERHEAD);
            }
        }
    }

    #[test]
    fn parts_come_in_the_clients_order(starts in prop::sample::subsequence((0..30u64).collect::<Vec<_>>(), 2..12)
        .prop_shuffle())
    {
        let ranges: Vec<_> = starts.iter().map(|at| at * 1000..at * 1000 + 10).collect();
        let list: Vec<_> = ranges.iter().map(|r| format!("{}-{}", r.start, r.end - 1)).collect();
        let value = format!("bytes={}", list.join(","));
        prop_assert_eq!(resolve_value(value.as_bytes(), BIG), Multiple(ranges));
    }

    /// Where the other parser accepts, we select the same bytes. It differs on purpose of ours in that it
    /// - refuses numbers of more than 30 digits, and ranges that overlap, where we clamp and join;
    /// - takes up to 100 ranges, where we take `RANGES_MAX`;
    /// - reads a reversed range that does not fit 64 bits as unsatisfiable, where we call it malformed;
    /// - never joins near ranges, nor falls back to the whole object when parts would cost more.
    #[test]
    fn an_independent_parser_agrees(value in header_text(3000, 4), size in 1u64..3000) {
        let Ok(theirs) = http_range_header::parse_range_header(&value) else { return Ok(()) };
        let ours = Ranges::parse(value.as_bytes());
        if ours.is_none() {
            prop_assert!(model_specs(&value).is_none(), "we refuse {value:?} for no reason");
            return Ok(());
        }
        let selected: Vec<Range<u64>> = match theirs.validate(size) {
            Ok(ranges) => ranges.into_iter().map(|range| *range.start()..range.end() + 1).collect(),
            Err(http_range_header::RangeUnsatisfiableError::Unsatisfiable) => Vec::new(),
            Err(_) => return Ok(()),
        };
        let resolved = resolve_value(value.as_bytes(), size);
        match &selected[..] {
            [] => prop_assert_eq!(resolved, Unsatisfiable),
            [only] => prop_assert_eq!(resolved, Single(only.clone())),
            several => match resolved {
                Multiple(ranges) => {
                    // Theirs may overlap once; ours cover them, and nothing is left over.
                    let covers = |r: &Range<u64>| ranges.iter().any(|o| o.start <= r.start && r.end <= o.end);
                    prop_assert!(several.iter().all(covers));
                    let asked = |o: &Range<u64>| several.iter().any(|r| r.start == o.start);
                    prop_assert!(ranges.iter().all(asked));
                }
                Single(range) => prop_assert!(several.iter().all(|r| range.start <= r.start && r.end <= range.end)),
                Full => {}
                Unsatisfiable => prop_assert!(false, "{value:?} selects {several:?}"),
            },
        }
    }
}
