//! Feeds libFuzzer's bytes to the oracle `chunked_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_fuzz::chunked_body(bytes));
