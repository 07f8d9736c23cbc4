//! Tools, resources and prompts as the data plane needs them: the record, and where in its
//! definition the parts lie that a list or a route rewrites.

use std::{borrow::Cow, sync::Arc};

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

/// Whether calls of a tool can be tasks (2025-11-25, `execution.taskSupport`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskSupport {
    /// They can.
    Optional,
    /// They can be nothing else.
    Required,
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
    /// The URIs of the resource that shows it (`_meta.ui.resourceUri`, in both spellings).
    ui: Vec<Span>,
    /// What it says of its execution, if it says of tasks.
    execution: Option<(Span, TaskSupport)>,
    has_output_schema: bool,
    /// Its answers are no objects, as those of the revisions with a handshake are.
    has_odd_schema: bool,
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

    /// Whether calls can be tasks.
    pub fn task_support(&self) -> Option<TaskSupport> {
        self.parts.execution.map(|(_, support)| support)
    }

    /// The URI of the resource that shows the tool (MCP Apps, `_meta.ui.resourceUri`).
    pub fn ui_uri(&self) -> Option<Cow<'_, str>> {
        let place = self.parts.ui.first()?;
        jsonrpc::unescape(place.of_text(&self.record.definition)).ok()
    }

    /// Appends the definition under the name `name`: every other byte as the upstream sent it,
    /// except what `others` says, and a description that people replaced for everybody.
    pub fn write(&self, out: &mut Vec<u8>, name: &str, others: Others<'_>) {
        let description = others.description.or(self.record.custom_description.as_deref());
        let others = Others { description, ..others };
        let definition = &self.record.definition;
        if !others.modern && self.parts.has_odd_schema {
            let plain = without_output_schema(definition);
            return Parts::find(&plain).write(out, &plain, name, others);
        }
        self.parts.write(out, definition, name, others);
    }
}

/// What an endpoint says of a tool otherwise than its upstream.
#[derive(Clone, Copy, Default)]
pub struct Others<'a> {
    /// The description.
    pub description: Option<&'a str>,
    /// The URI of what shows it.
    pub ui_uri: Option<&'a str>,
    /// It is for a client of the stateless revision: nothing is said of tasks in the way of revision
    /// 2025-11-25, and answers may be of any type.
    pub modern: bool,
}

impl PromptEntry {
    /// Reads a stored prompt.
    pub fn new(record: Arc<Prompt>) -> PromptEntry {
        let parts = Parts::find(&record.definition);
        PromptEntry { record, parts }
    }

    /// Appends the definition under the name `name`.
    pub fn write(&self, out: &mut Vec<u8>, name: &str) {
        self.parts.write(out, &self.record.definition, name, Others::default());
    }
}

impl ResourceEntry {
    /// Appends the definition as the upstream sent it, but for the URI, or the template of one, if
    /// an endpoint has another.
    pub fn write(&self, out: &mut Vec<u8>, uri: Option<&str>) {
        let definition = &self.record.definition;
        let key = if self.record.uri_template.is_some() { "uriTemplate" } else { "uri" };
        let place = uri.and_then(|uri| Some((jsonrpc::pick(definition, [key]).ok()?[0]?, uri)));
        let Some((place, uri)) = place else {
            out.extend_from_slice(definition.as_bytes());
            return;
        };
        out.extend_from_slice(&definition.as_bytes()[..place.start as usize]);
        jsonrpc::write_string(out, uri);
        out.extend_from_slice(&definition.as_bytes()[place.end as usize..]);
    }
}

impl Parts {
    fn find(definition: &str) -> Parts {
        let keys = ["name", "description", "outputSchema", "_meta", "execution"];
        let found = jsonrpc::pick(definition, keys);
        let [name, description, schema, meta, execution] = found.unwrap_or_default();
        let execution =
            execution.and_then(|place| Some((place, task_support(place.of_text(definition))?)));
        let schema = schema.filter(|schema| schema.of_text(definition) != "null");
        let ui = meta.map(|meta| ui_places(definition, meta)).unwrap_or_default();
        let has_odd_schema =
            schema.is_some_and(|schema| !is_of_objects(schema.of_text(definition)));
        let has_output_schema = schema.is_some();
        Parts { name, description, ui, execution, has_output_schema, has_odd_schema }
    }

    fn write(&self, out: &mut Vec<u8>, definition: &str, name: &str, others: Others<'_>) {
        let quoted = |text: &str| {
            let mut raw = Vec::new();
            jsonrpc::write_string(&mut raw, text);
            raw
        };
        let mut named = quoted(name);
        let mut edits = Vec::new();
        match (others.description, self.description) {
            (Some(text), Some(place)) => edits.push((place, quoted(text))),
            // A description that is new stands behind the name.
            (Some(text), None) => {
                named.extend_from_slice(b",\"description\":");
                named.extend_from_slice(&quoted(text));
            }
            (None, _) => {}
        }
        edits.extend(self.name.map(|place| (place, named)));
        if let Some(uri) = others.ui_uri {
            edits.extend(self.ui.iter().map(|place| (*place, quoted(uri))));
        }
        if let Some((place, _)) = self.execution.filter(|_| others.modern) {
            edits.push((place, without_tasks(place.of_text(definition))));
        }
        edits.sort_by_key(|(place, _)| place.start);
        let mut from = 0;
        for (place, raw) in edits {
            out.extend_from_slice(&definition.as_bytes()[from..place.start as usize]);
            out.extend_from_slice(&raw);
            from = place.end as usize;
        }
        out.extend_from_slice(&definition.as_bytes()[from..]);
    }
}

/// Whether a raw schema says at its root that it is one of objects.
fn is_of_objects(schema: &str) -> bool {
    let kind = jsonrpc::pick(schema, ["type"]).ok().and_then(|[kind]| kind);
    kind.is_some_and(|kind| kind.of_text(schema) == "\"object\"")
}

/// A definition that says nothing of its answers.
fn without_output_schema(definition: &str) -> String {
    let fields = jsonrpc::fields(definition).map_while(Result::ok);
    let kept = fields.filter(|field| field.key != "outputSchema");
    let kept: Vec<_> =
        kept.map(|field| format!("{}:{}", serde_json::json!(field.key), field.value)).collect();
    format!("{{{}}}", kept.join(","))
}

/// What a raw `execution` says of tasks.
fn task_support(execution: &str) -> Option<TaskSupport> {
    let [support] = jsonrpc::pick(execution, ["taskSupport"]).ok()?;
    match support?.of_text(execution) {
        "\"optional\"" => Some(TaskSupport::Optional),
        "\"required\"" => Some(TaskSupport::Required),
        _ => None,
    }
}

/// A raw `execution` that says nothing of tasks.
fn without_tasks(execution: &str) -> Vec<u8> {
    let fields = jsonrpc::fields(execution).map_while(Result::ok);
    let kept = fields.filter(|field| field.key != "taskSupport");
    let kept: Vec<_> =
        kept.map(|field| format!("{}:{}", serde_json::json!(field.key), field.value)).collect();
    format!("{{{}}}", kept.join(",")).into_bytes()
}

/// Where the `_meta` of a tool, which lies at `meta`, names the resource that shows it.
fn ui_places(definition: &str, meta: Span) -> Vec<Span> {
    let raw = meta.of_text(definition);
    // Hardly a tool has one; the others are known by this alone.
    if !raw.contains("resourceUri") {
        return Vec::new();
    }
    let [ui, flat] = jsonrpc::pick(raw, ["ui", "ui/resourceUri"]).unwrap_or_default();
    let nested = ui.and_then(|ui| {
        let [uri] = jsonrpc::pick(ui.of_text(raw), ["resourceUri"]).ok()?;
        Some(uri?.shifted(ui.start as usize))
    });
    let places =
        [nested, flat].into_iter().flatten().map(|place| place.shifted(meta.start as usize));
    places.filter(|place| jsonrpc::is_string(place.of_text(definition))).collect()
}

impl Item for ToolEntry {
    fn id(&self) -> &str {
        &self.record.id
    }

    fn created_at(&self) -> i64 {
        self.record.audit.created_at
    }

    fn ownership(&self) -> &Ownership {
        &self.record.ownership
    }
}

impl Item for ResourceEntry {
    fn id(&self) -> &str {
        &self.record.id
    }

    fn created_at(&self) -> i64 {
        self.record.audit.created_at
    }

    fn ownership(&self) -> &Ownership {
        &self.record.ownership
    }
}

impl Item for PromptEntry {
    fn id(&self) -> &str {
        &self.record.id
    }

    fn created_at(&self) -> i64 {
        self.record.audit.created_at
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
        ToolEntry::new(Arc::new(record), &sealer).write(&mut out, name, Others::default());
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

    #[test]
    fn writes_another_uri_wherever_the_one_of_its_view_stands() {
        let definition = r#"{"name":"a","_meta":{"x":1,"ui/resourceUri":"ui://\u0061",
            "ui":{"resourceUri":"ui://a","visibility":["model"]}}}"#;
        let record = Tool { definition: definition.to_owned(), ..Tool::default() };
        let entry = ToolEntry::new(Arc::new(record), &Sealer::new("a secret that only tests have"));
        assert_eq!(entry.ui_uri().as_deref(), Some("ui://a"));
        let mut out = Vec::new();
        entry.write(&mut out, "a", Others { ui_uri: Some("ui://b"), ..Others::default() });
        let expected = definition.replace("ui://\\u0061", "ui://b").replace("ui://a", "ui://b");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn writes_a_resource_or_a_template_under_another_uri() {
        for (definition, template, expected) in [
            (r#"{"name":"r", "uri" :"a:b","x":1}"#, None, r#"{"name":"r", "uri" :"c:d","x":1}"#),
            (r#"{"uriTemplate":"a:{b}"}"#, Some("a:{b}"), r#"{"uriTemplate":"c:d"}"#),
        ] {
            let definition = definition.to_owned();
            let uri_template = template.map(str::to_owned);
            let record = Resource { definition, uri_template, ..Resource::default() };
            let entry = ResourceEntry { record: Arc::new(record) };
            let mut out = Vec::new();
            entry.write(&mut out, Some("c:d"));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn clients_that_know_other_tasks_are_told_nothing_of_these() {
        let definition = r#"{"name":"a","execution":{"taskSupport":"required","x":1},"z":2}"#;
        let record = Tool { definition: definition.to_owned(), ..Tool::default() };
        let entry = ToolEntry::new(Arc::new(record), &Sealer::new("a secret that only tests have"));
        assert_eq!(entry.task_support(), Some(TaskSupport::Required));
        let mut out = Vec::new();
        entry.write(&mut out, "b", Others { modern: true, ..Others::default() });
        let expected = r#"{"name":"b","execution":{"x":1},"z":2}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let plain = Tool { definition: r#"{"name":"a"}"#.to_owned(), ..Tool::default() };
        let sealer = Sealer::new("a secret that only tests have");
        assert_eq!(ToolEntry::new(Arc::new(plain), &sealer).task_support(), None);
    }

    #[test]
    fn answers_that_are_no_objects_are_described_to_clients_alone_that_know_such() {
        for (schema, is_odd) in [(r#"{"type":"array"}"#, true), (r#"{"type":"object"}"#, false)] {
            let definition = format!(r#"{{"name":"a", "outputSchema":{schema},"z":1.0}}"#);
            let record = Tool { definition, ..Tool::default() };
            let sealer = Sealer::new("a secret that only tests have");
            let entry = ToolEntry::new(Arc::new(record), &sealer);
            for modern in [true, false] {
                let mut out = Vec::new();
                entry.write(&mut out, "b", Others { modern, ..Others::default() });
                let text = String::from_utf8(out).unwrap();
                assert_eq!(text.contains("outputSchema"), modern || !is_odd, "{text}");
                assert!(text.contains(r#""name":"b""#) && text.contains(r#""z":1.0"#), "{text}");
            }
        }
    }
}
