//! Feeds libFuzzer's bytes to the oracle `jsonrpc_envelope`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| net_fuzz::jsonrpc_envelope(bytes));
