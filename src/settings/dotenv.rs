//! The file `.env`: lines of `NAME=value`, as shells and compose files write them.

/// A line that sets something: its number, the name and the value; or its number and what is wrong.
pub type Entry = Result<(usize, String, String), (usize, String)>;

/// Reads the lines of a file `.env`.
///
/// `export NAME=value`, comments, `'as it is'` and `"with \n escapes"` are understood, values over
/// several lines and `${references}` are not.
pub fn parse(text: &str) -> impl Iterator<Item = Entry> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().enumerate().filter_map(|(index, line)| {
        let entry = parse_line(line.trim()).transpose()?;
        Some(match entry {
            Ok((name, value)) => Ok((index + 1, name, value)),
            Err(problem) => Err((index + 1, problem)),
        })
    })
}

fn parse_line(line: &str) -> Result<Option<(String, String)>, String> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("has no equals sign")?;
    let name = name.trim();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err("does not begin with a name".to_owned());
    }
    Ok(Some((name.to_owned(), parse_value(value.trim())?)))
}

fn parse_value(text: &str) -> Result<String, String> {
    match text.chars().next() {
        Some('\'') => parse_quoted(&text[1..], '\''),
        Some('"') => parse_quoted(&text[1..], '"'),
        // A `#` begins a comment only after a blank: it may be part of a password.
        _ => Ok(text.split(" #").next().unwrap_or_default().trim_end().to_owned()),
    }
}

fn parse_quoted(text: &str, quote: char) -> Result<String, String> {
    let mut value = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            _ if letter == quote => return end(letters.as_str()).map(|()| value),
            '\\' if quote == '"' => value.push(match letters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
                None => break,
            }),
            _ => value.push(letter),
        }
    }
    Err(format!("has no closing {quote}"))
}

/// After the closing quote only a comment may follow.
fn end(rest: &str) -> Result<(), String> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(())
    } else {
        Err("goes on after the closing quote".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Entry> {
        parse(text).collect()
    }

    #[test]
    fn reads_plain_quoted_and_exported_values() {
        let text = "\u{feff}# a comment\n\nA=1\nexport B = two # why\nC='#\\n'\nD=\"x\\n\\\"y\\\"\" # z\nE=\n";
        let expected =
            [(3, "A", "1"), (4, "B", "two"), (5, "C", "#\\n"), (6, "D", "x\n\"y\""), (7, "E", "")];
        let expected: Vec<Entry> =
            expected.map(|(line, name, value)| Ok((line, name.into(), value.into()))).into();
        assert_eq!(read(text), expected);
    }

    #[test]
    fn keeps_a_hash_that_is_part_of_a_password() {
        assert_eq!(read("A=pass#word"), [Ok((1, "A".into(), "pass#word".into()))]);
    }

    #[test]
    fn names_the_line_that_it_cannot_read() {
        let text = "A=1\nnonsense\nB=\"open\nC='a' b\n?=1";
        let broken: Vec<_> = read(text).into_iter().filter_map(Result::err).collect();
        assert_eq!(
            broken,
            [
                (2, "has no equals sign".to_owned()),
                (3, "has no closing \"".to_owned()),
                (4, "goes on after the closing quote".to_owned()),
                (5, "does not begin with a name".to_owned()),
            ]
        );
    }
}
