//! The answers that are no records, as schemas.

#![expect(dead_code, reason = "only their schemas are used")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::super::probes::{AuditAbout, DatabaseAbout, RedisAbout};
use super::super::show::{AgentMetricsRead, MetricsRead, Time};

/// An error.
#[derive(JsonSchema)]
#[schemars(rename = "Failure")]
pub struct Failed {
    /// What went wrong, in words.
    detail: String,
    /// The same, under the name that some routes have.
    #[schemars(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Fields hold what they must not, or an upstream is not allowed.
#[derive(JsonSchema)]
pub struct Invalid {
    detail: Faults,
}

/// Fields hold what they must not, or an upstream is not allowed; with a sentence of all.
#[derive(JsonSchema)]
pub struct InvalidWithMessage {
    message: String,
    detail: Faults,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Faults {
    /// What went wrong, in words.
    Words(String),
    /// Each field.
    Fields(Vec<FieldFault>),
}

/// A field that holds what it must not.
#[derive(JsonSchema)]
struct FieldFault {
    /// `missing`, `value_error`, `string_type` and others.
    r#type: String,
    /// Where it is, outermost first: names, and numbers of places in lists.
    loc: Vec<Place>,
    /// What is wrong and what would be right.
    msg: String,
    /// What was sent; not for secrets.
    #[schemars(skip_serializing_if = "Option::is_none")]
    input: Option<Value>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Place {
    Name(String),
    Index(u32),
}

/// It is done.
#[derive(JsonSchema)]
pub struct Succeeded {
    success: bool,
    message: String,
}

/// What was done.
#[derive(JsonSchema)]
pub struct Notified {
    message: String,
}

/// What can be permitted.
#[derive(JsonSchema)]
pub struct Permissions {
    all_permissions: Vec<String>,
    permissions_by_resource: BTreeMap<String, Vec<String>>,
    total_count: usize,
}

/// Whether a user may do something.
#[derive(JsonSchema)]
pub struct Checked {
    user_email: String,
    permission: String,
    granted: bool,
    checked_at: Time,
    checked_by: String,
}

/// The schemas could not be found.
#[derive(JsonSchema)]
pub struct Unsuccessful {
    message: String,
    success: bool,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum FailedOrUnsuccessful {
    Failed(Failed),
    Unsuccessful(Unsuccessful),
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum InvalidOrUnsuccessful {
    Invalid(Invalid),
    Unsuccessful(Unsuccessful),
}

/// The schemas of one operation.
#[derive(JsonSchema)]
pub struct GeneratedSchemas {
    message: String,
    success: bool,
    input_schema: Option<Map<String, Value>>,
    output_schema: Option<Map<String, Value>>,
    /// Where the document was read.
    spec_url: String,
}

/// What an import did, or would do.
#[derive(JsonSchema)]
pub struct Imported {
    /// What the document is remembered by.
    source: String,
    /// Nothing was done but to tell what would be.
    dry_run: bool,
    created: Vec<ImportedTool>,
    updated: Vec<ImportedTool>,
    unchanged: Vec<ImportedTool>,
    /// Tools whose operations are gone.
    removed: Vec<ImportedTool>,
    /// Whether these were deleted.
    pruned: bool,
    failed: Vec<Map<String, Value>>,
    refused: Vec<RefusedOperation>,
    /// How many operations were not asked for.
    filtered_count: usize,
    notes: Vec<Map<String, Value>>,
    /// What would be made; of a dry run.
    #[schemars(skip_serializing_if = "Option::is_none")]
    tools: Option<Vec<Map<String, Value>>>,
}

#[derive(JsonSchema)]
struct ImportedTool {
    /// Like `GET /pets/{id}`.
    operation: String,
    id: Option<String>,
    name: Option<String>,
}

/// An operation that cannot be a tool, and why.
#[derive(JsonSchema)]
struct RefusedOperation {
    operation: String,
    reason: String,
}

/// What was counted, of each kind.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct Totals {
    tools: MetricsRead,
    resources: MetricsRead,
    servers: MetricsRead,
    prompts: MetricsRead,
    a2a_agents: AgentMetricsRead,
    /// What this process holds open: sessions, streams, questions, parked calls, children.
    held: BTreeMap<String, Held>,
}

/// What there is of a kind.
#[derive(JsonSchema)]
pub struct Held {
    /// How many there are now.
    open: u64,
    /// How many were refused since the start, for there were as many as may be.
    refused: u64,
}

/// It is done.
#[derive(JsonSchema)]
pub struct Done {
    /// `success`.
    status: String,
    message: String,
}

/// An upstream was switched.
#[derive(JsonSchema)]
pub struct GatewaySwitched {
    /// `success`.
    status: String,
    message: String,
    /// The upstream with its fields in snake_case.
    gateway: Map<String, Value>,
}

/// A tool was switched.
#[derive(JsonSchema)]
pub struct ToolSwitched {
    /// `success`.
    status: String,
    message: String,
    /// The tool with its fields in snake_case.
    tool: Map<String, Value>,
}

/// A resource was switched.
#[derive(JsonSchema)]
pub struct ResourceSwitched {
    /// `success`.
    status: String,
    message: String,
    /// The resource with its fields in snake_case.
    resource: Map<String, Value>,
}

/// A prompt was switched.
#[derive(JsonSchema)]
pub struct PromptSwitched {
    /// `success`.
    status: String,
    message: String,
    /// The prompt with its fields in snake_case.
    prompt: Map<String, Value>,
}

/// What a resource holds: text, or bytes in base64.
#[derive(JsonSchema)]
pub struct ResourceContent {
    /// `resource`.
    r#type: String,
    id: String,
    uri: Option<String>,
    mime_type: Option<String>,
    text: Option<String>,
    blob: Option<String>,
}

/// What was read by a URI.
#[derive(JsonSchema)]
pub struct TestedResource {
    /// As MCP has it, with `type` besides.
    content: Map<String, Value>,
}

/// Templates of resources.
#[derive(JsonSchema)]
pub struct Templates {
    #[schemars(rename = "_meta")]
    meta: Map<String, Value>,
    next_cursor: Option<String>,
    resource_templates: Vec<Template>,
}

/// A template of resources.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Template {
    id: String,
    uri_template: Option<String>,
    name: String,
    description: Option<String>,
    mime_type: Option<String>,
    annotations: Option<Map<String, Value>>,
    #[schemars(rename = "_meta")]
    meta: Option<Value>,
}

/// A rendered prompt, as MCP has it.
#[derive(JsonSchema)]
pub struct Rendered {
    description: Option<String>,
    messages: Vec<Map<String, Value>>,
    #[schemars(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Map<String, Value>>,
}

/// A place that clients may be told to work in.
#[derive(JsonSchema)]
pub struct Root {
    uri: String,
    name: Option<String>,
    #[schemars(rename = "_meta")]
    meta: Option<Map<String, Value>>,
}

/// A root to take elsewhere.
#[derive(JsonSchema)]
pub struct ExportedRoot {
    /// `root`.
    export_type: String,
    exported_at: Time,
    exported_by: String,
    root: NamedRoot,
    version: String,
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct NamedRoot {
    uri: String,
    name: Option<String>,
}

/// An object as MCP has it.
#[derive(JsonSchema)]
#[schemars(transparent)]
pub struct Anything(Map<String, Value>);

/// Null.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
pub struct Nothing(());

/// The answer to a ping.
#[derive(JsonSchema)]
pub struct Pong {
    /// `2.0`.
    jsonrpc: String,
    /// That of the message.
    id: Option<RpcId>,
    result: Map<String, Value>,
}

/// Whatever an agent answers.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
pub struct FromAgent(Value);

/// The registry, or a part of it.
#[derive(JsonSchema)]
pub struct Exported {
    version: String,
    exported_at: Time,
    exported_by: String,
    source_gateway: String,
    /// How credentials are sealed.
    encryption_method: String,
    /// Lists by kind.
    entities: BTreeMap<String, Vec<Map<String, Value>>>,
    metadata: Map<String, Value>,
}

/// How many imports were forgotten.
#[derive(JsonSchema)]
pub struct CleanedUp {
    /// `success`.
    status: String,
    message: String,
    removed_count: usize,
}

/// What became of tools that were sent together.
#[derive(JsonSchema)]
pub struct ToolsMade {
    /// Whether all were made.
    success: bool,
    message: String,
    imported: usize,
    failed: usize,
    total: usize,
    created_count: usize,
    failed_count: usize,
    created: Vec<ToolMade>,
    errors: Vec<ToolNotMade>,
    details: ToolsMadeByName,
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct ToolMade {
    /// Its place in the list.
    index: usize,
    name: String,
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct ToolNotMade {
    /// Its place in the list.
    index: usize,
    name: String,
    error: Map<String, Value>,
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct ToolsMadeByName {
    success: Vec<String>,
    failed: Vec<Map<String, Value>>,
}

/// What changed when an upstream was read again.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct Refreshed {
    gateway_id: String,
    success: bool,
    error: Option<String>,
    tools_added: usize,
    tools_updated: usize,
    tools_removed: usize,
    resources_added: usize,
    resources_updated: usize,
    resources_removed: usize,
    prompts_added: usize,
    prompts_updated: usize,
    prompts_removed: usize,
    /// Why something was left out.
    validation_errors: Vec<String>,
    duration_ms: u64,
    refreshed_at: Time,
}

/// What this is.
#[derive(JsonSchema)]
pub struct About {
    name: String,
    version: String,
    description: String,
    ui_enabled: bool,
    admin_api_enabled: bool,
}

/// The process answers.
#[derive(JsonSchema)]
pub struct Health {
    /// `healthy`.
    status: String,
}

/// Requests can be served.
#[derive(JsonSchema)]
pub struct Ready {
    /// `ready`.
    status: String,
}

/// Requests cannot be served, and why.
#[derive(JsonSchema)]
pub struct NotReady {
    /// `not ready`.
    status: String,
    error: String,
}

/// What a page sends with changes that only a cookie proves the caller of.
#[derive(JsonSchema)]
pub struct CsrfToken {
    /// For the header `X-CSRF-Token`; it comes as a cookie too.
    csrf_token: String,
}

/// How safe the settings are.
#[derive(JsonSchema)]
pub struct Security {
    /// `healthy` or `unhealthy`.
    status: String,
    /// Of 100.
    #[schemars(range(max = 100))]
    score: usize,
    /// Whether each check is passed.
    checks: BTreeMap<String, bool>,
    warning_count: usize,
    warnings: Vec<String>,
    timestamp: Time,
}

/// What runs here.
#[derive(JsonSchema)]
pub struct Version {
    timestamp: Time,
    /// The name of the machine.
    host: String,
    uptime_seconds: u64,
    app: App,
    platform: Platform,
    database: DatabaseAbout,
    redis: RedisAbout,
    audit: AuditAbout,
    /// Settings by name, secrets masked; for administrators.
    #[schemars(skip_serializing_if = "Option::is_none")]
    settings: Option<BTreeMap<String, String>>,
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct App {
    name: String,
    version: String,
    mcp_protocol_version: String,
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct Platform {
    os: String,
    architecture: String,
    /// How many run.
    shards: usize,
    /// What runs them.
    ring_driver: String,
}

/// An OpenAPI document.
#[derive(JsonSchema)]
pub struct Document {
    openapi: String,
    info: Map<String, Value>,
    paths: Map<String, Value>,
    components: Map<String, Value>,
}

/// A JSON-RPC answer, or a list of them for a batch.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum RpcAnswer {
    /// The answer to one request.
    One(RpcReply),
    /// The answers to a batch.
    Batch(Vec<RpcReply>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum RpcReply {
    /// All is well.
    Result(RpcResult),
    /// It is not.
    Error(RpcFailure),
}

#[derive(JsonSchema)]
pub struct RpcResult {
    /// `2.0`.
    jsonrpc: String,
    id: RpcId,
    result: Value,
}

/// A JSON-RPC error.
#[derive(JsonSchema)]
pub struct RpcFailure {
    /// `2.0`.
    jsonrpc: String,
    id: Option<RpcId>,
    error: RpcError,
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct RpcError {
    code: i32,
    message: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// Names the request that is answered.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum RpcId {
    Number(f64),
    Text(String),
}

/// The request could not be let in, or the method failed.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum FailedOrRpcFailure {
    /// Refused before the body was read.
    Failed(Failed),
    /// Refused as JSON-RPC.
    Rpc(RpcFailure),
}
/// A protected resource of OAuth 2.1 (RFC 9728).
#[derive(JsonSchema)]
pub struct ProtectedResource {
    resource: String,
    authorization_servers: Vec<String>,
    bearer_methods_supported: Vec<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    scopes_supported: Option<Vec<String>>,
}

/// Who a token is.
#[derive(JsonSchema)]
pub struct TokenState {
    valid: bool,
    email: String,
    is_admin: bool,
    /// In seconds since the epoch.
    expires_at: Option<u64>,
    /// `session` or `api`.
    token_use: String,
}

/// Nothing to see: a browser is sent on.
#[derive(JsonSchema)]
pub struct SentOn {}
