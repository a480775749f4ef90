//! See `src/redis_value.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seekway_fuzz::redis_value::check(data));
