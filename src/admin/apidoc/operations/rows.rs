//! The rows of the table.

use super::super::parameters::{
    ACTIVATE, AGE, AUDIT, AUDIT_PAGES, AUDIT_TRAILS, DEPENDENCIES, ENTITIES, ENTITY, EXPORT,
    FILTER, IMPORT, INACTIVE, KINDS, METRICS, PAGE, RESHAPE, SESSION, URI,
};
use super::super::{answers, requests};
use super::{Answer, Operation, Type, delete, get, of, post, put};
use crate::admin::audit::{AuditPage, AuditTrailRead};
use crate::admin::import::status::Status;
use crate::admin::policies::PolicyRead;
use crate::admin::show::{AgentRead, GatewayRead, PromptRead, ResourceRead, ServerRead, ToolRead};
use crate::admin::tags::{TagRead, Tagged};
use crate::policy::Trial;

const GATEWAY_READ: Type = of::<GatewayRead<'static>>;
const SERVER_READ: Type = of::<ServerRead<'static>>;
const TOOL_READ: Type = of::<ToolRead<'static>>;
const RESOURCE_READ: Type = of::<ResourceRead<'static>>;
const AGENT_READ: Type = of::<AgentRead<'static>>;
const TAG_READ: Type = of::<TagRead<'static>>;
const TAGGED: Type = of::<Tagged<'static>>;
const EXPORTED: Type = of::<answers::Exported>;
const IMPORT_STATUS: Type = of::<Status>;
const AUDIT_PAGE: Type = of::<AuditPage<'static>>;
const AUDIT_TRAIL_READ: Type = of::<AuditTrailRead<'static>>;
const PROMPT_READ: Type = of::<PromptRead<'static>>;
const POLICY_READ: Type = of::<PolicyRead<'static>>;

/// Every operation.
pub const OPERATIONS: &[Operation] = &[
    post("/mcp", "MCP", "Speaks MCP with everything that there is", Answer::Rpc)
        .body(of::<requests::Rpc>),
    post("/servers/{server_id}/mcp", "MCP", "Speaks MCP with one virtual server", Answer::Rpc)
        .body(of::<requests::Rpc>),
    get("/sse", "MCP", "Opens a stream of HTTP+SSE with everything that there is", Answer::Events),
    get("/servers/{server_id}/sse", "MCP", "Opens one with a virtual server", Answer::Events),
    post("/message", "MCP", "Takes a message for such a stream", Answer::Nothing)
        .query(&[SESSION])
        .body(of::<requests::Rpc>)
        .status(202)
        .otherwise(&[(404, of::<answers::FailedOrRpcFailure>)]),
    post(
        "/servers/{server_id}/message",
        "MCP",
        "Takes a message for such a stream",
        Answer::Nothing,
    )
    .query(&[SESSION])
    .body(of::<requests::Rpc>)
    .status(202),
    post("/rpc", "MCP", "Answers a JSON-RPC request", Answer::Rpc).body(of::<requests::Rpc>),
    get(
        "/.well-known/oauth-protected-resource/mcp",
        "MCP",
        "Tells whose tokens open everything (RFC 9728)",
        Answer::One(of::<answers::ProtectedResource>),
    )
    .otherwise(&[(404, of::<answers::Failed>)]),
    get(
        "/.well-known/oauth-protected-resource/servers/{server_id}/mcp",
        "MCP",
        "Tells whose tokens open a virtual server (RFC 9728)",
        Answer::One(of::<answers::ProtectedResource>),
    ),
    get("/gateways", "Gateways", "Lists upstreams", Answer::Page("gateways", GATEWAY_READ))
        .query(&[INACTIVE, FILTER, PAGE, RESHAPE]),
    post("/gateways", "Gateways", "Registers an upstream", Answer::One(GATEWAY_READ))
        .body(of::<requests::NewGateway>)
        .asks_upstreams(),
    get("/gateways/{gateway_id}", "Gateways", "Shows an upstream", Answer::One(GATEWAY_READ)),
    put("/gateways/{gateway_id}", "Gateways", "Changes an upstream", Answer::One(GATEWAY_READ))
        .body(of::<requests::GatewayChange>)
        .asks_upstreams(),
    delete(
        "/gateways/{gateway_id}",
        "Gateways",
        "Forgets an upstream and all that it offers",
        Answer::One(of::<answers::Done>),
    ),
    post(
        "/gateways/{gateway_id}/state",
        "Gateways",
        "Switches an upstream on or off",
        Answer::One(of::<answers::GatewaySwitched>),
    )
    .query(&[ACTIVATE])
    .versioned()
    .asks_upstreams(),
    post(
        "/gateways/{gateway_id}/tools/refresh",
        "Gateways",
        "Reads again what an upstream offers",
        Answer::One(of::<answers::Refreshed>),
    )
    .versioned()
    .asks_upstreams(),
    get("/tools", "Tools", "Lists tools", Answer::Page("tools", TOOL_READ))
        .query(&[INACTIVE, FILTER, PAGE, RESHAPE, METRICS]),
    get("/tools/{tool_id}", "Tools", "Shows a tool", Answer::One(TOOL_READ))
        .query(&[RESHAPE, METRICS]),
    post("/tools", "Tools", "Makes a REST tool", Answer::One(TOOL_READ))
        .body(of::<requests::NewTool>),
    put("/tools/{tool_id}", "Tools", "Changes a tool", Answer::One(TOOL_READ))
        .body(of::<requests::ToolChange>),
    delete("/tools/{tool_id}", "Tools", "Deletes a tool", Answer::One(of::<answers::Done>)),
    post(
        "/tools/{tool_id}/state",
        "Tools",
        "Switches a tool on or off",
        Answer::One(of::<answers::ToolSwitched>),
    )
    .query(&[ACTIVATE])
    .versioned(),
    post(
        "/tools/bulk",
        "Tools",
        "Makes many REST tools, all that can be made",
        Answer::One(of::<answers::ToolsMade>),
    )
    .body(of::<requests::NewTools>)
    .otherwise(&[
        (413, of::<answers::FailedOrUnsuccessful>),
        (422, of::<answers::InvalidOrUnsuccessful>),
    ]),
    post(
        "/tools/generate-schemas-from-openapi",
        "Tools",
        "Reads the schemas of an operation out of an OpenAPI document",
        Answer::One(of::<answers::GeneratedSchemas>),
    )
    .body(of::<requests::GenerateSchemas>)
    .asks_upstreams()
    .otherwise(&[
        (400, of::<answers::FailedOrUnsuccessful>),
        (404, of::<answers::Unsuccessful>),
        (422, of::<answers::InvalidOrUnsuccessful>),
        (502, of::<answers::Unsuccessful>),
        (503, of::<answers::FailedOrUnsuccessful>),
    ]),
    post(
        "/tools/import-openapi",
        "Tools",
        "Makes a tool of every operation of an OpenAPI document",
        Answer::One(of::<answers::Imported>),
    )
    .body(of::<requests::ImportOpenapi>)
    .asks_upstreams(),
    get("/servers", "Servers", "Lists virtual servers", Answer::Page("servers", SERVER_READ))
        .query(&[INACTIVE, FILTER, PAGE, RESHAPE, METRICS]),
    post("/servers", "Servers", "Makes a virtual server", Answer::One(SERVER_READ))
        .status(201)
        .body(of::<requests::NewServer>),
    get("/servers/{server_id}", "Servers", "Shows a virtual server", Answer::One(SERVER_READ))
        .query(&[METRICS]),
    put("/servers/{server_id}", "Servers", "Changes a virtual server", Answer::One(SERVER_READ))
        .body(of::<requests::ServerChange>),
    delete(
        "/servers/{server_id}",
        "Servers",
        "Deletes a virtual server",
        Answer::One(of::<answers::Done>),
    ),
    post(
        "/servers/{server_id}/state",
        "Servers",
        "Switches a virtual server on or off",
        Answer::One(SERVER_READ),
    )
    .query(&[ACTIVATE])
    .versioned(),
    get(
        "/servers/{server_id}/tools",
        "Servers",
        "Lists the tools of a virtual server",
        Answer::List(TOOL_READ),
    )
    .query(&[INACTIVE, METRICS]),
    get(
        "/servers/{server_id}/resources",
        "Servers",
        "Lists the resources of a virtual server",
        Answer::List(RESOURCE_READ),
    )
    .query(&[INACTIVE, METRICS]),
    get(
        "/servers/{server_id}/prompts",
        "Servers",
        "Lists the prompts of a virtual server",
        Answer::List(PROMPT_READ),
    )
    .query(&[INACTIVE, METRICS]),
    get("/resources", "Resources", "Lists resources", Answer::Page("resources", RESOURCE_READ))
        .query(&[INACTIVE, FILTER, PAGE, RESHAPE, METRICS]),
    post("/resources", "Resources", "Makes a resource", Answer::One(RESOURCE_READ))
        .body(of::<requests::NewResource>),
    get(
        "/resources/{resource_id}",
        "Resources",
        "Reads a resource",
        Answer::One(of::<answers::ResourceContent>),
    )
    .asks_upstreams(),
    post("/resources/subscribe", "Resources", "Tells of resources that change", Answer::Events),
    put("/resources/{resource_id}", "Resources", "Changes a resource", Answer::One(RESOURCE_READ))
        .body(of::<requests::ResourceChange>),
    delete(
        "/resources/{resource_id}",
        "Resources",
        "Deletes a resource",
        Answer::One(of::<answers::Done>),
    ),
    post(
        "/resources/{resource_id}/state",
        "Resources",
        "Switches a resource on or off",
        Answer::One(of::<answers::ResourceSwitched>),
    )
    .query(&[ACTIVATE])
    .versioned(),
    get(
        "/resources/{resource_id}/info",
        "Resources",
        "Shows a resource",
        Answer::One(RESOURCE_READ),
    )
    .query(&[METRICS]),
    get(
        "/resources/templates/list",
        "Resources",
        "Lists templates of resources",
        Answer::One(of::<answers::Templates>),
    )
    .query(&[INACTIVE]),
    get(
        "/resources/test/{uri}",
        "Resources",
        "Reads by a URI, of a template too",
        Answer::One(of::<answers::TestedResource>),
    )
    .asks_upstreams(),
    get("/prompts", "Prompts", "Lists prompts", Answer::Page("prompts", PROMPT_READ))
        .query(&[INACTIVE, FILTER, PAGE, RESHAPE, METRICS]),
    post("/prompts", "Prompts", "Makes a prompt", Answer::One(PROMPT_READ))
        .body(of::<requests::NewPrompt>),
    get(
        "/prompts/{prompt_id}",
        "Prompts",
        "Renders a prompt without arguments",
        Answer::One(of::<answers::Rendered>),
    )
    .asks_upstreams(),
    post(
        "/prompts/{prompt_id}",
        "Prompts",
        "Renders a prompt",
        Answer::One(of::<answers::Rendered>),
    )
    .body(of::<requests::PromptArguments>)
    .asks_upstreams(),
    put("/prompts/{prompt_id}", "Prompts", "Changes a prompt", Answer::One(PROMPT_READ))
        .body(of::<requests::PromptChange>),
    delete("/prompts/{prompt_id}", "Prompts", "Deletes a prompt", Answer::One(of::<answers::Done>)),
    post(
        "/prompts/{prompt_id}/state",
        "Prompts",
        "Switches a prompt on or off",
        Answer::One(of::<answers::PromptSwitched>),
    )
    .query(&[ACTIVATE])
    .versioned(),
    get("/policies", "Policies", "Lists policies", Answer::List(POLICY_READ)),
    post("/policies", "Policies", "Makes a policy", Answer::One(POLICY_READ))
        .status(201)
        .body(of::<requests::NewPolicy>),
    get("/policies/{policy_id}", "Policies", "Shows a policy", Answer::One(POLICY_READ)),
    put("/policies/{policy_id}", "Policies", "Changes a policy", Answer::One(POLICY_READ))
        .body(of::<requests::PolicyChange>),
    delete(
        "/policies/{policy_id}",
        "Policies",
        "Deletes a policy",
        Answer::One(of::<answers::Done>),
    ),
    post(
        "/policies/{policy_id}/state",
        "Policies",
        "Switches a policy on or off",
        Answer::One(POLICY_READ),
    )
    .query(&[ACTIVATE])
    .versioned(),
    post(
        "/policies/test",
        "Policies",
        "Says what policies would decide, and why",
        Answer::One(of::<Trial>),
    )
    .body(of::<requests::PolicyTest>),
    get("/roots", "Roots", "Lists roots", Answer::List(of::<answers::Root>)),
    post("/roots", "Roots", "Makes a root", Answer::One(of::<answers::Root>))
        .body(of::<requests::NewRoot>),
    get("/roots/{uri}", "Roots", "Shows a root", Answer::One(of::<answers::Root>)),
    put("/roots/{uri}", "Roots", "Changes a root", Answer::One(of::<answers::Root>))
        .body(of::<requests::RootChange>),
    delete("/roots/{uri}", "Roots", "Deletes a root", Answer::One(of::<answers::Done>)),
    get("/roots/export", "Roots", "Exports a root", Answer::One(of::<answers::ExportedRoot>))
        .query(&[URI])
        .otherwise(&[(404, of::<answers::Failed>)]),
    get("/roots/changes", "Roots", "Tells of roots that become otherwise", Answer::Events),
    post(
        "/protocol/initialize",
        "Protocol",
        "Answers as MCP's `initialize`",
        Answer::One(of::<answers::Anything>),
    )
    .body(of::<requests::Initialize>)
    .asks_upstreams(),
    post("/protocol/ping", "Protocol", "Answers `ping`", Answer::One(of::<answers::Pong>))
        .body(of::<requests::Ping>)
        .otherwise(&[(400, of::<answers::FailedOrRpcFailure>)]),
    post(
        "/protocol/notifications",
        "Protocol",
        "Takes note of a notification",
        Answer::One(of::<answers::Nothing>),
    )
    .body(of::<requests::Anything>),
    post(
        "/protocol/completion/complete",
        "Protocol",
        "Answers as MCP's `completion/complete`",
        Answer::One(of::<answers::Anything>),
    )
    .body(of::<requests::Complete>)
    .asks_upstreams(),
    post(
        "/protocol/sampling/createMessage",
        "Protocol",
        "Says that the gateway has no model",
        Answer::One(of::<answers::Failed>),
    )
    .status(501)
    .body(of::<requests::Anything>),
    post(
        "/logging/setLevel",
        "Operation",
        "Sets what the gateway writes into its log",
        Answer::One(of::<answers::Nothing>),
    )
    .body(of::<requests::SetLevel>),
    get("/tags", "Tags", "Lists tags, and how often each is used", Answer::List(TAG_READ))
        .query(&[KINDS, ENTITIES]),
    get("/tags/{tag}/entities", "Tags", "Lists what has a tag", Answer::List(TAGGED))
        .query(&[KINDS]),
    get("/a2a", "Agents", "Lists A2A agents", Answer::Page("agents", AGENT_READ))
        .query(&[INACTIVE, FILTER, PAGE, RESHAPE, METRICS]),
    post("/a2a", "Agents", "Registers an A2A agent", Answer::One(AGENT_READ))
        .status(201)
        .body(of::<requests::NewAgent>),
    get("/a2a/{agent_id}", "Agents", "Shows an A2A agent", Answer::One(AGENT_READ))
        .query(&[METRICS]),
    put("/a2a/{agent_id}", "Agents", "Changes an A2A agent", Answer::One(AGENT_READ))
        .body(of::<requests::AgentChange>),
    delete("/a2a/{agent_id}", "Agents", "Forgets an A2A agent", Answer::One(of::<answers::Done>)),
    post(
        "/a2a/{agent_id}/state",
        "Agents",
        "Switches an A2A agent on or off",
        Answer::One(AGENT_READ),
    )
    .query(&[ACTIVATE])
    .versioned(),
    post(
        "/a2a/{agent_name}/invoke",
        "Agents",
        "Sends parameters to an A2A agent",
        Answer::One(of::<answers::FromAgent>),
    )
    .body(of::<requests::Invocation>)
    .asks_upstreams(),
    post(
        "/a2a/invoke",
        "Agents",
        "Sends parameters to the A2A agent that the body names",
        Answer::One(of::<answers::FromAgent>),
    )
    .body(of::<requests::InvocationById>)
    .asks_upstreams()
    .otherwise(&[(404, of::<answers::Failed>)]),
    post(
        "/a2a/{agent_name}/jsonrpc",
        "Agents",
        "Relays a JSON-RPC request to an A2A agent",
        Answer::One(of::<answers::FromAgent>),
    )
    .body(of::<requests::Rpc>)
    .asks_upstreams()
    .otherwise(&[(400, of::<answers::FailedOrRpcFailure>)]),
    get("/export", "Export and import", "Exports the registry", Answer::One(EXPORTED)).query(&[
        INACTIVE,
        DEPENDENCIES,
        EXPORT,
    ]),
    post("/export/selective", "Export and import", "Exports what is named", Answer::One(EXPORTED))
        .query(&[DEPENDENCIES])
        .body(of::<requests::Selection>),
    post("/import", "Export and import", "Imports an export", Answer::One(IMPORT_STATUS))
        .query(&[IMPORT])
        .body(of::<requests::Import>)
        .asks_upstreams(),
    get(
        "/import/status",
        "Export and import",
        "Tells how far all imports are",
        Answer::List(IMPORT_STATUS),
    ),
    get(
        "/import/status/{import_id}",
        "Export and import",
        "Tells how far an import is",
        Answer::One(IMPORT_STATUS),
    ),
    post(
        "/import/cleanup",
        "Export and import",
        "Forgets imports that are done",
        Answer::One(of::<answers::CleanedUp>),
    )
    .query(&[AGE]),
    get("/audit", "Audit", "Lists who did what, newest first", Answer::One(AUDIT_PAGE))
        .query(&[AUDIT, AUDIT_PAGES]),
    get(
        "/audit/export",
        "Audit",
        "Lists it as lines of JSON; what follows is asked for by the last line's cursor",
        Answer::Lines,
    )
    .query(&[AUDIT, AUDIT_PAGES]),
    get(
        "/api/logs/audit-trails",
        "Audit",
        "Lists it as ContextForge does",
        Answer::List(AUDIT_TRAIL_READ),
    )
    .query(&[AUDIT_TRAILS]),
    get("/metrics", "Metrics", "Tells what was counted", Answer::One(of::<answers::Totals>)),
    post(
        "/metrics/reset",
        "Metrics",
        "Sets to nothing what was counted",
        Answer::One(of::<answers::Done>),
    )
    .query(&[ENTITY]),
    get("/", "Operation", "Says what this is", Answer::One(of::<answers::About>)),
    get(
        "/health",
        "Operation",
        "Answers while the process does",
        Answer::One(of::<answers::Health>),
    ),
    get(
        "/ready",
        "Operation",
        "Tells whether requests can be served",
        Answer::One(of::<answers::Ready>),
    )
    .otherwise(&[(503, of::<answers::NotReady>)]),
    get(
        "/health/security",
        "Operation",
        "Tells how safe the settings are",
        Answer::One(of::<answers::Security>),
    ),
    get(
        "/auth/csrf-token",
        "Sessions",
        "Gives the token that shows a change by cookie to be meant",
        Answer::One(of::<answers::CsrfToken>),
    ),
    get("/version", "Operation", "Tells what runs here", Answer::One(of::<answers::Version>)),
    get(
        "/openapi.json",
        "Documentation",
        "Gives this document",
        Answer::One(of::<answers::Document>),
    ),
    get("/docs", "Documentation", "Shows this document to people", Answer::Html),
];
