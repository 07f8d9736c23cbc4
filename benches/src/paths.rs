//! The parts of the path of a request, each as a closure that does one request's work.
//!
//! The instruction guard counts what the guarded ones execute, and the micro-benchmarks take the
//! time of all of them: one list, so that both speak of the same work.

use net::http1::{HeadLimits, RequestHead};
use net::jsonrpc::{self, EnvelopeLimits, Message};

use crate::upstream::{Options, Request, Script};

/// Does the work of one request; gives a number that depends on it.
pub type Work = Box<dyn FnMut() -> usize>;

/// A part of the path.
pub struct Path {
    /// Its name in the record and in the benchmarks.
    pub name: &'static str,
    /// Whether the guard counts its instructions.
    pub is_guarded: bool,
    /// Builds what the work needs and is not part of it.
    pub prepare: fn() -> Work,
}

/// Every part.
pub const ALL: &[Path] = &[
    Path { name: "head", is_guarded: true, prepare: head },
    Path { name: "envelope of tools/list", is_guarded: true, prepare: envelope_of_list },
    Path { name: "envelope of tools/call", is_guarded: true, prepare: envelope_of_call },
    Path { name: "list splice", is_guarded: false, prepare: list_splice },
];

/// A request as a client of the modern revision sends it, with a token of usual length.
const HEAD: &str = "POST /mcp HTTP/1.1\r\n\
    Host: 127.0.0.1:4444\r\n\
    Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhZG1pbkBleGFtcGxlLmNvbSIs\
    ImlzcyI6InJpbmd3YXkiLCJhdWQiOiJyaW5nd2F5LWFwaSIsImlhdCI6MTc5NTAwMDAwMCwianRpIjoiMTIzNDU2Nzg5MCJ9\
    .c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmUtc2lnbmE\r\n\
    Content-Type: application/json\r\n\
    Accept: application/json, text/event-stream\r\n\
    User-Agent: bench/1\r\n\
    MCP-Protocol-Version: 2026-07-28\r\n\
    Mcp-Method: tools/call\r\n\
    Mcp-Name: bench-tool-0\r\n\
    Content-Length: 298\r\n\r\n";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bench-tool-0","arguments":{"place":"Oslo","days":3},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;

fn head() -> Work {
    let mut head = RequestHead::default();
    let limits = HeadLimits::default();
    Box::new(move || {
        let size = head.parse(HEAD.as_bytes(), &limits).expect("the head is valid");
        size.expect("the head is whole") + head.path(HEAD.as_bytes()).len()
    })
}

fn envelope_of_list() -> Work {
    envelope_of(LIST)
}

fn envelope_of_call() -> Work {
    envelope_of(CALL)
}

fn envelope_of(text: &'static str) -> Work {
    let limits = EnvelopeLimits::default();
    Box::new(move || {
        let message = Message::parse(text.as_bytes(), &limits).expect("the message is valid");
        message.method().len() + message.params().map_or(0, str::len)
    })
}

/// Puts an id before a rendered list of 20 tools.
fn list_splice() -> Work {
    let mut rendered = Vec::new();
    let request = Request { verb: "POST", body: LIST.as_bytes(), ..Request::default() };
    Script::new(&Options::default()).answer(&request, &mut rendered);
    let list = String::from_utf8(rendered).expect("the script writes text");
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        jsonrpc::result(&mut out, "12345", &list);
        out.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_does_the_same_work_each_time() {
        for path in ALL {
            let mut work = (path.prepare)();
            let first = work();
            assert!(first > 0, "{}", path.name);
            assert_eq!(work(), first, "{}", path.name);
        }
    }

    #[test]
    fn the_body_has_the_size_that_the_head_says() {
        assert!(HEAD.contains(&format!("Content-Length: {}\r\n", CALL.len())), "{}", CALL.len());
    }
}
