//! What a JSON value is made of: the types and the names of fields, and no values but enumerations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Fields whose values are part of the contract.
const ENUMERATIONS: [&str; 8] =
    ["code", "enabled", "integrationType", "isError", "jsonrpc", "status", "success", "visibility"];

/// Fields that hold what the caller gave or what only the operator reads.
const OPAQUE: [&str; 7] =
    ["ctx", "env", "input", "inputSchema", "outputSchema", "input_schema", "settings"];

/// The key under which a shape of several kinds is written.
const EITHER: &str = "|";

/// A shape; of several values that stand in one list, the union.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Shape {
    words: BTreeSet<String>,
    fields: Option<BTreeMap<String, Field>>,
    items: Option<Box<Shape>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    shape: Shape,
    /// Whether every object of the union has it.
    always: bool,
}

impl Shape {
    /// A shape of one word, for what is not JSON.
    pub fn word(word: &str) -> Self {
        Self { words: BTreeSet::from([word.to_owned()]), ..Self::default() }
    }

    /// Reads the shape off a value.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| {
                    let shape = Self::of_field(name, value);
                    (plain(name), Field { shape, always: true })
                });
                Self { fields: Some(fields.collect()), ..Self::default() }
            }
            Value::Array(items) => {
                let items = items.iter().map(Self::of).reduce(Self::union).unwrap_or_default();
                Self { items: Some(Box::new(items)), ..Self::default() }
            }
            scalar => Self::word(kind(scalar)),
        }
    }

    fn of_field(name: &str, value: &Value) -> Self {
        if OPAQUE.contains(&name) {
            return Self::word(kind(value));
        }
        let is_scalar = !(value.is_object() || value.is_array() || value.is_null());
        if is_scalar && ENUMERATIONS.contains(&name) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Self::word(&format!("{}={text}", kind(value)));
        }
        Self::of(value)
    }

    fn union(mut self, other: Self) -> Self {
        self.words.extend(other.words);
        self.items = match (self.items, other.items) {
            (Some(one), Some(two)) => Some(Box::new(one.union(*two))),
            (one, two) => one.or(two),
        };
        self.fields = match (self.fields, other.fields) {
            (Some(one), Some(two)) => Some(union_of_fields(one, two)),
            (one, two) => one.or(two),
        };
        self
    }

    /// The form in which a recording keeps it.
    pub fn to_json(&self) -> Value {
        let mut kinds = Vec::new();
        if !self.words.is_empty() {
            kinds.push(Value::from(self.words_text()));
        }
        if let Some(fields) = &self.fields {
            let fields = fields.iter().map(|(name, field)| {
                let mark = if field.always { "" } else { "?" };
                (format!("{name}{mark}"), field.shape.to_json())
            });
            kinds.push(Value::Object(fields.collect::<Map<_, _>>()));
        }
        if let Some(items) = &self.items {
            kinds.push(if items.is_unknown() { json!([]) } else { json!([items.to_json()]) });
        }
        if kinds.len() == 1 { kinds.remove(0) } else { json!({ EITHER: kinds }) }
    }

    /// Reads what [`Shape::to_json`] wrote.
    pub fn from_json(json: &Value) -> Self {
        match json {
            Value::String(words) => {
                let words = words.split('|').map(str::to_owned).collect();
                Self { words, ..Self::default() }
            }
            Value::Array(items) => {
                let items = items.first().map(Self::from_json).unwrap_or_default();
                Self { items: Some(Box::new(items)), ..Self::default() }
            }
            Value::Object(fields) => match fields.get(EITHER).and_then(Value::as_array) {
                Some(kinds) => kinds.iter().map(Self::from_json).fold(Self::default(), Self::union),
                None => Self { fields: Some(fields_from_json(fields)), ..Self::default() },
            },
            other => panic!("no shape: {other}"),
        }
    }

    fn words_text(&self) -> String {
        self.words.iter().cloned().collect::<Vec<_>>().join("|")
    }

    /// Whether nothing is known of it: what an empty list holds.
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `null` is all that was seen.
    fn is_null(&self) -> bool {
        self.fields.is_none() && self.items.is_none() && self.words.iter().eq(["null"])
    }

    /// Says where `ours` is not what a reader of `theirs` expects, a line for each place.
    ///
    /// A null, an empty list and a field that only some objects have say nothing of what may stand
    /// there; an integer is a number.
    pub fn differences(&self, ours: &Self, at: &str, into: &mut Vec<String>) {
        if self.is_unknown() || self.is_null() {
            return;
        }
        if self.kinds() != ours.kinds() && !ours.fits(self) {
            into.push(format!("{at}: {} -> {}", self.outline(), ours.outline()));
        }
        if let (Some(theirs), Some(ours)) = (&self.fields, &ours.fields) {
            differences_of_fields(theirs, ours, at, into);
        }
        if let (Some(theirs), Some(ours)) = (&self.items, &ours.items) {
            if ours.is_unknown() && !theirs.is_unknown() {
                into.push(format!("{at}[]: none"));
            } else {
                theirs.differences(ours, &format!("{at}[]"), into);
            }
        }
    }

    /// Whether every kind of value that this has is one that `wide` has.
    fn fits(&self, wide: &Self) -> bool {
        let known = wide.kinds();
        let is_number = |word: &String| word == "integer" && known.contains("number");
        self.kinds().iter().all(|word| known.contains(word) || is_number(word))
    }

    fn kinds(&self) -> BTreeSet<String> {
        let mut kinds = self.words.clone();
        kinds.extend(self.fields.is_some().then(|| "object".to_owned()));
        kinds.extend(self.items.is_some().then(|| "array".to_owned()));
        kinds
    }

    fn outline(&self) -> String {
        self.kinds().into_iter().collect::<Vec<_>>().join("|")
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The name of a field; ids as names of fields differ from run to run.
fn plain(name: &str) -> String {
    let is_id = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { "<id>".to_owned() } else { name.to_owned() }
}

fn union_of_fields(
    mut one: BTreeMap<String, Field>,
    two: BTreeMap<String, Field>,
) -> BTreeMap<String, Field> {
    for (name, field) in &mut one {
        field.always &= two.get(name).is_some_and(|field| field.always);
    }
    for (name, field) in two {
        match one.remove(&name) {
            Some(known) => {
                let shape = known.shape.union(field.shape);
                one.insert(name, Field { shape, always: known.always });
            }
            None => {
                one.insert(name, Field { always: false, ..field });
            }
        }
    }
    one
}

fn fields_from_json(fields: &Map<String, Value>) -> BTreeMap<String, Field> {
    let fields = fields.iter().map(|(name, json)| {
        let shape = Shape::from_json(json);
        match name.strip_suffix('?') {
            Some(name) => (name.to_owned(), Field { shape, always: false }),
            None => (name.clone(), Field { shape, always: true }),
        }
    });
    fields.collect()
}

fn differences_of_fields(
    theirs: &BTreeMap<String, Field>,
    ours: &BTreeMap<String, Field>,
    at: &str,
    into: &mut Vec<String>,
) {
    for (name, field) in theirs {
        let at = format!("{at}.{name}");
        match ours.get(name) {
            Some(our) => {
                if field.always && !our.always {
                    into.push(format!("{at}: missing at times"));
                }
                field.shape.differences(&our.shape, &at, into);
            }
            None if field.always => into.push(format!("{at}: missing")),
            None => {}
        }
    }
    let extra = ours.keys().filter(|name| !theirs.contains_key(*name));
    into.extend(extra.map(|name| format!("{at}.{name}: extra")));
}

#[test]
fn a_shape_is_written_and_read_back_the_same() {
    let value = json!([
        { "id": "x", "count": 1, "status": "ok", "list": [], "deep": [{ "a": null }, { "a": 1.5 }] },
        { "id": null, "settings": { "a": 1 }, "0123456789abcdef0123456789abcdef": true },
        "text",
    ]);
    let shape = Shape::of(&value);
    let written = shape.to_json();
    assert_eq!(Shape::from_json(&written), shape);
    let expected = json!([{ "|": ["string", {
        "<id>?": "boolean",
        "count?": "integer",
        "deep?": [{ "a": "null|number" }],
        "id": "null|string",
        "list?": [],
        "settings?": "object",
        "status?": "string=ok",
    }] }]);
    assert_eq!(written, expected);
}

#[test]
fn names_every_place_where_a_shape_differs() {
    let differences = |theirs: Value, ours: Value| {
        let mut found = Vec::new();
        Shape::of(&theirs).differences(&Shape::of(&ours), "body", &mut found);
        found
    };
    let theirs = json!({ "a": 1, "b": null, "c": [{ "d": "x" }], "e": 1.5, "status": "ok" });
    let same = json!({ "a": 2, "b": "x", "c": [{ "d": "y" }], "e": 1, "status": "ok" });
    assert_eq!(differences(theirs.clone(), same), Vec::<String>::new());
    let other = json!({ "a": "x", "c": [{ "d": "x" }, {}], "e": 1, "f": 1, "status": "no" });
    let expected = [
        "body.a: integer -> string",
        "body.b: missing",
        "body.c[].d: missing at times",
        "body.status: string=ok -> string=no",
        "body.f: extra",
    ];
    assert_eq!(differences(theirs.clone(), other), expected);
    let short = json!({ "a": 1, "b": 1, "c": [], "e": 1, "status": "ok" });
    assert_eq!(differences(theirs, short), ["body.c[]: none"]);
}
