//! The header fields of a head: places in the buffer, no copies.

use crate::Span;
use crate::error::HeadError;
use crate::http1::encode::is_token;
use crate::http1::head::HeadLimits;
use crate::http1::lines::text_end;

/// Where the fields of a head lie in its buffer.
///
/// The table keeps its memory from head to head. Every accessor takes the buffer that was parsed,
/// beginning at the same byte; it may have moved or grown meanwhile.
#[derive(Debug, Default)]
pub struct Fields {
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// What most other names differ in: see [`tag`].
    tag: u32,
    name_start: u32,
    value: Span,
}

impl Place {
    #[inline]
    fn name(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.name_start as usize..][..(self.tag >> 16) as usize]
    }
}

/// Length, first and last letter of a name, in whatever case: one comparison passes over a field
/// that is not looked for.
#[inline(always)]
pub(super) const fn tag(name: &[u8]) -> u32 {
    let (first, last) = (name[0] | 0x20, name[name.len() - 1] | 0x20);
    (name.len() as u32) << 16 | (first as u32) << 8 | last as u32
}

impl Fields {
    /// Returns the value of the first field called `name`, in whatever case; outer white space is
    /// already gone.
    #[inline]
    pub fn get<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
        self.all(bytes, name).next()
    }

    /// Returns every value of the fields called `name`, in order.
    #[inline]
    pub fn all<'a>(&self, bytes: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
        let tag = if name.is_empty() { 0 } else { tag(name.as_bytes()) };
        self.places
            .iter()
            .filter(move |place| place.tag == tag)
            .filter(move |place| is_same(place.name(bytes), name.as_bytes()))
            .map(move |place| place.value.of_bytes(bytes))
    }

    /// Returns how many fields are called `name`: a field that decides something must not be there
    /// twice, since the next reader might take the other one.
    pub fn count(&self, bytes: &[u8], name: &str) -> usize {
        self.all(bytes, name).count()
    }

    /// Returns the value of the field called `name`, if there is exactly one.
    #[inline]
    pub fn sole<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let mut all = self.all(bytes, name);
        let first = all.next();
        if all.next().is_none() { first } else { None }
    }

    /// Returns all fields in order, as name and value.
    pub fn iter<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.places.iter().map(move |place| (place.name(bytes), place.value.of_bytes(bytes)))
    }

    /// Returns how many fields there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Forgets all fields and keeps the memory.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.places.clear();
    }

    /// Takes over the field that begins at offset `start`; nothing while it is not complete.
    #[inline(always)]
    pub(super) fn push<'a>(
        &mut self,
        bytes: &'a [u8],
        start: usize,
        limits: &HeadLimits,
    ) -> Result<Option<Field<'a>>, HeadError> {
        let Some(size) = name_size(&bytes[start..])? else { return Ok(None) };
        let colon = start + size;
        let Some(end) = text_end(bytes, colon + 1)? else { return Ok(None) };
        // The tag has 16 bits for the length of the name.
        if end - start > limits.field_size_max.min(usize::from(u16::MAX)) {
            return Err(HeadError::FieldTooLong);
        }
        if self.places.len() == limits.field_count_max {
            return Err(HeadError::FieldCount);
        }
        let name = &bytes[start..colon];
        let (tag, value) = (tag(name), trim(bytes, colon + 1, end));
        self.places.push(Place { tag, name_start: start as u32, value });
        Ok(Some(Field { tag, name, value, end }))
    }
}

/// A field that was just read.
pub(super) struct Field<'a> {
    pub(super) tag: u32,
    pub(super) name: &'a [u8],
    pub(super) value: Span,
    /// Offset of its CR LF.
    pub(super) end: usize,
}

impl Field<'_> {
    /// Whether the field is called `name`, which is in lower case and has no underscore, and whose
    /// tag is the field's.
    ///
    /// A bit makes letters small and leaves hyphens and digits as they are; what else could become
    /// one of these is no token.
    #[inline(always)]
    pub(super) fn is<const N: usize>(&self, name: &[u8; N]) -> bool {
        let Some(start) = self.name.first_chunk::<N>() else { return false };
        let differs = |difference, (mine, other): (&u8, &u8)| difference | ((mine | 0x20) ^ other);
        self.name.len() == N && start.iter().zip(name).fold(0, differs) == 0
    }
}

/// Leaves out the white space around a value.
#[inline(always)]
fn trim(bytes: &[u8], mut start: usize, mut end: usize) -> Span {
    if start < end && bytes[start] == b' ' {
        start += 1;
    }
    if start < end && (is_blank(bytes[start]) || is_blank(bytes[end - 1])) {
        while start < end && is_blank(bytes[start]) {
            start += 1;
        }
        while start < end && is_blank(bytes[end - 1]) {
            end -= 1;
        }
    }
    Span::new(start, end)
}

#[inline(always)]
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The length of the name that some bytes begin with: a token, with a colon right behind it; nothing
/// while the colon has not come. A folded line and white space before the colon are refused
/// (RFC 9112 §5.1, §5.2).
#[inline(always)]
fn name_size(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    let mut size = 0;
    // Nearly all names are letters and hyphens, which are checked 8 at a time.
    while let Some(word) = bytes.get(size..).and_then(|rest| rest.first_chunk()) {
        let plain = plain_size(u64::from_le_bytes(*word));
        size += plain;
        if plain < 8 {
            break;
        }
    }
    match bytes.get(size) {
        Some(b':') if size > 0 => Ok(Some(size)),
        _ => name_size_any(bytes, size),
    }
}

/// The same for any name, byte by byte, behind `size` bytes that are checked.
#[inline(never)]
fn name_size_any(bytes: &[u8], size: usize) -> Result<Option<usize>, HeadError> {
    let size = size + bytes[size..].iter().take_while(|byte| is_token(&[**byte])).count();
    match bytes.get(size) {
        None => Ok(None),
        Some(b':') if size > 0 => Ok(Some(size)),
        Some(_) => Err(HeadError::FieldName),
    }
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// How many letters and hyphens a word begins with.
#[inline(always)]
fn plain_size(word: u64) -> usize {
    let low = word & !HIGHS;
    let is_no_hyphen = (low ^ (ONES * b'-' as u64)) + ONES * 0x7f;
    let is_plain = (letters(word) | !is_no_hyphen) & !word;
    (!is_plain & HIGHS).trailing_zeros() as usize / 8
}

/// Marks the letters of a word by their highest bit; other bits, and those of bytes beyond ASCII,
/// mean nothing.
#[inline(always)]
fn letters(word: u64) -> u64 {
    let small = (word & !HIGHS) | (ONES * 0x20);
    // Sums stay within their byte, since both sides are below 128.
    (small + ONES * (0x80 - b'a' as u64)) & !(small + ONES * (0x7f - b'z' as u64))
}

/// Whether two tokens of the same length are the same in whatever case.
#[inline(always)]
fn is_same(name: &[u8], other: &[u8]) -> bool {
    let (words, rest) = name.as_chunks();
    let (other_words, other_rest) = other.as_chunks();
    words.iter().zip(other_words).all(|(word, other)| is_same_word(*word, *other))
        && rest.eq_ignore_ascii_case(other_rest)
}

/// Words are the same if they differ in the bit of the case alone, and there only in letters.
#[inline(always)]
fn is_same_word(word: [u8; 8], other: [u8; 8]) -> bool {
    let (word, other) = (u64::from_le_bytes(word), u64::from_le_bytes(other));
    let differs = word ^ other;
    differs & !(ONES * 0x20) == 0 && (differs << 2) & !letters(word) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_plain_as_far_as_its_letters_and_hyphens_go() {
        for byte in 0..=255u8 {
            for at in 0..8 {
                let mut word = *b"aZ-zA-bY";
                word[at] = byte;
                let is_plain = byte.is_ascii_alphabetic() || byte == b'-';
                let wanted = if is_plain { 8 } else { at };
                assert_eq!(plain_size(u64::from_le_bytes(word)), wanted, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn only_letters_are_the_same_in_both_cases() {
        for one in 0..=127u8 {
            for other in 0..=127u8 {
                let wanted = one.eq_ignore_ascii_case(&other);
                assert_eq!(is_same_word([one; 8], [other; 8]), wanted, "{one} {other}");
            }
        }
        assert!(is_same(b"Content-Type", b"content-type"));
        assert!(!is_same(b"Content-Type", b"content_type"));
        assert!(!is_same(b"Content-TypE", b"content-typo"));
    }

    #[test]
    fn a_name_is_a_token_with_a_colon_behind_it() {
        for (line, wanted) in [
            ("Host: a", Some(4)),
            ("Content-Type:", Some(12)),
            ("X-Very-Long-Name-Of-A-Field: a", Some(27)),
            ("X_1.~!#$%&'*+^`|: a", Some(16)),
            ("a:", Some(1)),
            ("abcdefgh:", Some(8)),
            ("abcdefg1:", Some(8)),
            ("", None),
            ("abc", None),
            ("abcdefgh", None),
            ("abc_", None),
        ] {
            assert_eq!(name_size(line.as_bytes()), Ok(wanted), "{line:?}");
        }
        for line in
            [":", ": a", "abc :", " abc:", "a b:", "abcdefgh ijk:", "caf\u{e9}:", "a(b:", "a\r"]
        {
            assert_eq!(name_size(line.as_bytes()), Err(HeadError::FieldName), "{line:?}");
        }
    }

    #[test]
    fn white_space_around_a_value_is_left_out() {
        for line in ["a:b c", "a: b c", "a:\t b c", "a: b c \t", "a:  b c  "] {
            assert_eq!(trim(line.as_bytes(), 2, line.len()).of_text(line), "b c", "{line:?}");
        }
        for line in ["a:", "a: ", "a:\t", "a: \t "] {
            assert_eq!(trim(line.as_bytes(), 2, line.len()).of_text(line), "", "{line:?}");
        }
    }
}
