//! What an agent answered, made into the result of a tool.
//!
//! Text stays text, data becomes structured content beside its text, and a file an image, a sound or
//! a resource. Of a task its artifacts are shown, or else what its status says.

use serde_json::{Map, Value, json};

/// Most parts of an answer that are shown.
const PART_COUNT_MAX: usize = 1000;

/// What a call of A2A came to.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome<'a> {
    /// An error of JSON-RPC: its code and what it says.
    Error(i64, String),
    /// A message.
    Message(&'a Map<String, Value>),
    /// A task.
    Task(&'a Map<String, Value>),
    /// Something else.
    Other(&'a Value),
}

impl<'a> Outcome<'a> {
    /// Reads an answer of JSON-RPC, of either dialect.
    pub(super) fn of(answer: &'a Value) -> Outcome<'a> {
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            let text = error.get("message").and_then(Value::as_str).unwrap_or("no message");
            let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
            return Outcome::Error(code, text.to_owned());
        }
        let result = answer.get("result").unwrap_or(answer);
        let object = |name: &str| result.get(name).and_then(Value::as_object);
        if let Some(task) = object("task") {
            return Outcome::Task(task);
        }
        if let Some(message) = object("message") {
            return Outcome::Message(message);
        }
        match result.as_object() {
            Some(own) if own.get("status").is_some_and(Value::is_object) => Outcome::Task(own),
            Some(own) if own.get("parts").is_some_and(Value::is_array) => Outcome::Message(own),
            _ => Outcome::Other(result),
        }
    }
}

/// The id of a task that is not finished and waits for nobody.
pub(super) fn running(task: &Map<String, Value>) -> Option<&str> {
    let is_running = matches!(&*state(task), "submitted" | "working");
    task.get("id").and_then(Value::as_str).filter(|_| is_running)
}

/// The state of a task, as the revisions before 1.0 write it: `input-required`.
fn state(task: &Map<String, Value>) -> String {
    let status = task.get("status");
    let state = status.and_then(|status| status.get("state").unwrap_or(status).as_str());
    let state = state.unwrap_or("unknown").trim_start_matches("TASK_STATE_");
    state.to_ascii_lowercase().replace('_', "-")
}

/// The result of a call of A2A; `slug` names the agent.
pub(super) fn result(answer: &Value, slug: &str) -> Vec<u8> {
    let mut content = Content { slug, items: Vec::new(), data: Vec::new() };
    let mut is_error = false;
    match Outcome::of(answer) {
        Outcome::Error(code, text) => {
            return error(&format!("The agent answered error {code}: {text}"));
        }
        Outcome::Message(message) => content.add_parts(message),
        Outcome::Task(task) => {
            is_error = content.add_task(task);
        }
        Outcome::Other(other) => content.add_value(other),
    }
    content.write(is_error)
}

/// The result of a call of an agent with an API of its own: the text of its `response`, or the whole
/// answer.
pub(super) fn custom_result(answer: &Value, slug: &str) -> Vec<u8> {
    let mut content = Content { slug, items: Vec::new(), data: Vec::new() };
    content.add_value(answer.get("response").unwrap_or(answer));
    content.write(false)
}

/// The result of a call that failed.
pub(super) fn error(text: &str) -> Vec<u8> {
    let result = json!({"content": [{"type": "text", "text": text}], "isError": true});
    result.to_string().into_bytes()
}

/// The content of a result in the making.
struct Content<'a> {
    slug: &'a str,
    items: Vec<Value>,
    data: Vec<Value>,
}

impl Content<'_> {
    /// Adds what a task has to show; returns whether it failed.
    fn add_task(&mut self, task: &Map<String, Value>) -> bool {
        let artifacts = task.get("artifacts").and_then(Value::as_array);
        for artifact in artifacts.into_iter().flatten().filter_map(Value::as_object) {
            self.add_parts(artifact);
        }
        let state = state(task);
        let status = task.get("status").and_then(|status| status.get("message"));
        if (self.items.is_empty() || state != "completed")
            && let Some(message) = status.and_then(Value::as_object)
        {
            self.add_parts(message);
        }
        if self.items.is_empty() && state == "completed" {
            let is_agent = |message: &&Map<String, Value>| {
                message
                    .get("role")
                    .and_then(Value::as_str)
                    .is_some_and(|role| role.to_ascii_lowercase().ends_with("agent"))
            };
            let history = task.get("history").and_then(Value::as_array);
            let mut messages = history.into_iter().flatten().filter_map(Value::as_object);
            if let Some(last) = messages.rfind(is_agent) {
                self.add_parts(last);
            }
        }
        if state != "completed" || self.items.is_empty() {
            let id = task.get("id").and_then(Value::as_str).unwrap_or("without an id");
            self.add_text(&format!("Task {id} is {state}."));
        }
        matches!(&*state, "failed" | "rejected" | "canceled" | "cancelled")
    }

    fn add_parts(&mut self, holder: &Map<String, Value>) {
        let parts = holder.get("parts").and_then(Value::as_array);
        for part in parts.into_iter().flatten().filter_map(Value::as_object) {
            if self.items.len() >= PART_COUNT_MAX {
                return;
            }
            self.add_part(part);
        }
    }

    fn add_part(&mut self, part: &Map<String, Value>) {
        let own = part.get("file").and_then(Value::as_object).unwrap_or(part);
        let field = |names: [&str; 3]| names.iter().find_map(|name| own.get(*name)?.as_str());
        let media = field(["mimeType", "mediaType", "mime_type"]);
        let name = field(["name", "filename", "fileName"]);
        if let Some(text) = part.get("text").and_then(Value::as_str) {
            self.add_text(text);
        } else if let Some(data) = part.get("data") {
            self.add_value(data);
        } else if let Some(bytes) = field(["bytes", "raw", "fileWithBytes"]) {
            self.add_file(bytes, media, name);
        } else if let Some(uri) = field(["uri", "url", "fileWithUri"]) {
            let mut link =
                json!({"type": "resource_link", "uri": uri, "name": name.unwrap_or(uri)});
            if let Some(media) = media {
                link["mimeType"] = json!(media);
            }
            self.items.push(link);
        }
    }

    /// Adds a file, whose bytes are in base64 already.
    fn add_file(&mut self, bytes: &str, media: Option<&str>, name: Option<&str>) {
        let media = media.unwrap_or("application/octet-stream");
        let kind = ["image", "audio"]
            .into_iter()
            .find(|kind| media.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/')));
        self.items.push(match kind {
            Some(kind) => json!({"type": kind, "data": bytes, "mimeType": media}),
            None => {
                let number = (self.items.len() + 1).to_string();
                let mut uri = format!("ringway://agents/{}/", self.slug);
                crate::catalog::rest_tool::encode(&mut uri, name.unwrap_or(&number));
                json!({"type": "resource",
                    "resource": {"uri": uri, "mimeType": media, "blob": bytes}})
            }
        });
    }

    /// Adds a value: a string as text, anything else as its JSON and as structure.
    fn add_value(&mut self, value: &Value) {
        match value.as_str() {
            Some(text) => self.add_text(text),
            None => {
                self.add_text(&value.to_string());
                self.data.push(value.clone());
            }
        }
    }

    fn add_text(&mut self, text: &str) {
        self.items.push(json!({"type": "text", "text": text}));
    }

    fn write(mut self, is_error: bool) -> Vec<u8> {
        if self.items.is_empty() {
            self.add_text("");
        }
        let mut result = json!({"content": self.items});
        // Structure is one object: several are its list.
        match &mut *self.data {
            [] => {}
            [only @ Value::Object(_)] => result["structuredContent"] = only.take(),
            _ => result["structuredContent"] = json!({"data": self.data}),
        }
        result["isError"] = json!(is_error);
        result.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(answer: Value) -> Value {
        serde_json::from_slice(&result(&answer, "helper")).unwrap()
    }

    #[test]
    fn the_parts_of_a_message_keep_their_kinds_in_both_dialects() {
        let early = json!({"result": {"kind": "message", "role": "agent", "parts": [
            {"kind": "text", "text": "hi"}, {"kind": "data", "data": {"a": 1}},
            {"kind": "file", "file": {"bytes": "AA==", "mimeType": "image/png"}},
            {"kind": "file", "file": {"bytes": "AA==", "name": "a b.bin"}},
            {"kind": "file", "file": {"uri": "https://x.example/f", "mimeType": "text/plain"}},
        ]}});
        let one = json!({"result": {"message": {"role": "ROLE_AGENT", "parts": [
            {"text": "hi"}, {"data": {"a": 1}}, {"raw": "AA==", "mediaType": "image/png"},
            {"raw": "AA==", "filename": "a b.bin"},
            {"url": "https://x.example/f", "mediaType": "text/plain"},
        ]}}});
        let blob = json!({"uri": "ringway://agents/helper/a%20b.bin",
            "mimeType": "application/octet-stream", "blob": "AA=="});
        let expected = json!({"content": [
            {"type": "text", "text": "hi"}, {"type": "text", "text": "{\"a\":1}"},
            {"type": "image", "data": "AA==", "mimeType": "image/png"},
            {"type": "resource", "resource": blob},
            {"type": "resource_link", "uri": "https://x.example/f", "name": "https://x.example/f",
             "mimeType": "text/plain"},
        ], "structuredContent": {"a": 1}, "isError": false});
        assert_eq!(shown(early), expected);
        assert_eq!(shown(one), expected);
    }

    #[test]
    fn a_task_shows_its_artifacts_and_else_what_its_status_says() {
        let artifact = json!([{"parts": [{"text": "done"}]}]);
        let status = |state: &str| json!({"state": state, "message": {"parts": [{"text": "why"}]}});
        let task = |state: &str, artifacts: &Value| {
            shown(json!({"result": {"id": "7", "status": status(state), "artifacts": artifacts}}))
        };
        let text = |value: &Value| {
            let items = value["content"].as_array().unwrap();
            items.iter().map(|item| item["text"].as_str().unwrap()).collect::<Vec<_>>().join("|")
        };
        assert_eq!(text(&task("completed", &artifact)), "done");
        assert_eq!(text(&task("completed", &json!([]))), "why");
        let failed = task("TASK_STATE_FAILED", &json!([]));
        assert_eq!(
            (text(&failed), &failed["isError"]),
            ("why|Task 7 is failed.".into(), &json!(true))
        );
        let asks = task("input-required", &json!([]));
        assert_eq!(text(&asks), "why|Task 7 is input-required.");
        assert_eq!(asks["isError"], false);
        let history = json!({"result": {"id": "7", "status": {"state": "completed"}, "history": [
            {"role": "user", "parts": [{"text": "q"}]}, {"role": "agent", "parts": [{"text": "a"}]}]}});
        assert_eq!(text(&shown(history)), "a");
    }

    #[test]
    fn only_a_task_that_works_is_asked_for_again() {
        let task = |state: &str| json!({"id": "7", "status": {"state": state}});
        for (state, is_running) in [
            ("submitted", true),
            ("TASK_STATE_WORKING", true),
            ("completed", false),
            ("TASK_STATE_INPUT_REQUIRED", false),
            ("auth_required", false),
            ("what", false),
        ] {
            let task = task(state);
            let found = running(task.as_object().unwrap());
            assert_eq!(found.is_some(), is_running, "{state}");
        }
    }

    #[test]
    fn errors_and_answers_of_other_shapes_are_told() {
        let got = shown(json!({"error": {"code": -32001, "message": "no such task"}}));
        assert_eq!(got["isError"], true);
        assert_eq!(got["content"][0]["text"], "The agent answered error -32001: no such task");
        assert_eq!(shown(json!({"result": "plain"}))["content"][0]["text"], "plain");
        let list = shown(json!({"result": [1, 2]}));
        assert_eq!(list["structuredContent"], json!({"data": [[1, 2]]}));
        let custom = |answer: Value| -> Value {
            serde_json::from_slice(&custom_result(&answer, "x")).unwrap()
        };
        assert_eq!(custom(json!({"response": "yes"}))["content"][0]["text"], "yes");
        assert_eq!(custom(json!({"a": 1}))["structuredContent"], json!({"a": 1}));
    }
}
