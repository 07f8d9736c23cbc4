//! Feeds libFuzzer's bytes to the oracle `sse_decoder`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_fuzz::sse_decoder(bytes));
