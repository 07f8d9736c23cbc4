//! The kinds of entries that a file may list, and how the REST API has each.

use serde_json::{Value, json};

use crate::cli::client::{Client, ClientError};

/// A kind of entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its list in a file.
    pub name: &'static str,
    /// One of it, in sentences.
    pub word: &'static str,
    /// The path of its collection.
    pub path: &'static str,
    /// The key of the list in a page; `None` if the whole list is the answer.
    pub page_key: Option<&'static str>,
    /// The key under which a new one is wrapped.
    pub wrapper: Option<&'static str>,
    /// The field by which a file names it.
    pub key: &'static str,
    /// The fields of the registry that may hold that name.
    pub names: &'static [&'static str],
    /// The fields that the API never shows, which therefore cannot be compared.
    pub opaque: &'static [&'static str],
}

const SECRETS: &[&str] = &[
    "auth",
    "auth_value",
    "auth_username",
    "auth_password",
    "auth_token",
    "auth_header_key",
    "auth_header_value",
    "auth_headers",
    "auth_query_param_key",
    "auth_query_param_value",
    "oauth_config",
    "env",
    "headers",
];

/// Every kind, in the order in which they may refer to each other.
pub const KINDS: [Kind; 8] = [
    Kind {
        name: "gateways",
        word: "gateway",
        path: "/gateways",
        page_key: Some("gateways"),
        wrapper: None,
        key: "name",
        names: &["name"],
        opaque: SECRETS,
    },
    Kind {
        name: "a2a_agents",
        word: "agent",
        path: "/a2a",
        page_key: Some("agents"),
        wrapper: Some("agent"),
        key: "name",
        names: &["name"],
        opaque: SECRETS,
    },
    Kind {
        name: "tools",
        word: "tool",
        path: "/tools",
        page_key: Some("tools"),
        wrapper: Some("tool"),
        key: "name",
        names: &["name", "originalName", "customName"],
        opaque: SECRETS,
    },
    Kind {
        name: "resources",
        word: "resource",
        path: "/resources",
        page_key: Some("resources"),
        wrapper: Some("resource"),
        key: "uri",
        names: &["uri"],
        opaque: &["content", "blob"],
    },
    Kind {
        name: "prompts",
        word: "prompt",
        path: "/prompts",
        page_key: Some("prompts"),
        wrapper: Some("prompt"),
        key: "name",
        names: &["name", "originalName", "customName"],
        opaque: &[],
    },
    Kind {
        name: "roots",
        word: "root",
        path: "/roots",
        page_key: None,
        wrapper: None,
        key: "uri",
        names: &["uri"],
        opaque: &[],
    },
    Kind {
        name: "servers",
        word: "server",
        path: "/servers",
        page_key: Some("servers"),
        wrapper: Some("server"),
        key: "name",
        names: &["name"],
        opaque: &[],
    },
    Kind {
        name: "policies",
        word: "policy",
        path: "/policies",
        page_key: None,
        wrapper: None,
        key: "name",
        names: &["name"],
        opaque: &[],
    },
];

impl Kind {
    /// The kind that a file calls `name`; `agents` is understood too.
    pub fn find(name: &str) -> Option<&'static Kind> {
        let name = if name == "agents" { "a2a_agents" } else { name };
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// Reads all that the registry has of it, switched off or not.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub fn list(&self, client: &Client) -> Result<Vec<Value>, ClientError> {
        match self.page_key {
            Some(key) => client.list_at(self.path, key, "include_inactive=true&"),
            None => match client.get(self.path)? {
                Value::Array(entries) => Ok(entries),
                _ => Ok(Vec::new()),
            },
        }
    }

    /// The entry of the registry that a file calls `name`: the first field that fits wins.
    pub fn find_in<'a>(&self, entries: &'a [Value], name: &str) -> Option<&'a Value> {
        let called = |field: &str| entries.iter().find(|entry| entry[field] == name);
        self.names.iter().find_map(|field| called(field))
    }

    /// The path of an entry of the registry.
    pub fn path_of(&self, entry: &Value) -> String {
        let id = match entry["id"].as_str() {
            Some(id) => id.to_owned(),
            // A root has no id to be asked by.
            None => encoded(entry["uri"].as_str().unwrap_or_default()),
        };
        format!("{}/{id}", self.path)
    }

    /// The body that makes a new entry of these fields.
    pub fn wrapped(&self, fields: &Value) -> Value {
        match self.wrapper {
            Some(key) => {
                let mut body = json!({ key: fields });
                // Beside the entry is where the contract looks for these.
                for name in ["team_id", "visibility"] {
                    if let Some(value) = fields.get(name) {
                        body[name] = value.clone();
                    }
                }
                body
            }
            None => fields.clone(),
        }
    }

    /// Whether people made the entry, and not an upstream or an agent.
    pub fn is_made_by_hand(&self, entry: &Value) -> bool {
        match self.name {
            "tools" => entry["integrationType"] == "REST",
            "resources" | "prompts" => entry["gatewayId"].is_null(),
            _ => true,
        }
    }
}

/// A URI as one segment of a path.
fn encoded(uri: &str) -> String {
    let mut text = String::with_capacity(uri.len());
    for byte in uri.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_name_of_a_tool_wins_over_the_name_that_its_upstream_gave_it() {
        let tools = Kind::find("tools").unwrap();
        let entries = [
            json!({"id": "1", "name": "a-b", "originalName": "b"}),
            json!({"id": "2", "name": "b", "originalName": "c"}),
        ];
        assert_eq!(tools.find_in(&entries, "b").unwrap()["id"], "2");
        assert_eq!(tools.find_in(&entries, "c").unwrap()["id"], "2");
        assert!(tools.find_in(&entries, "d").is_none());
    }

    #[test]
    fn visibility_and_team_stand_beside_what_is_wrapped() {
        let server = Kind::find("servers").unwrap();
        let body = server.wrapped(&json!({"name": "s", "visibility": "team", "team_id": "t"}));
        assert_eq!(body["server"]["name"], "s");
        assert_eq!((&body["visibility"], &body["team_id"]), (&json!("team"), &json!("t")));
    }

    #[test]
    fn a_uri_is_one_segment_of_a_path() {
        let root = Kind::find("roots").unwrap();
        assert_eq!(root.path_of(&json!({"uri": "file:///a b"})), "/roots/file%3A%2F%2F%2Fa%20b");
    }
}
