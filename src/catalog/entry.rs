//! Tools, resources and prompts as the data plane needs them: the record, and where in its
//! definition the parts lie that a list or a route rewrites.

use std::sync::Arc;

use net::{Span, jsonrpc};
use storage::record::{IntegrationType, Ownership, Prompt, Resource, Tool};
use storage::seal::Sealer;

use crate::catalog::{
    open_secret,
    param_headers::{self, ParamHeader},
    rest_tool::RestTool,
    shelf::Item,
};

/// A tool of the catalog.
pub struct ToolEntry {
    /// The stored record.
    pub record: Arc<Tool>,
    /// The `x-mcp-header` annotations of its input schema, which travel as `Mcp-Param-*` headers.
    pub param_headers: Vec<ParamHeader>,
    /// The headers that prove us to a REST service, opened: name and value. A name that begins
    /// with `?` is that of a query parameter.
    pub credentials: Vec<(String, String)>,
    /// How the service of a REST tool is called, or why it cannot be; `None` for any other tool.
    pub rest: Option<Box<Result<RestTool, String>>>,
    parts: Parts,
}

/// A resource, or a template of resources, of the catalog.
#[derive(PartialEq)]
pub struct ResourceEntry {
    /// The stored record.
    pub record: Arc<Resource>,
}

/// A prompt of the catalog.
pub struct PromptEntry {
    /// The stored record.
    pub record: Arc<Prompt>,
    parts: Parts,
}

/// Where the parts of a definition lie that may be written otherwise than the upstream did.
#[derive(Default)]
struct Parts {
    name: Option<Span>,
    description: Option<Span>,
    has_output_schema: bool,
}

impl ToolEntry {
    /// Reads a stored tool.
    pub fn new(record: Arc<Tool>, sealer: &Sealer) -> ToolEntry {
        let parts = Parts::find(&record.definition);
        let param_headers = param_headers::find(&record.definition).unwrap_or_default();
        let sealed = record.auth_sealed.as_deref();
        let credentials = open_secret(sealer, sealed, "credentials of a tool", &record.name);
        let credentials: Vec<_> = credentials.into_iter().collect();
        let rest = record.rest.as_deref();
        let rest = rest.filter(|_| record.integration_type == IntegrationType::Rest);
        let rest = rest.map(|rest| Box::new(RestTool::new(rest, &credentials)));
        ToolEntry { record, param_headers, credentials, rest, parts }
    }

    /// Whether it says what its structured answers look like.
    pub fn has_output_schema(&self) -> bool {
        self.parts.has_output_schema
    }

    /// Appends the definition under the name `name`: every other byte as the upstream sent it,
    /// except a description that people replaced, for everybody or (`description`) for one
    /// endpoint.
    pub fn write(&self, out: &mut Vec<u8>, name: &str, description: Option<&str>) {
        let description = description.or(self.record.custom_description.as_deref());
        self.parts.write(out, &self.record.definition, name, description);
    }
}

impl PromptEntry {
    /// Reads a stored prompt.
    pub fn new(record: Arc<Prompt>) -> PromptEntry {
        let parts = Parts::find(&record.definition);
        PromptEntry { record, parts }
    }

    /// Appends the definition under the name `name`.
    pub fn write(&self, out: &mut Vec<u8>, name: &str) {
        self.parts.write(out, &self.record.definition, name, None);
    }
}

impl ResourceEntry {
    /// Appends the definition as the upstream sent it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.record.definition.as_bytes());
    }
}

impl Parts {
    fn find(definition: &str) -> Parts {
        let found = jsonrpc::pick(definition, ["name", "description", "outputSchema"]);
        let [name, description, schema] = found.unwrap_or_default();
        let schema = schema.filter(|schema| schema.of_text(definition) != "null");
        Parts { name, description, has_output_schema: schema.is_some() }
    }

    fn write(&self, out: &mut Vec<u8>, definition: &str, name: &str, description: Option<&str>) {
        // A description that is new stands behind the name.
        let added = description.filter(|_| self.description.is_none());
        let mut edits = [(self.name, Some(name), added), (self.description, description, None)];
        edits.sort_by_key(|(place, ..)| place.map(|place| place.start));
        let mut from = 0;
        for (place, text, added) in edits {
            let (Some(place), Some(text)) = (place, text) else { continue };
            out.extend_from_slice(&definition.as_bytes()[from..place.start as usize]);
            jsonrpc::write_string(out, text);
            if let Some(added) = added {
                out.extend_from_slice(b",\"description\":");
                jsonrpc::write_string(out, added);
            }
            from = place.end as usize;
        }
        out.extend_from_slice(&definition.as_bytes()[from..]);
    }
}

impl Item for ToolEntry {
    fn id(&self) -> &str {
        &self.record.id
    }

    fn ownership(&self) -> &Ownership {
        &self.record.ownership
    }
}

impl Item for ResourceEntry {
    fn id(&self) -> &str {
        &self.record.id
    }

    fn ownership(&self) -> &Ownership {
        &self.record.ownership
    }
}

impl Item for PromptEntry {
    fn id(&self) -> &str {
        &self.record.id
    }

    fn ownership(&self) -> &Ownership {
        &self.record.ownership
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(definition: &str, name: &str, description: Option<&str>) -> String {
        let record = Tool {
            definition: definition.to_owned(),
            custom_description: description.map(str::to_owned),
            ..Tool::default()
        };
        let mut out = Vec::new();
        let sealer = Sealer::new("a secret that only tests have");
        ToolEntry::new(Arc::new(record), &sealer).write(&mut out, name, None);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_every_byte_but_the_name_as_it_came() {
        let definition = r#"{ "description" : "\u0041 \"b\"","name": "echo" , "x":1.0e+2 }"#;
        let expected = r#"{ "description" : "\u0041 \"b\"","name": "time-echo" , "x":1.0e+2 }"#;
        assert_eq!(listed(definition, "time-echo", None), expected);
    }

    #[test]
    fn adds_a_description_where_there_was_none() {
        let got = listed(r#"{ "name" : "a", "x":1}"#, "b", Some("n"));
        assert_eq!(got, r#"{ "name" : "b","description":"n", "x":1}"#);
    }

    #[test]
    fn writes_a_replaced_description_wherever_it_stands() {
        for definition in
            [r#"{"name":"a","description":"old"}"#, r#"{"description":"old","name":"a"}"#]
        {
            let got = listed(definition, "b", Some("new"));
            assert_eq!(got, definition.replace("\"a\"", "\"b\"").replace("old", "new"));
        }
    }
}
