//! A stream of changes as its client reads it.

use super::gateway::Gateway;
use super::wire::Wire;

/// A stream of events as its client reads it.
pub struct Stream {
    wire: Wire,
    /// What was read since it opened.
    pub text: String,
}

impl Stream {
    /// Opens a stream, and reads until it says so.
    #[track_caller]
    pub fn open(gateway: &Gateway, method: &str, path: &str, token: &str) -> Stream {
        let mut wire = gateway.wire();
        wire.send(format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-length: 0\r\n\r\n"
        ));
        let head = wire.head().expect("an answer begins");
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let mut stream = Stream { wire, text: String::new() };
        stream.read_until(": open\n\n");
        stream.text.clear();
        stream
    }

    /// Reads until `text` has come.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) {
        while !self.text.contains(text) {
            let chunk = self.wire.chunk().unwrap_or_else(|| panic!("it ended: {}", self.text));
            self.text.push_str(&String::from_utf8(chunk).expect("events are text"));
        }
    }

    /// Reads until the gateway ends it.
    pub fn read_to_end(&mut self) {
        while let Some(chunk) = self.wire.chunk() {
            self.text.push_str(&String::from_utf8(chunk).expect("events are text"));
        }
    }
}
