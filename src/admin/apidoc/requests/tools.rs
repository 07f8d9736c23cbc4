//! The bodies of requests about tools.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::{Credentials, Ownership, Tags, Visibility, Words};

/// A REST tool to make: flat, or wrapped as `{"tool": {...}}`.
#[derive(JsonSchema)]
pub struct NewTool {
    /// Letters, digits and `_ . - /`.
    #[schemars(length(min = 1))]
    name: String,
    #[schemars(flatten)]
    rest: ToolFields,
}

/// REST tools to make.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
pub struct NewTools(Vec<NewTool>);

/// What to change of a tool; what is not named stays. Of a tool of an upstream or an agent only its
/// names, description, tags and ownership, and whether it is switched on.
#[derive(JsonSchema)]
pub struct ToolChange {
    /// Letters, digits and `_ . - /`.
    #[schemars(length(min = 1))]
    name: Option<String>,
    #[schemars(flatten)]
    rest: ToolFields,
}

#[derive(JsonSchema)]
struct ToolFields {
    /// The name that it has here; the empty text for its own.
    custom_name: Option<String>,
    /// What people read.
    #[schemars(length(max = 255))]
    display_name: Option<String>,
    #[schemars(length(max = 255))]
    title: Option<String>,
    /// What it does; cut where it is longer than may be.
    description: Option<String>,
    /// The JSON Schema of its arguments: of an object.
    input_schema: Option<Map<String, Value>>,
    /// The JSON Schema of its results: of an object.
    output_schema: Option<Map<String, Value>>,
    /// Hints of MCP.
    annotations: Option<Map<String, Value>>,
    /// Whatever its owner wants to keep with it, up to 64 KiB.
    extension_metadata: Option<Map<String, Value>>,
    /// `REST`.
    integration_type: Option<String>,
    /// The upstream that it is listed with; the empty text for none.
    gateway_id: Option<String>,
    deprecated: Option<bool>,
    /// Whether arguments are checked against the schema before a call.
    validate_arguments: Option<bool>,
    enabled: Option<bool>,
    /// Words to find it by.
    tags: Option<Tags>,
    #[schemars(flatten)]
    ownership: Ownership,
    #[schemars(flatten)]
    credentials: Credentials,
    #[schemars(flatten)]
    query: QueryCredentials,
    /// The same fields as an object, with shorter names: `username`, `password`, `token`.
    auth: Option<Map<String, Value>>,
    #[schemars(flatten)]
    call: Call,
}

/// How to prove ourselves in the query.
#[derive(JsonSchema)]
pub struct QueryCredentials {
    /// The name of the parameter.
    auth_query_param_key: Option<String>,
    auth_query_param_value: Option<String>,
}

/// How a REST tool is called.
#[derive(JsonSchema)]
struct Call {
    /// Where: http or https, with `{argument}` in the path.
    url: Option<String>,
    /// The method.
    request_type: Option<String>,
    /// The headers of every request; those with secrets are sealed.
    headers: Option<BTreeMap<String, String>>,
    /// What is made of the answer, by jq.
    jsonpath_filter: Option<String>,
    /// Scheme and host, instead of `url`.
    base_url: Option<String>,
    /// The path behind `base_url`.
    path_template: Option<String>,
    /// Arguments that become parameters of the query, by name.
    query_mapping: Option<BTreeMap<String, String>>,
    /// Arguments that become headers, by name.
    header_mapping: Option<BTreeMap<String, String>>,
    /// In milliseconds.
    timeout_ms: Option<u64>,
    /// Hosts that may be called.
    allowlist: Option<Words>,
    expose_passthrough: Option<bool>,
    plugin_chain_pre: Option<Words>,
    plugin_chain_post: Option<Words>,
    /// `json`, `form` or `multipart`.
    body_format: Option<String>,
    /// The most calls at once on a shard.
    concurrency_limit: Option<u64>,
    /// The largest answer, in bytes.
    response_size_max: Option<u64>,
}

/// Which operation of which document.
#[derive(JsonSchema)]
pub struct GenerateSchemas {
    /// The URL of the operation: http or https.
    url: String,
    /// The method of the operation; GET if it is not said.
    request_type: Option<String>,
    /// Where the document is; `/openapi.json` beside the operation if it is not said.
    openapi_url: Option<String>,
}

/// Which document to make tools of, and how: a `url` or a `document`.
#[derive(JsonSchema)]
pub struct ImportOpenapi {
    /// Where the document is.
    url: Option<String>,
    /// The document itself, or its text in JSON or YAML.
    document: Option<Value>,
    /// What the document is remembered by, so that importing it again finds its tools.
    source: Option<String>,
    /// Where the API is; the document's own server if it is not said.
    base_url: Option<String>,
    /// Only operations with any of these tags.
    tags: Option<Words>,
    /// Only operations whose paths begin so.
    paths: Option<Words>,
    /// Only operations of these methods.
    methods: Option<Words>,
    /// What stands before every name.
    prefix: Option<String>,
    /// Secrets by the names of security schemes.
    credentials: Option<BTreeMap<String, String>>,
    /// Whether tools get the schemas of their answers; true if it is not said.
    output_schemas: Option<bool>,
    /// Do nothing but tell what would be done.
    dry_run: Option<bool>,
    /// Delete tools whose operations are gone.
    prune: Option<bool>,
    /// Credentials of every tool, as `POST /tools` takes them.
    auth: Option<Map<String, Value>>,
    #[schemars(flatten)]
    credentials_of_all: Credentials,
    #[schemars(flatten)]
    query: QueryCredentials,
    /// Who may see the tools.
    visibility: Option<Visibility>,
    /// The team that the tools belong to.
    team_id: Option<String>,
}
