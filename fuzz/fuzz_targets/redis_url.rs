//! See `src/redis_url.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seekway_fuzz::redis_url::check(data));
