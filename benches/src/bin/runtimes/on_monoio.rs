//! The bare loop on monoio: a ring with each set of flags, and epoll.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::answer::Answer;

/// Entries of a ring, enough for 200 connections with a read and a write each.
const RING_SIZE: u32 = 1024;
/// Room that a read finds at least.
const READ_SIZE_MIN: usize = 1024;
/// Room that a connection begins with.
const BUFFER_SIZE: usize = 8 * 1024;

/// How a ring is set up.
#[derive(Clone, Copy, Debug)]
pub enum Flags {
    /// As monoio does by itself.
    Plain,
    /// COOP_TASKRUN and SINGLE_ISSUER.
    Coop,
    /// SINGLE_ISSUER and DEFER_TASKRUN.
    Defer,
}

/// Serves on rings until the process ends.
///
/// # Errors
///
/// When the kernel refuses a ring or the port is taken.
pub fn serve_uring(address: SocketAddr, flags: Flags) -> io::Result<()> {
    on_each_core(move || {
        let mut ring = io_uring::IoUring::builder();
        match flags {
            Flags::Plain => &mut ring,
            Flags::Coop => ring.setup_coop_taskrun().setup_single_issuer(),
            Flags::Defer => ring.setup_single_issuer().setup_defer_taskrun(),
        };
        let builder = RuntimeBuilder::<TimeDriver<IoUringDriver>>::new();
        let mut runtime = builder.with_entries(RING_SIZE).uring_builder(ring).build()?;
        runtime.block_on(accept(address))
    })
}

/// Serves on epoll until the process ends.
///
/// # Errors
///
/// When the port is taken.
pub fn serve_epoll(address: SocketAddr) -> io::Result<()> {
    on_each_core(move || {
        RuntimeBuilder::<TimeDriver<LegacyDriver>>::new().build()?.block_on(accept(address))
    })
}

/// Runs `work` on one pinned thread per core and waits for all of them.
fn on_each_core(work: impl Fn() -> io::Result<()> + Clone + Send + 'static) -> io::Result<()> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let threads: Vec<_> = cores
        .into_iter()
        .map(|core| {
            let work = work.clone();
            thread::spawn(move || {
                core_affinity::set_for_current(core);
                work()
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a thread of the loop panicked"))??;
    }
    Ok(())
}

async fn accept(address: SocketAddr) -> io::Result<()> {
    let options = ListenerOpts::new().reuse_port(true).backlog(1024);
    let listener = TcpListener::bind_with_config(address, &options)?;
    let answer = Rc::new(Answer::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        monoio::spawn(converse(stream, Rc::clone(&answer)));
    }
}

/// Answers on one connection until it breaks, closes or asks for something else.
async fn converse(mut stream: TcpStream, answer: Rc<Answer>) {
    let mut buffer: Vec<u8> = Vec::with_capacity(BUFFER_SIZE);
    let mut out: Vec<u8> = Vec::with_capacity(BUFFER_SIZE);
    loop {
        buffer.reserve(READ_SIZE_MIN);
        let (start, end) = (buffer.len(), buffer.capacity());
        let (read, slice) = stream.read(buffer.slice_mut(start..end)).await;
        buffer = slice.into_inner();
        if !matches!(read, Ok(1..)) {
            return;
        }
        let Ok(used) = answer.answer_all(&buffer, &mut out) else { return };
        buffer.drain(..used);
        if !out.is_empty() {
            let (written, returned) = stream.write_all(out).await;
            out = returned;
            out.clear();
            if written.is_err() {
                return;
            }
        }
    }
}
