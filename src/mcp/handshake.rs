//! What the gateway says of itself: `initialize` for legacy clients, `server/discover` for modern
//! ones. Neither costs an upstream anything.

use serde_json::{Map, Value, json};
use storage::record::{Era, Gateway};

use crate::{
    catalog::{Catalog, Seen},
    mcp::{LEGACY, MODERN, ServerInfo},
};

/// What an endpoint offers, in the words of the handshake.
pub struct Offer {
    capabilities: Map<String, Value>,
    /// The extensions of upstreams of the stateless revision, which are relayed as they are.
    extensions: Map<String, Value>,
    instructions: Option<String>,
    server: ServerInfo,
}

/// The longest instructions that are handed on, in bytes: they stand in the model's context.
const INSTRUCTIONS_SIZE_MAX: usize = 16 * 1024;

impl Offer {
    /// Sums up an endpoint: capabilities are those that its upstreams have and the gateway can
    /// deliver; instructions are theirs, under their names if there are several.
    pub fn of(catalog: &Catalog, seen: Seen<'_>, server: ServerInfo) -> Offer {
        let mut upstream_ids: Vec<&str> = Vec::new();
        for id in seen.upstream_ids() {
            if let Err(place) = upstream_ids.binary_search(&id) {
                upstream_ids.insert(place, id);
            }
        }
        let records: Vec<_> = upstream_ids
            .iter()
            .filter_map(|id| catalog.upstream(id))
            .map(|up| &up.record)
            .collect();
        let completions = records.iter().any(|record| {
            let text = record.capabilities.as_deref().unwrap_or("{}");
            serde_json::from_str::<Value>(text)
                .is_ok_and(|value| value.get("completions").is_some())
        });
        let extensions = records.iter().filter(|record| record.era == Some(Era::Modern));
        let extensions = extensions.filter_map(|record| extensions_of(record)).flatten().collect();
        let mut capabilities = Map::new();
        capabilities.insert("tools".to_owned(), json!({}));
        if seen.has_resources() {
            capabilities.insert("resources".to_owned(), json!({}));
        }
        if seen.has_prompts() {
            capabilities.insert("prompts".to_owned(), json!({}));
        }
        if completions {
            capabilities.insert("completions".to_owned(), json!({}));
        }
        let several = records.len() > 1;
        let texts = records.iter().filter_map(|record| {
            let text = record.instructions.as_deref().filter(|text| !text.is_empty())?;
            Some(if several { format!("# {}\n\n{text}", record.name) } else { text.to_owned() })
        });
        let instructions = texts.collect::<Vec<_>>().join("\n\n");
        let instructions = Some(instructions)
            .filter(|text| !text.is_empty() && text.len() <= INSTRUCTIONS_SIZE_MAX);
        Offer { capabilities, extensions, instructions, server }
    }

    /// The same for a client that has a stream by which it can be told of changes; `subscribes` says
    /// whether that of a single resource is known too.
    pub fn with_changes(mut self, subscribes: bool) -> Offer {
        for (name, capability) in &mut self.capabilities {
            match (name.as_str(), capability) {
                ("tools" | "prompts", Value::Object(tells)) => {
                    tells.insert("listChanged".to_owned(), true.into());
                }
                ("resources", Value::Object(tells)) => {
                    tells.insert("listChanged".to_owned(), true.into());
                    if subscribes {
                        tells.insert("subscribe".to_owned(), true.into());
                    }
                }
                _ => {}
            }
        }
        self
    }

    /// The same for a client whose calls can be tasks in the way of revision 2025-11-25.
    pub fn with_tasks(mut self) -> Offer {
        let tasks = json!({"cancel": {}, "requests": {"tools": {"call": {}}}});
        self.capabilities.insert("tasks".to_owned(), tasks);
        self
    }

    /// The same for a client whose log level is kept.
    pub fn with_logging(mut self) -> Offer {
        self.capabilities.insert("logging".to_owned(), json!({}));
        self
    }

    fn with_instructions(&self, mut result: Value) -> String {
        if let (Value::Object(result), Some(text)) = (&mut result, &self.instructions) {
            result.insert("instructions".to_owned(), Value::String(text.clone()));
        }
        result.to_string()
    }
}

/// The extensions that an upstream declares.
fn extensions_of(record: &Gateway) -> Option<Map<String, Value>> {
    let raw = record.capabilities.as_deref()?;
    match serde_json::from_str::<Value>(raw).ok()?.get_mut("extensions")?.take() {
        Value::Object(extensions) => Some(extensions),
        _ => None,
    }
}

/// The result of `initialize`: the client's revision if it is one with a handshake, else the
/// newest of them.
pub fn initialize(offer: &Offer, requested: Option<&str>) -> Vec<u8> {
    let known = LEGACY.into_iter().find(|version| Some(*version) == requested);
    let result = offer.with_instructions(json!({
        "protocolVersion": known.unwrap_or(LEGACY[0]),
        "capabilities": offer.capabilities,
        "serverInfo": offer.server.value(),
    }));
    result.into_bytes()
}

/// The result of `server/discover`. Only stateless revisions are listed: a legacy one could not be
/// used in the `_meta` of a request.
pub fn discover(offer: &Offer) -> Vec<u8> {
    let mut capabilities = offer.capabilities.clone();
    if !offer.extensions.is_empty() {
        capabilities.insert("extensions".to_owned(), offer.extensions.clone().into());
    }
    let result = offer.with_instructions(json!({
        "resultType": "complete",
        "supportedVersions": [MODERN],
        "capabilities": capabilities,
        "ttlMs": 0,
        "cacheScope": "private",
    }));
    offer.server.signed(&result)
}
