//! See `src/host.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| seekway_fuzz::host::check(data));
