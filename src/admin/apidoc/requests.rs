//! The bodies of requests, as schemas: what the forms read, field by field.
//!
//! A test compares these types with the forms, in both directions.

#![expect(dead_code, reason = "only their schemas are used")]

mod identity;
mod policies;
mod tools;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value};

pub use identity::{
    Assignment, Joining, MemberChange, NewInvitation, NewMember, NewRole, NewTeam,
    PermissionQuestion, RoleChange, TeamChange,
};
pub use policies::{NewPolicy, PolicyChange, PolicyTest};
pub use tools::{GenerateSchemas, ImportOpenapi, NewTool, NewTools, QueryCredentials, ToolChange};

/// Whose a record is.
#[derive(JsonSchema)]
pub struct Ownership {
    /// The team that it belongs to; needed for visibility `team`.
    #[schemars(length(max = 254))]
    team_id: Option<String>,
    /// Who owns it; whoever makes it, if it is not said.
    #[schemars(length(max = 254))]
    owner_email: Option<String>,
    /// Who may see it: `private`, `team` or `public`.
    visibility: Option<Visibility>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Visibility {
    Private,
    Team,
    Public,
}

/// A tag, or what reading it gives.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Tag {
    /// Letters a-z and digits, with `-`, `:` and `.` inside.
    Word(#[schemars(length(min = 2, max = 100))] String),
    /// As answers show it.
    Shown(ShownTag),
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct ShownTag {
    id: Option<String>,
    label: Option<String>,
}

/// An upstream to register: a `url` or a `command`.
#[derive(JsonSchema)]
pub struct NewGateway {
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: String,
    #[schemars(flatten)]
    rest: GatewayFields,
}

/// What to change of an upstream; what is not named stays.
#[derive(JsonSchema)]
pub struct GatewayChange {
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    #[schemars(flatten)]
    rest: GatewayFields,
}

#[derive(JsonSchema)]
struct GatewayFields {
    /// What it is for; cut where it is longer than may be.
    description: Option<String>,
    /// Where it is: http or https, without credentials and fragment.
    #[schemars(length(max = 2048))]
    url: Option<String>,
    /// The command that starts it, as words or as one line.
    command: Option<Command>,
    /// `STREAMABLEHTTP`, `SSE`, `HTTP`, `WEBSOCKET`, `STDIO`, or `auto` to find out.
    transport: Option<String>,
    /// Which revision to speak: `auto`, `legacy` or `modern`.
    protocol: Option<String>,
    /// Whether clients share the sessions with it: `shared`, or `per_client` for one of each user's
    /// own.
    session_mode: Option<String>,
    /// A certificate authority of its own, in PEM; the empty text for none.
    ca_certificate: Option<String>,
    /// Headers of callers that are handed on.
    passthrough_headers: Option<Words>,
    /// Words to find it by.
    tags: Option<Tags>,
    #[schemars(flatten)]
    ownership: Ownership,
    #[schemars(flatten)]
    credentials: Credentials,
    /// The environment of the command.
    env: Option<Map<String, Value>>,
}

/// A list of texts, or one text with commas.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Words {
    List(Vec<String>),
    Text(String),
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Tags {
    /// Each by itself.
    List(Vec<Tag>),
    /// With commas between them.
    Text(String),
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum Command {
    Words(#[schemars(length(min = 1, max = 256))] Vec<String>),
    Line(String),
}

/// How to prove ourselves. `*****` stands for the stored secret.
#[derive(JsonSchema)]
pub struct Credentials {
    /// `basic`, `bearer`, `authheaders` or `none`.
    auth_type: Option<String>,
    auth_username: Option<String>,
    auth_password: Option<String>,
    auth_token: Option<String>,
    /// Another name of `auth_token`, and of the value of the only header.
    auth_value: Option<String>,
    /// The headers that prove us.
    #[schemars(length(max = 100))]
    auth_headers: Option<Vec<Header>>,
    /// The name of the only header.
    auth_header_key: Option<String>,
    auth_header_value: Option<String>,
}

/// A header.
#[derive(JsonSchema)]
#[schemars(inline)]
struct Header {
    key: String,
    value: String,
}

/// A resource to make: flat, or wrapped as `{"resource": {...}}`.
#[derive(JsonSchema)]
pub struct NewResource {
    /// What it is read by.
    #[schemars(length(min = 1, max = 2048))]
    uri: String,
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: String,
    /// What it holds, as text.
    content: String,
    #[schemars(flatten)]
    rest: ResourceFields,
}

/// What to change of a resource; what is not named stays.
#[derive(JsonSchema)]
pub struct ResourceChange {
    /// What it is read by.
    #[schemars(length(min = 1, max = 2048))]
    uri: Option<String>,
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// What it holds, as text.
    content: Option<String>,
    #[schemars(flatten)]
    rest: ResourceFields,
}

#[derive(JsonSchema)]
struct ResourceFields {
    /// What it holds, as bytes in base64, instead of `content`.
    blob: Option<String>,
    /// A URI with variables in braces; null for none.
    uri_template: Option<String>,
    /// The same by the name that an older contract has.
    template: Option<String>,
    title: Option<String>,
    /// What it is; cut where it is longer than may be.
    description: Option<String>,
    /// A usual media type, `application/x-*`, `text/x-*` or one with a suffix.
    mime_type: Option<String>,
    /// Hints of MCP.
    annotations: Option<Map<String, Value>>,
    /// Whatever its owner wants to keep with it.
    extension_metadata: Option<Map<String, Value>>,
    /// Words to find it by.
    tags: Option<Tags>,
    #[schemars(flatten)]
    ownership: Ownership,
}

/// A prompt to make: flat, or wrapped as `{"prompt": {...}}`.
#[derive(JsonSchema)]
pub struct NewPrompt {
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: String,
    /// A Jinja template.
    template: String,
    #[schemars(flatten)]
    rest: PromptFields,
}

/// What to change of a prompt; what is not named stays.
#[derive(JsonSchema)]
pub struct PromptChange {
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// A Jinja template.
    template: Option<String>,
    #[schemars(flatten)]
    rest: PromptFields,
}

#[derive(JsonSchema)]
struct PromptFields {
    /// The name that it has here.
    custom_name: Option<String>,
    /// What people read.
    display_name: Option<String>,
    title: Option<String>,
    /// What it is for; cut where it is longer than may be.
    description: Option<String>,
    /// What the template takes; the variables that it uses if none are named.
    #[schemars(length(max = 64))]
    arguments: Option<Vec<PromptArgument>>,
    /// Words to find it by.
    tags: Option<Tags>,
    #[schemars(flatten)]
    ownership: Ownership,
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct PromptArgument {
    /// Letters, digits and `_`.
    #[schemars(length(min = 1, max = 128))]
    name: String,
    description: Option<String>,
    required: Option<bool>,
}

/// Texts by the names of arguments.
#[derive(JsonSchema)]
#[schemars(transparent)]
pub struct PromptArguments(BTreeMap<String, String>);

/// A root to make.
#[derive(JsonSchema)]
pub struct NewRoot {
    /// A URI, or a path of a file.
    #[schemars(length(min = 1, max = 2048))]
    uri: String,
    #[schemars(length(max = 255))]
    name: Option<String>,
}

/// What to change of a root; what is not named stays.
#[derive(JsonSchema)]
pub struct RootChange {
    /// A URI, or a path of a file.
    #[schemars(length(min = 1, max = 2048))]
    uri: Option<String>,
    #[schemars(length(max = 255))]
    name: Option<String>,
}

/// The parameters of MCP's `initialize`.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct Initialize {
    /// Like `2025-11-25`.
    protocol_version: String,
    capabilities: Option<Map<String, Value>>,
    client_info: Option<Map<String, Value>>,
}

/// A JSON-RPC message with the method `ping`.
#[derive(JsonSchema)]
pub struct Ping {
    id: Option<super::answers::RpcId>,
    /// `ping`.
    method: String,
}

/// The parameters of MCP's `completion/complete`.
#[derive(JsonSchema)]
pub struct Complete {
    r#ref: Map<String, Value>,
    argument: Map<String, Value>,
}

/// How much to log.
#[derive(JsonSchema)]
pub struct SetLevel {
    /// `debug`, `info`, `notice`, `warning`, `error`, `critical`, `alert` or `emergency`.
    level: String,
}

/// An object as MCP has it.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
pub struct Anything(Map<String, Value>);

/// An A2A agent to register: flat, or wrapped as `{"agent": {...}}`.
#[derive(JsonSchema)]
pub struct NewAgent {
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: String,
    /// Where it is: http or https.
    #[schemars(length(max = 2048))]
    endpoint_url: String,
    #[schemars(flatten)]
    rest: AgentFields,
}

/// What to change of an A2A agent; what is not named stays.
#[derive(JsonSchema)]
pub struct AgentChange {
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// Where it is: http or https.
    #[schemars(length(max = 2048))]
    endpoint_url: Option<String>,
    #[schemars(flatten)]
    rest: AgentFields,
}

#[derive(JsonSchema)]
struct AgentFields {
    /// What stands in the names of its tool; made of the name if it is not said.
    slug: Option<String>,
    /// What it is for; cut where it is longer than may be.
    description: Option<String>,
    /// `generic`, `jsonrpc`, `custom` or another word.
    #[schemars(length(max = 64))]
    agent_type: Option<String>,
    #[schemars(length(max = 64))]
    protocol_version: Option<String>,
    capabilities: Option<Map<String, Value>>,
    config: Option<Map<String, Value>>,
    #[schemars(flatten)]
    credentials: Credentials,
    #[schemars(flatten)]
    query: QueryCredentials,
    /// Headers of callers that are handed on.
    passthrough_headers: Option<Words>,
    /// Words to find it by.
    tags: Option<Tags>,
    enabled: Option<bool>,
    #[schemars(flatten)]
    ownership: Ownership,
}

/// What an agent is asked.
#[derive(JsonSchema)]
pub struct Invocation {
    parameters: Option<Map<String, Value>>,
    /// `query` if it is not said.
    interaction_type: Option<String>,
}

/// Which agent is asked what.
#[derive(JsonSchema)]
pub struct InvocationById {
    /// Its id, name or slug.
    agent_id: String,
    #[schemars(flatten)]
    invocation: Invocation,
}

/// What to export: ids or names, by kind.
#[derive(JsonSchema)]
pub struct Selection {
    tools: Option<Words>,
    gateways: Option<Words>,
    servers: Option<Words>,
    prompts: Option<Words>,
    resources: Option<Words>,
    roots: Option<Words>,
    a2a_agents: Option<Words>,
}

/// What to import, and how.
#[derive(JsonSchema)]
pub struct Import {
    /// What an export gave.
    import_data: Map<String, Value>,
    /// What to do with what is there already: `skip`, `update`, `rename` or `fail`.
    conflict_strategy: Option<String>,
    /// Do nothing but tell what would be done.
    dry_run: Option<bool>,
    /// The secret that the credentials are sealed under.
    rekey_secret: Option<String>,
    /// Only these, by kind: lists of names, empty ones for all.
    selected_entities: Option<Map<String, Value>>,
}

/// A virtual server to make: flat, or wrapped as `{"server": {...}}`.
#[derive(JsonSchema)]
pub struct NewServer {
    /// Its id, a UUID; a fresh one if it is not said.
    id: Option<String>,
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: String,
    #[schemars(flatten)]
    rest: ServerFields,
}

/// What to change of a virtual server; what is not named stays.
#[derive(JsonSchema)]
pub struct ServerChange {
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    #[schemars(flatten)]
    rest: ServerFields,
}

#[derive(JsonSchema)]
struct ServerFields {
    /// What it is for; cut where it is longer than may be.
    description: Option<String>,
    /// The URL of a picture.
    #[schemars(length(max = 2048))]
    icon: Option<String>,
    /// Ids or names of tools.
    associated_tools: Option<Words>,
    /// Ids of resources.
    associated_resources: Option<Words>,
    /// Ids or names of prompts.
    associated_prompts: Option<Words>,
    /// Ids of agents.
    associated_a2a_agents: Option<Words>,
    /// Ids, names or slugs of upstreams: all that they offer.
    associated_gateways: Option<Words>,
    /// What stands before the upstreams' own names; null for the usual naming.
    #[schemars(length(max = 64))]
    tool_prefix: Option<String>,
    /// Other names and descriptions of tools, by id or name: `{"name", "description"}`.
    tool_overrides: Option<Map<String, Value>>,
    /// Whether its endpoint needs a token.
    auth_required: Option<bool>,
    /// Tokens of authorization servers open it.
    oauth_enabled: Option<bool>,
    /// Which: `authorization_servers`, and perhaps `scopes_supported`, `scopes_required`,
    /// `resource`.
    oauth_config: Option<serde_json::Map<String, serde_json::Value>>,
    /// Words to find it by.
    tags: Option<Tags>,
    #[schemars(flatten)]
    ownership: Ownership,
}

/// A JSON-RPC request or notification.
#[derive(JsonSchema)]
pub struct Rpc {
    /// `2.0`.
    jsonrpc: Version,
    /// Names the request; without it nothing is answered.
    #[schemars(default)]
    id: Option<super::answers::RpcId>,
    /// Like `tools/list`.
    method: String,
    params: Option<Map<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(inline)]
enum Version {
    #[schemars(rename = "2.0")]
    Two,
}

/// Who logs in.
#[derive(JsonSchema)]
pub struct Login {
    /// The address; or as `username`.
    email: Option<String>,
    /// As `email`.
    username: Option<String>,
    password: String,
}

/// A user who makes themselves.
#[derive(JsonSchema)]
pub struct Registration {
    email: String,
    password: String,
    #[schemars(length(max = 255))]
    full_name: Option<String>,
}

/// A user to make.
#[derive(JsonSchema)]
pub struct NewUser {
    email: String,
    password: String,
    #[schemars(length(max = 255))]
    full_name: Option<String>,
    is_admin: Option<bool>,
    is_active: Option<bool>,
    /// Whether another password must be chosen at the first login.
    password_change_required: Option<bool>,
}

/// What to change of a user; what is not named stays.
#[derive(JsonSchema)]
pub struct UserChange {
    /// Does not change.
    email: Option<String>,
    password: Option<String>,
    #[schemars(length(max = 255))]
    full_name: Option<String>,
    is_admin: Option<bool>,
    is_active: Option<bool>,
    /// Whether another password must be chosen at the next login.
    password_change_required: Option<bool>,
}

/// Another password.
#[derive(JsonSchema)]
pub struct PasswordChange {
    old_password: String,
    new_password: String,
}

/// A token to make.
#[derive(JsonSchema)]
pub struct NewToken {
    #[schemars(length(min = 1, max = 255))]
    name: String,
    #[schemars(length(max = 1000))]
    description: Option<String>,
    /// For ever, if it is not said.
    #[schemars(range(min = 1, max = 36500))]
    expires_in_days: Option<u64>,
    scope: Option<TokenScope>,
    tags: Option<Vec<String>>,
    is_active: Option<bool>,
    /// The team that it acts for; all of its user's, if it is not said.
    team_id: Option<String>,
    /// Whose it is; only administrators name others.
    user_email: Option<String>,
}

/// What to change of a token; what is not named stays.
#[derive(JsonSchema)]
pub struct TokenChange {
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    #[schemars(length(max = 1000))]
    description: Option<String>,
    /// From now on.
    #[schemars(range(min = 1, max = 36500))]
    expires_in_days: Option<u64>,
    scope: Option<TokenScope>,
    tags: Option<Vec<String>>,
    is_active: Option<bool>,
}

/// What a token is good for: for all that its user may, where nothing is said.
#[derive(JsonSchema)]
#[schemars(inline)]
struct TokenScope {
    /// The one virtual server that it opens.
    server_id: Option<String>,
    /// As `tools.read`.
    permissions: Option<Vec<String>>,
    /// Addresses and networks that it may come from.
    ip_restrictions: Option<Vec<String>>,
    time_restrictions: Option<Map<String, Value>>,
    usage_limits: Option<Map<String, Value>>,
}

/// A provider that people log in with.
#[derive(JsonSchema)]
pub struct NewProvider {
    /// The id, as it stands in addresses.
    id: String,
    name: Option<String>,
    display_name: Option<String>,
    /// `oidc` or `oauth2`.
    provider_type: Option<String>,
    client_id: String,
    /// Never shown again.
    client_secret: Option<String>,
    /// Whose tokens it gives; needed for `oidc`.
    issuer: Option<String>,
    /// Where its metadata say, if it is not said.
    authorization_url: Option<String>,
    /// Where its metadata say, if it is not said.
    token_url: Option<String>,
    userinfo_url: Option<String>,
    jwks_uri: Option<String>,
    scope: Option<String>,
    /// The domains of addresses that may log in; none for all.
    trusted_domains: Option<Vec<String>>,
    auto_create_users: Option<bool>,
    is_enabled: Option<bool>,
    /// Groups there to ids of teams here.
    team_mapping: Option<serde_json::Map<String, serde_json::Value>>,
    /// `email_claim`, `groups_claim`, `admin_groups`, `admin_domains`, `email_trusted`.
    provider_metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What to change of a provider; what is not named stays.
#[derive(JsonSchema)]
pub struct ProviderChange {
    name: Option<String>,
    display_name: Option<String>,
    /// `oidc` or `oauth2`.
    provider_type: Option<String>,
    client_id: Option<String>,
    /// Never shown again.
    client_secret: Option<String>,
    /// Whose tokens it gives; needed for `oidc`.
    issuer: Option<String>,
    /// Where its metadata say, if it is not said.
    authorization_url: Option<String>,
    /// Where its metadata say, if it is not said.
    token_url: Option<String>,
    userinfo_url: Option<String>,
    jwks_uri: Option<String>,
    scope: Option<String>,
    /// The domains of addresses that may log in; none for all.
    trusted_domains: Option<Vec<String>>,
    auto_create_users: Option<bool>,
    is_enabled: Option<bool>,
    /// Groups there to ids of teams here.
    team_mapping: Option<serde_json::Map<String, serde_json::Value>>,
    /// `email_claim`, `groups_claim`, `admin_groups`, `admin_domains`, `email_trusted`.
    provider_metadata: Option<serde_json::Map<String, serde_json::Value>>,
}
