//! See `src/redis_request.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seekway_fuzz::redis_request::check(data));
