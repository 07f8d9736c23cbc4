//! The page of the documentation that lists the settings, made from the table.

use std::fmt::Write;

use super::{CLIENT, IGNORED, Row, rows};

/// Writes docs/SETTINGS.md.
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    let mut group = "";
    for row in rows() {
        if row.group != group {
            group = row.group;
            let _ = write!(page, "\n## {group}\n\n{COLUMNS}");
        }
        page.push_str(&line(&row));
    }
    page.push_str(IGNORED_HEAD);
    for (name, why) in IGNORED {
        let _ = writeln!(page, "| `{name}` | {why} |");
    }
    page.push_str(CLIENT_HEAD);
    for (name, what) in CLIENT {
        let _ = writeln!(page, "| `{name}` | {what} |");
    }
    page
}

const HEAD: &str = "\
# Settings

<!-- Made by `ringway settings --markdown` from src/settings/rows.rs; a test compares. -->

Every setting is a variable of the environment, or a line `NAME=value` of the file `.env` in the
working directory. The environment wins over the file, and an option of the command line over both.
Names are the same in upper and lower case. An empty value counts as none. Everything is checked
before anything happens; what is wrong is said all at once, and the gateway does not start.
";

const COLUMNS: &str = "| Variable | Value | Default | What it does |\n|---|---|---|---|\n";

const IGNORED_HEAD: &str = "\n## Accepted, without effect\n
Manifests made for ContextForge set these; a warning is logged.\n
| Variable | Why |\n|---|---|\n";

const CLIENT_HEAD: &str = "\n## Client commands\n
`ringway add`, `tools` and `call` speak to a running gateway and read these instead.\n
| Variable | What it is |\n|---|---|\n";

fn line(row: &Row) -> String {
    let mut names = format!("`{}`", row.name);
    for alias in row.aliases {
        let _ = write!(names, ", also `{alias}`");
    }
    let default =
        if row.default.is_empty() { "unset".to_owned() } else { format!("`{}`", row.default) };
    let (form, sentence) = (escape(&row.form), escape(row.sentence.trim()));
    format!("| {names} | {form} | {default} | {sentence} |\n")
}

/// A bar would end the cell.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_the_one_that_the_table_makes() {
        // Tests run in the folder of their package.
        let page = std::fs::read_to_string("docs/SETTINGS.md").unwrap_or_default();
        assert!(page == markdown(), "run: ringway settings --markdown > docs/SETTINGS.md");
    }
}
