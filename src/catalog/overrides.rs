//! What a virtual server calls tools, and says of them, otherwise than the registry.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// Another name and description of one tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The name that clients of the server call; `None` for the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The description that they read; `None` for the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The overrides of one virtual server, by the id of the tool.
#[derive(Debug, Clone, Default)]
pub struct Overrides(HashMap<String, Override>);

impl Overrides {
    /// Reads stored overrides; what cannot be read overrides nothing.
    pub fn read(stored: Option<&str>) -> Overrides {
        let read = |text| serde_json::from_str(text).unwrap_or_default();
        Overrides(stored.map(read).unwrap_or_default())
    }

    /// The text that is stored; `None` for no overrides.
    pub fn write(overrides: &BTreeMap<String, Override>) -> Option<String> {
        let text = || serde_json::to_string(overrides).expect("texts by text keys are JSON");
        (!overrides.is_empty()).then(text)
    }

    /// Another name of a tool.
    pub fn name(&self, tool_id: &str) -> Option<&str> {
        self.0.get(tool_id)?.name.as_deref()
    }

    /// Another description of a tool.
    pub fn description(&self, tool_id: &str) -> Option<&str> {
        self.0.get(tool_id)?.description.as_deref()
    }

    /// Every override, in the order of ids.
    pub fn sorted(&self) -> BTreeMap<String, Override> {
        self.0.clone().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let one = Override { name: Some("n".to_owned()), description: None };
        let written = Overrides::write(&BTreeMap::from([("t".to_owned(), one.clone())]));
        assert_eq!(written.as_deref(), Some(r#"{"t":{"name":"n"}}"#));
        let read = Overrides::read(written.as_deref());
        assert_eq!(
            (read.name("t"), read.description("t"), read.name("u")),
            (Some("n"), None, None)
        );
        assert_eq!(read.sorted(), BTreeMap::from([("t".to_owned(), one)]));
        assert_eq!(Overrides::write(&BTreeMap::new()), None);
        assert_eq!(Overrides::read(Some("nonsense")).name("t"), None);
    }
}
