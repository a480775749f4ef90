//! See `src/redis_record.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seekway_fuzz::redis_record::check(data));
