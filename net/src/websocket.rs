//! WebSockets, either end (RFC 6455): the handshake, and messages over a connection.
//!
//! Frames are read by tungstenite, which does no I/O here: it is fed whatever arrived. While a socket
//! waits it holds no buffer of ours, and no message that it has handed on.

use std::{
    io::{self, ErrorKind, Read, Write},
    time::Duration,
};

use aws_lc_rs::{digest, rand};
use base64::{Engine, prelude::BASE64_STANDARD};
use shards::{buffer, watch};
use tungstenite::{
    Bytes, Error, Message,
    protocol::{
        CloseFrame, Role, WebSocketConfig, WebSocketContext,
        frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

use crate::{
    client::Response,
    connection::Connection,
    http1::{Method, Version, encode, server::Request},
};

/// What a key is hashed with (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes that are decoded at a time. A socket keeps about as many.
const READ_SIZE: usize = 2048;

/// Bytes of a head of a frame, at most.
const FRAME_HEAD_SIZE_MAX: usize = 14;

/// How long the peer may take to agree to the end of a connection.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Most bytes that are swallowed until it does.
const SWALLOWED_SIZE_MAX: usize = 1024 * 1024;

/// Why a request opens no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSocket {
    /// It does not ask for one.
    NotAsked,
    /// It asks for a version other than 13.
    Version,
    /// It asks in a way that makes no sense.
    Malformed,
}

/// Checks that a request asks for a socket; returns the value of `Sec-WebSocket-Accept`.
///
/// # Errors
///
/// [`NoSocket`]: answer 426, with `Sec-WebSocket-Version: 13` for another version, or 400.
pub fn accept(request: &Request<'_>) -> Result<String, NoSocket> {
    let asks = request.head.method() == Method::Get
        && request.head.version() == Version::Http11
        && names(request, "connection", "upgrade")
        && names(request, "upgrade", "websocket");
    if !asks {
        return Err(NoSocket::NotAsked);
    }
    if request.header("sec-websocket-version") != Some(b"13") {
        return Err(NoSocket::Version);
    }
    let mut keys = request.head.fields().all(request.bytes, "sec-websocket-key");
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(NoSocket::Malformed) };
    match BASE64_STANDARD.decode(key) {
        Ok(nonce) if nonce.len() == 16 => Ok(accept_of(key)),
        _ => Err(NoSocket::Malformed),
    }
}

/// Whether a request offers the subprotocol `name`.
pub fn offers(request: &Request<'_>, name: &str) -> bool {
    let mut fields = request.head.fields().all(request.bytes, "sec-websocket-protocol");
    fields.any(|field| words(field).any(|word| word == name.as_bytes()))
}

fn accept_of(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    BASE64_STANDARD.encode(context.finish())
}

fn names(request: &Request<'_>, field: &str, name: &str) -> bool {
    let mut fields = request.head.fields().all(request.bytes, field);
    fields.any(|field| words(field).any(|word| word.eq_ignore_ascii_case(name.as_bytes())))
}

fn words(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// What a client asks for a socket with.
pub struct Offer(String);

impl Offer {
    /// Makes one with a key that nobody can guess.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes.
    pub fn new() -> io::Result<Offer> {
        Ok(Offer(BASE64_STANDARD.encode(random::<16>()?)))
    }

    /// Appends the lines of the request, which is a GET, that ask for a socket of the subprotocol
    /// `name`.
    pub fn write(&self, out: &mut Vec<u8>, name: &str) {
        encode::lines(out, "connection: Upgrade\r\nupgrade: websocket\r\n");
        encode::lines(out, "sec-websocket-version: 13\r\n");
        encode::header(out, "sec-websocket-key", self.0.as_bytes());
        encode::header(out, "sec-websocket-protocol", name.as_bytes());
    }

    /// Checks that an answer takes the offer. A server may leave the subprotocol unnamed, as many do
    /// that know one only.
    ///
    /// # Errors
    ///
    /// What is wrong with the answer, as the end of a sentence about the server.
    pub fn check(&self, response: &Response, name: &str) -> Result<(), &'static str> {
        let is = |field: &str, value: &[u8]| {
            response.header(field).is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        let named = response.header("sec-websocket-protocol");
        if response.status() != 101 || !is("upgrade", b"websocket") {
            Err("it did not switch to a WebSocket")
        } else if response.header("sec-websocket-accept")
            != Some(accept_of(self.0.as_bytes()).as_bytes())
        {
            Err("it switched without having read the key")
        } else if response.header("sec-websocket-extensions").is_some_and(|all| !all.is_empty()) {
            Err("it wants extensions that were not offered")
        } else if named.is_some_and(|named| named != name.as_bytes()) {
            Err("it wants a subprotocol that was not offered")
        } else {
            Ok(())
        }
    }
}

fn random<const SIZE: usize>() -> io::Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(bytes)
}

/// What came from the peer.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message, which is UTF-8.
    Message(Vec<u8>),
    /// A sign of life.
    Sign,
    /// Its wish to end, which [`Socket::flush`] agrees to, and the code by which it says why.
    Close(Option<u16>),
}

/// Why we end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The code (RFC 6455 §7.4.1).
    pub code: u16,
    /// What the peer is told, in at most 123 bytes.
    pub reason: &'static str,
}

impl Closing {
    /// The peer sent what is no frame.
    pub const PROTOCOL: Closing = Closing { code: 1002, reason: "Protocol error" };
    /// The peer sent bytes that are no text.
    pub const BINARY: Closing = Closing { code: 1003, reason: "Messages are text" };
    /// The peer sent text that is not UTF-8.
    pub const UTF8: Closing = Closing { code: 1007, reason: "Text must be UTF-8" };
    /// All was said.
    pub const DONE: Closing = Closing { code: 1000, reason: "" };
    /// The peer sent a message that is too large.
    pub const TOO_LARGE: Closing = Closing { code: 1009, reason: "The message is too large" };
}

/// A socket on a connection that was handed over.
pub struct Socket<'c> {
    connection: &'c mut Connection,
    codec: Codec,
    write_within: Duration,
}

impl<'c> Socket<'c> {
    /// Takes the connection behind the handshake; `early` came behind that. A message of the peer has
    /// at most `message_size_max` bytes, and the peer takes what is written within `write_within`.
    pub fn new(
        connection: &'c mut Connection,
        early: Vec<u8>,
        message_size_max: usize,
        write_within: Duration,
    ) -> Socket<'c> {
        Socket::over(connection, early, Codec::new(message_size_max), write_within)
    }

    /// The same at the client's end, of a connection that the server has switched.
    pub fn client(
        connection: &'c mut Connection,
        early: Vec<u8>,
        message_size_max: usize,
        write_within: Duration,
    ) -> Socket<'c> {
        Socket::over(connection, early, Codec::client(message_size_max), write_within)
    }

    fn over(
        connection: &'c mut Connection,
        early: Vec<u8>,
        mut codec: Codec,
        write_within: Duration,
    ) -> Socket<'c> {
        match early.is_empty() {
            true => buffer::give(early),
            false => codec.feed(early),
        }
        Socket { connection, codec, write_within }
    }

    /// Takes what has arrived whole; `None` if more must be received before.
    ///
    /// # Errors
    ///
    /// [`Closing`]: how to end the connection.
    pub fn take(&mut self) -> Result<Option<Incoming>, Closing> {
        self.codec.take()
    }

    /// Waits for more of the peer's bytes; false at their end. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// What the connection answered.
    pub async fn receive(&mut self) -> io::Result<bool> {
        let bytes = self.connection.receive().await?;
        let is_more = !bytes.is_empty();
        self.codec.feed(bytes);
        Ok(is_more)
    }

    /// Sends a message, which must be UTF-8. Must be awaited to its end.
    ///
    /// # Errors
    ///
    /// What the connection answered, also when the peer did not take it in time.
    pub async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        let mut out = buffer::take();
        out.reserve(message.len() + FRAME_HEAD_SIZE_MAX);
        let frame = Frame::message(message, OpCode::Data(Data::Text), true);
        self.codec.write(frame, &mut out)?;
        self.write(out).await
    }

    /// Asks the peer for a sign of life. Must be awaited to its end.
    ///
    /// # Errors
    ///
    /// As [`Socket::send`].
    pub async fn ping(&mut self) -> io::Result<()> {
        let mut out = buffer::take();
        self.codec.write(Frame::ping(Bytes::new()), &mut out)?;
        self.write(out).await
    }

    /// Sends what answers the peer's pings and its wish to end. Must be awaited to its end.
    ///
    /// # Errors
    ///
    /// As [`Socket::send`].
    pub async fn flush(&mut self) -> io::Result<()> {
        match self.codec.answers() {
            Some(out) => self.write(out).await,
            None => Ok(()),
        }
    }

    /// Ends the connection, and waits a moment for the peer to agree, so that it reads why.
    pub async fn close(&mut self, closing: Closing) {
        let out = self.codec.close(closing);
        if self.write(out).await.is_err() {
            return;
        }
        self.connection.watch().arm(CLOSE_WITHIN, watch::Action::Abort);
        let mut swallowed = 0;
        while swallowed < SWALLOWED_SIZE_MAX {
            match self.connection.receive().await {
                Ok(bytes) if !bytes.is_empty() => {
                    swallowed += bytes.len();
                    if self.codec.agrees(bytes) {
                        break;
                    }
                }
                _ => break,
            }
        }
    }

    async fn write(&mut self, out: Vec<u8>) -> io::Result<()> {
        self.connection.watch().arm(self.write_within, watch::Action::Abort);
        let (outcome, out) = self.connection.write_all(out).await;
        self.connection.watch().disarm();
        buffer::give(out);
        outcome
    }
}

/// Frames of the peer, bytes to messages and back, without a socket.
pub struct Codec {
    role: Role,
    context: WebSocketContext,
    wire: Wire,
    /// The bytes of the last message. While they are held, what is read next goes to other memory;
    /// so the memory of a large message is given back with it.
    held: Option<Bytes>,
    /// Nothing can be read any more.
    is_broken: bool,
}

impl Codec {
    /// Makes one for a client's messages of at most `message_size_max` bytes.
    pub fn new(message_size_max: usize) -> Codec {
        Codec::of(Role::Server, message_size_max)
    }

    /// Makes one for a server's messages of at most `message_size_max` bytes.
    pub fn client(message_size_max: usize) -> Codec {
        Codec::of(Role::Client, message_size_max)
    }

    /// Makes one at the end `role`.
    fn of(role: Role, message_size_max: usize) -> Codec {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_SIZE)
            .write_buffer_size(0)
            .max_message_size(Some(message_size_max))
            .max_frame_size(Some(message_size_max));
        let context = WebSocketContext::new(role, Some(config));
        Codec { role, context, wire: Wire::default(), held: None, is_broken: false }
    }

    /// Appends a frame of ours; a client's is masked (RFC 6455 §5.3).
    fn write(&self, mut frame: Frame, out: &mut Vec<u8>) -> io::Result<()> {
        if self.role == Role::Client {
            frame.header_mut().mask = Some(random()?);
        }
        frame.format(out).map_err(io::Error::other)
    }

    /// Takes bytes of the peer; none are their end.
    pub fn feed(&mut self, bytes: Vec<u8>) {
        self.wire.feed(bytes);
    }

    /// Takes what has arrived whole; `None` if more must be fed before.
    ///
    /// # Errors
    ///
    /// [`Closing`]: how to end the connection. Nothing more can be taken then.
    pub fn take(&mut self) -> Result<Option<Incoming>, Closing> {
        let read = self.context.read(&mut self.wire);
        self.held = None;
        self.is_broken |= read.as_ref().is_err_and(|error| !is_only_empty(error));
        match read {
            Ok(Message::Text(text)) => {
                let message = text.as_bytes().to_vec();
                self.held = Some(text.into());
                Ok(Some(Incoming::Message(message)))
            }
            Ok(Message::Binary(_)) => Err(Closing::BINARY),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Some(Incoming::Sign)),
            Ok(Message::Close(frame)) => {
                Ok(Some(Incoming::Close(frame.map(|frame| frame.code.into()))))
            }
            Err(error) if is_only_empty(&error) => Ok(None),
            Err(Error::Capacity(_)) => Err(Closing::TOO_LARGE),
            Err(Error::Utf8(_)) => Err(Closing::UTF8),
            Err(_) => Err(Closing::PROTOCOL),
        }
    }

    /// What the peer is to be answered besides messages.
    pub fn answers(&mut self) -> Option<Vec<u8>> {
        // Once the peer wished to end this says that the connection is closed, behind its answer.
        let _ = self.context.flush(&mut self.wire);
        let out = std::mem::take(&mut self.wire.outgoing);
        (!out.is_empty()).then_some(out)
    }

    fn close(&mut self, closing: Closing) -> Vec<u8> {
        let Closing { code, reason } = closing;
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        let _ = self.context.close(&mut self.wire, Some(frame));
        std::mem::take(&mut self.wire.outgoing)
    }

    /// Looks whether the peer agrees to the end with these bytes; what else it says is lost.
    fn agrees(&mut self, bytes: Vec<u8>) -> bool {
        if self.is_broken {
            return false;
        }
        self.feed(bytes);
        loop {
            match self.take() {
                Ok(Some(Incoming::Close(_))) => return true,
                Ok(Some(_)) | Err(Closing::BINARY) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }
}

fn is_only_empty(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

/// What tungstenite takes for a connection.
#[derive(Default)]
struct Wire {
    incoming: Vec<u8>,
    /// How much of that was read.
    taken: usize,
    is_ended: bool,
    outgoing: Vec<u8>,
}

impl Wire {
    fn feed(&mut self, mut bytes: Vec<u8>) {
        self.is_ended |= bytes.is_empty();
        if self.taken == self.incoming.len() {
            std::mem::swap(&mut self.incoming, &mut bytes);
            self.taken = 0;
        } else {
            self.incoming.extend_from_slice(&bytes);
        }
        buffer::give(bytes);
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = &self.incoming[self.taken..];
        if left.is_empty() {
            buffer::give(std::mem::take(&mut self.incoming));
            self.taken = 0;
            return if self.is_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = left.len().min(into.len());
        into[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
