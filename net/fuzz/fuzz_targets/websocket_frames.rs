//! Feeds libFuzzer's bytes to the oracle `websocket_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_fuzz::websocket_frames(bytes));
