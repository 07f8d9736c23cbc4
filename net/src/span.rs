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
    /// A span from `start` up to, not including, `end`, both below [`Span::SIZE_MAX`].
    #[inline(always)]
    pub fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= Span::SIZE_MAX);
        Span { start: start as u32, end: end as u32 }
    }

    /// The longest buffer that spans can point into. Parsers check it once, where input enters.
    pub const SIZE_MAX: usize = u32::MAX as usize;

    /// Checks that spans can point into `buffer`.
    ///
    /// # Panics
    ///
    /// If they cannot: limits of sizes are far below 4 GiB.
    #[inline(always)]
    pub fn check(buffer: &[u8]) {
        assert!(buffer.len() <= Span::SIZE_MAX, "input is bounded far below 4 GiB");
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
    fn a_span_is_a_place_in_any_buffer_of_the_same_bytes() {
        let span = Span::new(4, 7);
        assert_eq!(span.of_bytes(b"one two"), b"two");
        assert_eq!(span.of_text("one two"), "two");
        assert_eq!((span.len(), span.is_empty()), (3, false));
        assert_eq!(span.shifted(3), Span { start: 7, end: 10 });
    }
}
