//! The memory of a server that does nothing, and of connections that say nothing.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Memory;
use crate::http;

/// Memory counts as settled when it is the same for this long: allocators give back what is free
/// in steps, within 10 seconds by jemalloc's default.
const SETTLED_AFTER: Duration = Duration::from_secs(4);
/// How long to wait for that.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(20);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until the resident memory of some processes stops changing; gives it in bytes.
///
/// # Errors
///
/// When a process is gone.
pub fn settled_rss(pids: &[u32]) -> io::Result<u64> {
    let started_at = Instant::now();
    let mut rss = Memory::take(pids)?.rss;
    let mut same_since = Instant::now();
    while same_since.elapsed() < SETTLED_AFTER && started_at.elapsed() < SETTLE_WAIT_MAX {
        thread::sleep(LOOK_EVERY);
        let now = Memory::take(pids)?.rss;
        if now != rss {
            (rss, same_since) = (now, Instant::now());
        }
    }
    Ok(rss)
}

/// Opens `count` connections, asks /health once on each and lets them idle; gives the bytes of
/// resident memory that the server took for one.
///
/// # Errors
///
/// When a connection is refused, or this process may not have so many.
pub fn connection_cost(target: SocketAddr, pids: &[u32], count: usize) -> io::Result<f64> {
    let before = settled_rss(pids)?;
    let request = http::request("GET", "/health", target, &[], "");
    let mut connections = Vec::with_capacity(count);
    for index in 0..count {
        let connection = open(target, &request);
        connections.push(connection.map_err(|error| {
            io::Error::other(format!("idle connection {index} of {count}: {error}"))
        })?);
    }
    let after = settled_rss(pids)?;
    Ok(after.saturating_sub(before) as f64 / count.max(1) as f64)
}

fn open(target: SocketAddr, request: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(target)?;
    stream.set_read_timeout(Some(SETTLE_WAIT_MAX))?;
    stream.write_all(request)?;
    let answer = http::read_answer(&mut stream)?;
    if answer.status != 200 {
        return Err(io::Error::other(format!("/health answered {}", answer.status)));
    }
    Ok(stream)
}
