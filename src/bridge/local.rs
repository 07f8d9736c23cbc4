//! The local end: lines in and lines out, of our own standard streams or of a child's.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{Read, Write, stdin, stdout},
    rc::Rc,
};

use shards::{
    blocking,
    child::{Input, Output},
    local::{Bell, Gate, OwnedTurn, Turns},
    task,
};

use super::MESSAGE_SIZE_MAX;
use crate::upstream::stdio::lines::{Line, Lines};

/// Bytes that are read of our own standard input at once.
const CHUNK_SIZE: usize = 64 * 1024;

/// Messages that wait for the other side to read them; who has one more waits.
const WAITING_COUNT_MAX: usize = 64;

/// Where lines come from.
pub(super) struct Inlet {
    source: Source,
    lines: Option<Lines>,
    ready: VecDeque<Result<Vec<u8>, TooLong>>,
}

/// Whose lines they are.
pub(super) enum Source {
    /// Our own standard input.
    Own,
    /// What a child says.
    Child(Output),
}

/// A line that is too long to be a message, of this many bytes.
pub(super) struct TooLong(pub(super) usize);

impl Inlet {
    pub(super) fn new(source: Source) -> Inlet {
        Inlet { source, lines: Some(Lines::new(MESSAGE_SIZE_MAX)), ready: VecDeque::new() }
    }

    /// Waits for the next line, never an empty one; none at the end. Must be awaited to its end,
    /// or not be asked again.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<u8>, TooLong>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            let mut lines = self.lines.take()?;
            let (count, buffer) = self.source.read(lines.lend()).await;
            let ready = &mut self.ready;
            lines.feed(buffer, |line| ready.push_back(owned(&line)));
            match count {
                0 => lines.finish(|line| ready.push_back(owned(&line))),
                _ => self.lines = Some(lines),
            }
        }
    }
}

fn owned(line: &Line<'_>) -> Result<Vec<u8>, TooLong> {
    match line {
        Line::Whole(line) => Ok(line.trim_ascii().to_vec()),
        Line::TooLong { size, .. } => Err(TooLong(*size)),
    }
}

impl Source {
    /// Reads once behind what `buffer` holds; an error is the end like any other.
    async fn read(&mut self, mut buffer: Vec<u8>) -> (usize, Vec<u8>) {
        match self {
            Source::Child(output) => {
                let (count, buffer) = output.read(buffer).await;
                (count.unwrap_or(0), buffer)
            }
            Source::Own => {
                let read = || {
                    let mut chunk = vec![0; CHUNK_SIZE];
                    let count = stdin().lock().read(&mut chunk).unwrap_or(0);
                    chunk.truncate(count);
                    chunk
                };
                let chunk = blocking::run(read).await.unwrap_or_default();
                buffer.extend_from_slice(&chunk);
                (chunk.len(), buffer)
            }
        }
    }
}

/// Where messages go, one line each, in the order in which they were sent.
pub(super) struct Outlet {
    /// Each with its place among those that may wait.
    waiting: RefCell<VecDeque<(Vec<u8>, OwnedTurn)>>,
    places: Rc<Turns>,
    bell: Bell,
    is_finished: Cell<bool>,
    /// Open once nothing more is written: all is out, or the other side is gone.
    pub(super) ended: Gate,
}

/// Who reads the lines.
pub(super) enum Target {
    /// Whoever reads our own standard output.
    Own,
    /// A child.
    Child(Input),
}

impl Outlet {
    /// Makes an outlet and the task that writes.
    pub(super) fn new(target: Target) -> Rc<Outlet> {
        let outlet = Rc::new(Outlet {
            waiting: RefCell::default(),
            places: Rc::new(Turns::new(WAITING_COUNT_MAX)),
            bell: Bell::default(),
            is_finished: Cell::new(false),
            ended: Gate::default(),
        });
        task::spawn(outlet.clone().write(target));
        outlet
    }

    /// Sends one message, after waiting for a place if need be. Dropped while it waits, it sends
    /// nothing; a message is never sent in part. Once [`Outlet::ended`] is open it is lost.
    pub(super) async fn send(&self, message: &[u8]) {
        if self.ended.is_open() {
            return;
        }
        let Some(place) = self.ended.unless(self.places.take_owned()).await else {
            return;
        };
        self.waiting.borrow_mut().push_back((line(message), place));
        self.bell.ring();
    }

    /// Writes what waits and then ends.
    pub(super) async fn finish(&self) {
        self.is_finished.set(true);
        self.bell.ring();
        self.ended.passed().await;
    }

    async fn write(self: Rc<Self>, mut target: Target) {
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            match next {
                Some((line, _place)) => {
                    if !target.write(line).await {
                        break;
                    }
                }
                None if self.is_finished.get() => break,
                None => self.bell.wait().await,
            }
        }
        if let Target::Child(input) = target {
            input.close().await;
        }
        self.waiting.borrow_mut().clear();
        self.ended.open();
    }
}

impl Target {
    /// Writes a line; false if nobody reads any more.
    async fn write(&mut self, line: Vec<u8>) -> bool {
        match self {
            Target::Child(input) => input.write_all(line).await.0.is_ok(),
            Target::Own => {
                let write = move || {
                    let mut out = stdout().lock();
                    out.write_all(&line).and_then(|()| out.flush()).is_ok()
                };
                blocking::run(write).await.unwrap_or(false)
            }
        }
    }
}

/// The message on a line of its own: between its tokens JSON may have line ends, within a string it
/// has none.
fn line(message: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(message.len() + 1);
    line.extend_from_slice(message.trim_ascii());
    for byte in &mut line {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_however_it_was_laid_out() {
        assert_eq!(line(b"\n{\r\n  \"a\": \"\\n\"\n}\n"), b"{    \"a\": \"\\n\" }\n");
    }
}
