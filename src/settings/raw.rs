//! What was typed: the environment, the file `.env` and the command line, before any check.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use super::check::Check;
use super::dotenv;
use super::values::MASK;

/// Where a value was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// In the file `.env`, on this line.
    File(usize),
    /// In the environment.
    Environment,
    /// On the command line.
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(line) => write!(out, ".env, line {line}"),
            Source::Environment => out.write_str("environment"),
            Source::CommandLine => out.write_str("command line"),
        }
    }
}

/// A setting that cannot be used, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The variable, as it was written.
    pub name: String,
    /// Its value, masked if it is secret; `None` if there is none.
    pub value: Option<String>,
    /// Where it was written; `None` if it was not.
    pub source: Option<Source>,
    /// What is wrong, as the end of a sentence that begins with the name.
    pub problem: String,
    /// What to do, as a sentence.
    pub mend: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)?;
        if let Some(value) = &self.value {
            write!(out, "={value:?}")?;
        }
        if let Some(source) = self.source {
            write!(out, " ({source})")?;
        }
        write!(out, " {}. {}", self.problem, self.mend)
    }
}

/// A value as it was typed. It may be a secret, so it cannot be printed.
#[derive(Clone)]
struct Typed {
    name: String,
    text: Result<String, OsString>,
    source: Source,
}

/// Everything that was typed, by upper-case name. What was typed nearest to the program wins:
/// command line, then environment, then `.env`.
#[derive(Clone, Default)]
pub struct Raw {
    typed: BTreeMap<String, Typed>,
    errors: Vec<SettingError>,
}

impl Raw {
    /// Gathers from the three sources. Names are the same whatever their case.
    pub fn gather(
        file: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: &[(&str, String)],
    ) -> Raw {
        let mut raw = Raw::default();
        for entry in dotenv::parse(file) {
            match entry {
                Ok((line, name, text)) => raw.put(name, Ok(text), Source::File(line)),
                Err((line, problem)) => raw.errors.push(broken_line(line, problem)),
            }
        }
        for (name, text) in environment {
            if let Ok(name) = name.into_string() {
                raw.put(name, text.into_string(), Source::Environment);
            }
        }
        for (name, text) in overrides {
            raw.put((*name).to_owned(), Ok(text.clone()), Source::CommandLine);
        }
        raw
    }

    /// Names every variable that was typed, in upper case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.typed.keys().map(String::as_str)
    }

    /// A later source wins; within one, the spelling in upper case does.
    fn put(&mut self, name: String, text: Result<String, OsString>, source: Source) {
        let key = name.to_ascii_uppercase();
        let is_kept = self.typed.get(&key).is_some_and(|held| {
            held.source == source && source == Source::Environment && held.name == key
        });
        if !is_kept {
            self.typed.insert(key, Typed { name, text, source });
        }
    }

    fn get(&self, name: &str) -> Option<&Typed> {
        self.typed.get(name).filter(|typed| typed.text.as_deref() != Ok(""))
    }
}

fn broken_line(line: usize, problem: String) -> SettingError {
    SettingError {
        name: format!(".env, line {line},"),
        value: None,
        source: None,
        problem,
        mend: "Write NAME=value, NAME='value' or NAME=\"value\".".to_owned(),
    }
}

/// A reading of everything that was typed: it notes what is wrong and goes on.
pub struct Reading {
    raw: Raw,
    /// What cannot be used.
    pub errors: Vec<SettingError>,
    /// What can be used, though it is hardly what was meant.
    pub warnings: Vec<String>,
    /// What was set and can be used: name and value, secrets masked.
    pub shown: Vec<(String, String)>,
}

impl Reading {
    /// Begins to read.
    pub fn new(raw: Raw) -> Reading {
        let errors = raw.errors.clone();
        Reading { raw, errors, warnings: Vec::new(), shown: Vec::new() }
    }

    /// What was typed.
    pub fn raw(&self) -> &Raw {
        &self.raw
    }

    /// Where `name` was written, unless it was left empty.
    pub fn source(&self, name: &str) -> Option<Source> {
        self.raw.get(name).map(|typed| typed.source)
    }

    /// Gives the value of `name`, or of the first alias that is set, or the default. An empty value
    /// is no value. `None`: it was refused, and noted.
    pub fn take<C: Check>(
        &mut self,
        name: &'static str,
        aliases: &[&'static str],
        default: &str,
        check: &C,
    ) -> Option<C::Value> {
        let Some(typed) = self.find(name, aliases) else {
            return self.take_default(name, default, check);
        };
        let problem = match &typed.text {
            Ok(text) => match check.read(text.trim()) {
                Ok(value) => {
                    let secret = check.is_secret();
                    let shown = if secret { MASK.to_owned() } else { text.trim().to_owned() };
                    self.shown.push((name.to_owned(), shown));
                    return Some(value);
                }
                Err(problem) => problem,
            },
            Err(_) => "is not valid UTF-8".to_owned(),
        };
        let text =
            typed.text.as_deref().map_or_else(|raw| raw.to_string_lossy(), |text| text.into());
        let value = if check.is_secret() { MASK.to_owned() } else { shorten(&text) };
        self.errors.push(SettingError {
            name: typed.name.clone(),
            value: Some(value),
            source: Some(typed.source),
            problem,
            mend: mend(name, default, check),
        });
        None
    }

    fn take_default<C: Check>(&mut self, name: &str, text: &str, check: &C) -> Option<C::Value> {
        let read = check.read(text);
        assert!(read.is_ok(), "the default of {name} passes its own check");
        read.ok()
    }

    fn find(&mut self, name: &'static str, aliases: &[&'static str]) -> Option<Typed> {
        let mut set = std::iter::once(&name).chain(aliases).filter_map(|name| self.raw.get(name));
        let typed = set.next()?.clone();
        for other in set.filter(|other| other.text != typed.text) {
            let warning = format!("{} is ignored: {} says the same thing", other.name, typed.name);
            self.warnings.push(warning);
        }
        Some(typed)
    }
}

fn mend<C: Check>(name: &str, default: &str, check: &C) -> String {
    let form = check.form();
    if default.is_empty() {
        format!("Set {name} to {form}, or leave it out.")
    } else {
        format!("Set {name} to {form}, or leave it out for {default}.")
    }
}

/// A value that someone pasted by mistake may be long: its beginning is enough to find it.
fn shorten(text: &str) -> String {
    const LENGTH_MAX: usize = 80;
    match text.char_indices().nth(LENGTH_MAX) {
        Some((index, _)) => format!("{}…", &text[..index]),
        None => text.to_owned(),
    }
}
