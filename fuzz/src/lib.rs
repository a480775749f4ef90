//! What must hold of the pure parsers for any bytes whatsoever: the gateway's, of what clients send, and the cache's, of
//! what comes from Redis.
//!
//! Each module has one `check`, which panics when something does not hold. libFuzzer calls it with bytes of its
//! own making (`scripts/fuzz`), every test run with those of the kept corpus (`corpus/`).

pub mod conditional;
pub mod forwarded;
pub mod head;
pub mod host;
pub mod path;
pub mod proxy_protocol;
pub mod range;
pub mod redis_record;
pub mod redis_request;
pub mod redis_url;
pub mod redis_value;

/// The first line of `data`, and what follows it.
fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}
