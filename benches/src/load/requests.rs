//! What a plan asks: the same bytes every time, or bytes that are made once for each number.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The requests of a plan, which its threads share.
#[derive(Clone, Copy)]
pub enum Requests<'a> {
    /// The same bytes, without an end.
    Same(&'a [u8]),
    /// One request for each number, as for records of which each needs a name of its own.
    Numbered(&'a Numbered<'a>),
}

impl<'a> Requests<'a> {
    /// Gives the next request; `None` once all were given.
    pub(super) fn next(&self) -> Option<Cow<'a, [u8]>> {
        match self {
            Requests::Same(request) => Some(Cow::Borrowed(request)),
            Requests::Numbered(numbered) => numbered.next().map(Cow::Owned),
        }
    }

    /// Whether an answer must not be left behind: what was numbered is counted on later.
    pub(super) fn are_numbered(&self) -> bool {
        matches!(self, Requests::Numbered(_))
    }
}

/// Requests that are made from numbers, each of which is asked once.
pub struct Numbered<'a> {
    upcoming: AtomicUsize,
    end: usize,
    make: &'a (dyn Fn(usize) -> Vec<u8> + Sync),
}

impl<'a> Numbered<'a> {
    /// Makes one request for each of `numbers`, by `make`.
    pub fn new(numbers: Range<usize>, make: &'a (dyn Fn(usize) -> Vec<u8> + Sync)) -> Self {
        Numbered { upcoming: AtomicUsize::new(numbers.start), end: numbers.end, make }
    }

    /// The first number that was not asked.
    pub fn upcoming(&self) -> usize {
        self.upcoming.load(Ordering::Relaxed).min(self.end)
    }

    fn next(&self) -> Option<Vec<u8>> {
        let number = self.upcoming.fetch_add(1, Ordering::Relaxed);
        (number < self.end).then(|| (self.make)(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_asked_once_and_then_no_more() {
        let make = |number: usize| number.to_string().into_bytes();
        let numbered = Numbered::new(3..5, &make);
        let requests = Requests::Numbered(&numbered);
        assert_eq!(requests.next().as_deref(), Some(&b"3"[..]));
        assert_eq!(numbered.upcoming(), 4);
        assert_eq!(requests.next().as_deref(), Some(&b"4"[..]));
        assert_eq!((requests.next(), requests.next()), (None, None));
        assert_eq!(numbered.upcoming(), 5);
    }
}
