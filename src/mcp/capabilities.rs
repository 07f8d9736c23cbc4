//! What a client can do for a server, as far as it decides who may be asked what.

use std::ops::BitOr;

use serde_json::{Map, Value, json};

/// Capabilities of a client: those that the gateway can relay. Unknown ones are left out, since what
/// is declared upstream must be what the gateway brings back an answer for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capabilities(u16);

impl Capabilities {
    /// None.
    pub const NONE: Capabilities = Capabilities(0);
    /// `roots/list`.
    pub const ROOTS: Capabilities = Capabilities(1);
    /// It tells when its roots change.
    pub const ROOTS_CHANGED: Capabilities = Capabilities(1 << 1);
    /// `sampling/createMessage`.
    pub const SAMPLING: Capabilities = Capabilities(1 << 2);
    /// The same with tools.
    pub const SAMPLING_TOOLS: Capabilities = Capabilities(1 << 3);
    /// The same with context of servers.
    pub const SAMPLING_CONTEXT: Capabilities = Capabilities(1 << 4);
    /// `elicitation/create` with a form.
    pub const FORMS: Capabilities = Capabilities(1 << 5);
    /// `elicitation/create` that sends the user to a URL.
    pub const URLS: Capabilities = Capabilities(1 << 6);

    /// What the gateway can ask of clients that can do the most. It is declared where many clients
    /// share a connection, and where an upstream is asked what it offers: some offer only what they
    /// think can be used.
    pub const RELAYED: Capabilities = Capabilities(1 | 1 << 2 | 1 << 5 | 1 << 6);

    /// Reads a raw `ClientCapabilities` object; what is no such object has none.
    pub fn parse(raw: &str) -> Capabilities {
        let Ok(Value::Object(all)) = serde_json::from_str(raw) else { return Capabilities::NONE };
        let object = |name: &str| all.get(name).and_then(Value::as_object);
        let mut found = Capabilities::NONE;
        if let Some(roots) = object("roots") {
            found = found | Capabilities::ROOTS;
            found = found
                | Capabilities::ROOTS_CHANGED
                    .only_if(roots.get("listChanged") == Some(&Value::Bool(true)));
        }
        if let Some(sampling) = object("sampling") {
            found = found | Capabilities::SAMPLING;
            found = found | Capabilities::SAMPLING_TOOLS.only_if(sampling.contains_key("tools"));
            found =
                found | Capabilities::SAMPLING_CONTEXT.only_if(sampling.contains_key("context"));
        }
        if let Some(elicitation) = object("elicitation") {
            // Before there were two kinds, an empty object meant forms.
            let has_url = elicitation.contains_key("url");
            let has_form = elicitation.contains_key("form") || !has_url;
            found = found | Capabilities::FORMS.only_if(has_form);
            found = found | Capabilities::URLS.only_if(has_url);
        }
        found
    }

    /// Writes them as a `ClientCapabilities` object.
    pub fn to_json(self) -> Value {
        let mut all = Map::new();
        if self.has(Capabilities::ROOTS) {
            let changed = self.has(Capabilities::ROOTS_CHANGED);
            all.insert(
                "roots".into(),
                if changed { json!({"listChanged": true}) } else { json!({}) },
            );
        }
        if self.has(Capabilities::SAMPLING) {
            let mut sampling = Map::new();
            if self.has(Capabilities::SAMPLING_TOOLS) {
                sampling.insert("tools".into(), json!({}));
            }
            if self.has(Capabilities::SAMPLING_CONTEXT) {
                sampling.insert("context".into(), json!({}));
            }
            all.insert("sampling".into(), sampling.into());
        }
        match (self.has(Capabilities::FORMS), self.has(Capabilities::URLS)) {
            (true, false) => drop(all.insert("elicitation".into(), json!({}))),
            (false, true) => drop(all.insert("elicitation".into(), json!({"url": {}}))),
            (true, true) => drop(all.insert("elicitation".into(), json!({"form": {}, "url": {}}))),
            (false, false) => {}
        }
        Value::Object(all)
    }

    /// Whether all of `others` are among them.
    pub fn has(self, others: Capabilities) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a client with these can be asked `method`, with these raw params.
    pub fn allow(self, method: &str, params: &str) -> bool {
        match method {
            "roots/list" => self.has(Capabilities::ROOTS),
            "sampling/createMessage" => self.has(Capabilities::SAMPLING),
            "elicitation/create" => {
                let mode = net::jsonrpc::pick(params, ["mode"]).ok().and_then(|[mode]| mode);
                match mode.map(|place| place.of_text(params)) {
                    Some("\"url\"") => self.has(Capabilities::URLS),
                    _ => self.has(Capabilities::FORMS),
                }
            }
            _ => false,
        }
    }

    /// As a number, for a sealed id.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// Back from the number.
    pub fn from_bits(bits: u16) -> Capabilities {
        Capabilities(bits)
    }

    fn only_if(self, is_so: bool) -> Capabilities {
        if is_so { self } else { Capabilities::NONE }
    }
}

impl BitOr for Capabilities {
    type Output = Capabilities;

    fn bitor(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_written_as_it_was_read() {
        for raw in [
            "{}",
            r#"{"roots":{}}"#,
            r#"{"roots":{"listChanged":true}}"#,
            r#"{"sampling":{}}"#,
            r#"{"sampling":{"context":{},"tools":{}}}"#,
            r#"{"elicitation":{}}"#,
            r#"{"elicitation":{"url":{}}}"#,
            r#"{"elicitation":{"form":{},"url":{}}}"#,
            r#"{"elicitation":{},"roots":{},"sampling":{}}"#,
        ] {
            let read = Capabilities::parse(raw);
            let expected: Value = serde_json::from_str(raw).unwrap();
            assert_eq!(read.to_json(), expected, "{raw}");
            assert_eq!(Capabilities::from_bits(read.bits()), read);
        }
    }

    #[test]
    fn what_cannot_be_relayed_is_not_declared() {
        let raw = r#"{"experimental":{"x":{}},"roots":1,"vendor":{}}"#;
        assert_eq!(Capabilities::parse(raw), Capabilities::NONE);
        assert_eq!(Capabilities::parse("[]"), Capabilities::NONE);
    }

    #[test]
    fn a_client_is_asked_only_for_what_it_declared() {
        let forms = Capabilities::parse(r#"{"elicitation":{}}"#);
        assert!(forms.allow("elicitation/create", r#"{"message":"?"}"#));
        assert!(!forms.allow("elicitation/create", r#"{"mode":"url"}"#));
        assert!(!forms.allow("roots/list", "{}"));
        assert!(!forms.allow("tools/call", "{}"));
        let urls = Capabilities::parse(r#"{"elicitation":{"url":{}}}"#);
        assert!(urls.allow("elicitation/create", r#"{"mode":"url"}"#));
        assert!(!urls.allow("elicitation/create", r#"{"mode":"form"}"#));
    }
}
