//! A guard before parsers that recurse: refuses nesting that would overflow their stack.
//!
//! sonic-rs, for one, overflows a stack of 2 MiB on some 9 KB of `[`, which aborts the process. The
//! envelope codec of this crate needs no guard; a parser that recurses without a limit does.

use std::str::Utf8Error;

/// JSON that is nested deeper than its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooDeep {
    /// The bound, in levels.
    pub depth_max: usize,
}

impl std::fmt::Display for TooDeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "The message is nested deeper than {} levels.", self.depth_max)
    }
}

impl std::error::Error for TooDeep {}

/// Checks that a recursive parser goes at most `depth_max` levels deep into `bytes`.
///
/// Most input has fewer brackets than the bound has levels and is only counted. The bytes need not
/// be JSON: whatever a parser would accept before it stumbles is within the bound.
///
/// # Errors
///
/// [`TooDeep`]: refuse the message.
#[inline]
pub fn check(bytes: &[u8], depth_max: usize) -> Result<(), TooDeep> {
    if count_open(bytes) <= depth_max || depth(bytes) <= depth_max {
        Ok(())
    } else {
        Err(TooDeep { depth_max })
    }
}

/// Checks that `bytes` are UTF-8 and returns them as text.
///
/// # Errors
///
/// Says where they stop being UTF-8.
#[inline]
pub fn text(bytes: &[u8]) -> Result<&str, Utf8Error> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Ok(text),
        // The slow way knows the place.
        Err(_) => std::str::from_utf8(bytes),
    }
}

/// Counts the opening brackets, those within strings too.
///
/// `[` and `{` differ in one bit. A block is counted in bytes, so that the compiler adds 16 lanes at
/// a time; the count of a block fits into one.
#[inline]
fn count_open(bytes: &[u8]) -> usize {
    const BLOCK: usize = 128;
    let count = |block: &[u8]| {
        block.iter().map(|byte| u8::from(byte | 0x20 == b'{')).fold(0u8, u8::wrapping_add)
    };
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let in_blocks: usize = blocks.iter().map(|block| usize::from(count(block))).sum();
    in_blocks + usize::from(count(rest))
}

/// Finds how deep the nesting goes, brackets within strings left out.
#[cold]
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut at) = (0usize, 0, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at = string_end(bytes, at),
            _ => {}
        }
    }
    deepest
}

/// The offset behind the string that `at` is within.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(size) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += size + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        // Whatever was escaped.
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_the_levels_that_are_open_at_once() {
        let flat = "[1],{\"a\":[]},".repeat(1000);
        assert_eq!(check(flat.as_bytes(), 2), Ok(()));
        assert_eq!(check(flat.as_bytes(), 1), Err(TooDeep { depth_max: 1 }));
        for size in [1, 5, 127, 128, 129, 300, 100_000] {
            let deep = "[".repeat(size);
            assert_eq!(check(deep.as_bytes(), size), Ok(()), "{size}");
            assert_eq!(check(deep.as_bytes(), size - 1), Err(TooDeep { depth_max: size - 1 }));
            let mixed = "{\"a\":[".repeat(size);
            assert!(check(mixed.as_bytes(), 2 * size - 1).is_err(), "{size}");
        }
    }

    #[test]
    fn brackets_within_strings_are_no_levels() {
        let text = format!("[\"{}\\\"[[[\\\\\",[1]]", "[{".repeat(500));
        assert_eq!(check(text.as_bytes(), 2), Ok(()));
        assert!(check(text.as_bytes(), 1).is_err());
    }

    #[test]
    fn tells_text_from_bytes() {
        assert_eq!(text("caf\u{e9}".as_bytes()), Ok("caf\u{e9}"));
        assert_eq!(text(b"abc\xff").unwrap_err().valid_up_to(), 3);
        assert!(text(b"\xed\xa0\xbd").is_err(), "a surrogate is no UTF-8");
    }
}
