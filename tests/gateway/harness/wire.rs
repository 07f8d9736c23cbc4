//! A small blocking HTTP/1.1 client that shows every byte, for what a polite client never sends.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long a read may take. Generous: a busy machine must not fail a test.
const READ_MAX: Duration = Duration::from_secs(20);

/// One connection, and what was read from it but not used yet.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; an SSE body gives its last event's data.
    pub fn json(&self) -> Value {
        if self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return self.events().pop().unwrap_or_else(|| panic!("no event in {self:?}"));
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: status {}, body {}", self.status, self.text()))
    }

    /// The data of every event of an SSE body, as JSON. Events without data are left out.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text().replace("\r\n", "\n");
        let data = text.split("\n\n").map(|event| {
            let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
            lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
        });
        let full = data.filter(|data| !data.is_empty());
        full.map(|data| serde_json::from_str(&data).expect("event data is JSON")).collect()
    }

    /// Gives itself back when the status is `expected`.
    #[track_caller]
    pub fn expect(self, expected: u16) -> Self {
        assert_eq!(self.status, expected, "{}", self.text());
        self
    }
}

impl Wire {
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).expect("the gateway accepts")
    }

    pub fn try_connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(READ_MAX))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends bytes as they are. A server that closed already is no fault: the answer tells.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Reads one answer to a request that was not HEAD.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer came")
    }

    /// Reads one answer; `None` when the connection closed before one began.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let mut answer = self.head()?;
        answer.body = self.body(&answer);
        Some(answer)
    }

    /// Reads a status line and headers only, as the answer to HEAD or the start of a stream.
    pub fn head(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more() {
                assert!(self.unread.is_empty(), "cut head: {}", self.seen());
                return None;
            }
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let text = String::from_utf8(head).expect("heads are ASCII");
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().expect("a head has a first line");
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {line:?}"));
        let pairs = lines.filter_map(|line| line.split_once(':'));
        let headers = pairs.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Some(Answer { status, headers: headers.collect(), body: Vec::new() })
    }

    /// Reads the body that belongs to `head`.
    pub fn body(&mut self, head: &Answer) -> Vec<u8> {
        if head.status < 200 || head.status == 204 || head.status == 304 {
            return Vec::new();
        }
        if head.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            return self.chunked();
        }
        match head.header("content-length") {
            Some(size) => self.take(size.parse().expect("Content-Length is a number")),
            None => self.rest(),
        }
    }

    fn chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk() {
            body.extend(chunk);
        }
        body
    }

    /// Reads one chunk; `None` for the last, empty one.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line();
        let size = line.split(';').next().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.unwrap_or_else(|| panic!("no chunk size in {line:?}"));
        let chunk = self.take(size);
        assert_eq!(self.line(), "", "a chunk ends with CRLF");
        (size > 0).then_some(chunk)
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            assert!(self.more(), "cut line: {}", self.seen());
        }
    }

    /// Reads this many bytes.
    pub fn take(&mut self, size: usize) -> Vec<u8> {
        while self.unread.len() < size {
            assert!(self.more(), "cut body, {size} bytes promised: {}", self.seen());
        }
        self.unread.drain(..size).collect()
    }

    /// Whether something comes within this time, or came already.
    pub fn arrives(&self, within: Duration) -> bool {
        let wait = |within| self.stream.set_read_timeout(Some(within)).expect("it is no zero");
        wait(within);
        let arrived = !self.unread.is_empty() || self.stream.peek(&mut [0]).is_ok();
        wait(READ_MAX);
        arrived
    }

    /// Reads until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.unread)
    }

    /// Whether the server closes without another byte.
    pub fn closes(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// Reads what is there; false at the end of the stream.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(size) => {
                self.unread.extend(&buffer[..size]);
                size > 0
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => false,
            // A stopped and continued process, this one too, is told of it by its waits.
            Err(e) if e.kind() == ErrorKind::Interrupted => self.more(),
            Err(e) => panic!("nothing came within {READ_MAX:?} ({e}) after: {}", self.seen()),
        }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The bytes of a request with a Host header, the given headers and body.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    if !body.is_empty() || ["POST", "PUT", "PATCH"].contains(&method) {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}
