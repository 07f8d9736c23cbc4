//! A place in a buffer: start and end as offsets, so that the buffer may move.

/// A range of bytes in the buffer that was parsed.
///
/// Offsets are 32 bits wide: no head and no message that passes our limits is near 4 GiB, and half
/// the size keeps the table of a head within few cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// A span from `start` up to, not including, `end`.
    ///
    /// # Panics
    ///
    /// If an offset is 4 GiB or more: the callers bound their input far below.
    #[inline]
    pub fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end);
        let offset = |value| u32::try_from(value).expect("input is bounded far below 4 GiB");
        Span { start: offset(start), end: offset(end) }
    }

    /// The span of `part`, which must be a slice out of `whole`.
    ///
    /// # Panics
    ///
    /// If `part` lies elsewhere.
    #[inline]
    pub fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        assert!(start <= whole.len() && part.len() <= whole.len() - start);
        Span::new(start, start + part.len())
    }

    /// The bytes at this place of `buffer`.
    ///
    /// # Panics
    ///
    /// If `buffer` is shorter than the one that was parsed.
    #[inline]
    pub fn of_bytes(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start as usize..self.end as usize]
    }

    /// The text at this place of `buffer`.
    ///
    /// # Panics
    ///
    /// If `buffer` is not the text that was parsed.
    #[inline]
    pub fn of_text(self, buffer: &str) -> &str {
        &buffer[self.start as usize..self.end as usize]
    }

    /// How many bytes the span covers.
    #[inline]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether the span covers nothing.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The same span in a buffer that begins `offset` bytes earlier.
    #[inline]
    pub fn shifted(self, offset: usize) -> Span {
        Span::new(self.start as usize + offset, self.end as usize + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_part_in_its_whole() {
        let whole = b"one two";
        let span = Span::of(&whole[4..], whole);
        assert_eq!(span, Span { start: 4, end: 7 });
        assert_eq!(span.of_bytes(whole), b"two");
        assert_eq!(span.shifted(3), Span { start: 7, end: 10 });
    }

    #[test]
    #[should_panic(expected = "assertion failed")]
    fn refuses_a_part_of_another_buffer() {
        let (whole, other) = ([0u8; 4], [0u8; 4]);
        Span::of(&other, &whole);
    }
}
