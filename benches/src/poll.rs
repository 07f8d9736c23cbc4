//! Readiness of sockets, by epoll.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

/// How many sockets one wait reports at most: more than a loop of 200 connections can have ready.
const EVENT_COUNT_MAX: usize = 256;

/// A set of sockets that are watched for bytes to read.
pub struct Poller {
    epoll: OwnedFd,
    events: [MaybeUninit<epoll::Event>; EVENT_COUNT_MAX],
}

impl Poller {
    /// Makes an empty set.
    ///
    /// # Errors
    ///
    /// When the process may have no more descriptors.
    pub fn new() -> io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, events: [MaybeUninit::uninit(); EVENT_COUNT_MAX] })
    }

    /// Watches `source`, and reports it under `token` for as long as bytes wait in it. A closed
    /// descriptor leaves the set by itself.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the descriptor.
    pub fn add(&self, source: impl AsFd, token: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token as u64);
        Ok(epoll::add(&self.epoll, source, data, epoll::EventFlags::IN)?)
    }

    /// Puts the tokens of the readable sockets into `ready`, after waiting for up to `wait_max`.
    ///
    /// # Errors
    ///
    /// What the kernel says, except an interruption, which counts as nothing ready.
    pub fn wait(&mut self, ready: &mut Vec<usize>, wait_max: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let timeout = wait_max.map(|span| Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(span.subsec_nanos()),
        });
        match epoll::wait(&self.epoll, &mut self.events, timeout.as_ref()) {
            Ok((events, _)) => ready.extend(events.iter().map(|event| event.data.u64() as usize)),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}
