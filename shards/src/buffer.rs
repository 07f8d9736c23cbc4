//! A shard's pool of I/O buffers: taken when bytes are about to flow, given back when they have.
//!
//! Idle connections hold none, which is what makes them cost under a kilobyte.

use std::cell::{Cell, RefCell};

/// Capacity of a pooled buffer in bytes: an 8 KB answer with its head, or any ordinary request.
pub const CAPACITY: usize = 16 * 1024;

/// Buffers that a shard keeps for later: 256 x 16 KiB is 4 MiB at the most.
const POOLED_COUNT_MAX: usize = 256;

/// A buffer that grew beyond this is freed instead of kept, so that one large body does not stay.
const POOLED_CAPACITY_MAX: usize = 4 * CAPACITY;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    /// The fewest buffers that the pool held since the last [`trim`].
    static LEFT_MIN: Cell<usize> = const { Cell::new(0) };
}

/// Takes an empty buffer of at least [`CAPACITY`] from this thread's pool, or makes one.
pub fn take() -> Vec<u8> {
    POOL.with(|pool| {
        let mut pool = pool.borrow_mut();
        let buffer = pool.pop();
        LEFT_MIN.with(|left| left.set(left.get().min(pool.len())));
        buffer
    })
    .unwrap_or_else(|| Vec::with_capacity(CAPACITY))
}

/// Gives a buffer back; what it holds is discarded.
pub fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() < CAPACITY || buffer.capacity() > POOLED_CAPACITY_MAX {
        return;
    }
    buffer.clear();
    POOL.with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < POOLED_COUNT_MAX {
            pool.push(buffer);
        }
    });
}

/// Frees the buffers that nobody wanted since the last call: those that a burst left behind.
pub(crate) fn trim() {
    POOL.with(|pool| {
        let mut pool = pool.borrow_mut();
        let unwanted = LEFT_MIN.with(Cell::get).min(pool.len());
        pool.drain(..unwanted);
        LEFT_MIN.with(|left| left.set(pool.len()));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_the_same_memory_again_but_empty() {
        let mut buffer = take();
        buffer.extend_from_slice(b"secret");
        let address = buffer.as_ptr();
        give(buffer);
        let again = take();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), address);
    }

    #[test]
    fn frees_what_nobody_wanted_for_a_while() {
        let buffers: Vec<_> = (0..8).map(|_| take()).collect();
        buffers.into_iter().for_each(give);
        trim();
        let held = take();
        trim();
        give(held);
        assert_eq!(POOL.with(|pool| pool.borrow().len()), 1, "one was wanted, the others were not");
    }

    #[test]
    fn frees_what_grew_too_large() {
        let large = Vec::with_capacity(POOLED_CAPACITY_MAX + 1);
        give(large);
        assert!(take().capacity() <= POOLED_CAPACITY_MAX);
    }
}
