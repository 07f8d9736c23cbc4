//! The log: lines to the standard error, by a thread of their own.
//!
//! A shard that logs must not wait for a slow terminal or a full pipe. It hands its line to a
//! bounded queue; when that is full the line is dropped and counted, and the count is logged. What
//! clients send cannot end a line and begin another: an event is one line, whatever it holds.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::settings::{Log, LogFormat};

/// Lines that may wait: some seconds of a busy log, and at most a few megabytes.
const LINE_COUNT_MAX: usize = 8192;

/// Bytes that are written at once when lines come faster than they go.
const BATCH_SIZE: usize = 64 * 1024;

/// How long the end of the program waits for the last lines: a blocked pipe must not hold it.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(1);

/// The log of the process; dropped last, it lets the lines that wait be written.
pub struct LogGuard {
    queue: Queue,
}

/// The log cannot be set up.
#[derive(Debug)]
pub struct LogError(String);

impl std::fmt::Display for LogError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "The log cannot be set up: {}", self.0)
    }
}

impl std::error::Error for LogError {}

/// Lets our own lines through at `level`, and those of the libraries below us only from `warn` up:
/// what they say in detail is theirs, and may hold what we would never log.
fn filter(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    let libraries = match level.to_ascii_lowercase().as_str() {
        level @ ("off" | "error" | "warn") => level.to_owned(),
        _ => "warn".to_owned(),
    };
    EnvFilter::try_new(
        ["ringway", "net", "shards", "storage"]
            .iter()
            .fold(libraries, |directives, ours| format!("{directives},{ours}={level}")),
    )
}

/// Sets the log of this process up, once.
///
/// # Errors
///
/// [`LogError`] if it was set up before, or if no thread can be started.
pub fn start(log: &Log) -> Result<LogGuard, LogError> {
    let is_terminal = std::io::stderr().is_terminal();
    let queue = Queue::start(std::io::stderr()).map_err(|error| LogError(error.to_string()))?;
    let filter = filter(&log.level).map_err(|error| LogError(error.to_string()))?;
    let (filter, handle) = reload::Layer::new(filter);
    let is_json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !is_terminal,
    };
    let writer = queue.clone();
    let lines = if is_json {
        let layer = fmt::layer().json().flatten_event(true).with_current_span(false);
        layer.with_writer(writer).boxed()
    } else {
        let writer = Queue { has_colours: is_terminal, ..writer };
        fmt::layer().with_ansi(is_terminal).with_writer(writer).boxed()
    };
    let started = Registry::default().with(filter).with(lines).try_init();
    started.map_err(|error| LogError(error.to_string()))?;
    let _ = FILTER.set(handle);
    Ok(LogGuard { queue })
}

/// The filter of the log that runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Changes what is written from now on, on every shard: `off`, `error`, `warn`, `info`, `debug` or
/// `trace`.
///
/// # Errors
///
/// [`LogError`] if there is no such level, or the log was never set up.
pub fn set_level(level: &str) -> Result<(), LogError> {
    let filter = filter(level).map_err(|error| LogError(error.to_string()))?;
    let handle = FILTER.get().ok_or_else(|| LogError("it was never set up".to_owned()))?;
    handle.reload(filter).map_err(|error| LogError(error.to_string()))
}

impl LogGuard {
    /// How many lines were dropped because they came faster than they could be written.
    pub fn dropped_count(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.queue.flush(FLUSH_WAIT_MAX);
    }
}

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// The near end of the queue: as a writer, it takes one line a call.
#[derive(Clone)]
struct Queue {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    /// Lines come with colours.
    has_colours: bool,
}

impl Queue {
    fn start(target: impl Write + Send + 'static) -> std::io::Result<Queue> {
        let (sender, receiver) = sync_channel(LINE_COUNT_MAX);
        let dropped = Arc::<AtomicU64>::default();
        let counted = dropped.clone();
        let run = move || write_lines(&receiver, target, &counted);
        std::thread::Builder::new().name("log".to_owned()).spawn(run)?;
        Ok(Queue { sender, dropped, has_colours: false })
    }

    fn flush(&self, wait_max: Duration) {
        let (done, is_done) = sync_channel(1);
        // A full queue is a blocked target: then there is nothing to wait for.
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(wait_max);
        }
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if self.sender.try_send(Message::Line(one_line(line, self.has_colours))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Queue;

    fn make_writer(&'a self) -> Queue {
        self.clone()
    }
}

/// The sequences by which the log itself colours a line for a terminal.
const COLOURS: [&[u8]; 12] = [
    b"\x1b[0m",
    b"\x1b[1m",
    b"\x1b[2m",
    b"\x1b[3m",
    b"\x1b[30m",
    b"\x1b[31m",
    b"\x1b[32m",
    b"\x1b[33m",
    b"\x1b[34m",
    b"\x1b[35m",
    b"\x1b[36m",
    b"\x1b[37m",
];

/// Makes an event one line: every control character before its end, and what else some readers take
/// for the end of a line, is spelled out. What clients send can move no cursor and hide no text.
fn one_line(event: &[u8], has_colours: bool) -> Vec<u8> {
    let text = event.strip_suffix(b"\n").unwrap_or(event);
    // The first bytes of what is looked for: C1 controls begin with C2, line separators with E2.
    let may_be = |byte: &u8| *byte < 0x20 || matches!(byte, 0x7f | 0xc2 | 0xe2);
    if !text.iter().any(may_be) {
        return event.to_vec();
    }
    let mut line = Vec::with_capacity(event.len() + 16);
    let mut rest = text;
    while !rest.is_empty() {
        let colour = COLOURS.iter().find(|colour| has_colours && rest.starts_with(colour));
        let size = match (colour, spelled(rest)) {
            (None, Some((size, spelling))) => {
                line.extend_from_slice(spelling.as_bytes());
                size
            }
            (colour, _) => {
                let size = colour.map_or(1, |colour| colour.len());
                line.extend_from_slice(&rest[..size]);
                size
            }
        };
        rest = &rest[size..];
    }
    line.extend_from_slice(&event[text.len()..]);
    line
}

/// What the first character of a text is spelled as, and its size, if it must not stand in a line.
fn spelled(text: &[u8]) -> Option<(usize, String)> {
    match text {
        [b'\n', ..] => Some((1, r"\n".to_owned())),
        [b'\r', ..] => Some((1, r"\r".to_owned())),
        [b'\t', ..] => None,
        [byte @ (0..0x20 | 0x7f), ..] => Some((1, format!(r"\x{byte:02x}"))),
        [0xc2, byte @ 0x80..=0x9f, ..] => Some((2, format!(r"\u{{{byte:02x}}}"))),
        [0xe2, 0x80, 0xa8, ..] => Some((3, r"\u{2028}".to_owned())),
        [0xe2, 0x80, 0xa9, ..] => Some((3, r"\u{2029}".to_owned())),
        _ => None,
    }
}

/// Writes lines until every sender is gone, in batches while they come fast. A target that fails
/// loses its lines: there is no other place to complain to.
fn write_lines(receiver: &Receiver<Message>, mut target: impl Write, dropped: &AtomicU64) {
    let mut batch = Vec::with_capacity(BATCH_SIZE);
    let mut reported = 0;
    while let Ok(first) = receiver.recv() {
        let flush = gather(receiver, first, &mut batch);
        let _ = target.write_all(&batch).and_then(|()| target.flush());
        batch.clear();
        if let Some(done) = flush {
            let _ = done.send(());
        }
        let count = dropped.load(Ordering::Relaxed);
        if count > reported {
            tracing::warn!(count = count - reported, "log lines were dropped");
            reported = count;
        }
    }
}

/// Adds lines to the batch while there are any and there is room; stops at a flush.
fn gather(
    receiver: &Receiver<Message>,
    first: Message,
    batch: &mut Vec<u8>,
) -> Option<SyncSender<()>> {
    let mut message = first;
    loop {
        match message {
            Message::Line(line) => batch.extend_from_slice(&line),
            Message::Flush(done) => return Some(done),
        }
        if batch.len() >= BATCH_SIZE {
            return None;
        }
        message = match receiver.try_recv() {
            Ok(next) => next,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A target that can be held shut.
    #[derive(Clone, Default)]
    struct Target {
        written: Arc<Mutex<Vec<u8>>>,
        gate: Arc<Mutex<()>>,
    }

    impl Write for Target {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _open = self.gate.lock().unwrap();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_it_holds() {
        for (event, expected) in [
            ("plain\n", "plain\n"),
            ("a\té – ok Â\n", "a\té – ok Â\n"),
            ("a\nb\r\nc\n", "a\\nb\\r\\nc\n"),
            ("\n\n", "\\n\n"),
            ("a\u{2028}b\u{2029}c\u{85}d\n", "a\\u{2028}b\\u{2029}c\\u{85}d\n"),
            ("\x0b\x0c\0\x7f\u{9b}2K", "\\x0b\\x0c\\x00\\x7f\\u{9b}2K"),
            ("\x1b[31mred\x1b[2K\n", "\\x1b[31mred\\x1b[2K\n"),
        ] {
            let line = String::from_utf8(one_line(event.as_bytes(), false)).unwrap();
            assert_eq!(line, expected, "{event:?}");
        }
    }

    #[test]
    fn a_terminal_gets_colours_and_nothing_that_moves_or_hides() {
        let line =
            one_line(b"\x1b[2mtime\x1b[0m \x1b[32mINFO\x1b[0m \x1b[8m\x1b[2K\x1b]0;x\x07\n", true);
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line, "\x1b[2mtime\x1b[0m \x1b[32mINFO\x1b[0m \\x1b[8m\\x1b[2K\\x1b]0;x\\x07\n");
    }

    #[test]
    fn writes_every_line_in_order_before_the_end() {
        let target = Target::default();
        let mut queue = Queue::start(target.clone()).unwrap();
        for number in 0..1000 {
            queue.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        queue.flush(Duration::from_secs(60));
        let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8(target.written.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn drops_and_counts_lines_rather_than_wait_for_a_blocked_target() {
        let target = Target::default();
        let mut queue = Queue::start(target.clone()).unwrap();
        let shut = target.gate.lock().unwrap();
        let line = [b'x'; 1024];
        let sent = 4 * LINE_COUNT_MAX;
        for _ in 0..sent {
            queue.write_all(&line).unwrap();
        }
        let dropped = queue.dropped.load(Ordering::Relaxed) as usize;
        // What was taken waits in the queue, or in the one batch that the target holds up.
        assert!(dropped >= sent - LINE_COUNT_MAX - BATCH_SIZE / line.len());
        drop(shut);
        while target.written.lock().unwrap().len() < (sent - dropped) * line.len() {
            std::thread::yield_now();
        }
    }
}
