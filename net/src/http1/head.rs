//! The head of a request: bytes to places in the buffer, checked for everything that two readers
//! might read in two ways (RFC 9112 §2 to §6).

use crate::Span;
use crate::error::HeadError;
use crate::http1::encode::is_token;
use crate::http1::fields::{Fields, tag};
use crate::http1::framing::{Framing, Hints};
use crate::http1::lines::{self, Progress};
use crate::http1::target::{self, Target};

/// Bounds of a head, in bytes and fields.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Most bytes of the whole head, blank line included.
    pub head_size_max: usize,
    /// Most header fields.
    pub field_count_max: usize,
    /// Most bytes of one field's line, at most 65,535.
    pub field_size_max: usize,
    /// Most bytes of a request target.
    pub target_size_max: usize,
}

impl Default for HeadLimits {
    /// What nginx allows with its four buffers of 8 KiB: enough for a bearer token with many groups.
    fn default() -> HeadLimits {
        HeadLimits {
            head_size_max: 32 * 1024,
            field_count_max: 100,
            field_size_max: 16 * 1024,
            target_size_max: 8 * 1024,
        }
    }
}

/// The longest method that is taken for one; `UPDATEREDIRECTREF` is the longest with a name.
const METHOD_SIZE_MAX: usize = 24;

/// A request method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Connect,
    Trace,
    /// Any other token; the bytes are at [`RequestHead::method_name`].
    Other,
}

impl Method {
    /// Reads a method; they are case-sensitive (RFC 9110 §9.1).
    #[inline]
    pub fn parse(name: &[u8]) -> Method {
        match name {
            b"GET" => Method::Get,
            b"POST" => Method::Post,
            b"HEAD" => Method::Head,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            b"CONNECT" => Method::Connect,
            b"TRACE" => Method::Trace,
            _ => Method::Other,
        }
    }
}

/// A version of HTTP that we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunks, and the connection closes unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

impl Version {
    /// The version that a line ends with, and the line before it; none for other versions.
    #[inline(always)]
    pub(super) fn strip(line: &[u8]) -> Option<(&[u8], Version)> {
        if let Some(rest) = line.strip_suffix(b" HTTP/1.1") {
            return Some((rest, Version::Http11));
        }
        Some((line.strip_suffix(b" HTTP/1.0")?, Version::Http10))
    }
}

/// The head of a request, kept with its connection and filled anew for each request.
///
/// It holds places, not bytes: accessors take the buffer that was parsed, beginning at the same
/// byte. They panic if that buffer became shorter.
#[derive(Debug, Default)]
pub struct RequestHead {
    progress: Progress,
    fields: Fields,
    method: Method,
    method_place: Span,
    target: Target,
    target_place: Span,
    host: Option<Span>,
    version: Version,
    framing: Framing,
    keep_alive: bool,
    expect_continue: bool,
}

impl RequestHead {
    /// Reads the head that `bytes` begin with.
    ///
    /// Returns its size, or nothing when more bytes are needed: then call again with the same bytes
    /// and more behind them. After a size or an error the next call begins a new head.
    ///
    /// # Errors
    ///
    /// [`HeadError`] knows the status to answer; the connection must be closed after it, since
    /// nobody can say where the next request begins.
    #[inline]
    pub fn parse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        let line_size_max = METHOD_SIZE_MAX + 1 + limits.target_size_max + " HTTP/1.1\r".len();
        if !self.progress.is_worth_a_look(bytes) {
            return lines::check_growth(bytes, limits, line_size_max).map(|()| None);
        }
        let result = match self.read(bytes, limits) {
            Ok(None) => lines::check_growth(bytes, limits, line_size_max).map(|()| None),
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

    fn read(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        Span::check(bytes);
        let Some(first) = lines::first(bytes)? else { return Ok(None) };
        self.read_first_line(bytes, first, limits)?;
        self.fields.clear();
        self.host = None;
        let mut hints = Hints::default();
        let mut at = first.end as usize + 2;
        while !lines::is_blank(bytes, at)? {
            let Some(field) = self.fields.push(bytes, at, limits)? else { return Ok(None) };
            if field.tag == tag(b"host") && field.is(b"host") {
                self.read_host(bytes, field.value)?;
            }
            hints.note(&field, bytes)?;
            at = field.end + 2;
        }
        let size = lines::size(bytes, at, limits)?;
        if size.is_some() {
            self.conclude(&hints)?;
        }
        Ok(size)
    }

    /// Method, target and version; every byte of them is checked.
    #[inline]
    fn read_first_line(
        &mut self,
        bytes: &[u8],
        place: Span,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        let line = place.of_bytes(bytes);
        let (line, version) = Version::strip(line).ok_or(HeadError::FirstLine)?;
        let space = line.iter().position(|byte| *byte == b' ').ok_or(HeadError::FirstLine)?;
        let (method, target) = (&line[..space], &line[space + 1..]);
        self.method = Method::parse(method);
        if self.method == Method::Other && (method.len() > METHOD_SIZE_MAX || !is_token(method)) {
            return Err(HeadError::FirstLine);
        }
        if target.len() > limits.target_size_max {
            return Err(HeadError::TargetTooLong);
        }
        let start = place.start as usize;
        self.method_place = Span::new(start, start + space);
        self.target_place = Span::new(start + space + 1, start + line.len());
        self.target = target::parse(bytes, self.target_place, self.method)?;
        self.version = version;
        Ok(())
    }

    #[inline]
    fn conclude(&mut self, hints: &Hints) -> Result<(), HeadError> {
        let is_http_1_1 = self.version == Version::Http11;
        // RFC 9112 §3.2: 1.1 without Host is refused, whatever the target says.
        if is_http_1_1 && self.host.is_none() {
            return Err(HeadError::Host);
        }
        self.framing = hints.framing(is_http_1_1)?;
        self.keep_alive = hints.keep_alive(is_http_1_1);
        self.expect_continue = is_http_1_1 && hints.has_continue;
        Ok(())
    }

    #[inline]
    fn read_host(&mut self, bytes: &[u8], place: Span) -> Result<(), HeadError> {
        if self.host.is_some() || !target::is_host(place.of_bytes(bytes)) {
            return Err(HeadError::Host);
        }
        self.host = Some(place);
        Ok(())
    }

    /// The method.
    #[inline]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as it was sent.
    pub fn method_name<'a>(&self, bytes: &'a [u8]) -> &'a str {
        text(self.method_place.of_bytes(bytes))
    }

    /// The target as it was sent: for log lines, not for decisions.
    pub fn target<'a>(&self, bytes: &'a [u8]) -> &'a str {
        text(self.target_place.of_bytes(bytes))
    }

    /// The path, still percent-encoded; `*` for `OPTIONS *`, empty for CONNECT, else with a leading
    /// slash.
    #[inline]
    pub fn path<'a>(&self, bytes: &'a [u8]) -> &'a str {
        let path = self.target.path.of_bytes(bytes);
        if path.is_empty() && self.method != Method::Connect { "/" } else { text(path) }
    }

    /// What follows the first `?` of the target, still percent-encoded.
    #[inline]
    pub fn query<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        self.target.query.map(|query| text(query.of_bytes(bytes)))
    }

    /// The host and port that the request is for: the target's authority if it has one, else
    /// `Host`. None only in HTTP/1.0.
    #[inline]
    pub fn authority<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        self.target.authority.or(self.host).map(|place| text(place.of_bytes(bytes)))
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

    /// Whether the peer lets the connection stay open after this request.
    #[inline]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the peer waits for `100 Continue` before it sends the body.
    #[inline]
    pub fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// The version of the request.
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }
}

/// What the parser has checked to be ASCII, as text.
#[inline]
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the parser lets only ASCII pass here")
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
