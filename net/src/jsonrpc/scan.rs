//! One strict pass over JSON that finds where values begin and end, and builds nothing.
//!
//! All of RFC 8259 is checked but what `\u` escapes stand for: whoever unpacks a string does that
//! (`unescape`). Nesting costs one bit and no stack, so no input can overflow it.
//!
//! The leaves take bytes and an offset and return the offset behind what they took, so that all of
//! it stays in registers: this is the largest part of a request's own work.

use crate::Span;
use crate::error::JsonError;
use crate::jsonrpc::text::unescape_inner;

/// The deepest nesting that any limit can allow: one bit each in a `u128`, and what serde_json
/// accepts with its recursion limit of 128.
pub const DEPTH_CAP: usize = 127;

/// A cursor over text that is known to be UTF-8.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    error: Option<JsonError>,
}

/// The scan came to an error; [`Scanner::error`] has it. Without a size of its own it makes every
/// result as small as its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop;

/// A key as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    pub(super) raw: &'a str,
    pub(super) is_escaped: bool,
}

impl<'a> Scanner<'a> {
    #[inline]
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        Span::check(text.as_bytes());
        Scanner { text, at: 0, error: None }
    }

    /// Offset of the next byte.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Why the scan stopped: what was refused, else that the next token does not fit.
    #[cold]
    pub(super) fn error(&self) -> JsonError {
        self.error.unwrap_or(JsonError::Syntax { at: self.at })
    }

    /// Stops the scan for a reason other than syntax.
    #[cold]
    pub(super) fn refuse(&mut self, error: JsonError) -> Stop {
        self.error = Some(error);
        Stop
    }

    #[inline(always)]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The next byte; 0, which begins nothing in JSON, at the end.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        byte_at(self.bytes(), self.at)
    }

    /// Skips white space and returns the byte behind it, without taking that.
    #[inline(always)]
    pub(super) fn space(&mut self) -> u8 {
        self.at = space(self.bytes(), self.at);
        self.peek()
    }

    /// Checks that nothing but white space is left.
    #[inline]
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(Stop) }
    }

    /// Gives every member of the object that begins here to `take`, which must skip the value; the
    /// cursor stands on its first byte then.
    #[inline(always)]
    pub(super) fn members(
        &mut self,
        mut take: impl FnMut(&mut Scanner<'a>, Key<'a>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut is_more = self.open()?;
        while is_more {
            let key = self.key()?;
            take(self, key)?;
            is_more = self.next_member()?;
        }
        Ok(())
    }

    /// Takes the brace that opens an object; says whether there is a member.
    #[inline(always)]
    pub(super) fn open(&mut self) -> Result<bool, Stop> {
        if self.peek() != b'{' {
            return Err(Stop);
        }
        self.at += 1;
        let is_empty = self.space() == b'}';
        self.at += usize::from(is_empty);
        Ok(!is_empty)
    }

    /// Takes what follows a member's value; says whether there is another member.
    #[inline(always)]
    pub(super) fn next_member(&mut self) -> Result<bool, Stop> {
        let byte = self.space();
        let is_more = byte == b',';
        if !is_more && byte != b'}' {
            return Err(Stop);
        }
        self.at += 1;
        if is_more {
            self.space();
        }
        Ok(is_more)
    }

    /// Gives every item of the array that begins here to `take`, as [`Scanner::members`] does.
    pub(super) fn items(
        &mut self,
        mut take: impl FnMut(&mut Scanner<'a>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if self.peek() != b'[' {
            return Err(Stop);
        }
        self.at += 1;
        if self.space() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            take(self)?;
            let byte = self.space();
            if byte != b',' && byte != b']' {
                return Err(Stop);
            }
            self.at += 1;
            if byte == b']' {
                return Ok(());
            }
            self.space();
        }
    }

    /// Takes a key, its colon and the white space before the value.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Result<Key<'a>, Stop> {
        let bytes = self.bytes();
        let (start, end) = (self.at + 1, string(bytes, self.at).ok_or(Stop)?);
        self.at = colon(bytes, end.behind()).ok_or(Stop)?;
        Ok(Key { raw: &self.text[start..end.behind() - 1], is_escaped: end.is_escaped })
    }

    /// Looks a key up by its text: to every reader that unescapes, `"\u006dethod"` is `method`.
    #[inline(always)]
    pub(super) fn named<T>(&mut self, key: Key<'_>, find: impl Fn(&str) -> T) -> Result<T, Stop> {
        if !key.is_escaped {
            return Ok(find(key.raw));
        }
        match unescape_inner(key.raw) {
            Ok(name) => Ok(find(&name)),
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// Takes a value with at most `depth_max` levels in it and returns its place.
    #[inline(always)]
    pub(super) fn value(&mut self, depth_max: usize) -> Result<Span, Stop> {
        let start = self.at;
        match scalar(self.bytes(), self.at) {
            Scalar::Behind(at) => self.at = at,
            Scalar::Nested => self.nested(depth_max)?,
            Scalar::Wrong => return Err(Stop),
        }
        Ok(Span::new(start, self.at))
    }

    /// Takes the object or array that begins here. `kinds` holds a bit per open level, the
    /// innermost lowest: 1 for an object.
    #[inline(never)]
    fn nested(&mut self, depth_max: usize) -> Result<(), Stop> {
        let depth_max = depth_max.min(DEPTH_CAP);
        let (bytes, mut at) = (self.bytes(), self.at);
        let (mut kinds, mut depth) = (0u128, 0usize);
        loop {
            // Here stands the brace or bracket of a new level.
            if depth == depth_max {
                return Err(self.refuse(JsonError::TooDeep { depth_max }));
            }
            depth += 1;
            let mut is_object = byte_at(bytes, at) == b'{';
            kinds = kinds << 1 | u128::from(is_object);
            at = space(bytes, at + 1);
            let mut is_end = byte_at(bytes, at) == close_of(is_object);
            if is_object && !is_end {
                at = self.or_stop(at, key(bytes, at))?;
            }
            loop {
                if is_end {
                    at += 1;
                    depth -= 1;
                    if depth == 0 {
                        self.at = at;
                        return Ok(());
                    }
                    kinds >>= 1;
                    is_object = kinds & 1 == 1;
                } else {
                    match scalar(bytes, at) {
                        Scalar::Behind(behind) => at = behind,
                        Scalar::Nested => break,
                        Scalar::Wrong => return self.or_stop(at, None).map(|_| ()),
                    }
                }
                at = space(bytes, at);
                let byte = byte_at(bytes, at);
                is_end = byte == close_of(is_object);
                if byte == b',' {
                    at = space(bytes, at + 1);
                    if is_object {
                        at = self.or_stop(at, key(bytes, at))?;
                    }
                } else if !is_end {
                    return self.or_stop(at, None).map(|_| ());
                }
            }
        }
    }

    /// Goes on behind a token, or stops at its beginning.
    #[inline(always)]
    fn or_stop(&mut self, at: usize, behind: Option<usize>) -> Result<usize, Stop> {
        if behind.is_none() {
            self.at = at;
        }
        behind.ok_or(Stop)
    }
}

#[inline(always)]
fn close_of(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

/// The byte at an offset; 0, which begins nothing in JSON, at the end.
#[inline(always)]
fn byte_at(bytes: &[u8], at: usize) -> u8 {
    match bytes.get(at) {
        Some(byte) => *byte,
        None => 0,
    }
}

/// Skips white space.
#[inline(always)]
fn space(bytes: &[u8], at: usize) -> usize {
    if byte_at(bytes, at) > b' ' { at } else { space_run(bytes, at) }
}

#[inline(never)]
fn space_run(bytes: &[u8], mut at: usize) -> usize {
    while matches!(byte_at(bytes, at), b' ' | b'\n' | b'\t' | b'\r') {
        at += 1;
    }
    at
}

/// Takes a colon with the white space around it.
#[inline(always)]
fn colon(bytes: &[u8], at: usize) -> Option<usize> {
    let at = space(bytes, at);
    if byte_at(bytes, at) == b':' { Some(space(bytes, at + 1)) } else { None }
}

/// Takes a key and its colon.
#[inline(always)]
fn key(bytes: &[u8], at: usize) -> Option<usize> {
    colon(bytes, string(bytes, at)?.behind())
}

/// What begins at an offset.
enum Scalar {
    /// A string, a number or a literal; behind it goes on.
    Behind(usize),
    /// An object or an array.
    Nested,
    /// Nothing of JSON.
    Wrong,
}

#[inline(always)]
fn scalar(bytes: &[u8], at: usize) -> Scalar {
    let behind = match byte_at(bytes, at) {
        b'"' => string(bytes, at).map(StringEnd::behind),
        b'{' | b'[' => return Scalar::Nested,
        b'-' | b'0'..=b'9' => number(bytes, at),
        b't' => literal(bytes, at, b"true"),
        b'f' => literal(bytes, at, b"false"),
        b'n' => literal(bytes, at, b"null"),
        _ => None,
    };
    behind.map_or(Scalar::Wrong, Scalar::Behind)
}

#[inline(always)]
fn literal(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let end = at + word.len();
    if bytes.get(at..end) == Some(word) { Some(end) } else { None }
}

/// Takes a number of any size (RFC 8259 §6): who computes with it checks its range.
#[inline]
fn number(bytes: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(byte_at(bytes, at) == b'-');
    at = if byte_at(bytes, at) == b'0' { at + 1 } else { digits(bytes, at)? };
    if byte_at(bytes, at) == b'.' {
        at = digits(bytes, at + 1)?;
    }
    if byte_at(bytes, at) | 0x20 == b'e' {
        at += 1;
        at += usize::from(matches!(byte_at(bytes, at), b'+' | b'-'));
        at = digits(bytes, at)?;
    }
    Some(at)
}

/// Takes one digit or more.
#[inline(always)]
fn digits(bytes: &[u8], at: usize) -> Option<usize> {
    let mut behind = at;
    while byte_at(bytes, behind).is_ascii_digit() {
        behind += 1;
    }
    if behind == at { None } else { Some(behind) }
}

/// Where a string ends; small enough to be returned in a register.
#[derive(Clone, Copy)]
struct StringEnd {
    behind: u32,
    is_escaped: bool,
}

impl StringEnd {
    #[inline(always)]
    fn new(behind: usize, is_escaped: bool) -> StringEnd {
        StringEnd { behind: behind as u32, is_escaped }
    }

    /// Offset behind the closing quote.
    #[inline(always)]
    fn behind(self) -> usize {
        self.behind as usize
    }
}

/// Takes a string with its quotes. One that ends within 8 bytes, as most keys do, takes the short
/// way.
#[inline(always)]
fn string(bytes: &[u8], at: usize) -> Option<StringEnd> {
    if byte_at(bytes, at) != b'"' {
        return None;
    }
    let start = at + 1;
    if let Some(word) = word_at(bytes, start) {
        let end = start + first_special(word);
        if byte_at(bytes, end) == b'"' {
            return Some(StringEnd::new(end + 1, false));
        }
    }
    string_rest(bytes, start)
}

/// Takes the rest of a string, from within it.
#[inline(never)]
fn string_rest(bytes: &[u8], mut at: usize) -> Option<StringEnd> {
    let mut is_escaped = false;
    loop {
        at = plain(bytes, at);
        match byte_at(bytes, at) {
            b'"' => return Some(StringEnd::new(at + 1, is_escaped)),
            b'\\' => {
                is_escaped = true;
                at = escape(bytes, at)?;
            }
            // A control byte, or the end.
            _ => return None,
        }
    }
}

#[inline]
fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match byte_at(bytes, at + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => Some(at + 6),
        _ => None,
    }
}

/// Skips to the next quote, backslash or control byte, or to the end: 16 bytes at a time, and behind
/// the first 64 with a search whose start only then pays.
#[inline(always)]
fn plain(bytes: &[u8], mut at: usize) -> usize {
    let short_end = at + 64;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        // Without a way out of the loop the compiler compares all 16 at once.
        if block.iter().fold(false, |found, byte| found | is_special(*byte)) {
            break;
        }
        at += 16;
        if at == short_end {
            return plain_long(bytes, at);
        }
    }
    while let Some(word) = word_at(bytes, at) {
        let size = first_special(word);
        at += size;
        if size < 8 {
            return at;
        }
    }
    while at < bytes.len() && !is_special(bytes[at]) {
        at += 1;
    }
    at
}

/// Skips a long run: finds its end by the quote or backslash, then looks for control bytes.
#[inline(never)]
fn plain_long(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let run = &rest[..end];
    // The smallest byte is found 16 bytes at a time.
    let smallest = run.iter().fold(u8::MAX, |smallest, byte| smallest.min(*byte));
    let control = if smallest < b' ' { run.iter().position(|byte| *byte < b' ') } else { None };
    at + control.unwrap_or(end)
}

/// Whether a byte ends a plain run within a string.
#[inline]
fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

#[inline(always)]
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// The index of the first special byte in a word; 8 if it has none.
///
/// Marks it by its highest bit. Borrows can mark bytes behind the first special one as well, never
/// one before it, so the lowest mark is right.
#[inline(always)]
fn first_special(word: u64) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zero_bytes(word ^ (ONES * b'"' as u64));
    let backslashes = zero_bytes(word ^ (ONES * b'\\' as u64));
    let controls = word.wrapping_sub(ONES * b' ' as u64) & !word;
    ((quotes | backslashes | controls) & HIGHS).trailing_zeros() as usize / 8
}
