//! What the gateway says it is.

use std::sync::Arc;

use net::jsonrpc;
use serde_json::{Value, json};

/// The key of `_meta` under which a result of the stateless revision names its server.
const KEY: &str = "io.modelcontextprotocol/serverInfo";

/// The name and version that clients are told: in the handshake, and in the `_meta` of every result
/// that the gateway makes for a client of the stateless revision (2026-07-28, Results). Results of
/// upstreams of that revision name their own server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo(Arc<str>);

impl ServerInfo {
    /// The gateway of this version, under this name.
    pub fn named(app_name: &str) -> ServerInfo {
        let info = json!({"name": app_name, "version": env!("CARGO_PKG_VERSION")});
        ServerInfo(format!("\"{KEY}\":{info}").into())
    }

    /// The member of `_meta`: the key, a colon and an object.
    pub fn member(&self) -> &str {
        &self.0
    }

    /// The object alone.
    pub fn value(&self) -> Value {
        let raw = &self.0[KEY.len() + "\"\":".len()..];
        serde_json::from_str(raw).expect("it was made of a value")
    }

    /// Appends `raw`, an object that was checked, without its opening brace; its `_meta` names this
    /// server, unless it names one already.
    pub fn sign(&self, out: &mut Vec<u8>, raw: &str) {
        let [meta] = jsonrpc::pick(raw, ["_meta"]).unwrap_or_default();
        let begin = raw.find('{').map_or(raw.len(), |brace| brace + 1);
        let behind = match meta {
            None => {
                out.extend_from_slice(b"\"_meta\":{");
                out.extend_from_slice(self.0.as_bytes());
                out.push(b'}');
                &raw[begin..]
            }
            Some(place) => {
                let text = place.of_text(raw);
                let is_named = jsonrpc::fields(text).flatten().any(|field| field.key == KEY);
                if !text.starts_with('{') || is_named {
                    return out.extend_from_slice(&raw.as_bytes()[begin..]);
                }
                let inside = place.start as usize + 1;
                out.extend_from_slice(&raw.as_bytes()[begin..inside]);
                out.extend_from_slice(self.0.as_bytes());
                &raw[inside..]
            }
        };
        if !behind.trim_ascii_start().starts_with('}') {
            out.push(b',');
        }
        out.extend_from_slice(behind.as_bytes());
    }

    /// A result of our own, which names this server.
    pub fn signed(&self, raw: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(raw.len() + self.0.len() + "{\"_meta\":{},".len());
        out.push(b'{');
        self.sign(&mut out, raw);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_names_the_server_once() {
        let server = ServerInfo::named("G\"1");
        let value = json!({"name": "G\"1", "version": env!("CARGO_PKG_VERSION")});
        assert_eq!(server.value(), value);
        let member = format!("\"{KEY}\":{value}");
        for (raw, expected) in [
            ("{}", format!("{{\"_meta\":{{{member}}}}}")),
            (" { \"a\":1 }", format!("{{\"_meta\":{{{member}}}, \"a\":1 }}")),
            ("{\"_meta\":{ },\"a\":1}", format!("{{\"_meta\":{{{member} }},\"a\":1}}")),
            ("{\"a\":{\"_meta\":1}}", format!("{{\"_meta\":{{{member}}},\"a\":{{\"_meta\":1}}}}")),
            ("{\"_meta\" : {\"b\":1}}", format!("{{\"_meta\" : {{{member},\"b\":1}}}}")),
        ] {
            let text = String::from_utf8(server.signed(raw)).unwrap();
            assert_eq!(text, expected);
        }
        let other = format!("{{\"_meta\":{{\"{KEY}\":{{\"name\":\"u\"}}}}}}");
        for kept in [other.as_str(), "{\"_meta\":null}"] {
            assert_eq!(String::from_utf8(server.signed(kept)).unwrap(), kept);
        }
    }
}
