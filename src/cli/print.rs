//! What client commands print: tables, text that cannot harm a terminal, and a spinner.

use std::io::Write;
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use indicatif::ProgressBar;
use serde_json::Value;

use super::client::ClientError;

/// The longest text in a cell, in characters: a sentence tells which tool it is.
const CELL_LENGTH_MAX: usize = 160;

/// Prints rows under a head.
///
/// # Errors
///
/// [`ClientError::Output`].
pub fn table(
    out: &mut impl Write,
    head: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<(), ClientError> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| cell_text(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Prints JSON for people to read and programs to parse.
///
/// # Errors
///
/// [`ClientError::Output`].
pub fn json(out: &mut impl Write, value: &Value) -> Result<(), ClientError> {
    // A terminal obeys no escape sequence here: JSON writes control characters as \u001b.
    Ok(writeln!(out, "{value:#}")?)
}

/// The first line of a text, cut to what a cell should hold.
fn cell_text(text: &str) -> String {
    let line = printable(text.trim()).lines().next().unwrap_or_default().to_owned();
    if line.chars().count() <= CELL_LENGTH_MAX {
        return line;
    }
    let cut: String = line.chars().take(CELL_LENGTH_MAX - 1).collect();
    format!("{}…", cut.trim_end())
}

/// A text of an upstream without what could command a terminal: control characters, except line
/// ends and tabs, become a replacement character.
pub fn printable(text: &str) -> String {
    let is_harmless = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    let text = text.replace("\r\n", "\n");
    text.chars()
        .map(|letter| if is_harmless(letter) { letter } else { char::REPLACEMENT_CHARACTER })
        .collect()
}

/// A count with its noun: `1 tool`, `2 tools`.
pub fn count(count: usize, noun: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{end}")
}

/// Shows that something is under way, on the standard error and only if that is a terminal. Gone
/// when dropped.
pub struct Spinner(ProgressBar);

impl Spinner {
    /// Begins to spin with a sentence beside it.
    pub fn start(sentence: impl Into<String>) -> Spinner {
        let bar = ProgressBar::new_spinner().with_message(sentence.into());
        bar.enable_steady_tick(Duration::from_millis(100));
        Spinner(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_one_line_for_each_row_and_no_escape_sequences() {
        let mut out = Vec::new();
        let long = "x".repeat(200);
        let rows = [
            vec!["time-now".to_owned(), "Says the time.\nMore.".to_owned()],
            vec!["evil\u{1b}[31m".to_owned(), long],
        ];
        table(&mut out, &["TOOL", "DESCRIPTION"], rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("time-now") && lines[1].ends_with("Says the time."), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(lines[2].ends_with('…'));
    }

    #[test]
    fn text_for_a_terminal_keeps_lines_and_loses_commands() {
        assert_eq!(printable("a\tb\r\nc\u{1b}[2Jd\u{7}"), "a\tb\nc\u{fffd}[2Jd\u{fffd}");
    }

    #[test]
    fn counts_agree_with_their_nouns() {
        assert_eq!(count(1, "tool"), "1 tool");
        assert_eq!(count(0, "tool"), "0 tools");
    }
}
