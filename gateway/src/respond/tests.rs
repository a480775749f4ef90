use std::sync::Arc;

use seekway_storage::{Error, InvalidKey, SharedError};
use serde_json::Value;

use super::*;

const SECRET: &str = "bucket-of-acme/secret.mp4 at 10.0.0.7";

fn secret() -> SharedError {
    Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(SECRET))
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "tables read better without references")]
fn check(what: Problem, status: u16, retry: bool) -> Response<Bytes> {
    let response = problem(&what, Some("id-\"1\""));
    assert_eq!(response.status(), status, "{what:?}");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers().contains_key(header::RETRY_AFTER), retry, "{what:?}");
    let document: Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!(document["type"], "about:blank");
    assert_eq!(document["status"], status);
    assert_eq!(document["title"], response.status().canonical_reason().expect("named"));
    assert!(document["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what:?}");
    assert_eq!(document["request_id"], "id-\"1\"");
    response
}

#[test]
fn the_stores_errors_have_statuses() {
    for (error, status, retry) in [
        (Error::NotFound, 404, false),
        (Error::Forbidden(secret()), 404, false),
        (Error::VersionChanged, 503, true),
        (Error::RangeNotSatisfiable { size: None }, 416, false),
        (Error::InvalidKey("it is secret.mp4"), 400, false),
        (Error::Throttled(secret().into()), 503, true),
        (Error::Unavailable(secret()), 503, true),
        (Error::Timeout("connect to 10.0.0.7"), 504, true),
        (Error::Interrupted(secret()), 502, false),
        (Error::Protocol(SECRET.to_owned()), 502, false),
        (Error::Other(secret()), 502, false),
    ] {
        let response = check(Problem::Storage(error), status, retry);
        let body = std::str::from_utf8(response.body()).expect("text");
        assert!(!body.contains("secret") && !body.contains("10.0.0.7"), "{body}");
    }
}

#[test]
fn what_is_forbidden_looks_like_what_is_not_there() {
    let answer = |error| problem(&Problem::Storage(error), None);
    let (missing, forbidden) = (answer(Error::NotFound), answer(Error::Forbidden(secret())));
    assert_eq!(missing.body(), forbidden.body());
    assert_eq!(missing.headers(), forbidden.headers());
    assert_eq!(missing.body(), problem(&Problem::NoObject, None).body());
}

#[test]
fn a_store_that_forbids_writing_is_not_one_without_an_object() {
    let response = check(Problem::Storage(Error::Forbidden(secret())).of_uploading(), 502, false);
    assert!(!std::str::from_utf8(response.body()).expect("text").contains("secret"));
    check(Problem::Storage(Error::NotFound).of_uploading(), 404, false);
}

#[test]
fn our_own_problems_have_statuses() {
    check(Problem::NoRoute, 404, false);
    check(Problem::NoObject, 404, false);
    check(Problem::ListingOff, 404, false);
    check(seekway_cache::Error::Busy.into(), 503, true);
    check(seekway_cache::Error::Store(Error::NotFound).into(), 404, false);
    check(Problem::BadQuery(BadQuery::Limit), 400, false);
    check(Problem::BadHost, 400, false);
    check(Problem::TooManyHeaders, 431, false);
    check(Problem::PreconditionFailed, 412, false);
    check(Problem::Busy, 503, true);
    check(Problem::NotReady, 503, true);
    check(Problem::Overloaded, 503, true);
    let wait = check(Problem::TooManyRequests { retry_after_secs: 7 }, 429, true);
    assert_eq!(wait.headers()["retry-after"], "7");
    check(Problem::BadHead(BadHead::LineEnd), 400, false);
    check(Problem::BadHead(BadHead::TooLarge), 431, false);
    check(Problem::Changing, 503, true);
    check(Problem::Panicked, 500, false);
    let response = check(Problem::BadKey(BadKey::Invalid(InvalidKey::TooLong)), 400, false);
    let document: Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!(document["detail"], "the key is longer than 1024 bytes");
}

#[test]
fn a_405_says_what_is_allowed() {
    let response = check(Problem::MethodNotAllowed(&[Method::GET, Method::HEAD]), 405, false);
    assert_eq!(response.headers()["allow"], "GET, HEAD");
}

#[test]
fn a_416_says_the_size_where_it_is_known() {
    let error = Error::RangeNotSatisfiable { size: Some(10) };
    for what in [Problem::RangeNotSatisfiable { size: Some(10) }, Problem::Storage(error)] {
        assert_eq!(check(what, 416, false).headers()["content-range"], "bytes */10");
    }
    let unknown = check(Problem::RangeNotSatisfiable { size: None }, 416, false);
    assert!(unknown.headers().get(header::CONTENT_RANGE).is_none());
}

#[test]
fn without_an_id_none_is_shown() {
    let response = problem(&Problem::NoRoute, None);
    let expected = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"There is nothing at this path."}"#;
    assert_eq!(response.body(), expected);
}
