//! Which ring driver a shard runs on: io_uring with the flags that measured best, then a plain
//! ring, then epoll.
//!
//! The choice is made once, before any shard starts, by opening a small ring and asking it for the
//! operations that are needed: containers often forbid io_uring by seccomp.

use std::{fmt, io};

/// What the operator asked for (`RING_DRIVER`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// The best that the kernel grants.
    Auto,
    /// io_uring or a failed start.
    Uring,
    /// epoll, without asking for a ring.
    Epoll,
}

/// The driver that the shards run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring with SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1), the fastest by measurement.
    UringDeferred,
    /// io_uring without flags (Linux 5.7).
    UringPlain,
    /// epoll.
    Epoll,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::UringDeferred => "io_uring (single issuer, deferred task run)",
            Driver::UringPlain => "io_uring (plain)",
            Driver::Epoll => "epoll",
        })
    }
}

/// The chosen driver and, when a better one was refused, why.
#[derive(Debug)]
pub struct Choice {
    /// What the shards will run on.
    pub driver: Driver,
    /// The refusals of the better ones, for the operator; `None` when the first try held.
    pub why_not_better: Option<String>,
}

/// Tries the drivers in order of speed and returns the first that the kernel grants.
///
/// # Errors
///
/// [`io::Error`] if `preference` is [`Preference::Uring`] and no ring can be had; it says what the
/// kernel answered.
pub fn choose(preference: Preference) -> io::Result<Choice> {
    if preference == Preference::Epoll {
        return Ok(Choice { driver: Driver::Epoll, why_not_better: None });
    }
    let refusal = match probe(deferred_flags()) {
        Ok(()) => return Ok(Choice { driver: Driver::UringDeferred, why_not_better: None }),
        Err(refusal) => refusal,
    };
    let refusal = format!("io_uring with deferred task run: {refusal}");
    match probe(io_uring::IoUring::builder()) {
        Ok(()) => Ok(Choice { driver: Driver::UringPlain, why_not_better: Some(refusal) }),
        Err(plain) if preference == Preference::Uring => Err(io::Error::new(
            plain.kind(),
            format!("io_uring was asked for (RING_DRIVER=uring) but refused: {plain}"),
        )),
        Err(plain) => {
            let why = format!("{refusal}; plain io_uring: {plain}");
            Ok(Choice { driver: Driver::Epoll, why_not_better: Some(why) })
        }
    }
}

/// The flags of [`Driver::UringDeferred`].
pub(crate) fn deferred_flags() -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    builder
}

/// Opens a ring of two entries with `flags` and checks that it knows every needed operation.
fn probe(flags: io_uring::Builder) -> io::Result<()> {
    use io_uring::opcode;
    let ring = flags.build(2)?;
    let mut probe = io_uring::Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        opcode::Accept::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Connect::CODE,
        opcode::PollAdd::CODE,
        opcode::Read::CODE,
        opcode::Recv::CODE,
        opcode::Send::CODE,
        opcode::Timeout::CODE,
        opcode::Write::CODE,
        opcode::Writev::CODE,
    ];
    match needed.iter().find(|code| !probe.is_supported(**code)) {
        None => Ok(()),
        Some(code) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("this kernel's io_uring lacks operation {code}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_epoll_without_asking_when_told_so() {
        let choice = choose(Preference::Epoll).expect("epoll is always there");
        assert_eq!(choice.driver, Driver::Epoll);
        assert!(choice.why_not_better.is_none());
    }

    #[test]
    fn gives_a_reason_whenever_it_does_not_take_the_best() {
        let choice = choose(Preference::Auto).expect("auto always finds one");
        assert_eq!(choice.driver == Driver::UringDeferred, choice.why_not_better.is_none());
    }
}
