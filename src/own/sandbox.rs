//! The template language of prompts: Jinja, less what could run long, grow without a bound or look
//! beyond the arguments.
//!
//! The engine bounds steps, and what it writes out is bounded here. Between the two a template could
//! still build a value that doubles with each step, so there is nothing to build one with: no
//! operators on texts, no assignments, no macros, no other templates, and of the filters only those
//! below, each of which refuses to make a text that is too long.

use std::io;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, filters};

/// The longest text that a filter makes or a prompt renders to, in bytes.
pub const TEXT_SIZE_MAX: usize = 1 << 20;

/// The most steps of one rendering.
const STEP_COUNT_MAX: u64 = 100_000;

/// How deep a template may nest.
const DEPTH_MAX: usize = 32;

/// The words that may begin a statement.
const STATEMENTS: [&str; 10] =
    ["if", "elif", "else", "endif", "for", "endfor", "raw", "endraw", "break", "continue"];

/// Makes the environment that every prompt is compiled in.
pub fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(STEP_COUNT_MAX));
    environment.set_recursion_limit(DEPTH_MAX);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("upper", filters::upper);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("title", filters::title);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("length", filters::length);
    environment.add_filter("count", filters::length);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("lines", filters::lines);
    environment.add_filter("split", filters::split);
    environment.add_filter("sort", filters::sort);
    environment.add_filter("unique", filters::unique);
    environment.add_filter("int", filters::int);
    environment.add_filter("float", filters::float);
    environment.add_filter("safe", |text: String| text);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("truncate", truncate);
    environment.add_filter("tojson", tojson);
    environment
}

/// Says what a template uses that prompts may not.
///
/// # Errors
///
/// The sentence for whoever wrote the template.
pub fn check(source: &str) -> Result<(), String> {
    for tag in Tags(source) {
        let (kind, inside) = tag?;
        let plain = without_texts(inside)?;
        if let Some(operator) = plain.find(['~', '*', '/', '\\', '{']) {
            let operator = &plain[operator..=operator];
            return Err(format!(
                "a template may not use {operator} in {{{kind}…: only values, tests and filters"
            ));
        }
        if plain.contains('+') {
            return Err("a template may not add; write the parts one after the other".to_owned());
        }
        if kind == '%' {
            check_statement(&plain)?;
        }
    }
    Ok(())
}

fn check_statement(plain: &str) -> Result<(), String> {
    let mut words = plain.split_whitespace();
    let word = words.next().unwrap_or_default();
    if !STATEMENTS.contains(&word) {
        return Err(format!("a template may not use {{% {word} %}}; there are if, for and raw"));
    }
    if word == "for" && words.any(|word| word == "recursive") {
        return Err("a loop may not be recursive".to_owned());
    }
    Ok(())
}

/// What stands in `{{ }}` and `{% %}`, with the character that says which.
struct Tags<'a>(&'a str);

impl<'a> Iterator for Tags<'a> {
    type Item = Result<(char, &'a str), String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.0.find('{')?;
            let rest = &self.0[at + 1..];
            let (kind, end) = match rest.as_bytes().first() {
                Some(b'{') => ('{', "}}"),
                Some(b'%') => ('%', "%}"),
                Some(b'#') => ('#', "#}"),
                _ => {
                    self.0 = rest;
                    continue;
                }
            };
            let body = &rest[1..];
            let Some(length) = end_of(body, end, kind == '#') else {
                self.0 = "";
                return Some(Err(format!("{{{kind} has no {end}")));
            };
            let inside = &body[..length];
            self.0 = &body[length + 2..];
            if kind == '#' {
                continue;
            }
            let inside = inside.strip_prefix(['-', '+']).unwrap_or(inside);
            let inside = inside.strip_suffix(['-', '+']).unwrap_or(inside);
            if kind == '%' && inside.trim() == "raw" {
                // What follows is text up to the statement that ends it.
                let Some(length) = self.0.find("endraw") else {
                    self.0 = "";
                    return Some(Err("{% raw %} has no {% endraw %}".to_owned()));
                };
                let from = self.0[..length].rfind("{%").unwrap_or(length);
                self.0 = &self.0[from..];
            }
            return Some(Ok((kind, inside)));
        }
    }
}

/// Where `end` stands that is not within a quoted text.
fn end_of(body: &str, end: &str, is_comment: bool) -> Option<usize> {
    let bytes = body.as_bytes();
    let mut quote = None;
    let mut index = 0;
    while index < bytes.len() {
        match (quote, bytes[index]) {
            (Some(_), b'\\') => index += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'"' | b'\'')) if !is_comment => quote = Some(byte),
            (None, _) if bytes[index..].starts_with(end.as_bytes()) => return Some(index),
            _ => {}
        }
        index += 1;
    }
    None
}

/// The inside of a tag without what stands in quotes.
fn without_texts(inside: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(inside.len());
    let mut quote = None;
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(_), '\\') => {
                letters.next();
            }
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, letter @ ('"' | '\'')) => quote = Some(letter),
            (None, letter) => plain.push(letter),
        }
    }
    match quote {
        None => Ok(plain),
        Some(quote) => Err(format!("a text has no {quote} at its end")),
    }
}

fn too_long() -> Error {
    let text = format!("a text would be longer than {TEXT_SIZE_MAX} bytes");
    Error::new(ErrorKind::InvalidOperation, text)
}

/// What stands for a value that is missing or empty.
fn default(value: Value, other: Option<Value>) -> Value {
    match value.is_undefined() || value.is_none() || value.as_str() == Some("") {
        true => other.unwrap_or_else(|| Value::from("")),
        false => value,
    }
}

fn replace(text: String, from: String, to: String) -> Result<String, Error> {
    let count = if from.is_empty() { text.len() + 1 } else { text.matches(&from).count() };
    let longest = count.checked_mul(to.len()).and_then(|more| more.checked_add(text.len()));
    match longest {
        Some(size) if size <= TEXT_SIZE_MAX => Ok(text.replace(&from, &to)),
        _ => Err(too_long()),
    }
}

fn join(values: Value, between: Option<String>) -> Result<String, Error> {
    let between = between.unwrap_or_default();
    let mut text = String::new();
    for (index, value) in values.try_iter()?.enumerate() {
        if index > 0 {
            text.push_str(&between);
        }
        match value.as_str() {
            Some(part) => text.push_str(part),
            None if value.kind() == ValueKind::Number => text.push_str(&value.to_string()),
            None => return Err(Error::new(ErrorKind::InvalidOperation, "only texts are joined")),
        }
        if text.len() > TEXT_SIZE_MAX {
            return Err(too_long());
        }
    }
    Ok(text)
}

fn truncate(text: String, length: Option<usize>) -> String {
    let length = length.unwrap_or(255);
    match text.char_indices().nth(length) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

fn tojson(value: Value) -> Result<String, Error> {
    let failed =
        |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let mut bounded = Bounded::default();
    serde_json::to_writer(&mut bounded, &value).map_err(failed)?;
    String::from_utf8(bounded.bytes).map_err(|_| too_long())
}

/// A text that is written out and refuses to grow past [`TEXT_SIZE_MAX`].
#[derive(Default)]
pub struct Bounded {
    /// What was written.
    pub bytes: Vec<u8>,
}

impl io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + part.len() > TEXT_SIZE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prompts_are_made_of_is_allowed() {
        for source in [
            "Hello {{ name }}!",
            "{%- if a and not b -%}x{%- elif c == 'd' -%}y{% else %}z{% endif %}",
            "{% for line in text|lines %}{{ loop.index }}. {{ line|trim|upper }}{% endfor %}",
            "{{ a|default('~ * / {% set x %}') }} {{ \"it's\" }}",
            "{# set ~ 'unbalanced #}{ a } {\"json\": {{ a }}}",
            "{% raw %}{{ a ~ b }}{% set x %}{% endraw %}{{ a }}",
            "{{ a if a else 'b' }} {{ x - 1 }}",
        ] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn what_could_grow_or_look_around_is_refused() {
        for source in [
            "{{ a ~ a }}",
            "{{ a * 1000 }}",
            "{{ a + a }}",
            "{% set x = a %}",
            "{%- set x = a -%}",
            "{% with x = a %}{% endwith %}",
            "{% include 'other' %}",
            "{% import 'other' as o %}",
            "{% macro m() %}{% endmacro %}",
            "{% filter upper %}{% endfilter %}",
            "{% for x in a recursive %}{% endfor %}",
            "{% raw %}x{% endraw %}{{ a ~ a }}",
            "{{ a",
            "{% if a",
            "{{ 'a }}",
            "{% raw %}",
        ] {
            assert!(check(source).is_err(), "{source}");
        }
    }

    #[test]
    fn a_filter_makes_no_text_that_is_too_long() {
        let long = "a".repeat(1000);
        assert!(replace(long.clone(), "a".to_owned(), long.clone()).is_ok());
        let longer = long.repeat(2);
        assert!(replace(longer.clone(), "a".to_owned(), longer.clone()).is_err());
        assert!(replace(longer.clone(), String::new(), longer).is_err());
        let many = Value::from(vec!["x"; 2000]);
        assert!(join(many.clone(), Some("y".to_owned())).is_ok());
        assert!(join(many, Some(long)).is_err());
        assert_eq!(truncate("äöü".to_owned(), Some(2)), "äö...");
    }
}
