use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use proptest::prelude::*;

use super::*;

const ETAG: &str = "\"v1\"";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const WRITTEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const WRITTEN_SECS: u64 = 784_111_777;

const PROCEED: Outcome = Outcome::Proceed { range_applies: true };
const WHOLE: Outcome = Outcome::Proceed { range_applies: false };
use Outcome::{NotModified, PreconditionFailed};

fn at(secs: u64, nanos: u32) -> SystemTime {
    UNIX_EPOCH + Duration::new(secs, nanos)
}

fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
    }
    headers
}

fn known(etag: &str) -> Validators<'_> {
    // Not a whole second: dates must be compared as they are written.
    Validators { etag, last_modified: Some(at(WRITTEN_SECS, 600_000_000)) }
}

fn get(fields: &[(HeaderName, &str)]) -> Outcome {
    evaluate(&Method::GET, &headers(fields), known(ETAG), at(WRITTEN_SECS + 100, 0))
}

#[track_caller]
fn check(fields: &[(HeaderName, &str)], expected: Outcome) {
    assert_eq!(get(fields), expected, "{fields:?}");
}

#[test]
fn without_conditions_ranges_apply_to_get() {
    check(&[], PROCEED);
    let head = evaluate(&Method::HEAD, &HeaderMap::new(), known(ETAG), at(WRITTEN_SECS + 100, 0));
    assert_eq!(head, WHOLE);
}

#[test]
fn if_match_compares_strongly() {
    for matching in
        ["\"v1\"", "*", " * ", "\"a\", \"v1\"", "\"v1\",", ",,\"v1\"", "W/\"v1\", \"v1\"", "junk, \"v1\""]
    {
        check(&[(IF_MATCH, matching)], PROCEED);
    }
    for other in [
        "\"v2\"", "W/\"v1\"", "", ",", "v1", "\"v1", "v1\"", "\"V1\"", "\"v1\" x", "x\"v1\"", "\"a\", *",
        "'v1'",
    ] {
        check(&[(IF_MATCH, other)], PreconditionFailed);
    }
    check(&[(IF_MATCH, "\"a\""), (IF_MATCH, "\"v1\"")], PROCEED);
    check(&[(IF_MATCH, "\"a\""), (IF_MATCH, "*")], PreconditionFailed);
}

#[test]
fn if_none_match_compares_weakly() {
    for matching in ["\"v1\"", "W/\"v1\"", "*", "\"a\", W/\"v1\"", "\"a\",\"v1\",\"b\""] {
        check(&[(IF_NONE_MATCH, matching)], NotModified);
    }
    for other in ["\"v2\"", "w/\"v1\"", "W/v1", "v1", "", "\"a\" \"v1\""] {
        check(&[(IF_NONE_MATCH, other)], PROCEED);
    }
    check(&[(IF_NONE_MATCH, "\"a\""), (IF_NONE_MATCH, "\"v1\"")], NotModified);
    let evaluate_as =
        |method| evaluate(&method, &headers(&[(IF_NONE_MATCH, "*")]), known(ETAG), at(WRITTEN_SECS, 0));
    assert_eq!(evaluate_as(Method::HEAD), NotModified);
    assert_eq!(evaluate_as(Method::PUT), PreconditionFailed);
}

#[test]
fn a_weak_etag_of_ours_matches_only_weakly() {
    let weak = |fields: &[(HeaderName, &str)]| {
        evaluate(&Method::GET, &headers(fields), known("W/\"v1\""), at(WRITTEN_SECS + 100, 0))
    };
    assert_eq!(weak(&[(IF_MATCH, "W/\"v1\"")]), PreconditionFailed);
    assert_eq!(weak(&[(IF_MATCH, "\"v1\"")]), PreconditionFailed);
    assert_eq!(weak(&[(IF_NONE_MATCH, "\"v1\"")]), NotModified);
    assert_eq!(weak(&[(IF_RANGE, "W/\"v1\"")]), WHOLE);
}

#[test]
fn commas_and_odd_bytes_inside_quotes_belong_to_the_tag() {
    let odd = "\"a,b\\é*\"";
    let matches = |name: HeaderName, value: &str| {
        evaluate(&Method::GET, &headers(&[(name, value)]), known(odd), at(WRITTEN_SECS + 100, 0))
    };
    assert_eq!(matches(IF_MATCH, &format!("\"x\", {odd}")), PROCEED);
    assert_eq!(matches(IF_NONE_MATCH, &format!("W/{odd} , \"x\"")), NotModified);
    assert_eq!(matches(IF_MATCH, "\"a\", \"b\\é*\""), PreconditionFailed);
    // A space cannot be in a tag (§8.8.3), so the quote does not open one.
    assert_eq!(matches(IF_MATCH, "\"a b\""), PreconditionFailed);
}

#[test]
fn dates_compare_in_whole_seconds() {
    check(&[(IF_MODIFIED_SINCE, BEFORE)], PROCEED);
    check(&[(IF_MODIFIED_SINCE, WRITTEN)], NotModified);
    check(&[(IF_MODIFIED_SINCE, AFTER)], NotModified);
    check(&[(IF_UNMODIFIED_SINCE, BEFORE)], PreconditionFailed);
    check(&[(IF_UNMODIFIED_SINCE, WRITTEN)], PROCEED);
    check(&[(IF_UNMODIFIED_SINCE, AFTER)], PROCEED);
    // §5.6.7: the two obsolete forms are to be read.
    check(&[(IF_MODIFIED_SINCE, "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified);
    check(&[(IF_MODIFIED_SINCE, "Sun Nov  6 08:49:37 1994")], NotModified);
}

#[test]
fn invalid_dates_are_ignored() {
    for invalid in ["", "0", "yesterday", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 CET", "\"v1\""] {
        check(&[(IF_MODIFIED_SINCE, invalid)], PROCEED);
        check(&[(IF_UNMODIFIED_SINCE, invalid)], PROCEED);
        if invalid != ETAG {
            check(&[(IF_RANGE, invalid)], WHOLE);
        }
    }
    check(&[(IF_MODIFIED_SINCE, AFTER), (IF_MODIFIED_SINCE, AFTER)], PROCEED);
    check(&[(IF_UNMODIFIED_SINCE, BEFORE), (IF_UNMODIFIED_SINCE, BEFORE)], PROCEED);
}

#[test]
fn dates_are_ignored_for_an_object_without_one() {
    let undated = Validators { etag: ETAG, last_modified: None };
    let prehistoric = Validators { etag: ETAG, last_modified: Some(UNIX_EPOCH - Duration::from_secs(1)) };
    for validators in [undated, prehistoric] {
        let evaluate = |fields: &[(HeaderName, &str)]| {
            evaluate(&Method::GET, &headers(fields), validators, at(WRITTEN_SECS + 100, 0))
        };
        assert_eq!(evaluate(&[(IF_MODIFIED_SINCE, AFTER)]), PROCEED);
        assert_eq!(evaluate(&[(IF_UNMODIFIED_SINCE, BEFORE)]), PROCEED);
        assert_eq!(evaluate(&[(IF_RANGE, WRITTEN)]), WHOLE);
    }
}

#[test]
fn the_order_of_13_2_2_is_kept() {
    // If-Match decides alone against If-Unmodified-Since, and before If-None-Match.
    check(&[(IF_MATCH, ETAG), (IF_UNMODIFIED_SINCE, BEFORE)], PROCEED);
    check(&[(IF_MATCH, "\"v2\""), (IF_UNMODIFIED_SINCE, AFTER)], PreconditionFailed);
    check(&[(IF_MATCH, "\"v2\""), (IF_NONE_MATCH, ETAG)], PreconditionFailed);
    check(&[(IF_MATCH, ETAG), (IF_NONE_MATCH, ETAG)], NotModified);
    check(&[(IF_UNMODIFIED_SINCE, BEFORE), (IF_NONE_MATCH, ETAG)], PreconditionFailed);
    // If-None-Match silences If-Modified-Since.
    check(&[(IF_NONE_MATCH, "\"v2\""), (IF_MODIFIED_SINCE, AFTER)], PROCEED);
    check(&[(IF_NONE_MATCH, ETAG), (IF_MODIFIED_SINCE, BEFORE)], NotModified);
    // If-Range comes last.
    check(&[(IF_RANGE, "\"v2\""), (IF_NONE_MATCH, ETAG)], NotModified);
    check(&[(IF_RANGE, "\"v2\""), (IF_MATCH, ETAG)], WHOLE);
}

#[test]
fn if_modified_since_is_for_reading_only() {
    let put =
        evaluate(&Method::PUT, &headers(&[(IF_MODIFIED_SINCE, AFTER)]), known(ETAG), at(WRITTEN_SECS, 0));
    assert_eq!(put, WHOLE);
}

#[test]
fn if_range_needs_the_same_strong_validator() {
    check(&[(IF_RANGE, ETAG)], PROCEED);
    check(&[(IF_RANGE, WRITTEN)], PROCEED);
    for other in ["W/\"v1\"", "\"v2\"", "*", "v1", "\"v1\", \"v2\"", "\"v1\"x", BEFORE, AFTER] {
        check(&[(IF_RANGE, other)], WHOLE);
    }
    check(&[(IF_RANGE, ETAG), (IF_RANGE, ETAG)], WHOLE);
}

#[test]
fn a_date_is_no_validator_before_its_second_is_over() {
    let at_time = |now| evaluate(&Method::GET, &headers(&[(IF_RANGE, WRITTEN)]), known(ETAG), now);
    assert_eq!(at_time(at(WRITTEN_SECS, 999_999_999)), WHOLE);
    assert_eq!(at_time(at(WRITTEN_SECS + 1, 0)), PROCEED);
    // A clock behind the store's is no proof either.
    assert_eq!(at_time(at(WRITTEN_SECS - 50, 0)), WHOLE);
}

#[test]
fn last_modified_is_what_dates_are_compared_with() {
    assert_eq!(last_modified_value(at(WRITTEN_SECS, 999_999_999)).expect("has a date"), WRITTEN);
    assert_eq!(last_modified_value(UNIX_EPOCH - Duration::from_nanos(1)), None);
    assert!(last_modified_value(at(DATE_SECS_MAX, 0)).is_some());
    assert_eq!(last_modified_value(at(DATE_SECS_MAX + 1, 0)), None);
}

#[test]
fn any_condition_needs_metadata() {
    assert!(!needs_metadata_first(&headers(&[(header::RANGE, "bytes=0-1")])));
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE] {
        assert!(needs_metadata_first(&headers(&[(name.clone(), "x")])), "{name}");
    }
}

fn tag() -> impl Strategy<Value = String> {
    "(W/)?\"[!#-~]{0,3}\""
}

proptest! {
    #[test]
    fn any_bytes_are_answered(which in 0usize..5, value: Vec<u8>) {
        let name = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE][which].clone();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let mut headers = HeaderMap::new();
            headers.insert(name, value);
            let _ = evaluate(&Method::GET, &headers, known(ETAG), at(WRITTEN_SECS + 100, 0));
        }
    }

    /// A list of well-formed tags, written in any of the ways §5.6.1 allows, is that list.
    #[test]
    fn lists_are_read_back(tags in prop::collection::vec(tag(), 0..5), comma in prop::sample::select(vec![",", ", ", " ,\t", ",, ,"])) {
        let text = tags.join(comma);
        let read: Vec<_> = EntityTags(text.as_bytes()).map(<[u8]>::to_vec).collect();
        prop_assert_eq!(read, tags.iter().map(|tag| tag.clone().into_bytes()).collect::<Vec<_>>());
        let strong = tags.iter().any(|tag| tag == ETAG);
        let weak = strong || tags.contains(&format!("W/{ETAG}"));
        if !text.is_empty() {
            prop_assert_eq!(get(&[(IF_MATCH, &text)]), if strong { PROCEED } else { PreconditionFailed });
            prop_assert_eq!(get(&[(IF_NONE_MATCH, &text)]), if weak { NotModified } else { PROCEED });
        }
    }

    #[test]
    fn dates_order_as_times(written in 0..DATE_SECS_MAX, other in 0..DATE_SECS_MAX, near in -2i64..=2) {
        let other = if other % 2 == 0 { other } else { written.saturating_add_signed(near).min(DATE_SECS_MAX) };
        let date = last_modified_value(at(other, 0)).expect("in range");
        let date = date.to_str().expect("ASCII");
        let validators = Validators { etag: ETAG, last_modified: Some(at(written, 1)) };
        let answer = |name| evaluate(&Method::GET, &headers(&[(name, date)]), validators, at(DATE_SECS_MAX + 1, 0));
        prop_assert_eq!(answer(IF_MODIFIED_SINCE) == NotModified, written <= other);
        prop_assert_eq!(answer(IF_UNMODIFIED_SINCE) == PreconditionFailed, written > other);
        prop_assert_eq!(answer(IF_RANGE) == PROCEED, written == other);
    }
}
