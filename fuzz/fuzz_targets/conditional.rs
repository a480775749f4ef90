//! See `src/conditional.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seekway_fuzz::conditional::check(data));
