//! Bodies: from the bytes of the connection to the bytes of the message (RFC 9112 §6, §7).
//!
//! The decoders are fed whatever arrived, however it was cut, and say how much of it they took.

use crate::error::BodyError;
use crate::http1::Framing;

/// Most hexadecimal digits of a chunk size: what 64 bits can need.
const SIZE_DIGIT_COUNT_MAX: u8 = 16;

/// Most bytes of chunk extensions in one body. Nobody sends any; without a bound for the body, one
/// byte of data per chunk could carry any amount of them (CVE-2023-39326).
const EXTENSION_SIZE_MAX: u32 = 4 * 1024;

/// Most bytes of trailers, which are read and dropped.
const TRAILER_SIZE_MAX: u32 = 8 * 1024;

/// What a decoder did with its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// How many bytes it took; the rest belongs to what follows the body.
    pub consumed: usize,
    /// Whether the body is complete.
    pub done: bool,
}

/// A piece of a body that was found without copying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Bytes of the body; may be empty.
    pub data: &'a [u8],
    /// How many bytes of the input were taken.
    pub consumed: usize,
    /// Whether the body is complete.
    pub done: bool,
}

/// Decodes one body, whichever way it is framed.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    size_max: u64,
    /// How many bytes of data were given so far.
    size: u64,
}

#[derive(Debug)]
enum State {
    Length { remaining: u64 },
    Chunked(ChunkedDecoder),
    UntilClose,
}

impl BodyDecoder {
    /// Begins a body of at most `size_max` bytes.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`] if the declared length already says so: a server can answer 413
    /// before it reads.
    #[inline]
    pub fn new(framing: Framing, size_max: u64) -> Result<BodyDecoder, BodyError> {
        let state = match framing {
            Framing::None => State::Length { remaining: 0 },
            Framing::Length(size) if size > size_max => {
                return Err(BodyError::TooLarge { size_max });
            }
            Framing::Length(size) => State::Length { remaining: size },
            Framing::Chunked => State::Chunked(ChunkedDecoder::default()),
            Framing::UntilClose => State::UntilClose,
        };
        Ok(BodyDecoder { state, size_max, size: 0 })
    }

    /// Returns the whole body as a slice of `input`, if its length is declared and all of it is
    /// there; nothing was fed before. This is the way without a copy.
    #[inline]
    pub fn whole<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        match self.state {
            State::Length { remaining } => input.get(..usize::try_from(remaining).ok()?),
            _ => None,
        }
    }

    /// Returns how many bytes are missing, where that is known.
    #[inline]
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length { remaining } => Some(remaining),
            _ => None,
        }
    }

    /// Bytes that the current chunk still has to bring.
    #[inline]
    fn announced(&self) -> u64 {
        match &self.state {
            State::Chunked(decoder) if decoder.part == Part::Data => decoder.size,
            _ => 0,
        }
    }

    /// Whether the connection may close now and the body still be whole.
    pub fn may_end(&self) -> bool {
        match &self.state {
            State::Length { remaining } => *remaining == 0,
            State::Chunked(decoder) => decoder.is_done(),
            State::UntilClose => true,
        }
    }

    /// Finds the next piece of the body in `input`, without copying.
    ///
    /// Call again with the rest of the input while it is neither used up nor `done`.
    ///
    /// # Errors
    ///
    /// [`BodyError`] knows the status to answer; the connection must be closed after it.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<Piece<'a>, BodyError> {
        let piece = match &mut self.state {
            State::Length { remaining } => {
                let size = usize::try_from(*remaining).map_or(input.len(), |r| r.min(input.len()));
                *remaining -= size as u64;
                Piece { data: &input[..size], consumed: size, done: *remaining == 0 }
            }
            State::Chunked(decoder) => decoder.next(input)?,
            State::UntilClose => Piece { data: input, consumed: input.len(), done: false },
        };
        self.size += piece.data.len() as u64;
        // What a chunk announces counts too, so that it is refused before it is read.
        if self.size.saturating_add(self.announced()) > self.size_max {
            return Err(BodyError::TooLarge { size_max: self.size_max });
        }
        Ok(piece)
    }

    /// Appends to `output` what `input` holds of the body.
    ///
    /// # Errors
    ///
    /// [`BodyError`] knows the status to answer; the connection must be closed after it.
    pub fn feed(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Fed, BodyError> {
        let mut consumed = 0;
        loop {
            let piece = self.next(&input[consumed..])?;
            output.extend_from_slice(piece.data);
            consumed += piece.consumed;
            if piece.done || consumed == input.len() {
                return Ok(Fed { consumed, done: piece.done });
            }
        }
    }
}

/// Decodes the chunked coding (RFC 9112 §7.1). Extensions and trailers are checked and dropped.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    part: Part,
    /// The size being read, or the bytes of the chunk that are missing.
    size: u64,
    digit_count: u8,
    extension_size: u32,
    trailer_size: u32,
}

/// Which part of the coding the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Size,
    /// White space behind the size; only an extension may follow it.
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

impl ChunkedDecoder {
    /// Whether the last chunk and the trailers are complete.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.part == Part::Done
    }

    /// Finds the next data in `input`, without copying; see [`BodyDecoder::next`].
    ///
    /// # Errors
    ///
    /// [`BodyError`] for malformed chunks and for extensions or trailers beyond their limits.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<Piece<'a>, BodyError> {
        let mut consumed = 0;
        while self.part != Part::Done && self.part != Part::Data {
            let Some(byte) = input.get(consumed) else {
                return Ok(Piece { data: b"", consumed, done: false });
            };
            consumed += 1;
            self.part = self.step(*byte)?;
        }
        let rest = &input[consumed..];
        let size = usize::try_from(self.size).map_or(rest.len(), |size| size.min(rest.len()));
        self.size -= size as u64;
        if self.part == Part::Data && self.size == 0 {
            self.part = Part::DataCr;
        }
        Ok(Piece { data: &rest[..size], consumed: consumed + size, done: self.is_done() })
    }

    /// Takes a byte that is not data and says which part comes next.
    #[inline]
    fn step(&mut self, byte: u8) -> Result<Part, BodyError> {
        match (self.part, byte) {
            (Part::Size, _) => self.step_size(byte),
            (Part::SizeSpace, b' ' | b'\t') => self.extend(byte),
            (Part::SizeSpace, b';') => Ok(Part::Extension),
            (Part::Extension, b'\r') => Ok(Part::SizeLf),
            (Part::Extension, _) => self.extend(byte),
            (Part::SizeLf, b'\n') if self.size == 0 => Ok(Part::TrailerStart),
            (Part::SizeLf, b'\n') => Ok(Part::Data),
            (Part::DataCr, b'\r') => Ok(Part::DataLf),
            (Part::DataLf, b'\n') => {
                self.digit_count = 0;
                Ok(Part::Size)
            }
            (Part::TrailerStart, b'\r') => Ok(Part::EndLf),
            (Part::Trailer, b'\r') => Ok(Part::TrailerLf),
            (Part::TrailerStart | Part::Trailer, _) => self.trail(byte),
            (Part::TrailerLf, b'\n') => Ok(Part::TrailerStart),
            (Part::EndLf, b'\n') => Ok(Part::Done),
            (Part::SizeSpace, _) => Err(BodyError::ChunkSize),
            _ => Err(BodyError::ChunkEnd),
        }
    }

    #[inline]
    fn step_size(&mut self, byte: u8) -> Result<Part, BodyError> {
        if let Some(digit) = (byte as char).to_digit(16) {
            self.digit_count += 1;
            if self.digit_count > SIZE_DIGIT_COUNT_MAX {
                return Err(BodyError::ChunkSize);
            }
            self.size = self.size << 4 | u64::from(digit);
            return Ok(Part::Size);
        }
        match byte {
            _ if self.digit_count == 0 => Err(BodyError::ChunkSize),
            b'\r' => Ok(Part::SizeLf),
            b';' => Ok(Part::Extension),
            b' ' | b'\t' => self.extend(byte).map(|_| Part::SizeSpace),
            _ => Err(BodyError::ChunkSize),
        }
    }

    /// Drops a byte of an extension, or of the white space before it.
    fn extend(&mut self, byte: u8) -> Result<Part, BodyError> {
        self.extension_size += 1;
        if self.extension_size > EXTENSION_SIZE_MAX {
            return Err(BodyError::ExtensionTooLong);
        }
        if is_text(byte) { Ok(self.part) } else { Err(BodyError::ChunkEnd) }
    }

    /// Drops a byte of a trailer.
    fn trail(&mut self, byte: u8) -> Result<Part, BodyError> {
        self.trailer_size += 1;
        if self.trailer_size > TRAILER_SIZE_MAX {
            return Err(BodyError::TrailerTooLong);
        }
        if is_text(byte) { Ok(Part::Trailer) } else { Err(BodyError::ChunkEnd) }
    }
}

/// Whether a byte may stand in a field value: no control byte but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and what follows it, or the sentence of the refusal.
    fn decode(framing: Framing, parts: &[&[u8]]) -> String {
        decode_within(framing, parts, 1 << 20)
    }

    fn decode_within(framing: Framing, parts: &[&[u8]], size_max: u64) -> String {
        let mut decoder = match BodyDecoder::new(framing, size_max) {
            Ok(decoder) => decoder,
            Err(error) => return error.to_string(),
        };
        let (mut output, mut rest, mut done) = (Vec::new(), Vec::new(), false);
        for part in parts {
            let mut consumed = 0;
            if !done {
                match decoder.feed(part, &mut output) {
                    Ok(fed) => (consumed, done) = (fed.consumed, fed.done),
                    Err(error) => return error.to_string(),
                }
            }
            rest.extend_from_slice(&part[consumed..]);
        }
        assert!(!done || decoder.may_end());
        let (output, rest) = (String::from_utf8_lossy(&output), String::from_utf8_lossy(&rest));
        format!("{output} | {rest} | {}", if done { "done" } else { "more" })
    }

    fn chunked(text: &str) -> String {
        decode(Framing::Chunked, &[text.as_bytes()])
    }

    #[test]
    fn joins_the_chunks_and_leaves_what_follows() {
        let body = "4\r\nWiki\r\nA;a=\"b\"\r\n0123456789\r\n0\r\nX: y\r\nZ: w\r\n\r\nGET /";
        assert_eq!(chunked(body), "Wiki0123456789 | GET / | done");
    }

    /// The network chooses the cuts: two of them, at every pair of places.
    #[test]
    fn decodes_the_same_chunks_however_the_bytes_are_cut() {
        let body = b"4\r\nWiki\r\n0A ;a=b\r\n0123456789\r\n00\r\nX: y\r\n\r\nnext";
        for first in 0..=body.len() {
            for second in first..=body.len() {
                let parts = [&body[..first], &body[first..second], &body[second..]];
                let got = decode(Framing::Chunked, &parts);
                assert_eq!(got, "Wiki0123456789 | next | done", "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn every_truncation_of_a_chunked_body_wants_more() {
        let body = b"4\r\nWiki\r\n0\r\nX: y\r\n\r\n";
        for size in 0..body.len() {
            assert!(decode(Framing::Chunked, &[&body[..size]]).ends_with("more"), "{size} bytes");
        }
    }

    #[test]
    fn refuses_chunk_sizes_that_two_readers_might_read_in_two_ways() {
        let refused = "A chunk size is malformed.";
        for size in ["", "x", "-1", "+1", "0x4", "4 4", " 4", "1_0", "4,", "00000000000000001"] {
            assert_eq!(chunked(&format!("{size}\r\nWiki\r\n0\r\n\r\n")), refused, "{size:?}");
        }
    }

    #[test]
    fn refuses_line_ends_other_than_cr_lf() {
        let refused = "A chunk does not end with CR LF.";
        for body in [
            "4\r\nWikiX\r\n",
            "4\r\nWiki\n0\r\n\r\n",
            "4\rWiki",
            "4;a\nWiki\r\n",
            "4;a\r\rWiki",
            "4;a\0\r\nWiki",
            "0\r\nX: y\n\r\n",
            "0\r\nX\r: y\r\n\r\n",
            "0\r\n\n",
            "0\r\n\r\r",
        ] {
            assert_eq!(chunked(body), refused, "{body:?}");
        }
        assert_eq!(chunked("4\nWiki\r\n"), "A chunk size is malformed.");
    }

    #[test]
    fn bounds_extensions_by_the_body_and_not_by_the_chunk() {
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(100));
        assert_eq!(chunked(&chunk.repeat(50)), "The chunk extensions are too long.");
        assert!(chunked(&chunk.repeat(40)).ends_with("more"));
    }

    #[test]
    fn bounds_the_trailers() {
        let trailer = format!("a: {}\r\n", "b".repeat(1000));
        assert_eq!(chunked(&format!("0\r\n{}", trailer.repeat(9))), "The trailers are too long.");
    }

    #[test]
    fn refuses_a_chunk_that_announces_too_much_before_it_arrives() {
        let got = decode_within(Framing::Chunked, &[b"b\r\n"], 10);
        assert_eq!(got, "The body is longer than 10 bytes.");
        let got = decode_within(Framing::Chunked, &[b"ffffffffffffffff\r\nx"], 10);
        assert_eq!(got, "The body is longer than 10 bytes.");
        let got = decode_within(Framing::Chunked, &[b"a\r\n0123456789\r\n0\r\n\r\n"], 10);
        assert_eq!(got, "0123456789 |  | done");
    }

    #[test]
    fn a_declared_length_ends_the_body() {
        assert_eq!(decode(Framing::Length(4), &[b"Wi", b"kinext"]), "Wiki | next | done");
        assert_eq!(decode(Framing::Length(4), &[b"Wi"]), "Wi |  | more");
        assert_eq!(decode(Framing::Length(0), &[b"next"]), " | next | done");
        assert_eq!(decode(Framing::None, &[b"next"]), " | next | done");
        let got = decode_within(Framing::Length(11), &[b""], 10);
        assert_eq!(got, "The body is longer than 10 bytes.");
    }

    #[test]
    fn a_body_until_close_has_no_end_of_its_own_but_a_limit() {
        assert_eq!(decode(Framing::UntilClose, &[b"Wi", b"ki"]), "Wiki |  | more");
        let got = decode_within(Framing::UntilClose, &[b"0123456789", b"x"], 10);
        assert_eq!(got, "The body is longer than 10 bytes.");
    }

    #[test]
    fn lends_a_body_that_is_all_there() {
        let decoder = BodyDecoder::new(Framing::Length(4), 10).unwrap();
        assert_eq!(decoder.whole(b"Wikinext"), Some(&b"Wiki"[..]));
        assert_eq!(decoder.whole(b"Wik"), None);
        assert_eq!(decoder.remaining(), Some(4));
    }
}
