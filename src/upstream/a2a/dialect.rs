//! The two dialects of A2A: that of the revisions before 1.0, and that of 1.0.
//!
//! Both carry the same meaning. Before 1.0 methods are called `message/send` and every part says its
//! `kind`; since 1.0 they are called `SendMessage` and a part is told by the field that it has.

use serde_json::{Map, Value, json};

/// Methods as 1.0 and as the revisions before it call them. The first name of a method is the one
/// that is written.
const METHODS: [(&str, &str); 12] = [
    ("SendMessage", "message/send"),
    ("SendStreamingMessage", "message/stream"),
    ("GetTask", "tasks/get"),
    ("ListTasks", "tasks/list"),
    ("CancelTask", "tasks/cancel"),
    ("SubscribeToTask", "tasks/resubscribe"),
    ("CreateTaskPushNotificationConfig", "tasks/pushNotificationConfig/set"),
    ("GetTaskPushNotificationConfig", "tasks/pushNotificationConfig/get"),
    ("ListTaskPushNotificationConfigs", "tasks/pushNotificationConfig/list"),
    ("DeleteTaskPushNotificationConfig", "tasks/pushNotificationConfig/delete"),
    ("GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard"),
    ("GetExtendedAgentCard", "agent/getExtendedCard"),
];

/// A dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Of 0.2 and 0.3.
    Early,
    /// Of 1.0.
    One,
}

impl Dialect {
    /// The dialect of a revision such as `1.0` or `v0.3.0`; one that says nothing means 1.0.
    pub fn of(version: &str) -> Dialect {
        let digits = version.trim().trim_start_matches(['v', 'V']);
        match digits.split('.').next().unwrap_or_default().parse::<u32>() {
            Ok(0) => Dialect::Early,
            _ => Dialect::One,
        }
    }

    /// The other one.
    pub fn other(self) -> Dialect {
        match self {
            Dialect::Early => Dialect::One,
            Dialect::One => Dialect::Early,
        }
    }

    /// What a method is called here; one that is not known stays as it is.
    pub fn method(self, method: &str) -> &str {
        let found = METHODS.iter().find(|(one, early)| *one == method || *early == method);
        match (found, self) {
            (None, _) => method,
            (Some((one, _)), Dialect::One) => one,
            (Some((_, early)), Dialect::Early) => early,
        }
    }

    /// The parameters of a request as they are written here.
    pub fn params(self, params: &mut Value) {
        if let Some(message) = params.get_mut("message").and_then(Value::as_object_mut) {
            self.message(message);
        }
    }

    /// A message of a user that says `text`.
    pub fn user_message(self, text: &str, id: &str) -> Value {
        let mut message = json!({"messageId": id, "role": "user", "parts": [{"text": text}]});
        if let Some(message) = message.as_object_mut() {
            self.message(message);
        }
        message
    }

    fn message(self, message: &mut Map<String, Value>) {
        match self {
            Dialect::One => {
                message.remove("kind");
            }
            Dialect::Early => {
                message.entry("kind").or_insert_with(|| json!("message"));
            }
        }
        if let Some(role) = message.get("role").and_then(Value::as_str) {
            let plain = role.trim_start_matches("ROLE_").to_ascii_lowercase();
            let role = match self {
                Dialect::One => format!("ROLE_{}", plain.to_ascii_uppercase()),
                Dialect::Early => plain,
            };
            message.insert("role".to_owned(), json!(role));
        }
        let parts = message.get_mut("parts").and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten().filter_map(Value::as_object_mut) {
            self.part(part);
        }
    }

    fn part(self, part: &mut Map<String, Value>) {
        match self {
            Dialect::One => {
                part.remove("kind");
                part.remove("type");
                if let Some(Value::Object(file)) = part.remove("file") {
                    rename(file, part, &FILE_NAMES.map(|(early, one)| (early, one)));
                }
            }
            Dialect::Early => {
                let is_file = part.contains_key("raw") || part.contains_key("url");
                if is_file {
                    let mut file = Map::new();
                    let named = std::mem::take(part);
                    rename(named, &mut file, &FILE_NAMES.map(|(early, one)| (one, early)));
                    part.insert("file".to_owned(), Value::Object(file));
                }
                let kind =
                    ["text", "data", "file"].into_iter().find(|kind| part.contains_key(*kind));
                if let Some(kind) = kind {
                    part.insert("kind".to_owned(), json!(kind));
                }
            }
        }
    }
}

/// The fields of a file, before 1.0 and since.
const FILE_NAMES: [(&str, &str); 4] =
    [("bytes", "raw"), ("uri", "url"), ("mimeType", "mediaType"), ("name", "filename")];

/// Moves the fields of `from` into `to`, those that have another name there under it.
fn rename(from: Map<String, Value>, to: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (key, value) in from {
        let name = names.iter().find(|(name, _)| *name == key).map_or(&*key, |(_, name)| name);
        to.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_have_their_dialect() {
        for (version, expected) in [
            ("1.0", Dialect::One),
            ("v1", Dialect::One),
            ("2.1", Dialect::One),
            ("", Dialect::One),
            ("0.3", Dialect::Early),
            ("0.2.6", Dialect::Early),
            ("V0.3.0", Dialect::Early),
        ] {
            assert_eq!(Dialect::of(version), expected, "{version}");
        }
    }

    #[test]
    fn methods_are_called_by_the_name_of_the_dialect() {
        assert_eq!(Dialect::One.method("message/send"), "SendMessage");
        assert_eq!(Dialect::One.method("SendMessage"), "SendMessage");
        assert_eq!(Dialect::Early.method("GetTask"), "tasks/get");
        assert_eq!(
            Dialect::Early.method("GetExtendedAgentCard"),
            "agent/getAuthenticatedExtendedCard"
        );
        assert_eq!(Dialect::Early.method("own/thing"), "own/thing");
    }

    #[test]
    fn a_message_goes_into_the_other_dialect_and_back_unchanged() {
        let early = json!({"message": {
            "kind": "message", "messageId": "1", "role": "user", "contextId": "c",
            "parts": [
                {"text": "hi", "kind": "text"},
                {"data": {"a": [1]}, "kind": "data"},
                {"file": {"bytes": "AA==", "mimeType": "image/png", "name": "a.png"}, "kind": "file"},
            ],
        }, "configuration": {"blocking": true}});
        let one = json!({"message": {
            "messageId": "1", "role": "ROLE_USER", "contextId": "c",
            "parts": [
                {"text": "hi"},
                {"data": {"a": [1]}},
                {"raw": "AA==", "mediaType": "image/png", "filename": "a.png"},
            ],
        }, "configuration": {"blocking": true}});
        let mut params = early.clone();
        Dialect::One.params(&mut params);
        assert_eq!(params, one);
        Dialect::One.params(&mut params);
        assert_eq!(params, one, "what is in the dialect stays");
        Dialect::Early.params(&mut params);
        assert_eq!(params, early);
    }
}
