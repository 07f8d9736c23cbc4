//! The script: calls as data, with places for what former answers gave.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value};

use super::shape::Shape;
use crate::harness::wire::{Answer, Wire, request};

/// Headers whose presence is part of the contract.
const HEADERS: [&str; 4] = ["allow", "etag", "mcp-session-id", "www-authenticate"];

/// Where the script is sent.
pub struct Target {
    port: u16,
    token: String,
    /// What is known so far, by name: at first the addresses of the upstreams.
    known: BTreeMap<String, Value>,
    transcript: Option<File>,
}

/// What was answered to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub call: String,
    pub status: u16,
    /// Those of [`HEADERS`] that are there.
    pub headers: Vec<String>,
    pub body: Shape,
}

/// The steps of the script.
pub fn steps() -> Vec<Value> {
    let text = include_str!("../../compat/script.jsonl");
    let lines = text.lines().map(|line| {
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in the script: {line}"))
    });
    lines.collect()
}

/// Sends every step in turn and gives what was answered.
pub fn play(mut target: Target) -> Vec<Outcome> {
    steps().iter().map(|step| target.step(step)).collect()
}

/// The text of a field, empty if it has none.
pub fn text<'a>(step: &'a Value, name: &str) -> &'a str {
    step[name].as_str().unwrap_or_default()
}

impl Target {
    /// A target; `name` is of the transcript for a person who asks why something differs, a file in
    /// the folder `COMPAT_TRANSCRIPTS` if that is set.
    pub fn new(name: &str, port: u16, token: &str, known: BTreeMap<String, Value>) -> Self {
        let folder = std::env::var("COMPAT_TRANSCRIPTS").ok();
        let transcript = folder.map(|folder| {
            File::create(Path::new(&folder).join(name)).expect("the transcript can be made")
        });
        Self { port, token: token.to_owned(), known, transcript }
    }

    fn step(&mut self, step: &Value) -> Outcome {
        let answer = self.send(step);
        if let Some(transcript) = &mut self.transcript {
            let (call, status, body) = (text(step, "call"), answer.status, answer.text());
            writeln!(transcript, "{call} {status} {body}").expect("the transcript can be written");
        }
        let json = serde_json::from_slice::<Value>(&answer.body).ok().or_else(|| event(&answer));
        let kind = answer.header("content-type").unwrap_or("text");
        let body = match &json {
            Some(json) => Shape::of(json),
            None if answer.body.is_empty() && text(step, "read") != "head" => Shape::word("empty"),
            None => Shape::word(kind.split(';').next().unwrap_or_default()),
        };
        self.keep(step["keep"].as_object(), &json.unwrap_or_default());
        let headers = HEADERS.iter().filter(|name| answer.header(name).is_some());
        Outcome {
            call: text(step, "call").to_owned(),
            status: answer.status,
            headers: headers.map(|name| (*name).to_owned()).collect(),
            body,
        }
    }

    fn send(&self, step: &Value) -> Answer {
        let (method, path) = text(step, "send").split_once(' ').expect("a method and a path");
        let path = self.fill_text(path);
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("Connection", "close"), ("Content-Type", "application/json")];
        if text(step, "as") != "nobody" {
            headers.push(("Authorization", &bearer));
        }
        let own = step["headers"].as_object().into_iter().flatten();
        headers
            .extend(own.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())));
        let body = match step.get("body") {
            Some(body) => self.fill(body).to_string(),
            None => text(step, "raw").to_owned(),
        };
        let mut wire = Wire::connect(self.port);
        wire.send(request(method, &path, &headers, body.as_bytes()));
        // A stream that does not end, or a page that is not ours to compare.
        if text(step, "read") == "head" { wire.head().expect("a head came") } else { wire.answer() }
    }

    /// Remembers the parts of an answer that later steps use.
    fn keep(&mut self, wanted: Option<&Map<String, Value>>, answer: &Value) {
        for (name, pointer) in wanted.into_iter().flatten() {
            let found = answer.pointer(pointer.as_str().expect("a JSON pointer"));
            let found = found.filter(|value| !value.is_null()).cloned();
            // What did not come is asked for by a name that nothing has; the steps differ then.
            self.known.insert(name.clone(), found.unwrap_or_else(|| "missing".into()));
        }
    }

    /// Puts what is known in the place of `@name@`, in every text of `value`.
    fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let whole = text.strip_prefix('@').and_then(|text| text.strip_suffix('@'));
                let known = whole.and_then(|name| self.known.get(name));
                known.cloned().unwrap_or_else(|| self.fill_text(text).into())
            }
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), self.fill(value)));
                Value::Object(fields.collect())
            }
            scalar => scalar.clone(),
        }
    }

    fn fill_text(&self, text: &str) -> String {
        let known = self.known.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
        known.fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
    }
}

/// The last event of a stream, as the answer to an MCP request.
fn event(answer: &Answer) -> Option<Value> {
    let kind = answer.header("content-type")?;
    kind.starts_with("text/event-stream").then(|| answer.events().pop())?
}
