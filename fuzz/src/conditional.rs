//! Conditions (RFC 9110 §13). The first line of the input is a method and an object's time in seconds; the further
//! lines are `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since` and `If-Range`, an empty line
//! being no header.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::method::Method;
use seekway_gateway::delivery::conditional::{
    Outcome, Validators, evaluate, last_modified_value, needs_metadata_first,
};

const NAMES: [HeaderName; 5] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

const ETAG: &str = "\"a,b\"";

/// See the module.
pub fn check(data: &[u8]) {
    let (first, mut rest) = crate::line(data);
    let Ok(first) = std::str::from_utf8(first) else { return };
    let (method, written) = first.split_once(' ').unwrap_or((first, "0"));
    let Ok(method) = method.parse::<Method>() else { return };
    let Some(written) =
        written.parse().ok().and_then(|secs| UNIX_EPOCH.checked_add(Duration::from_secs(secs)))
    else {
        return;
    };
    let mut headers = HeaderMap::new();
    for name in NAMES {
        let (line, after) = crate::line(rest);
        rest = after;
        match HeaderValue::from_bytes(line) {
            Ok(value) if !value.is_empty() => drop(headers.insert(name, value)),
            _ => {}
        }
    }
    let validators = Validators { etag: ETAG, last_modified: Some(written) };
    let outcome = |headers: &HeaderMap| evaluate(&method, headers, validators, UNIX_EPOCH + NOW);
    let (got, has) = (outcome(&headers), |name: &HeaderName| headers.contains_key(name));
    let reading = method == Method::GET || method == Method::HEAD;

    assert_eq!(needs_metadata_first(&headers), !headers.is_empty());
    match got {
        Outcome::NotModified => {
            assert!(reading && (has(&header::IF_NONE_MATCH) || has(&header::IF_MODIFIED_SINCE)));
        }
        Outcome::PreconditionFailed => {
            let unread = has(&header::IF_NONE_MATCH) && !reading;
            assert!(unread || has(&header::IF_MATCH) || has(&header::IF_UNMODIFIED_SINCE));
        }
        Outcome::Proceed { range_applies } => {
            assert!(!range_applies || method == Method::GET);
            assert!(range_applies || method != Method::GET || has(&header::IF_RANGE));
        }
    }

    // §13.1.1: our tag in front of whatever list there is makes If-Match true, and it alone is looked at.
    let mut listed = headers.clone();
    prepend(&mut listed, header::IF_MATCH);
    if reading {
        assert_ne!(outcome(&listed), Outcome::PreconditionFailed, "{listed:?}");
    }
    // §13.1.2: the same in If-None-Match says that the client has these bytes.
    prepend(&mut listed, header::IF_NONE_MATCH);
    let known = if reading { Outcome::NotModified } else { Outcome::PreconditionFailed };
    assert_eq!(outcome(&listed), known, "{listed:?}");
    // §13.1.3: beside If-None-Match the date does not count.
    let mut dateless = headers.clone();
    dateless.remove(header::IF_MODIFIED_SINCE);
    if has(&header::IF_NONE_MATCH) {
        assert_eq!(outcome(&dateless), got, "{headers:?}");
    }

    // What we print as Last-Modified is what we compare with.
    if let Some(value) = last_modified_value(written) {
        let since = HeaderMap::from_iter([(header::IF_MODIFIED_SINCE, value)]);
        assert_eq!(evaluate(&Method::GET, &since, validators, UNIX_EPOCH + NOW), Outcome::NotModified);
    }
}

/// 2026, so that dates are neither all past nor all to come.
const NOW: Duration = Duration::from_secs(1_795_000_000);

/// Puts our tag in front of a list.
fn prepend(headers: &mut HeaderMap, name: HeaderName) {
    let list = headers.get(&name).map_or(&b""[..], HeaderValue::as_bytes);
    let list = [ETAG.as_bytes(), b", ", list].concat();
    headers.insert(name, HeaderValue::from_bytes(&list).expect("it was one before"));
}
