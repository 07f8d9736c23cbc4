//! The head of a request: bytes to places in the buffer, checked for everything that two readers
//! might read in two ways (RFC 9112 §2 to §6).

use std::mem::MaybeUninit;

use crate::Span;
use crate::error::HeadError;
use crate::http1::fields::{FIELD_COUNT_CAP, Fields};
use crate::http1::framing::{Framing, Hints};
use crate::http1::lines::{self, Progress};
use crate::http1::target::{self, Target};

/// Bounds of a head, in bytes and fields.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Most bytes of the whole head, blank line included.
    pub head_size_max: usize,
    /// Most header fields, at most [`FIELD_COUNT_CAP`].
    pub field_count_max: usize,
    /// Most bytes of one field, name and value together.
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

/// The longest request line: method, target, version, two spaces and CR.
fn line_size_max(limits: &HeadLimits) -> usize {
    METHOD_SIZE_MAX + limits.target_size_max + " HTTP/1.1 \r".len()
}

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
    #[inline]
    pub(super) fn from_minor(minor: Option<u8>) -> Version {
        if minor == Some(0) { Version::Http10 } else { Version::Http11 }
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
        if !self.progress.is_worth_a_look(bytes) {
            return lines::check_growth(bytes, limits, line_size_max(limits)).map(|()| None);
        }
        let result = self.read(bytes, limits);
        match result {
            Ok(None) => self.progress.wait(bytes),
            _ => self.progress.reset(),
        }
        result
    }

    fn read(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        let mut headers = [const { MaybeUninit::uninit() }; FIELD_COUNT_CAP];
        let headers = &mut headers[..limits.field_count_max.min(FIELD_COUNT_CAP)];
        let mut request = httparse::Request::new(&mut []);
        let result = request.parse_with_uninit_headers(bytes, headers);
        let Some(size) = lines::outcome(result, bytes, limits, line_size_max(limits))? else {
            return Ok(None);
        };
        self.read_first_line(bytes, &request, limits)?;
        lines::check_ends(bytes, self.method_place.start as usize, size)?;
        self.read_fields(bytes, request.headers, limits)?;
        Ok(Some(size))
    }

    #[inline]
    fn read_first_line(
        &mut self,
        bytes: &[u8],
        request: &httparse::Request<'_, '_>,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        let method = request.method.unwrap_or_default().as_bytes();
        let target = request.path.unwrap_or_default().as_bytes();
        if method.len() > METHOD_SIZE_MAX {
            return Err(HeadError::FirstLine);
        }
        if target.len() > limits.target_size_max {
            return Err(HeadError::TargetTooLong);
        }
        self.method = Method::parse(method);
        self.method_place = Span::of(method, bytes);
        self.target_place = Span::of(target, bytes);
        self.target = target::parse(bytes, self.target_place, self.method)?;
        self.version = Version::from_minor(request.version);
        Ok(())
    }

    #[inline]
    fn read_fields(
        &mut self,
        bytes: &[u8],
        headers: &[httparse::Header<'_>],
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        self.fields.clear();
        self.host = None;
        let mut hints = Hints::default();
        for header in headers {
            self.fields.push(bytes, header, limits)?;
            if header.name.len() == 4 && header.name.eq_ignore_ascii_case("host") {
                self.read_host(bytes, header.value)?;
            }
            hints.note(header.name, header.value)?;
        }
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
    fn read_host(&mut self, bytes: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if self.host.is_some() || !target::is_host(value) {
            return Err(HeadError::Host);
        }
        self.host = Some(Span::of(value, bytes));
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
