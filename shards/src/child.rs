//! Child processes whose standard streams are sockets on the shard's ring.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream, unix::process::CommandExt},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use monoio::{
    buf::IoBufMut,
    io::{AsyncReadRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable},
    net::UnixStream,
};

use crate::{signal, time};

/// How often an ending child is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Marks instead of closing.
const CLOSE_ON_EXEC: libc::c_int = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;

/// Descriptors that are looked at one by one where the kernel cannot do it at once.
const DESCRIPTOR_COUNT_MAX: libc::c_int = 65_536;

/// A running child, leader of its own process group.
pub struct Child {
    process: std::process::Child,
}

/// What writes to the child's standard input.
pub struct Input(OwnedWriteHalf<UnixStream>);

/// What reads the child's standard output or error.
pub enum Output {
    /// The half of the socket that is also the child's standard input.
    Half(OwnedReadHalf<UnixStream>),
    /// A socket of its own.
    Whole(UnixStream),
}

/// A child with its three streams.
pub struct Spawned {
    /// The process.
    pub child: Child,
    /// Its standard input.
    pub input: Input,
    /// Its standard output.
    pub output: Output,
    /// Its standard error.
    pub errors: Output,
}

/// Starts `command` with its standard streams on this shard's ring.
///
/// It leads a process group of its own, so that stopping it reaches what it started, and it is
/// killed by the kernel should this process die without stopping it.
///
/// # Errors
///
/// What the system answered (no such program, no permission).
pub fn spawn(mut command: Command) -> io::Result<Spawned> {
    let (ours, theirs) = StdStream::pair()?;
    let (our_errors, their_errors) = StdStream::pair()?;
    command
        .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::from(OwnedFd::from(their_errors)))
        .process_group(0);
    // SAFETY: the closure runs between fork and exec and calls only close_range, fcntl, prctl and
    // pthread_sigmask, which are async-signal-safe, and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            signal::unblock();
            keep_descriptors();
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let process = command.spawn()?;
    // The command holds the child's ends; without this our reads would never see the end.
    drop(command);
    let (output, input) = on_ring(ours)?.into_split();
    Ok(Spawned {
        child: Child { process },
        input: Input(input),
        output: Output::Half(output),
        errors: Output::Whole(on_ring(our_errors)?),
    })
}

/// Marks every descriptor but the standard streams to be closed by exec.
///
/// A ring gives accepted connections without that mark: a child would inherit them, could read and
/// write them, and would keep them open after we closed them.
fn keep_descriptors() {
    // SAFETY: close_range takes no pointers, and with this flag it closes nothing by itself, so
    // that the pipe over which the standard library reports a failed exec still works.
    let done = unsafe { libc::close_range(3, libc::c_uint::MAX, CLOSE_ON_EXEC) };
    if done != 0 {
        // Linux before 5.11.
        for fd in 3..DESCRIPTOR_COUNT_MAX {
            // SAFETY: fcntl with F_SETFD takes no pointers; a number that is not open is refused.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

fn on_ring(stream: StdStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

impl Input {
    /// Writes all of `buffer`. The future must be awaited to its end.
    pub async fn write_all(&mut self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let (outcome, buffer) = self.0.write_all(buffer).await;
        (outcome.map(|_| ()), buffer)
    }

    /// Closes the child's standard input: a well-behaved server then ends by itself.
    pub async fn close(mut self) {
        use monoio::io::AsyncWriteRent;
        let _ = self.0.shutdown().await;
    }
}

impl Output {
    /// Reads once, behind what `buffer` holds already; 0 bytes are the end. The future must be
    /// awaited to its end.
    pub async fn read(&mut self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        buffer.reserve(crate::buffer::CAPACITY);
        let (start, end) = (buffer.len(), buffer.capacity());
        let slice = buffer.slice_mut(start..end);
        let (outcome, slice) = match self {
            Output::Half(half) => half.read(slice).await,
            Output::Whole(stream) => stream.read(slice).await,
        };
        (outcome, slice.into_inner())
    }
}

impl Child {
    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends the child and what it started, at once. What reads and writes its streams sees their
    /// end.
    pub fn kill(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            self.signal(libc::SIGKILL);
        }
    }

    /// Waits until the child ends, at most `within`; `None` if it still runs then.
    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let started = time::Instant::now();
        loop {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            if started.elapsed() >= within {
                return None;
            }
            time::sleep(POLL).await;
        }
    }

    /// Ends the child after its standard input was closed: waits `patience`, sends SIGTERM to its
    /// group, waits `patience` again, then sends SIGKILL.
    pub async fn stop(mut self, patience: Duration) {
        if self.ended(patience).await.is_none() {
            self.signal(libc::SIGTERM);
            let _ = self.ended(patience).await;
        }
        // Also after a clean exit: what the child started may live on in its group.
        self.signal(libc::SIGKILL);
        let _ = self.ended(patience).await;
    }

    fn signal(&self, signal: i32) {
        let group = i32::try_from(self.process.id()).expect("process ids fit an i32");
        // SAFETY: kill takes no pointers. The group id is the child's own: it led its group from
        // the start, and the group's number is not reused while a member of it lives or the child
        // is not reaped.
        unsafe { libc::kill(-group, signal) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        let _ = self.process.wait();
    }
}
