//! `apijsonpath`: the caller chooses which parts of an answer they want, by JSONPath (RFC 9535).
//!
//! Paths are what anybody sends, so none may cost much: what could make the work grow faster than
//! the answer is long is refused, and so is a result that is longer than it should be.

use serde_json::{Map, Value};
use serde_json_path::JsonPath;

use super::RestRequest;
use super::query::Query;
use crate::failure::Failure;
use crate::limits;

/// The longest path, in bytes.
const PATH_SIZE_MAX: usize = 512;

/// The most fields of a mapping.
const FIELD_COUNT_MAX: usize = 64;

/// How deep brackets of a path may stand in each other: its parser recurses.
const BRACKET_DEPTH_MAX: usize = 8;

/// The most selectors that may stand beside others in brackets: each repeats the work behind it.
const COMMA_COUNT_MAX: usize = 4;

/// What an answer becomes before it is sent.
pub struct Reshape {
    /// Which values of the answer are wanted.
    path: JsonPath,
    /// What is made of each: a field, and where in the value its content is found.
    fields: Option<Vec<(String, JsonPath)>>,
}

impl Reshape {
    /// Reads `?apijsonpath=`, or the JSON body that an older contract has on GET; `None` if neither
    /// is there. Both are `{"jsonpath": "$[*]", "mapping": {"field": "$.path"}}`, either part
    /// optional.
    ///
    /// # Errors
    ///
    /// [`Failure::Malformed`] that names the part that cannot be used.
    pub fn read(request: &RestRequest<'_>) -> Result<Option<Reshape>, Failure> {
        let query = Query::parse(request.query);
        let Some(text) = query.text("apijsonpath") else { return Reshape::read_body(request.body) };
        let value = serde_json::from_str(text).map_err(|error| {
            let form = r#"{"jsonpath": "$[*]", "mapping": {"field": "$.path"}}"#;
            Failure::Malformed(format!("apijsonpath is no JSON, as {form}: {error}"))
        })?;
        Reshape::of(&value).map(Some)
    }

    /// A body that asks for nothing of the kind is no concern of a GET (RFC 9110 §9.3.1).
    fn read_body(body: &[u8]) -> Result<Option<Reshape>, Failure> {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return Ok(None) };
        match value.get("jsonpath").is_some() || value.get("mapping").is_some() {
            true => Reshape::of(&value).map(Some),
            false => Ok(None),
        }
    }

    fn of(value: &Value) -> Result<Reshape, Failure> {
        let malformed = |what: &str| Failure::Malformed(format!("apijsonpath: {what}"));
        let Value::Object(parts) = value else { return Err(malformed("it should be an object")) };
        let path = match parts.get("jsonpath") {
            None | Some(Value::Null) => parse("jsonpath", "$[*]")?,
            Some(Value::String(text)) if text.is_empty() => parse("jsonpath", "$[*]")?,
            Some(Value::String(text)) => parse("jsonpath", text)?,
            Some(_) => return Err(malformed("jsonpath should be a text")),
        };
        let fields = match parts.get("mapping") {
            None | Some(Value::Null) => None,
            Some(Value::Object(fields)) if fields.len() <= FIELD_COUNT_MAX => Some(fields),
            Some(Value::Object(_)) => {
                return Err(malformed(&format!("at most {FIELD_COUNT_MAX} fields are allowed")));
            }
            Some(_) => return Err(malformed("mapping should be an object of paths")),
        };
        let field = |(name, path): (&String, &Value)| match path {
            Value::String(text) => Ok((name.clone(), parse(name, text)?)),
            _ => Err(malformed(&format!("the path of {name:?} should be a text"))),
        };
        let fields = fields.filter(|fields| !fields.is_empty());
        let fields = fields.map(|fields| fields.iter().map(field).collect::<Result<_, _>>());
        Ok(Reshape { path, fields: fields.transpose()? })
    }

    /// Makes of an answer what is asked for: a list of what was found, or the one object that was.
    ///
    /// # Errors
    ///
    /// [`Failure::Malformed`] if it would be longer than [`limits::RESHAPED_VALUE_COUNT_MAX`].
    pub fn apply(&self, answer: Value) -> Result<Value, Failure> {
        let mut room = Room(limits::RESHAPED_VALUE_COUNT_MAX);
        let found = self.path.query(&answer).all();
        let mut results = Vec::new();
        for value in found {
            results.push(match &self.fields {
                None => room.copy(value)?,
                Some(fields) => map(fields, value, &mut room)?,
            });
        }
        match results.as_slice() {
            [Value::Object(_)] => Ok(results.swap_remove(0)),
            _ => Ok(Value::Array(results)),
        }
    }
}

/// Picks fields out of a value: what is found once stands alone, what is found more often in a
/// list, and nothing is null.
fn map(fields: &[(String, JsonPath)], value: &Value, room: &mut Room) -> Result<Value, Failure> {
    let mut mapped = Map::new();
    for (name, path) in fields {
        let found = path.query(value).all();
        let content = match found.as_slice() {
            [] => room.copy(&Value::Null)?,
            [one] => room.copy(one)?,
            many => many.iter().map(|value| room.copy(value)).collect::<Result<_, _>>()?,
        };
        mapped.insert(name.clone(), content);
    }
    Ok(Value::Object(mapped))
}

/// How many values may still be copied.
struct Room(usize);

impl Room {
    fn copy(&mut self, value: &Value) -> Result<Value, Failure> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| {
            Failure::Malformed("apijsonpath finds more than an answer can hold".to_owned())
        })?;
        Ok(match value {
            Value::Array(items) => {
                items.iter().map(|item| self.copy(item)).collect::<Result<_, _>>()?
            }
            Value::Object(fields) => {
                let copy = |(name, value): (&String, &Value)| Ok((name.clone(), self.copy(value)?));
                Value::Object(fields.iter().map(copy).collect::<Result<_, Failure>>()?)
            }
            plain => plain.clone(),
        })
    }
}

fn parse(name: &str, text: &str) -> Result<JsonPath, Failure> {
    let malformed = |what: String| Failure::Malformed(format!("apijsonpath: {name:?}: {what}"));
    check_cost(text).map_err(&malformed)?;
    JsonPath::parse(text).map_err(|error| malformed(error.to_string()))
}

/// Refuses a path that could take more than a few looks at each value of the answer.
///
/// What multiplies the work: a second `..`, selectors side by side, and whatever a filter does
/// besides following one path, since it does so for each value.
fn check_cost(text: &str) -> Result<(), String> {
    if text.len() > PATH_SIZE_MAX {
        return Err(format!("a path has at most {PATH_SIZE_MAX} bytes"));
    }
    let bare = without_strings(text);
    let count = |part: &str| bare.matches(part).count();
    let mut depth: usize = 0;
    for byte in bare.bytes() {
        match byte {
            b'[' | b'(' => depth += 1,
            b']' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > BRACKET_DEPTH_MAX {
            return Err(format!("brackets stand at most {BRACKET_DEPTH_MAX} deep"));
        }
    }
    let filter = bare.split_once('?').map_or("", |(_, filter)| filter);
    if count("..") > 1 || count(",") > COMMA_COUNT_MAX || count("?") > COMMA_COUNT_MAX {
        return Err(format!(
            "a path has at most one `..`, {COMMA_COUNT_MAX} commas and {COMMA_COUNT_MAX} filters"
        ));
    }
    if filter.contains("..") || filter.contains('$') || filter.contains('*') {
        return Err("behind the first filter no `..`, `*` or `$` is allowed".to_owned());
    }
    Ok(())
}

/// The path without what stands in quotes.
fn without_strings(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match quote {
            Some(_) if letter == '\\' => {
                letters.next();
            }
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '\'' | '"') => quote = Some(letter),
            None => bare.push(letter),
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reshape(asked: Value, answer: Value) -> Result<Value, String> {
        let reshape = Reshape::of(&asked).map_err(|failure| failure.to_string())?;
        reshape.apply(answer).map_err(|failure| failure.to_string())
    }

    #[test]
    fn picks_and_renames_as_the_contract_does() {
        let tools = json!([{"name": "a", "tags": [{"id": "x"}, {"id": "y"}]}, {"name": "b"}]);
        for (asked, expected) in [
            (json!({}), tools.clone()),
            (json!({"jsonpath": "$[*].name"}), json!(["a", "b"])),
            (
                json!({"mapping": {"n": "$.name", "t": "$.tags[*].id", "none": "$.x"}}),
                json!([{"n": "a", "t": ["x", "y"], "none": null},
                       {"n": "b", "t": null, "none": null}]),
            ),
            (json!({"jsonpath": "$[?@.name == 'b']"}), json!({"name": "b"})),
            (json!({"jsonpath": "$[0].name"}), json!(["a"])),
            (json!({"jsonpath": "$..id", "mapping": null}), json!(["x", "y"])),
            (json!({"jsonpath": ""}), tools.clone()),
            (json!({"jsonpath": "$.nothing"}), json!([])),
        ] {
            assert_eq!(reshape(asked.clone(), tools.clone()), Ok(expected), "{asked}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_use_and_says_why() {
        for (asked, part) in [
            (json!([]), "an object"),
            (json!({"jsonpath": 1}), "a text"),
            (json!({"jsonpath": "name"}), "jsonpath"),
            (json!({"mapping": "$.name"}), "object of paths"),
            (json!({"mapping": {"n": 1}}), "\"n\""),
            (json!({"mapping": {"n": "$["}}), "\"n\""),
            (json!({"jsonpath": format!("$.{}", "x".repeat(600))}), "512 bytes"),
        ] {
            let error = reshape(asked.clone(), json!([])).expect_err(&asked.to_string());
            assert!(error.contains(part), "{asked}: {error}");
        }
    }

    #[test]
    fn refuses_paths_whose_work_would_explode() {
        let nested = format!("${}", "[?(".repeat(9));
        for path in [
            "$..*..*",
            "$[*,*][*,*][*,*][*,*][*,*]",
            "$[?$..*]",
            "$[?@..a]",
            "$[?@.a[*]]",
            nested.as_str(),
        ] {
            assert!(reshape(json!({ "jsonpath": path }), json!([])).is_err(), "{path}");
        }
        let quoted = json!({"jsonpath": "$['..,,,,,..?*$']"});
        assert_eq!(reshape(quoted, json!({"..,,,,,..?*$": {"a": 1}})), Ok(json!({"a": 1})));
    }

    #[test]
    fn a_result_longer_than_an_answer_is_refused() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let wide = Value::Array(vec![deep; 50]);
        let fields: Map<String, Value> =
            (0..FIELD_COUNT_MAX).map(|at| (format!("f{at}"), json!("$..*"))).collect();
        let asked = json!({"jsonpath": "$..*", "mapping": fields});
        assert!(reshape(asked, wide).expect_err("it explodes").contains("more than"));
    }
}
