//! A short run of every fuzz target, without any tool: seeds, mutated at random.
//!
//! `FUZZ_ITERATIONS` sets the length of the run, `FUZZ_SEED` repeats one.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/src/lib.rs"]
mod oracles;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Long enough for every kind of mutation of every seed, short enough for each `cargo test`.
const ITERATION_COUNT: u64 = 4_000;

#[test]
fn http_heads_hold_what_their_oracle_demands() {
    run(
        "http_head",
        oracles::http_head,
        &[
            "\r\n",
            "\n",
            "\r",
            " ",
            ":",
            "\0",
            "\t",
            ",",
            "Content-Length: ",
            "Transfer-Encoding: ",
            "chunked",
            "Host: a\r\n",
            "http://",
            "HTTP/1.0",
            "HTTP/1.1",
            "5",
            "\r\n\r\n",
            "CONNECT ",
            "OPTIONS * ",
            "?",
            "/",
            "HTTP/1.1 204 No\r\n",
        ],
    );
}

#[test]
fn chunked_bodies_hold_what_their_oracle_demands() {
    run(
        "chunked_body",
        oracles::chunked_body,
        &[
            "\r\n",
            "\n",
            "\r",
            "0",
            "0\r\n\r\n",
            "5\r\nabcde\r\n",
            ";",
            "=",
            " ",
            "f",
            "fffffff",
            "\0",
            "X: y\r\n",
            "0\r\nX: y\r\n\r\n",
        ],
    );
}

#[test]
fn event_streams_hold_what_their_oracle_demands() {
    run(
        "sse_decoder",
        oracles::sse_decoder,
        &[
            "\r\n",
            "\n",
            "\r",
            "\n\n",
            ":",
            " ",
            "data",
            "data: x\n",
            "id: 7\n",
            "event: e\n",
            "retry: 5\n",
            "\u{feff}",
            "\0",
            ": c\n",
            "id\n",
            "data\n",
        ],
    );
}

#[test]
fn envelopes_hold_what_their_oracle_demands() {
    run(
        "jsonrpc_envelope",
        oracles::jsonrpc_envelope,
        &[
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\\u",
            "\\ud83d",
            "\\ude00",
            "null",
            "true",
            "-0",
            "1e5",
            "1.5",
            "0",
            "\"id\":1",
            "\"method\":\"a\"",
            "\"params\":{",
            "\"result\":{}",
            "\"error\":{}",
            "\"jsonrpc\":\"2.0\",",
            "\"\\u006dethod\":",
            " ",
            "\n",
            "\u{1}",
            "\u{e9}",
            "\"name\":\"a\",",
            "\"_meta\":{},",
        ],
    );
}

#[test]
fn frames_hold_what_their_oracle_demands() {
    run(
        "websocket_frames",
        oracles::websocket_frames,
        &[
            "\0",
            "\0\0\0\0",
            "\u{1}\u{7f}",
            "\u{9}",
            "\u{a}",
            "x",
            "{\"id\":1}",
            "\u{e9}",
            "\u{3}",
            "~",
            "\u{7f}",
        ],
    );
}

/// Gives the oracle every seed, and then mutations of them.
fn run(target: &str, oracle: fn(&[u8]), words: &[&str]) {
    // Tests run in the folder of their package.
    let folder = Path::new("fuzz/seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    seeds.iter().for_each(|seed| oracle(seed));
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("FUZZ_SEED").unwrap_or(clock);
    let iteration_count = number("FUZZ_ITERATIONS").unwrap_or(ITERATION_COUNT);
    for iteration in 0..iteration_count {
        let mut random = Random(seed.wrapping_add(iteration));
        let mut bytes = random.pick(&seeds).clone();
        for _ in 0..1 + random.below(6) {
            mutate(&mut bytes, &seeds, words, &mut random);
        }
        let result = std::panic::catch_unwind(|| oracle(&bytes));
        assert!(
            result.is_ok(),
            "FUZZ_SEED={} FUZZ_ITERATIONS=1 repeats it: {:?}",
            seed.wrapping_add(iteration),
            String::from_utf8_lossy(&bytes)
        );
    }
}

/// SplitMix64: all that is needed here is that a seed repeats a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Changes some bytes, as libFuzzer would.
fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str], random: &mut Random) {
    const SIZE_MAX: usize = 2000;
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(12)).min(bytes.len());
    match random.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.next() as u8,
        2 => drop(bytes.drain(at..end)),
        3 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        4 => {
            let other = random.pick(seeds);
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        5 if random.below(4) == 0 => bytes.truncate(at),
        _ => {
            let word = random.pick(words).as_bytes();
            let count = if random.below(8) == 0 { random.below(30) } else { 1 };
            bytes.splice(at..at, word.repeat(count));
        }
    }
    bytes.truncate(SIZE_MAX);
}
