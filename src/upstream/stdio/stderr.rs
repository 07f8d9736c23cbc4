//! What a child says on its standard error: into the log, and the last of it kept for the case
//! that the child dies.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::Duration,
};

use shards::{child::Output, local::Gate, time::Instant};

use super::lines::{Line, Lines};

/// Bytes of a line that are logged.
const LINE_SIZE_MAX: usize = 4 * 1024;

/// Lines kept for the epitaph, and bytes of each: what fits an error message.
const KEPT_COUNT: usize = 5;
const KEPT_SIZE: usize = 300;

/// Lines that a child may log within a [`WINDOW`]; more are counted only.
const LOGGED_COUNT_MAX: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);

/// The standard error of one child.
pub(crate) struct Stderr {
    upstream: Rc<str>,
    kept: RefCell<VecDeque<String>>,
    window: Cell<Window>,
    /// Open once nothing more can come.
    pub(crate) ended: Gate,
}

#[derive(Clone, Copy)]
struct Window {
    started: Instant,
    logged_count: u32,
    dropped_count: u32,
}

impl Stderr {
    pub(crate) fn new(upstream: Rc<str>) -> Stderr {
        let window = Window { started: Instant::now(), logged_count: 0, dropped_count: 0 };
        Stderr {
            upstream,
            kept: RefCell::default(),
            window: Cell::new(window),
            ended: Gate::default(),
        }
    }

    /// Reads to the end.
    pub(crate) async fn follow(self: Rc<Self>, mut output: Output) {
        let mut lines = Lines::new(LINE_SIZE_MAX);
        loop {
            let (count, buffer) = output.read(lines.lend()).await;
            lines.feed(buffer, |line| self.take(&line));
            if !matches!(count, Ok(1..)) {
                break;
            }
        }
        lines.finish(|line| self.take(&line));
        self.ended.open();
    }

    /// Returns the last lines, one after the other; empty if there were none.
    pub(crate) fn last_words(&self) -> String {
        self.kept.borrow().iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }

    fn take(&self, line: &Line<'_>) {
        let text = match line {
            Line::Whole(line) => printable(line),
            Line::TooLong { head, size, .. } => format!("{}... ({size} bytes)", printable(head)),
        };
        self.keep(&text);
        let mut window = self.window.get();
        if window.started.elapsed() >= WINDOW {
            if window.dropped_count > 0 {
                let (upstream, count) = (&self.upstream, window.dropped_count);
                tracing::warn!(%upstream, count, "left out lines of the child's standard error");
            }
            window = Window { started: Instant::now(), logged_count: 0, dropped_count: 0 };
        }
        if window.logged_count < LOGGED_COUNT_MAX {
            window.logged_count += 1;
            tracing::info!(upstream = %self.upstream, "stderr: {text}");
        } else {
            window.dropped_count += 1;
        }
        self.window.set(window);
    }

    fn keep(&self, text: &str) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() == KEPT_COUNT {
            kept.pop_front();
        }
        kept.push_back(text[..text.floor_char_boundary(KEPT_SIZE)].to_owned());
    }
}

/// Makes text of a child's bytes that cannot steer a terminal or forge a line of the log.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.trim_end().chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_lines_and_cuts_long_ones() {
        let stderr = Stderr::new("up".into());
        for index in 0..10 {
            stderr.take(&Line::Whole(format!("line {index}\r").as_bytes()));
        }
        assert_eq!(stderr.last_words(), "line 5 | line 6 | line 7 | line 8 | line 9");
        stderr.take(&Line::Whole("\u{e9}".repeat(400).as_bytes()));
        assert!(stderr.last_words().ends_with(&"\u{e9}".repeat(150)));
        assert!(!stderr.last_words().contains(&"\u{e9}".repeat(151)));
    }

    #[test]
    fn prints_nothing_that_steers_a_terminal() {
        assert_eq!(printable(b"a\x1b[31mred\x07\tb\xff\r"), "a [31mred  b\u{fffd}");
    }

    #[test]
    fn logs_no_more_lines_than_its_budget() {
        let stderr = Stderr::new("up".into());
        for _ in 0..LOGGED_COUNT_MAX + 50 {
            stderr.take(&Line::Whole(b"noise"));
        }
        let window = stderr.window.get();
        assert_eq!((window.logged_count, window.dropped_count), (LOGGED_COUNT_MAX, 50));
    }
}
