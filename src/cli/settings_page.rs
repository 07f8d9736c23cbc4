//! `ringway settings`: what can be set.

use std::io::Write;

use crate::settings::{page, rows};

/// Lists every setting, with its default and what it does.
#[derive(Debug, clap::Args)]
pub struct SettingsArgs {
    /// Print the page of the documentation, in Markdown.
    #[arg(long)]
    pub markdown: bool,
}

/// Writes what was asked for.
///
/// # Errors
///
/// What `out` answers.
pub fn run(args: &SettingsArgs, out: &mut impl Write) -> std::io::Result<()> {
    if args.markdown { out.write_all(page::markdown().as_bytes()) } else { list(out) }
}

fn list(out: &mut impl Write) -> std::io::Result<()> {
    let mut group = "";
    for row in rows() {
        if row.group != group {
            group = row.group;
            writeln!(out, "\n{group}\n")?;
        }
        let default = if row.default.is_empty() { "unset" } else { row.default };
        writeln!(out, "  {} (default: {default})", row.name)?;
        writeln!(out, "    {}", row.sentence.trim())?;
        writeln!(out, "    Value: {}", row.form)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_every_setting() {
        let mut out = Vec::new();
        run(&SettingsArgs { markdown: false }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for row in rows() {
            assert!(text.contains(&format!("  {} (default: ", row.name)), "{}", row.name);
        }
    }
}
