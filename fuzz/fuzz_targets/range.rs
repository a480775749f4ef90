//! See `src/range.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seekway_fuzz::range::check(data));
