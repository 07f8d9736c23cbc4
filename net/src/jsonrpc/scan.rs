//! One strict pass over JSON that finds where values begin and end, and builds nothing.
//!
//! All of RFC 8259 is checked but what lies inside `\u` escapes: whoever unpacks a string does that
//! (`unescape`). Nesting costs one bit and no stack, so no input can overflow it.

use crate::Span;
use crate::error::JsonError;

/// The deepest nesting that any limit can allow: one bit each in a `u128`, and what serde_json
/// accepts with its recursion limit of 128.
pub const DEPTH_CAP: usize = 127;

/// A cursor over text that is known to be UTF-8.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A key as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    pub(super) raw: &'a str,
    pub(super) is_escaped: bool,
}

impl<'a> Scanner<'a> {
    #[inline]
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    /// Offset of the next byte.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next byte; 0, which begins nothing in JSON, at the end.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    #[cold]
    fn fail<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax { at: self.at })
    }

    /// Skips white space and returns the byte behind it, without taking that.
    #[inline(always)]
    pub(super) fn space(&mut self) -> u8 {
        loop {
            let byte = self.peek();
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return byte;
            }
            self.at += 1;
        }
    }

    /// Checks that nothing but white space is left.
    #[inline]
    pub(super) fn finish(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.fail() }
    }

    /// Gives every member of the object that begins here to `take`, which must skip the value; the
    /// cursor stands on its first byte then.
    #[inline(always)]
    pub(super) fn members(
        &mut self,
        mut take: impl FnMut(&mut Scanner<'a>, Key<'a>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        let mut is_more = self.open()?;
        while is_more {
            let key = self.key()?;
            take(self, key)?;
            is_more = self.next_member()?;
        }
        Ok(())
    }

    /// Whether an object begins here.
    #[inline]
    pub(super) fn is_at_object(&self) -> bool {
        self.peek() == b'{'
    }

    /// Takes the brace that opens an object; says whether there is a member.
    #[inline]
    pub(super) fn open(&mut self) -> Result<bool, JsonError> {
        if self.peek() != b'{' {
            return self.fail();
        }
        self.at += 1;
        let is_empty = self.space() == b'}';
        self.at += usize::from(is_empty);
        Ok(!is_empty)
    }

    /// Takes what follows a member's value; says whether there is another member.
    #[inline]
    pub(super) fn next_member(&mut self) -> Result<bool, JsonError> {
        match self.space() {
            b',' => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            b'}' => {
                self.at += 1;
                Ok(false)
            }
            _ => self.fail(),
        }
    }

    /// Takes a key, its colon and the white space before the value.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Key<'a>, JsonError> {
        let start = self.at + 1;
        let is_escaped = self.string()?;
        let raw = &self.text[start..self.at - 1];
        self.colon()?;
        Ok(Key { raw, is_escaped })
    }

    #[inline(always)]
    fn colon(&mut self) -> Result<(), JsonError> {
        if self.space() != b':' {
            return self.fail();
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// Takes a value with at most `depth_max` levels in it and returns its place.
    #[inline]
    pub(super) fn value(&mut self, depth_max: usize) -> Result<Span, JsonError> {
        let start = self.at;
        if !self.scalar()? {
            self.nested(depth_max)?;
        }
        Ok(Span::new(start, self.at))
    }

    /// Takes a string, a number or a literal; returns false where an object or array begins.
    #[inline(always)]
    fn scalar(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            b'"' => self.string().map(|_| true),
            b'{' | b'[' => Ok(false),
            b'-' | b'0'..=b'9' => self.number().map(|()| true),
            b't' => self.literal("true").map(|()| true),
            b'f' => self.literal("false").map(|()| true),
            b'n' => self.literal("null").map(|()| true),
            _ => self.fail(),
        }
    }

    /// Takes the object or array that begins here. `kinds` holds a bit per open level, the
    /// innermost lowest: 1 for an object.
    fn nested(&mut self, depth_max: usize) -> Result<(), JsonError> {
        let depth_max = depth_max.min(DEPTH_CAP);
        let (mut kinds, mut depth) = (0u128, 0usize);
        loop {
            // Here stands the brace or bracket of a new level.
            if depth == depth_max {
                return Err(JsonError::TooDeep { depth_max });
            }
            depth += 1;
            let is_object = self.peek() == b'{';
            kinds = kinds << 1 | u128::from(is_object);
            self.at += 1;
            let close = if is_object { b'}' } else { b']' };
            let mut is_value_next = self.space() != close;
            if is_value_next && is_object {
                self.key()?;
            }
            loop {
                if is_value_next {
                    if !self.scalar()? {
                        break;
                    }
                } else {
                    self.at += 1;
                    kinds >>= 1;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                is_value_next = self.next_item(kinds & 1 == 1)?;
            }
        }
    }

    /// Behind an item of an object or array: takes a comma (and the next key) and returns true, or
    /// finds the end and returns false.
    #[inline(always)]
    fn next_item(&mut self, is_object: bool) -> Result<bool, JsonError> {
        match (self.space(), is_object) {
            (b',', true) => {
                self.at += 1;
                self.space();
                self.string()?;
                self.colon()?;
                Ok(true)
            }
            (b',', false) => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            (b'}', true) | (b']', false) => Ok(false),
            _ => self.fail(),
        }
    }

    #[inline]
    fn literal(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail();
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes a number of any size (RFC 8259 §6): who computes with it checks its range.
    #[inline]
    fn number(&mut self) -> Result<(), JsonError> {
        self.at += usize::from(self.peek() == b'-');
        match self.peek() {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if self.peek() | 0x20 == b'e' {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            self.digits()?;
        }
        Ok(())
    }

    /// Takes one digit or more.
    #[inline(always)]
    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_ascii_digit() {
            return self.fail();
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    /// Takes a string with its quotes; says whether it has escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Result<bool, JsonError> {
        if self.peek() != b'"' {
            return self.fail();
        }
        self.at += 1;
        let mut is_escaped = false;
        loop {
            self.skip_plain();
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(is_escaped);
                }
                b'\\' => {
                    is_escaped = true;
                    self.escape()?;
                }
                // A control byte, or the end.
                _ => return self.fail(),
            }
        }
    }

    #[inline]
    fn escape(&mut self) -> Result<(), JsonError> {
        let bytes = &self.text.as_bytes()[self.at..];
        match bytes {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => {
                self.at += 6;
            }
            _ => return self.fail(),
        }
        Ok(())
    }

    /// Skips to the next quote, backslash or control byte, or to the end.
    ///
    /// Short runs are searched 8 bytes at a time; behind [`SHORT`] bytes vector code pays.
    #[inline(always)]
    fn skip_plain(&mut self) {
        const SHORT: usize = 32;
        let bytes = self.text.as_bytes();
        let short_end = self.at + SHORT;
        while let Some(word) = bytes.get(self.at..self.at + 8) {
            let word = u64::from_le_bytes(word.try_into().expect("the slice has 8 bytes"));
            let marks = special_bytes(word);
            if marks != 0 {
                self.at += (marks.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
            if self.at == short_end {
                return self.skip_plain_long();
            }
        }
        while self.at < bytes.len() && !is_special(bytes[self.at]) {
            self.at += 1;
        }
    }

    /// Skips a long run: finds its end by the quote or backslash, then looks for control bytes.
    #[inline(never)]
    fn skip_plain_long(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let run = &rest[..end];
        // Without a way out of the loop it is done 16 bytes at a time.
        let has_control = run.iter().fold(false, |found, byte| found | (*byte < b' '));
        let size = if has_control { run.iter().position(|byte| *byte < b' ') } else { None };
        self.at += size.unwrap_or(end);
    }
}

/// Whether a byte ends a plain run within a string.
#[inline]
fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Marks the special bytes of a word by their highest bit. Borrows can mark bytes behind the first
/// special one as well, never one before it, so the lowest mark is right.
#[inline(always)]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zero_bytes(word ^ (ONES * b'"' as u64));
    let backslashes = zero_bytes(word ^ (ONES * b'\\' as u64));
    let controls = word.wrapping_sub(ONES * b' ' as u64) & !word;
    (quotes | backslashes | controls) & HIGHS
}
