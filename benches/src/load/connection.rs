//! One connection of the load generator: a request out, one checked answer in.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Expected;
use crate::http::{self, Fault};

/// Every so many answers on a connection the body is compared: often enough to find a server
/// that mixes answers up, and too seldom to be seen in the load generator's cost.
const COMPARE_EVERY: u32 = 64;

/// What is wrong with an answer.
#[derive(Debug)]
pub enum Wrong {
    /// The connection failed.
    Connection(io::Error),
    /// The server closed the connection instead of answering.
    Closed,
    /// The head cannot be measured.
    Head(Fault),
    /// Another status than the expected one.
    Status(u16),
    /// Another length than the expected one, or bytes after the answer.
    Length(usize),
    /// The right length, but other bytes.
    Body,
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Connection(error) => write!(formatter, "the connection failed: {error}"),
            Wrong::Closed => write!(formatter, "the server closed the connection"),
            Wrong::Head(fault) => write!(formatter, "{fault}"),
            Wrong::Status(status) => write!(formatter, "the status is {status}"),
            Wrong::Length(size) => write!(formatter, "the body has {size} bytes"),
            Wrong::Body => write!(formatter, "the body has other bytes"),
        }
    }
}

impl std::error::Error for Wrong {}

/// Where in an answer a connection is.
enum Progress {
    /// These bytes of a head came, but not its end.
    Head(Vec<u8>),
    /// The head was right, and this much came of a body of this size.
    Body { offset: usize, size: usize },
}

/// A connection that has at most one request in flight.
pub struct Connection {
    stream: TcpStream,
    sent_at: Instant,
    progress: Progress,
    answer_count: u32,
}

impl Connection {
    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// When the server does not take it.
    pub fn open(target: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let progress = Progress::Head(Vec::new());
        Ok(Connection { stream, sent_at: Instant::now(), progress, answer_count: 0 })
    }

    /// The socket, to be watched.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request and starts its clock.
    ///
    /// # Errors
    ///
    /// When the connection does not take it whole: nothing else is in flight, so the send buffer
    /// is empty and a request of a few kilobytes fits.
    pub fn send(&mut self, request: &[u8]) -> Result<(), Wrong> {
        self.sent_at = Instant::now();
        let size = self.stream.write(request).map_err(Wrong::Connection)?;
        if size < request.len() {
            return Err(Wrong::Connection(io::ErrorKind::WriteZero.into()));
        }
        Ok(())
    }

    /// Reads what has come; gives the latency once the answer is whole.
    ///
    /// # Errors
    ///
    /// What is [`Wrong`] with the answer; the connection is then of no more use.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        expected: &Expected,
    ) -> Result<Option<Duration>, Wrong> {
        match self.stream.read(buffer) {
            Ok(0) => Err(Wrong::Closed),
            Ok(size) => {
                let is_whole = self.feed(&buffer[..size], expected)?;
                Ok(is_whole.then(|| self.sent_at.elapsed()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(Wrong::Connection(error)),
        }
    }

    fn feed(&mut self, bytes: &[u8], expected: &Expected) -> Result<bool, Wrong> {
        match &mut self.progress {
            Progress::Body { offset, size } => {
                let (offset, size) = (*offset, *size);
                self.feed_body(bytes, offset, size, expected)
            }
            Progress::Head(earlier) if earlier.is_empty() => self.feed_head(bytes, expected),
            Progress::Head(earlier) => {
                let mut all = std::mem::take(earlier);
                all.extend_from_slice(bytes);
                self.feed_head(&all, expected)
            }
        }
    }

    fn feed_head(&mut self, bytes: &[u8], expected: &Expected) -> Result<bool, Wrong> {
        let Some(head) = http::parse_head(bytes).map_err(Wrong::Head)? else {
            self.progress = Progress::Head(bytes.to_vec());
            return Ok(false);
        };
        if head.status != expected.status {
            return Err(Wrong::Status(head.status));
        }
        if expected.body.as_ref().is_some_and(|body| head.body_size != body.len()) {
            return Err(Wrong::Length(head.body_size));
        }
        self.feed_body(&bytes[head.head_size..], 0, head.body_size, expected)
    }

    fn feed_body(
        &mut self,
        bytes: &[u8],
        offset: usize,
        size: usize,
        expected: &Expected,
    ) -> Result<bool, Wrong> {
        let end = offset + bytes.len();
        if end > size {
            return Err(Wrong::Length(end));
        }
        let right = expected.body.as_ref().map(|body| &body[offset..end]);
        let is_compared = self.answer_count.is_multiple_of(COMPARE_EVERY);
        if is_compared && right.is_some_and(|right| bytes != right) {
            return Err(Wrong::Body);
        }
        if end < size {
            self.progress = Progress::Body { offset: end, size };
            return Ok(false);
        }
        self.progress = Progress::Head(Vec::new());
        self.answer_count = self.answer_count.wrapping_add(1);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";

    fn expected() -> Expected {
        Expected { status: 200, body: Some(b"body".to_vec()) }
    }

    fn connection() -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        Connection::open(listener.local_addr().expect("is bound")).expect("connects")
    }

    #[test]
    fn one_answer_is_whole_once_however_it_is_cut() {
        for cut in 1..ANSWER.len() {
            let mut connection = connection();
            let first = connection.feed(&ANSWER[..cut], &expected());
            assert!(matches!(first, Ok(false)), "cut at byte {cut}: {first:?}");
            let second = connection.feed(&ANSWER[cut..], &expected());
            assert!(matches!(second, Ok(true)), "cut at byte {cut}: {second:?}");
        }
    }

    #[test]
    fn an_answer_with_a_body_of_its_own_is_whole_at_its_length() {
        let any = Expected { status: 200, body: None };
        let mut connection = connection();
        assert!(matches!(connection.feed(&ANSWER[..ANSWER.len() - 1], &any), Ok(false)));
        assert!(matches!(connection.feed(b"Y", &any), Ok(true)));
        let longer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody, and more";
        assert!(matches!(connection.feed(longer, &any), Err(Wrong::Length(14))));
    }

    #[test]
    fn names_what_is_wrong_with_an_answer() {
        let wrong = |bytes: &[u8]| match connection().feed(bytes, &expected()) {
            Ok(_) => String::new(),
            Err(wrong) => wrong.to_string(),
        };
        let status = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(wrong(status), "the status is 503");
        let length = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody";
        assert_eq!(wrong(length), "the body has 5 bytes");
        let body = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodi";
        assert_eq!(wrong(body), "the body has other bytes");
        let longer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody, and more";
        assert_eq!(wrong(longer), "the body has 14 bytes");
    }
}
