//! What an import did, or would do.

use serde_json::{Map, Value, json};

use super::import::{Known, Step};
use crate::openapi::{Conversion, Draft};

/// What stands for a secret.
const MASK: &str = "********";

/// Fields, also within lists, whose values are secrets.
const SECRETS: [&str; 7] = [
    "auth",
    "auth_password",
    "auth_token",
    "auth_value",
    "auth_header_value",
    "auth_query_param_value",
    "value",
];

/// The answer to an import, as it grows.
pub struct Report {
    source: String,
    dry_run: bool,
    created: Vec<Value>,
    updated: Vec<Value>,
    unchanged: Vec<Value>,
    removed: Vec<Value>,
    failed: Vec<Value>,
    refused: Vec<Value>,
    filtered_count: usize,
    notes: Vec<Value>,
    tools: Vec<Value>,
}

impl Report {
    /// What is known before anything is done.
    pub fn of(conversion: &Conversion, dry_run: bool) -> Report {
        let refused = conversion.refused.iter();
        let refused = refused
            .map(|refused| json!({"operation": refused.operation, "reason": refused.reason}));
        Report {
            source: conversion.source.clone(),
            dry_run,
            created: Vec::new(),
            updated: Vec::new(),
            unchanged: Vec::new(),
            removed: Vec::new(),
            failed: Vec::new(),
            refused: refused.collect(),
            filtered_count: conversion.filtered.len(),
            notes: Vec::new(),
            tools: Vec::new(),
        }
    }

    /// Notes what was left out of a tool; in a dry run, also shows the tool.
    pub fn show(&mut self, draft: &Draft, fields: &Map<String, Value>) {
        if !draft.notes.is_empty() {
            self.notes.push(json!({"operation": draft.operation, "notes": draft.notes}));
        }
        if self.dry_run {
            self.tools.push(masked(&Value::Object(fields.clone())));
        }
    }

    /// Notes how a step ended.
    pub fn done(
        &mut self,
        operation: &str,
        wish: &Value,
        step: &Step,
        outcome: Result<Value, Value>,
    ) {
        let (list, id, name) = match step {
            Step::Create => (&mut self.created, None, wish.as_str()),
            Step::Update(tool) => (&mut self.updated, Some(&tool.id), Some(tool.name.as_str())),
            Step::Keep(tool) => (&mut self.unchanged, Some(&tool.id), Some(tool.name.as_str())),
        };
        match outcome {
            Ok(answer) => {
                let id = answer["id"].as_str().or(id.map(String::as_str));
                let name = answer["name"].as_str().or(name);
                list.push(json!({"operation": operation, "id": id, "name": name}));
            }
            Err(error) => {
                self.failed.push(json!({"operation": operation, "name": name, "error": error}));
            }
        }
    }

    /// Notes a tool whose operation is gone, and whether it could be deleted if it had to be.
    pub fn gone(&mut self, operation: &str, tool: &Known, outcome: Result<Value, Value>) {
        let (id, name) = (&tool.id, &tool.name);
        match outcome {
            Ok(_) => self.removed.push(json!({"operation": operation, "id": id, "name": name})),
            Err(error) => {
                self.failed.push(json!({"operation": operation, "name": name, "error": error}));
            }
        }
    }

    /// The answer. `pruned` says that what is gone was deleted.
    pub fn finish(self, pruned: bool) -> Value {
        let mut answer = json!({
            "source": self.source,
            "dry_run": self.dry_run,
            "created": self.created,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "pruned": pruned,
            "failed": self.failed,
            "refused": self.refused,
            "filtered_count": self.filtered_count,
            "notes": self.notes,
        });
        if self.dry_run {
            answer["tools"] = Value::Array(self.tools);
        }
        answer
    }
}

/// The fields of a tool without its secrets.
fn masked(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    let fields = map.iter().map(|(key, value)| {
        let shown = match value {
            _ if SECRETS.contains(&key.as_str()) => json!(MASK),
            Value::Array(list) if key == "auth_headers" => list.iter().map(masked).collect(),
            value => value.clone(),
        };
        (key.clone(), shown)
    });
    fields.collect()
}
