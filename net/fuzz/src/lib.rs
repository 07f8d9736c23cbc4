//! What must hold for any bytes at all: one function per codec, which panics where it does not.
//!
//! `cargo fuzz` and the short run within `cargo test` (`net/tests/fuzz.rs`) share these. Each compares
//! the codec with itself over other cuts of the input, and with a plain model that is slow and
//! obvious.

// A panic is how an oracle speaks.
#![allow(clippy::unwrap_used)]

mod bodies;
mod envelopes;
mod events;
mod frames;
mod heads;

pub use bodies::chunked_body;
pub use envelopes::jsonrpc_envelope;
pub use events::sse_decoder;
pub use frames::websocket_frames;
pub use heads::http_head;

/// Some places to cut `bytes`: all of them in short input, else some that depend on its content.
fn cuts(bytes: &[u8]) -> Vec<usize> {
    if bytes.len() <= 48 {
        return (0..=bytes.len()).collect();
    }
    let mut state = bytes.iter().fold(bytes.len() as u64, |state, byte| {
        (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut cuts = vec![1, bytes.len() - 1];
    for _ in 0..6 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        cuts.push((state >> 33) as usize % bytes.len());
    }
    cuts
}
