//! The fields that every record has: name, description, tags and whose it is.

use std::collections::HashSet;

use serde_json::{Map, Value};
use storage::record::{Ownership, Visibility};

use super::Rules;
use super::fields::Fields;
use crate::catalog::naming;

/// The longest tag, in characters; the shortest has 2.
const TAG_LENGTH_MAX: usize = 100;

/// The longest email or team id, in characters: that of an email address (RFC 5321 §4.5.3.1).
const OWNER_LENGTH_MAX: usize = 254;

/// A name: letters, digits, blanks and `_ . -`.
pub fn name(fields: &mut Fields, rules: &Rules) -> Option<String> {
    name_at(fields, "name", rules)
}

/// As [`name`], in another field.
pub fn name_at(fields: &mut Fields, field: &str, rules: &Rules) -> Option<String> {
    let name = fields.text(field)?;
    let max = rules.name_length_max;
    let is_allowed = |letter: char| letter.is_alphanumeric() || " _.-".contains(letter);
    if name.is_empty() || name.chars().count() > max {
        fields.error(field, format!("Name must have 1 to {max} characters"));
    } else if !name.chars().all(is_allowed) {
        fields.error(field, "Name may contain letters, digits, blanks and _ . - only");
    } else if naming::slug(&name, rules.separator).is_empty() {
        fields.error(field, "Name must contain a letter or a digit");
    }
    Some(name)
}

/// A text of at most `length_max` characters; null and the empty one say that there is none.
pub fn optional(fields: &mut Fields, name: &str, length_max: usize) -> Option<Option<String>> {
    if fields.is_null(name) {
        return Some(None);
    }
    let text = fields.text(name)?;
    if text.chars().count() > length_max {
        fields.error(name, format!("Input should have at most {length_max} characters"));
    }
    Some(Some(text).filter(|text| !text.is_empty()))
}

/// A JSON object.
pub fn object(fields: &mut Fields, name: &str) -> Option<Map<String, Value>> {
    match fields.given(name)? {
        Value::Object(object) => Some(object.clone()),
        _ => {
            fields.error(name, "Input should be an object");
            None
        }
    }
}

/// Puts a value in its place, if there is one.
pub fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// A description, cut to what may be stored; the empty one says that there is none.
pub fn description(fields: &mut Fields, rules: &Rules) -> Option<Option<String>> {
    let text = fields.text("description")?;
    let cut: String = text.chars().take(rules.description_length_max).collect();
    Some(Some(cut).filter(|text| !text.is_empty()))
}

/// Tags, as texts or as the `{"id", "label"}` that reading gives: lower-case, each once.
pub fn tags(fields: &mut Fields) -> Option<Vec<String>> {
    let texts = match fields.given("tags")?.as_array() {
        Some(items) if items.iter().any(serde_json::Value::is_object) => items
            .iter()
            .map(|item| item.get("label").or(item.get("id")).unwrap_or(item))
            .map(|text| text.as_str().unwrap_or_default().to_owned())
            .collect(),
        _ => fields.list("tags")?,
    };
    let mut seen = HashSet::new();
    let mut tags = Vec::new();
    for text in texts {
        match tag(&text) {
            Some(tag) if seen.insert(tag.clone()) => tags.push(tag),
            Some(_) => {}
            None => fields.error(
                "tags",
                format!(
                    "Tag {text:?} must have 2 to {TAG_LENGTH_MAX} characters a-z 0-9, with - : . \
                     inside"
                ),
            ),
        }
    }
    Some(tags)
}

/// One tag in the form it is stored in.
fn tag(text: &str) -> Option<String> {
    let lower = text.trim().to_lowercase();
    let joined = lower.split([' ', '_']).filter(|part| !part.is_empty()).collect::<Vec<_>>();
    let tag = joined.join("-");
    let is_outer = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_inner = |byte: u8| is_outer(byte) || matches!(byte, b'-' | b':' | b'.');
    let bytes = tag.as_bytes();
    let is_valid = (2..=TAG_LENGTH_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| is_inner(*byte))
        && is_outer(bytes[0])
        && is_outer(bytes[bytes.len() - 1]);
    is_valid.then_some(tag)
}

/// What a request says of whose a record is.
#[derive(Debug, Default)]
pub struct OwnershipForm {
    team_id: Option<String>,
    owner_email: Option<String>,
    visibility: Option<Visibility>,
}

impl OwnershipForm {
    /// Reads the fields.
    pub fn read(fields: &mut Fields) -> OwnershipForm {
        let read = |text: &str| text.to_ascii_lowercase().parse().ok();
        OwnershipForm {
            team_id: short_text(fields, "team_id"),
            owner_email: short_text(fields, "owner_email"),
            visibility: fields.word("visibility", read, "private, team or public"),
        }
    }

    /// What stands beside the wrapper of a body counts more than what stands in it.
    pub fn over(self, inner: OwnershipForm) -> OwnershipForm {
        OwnershipForm {
            team_id: self.team_id.or(inner.team_id),
            owner_email: self.owner_email.or(inner.owner_email),
            visibility: self.visibility.or(inner.visibility),
        }
    }

    /// Writes what was said into a record.
    pub fn apply(self, ownership: &mut Ownership, fields: &mut Fields) {
        if self.team_id.is_some() {
            ownership.team_id = self.team_id;
        }
        if self.owner_email.is_some() {
            ownership.owner_email = self.owner_email;
        }
        if let Some(visibility) = self.visibility {
            ownership.visibility = visibility;
        }
        if ownership.visibility == Visibility::Team && ownership.team_id.is_none() {
            fields.error("visibility", "Visibility team needs a team_id");
        }
    }
}

fn short_text(fields: &mut Fields, name: &str) -> Option<String> {
    let text = fields.text(name).filter(|text| !text.is_empty())?;
    if text.chars().count() > OWNER_LENGTH_MAX || text.chars().any(char::is_control) {
        fields.error(name, format!("Input should have at most {OWNER_LENGTH_MAX} characters"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_stored_in_one_form() {
        for (text, expected) in [
            ("Time", Some("time")),
            (" Time Zone ", Some("time-zone")),
            ("time_zone", Some("time-zone")),
            ("ns:a.b-c", Some("ns:a.b-c")),
            ("x", None),
            ("-x", None),
            ("x-", None),
            ("<b>", None),
            ("zeit für", None),
        ] {
            assert_eq!(tag(text).as_deref(), expected, "{text:?}");
        }
        assert!(tag(&"x".repeat(100)).is_some());
        assert!(tag(&"x".repeat(101)).is_none());
    }

    #[test]
    fn tags_are_read_as_texts_with_commas_and_as_they_are_shown() {
        for body in [
            r#"{"tags": ["Time", "utc", "time"]}"#,
            r#"{"tags": "Time, utc"}"#,
            r#"{"tags": [{"id": "time", "label": "Time"}, {"id": "utc"}]}"#,
        ] {
            let mut fields = Fields::parse(None, body.as_bytes()).unwrap();
            assert_eq!(tags(&mut fields).unwrap(), ["time", "utc"], "{body}");
            assert!(fields.finish().is_ok());
        }
    }
}
