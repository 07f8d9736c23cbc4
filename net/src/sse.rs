//! Server-sent events, bytes to value and back (WHATWG HTML §9.2).
//!
//! The decoder does no I/O. It is fed whatever arrived, however it was cut, and gives the events
//! that are complete; the rest waits inside for the next feeding. Whether data is UTF-8 is for its
//! reader to check.

use std::ops::Range;

use crate::error::SseError;
use crate::http1::encode::decimal;

/// Memory that a decoder keeps from event to event; what a larger one needed goes back.
const KEPT_SIZE: usize = 64 * 1024;

/// Bounds of a stream, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct SseLimits {
    /// Most bytes of one line, comments included.
    pub line_size_max: usize,
    /// Most bytes of all fields of one event, names included.
    pub event_size_max: usize,
}

impl Default for SseLimits {
    /// What MCP peers take for the largest message.
    fn default() -> SseLimits {
        SseLimits { line_size_max: 16 << 20, event_size_max: 16 << 20 }
    }
}

/// An event, lent until the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event's name; empty means `message`.
    pub name: &'a [u8],
    /// The id, if this event sets one; an empty one takes the last one back.
    pub id: Option<&'a [u8]>,
    /// The data lines, joined by LF. A browser drops events without a data line; here they are given
    /// all the same, since their id and retry count. Servers also send an empty one to prime a
    /// stream.
    pub data: &'a [u8],
    /// How long to wait before connecting again, in milliseconds, if this event says so.
    pub retry_ms: Option<u64>,
}

/// Decodes one stream.
#[derive(Debug)]
pub struct Decoder {
    limits: SseLimits,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    name: Vec<u8>,
    id: Vec<u8>,
    /// Data lines, each with an LF behind it.
    data: Vec<u8>,
    retry_ms: Option<u64>,
    has_id: bool,
    /// Bytes of the fields of this event; 0 while it has none.
    size: usize,
    is_given: bool,
    is_behind_cr: bool,
    is_first_line: bool,
}

/// A complete line: either within the input, or gathered in the decoder.
enum Line {
    Input(Range<usize>),
    Gathered,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new(limits: SseLimits) -> Decoder {
        Decoder {
            limits,
            line: Vec::new(),
            name: Vec::new(),
            id: Vec::new(),
            data: Vec::new(),
            retry_ms: None,
            has_id: false,
            size: 0,
            is_given: false,
            is_behind_cr: false,
            is_first_line: true,
        }
    }

    /// Gives the next event that is complete, and takes its bytes off `input`; nothing when all
    /// of the input is taken and the event is not complete.
    ///
    /// An event of one data line that is wholly within the input is lent from there.
    ///
    /// # Errors
    ///
    /// [`SseError`] when a limit is passed; the stream is of no use after it.
    pub fn next<'event, 'input: 'event>(
        &'event mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<Event<'event>>, SseError> {
        if self.is_given {
            self.begin();
        }
        let whole = *input;
        // The event's only data line so far, if it lies in this input.
        let mut single: Option<&'input [u8]> = None;
        let mut at = 0;
        while let Some(line) = self.take_line(whole, &mut at)? {
            let is_event = match line {
                Line::Input(range) => {
                    let line = self.without_mark(&whole[range]);
                    self.read_line(line, &mut single)?
                }
                Line::Gathered => self.read_gathered(&mut single)?,
            };
            if is_event {
                *input = &whole[at..];
                self.is_given = true;
                return Ok(Some(self.event(single)));
            }
        }
        *input = &[];
        self.store(single);
        Ok(None)
    }

    /// Finds the end of a line from offset `at` on and moves that behind it; keeps what is there
    /// when the end is not.
    fn take_line(&mut self, whole: &[u8], at: &mut usize) -> Result<Option<Line>, SseError> {
        if self.is_behind_cr && *at < whole.len() {
            self.is_behind_cr = false;
            *at += usize::from(whole[*at] == b'\n');
        }
        let (start, rest) = (*at, &whole[*at..]);
        let end = memchr::memchr2(b'\n', b'\r', rest);
        let size = end.unwrap_or(rest.len());
        if self.line.len() + size > self.limits.line_size_max {
            return Err(SseError::LineTooLong { size_max: self.limits.line_size_max });
        }
        let Some(size) = end else {
            self.line.extend_from_slice(rest);
            *at = whole.len();
            return Ok(None);
        };
        *at += size + 1;
        if rest[size] == b'\r' {
            match whole.get(*at) {
                Some(byte) => *at += usize::from(*byte == b'\n'),
                None => self.is_behind_cr = true,
            }
        }
        if self.line.is_empty() {
            return Ok(Some(Line::Input(start..start + size)));
        }
        self.line.extend_from_slice(&rest[..size]);
        Ok(Some(Line::Gathered))
    }

    /// Reads the line that was gathered over several inputs.
    fn read_gathered(&mut self, single: &mut Option<&[u8]>) -> Result<bool, SseError> {
        let mut line = std::mem::take(&mut self.line);
        // This line does not live in the input, so the data cannot stay there either.
        self.store(single.take());
        let mut own = None;
        let is_event = self.read_line(self.is_first(&line), &mut own);
        self.store(own);
        self.is_first_line = false;
        line.clear();
        self.line = line;
        is_event
    }

    /// The line without the byte order mark, which may stand before the first.
    fn without_mark<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        let line = self.is_first(line);
        self.is_first_line = false;
        line
    }

    fn is_first<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if self.is_first_line => rest,
            _ => line,
        }
    }

    /// Reads a line; says whether an event ends with it.
    #[inline]
    fn read_line<'a>(
        &mut self,
        line: &'a [u8],
        single: &mut Option<&'a [u8]>,
    ) -> Result<bool, SseError> {
        if line.is_empty() {
            return Ok(self.size > 0);
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if single.is_some() || !self.data.is_empty() {
                    self.store(single.take());
                    self.store(Some(value));
                } else {
                    *single = Some(value);
                }
            }
            b"event" => replace(&mut self.name, value),
            b"id" if !value.contains(&0) => {
                replace(&mut self.id, value);
                self.has_id = true;
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.retry_ms = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            }
            // Comments and fields that nobody knows.
            _ => return Ok(false),
        }
        self.size += line.len();
        if self.size > self.limits.event_size_max {
            return Err(SseError::EventTooLong { size_max: self.limits.event_size_max });
        }
        Ok(false)
    }

    /// Keeps a data line inside.
    fn store(&mut self, line: Option<&[u8]>) {
        if let Some(line) = line {
            self.data.extend_from_slice(line);
            self.data.push(b'\n');
        }
    }

    fn event<'a>(&'a self, single: Option<&'a [u8]>) -> Event<'a> {
        let stored = self.data.strip_suffix(b"\n").unwrap_or_default();
        Event {
            name: &self.name,
            id: self.has_id.then_some(&self.id),
            data: single.unwrap_or(stored),
            retry_ms: self.retry_ms,
        }
    }

    /// Begins the next event.
    fn begin(&mut self) {
        for buffer in [&mut self.line, &mut self.data] {
            if buffer.capacity() > KEPT_SIZE {
                buffer.shrink_to(KEPT_SIZE);
            }
        }
        self.name.clear();
        self.id.clear();
        self.data.clear();
        (self.retry_ms, self.has_id, self.size, self.is_given) = (None, false, 0, false);
    }
}

fn replace(buffer: &mut Vec<u8>, value: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(value);
}

/// Appends an event. Line breaks in `data` give several data lines, which the reader joins; those in
/// `name` and `id`, and NUL in `id`, are left out, since they have no way to be written.
pub fn encode(out: &mut Vec<u8>, name: Option<&str>, id: Option<&str>, data: &[u8]) {
    if let Some(name) = name {
        field(out, b"event: ", name.as_bytes());
    }
    if let Some(id) = id {
        field(out, b"id: ", id.as_bytes());
    }
    let mut rest = data;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        data_line(out, &rest[..at]);
        let size = if rest[at..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[at + size..];
    }
    data_line(out, rest);
    out.push(b'\n');
}

/// Appends a comment, which keeps a quiet stream open.
pub fn comment(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n\n");
}

/// Appends how long the reader shall wait before it connects again, in milliseconds.
pub fn retry(out: &mut Vec<u8>, retry_ms: u64) {
    out.extend_from_slice(b"retry: ");
    decimal(out, retry_ms);
    out.extend_from_slice(b"\n\n");
}

fn data_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(line);
    out.push(b'\n');
}

fn field(out: &mut Vec<u8>, start: &[u8], value: &[u8]) {
    out.extend_from_slice(start);
    out.extend(value.iter().filter(|byte| !matches!(byte, b'\n' | b'\r' | 0)));
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a stream that arrives in these parts, one line of text each.
    fn decode_within(parts: &[&[u8]], limits: SseLimits) -> Result<Vec<String>, SseError> {
        let mut decoder = Decoder::new(limits);
        let mut events = Vec::new();
        for part in parts {
            let mut input = *part;
            while let Some(event) = decoder.next(&mut input)? {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                let id = event.id.map_or("-".to_owned(), text);
                let retry = event.retry_ms.map_or("-".to_owned(), |retry| retry.to_string());
                let (name, data) = (text(event.name), text(event.data));
                events.push(format!("{name}|{id}|{retry}|{data:?}"));
            }
            assert!(input.is_empty());
        }
        Ok(events)
    }

    fn decode(parts: &[&[u8]]) -> Vec<String> {
        decode_within(parts, SseLimits::default()).unwrap()
    }

    const STREAM: &[u8] =
        b"\xef\xbb\xbf: hello\r\nevent: message\r\nid: 7\r\ndata: {\"a\":1}\r\n\r\n\
        id:8\ndata:\n\n\
        retry: 250\r\rdata: one\rdata:  two\r\ndata\n\
        unknown: x\ndata : y\nid\n\n\n\n:\n\nevent: e\n\ndata: cut off";

    const EVENTS: [&str; 5] = [
        "message|7|-|\"{\\\"a\\\":1}\"",
        "|8|-|\"\"",
        "|-|250|\"\"",
        "||-|\"one\\n two\\n\"",
        "e|-|-|\"\"",
    ];

    #[test]
    fn gives_every_event_with_its_fields() {
        assert_eq!(decode(&[STREAM]), EVENTS);
    }

    /// The network chooses the cuts: two of them, at every pair of places.
    #[test]
    fn decodes_the_same_events_however_the_bytes_are_cut() {
        for first in 0..=STREAM.len() {
            for second in first..=STREAM.len() {
                let parts = [&STREAM[..first], &STREAM[first..second], &STREAM[second..]];
                assert_eq!(decode(&parts), EVENTS, "cut at {first} and {second}");
            }
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(decode(&bytes), EVENTS, "byte by byte");
    }

    #[test]
    fn line_ends_may_be_of_all_three_kinds() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = ["data: a", "data: b", "", "", "data: c", "", ""].join(end);
            assert_eq!(decode(&[stream.as_bytes()]), ["|-|-|\"a\\nb\"", "|-|-|\"c\""], "{end:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_beginning() {
        let stream = b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n";
        assert_eq!(decode(&[stream]), ["|-|-|\"a\""]);
    }

    #[test]
    fn odd_fields_are_passed_over() {
        let odd =
            b"id: a\0b\nretry: 1x\nretry:\nretry: 99999999999999999999\nEVENT: x\n data: y\n\n";
        assert_eq!(decode(&[odd]), ["|-|-|\"\""]);
        assert_eq!(decode(&[b"EVENT: x\nid: \0\n\n"]), [""; 0]);
    }

    #[test]
    fn an_event_of_one_line_is_lent_from_the_input() {
        let mut decoder = Decoder::new(SseLimits::default());
        let bytes = b"event: message\ndata: {}\n\nrest".to_vec();
        let mut input = &bytes[..];
        let event = decoder.next(&mut input).unwrap().unwrap();
        assert_eq!(event.data.as_ptr(), bytes[21..].as_ptr());
        assert_eq!(input, b"rest");
    }

    #[test]
    fn lines_and_events_have_bounds() {
        let limits = SseLimits { line_size_max: 20, event_size_max: 30 };
        let line = Err(SseError::LineTooLong { size_max: 20 });
        let event = Err(SseError::EventTooLong { size_max: 30 });
        assert_eq!(decode_within(&[b": 3456789012345678901"], limits), line);
        assert_eq!(decode_within(&[b": 34567890", b"12345678901\n"], limits), line);
        assert_eq!(
            decode_within(&[b"data: 789012345\ndata: 789012345\n\n"], limits).unwrap().len(),
            1
        );
        assert_eq!(decode_within(&[b"data: 789012345\ndata: 7890123456\n"], limits), event);
        assert_eq!(decode_within(&[&b": 345678\n".repeat(100)], limits), Ok(vec![]));
        assert_eq!(decode_within(&[&b"data: 7\n\n".repeat(100)], limits).unwrap().len(), 100);
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let mut out = Vec::new();
        encode(&mut out, Some("mess\nage"), Some("a\0\rb"), b"{\"a\":1}");
        comment(&mut out);
        retry(&mut out, 1500);
        encode(&mut out, None, None, b"one\ntwo\r\nthree\rfour\n");
        encode(&mut out, None, Some(""), b"");
        let wanted = [
            "message|ab|-|\"{\\\"a\\\":1}\"",
            "|-|1500|\"\"",
            "|-|-|\"one\\ntwo\\nthree\\nfour\\n\"",
            "||-|\"\"",
        ];
        assert_eq!(decode(&[&out]), wanted);
    }
}
