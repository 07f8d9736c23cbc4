//! What ContextForge answered, as a file: a line for each call.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::script::Outcome;
use super::shape::Shape;
use crate::harness::tools::tests_folder;

/// The outcome of every call of the script, in its order.
pub struct Recording {
    /// The release that answered.
    pub version: String,
    pub outcomes: Vec<Outcome>,
}

impl Recording {
    /// Reads the recording that the tests keep.
    pub fn read() -> Self {
        let json: Value = serde_json::from_str(include_str!("../../compat/recording.json"))
            .expect("the recording is JSON");
        let version = json["contextforge"].as_str().expect("a version").to_owned();
        let calls = json["calls"].as_object().expect("the calls");
        let outcomes = calls.iter().map(|(call, json)| Outcome {
            call: call.clone(),
            status: serde_json::from_value(json["status"].clone()).expect("a status"),
            headers: serde_json::from_value(json["headers"].clone()).expect("names of headers"),
            body: Shape::from_json(&json["body"]),
        });
        Self { version, outcomes: outcomes.collect() }
    }

    /// Writes it in the place of the one that the tests keep.
    pub fn write(&self) {
        let mut text = format!("{{\n\"contextforge\": {},\n\"calls\": {{\n", json!(self.version));
        for (index, outcome) in self.outcomes.iter().enumerate() {
            let Outcome { call, status, headers, body } = outcome;
            let line = json!({ "status": status, "headers": headers, "body": body.to_json() });
            let comma = if index + 1 == self.outcomes.len() { "" } else { "," };
            writeln!(text, "{}: {line}{comma}", json!(call)).expect("a String takes all");
        }
        text.push_str("}\n}\n");
        let path = tests_folder().join("compat/recording.json");
        std::fs::write(path, text).expect("the recording can be written");
    }
}
