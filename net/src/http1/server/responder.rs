//! Where a service writes its answer: one buffer that goes out in one write.

use std::{cell::Cell, future::Future, pin::Pin, rc::Rc};

use shards::buffer;

use crate::{
    connection::Connection,
    http1::{Method, RequestHead, Version, encode},
};

/// A body that is made while it is sent.
pub trait BodyStream {
    /// Appends the next data to `out`; false if that was the last. Dropping the future, or the
    /// stream, must be sound at any point.
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>>;
}

/// What takes a connection over behind an answer 101: HTTP is spoken on it no more.
pub trait Takeover {
    /// Uses the connection until it can be closed. `early` is what came behind the request. Nothing
    /// else reads or writes meanwhile, and no deadline is set.
    fn run<'a>(
        self: Box<Self>,
        connection: &'a mut Connection,
        early: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
}

/// An answer in the making.
pub struct Responder {
    out: Vec<u8>,
    stream: Option<Box<dyn BodyStream>>,
    takeover: Option<Box<dyn Takeover>>,
    keep_alive: bool,
    head_only: bool,
    written: bool,
    status: u16,
    version: Version,
    cancel_on_disconnect: Rc<Cell<bool>>,
    /// Lines that every head ends with, whatever is answered.
    always: &'static str,
    /// Fields of this request alone that its head ends with, whatever is answered.
    also: Vec<u8>,
}

impl Responder {
    /// Begins the answer to a request. `cancel_on_disconnect` is the connection's flag that says
    /// whether the peer's leaving cancels what runs.
    pub fn new(
        head: &RequestHead,
        keep_alive: bool,
        cancel_on_disconnect: Rc<Cell<bool>>,
    ) -> Responder {
        Responder {
            out: buffer::take(),
            stream: None,
            takeover: None,
            keep_alive,
            head_only: head.method() == Method::Head,
            written: false,
            status: 0,
            version: head.version(),
            cancel_on_disconnect,
            always: "",
            also: Vec::new(),
        }
    }

    /// Begins an answer after which the connection closes.
    pub(super) fn closing() -> Responder {
        Responder {
            out: buffer::take(),
            stream: None,
            takeover: None,
            keep_alive: false,
            head_only: false,
            written: false,
            status: 0,
            version: Version::Http11,
            cancel_on_disconnect: Rc::default(),
            always: "",
            also: Vec::new(),
        }
    }

    /// Makes the peer's leaving cancel the request from now on.
    pub fn cancel_on_disconnect(&self) {
        self.cancel_on_disconnect.set(true);
    }

    /// Sets the lines that the head will end with, whatever is answered: also a refusal, also after
    /// a panic.
    pub fn always(&mut self, lines: &'static str) {
        self.always = lines;
    }

    /// Adds a field that the head will end with, whatever is answered.
    pub fn always_header(&mut self, name: &str, value: &[u8]) {
        encode::header(&mut self.also, name, value);
    }

    /// Begins the head. Fields follow by [`Responder::header`] and [`Responder::lines`].
    pub fn begin(&mut self, status: u16) {
        self.out.clear();
        self.status = status;
        encode::begin(&mut self.out, status);
    }

    /// Appends a field.
    pub fn header(&mut self, name: &str, value: &[u8]) {
        encode::header(&mut self.out, name, value);
    }

    /// Appends whole lines of the head.
    pub fn lines(&mut self, lines: &'static str) {
        encode::lines(&mut self.out, lines);
    }

    /// Ends the head and appends the body, given in pieces. A request by HEAD gets the head alone.
    pub fn finish(&mut self, body: &[&[u8]]) {
        let size = body.iter().map(|piece| piece.len()).sum();
        encode::content_length(&mut self.out, size);
        self.end_head();
        if !self.head_only {
            self.out.reserve(size);
            for piece in body {
                self.out.extend_from_slice(piece);
            }
        }
    }

    /// Ends the head of an answer that has no body and says no length (204, 304).
    pub fn finish_empty(&mut self) {
        self.end_head();
    }

    /// Ends the head and lets `stream` make the body.
    pub fn finish_stream(&mut self, stream: Box<dyn BodyStream>) {
        if self.version == Version::Http11 {
            self.lines("transfer-encoding: chunked\r\n");
        } else {
            self.keep_alive = false;
        }
        self.end_head();
        if !self.head_only {
            self.stream = Some(stream);
        }
    }

    /// Ends the head of an answer 101 and has `takeover` use the connection from then on.
    pub fn finish_takeover(&mut self, takeover: Box<dyn Takeover>) {
        self.out.extend_from_slice(self.always.as_bytes());
        self.out.extend_from_slice(&self.also);
        encode::end(&mut self.out);
        self.takeover = Some(takeover);
        self.written = true;
    }

    fn end_head(&mut self) {
        self.out.extend_from_slice(self.always.as_bytes());
        self.out.extend_from_slice(&self.also);
        if !self.keep_alive {
            self.lines("connection: close\r\n");
        } else if self.version == Version::Http10 {
            self.lines("connection: keep-alive\r\n");
        }
        encode::end(&mut self.out);
        self.written = true;
    }

    /// Returns true once an answer was finished.
    pub fn is_written(&self) -> bool {
        self.written
    }

    /// The status that was last begun with; 0 before.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The bytes written so far, for tests and for callers without a socket.
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Discards what was written, to write something else. The connection will close.
    pub(super) fn restart(&mut self) {
        self.out.clear();
        self.stream = None;
        self.takeover = None;
        self.written = false;
        self.keep_alive = false;
    }

    /// Makes the connection close after an answer that was written already, and says so in it.
    pub(super) fn close(&mut self) {
        if self.keep_alive {
            self.keep_alive = false;
            let line_end = memchr::memchr(b'\n', &self.out).map_or(0, |place| place + 1);
            self.out.splice(line_end..line_end, b"connection: close\r\n".iter().copied());
        }
    }

    pub(super) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn take_takeover(&mut self) -> Option<Box<dyn Takeover>> {
        self.takeover.take()
    }

    pub(super) fn take_stream(&mut self) -> Option<Box<dyn BodyStream>> {
        self.stream.take()
    }
}
