//! A value that claims to be `Send` and is proved, at each use, not to have been sent.
//!
//! Some libraries ask for `Send` streams although a shard drives them on one thread all their
//! life. What they get is this wrapper: it works on the thread that made it and nowhere else.

use std::{
    io,
    mem::ManuallyDrop,
    pin::Pin,
    task::{Context, Poll},
    thread::{self, ThreadId},
};

use monoio::io::poll_io::{AsyncRead, AsyncWrite, ReadBuf};

/// A value of one thread, for libraries that ask for `Send` and do not send.
///
/// It panics when it is used on another thread, and leaks its value when it is dropped there.
pub struct Pinned<T> {
    home: ThreadId,
    value: ManuallyDrop<T>,
}

// SAFETY: the value is reached only through `get` and `drop`, which both compare the running
// thread with the one that made the value and touch it on that thread only. `ThreadId`s are never
// used twice in a process, so a later thread cannot pass for the first.
unsafe impl<T> Send for Pinned<T> {}

impl<T> Pinned<T> {
    /// Ties `value` to the calling thread.
    pub fn new(value: T) -> Pinned<T> {
        Pinned { home: thread::current().id(), value: ManuallyDrop::new(value) }
    }

    fn get(&mut self) -> &mut T {
        assert!(thread::current().id() == self.home, "a value of one shard was used on another");
        &mut self.value
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        if thread::current().id() == self.home {
            // SAFETY: the value is dropped here and nowhere else, and `self` is not used after.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Pinned<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.get()).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Pinned<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get()).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{panic, rc::Rc};

    use super::*;

    #[test]
    fn works_at_home_and_drops_its_value_there() {
        let value = Rc::new(5);
        let mut pinned = Pinned::new(value.clone());
        assert_eq!(**pinned.get(), 5);
        drop(pinned);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    #[test]
    fn panics_abroad_and_leaks_what_it_may_not_touch() {
        let value = Rc::new(5);
        let mut pinned = Pinned::new(value.clone());
        let abroad = thread::spawn(move || {
            panic::catch_unwind(panic::AssertUnwindSafe(|| **pinned.get())).is_err()
        });
        assert!(abroad.join().expect("the thread ends"), "the use abroad panicked");
        assert_eq!(Rc::strong_count(&value), 2, "and the value was left alone");
    }
}
