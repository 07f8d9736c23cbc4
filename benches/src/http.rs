//! The little HTTP/1.1 that a measuring client needs: requests made once, answers framed by
//! Content-Length.
//!
//! It is no general client: an answer in chunks is a fault here, since no server under test has a
//! reason to send one.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The largest head of an answer that is read.
const HEAD_SIZE_MAX: usize = 16 * 1024;

/// The first line and the framing of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Bytes of the head, with its empty line.
    pub head_size: usize,
    /// Bytes of the body.
    pub body_size: usize,
}

/// Why bytes are no answer that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes do not begin like an HTTP/1.1 answer.
    NotHttp,
    /// The head did not end within the bound.
    HeadTooLong,
    /// No Content-Length, or one that is no number.
    Unframed,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Fault::NotHttp => "the answer is not HTTP/1.1",
            Fault::HeadTooLong => "the head of the answer has no end",
            Fault::Unframed => "the answer has no valid Content-Length",
        })
    }
}

impl std::error::Error for Fault {}

/// Reads the head at the front of `bytes`; `None` while it is incomplete.
///
/// # Errors
///
/// A [`Fault`] when the bytes can never become an answer that is measured.
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let mut length = None;
    let mut line_start = 0;
    for line_end in memchr::memchr_iter(b'\n', bytes) {
        let line = &bytes[line_start..line_end];
        line_start = line_end + 1;
        if line == b"\r" {
            return read_head(bytes, line_start, length).map(Some);
        }
        length = length.or_else(|| value_of(line, b"content-length"));
    }
    if bytes.len() > HEAD_SIZE_MAX { Err(Fault::HeadTooLong) } else { Ok(None) }
}

fn read_head(bytes: &[u8], head_size: usize, length: Option<&[u8]>) -> Result<Head, Fault> {
    let status = bytes
        .get(..13)
        .filter(|line| line.starts_with(b"HTTP/1.1 "))
        .and_then(|line| parse_number(&line[9..12]))
        .ok_or(Fault::NotHttp)? as u16;
    let has_no_body = matches!(status, 100..=199 | 204 | 304);
    let body_size = match length {
        Some(value) => parse_number(value).ok_or(Fault::Unframed)?,
        None if has_no_body => 0,
        None => return Err(Fault::Unframed),
    };
    Ok(Head { status, head_size, body_size })
}

/// The value of a line, if it is the field called `name`.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let is_named = line.get(name.len()) == Some(&b':');
    (is_named && line[..name.len()].eq_ignore_ascii_case(name))
        .then(|| line[name.len() + 1..].trim_ascii())
}

fn parse_number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Makes the bytes of a request with a Host, the given fields, and a body when it has one.
pub fn request(
    method: &str,
    path: &str,
    target: SocketAddr,
    fields: &[(&str, &str)],
    body: &str,
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {target}\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head as it came.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Gives the value of a field, when the answer has it and it is text.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split(|byte| *byte == b'\n');
        let value = lines.find_map(|line| value_of(line, name.as_bytes()))?;
        std::str::from_utf8(value).ok()
    }
}

/// Sends one request over a new connection and reads the answer.
///
/// # Errors
///
/// When the connection fails, the answer is no measurable HTTP, or a read takes longer than
/// `wait_max`.
pub fn ask(target: SocketAddr, request: &[u8], wait_max: Duration) -> io::Result<Answer> {
    Wire::open(target, wait_max)?.ask(request)
}

/// A kept connection with one request in flight at most.
#[derive(Debug)]
pub struct Wire(TcpStream);

impl Wire {
    /// Opens a connection on which an answer may take up to `wait_max`.
    ///
    /// # Errors
    ///
    /// When the server does not take it.
    pub fn open(target: SocketAddr, wait_max: Duration) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&target, wait_max)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(wait_max))?;
        Ok(Wire(stream))
    }

    /// Sends one request and reads the answer.
    ///
    /// # Errors
    ///
    /// As [`ask`].
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.0.write_all(request)?;
        read_answer(&mut self.0)
    }
}

/// Reads one answer, and drops what came after it in the same read.
///
/// # Errors
///
/// As [`ask`].
pub fn read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let size = stream.read(&mut piece)?;
        if size == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..size]);
        let head = parse_head(&bytes).map_err(io::Error::other)?;
        if let Some(head) = head.filter(|head| bytes.len() >= head.head_size + head.body_size) {
            bytes.truncate(head.head_size + head.body_size);
            let body = bytes.split_off(head.head_size);
            return Ok(Answer { status: head.status, head: bytes, body });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nX-Other: content-length: 9\r\ncOntent-Length: 2 \r\n\r\n{}";

    #[test]
    fn frames_an_answer_by_its_content_length_in_any_casing() {
        let head = parse_head(ANSWER).expect("is HTTP").expect("is complete");
        assert_eq!(head, Head { status: 200, head_size: ANSWER.len() - 2, body_size: 2 });
    }

    #[test]
    fn waits_for_more_at_every_cut_inside_the_head() {
        for cut in 0..ANSWER.len() - 2 {
            assert_eq!(parse_head(&ANSWER[..cut]), Ok(None), "cut at byte {cut}");
        }
    }

    #[test]
    fn refuses_an_answer_that_has_no_measurable_framing() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(parse_head(chunked), Err(Fault::Unframed));
        assert_eq!(parse_head(b"SSH-2.0\r\n\r\n"), Err(Fault::NotHttp));
        assert_eq!(parse_head(&[b'x'; HEAD_SIZE_MAX + 1]), Err(Fault::HeadTooLong));
    }

    #[test]
    fn an_accepted_notification_may_say_that_it_has_no_body() {
        let head = parse_head(b"HTTP/1.1 204 No Content\r\n\r\n").expect("is HTTP");
        assert_eq!(head.map(|head| head.body_size), Some(0));
    }

    #[test]
    fn reads_an_answer_and_finds_its_fields() {
        let answer = read_answer(&mut &ANSWER[..]).expect("is whole");
        assert_eq!(answer.body, b"{}");
        assert_eq!(answer.field("content-length"), Some("2"));
        assert_eq!(answer.field("etag"), None);
    }

    #[test]
    fn makes_a_request_with_a_length_only_when_it_has_a_body() {
        let target = SocketAddr::from(([127, 0, 0, 1], 80));
        let get = request("GET", "/health", target, &[("Accept", "*/*")], "");
        assert_eq!(get, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:80\r\nAccept: */*\r\n\r\n");
        let post = request("POST", "/rpc", target, &[], "{}");
        assert!(post.ends_with(b"Content-Length: 2\r\n\r\n{}"));
    }
}
