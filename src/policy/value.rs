//! The values that expressions are about: JSON and records, looked at where they lie.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Value as Json;

use super::fuel::{Fault, Fuel};

/// A value of CEL. What comes from a request or a record is borrowed; cloning is cheap.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that is not negative (`1u`).
    Uint(u64),
    /// Any other number.
    Double(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A point in time: microseconds since the epoch.
    Time(i64),
    /// A span of time, in microseconds.
    Span(i64),
    /// The words of a record.
    Words(&'a [String]),
    /// A list of JSON.
    Array(&'a [Json]),
    /// An object of JSON.
    Object(&'a serde_json::Map<String, Json>),
    /// A list that an expression made.
    List(Rc<Vec<Value<'a>>>),
    /// A map that an expression made, in the order in which it was written.
    Map(Rc<Vec<(Value<'a>, Value<'a>)>>),
}

impl<'a> Value<'a> {
    /// What a value of JSON is in CEL: whole numbers are whole numbers.
    pub fn of_json(json: &'a Json) -> Value<'a> {
        match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(whole), _) => Value::Int(whole),
                (None, Some(whole)) => Value::Uint(whole),
                (None, None) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::text(text),
            Json::Array(items) => Value::Array(items),
            Json::Object(fields) => Value::Object(fields),
        }
    }

    /// The same value, of which a text stays where it is.
    pub fn lend(&self) -> Value<'_> {
        match self {
            Value::Text(text) => Value::text(text),
            other => other.clone(),
        }
    }

    /// A text that lies elsewhere.
    pub fn text(text: &'a str) -> Value<'a> {
        Value::Text(Cow::Borrowed(text))
    }

    /// The value as JSON; times as text.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::from(*flag),
            Value::Int(whole) => Json::from(*whole),
            Value::Uint(whole) => Json::from(*whole),
            Value::Double(number) => Json::from(*number),
            Value::Text(text) => Json::from(text.as_ref()),
            Value::Time(at) => Json::from(super::moment::write(*at)),
            Value::Span(span) => Json::from(super::moment::write_span(*span)),
            Value::Words(words) => Json::from(*words),
            Value::Array(items) => Json::Array(items.to_vec()),
            Value::Object(fields) => Json::Object((*fields).clone()),
            Value::List(items) => items.iter().map(Value::to_json).collect(),
            Value::Map(entries) => {
                let name = |key: &Value<'_>| match key.to_json() {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                entries.iter().map(|(key, value)| (name(key), value.to_json())).collect()
            }
        }
    }

    /// CEL's name for what it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::Text(_) => "string",
            Value::Time(_) => "timestamp",
            Value::Span(_) => "duration",
            Value::Words(_) | Value::Array(_) | Value::List(_) => "list",
            Value::Object(_) | Value::Map(_) => "map",
        }
    }

    /// The same with its article, for sentences.
    pub fn a_kind(&self) -> &'static str {
        match self.kind() {
            "null" => "null",
            "bool" => "a bool",
            "int" => "an int",
            "uint" => "a uint",
            "double" => "a double",
            "string" => "a string",
            "timestamp" => "a timestamp",
            "duration" => "a duration",
            "list" => "a list",
            _ => "a map",
        }
    }

    /// How many things are in it, if it is a list or a map.
    pub fn count(&self) -> Option<usize> {
        match self {
            Value::Words(words) => Some(words.len()),
            Value::Array(items) => Some(items.len()),
            Value::List(items) => Some(items.len()),
            Value::Object(fields) => Some(fields.len()),
            Value::Map(entries) => Some(entries.len()),
            _ => None,
        }
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        matches!(self, Value::Words(_) | Value::Array(_) | Value::List(_))
    }

    /// The item at a place of a list.
    pub fn item(&self, place: usize) -> Option<Value<'a>> {
        match self {
            Value::Words(words) => words.get(place).map(|word| Value::text(word)),
            Value::Array(items) => items.get(place).map(Value::of_json),
            Value::List(items) => items.get(place).cloned(),
            _ => None,
        }
    }

    /// What a map holds under a key.
    ///
    /// # Errors
    ///
    /// [`Fault::Exhausted`].
    pub fn under(&self, key: &Value<'_>, fuel: &mut Fuel) -> Result<Option<Value<'a>>, Fault> {
        fuel.burn(1)?;
        match (self, key) {
            (Value::Object(fields), Value::Text(key)) => {
                Ok(fields.get(key.as_ref()).map(Value::of_json))
            }
            (Value::Map(entries), _) => {
                for (held, value) in entries.iter() {
                    if held.equals(key, fuel)? {
                        return Ok(Some(value.clone()));
                    }
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// What a loop over it goes through: the items of a list, the keys of a map.
    pub fn step(&self, place: usize) -> Option<Value<'a>> {
        match self {
            Value::Object(fields) => fields.keys().nth(place).map(|key| Value::text(key)),
            Value::Map(entries) => entries.get(place).map(|(key, _)| key.clone()),
            list => list.item(place),
        }
    }

    /// Whether two values are equal; values of different kinds are not, but for numbers.
    ///
    /// # Errors
    ///
    /// [`Fault::Exhausted`] if looking at all of both costs more than is left.
    pub fn equals(&self, other: &Value<'_>, fuel: &mut Fuel) -> Result<bool, Fault> {
        if let (Value::Text(one), Value::Text(two)) = (self, other) {
            fuel.burn_text(one.len().min(two.len()))?;
            return Ok(one == two);
        }
        fuel.burn(1)?;
        if let Some(order) = self.compare(other) {
            return Ok(order == Ordering::Equal);
        }
        match (self.count(), other.count()) {
            (None, None) => Ok(matches!((self, other), (Value::Null, Value::Null))),
            (Some(one), Some(two)) if one == two && self.kind() == other.kind() => {
                self.holds_the_same(other, one, fuel)
            }
            _ => Ok(false),
        }
    }

    /// Whether two lists, or two maps, of the same `count` hold the same.
    fn holds_the_same(
        &self,
        other: &Value<'_>,
        count: usize,
        fuel: &mut Fuel,
    ) -> Result<bool, Fault> {
        for place in 0..count {
            let (one, two) = match self.is_list() {
                true => (self.item(place), other.item(place)),
                false => match self.step(place) {
                    Some(key) => (self.under(&key, fuel)?, other.under(&key, fuel)?),
                    None => (None, None),
                },
            };
            match (one, two) {
                (Some(one), Some(two)) if one.equals(&two, fuel)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Whether a list holds a value, or a map has it as a key; `None` if this is neither.
    ///
    /// # Errors
    ///
    /// [`Fault::Exhausted`].
    pub fn holds(&self, value: &Value<'_>, fuel: &mut Fuel) -> Result<Option<bool>, Fault> {
        let Some(count) = self.count() else { return Ok(None) };
        if !self.is_list() {
            return Ok(Some(self.under(value, fuel)?.is_some()));
        }
        if let (Value::Words(words), Value::Text(text)) = (self, value) {
            fuel.burn(count)?;
            return Ok(Some(words.iter().any(|word| word == text)));
        }
        for place in 0..count {
            if let Some(item) = self.item(place)
                && item.equals(value, fuel)?
            {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// Which of two values is the larger, if they can be compared.
    pub fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(one), Value::Bool(two)) => Some(one.cmp(two)),
            (Value::Text(one), Value::Text(two)) => Some(one.cmp(two)),
            (Value::Time(one), Value::Time(two)) => Some(one.cmp(two)),
            (Value::Span(one), Value::Span(two)) => Some(one.cmp(two)),
            (Value::Double(one), two) => one.partial_cmp(&two.as_double()?),
            (one, Value::Double(two)) => one.as_double()?.partial_cmp(two),
            (one, two) => Some(one.as_whole()?.cmp(&two.as_whole()?)),
        }
    }

    /// A number of any kind, as a double.
    pub fn as_double(&self) -> Option<f64> {
        match self {
            Value::Int(whole) => Some(*whole as f64),
            Value::Uint(whole) => Some(*whole as f64),
            Value::Double(number) => Some(*number),
            _ => None,
        }
    }

    /// A whole number of either kind.
    pub fn as_whole(&self) -> Option<i128> {
        match self {
            Value::Int(whole) => Some(i128::from(*whole)),
            Value::Uint(whole) => Some(i128::from(*whole)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        serde_json::from_str(text).unwrap()
    }

    fn equal(one: Value<'_>, two: Value<'_>) -> bool {
        one.equals(&two, &mut Fuel::new(1000)).unwrap()
    }

    #[test]
    fn numbers_of_all_kinds_compare_by_what_they_are() {
        assert!(equal(Value::Int(1), Value::Uint(1)) && equal(Value::Double(1.0), Value::Int(1)));
        assert!(!equal(Value::Int(-1), Value::Uint(u64::MAX)));
        assert_eq!(Value::Int(2).compare(&Value::Double(2.5)), Some(Ordering::Less));
        assert_eq!(Value::Double(f64::NAN).compare(&Value::Int(0)), None);
        assert!(!equal(Value::Double(f64::NAN), Value::Double(f64::NAN)));
    }

    #[test]
    fn lists_and_maps_are_equal_wherever_they_lie() {
        let words = ["a".to_owned(), "b".to_owned()];
        let array = json(r#"["a","b"]"#);
        assert!(equal(Value::Words(&words), Value::of_json(&array)));
        let one = json(r#"{"a":1,"b":[null]}"#);
        let two = json(r#"{"b":[null],"a":1}"#);
        assert!(equal(Value::of_json(&one), Value::of_json(&two)));
        assert!(!equal(Value::of_json(&one), Value::of_json(&array)));
        let other = json(r#"{"b":[0],"a":1}"#);
        assert!(!equal(Value::of_json(&one), Value::of_json(&other)));
    }

    #[test]
    fn goes_back_to_the_json_that_it_came_from() {
        let all = json(r#"{"a":[1,-2,2.5,null,true,"x"],"b":{"c":18446744073709551615}}"#);
        assert_eq!(Value::of_json(&all).to_json(), all);
    }

    #[test]
    fn lists_within_lists_cost_what_looking_at_them_costs() {
        let mut list = Value::Int(1);
        for _ in 0..40 {
            list = Value::List(Rc::new(vec![list.clone(), list]));
        }
        let found = list.equals(&list, &mut Fuel::new(1000));
        assert_eq!(found, Err(Fault::Exhausted));
    }
}
