//! SIGTERM and SIGINT, taken by one waiting thread instead of interrupting a shard.

/// The signals that stop the process.
const STOPPING: [i32; 2] = [libc::SIGTERM, libc::SIGINT];

/// Blocks the stopping signals in this thread and those it starts: call it first in `main`.
pub fn block() {
    let set = stopping();
    // SAFETY: `set` is an initialised sigset_t; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
}

/// Lets the stopping signals through again in the calling thread, as a child process wants it
/// between fork and exec.
pub(crate) fn unblock() {
    let set = stopping();
    // SAFETY: `set` is an initialised sigset_t; the old mask is not asked for.
    // pthread_sigmask is async-signal-safe, so it may be called after fork.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()) };
}

/// Blocks the calling thread until a stopping signal comes and returns its number.
pub fn wait() -> i32 {
    let set = stopping();
    let mut signal = 0;
    loop {
        // SAFETY: both pointers are to live, initialised values.
        if unsafe { libc::sigwait(&set, &mut signal) } == 0 {
            return signal;
        }
    }
}

fn stopping() -> libc::sigset_t {
    // SAFETY: all zeroes is a valid sigset_t, and sigemptyset initialises it in any case.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a live sigset_t.
    unsafe { libc::sigemptyset(&mut set) };
    for signal in STOPPING {
        // SAFETY: `set` was initialised above and `signal` is a valid signal number.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    set
}
