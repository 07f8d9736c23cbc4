//! Lines out of whatever arrived, each bounded.

/// Bytes kept of the beginning and of the end of a line that is too long.
const KEPT_SIZE: usize = 256;

/// A buffer that grew beyond this is given up once its line is done.
const RESTING_CAPACITY_MAX: usize = 256 * 1024;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// A line over the bound: how it begins, how it ends, and its size.
    TooLong { head: &'a [u8], tail: &'a [u8], size: usize },
}

/// Cuts bytes into lines of at most `size_max` bytes.
pub(crate) struct Lines {
    buffer: Vec<u8>,
    /// How far the buffer is known to have no line end.
    searched: usize,
    size_max: usize,
    overlong: Option<Overlong>,
}

/// A line over the bound of which the end has not come yet.
struct Overlong {
    head: Vec<u8>,
    dropped_size: usize,
}

impl Lines {
    pub(crate) fn new(size_max: usize) -> Lines {
        Lines { buffer: Vec::new(), searched: 0, size_max, overlong: None }
    }

    /// Takes the buffer, to read behind what it holds.
    pub(crate) fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Takes the buffer back and calls `each` with every line that is complete, in order.
    pub(crate) fn feed(&mut self, buffer: Vec<u8>, mut each: impl FnMut(Line<'_>)) {
        self.buffer = buffer;
        let mut start = 0;
        while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let end = self.searched + found;
            self.give(start, end, &mut each);
            start = end + 1;
            self.searched = start;
        }
        self.buffer.drain(..start);
        self.searched = self.buffer.len();
        self.bound();
    }

    /// Gives what stands behind the last line end, when nothing more can come.
    pub(crate) fn finish(mut self, mut each: impl FnMut(Line<'_>)) {
        self.give(0, self.buffer.len(), &mut each);
    }

    fn give(&mut self, start: usize, end: usize, each: &mut impl FnMut(Line<'_>)) {
        let line = &self.buffer[start..end];
        match self.overlong.take() {
            Some(Overlong { head, dropped_size }) => {
                let tail = &line[line.len().saturating_sub(KEPT_SIZE)..];
                each(Line::TooLong { head: &head, tail, size: dropped_size + line.len() });
            }
            None if line.len() > self.size_max => {
                let head = &line[..line.len().min(KEPT_SIZE)];
                let tail = &line[line.len().saturating_sub(KEPT_SIZE)..];
                each(Line::TooLong { head, tail, size: line.len() });
            }
            None if line.trim_ascii().is_empty() => {}
            None => each(Line::Whole(line)),
        }
    }

    /// Drops the middle of a line that is too long, and memory that is needed no more.
    fn bound(&mut self) {
        let size_max = if self.overlong.is_some() { KEPT_SIZE } else { self.size_max };
        if self.buffer.len() > size_max {
            let dropped_size = self.buffer.len() - KEPT_SIZE.min(self.buffer.len());
            let head = &self.buffer[..self.buffer.len().min(KEPT_SIZE)];
            let overlong = self
                .overlong
                .get_or_insert_with(|| Overlong { head: head.to_vec(), dropped_size: 0 });
            overlong.dropped_size += dropped_size;
            self.buffer.drain(..dropped_size);
        }
        if self.buffer.capacity() > RESTING_CAPACITY_MAX && self.buffer.len() <= KEPT_SIZE {
            self.buffer.shrink_to(KEPT_SIZE);
        }
        self.searched = self.buffer.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: Line<'_>) -> String {
        match line {
            Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
            Line::TooLong { head, tail, size } => {
                let (head, tail) = (head[..2].to_vec(), tail[tail.len() - 2..].to_vec());
                let text = |bytes| String::from_utf8(bytes).unwrap();
                format!("{}..{} ({size})", text(head), text(tail))
            }
        }
    }

    fn cut(pieces: &[&[u8]], size_max: usize) -> Vec<String> {
        let mut lines = Lines::new(size_max);
        let mut given = Vec::new();
        for piece in pieces {
            let mut buffer = lines.lend();
            buffer.extend_from_slice(piece);
            lines.feed(buffer, |line| given.push(shown(line)));
        }
        lines.finish(|line| given.push(shown(line)));
        given
    }

    #[test]
    fn gives_the_same_lines_however_the_bytes_are_cut() {
        let bytes = b"one\ntwo\r\n\n  \nthree";
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(cut(&pieces, 100), ["one", "two\r", "three"], "{first} {second}");
            }
        }
    }

    #[test]
    fn drops_the_middle_of_a_line_that_is_too_long_and_goes_on() {
        let long = format!("ab{}yz\nnext\n", "x".repeat(2000));
        for step in [1, 7, 255, 256, 257, 1000, 5000] {
            let pieces: Vec<_> = long.as_bytes().chunks(step).collect();
            assert_eq!(cut(&pieces, 1000), ["ab..yz (2004)", "next"], "{step}");
        }
    }

    #[test]
    fn holds_no_more_than_the_bound_of_a_line_that_never_ends() {
        let mut lines = Lines::new(1000);
        for _ in 0..1000 {
            let mut buffer = lines.lend();
            buffer.extend_from_slice(&[b'x'; 900]);
            lines.feed(buffer, |_| panic!("no line ended"));
            assert!(lines.buffer.len() <= 1000);
        }
    }

    #[test]
    fn a_line_of_exactly_the_bound_passes() {
        let line = "x".repeat(1000);
        assert_eq!(cut(&[line.as_bytes(), b"\n"], 1000), std::slice::from_ref(&line));
        assert_eq!(cut(&[line.as_bytes(), b"y\n"], 1000), ["xx..xy (1001)"]);
    }
}
