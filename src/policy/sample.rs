//! Facts that were written down: to try policies on, without a request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value as Json;

use super::attribute::{Attribute, Facts, HEADERS};
use super::fuel::Fault;
use super::moment;
use super::value::Value;

/// An object as `{"caller": {"email": …}, "tool": {"name": …}, "arguments": {…}}`.
#[derive(Debug, Clone)]
pub struct Sample {
    context: Json,
    time: Option<i64>,
}

/// What is wrong with such an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleError(String);

impl fmt::Display for SampleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for SampleError {}

impl Sample {
    /// Takes an object whose keys are what expressions may name.
    ///
    /// # Errors
    ///
    /// [`SampleError`] if a key is something that they may not: a spelling mistake would go
    /// unnoticed.
    pub fn new(context: Json) -> Result<Sample, SampleError> {
        let Json::Object(roots) = &context else {
            return Err(SampleError("the context must be an object".to_owned()));
        };
        for (root, value) in roots {
            check(root, value)?;
        }
        let time = match context.pointer("/request/time") {
            None | Some(Json::Null) => None,
            Some(Json::String(text)) => Some(moment::read(text).ok_or_else(|| {
                SampleError("request.time must be as 2026-01-31T12:00:00Z".to_owned())
            })?),
            Some(_) => return Err(SampleError("request.time must be a text".to_owned())),
        };
        Ok(Sample { context, time })
    }
}

fn check(root: &str, value: &Json) -> Result<(), SampleError> {
    if Attribute::of_path(root).is_some() {
        return Ok(());
    }
    let known = |path: &str| Attribute::of_path(path).is_some() || path == "request.headers";
    let Json::Object(fields) = value else {
        return Err(SampleError(format!("{root} must be an object")));
    };
    for path in fields.keys().map(|name| format!("{root}.{name}")) {
        if !known(&path) {
            return Err(SampleError(format!("policies know of no {path}")));
        }
    }
    let is_root = Attribute::ALL.iter().any(|attribute| attribute.root() == root);
    if is_root { Ok(()) } else { Err(SampleError(format!("policies know of no {root}"))) }
}

impl Facts for Sample {
    fn attribute(&self, attribute: Attribute) -> Result<Option<Value<'_>>, Fault> {
        if attribute == Attribute::RequestTime {
            return Ok(self.time.map(Value::Time));
        }
        let mut names = attribute.path().split('.');
        let found = names.try_fold(&self.context, |holder, name| holder.get(name));
        Ok(found.filter(|found| !found.is_null()).map(Value::of_json))
    }

    fn header(&self, name: &str) -> Option<Value<'_>> {
        let headers = self.context.get("request")?.get("headers")?.as_object()?;
        let named = |(key, _): &(&String, &Json)| key.eq_ignore_ascii_case(name);
        headers.iter().find(named).map(|(_, value)| Value::of_json(value))
    }
}

/// Facts that note what is asked of them.
pub struct Noted<'a> {
    facts: &'a dyn Facts,
    seen: RefCell<BTreeMap<String, Json>>,
}

impl<'a> Noted<'a> {
    /// Listens to what is asked of `facts`.
    pub fn new(facts: &'a dyn Facts) -> Noted<'a> {
        Noted { facts, seen: RefCell::default() }
    }

    /// What was asked for, with the answers; `null` for what there is not.
    pub fn into_seen(self) -> BTreeMap<String, Json> {
        self.seen.into_inner()
    }

    fn note(&self, path: String, value: Option<&Value<'_>>) {
        let json = value.map_or(Json::Null, Value::to_json);
        self.seen.borrow_mut().insert(path, json);
    }
}

impl Facts for Noted<'_> {
    fn attribute(&self, attribute: Attribute) -> Result<Option<Value<'_>>, Fault> {
        let value = self.facts.attribute(attribute)?;
        self.note(attribute.path().to_owned(), value.as_ref());
        Ok(value)
    }

    fn header(&self, name: &str) -> Option<Value<'_>> {
        let value = self.facts.header(name);
        assert!(HEADERS.contains(&name), "only these can be named");
        self.note(format!("request.headers.{name}"), value.as_ref());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(context: Json) -> Result<Sample, String> {
        Sample::new(context).map_err(|error| error.to_string())
    }

    #[test]
    fn gives_what_is_written_down_and_nothing_else() {
        let context = serde_json::json!({
            "caller": {"email": "a@b.c", "teams": ["t"]},
            "request": {"time": "1970-01-01T00:00:01Z", "headers": {"User-Agent": "x"}},
            "arguments": {"n": 1},
        });
        let sample = sample(context).unwrap();
        let json = |attribute| sample.attribute(attribute).unwrap().map(|value| value.to_json());
        assert_eq!(json(Attribute::CallerEmail), Some("a@b.c".into()));
        assert_eq!(json(Attribute::CallerIp), None);
        assert!(matches!(
            sample.attribute(Attribute::RequestTime),
            Ok(Some(Value::Time(1_000_000)))
        ));
        assert_eq!(sample.header("user-agent").map(|value| value.to_json()), Some("x".into()));
        assert_eq!(json(Attribute::Arguments), Some(serde_json::json!({"n": 1})));
    }

    #[test]
    fn refuses_names_that_no_expression_could_use() {
        for (context, said) in [
            (serde_json::json!([]), "the context must be an object"),
            (serde_json::json!({"callr": {}}), "policies know of no callr"),
            (serde_json::json!({"caller": {"mail": 1}}), "policies know of no caller.mail"),
            (serde_json::json!({"tool": 1}), "tool must be an object"),
            (
                serde_json::json!({"request": {"time": "noon"}}),
                "request.time must be as 2026-01-31T12:00:00Z",
            ),
        ] {
            assert_eq!(sample(context).unwrap_err(), said);
        }
    }

    #[test]
    fn notes_what_it_was_asked_for() {
        let sample = sample(serde_json::json!({"tool": {"name": "echo"}})).unwrap();
        let noted = Noted::new(&sample);
        noted.attribute(Attribute::ToolName).unwrap();
        noted.attribute(Attribute::ToolGateway).unwrap();
        let seen = serde_json::json!(noted.into_seen());
        assert_eq!(seen, serde_json::json!({"tool.gateway": null, "tool.name": "echo"}));
    }
}
