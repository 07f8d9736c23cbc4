//! The fields of a JSON body, read one by one, with every fault noted and none in the way of the
//! next.

use serde_json::{Map, Value};

#[cfg(test)]
use super::apidoc::seen;
use crate::failure::{Failure, FieldError};

/// The fields of a JSON object. A name is found in snake_case and in camelCase; unknown fields are
/// ignored, as the contract says.
pub struct Fields {
    values: Map<String, Value>,
    location: Vec<String>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// [`Failure::UnsupportedMediaType`] if it is said to be something else than JSON,
    /// [`Failure::Invalid`] if it is no JSON or no object.
    pub fn parse(content_type: Option<&[u8]>, body: &[u8]) -> Result<Fields, Failure> {
        if !content_type.is_none_or(is_json) {
            return Err(Failure::UnsupportedMediaType { expected: "application/json" });
        }
        let value = serde_json::from_slice(body).map_err(|error| invalid_json(&error))?;
        Fields::of(value)
    }

    /// Takes a JSON value apart.
    ///
    /// # Errors
    ///
    /// [`Failure::Invalid`] if it is no object.
    pub fn of(value: Value) -> Result<Fields, Failure> {
        match value {
            Value::Object(values) => {
                Ok(Fields { values, location: vec!["body".to_owned()], errors: Vec::new() })
            }
            _ => Err(Failure::Invalid(vec![FieldError {
                location: vec!["body".to_owned()],
                message: "Input should be a JSON object".to_owned(),
                kind: "dict_type",
                input: None,
            }])),
        }
    }

    /// Steps into an object that wraps the fields, if there is one: `{"server": {...}}`. Gives the
    /// fields that stand beside it.
    pub fn unwrap(self, name: &str) -> (Fields, Option<Fields>) {
        let Fields { mut values, mut location, errors } = self;
        match values.remove(name) {
            Some(Value::Object(inner)) => {
                let outer = Fields { values, location: location.clone(), errors: Vec::new() };
                location.push(name.to_owned());
                (Fields { values: inner, location, errors }, Some(outer))
            }
            Some(other) => {
                values.insert(name.to_owned(), other);
                (Fields { values, location, errors }, None)
            }
            None => (Fields { values, location, errors }, None),
        }
    }

    /// The object that a field holds, as fields of its own; what is wrong with them is taken back
    /// by [`Fields::take_errors`]. `rename` gives each the name that it is read by.
    pub fn inner(&self, name: &str, rename: impl Fn(&str) -> String) -> Option<Fields> {
        let object = self.given(name)?.as_object()?;
        let values = object.iter().map(|(name, value)| (rename(name), value.clone())).collect();
        let mut location = self.location.clone();
        location.push(name.to_owned());
        Some(Fields { values, location, errors: Vec::new() })
    }

    /// The value of a field, whatever it is; `None` if it was not sent.
    pub fn value(&self, name: &str) -> Option<&Value> {
        #[cfg(test)]
        seen::note(seen::Place::Body, name);
        self.values.get(name).or_else(|| self.values.get(&camel(name)))
    }

    /// The value of a field that was sent and is not null.
    pub fn given(&self, name: &str) -> Option<&Value> {
        self.value(name).filter(|value| !value.is_null())
    }

    /// Whether the field was sent as null.
    pub fn is_null(&self, name: &str) -> bool {
        self.value(name).is_some_and(Value::is_null)
    }

    /// A text, without the white space around it.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.string(name, true).map(|text| text.trim().to_owned())
    }

    /// A text exactly as sent, which no error shows.
    pub fn secret(&mut self, name: &str) -> Option<String> {
        self.string(name, false)
    }

    fn string(&mut self, name: &str, is_shown: bool) -> Option<String> {
        match self.given(name)? {
            Value::String(text) => Some(text.clone()),
            other => {
                let input = is_shown.then(|| other.to_string());
                self.note(name, "string_type", "Input should be a valid string", input);
                None
            }
        }
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.given(name)? {
            Value::Bool(flag) => Some(*flag),
            other => {
                let input = Some(other.to_string());
                self.note(name, "bool_type", "Input should be true or false", input);
                None
            }
        }
    }

    /// A whole number, 0 included.
    pub fn count(&mut self, name: &str) -> Option<u64> {
        let value = self.given(name)?;
        let count = value.as_u64();
        if count.is_none() {
            let input = Some(value.to_string());
            self.note(name, "int_type", "Input should be a whole number, 0 or more", input);
        }
        count
    }

    /// A whole number of either sign.
    pub fn whole(&mut self, name: &str) -> Option<i64> {
        let value = self.given(name)?;
        let whole = value.as_i64();
        if whole.is_none() {
            let input = Some(value.to_string());
            self.note(name, "int_type", "Input should be a whole number", input);
        }
        whole
    }

    /// A JSON object.
    pub fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.given(name)? {
            Value::Object(object) => Some(object.clone()),
            other => {
                let input = Some(other.to_string());
                self.note(name, "dict_type", "Input should be a JSON object", input);
                None
            }
        }
    }

    /// Texts: a list of them, or one text with commas. Empty ones are left out.
    pub fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.given(name)?;
        let texts = match value {
            Value::String(text) => Some(text.split(',').map(str::to_owned).collect()),
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
            }
            _ => None,
        };
        let texts: Option<Vec<String>> = texts;
        if texts.is_none() {
            let input = Some(value.to_string());
            self.note(name, "list_type", "Input should be a list of texts", input);
        }
        let texts = texts?.into_iter().map(|text| text.trim().to_owned());
        Some(texts.filter(|text| !text.is_empty()).collect())
    }

    /// One of the words that `read` knows.
    pub fn word<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        form: &str,
    ) -> Option<T> {
        let text = self.text(name)?;
        let parsed = read(&text);
        if parsed.is_none() {
            self.error(name, format!("Input should be {form}"));
        }
        parsed
    }

    /// Notes that a required field was not sent.
    pub fn missing(&mut self, name: &str) {
        self.note(name, "missing", "Field required", None);
    }

    /// Notes that a field holds what it must not, and shows what was sent.
    pub fn error(&mut self, name: &str, message: impl Into<String>) {
        let input = self.value(name).map(Value::to_string);
        self.note(name, "value_error", message, input);
    }

    /// Notes that a field holds what it must not, without showing it.
    pub fn hidden_error(&mut self, name: &str, message: impl Into<String>) {
        self.note(name, "value_error", message, None);
    }

    fn note(
        &mut self,
        name: &str,
        kind: &'static str,
        message: impl Into<String>,
        input: Option<String>,
    ) {
        let mut location = self.location.clone();
        location.extend(name.split('.').map(str::to_owned));
        self.errors.push(FieldError { location, message: message.into(), kind, input });
    }

    /// Adds what was noted in other fields.
    pub fn take_errors(&mut self, other: Fields) {
        self.errors.extend(other.errors);
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// [`Failure::Invalid`] naming every field that holds what it must not.
    pub fn finish(self) -> Result<(), Failure> {
        if self.errors.is_empty() { Ok(()) } else { Err(Failure::Invalid(self.errors)) }
    }
}

/// `auth_header_key` as `authHeaderKey`; what begins with an underscore stays.
pub fn camel(name: &str) -> String {
    if name.starts_with('_') {
        return name.to_owned();
    }
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

fn is_json(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let kind = kind.trim_ascii().to_ascii_lowercase();
    kind == b"application/json" || (kind.starts_with(b"application/") && kind.ends_with(b"+json"))
}

fn invalid_json(error: &serde_json::Error) -> Failure {
    Failure::Invalid(vec![FieldError {
        location: vec!["body".to_owned(), error.column().to_string()],
        message: format!("JSON decode error: {error}"),
        kind: "json_invalid",
        input: None,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_camelled_as_the_contract_writes_them() {
        for (snake, expected) in [
            ("name", "name"),
            ("auth_header_key", "authHeaderKey"),
            ("associated_a2a_agents", "associatedA2aAgents"),
            ("created_from_ip", "createdFromIp"),
            ("_meta", "_meta"),
        ] {
            assert_eq!(camel(snake), expected);
        }
    }

    #[test]
    fn a_list_comes_as_a_list_or_with_commas() {
        let body = br#"{"a": ["x", " y ", ""], "b": "x, y,", "c": [1], "d": null}"#;
        let mut fields = Fields::parse(None, body).unwrap();
        assert_eq!(fields.list("a").unwrap(), ["x", "y"]);
        assert_eq!(fields.list("b").unwrap(), ["x", "y"]);
        assert_eq!(fields.list("c"), None);
        assert_eq!(fields.list("d"), None);
        let Err(Failure::Invalid(errors)) = fields.finish() else { panic!("c is no list") };
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].location, ["body", "c"]);
    }

    #[test]
    fn only_json_is_read() {
        for content_type in
            ["application/json", "Application/JSON; charset=utf-8", "application/x+json"]
        {
            assert!(Fields::parse(Some(content_type.as_bytes()), b"{}").is_ok(), "{content_type}");
        }
        let form = Fields::parse(Some(b"application/x-www-form-urlencoded"), b"{}").err().unwrap();
        assert_eq!(form.status(), 415);
        for body in [&b"[1]"[..], b"{", b"", b"\"x\"", b"{\"a\":\xff}"] {
            assert_eq!(Fields::parse(None, body).err().unwrap().status(), 422);
        }
        let deep = "[".repeat(100_000);
        assert_eq!(Fields::parse(None, deep.as_bytes()).err().unwrap().status(), 422);
    }
}
