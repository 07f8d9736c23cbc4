//! The head of a response, as the client side reads it.

use crate::Span;
use crate::error::HeadError;
use crate::http1::fields::Fields;
use crate::http1::framing::{Framing, Hints};
use crate::http1::head::{HeadLimits, Method, Version};
use crate::http1::lines::{self, Progress};

/// The head of a response, kept with its connection and filled anew for each one.
///
/// It holds places, not bytes, like [`RequestHead`](crate::http1::RequestHead).
#[derive(Debug, Default)]
pub struct ResponseHead {
    progress: Progress,
    fields: Fields,
    status: u16,
    version: Version,
    framing: Framing,
    keep_alive: bool,
}

impl ResponseHead {
    /// Reads the head that `bytes` begin with, the answer to a request with `method`.
    ///
    /// Returns its size, or nothing when more bytes are needed, as
    /// [`RequestHead::parse`](crate::http1::RequestHead::parse) does. A status of 100 to 199 is
    /// not yet the answer: read on behind it.
    ///
    /// # Errors
    ///
    /// [`HeadError`] says what is wrong; the connection is of no use after it.
    #[inline]
    pub fn parse(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
        method: Method,
    ) -> Result<Option<usize>, HeadError> {
        if !self.progress.is_worth_a_look(bytes) {
            return lines::check_growth(bytes, limits, usize::MAX).map(|()| None);
        }
        let result = match self.read(bytes, limits, method) {
            Ok(None) => lines::check_growth(bytes, limits, usize::MAX).map(|()| None),
            Err(error) => Err(lines::explain(error, bytes)),
            complete => complete,
        };
        self.progress.note(bytes, result);
        result
    }

    /// Forgets a head that was begun: for a head that moves on to another connection.
    pub fn clear(&mut self) {
        self.progress = Progress::default();
        self.fields.clear();
    }

    fn read(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
        method: Method,
    ) -> Result<Option<usize>, HeadError> {
        Span::check(bytes);
        let Some(first) = lines::first(bytes)? else { return Ok(None) };
        self.read_first_line(first.of_bytes(bytes))?;
        self.fields.clear();
        let mut hints = Hints::default();
        let mut at = first.end as usize + 2;
        while !lines::is_blank(bytes, at)? {
            let Some(field) = self.fields.push(bytes, at, limits)? else { return Ok(None) };
            hints.note(&field, bytes)?;
            at = field.end + 2;
        }
        let Some(size) = lines::size(bytes, at, limits)? else { return Ok(None) };
        let is_http_1_1 = self.version == Version::Http11;
        let said = hints.framing(is_http_1_1)?;
        self.framing = body_framing(said, self.status, method);
        self.keep_alive = hints.keep_alive(is_http_1_1) && self.framing != Framing::UntilClose;
        Ok(Some(size))
    }

    /// Version and status; the phrase behind it is for nobody, and may be missing (RFC 9112 §4).
    #[inline]
    fn read_first_line(&mut self, line: &[u8]) -> Result<(), HeadError> {
        let (version, rest) = line.split_at_checked(9).ok_or(HeadError::FirstLine)?;
        self.version = match version {
            b"HTTP/1.1 " => Version::Http11,
            b"HTTP/1.0 " => Version::Http10,
            _ => return Err(HeadError::FirstLine),
        };
        let (digits, rest) = rest.split_at_checked(3).ok_or(HeadError::FirstLine)?;
        let is_number = digits.iter().all(u8::is_ascii_digit) && digits[0] != b'0';
        if !is_number || !(rest.is_empty() || rest[0] == b' ') {
            return Err(HeadError::FirstLine);
        }
        self.status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        Ok(())
    }

    /// The status, 100 to 999.
    #[inline]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first field called `name`.
    #[inline]
    pub fn header<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
        self.fields.get(bytes, name)
    }

    /// All header fields.
    #[inline]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// How the body is framed.
    #[inline]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the connection may serve another request after this body.
    #[inline]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The version of the response.
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }
}

/// What the fields said, corrected by status and method (RFC 9112 §6.3).
#[inline]
fn body_framing(said: Framing, status: u16, method: Method) -> Framing {
    match status {
        100..=199 | 204 | 304 => Framing::None,
        _ if method == Method::Head => Framing::None,
        _ if said == Framing::None => Framing::UntilClose,
        _ => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, method: Method) -> String {
        let mut head = ResponseHead::default();
        match head.parse(text.as_bytes(), &HeadLimits::default(), method) {
            Err(error) => format!("{error:?}"),
            Ok(None) => "more".to_owned(),
            Ok(Some(size)) => {
                let keep = if head.keep_alive() { "keep" } else { "close" };
                format!("{size} {} {:?} {keep}", head.status(), head.framing())
            }
        }
    }

    /// An answer to a POST with this status and these lines.
    fn answer(status: &str, lines: &str) -> String {
        let got = parse(&format!("HTTP/1.1 {status}\r\n{lines}\r\n"), Method::Post);
        got.split_once(' ').map_or(got.clone(), |(_, rest)| rest.to_owned())
    }

    #[test]
    fn the_body_ends_as_status_method_and_fields_say() {
        let length = "Content-Length: 5\r\n";
        let chunked = "Transfer-Encoding: chunked\r\n";
        assert_eq!(answer("200 OK", length), "200 Length(5) keep");
        assert_eq!(answer("200 OK", chunked), "200 Chunked keep");
        assert_eq!(answer("200 OK", ""), "200 UntilClose close");
        assert_eq!(answer("200", length), "200 Length(5) keep");
        assert_eq!(answer("200 ", length), "200 Length(5) keep");
        assert_eq!(answer("204 No Content", length), "204 None keep");
        assert_eq!(answer("304 Not Modified", length), "304 None keep");
        assert_eq!(answer("100 Continue", ""), "100 None keep");
        assert_eq!(
            answer("200 OK", "Content-Length: 5\r\nConnection: close\r\n"),
            "200 Length(5) close"
        );
        let head = parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::Head);
        assert_eq!(head, "38 200 None keep");
        let old = parse("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Method::Get);
        assert_eq!(old, "38 200 Length(5) close");
    }

    #[test]
    fn refuses_what_could_hide_a_second_response() {
        assert_eq!(
            answer("200 OK", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            "LengthAndEncoding"
        );
        assert_eq!(answer("200 OK", "Content-Length: 5\r\nContent-Length: 6\r\n"), "ContentLength");
        assert_eq!(answer("200 OK", "Transfer-Encoding: gzip, chunked\r\n"), "EncodingUnknown");
        assert_eq!(answer("200 OK", "X : y\r\n"), "FieldName");
        assert_eq!(answer("200 OK", "X: y\n"), "LineEnd");
        assert_eq!(answer("200 OK", "X: y\r\n folded\r\n"), "FieldName");
        assert_eq!(answer("099 No", ""), "FirstLine");
        assert_eq!(answer("20", ""), "FirstLine");
        assert_eq!(parse("HTTP/2 200\r\n\r\n", Method::Get), "Version");
        assert_eq!(parse("<html>", Method::Get), "FirstLine");
    }

    #[test]
    fn every_cut_gives_the_same_head() {
        let text = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX: y\r\n\r\n{}";
        for cut in 0..text.len() - 2 {
            let mut head = ResponseHead::default();
            let limits = HeadLimits::default();
            assert_eq!(head.parse(&text[..cut], &limits, Method::Get), Ok(None), "cut at {cut}");
            let size = head.parse(text, &limits, Method::Get);
            assert_eq!(size, Ok(Some(text.len() - 2)), "cut at {cut}");
            assert_eq!(head.status(), 404);
            assert_eq!(head.header(text, "x"), Some(&b"y"[..]));
            assert_eq!(head.fields().len(), 2);
            assert_eq!(head.version(), Version::Http11);
        }
    }
}
