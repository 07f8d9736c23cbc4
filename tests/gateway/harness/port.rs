//! Ports that no other test holds, below the range from which the kernel takes ports of its own.

use std::fs::File;
use std::net::TcpListener;
use std::ops::Range;

/// Above what services usually take, below 32768 where Linux's ephemeral ports begin: a port from
/// there may be taken by an outgoing connection between the look and the use.
const PORTS: Range<u16> = 20_000..32_000;

/// A port that is ours until this is dropped.
///
/// The gateway listens with SO_REUSEPORT, so two of them on one port would not notice each other;
/// the lock file keeps the tests of one machine apart, in whatever process they run.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free port.
    pub fn take() -> Self {
        let count = PORTS.end - PORTS.start;
        let start = (std::process::id() % u32::from(count)) as u16;
        let mut candidates = (0..count).map(|step| PORTS.start + (start + step) % count);
        candidates.find_map(Self::try_take).expect("one port in twelve thousand is free")
    }

    fn try_take(number: u16) -> Option<Self> {
        let path = std::env::temp_dir().join(format!("ringway-test-port-{number}"));
        let lock = File::create(path).ok()?;
        lock.try_lock().ok()?;
        TcpListener::bind(("127.0.0.1", number)).ok()?;
        Some(Self { number, _lock: lock })
    }
}
