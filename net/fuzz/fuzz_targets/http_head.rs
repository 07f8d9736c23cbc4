//! Feeds libFuzzer's bytes to the oracle `http_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_fuzz::http_head(bytes));
