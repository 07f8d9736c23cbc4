//! What stands behind the question mark: names and values, checked all at once.

use std::collections::HashMap;

#[cfg(test)]
use super::apidoc::seen;
use crate::failure::{Failure, FieldError};

/// An address of a user as a path has it, in lower case.
pub fn address(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().to_lowercase()
}

/// The parameters of a query. Of several with one name the last counts; unknown ones are ignored.
pub struct Query {
    values: HashMap<String, String>,
    errors: Vec<FieldError>,
}

impl Query {
    /// Reads a query string.
    pub fn parse(query: Option<&str>) -> Query {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Query { values: pairs.into_owned().collect(), errors: Vec::new() }
    }

    fn value(&self, name: &str) -> Option<&str> {
        #[cfg(test)]
        seen::note(seen::Place::Query, name);
        self.values.get(name).map(String::as_str)
    }

    /// A text that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|text| !text.is_empty())
    }

    /// Texts separated by commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        let parts = self.text(name).unwrap_or_default().split(',');
        parts.map(|part| part.trim().to_lowercase()).filter(|part| !part.is_empty()).collect()
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(text) = self.value(name) else { return default };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => true,
            "false" | "0" | "no" | "off" | "f" | "n" => false,
            _ => {
                self.error(name, "Input should be true or false");
                default
            }
        }
    }

    /// A whole number, 0 included.
    pub fn count(&mut self, name: &str) -> Option<usize> {
        let text = self.text(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.error(name, "Input should be a whole number, 0 or more");
        }
        parsed
    }

    /// One of the words that `read` knows.
    pub fn word<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        form: &str,
    ) -> Option<T> {
        let text = self.text(name)?;
        let parsed = read(text);
        if parsed.is_none() {
            self.error(name, format!("Input should be {form}"));
        }
        parsed
    }

    /// Notes that a parameter holds what it must not.
    pub fn error(&mut self, name: &str, message: impl Into<String>) {
        let input = self.values.get(name).map(|text| serde_json::Value::from(text.as_str()));
        self.errors.push(FieldError {
            location: vec!["query".to_owned(), name.to_owned()],
            message: message.into(),
            kind: "value_error",
            input: input.map(|value| value.to_string()),
        });
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// [`Failure::Invalid`] naming every parameter that holds what it must not.
    pub fn finish(self) -> Result<(), Failure> {
        if self.errors.is_empty() { Ok(()) } else { Err(Failure::Invalid(self.errors)) }
    }
}
