//! The paths that a Rust source file names, without compiling it.
//!
//! A scanner, not a parser: it knows comments, literals, `use` trees and `::`, which is all that the
//! walls need. What stands below `#[cfg(test)]` is not read, since tests may look anywhere.

/// A path as it was written, from its first segment on, and the line it starts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPath {
    pub line: usize,
    pub segments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

/// Lists every path with at least two segments, `use` trees spread out, and single words as paths
/// of one segment (so that `unsafe` can be looked for, too).
pub fn named(source: &str) -> Vec<NamedPath> {
    let tokens = tokens(source);
    let code = &tokens[..tests_start(&tokens).unwrap_or(tokens.len())];
    let mut found = Vec::new();
    let mut index = 0;
    while index < code.len() {
        index = match code[index].text.as_str() {
            "use" => spread(code, index + 1, &[], &mut found),
            _ => plain(code, index, &mut found),
        };
    }
    found
}

/// Where the part that only tests see begins: `#[cfg(test)]` before a `mod`.
fn tests_start(tokens: &[Token]) -> Option<usize> {
    let wanted = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    tokens
        .windows(wanted.len())
        .position(|window| window.iter().zip(wanted).all(|(token, text)| token.text == text))
}

/// Reads one path outside a `use`, or steps over one token; returns where to go on.
fn plain(code: &[Token], start: usize, found: &mut Vec<NamedPath>) -> usize {
    if !is_word(&code[start].text) {
        return start + 1;
    }
    let mut segments = vec![code[start].text.clone()];
    let mut index = start + 1;
    while text(code, index) == "::" && is_word(text(code, index + 1)) {
        segments.push(code[index + 1].text.clone());
        index += 2;
    }
    found.push(NamedPath { line: code[start].line, segments });
    index
}

/// Spreads the `use` tree at `start` below `prefix`; returns the index behind it.
fn spread(code: &[Token], start: usize, prefix: &[String], found: &mut Vec<NamedPath>) -> usize {
    let mut segments = prefix.to_vec();
    let line = code.get(start).map_or(0, |token| token.line);
    let mut index = start;
    loop {
        match text(code, index) {
            "{" => return spread_group(code, index + 1, &segments, found),
            "::" => index += 1,
            "as" => index += 2,
            word if is_word(word) || word == "*" => {
                segments.push(word.to_owned());
                index += 1;
            }
            _ => break,
        }
    }
    found.push(NamedPath { line, segments });
    index
}

fn spread_group(
    code: &[Token],
    start: usize,
    prefix: &[String],
    found: &mut Vec<NamedPath>,
) -> usize {
    let mut index = start;
    loop {
        match text(code, index) {
            "}" | "" => return index + 1,
            "," => index += 1,
            _ => {
                let next = spread(code, index, prefix, found);
                assert!(next > index, "a use tree that is not one, line {}", code[index].line);
                index = next;
            }
        }
    }
}

fn text(code: &[Token], index: usize) -> &str {
    code.get(index).map_or("", |token| &token.text)
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first == '_' || first.is_alphabetic())
}

/// Cuts the source into words, `::` and single signs; comments and literals are left out.
fn tokens(source: &str) -> Vec<Token> {
    let mut rest = source;
    let mut found = Vec::new();
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let size = match literal_size(rest) {
            Some(size) => size,
            None if is_word(rest) => {
                let size = rest.find(|c: char| c != '_' && !c.is_alphanumeric());
                size.unwrap_or(rest.len())
            }
            None if rest.starts_with("::") => 2,
            None => first.len_utf8(),
        };
        let (head, tail) = rest.split_at(size);
        if literal_size(rest).is_none() && !first.is_whitespace() {
            found.push(Token { line, text: head.to_owned() });
        }
        line += head.matches('\n').count();
        rest = tail;
    }
    found
}

/// How long the comment, string or character at the start is; `None` where there is none.
fn literal_size(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if let Some(size) = raw_string_size(rest) {
        return Some(size);
    }
    if rest.starts_with('"') || rest.starts_with("b\"") || rest.starts_with("c\"") {
        return Some(string_size(rest));
    }
    character_size(rest)
}

fn raw_string_size(rest: &str) -> Option<usize> {
    let opened = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = opened.len() - opened.trim_start_matches('#').len();
    opened[hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - opened.len() + hashes + 1;
    Some(rest[start..].find(&closing).map_or(rest.len(), |end| start + end + closing.len()))
}

fn string_size(rest: &str) -> usize {
    let start = rest.find('"').map_or(0, |quote| quote + 1);
    let mut escaped = false;
    for (index, character) in rest[start..].char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return start + index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The size of `'x'` or `'\n'`; a lifetime is not a character.
fn character_size(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    if let Some(escape) = body.strip_prefix('\\') {
        let skipped = escape.chars().next()?.len_utf8();
        return escape[skipped..].find('\'').map(|end| 2 + skipped + end + 1);
    }
    let size = body.chars().next()?.len_utf8();
    body[size..].starts_with('\'').then_some(size + 2)
}

#[cfg(test)]
mod tests {
    use super::named;

    fn told(source: &str) -> Vec<String> {
        let long = named(source).into_iter().filter(|path| path.segments.len() > 1);
        long.map(|path| format!("{} {}", path.line, path.segments.join("::"))).collect()
    }

    #[test]
    fn spreads_use_trees_with_groups_and_renames() {
        let source = "use crate::{route::find as f, auth::{self, token::*}};\nuse std::net;";
        let expected = ["1 crate::route::find", "1 crate::auth::self", "1 crate::auth::token::*"];
        assert_eq!(told(source)[..3], expected);
        assert_eq!(told(source)[3], "2 std::net");
    }

    #[test]
    fn finds_paths_inside_expressions() {
        assert_eq!(told("fn a() {\n  crate::serve::run(&x)\n}"), ["2 crate::serve::run"]);
    }

    #[test]
    fn reads_nothing_in_comments_strings_and_characters() {
        let source =
            "// a::b\n/* c::d */ let q = '\"'; let s = \"e::f \\\" g::h\"; r#\"i::j\"#; k::l";
        assert_eq!(told(source), ["2 k::l"]);
    }

    #[test]
    fn stops_at_the_tests_of_a_file() {
        assert_eq!(told("a::b;\n#[cfg(test)]\nmod tests { c::d }"), ["1 a::b"]);
    }
}
