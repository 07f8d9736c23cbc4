//! The sockets of the fake upstream: one epoll loop per thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{Options, Script, parse};
use crate::poll::Poller;

/// Connections that may wait to be accepted: a gateway opens its pool at once.
const BACKLOG: i32 = 1024;
/// A read takes this much at once.
const READ_SIZE: usize = 64 * 1024;
/// An unfinished request that grows past this closes its connection.
const REQUEST_SIZE_MAX: usize = 16 << 20;
/// The listener's token; connections count from zero.
const LISTENER: usize = usize::MAX;

/// The threads that answer until the process ends.
pub type Threads = Vec<JoinHandle<io::Result<()>>>;

/// Listens and answers on threads of its own; gives the address and the threads.
///
/// # Errors
///
/// When the port is taken or the process may have no more descriptors.
pub fn serve(options: &Options) -> io::Result<(SocketAddr, Threads)> {
    let script = Arc::new(Script::new(options));
    let first = listen(options.port)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..options.thread_count {
        listeners.push(listen(address.port())?);
    }
    let threads = listeners
        .into_iter()
        .map(|listener| {
            let script = Arc::clone(&script);
            thread::spawn(move || Loop::new(listener, script)?.run())
        })
        .collect();
    Ok((address, threads))
}

/// Listens and answers until the process ends; gives the address.
///
/// # Errors
///
/// As [`serve`].
pub fn spawn(options: Options) -> io::Result<SocketAddr> {
    serve(&options).map(|(address, _)| address)
}

/// A listener that shares its port, so that the kernel spreads connections over the threads.
fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], port)))?;
    rustix::net::listen(&socket, BACKLOG)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A connection and the part of a request that has come so far.
struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
}

struct Loop {
    poller: Poller,
    listener: TcpListener,
    script: Arc<Script>,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl Loop {
    fn new(listener: TcpListener, script: Arc<Script>) -> io::Result<Loop> {
        let poller = Poller::new()?;
        poller.add(&listener, LISTENER)?;
        Ok(Loop {
            poller,
            listener,
            script,
            peers: Vec::new(),
            free: Vec::new(),
            buffer: vec![0; READ_SIZE],
            out: Vec::new(),
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.poller.wait(&mut ready, None)?;
            for token in &ready {
                if *token == LISTENER {
                    self.accept()?;
                } else if self.answer(*token).is_err() {
                    self.peers[*token] = None;
                    self.free.push(*token);
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let token = self.free.pop().unwrap_or(self.peers.len());
            self.poller.add(&stream, token)?;
            let peer = Some(Peer { stream, unread: Vec::new() });
            match self.peers.get_mut(token) {
                Some(slot) => *slot = peer,
                None => self.peers.push(peer),
            }
        }
    }

    /// Reads what has come on a connection and answers every whole request in it.
    fn answer(&mut self, token: usize) -> io::Result<()> {
        let Some(peer) = self.peers[token].as_mut() else { return Ok(()) };
        let size = match peer.stream.read(&mut self.buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.out.clear();
        let bytes = &self.buffer[..size];
        if peer.unread.is_empty() {
            let used = answer_all(&self.script, bytes, &mut self.out)?;
            peer.unread.extend_from_slice(&bytes[used..]);
        } else {
            peer.unread.extend_from_slice(bytes);
            let used = answer_all(&self.script, &peer.unread, &mut self.out)?;
            peer.unread.drain(..used);
        }
        if peer.unread.len() > REQUEST_SIZE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        write_all(&mut peer.stream, &self.out)
    }
}

/// Appends the answers to all whole requests in `bytes`; gives how many bytes they were.
fn answer_all(script: &Script, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
    let mut used = 0;
    while used < bytes.len() {
        let request = parse(&bytes[used..]).map_err(|_| io::ErrorKind::InvalidData)?;
        let Some(request) = request else { break };
        script.answer(&request, out);
        used += request.size;
    }
    Ok(used)
}

/// Writes everything. Only a page of a long list is larger than the socket's buffer, and nobody
/// is measured while one is read, so the loop may then wait for its reader.
fn write_all(stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    match stream.write(bytes) {
        Ok(size) if size == bytes.len() => return Ok(()),
        Ok(size) => bytes = &bytes[size..],
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    stream.set_nonblocking(false)?;
    stream.write_all(bytes)?;
    stream.set_nonblocking(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http;

    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

    #[test]
    fn answers_pipelined_requests_in_their_order_and_keeps_the_unfinished_one() {
        let target = SocketAddr::from(([127, 0, 0, 1], 1));
        let ping = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
        let list = http::request("POST", "/mcp", target, &[], LIST);
        let mut bytes = list.clone();
        bytes.extend(http::request("POST", "/mcp", target, &[], ping));
        let whole = bytes.len();
        bytes.extend(&list[..list.len() - 1]);
        let mut out = Vec::new();
        let used = answer_all(&Script::new(&Options::default()), &bytes, &mut out);
        assert_eq!(used.expect("are requests"), whole);
        let first = http::read_answer(&mut &out[..]).expect("is answered");
        assert!(first.body.starts_with(br#"{"jsonrpc":"2.0","id":1,"#));
        let rest = &out[first.head.len() + first.body.len()..];
        let second = http::read_answer(&mut &rest[..]).expect("is answered");
        assert_eq!(second.body, br#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    }

    #[test]
    fn answers_a_request_that_comes_byte_by_byte() {
        let target = spawn(Options::default()).expect("listens");
        let mut stream = TcpStream::connect(target).expect("connects");
        stream.set_nodelay(true).expect("takes the option");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("takes a time");
        for byte in http::request("POST", "/mcp", target, &[], LIST) {
            stream.write_all(&[byte]).expect("takes the byte");
        }
        assert_eq!(http::read_answer(&mut stream).expect("is answered").status, 200);
    }

    #[test]
    fn answers_a_page_that_is_larger_than_a_socket_buffer() {
        let options = Options { tool_count: 20_000, page_size: 20_000, ..Options::default() };
        let target = spawn(options).expect("listens");
        let request = http::request("POST", "/mcp", target, &[], LIST);
        let answer = http::ask(target, &request, Duration::from_secs(20)).expect("is answered");
        assert!(answer.body.len() > 7_000_000, "{} bytes", answer.body.len());
    }
}
