//! Every kept input, on every test run: what a fuzzer has found once is not forgotten.

use std::fs;
use std::path::Path;

/// Calls `check` with every input in `corpus/{target}`.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let inputs: Vec<_> =
        fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    assert!(inputs.len() >= 10, "{} has {} inputs: they are missing", folder.display(), inputs.len());
    for input in inputs {
        println!("{}", input.display());
        check(&fs::read(&input).expect("readable"));
    }
}

#[test]
fn ranges() {
    replay("range", seekway_fuzz::range::check);
}

#[test]
fn conditions() {
    replay("conditional", seekway_fuzz::conditional::check);
}

#[test]
fn hosts() {
    replay("host", seekway_fuzz::host::check);
}

#[test]
fn paths() {
    replay("path", seekway_fuzz::path::check);
}

#[test]
fn forwarded_addresses() {
    replay("forwarded", seekway_fuzz::forwarded::check);
}

#[test]
fn proxy_headers() {
    replay("proxy_protocol", seekway_fuzz::proxy_protocol::check);
}

#[test]
fn heads() {
    replay("head", seekway_fuzz::head::check);
}

#[test]
fn redis_values() {
    replay("redis_value", seekway_fuzz::redis_value::check);
}

#[test]
fn redis_requests() {
    replay("redis_request", seekway_fuzz::redis_request::check);
}

#[test]
fn redis_records() {
    replay("redis_record", seekway_fuzz::redis_record::check);
}

#[test]
fn redis_urls() {
    replay("redis_url", seekway_fuzz::redis_url::check);
}
