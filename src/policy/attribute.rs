//! What expressions may name of a request: the fields, and who knows their values.

use super::fuel::Fault;
use super::value::Value;

/// Declares the attributes, each with its path and what it is.
macro_rules! attributes {
    ($($(#[doc = $what:literal])+ $variant:ident = $path:literal,)+) => {
        /// Something that an expression may name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Attribute {
            $($(#[doc = $what])+ $variant,)+
        }

        impl Attribute {
            /// All there are.
            pub const ALL: &'static [Attribute] = &[$(Attribute::$variant,)+];

            /// How it is written.
            pub fn path(self) -> &'static str {
                match self { $(Attribute::$variant => $path,)+ }
            }
        }
    };
}

attributes! {
    /// The claims of the caller's token, as they were signed; none without a token.
    Jwt = "jwt",
    /// The caller's address.
    CallerEmail = "caller.email",
    /// Whether the caller is an administrator.
    CallerIsAdmin = "caller.is_admin",
    /// The ids of the teams that the caller acts for.
    CallerTeams = "caller.teams",
    /// The address that the request came from.
    CallerIp = "caller.ip",
    /// The id (`jti`) of the caller's token.
    CallerTokenId = "caller.token_id",
    /// The id of the tool.
    ToolId = "tool.id",
    /// The name that the tool is called by here.
    ToolName = "tool.name",
    /// The upstream's name for it.
    ToolOriginalName = "tool.original_name",
    /// The name of the upstream that has it; absent for our own.
    ToolGateway = "tool.gateway",
    /// Its tags.
    ToolTags = "tool.tags",
    /// Its annotations, as the upstream gives them.
    ToolAnnotations = "tool.annotations",
    /// Who may see it: `private`, `team` or `public`.
    ToolVisibility = "tool.visibility",
    /// The team that owns it.
    ToolTeam = "tool.team_id",
    /// The user who owns it.
    ToolOwner = "tool.owner_email",
    /// Where its calls go: `MCP`, `REST` or `A2A`.
    ToolIntegrationType = "tool.integration_type",
    /// The id of the resource.
    ResourceId = "resource.id",
    /// The URI that is read.
    ResourceUri = "resource.uri",
    /// The name of the resource.
    ResourceName = "resource.name",
    /// The name of the upstream that has it.
    ResourceGateway = "resource.gateway",
    /// Its tags.
    ResourceTags = "resource.tags",
    /// Its media type.
    ResourceMimeType = "resource.mime_type",
    /// Who may see it.
    ResourceVisibility = "resource.visibility",
    /// The team that owns it.
    ResourceTeam = "resource.team_id",
    /// The user who owns it.
    ResourceOwner = "resource.owner_email",
    /// The id of the prompt.
    PromptId = "prompt.id",
    /// The name that the prompt is asked for by.
    PromptName = "prompt.name",
    /// The upstream's name for it.
    PromptOriginalName = "prompt.original_name",
    /// The name of the upstream that has it.
    PromptGateway = "prompt.gateway",
    /// Its tags.
    PromptTags = "prompt.tags",
    /// Who may see it.
    PromptVisibility = "prompt.visibility",
    /// The team that owns it.
    PromptTeam = "prompt.team_id",
    /// The user who owns it.
    PromptOwner = "prompt.owner_email",
    /// The arguments of the call.
    Arguments = "arguments",
    /// The method of MCP, as `tools/call`.
    RequestMethod = "request.method",
    /// How the request came: `streamable_http`, `rpc`, `sse` or `websocket`.
    RequestTransport = "request.transport",
    /// The virtual server that it came to; empty for all that there is.
    RequestServer = "request.server_id",
    /// When it came.
    RequestTime = "request.time",
    /// The id of the virtual server.
    ServerId = "server.id",
    /// The name of the virtual server.
    ServerName = "server.name",
    /// The tags of the virtual server.
    ServerTags = "server.tags",
    /// Who may see the virtual server.
    ServerVisibility = "server.visibility",
    /// The team that owns the virtual server.
    ServerTeam = "server.team_id",
}

/// The header fields that an expression may name. Those that hold secrets are not among them.
pub const HEADERS: [&str; 12] = [
    "accept-language",
    "mcp-protocol-version",
    "origin",
    "referer",
    "traceparent",
    "user-agent",
    "x-client-id",
    "x-correlation-id",
    "x-forwarded-for",
    "x-request-id",
    "x-tenant-id",
    "x-user-id",
];

/// The kind of thing that a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A tool.
    Tool,
    /// A resource.
    Resource,
    /// A prompt.
    Prompt,
}

impl Attribute {
    /// The attribute that is written so.
    pub fn of_path(path: &str) -> Option<Attribute> {
        Attribute::ALL.iter().copied().find(|attribute| attribute.path() == path)
    }

    /// What stands before the dot.
    pub fn root(self) -> &'static str {
        self.path().split('.').next().unwrap_or_default()
    }

    /// The kind of thing that alone has it.
    pub fn subject(self) -> Option<Subject> {
        match self.root() {
            "tool" => Some(Subject::Tool),
            "resource" => Some(Subject::Resource),
            "prompt" => Some(Subject::Prompt),
            _ => None,
        }
    }
}

/// Who knows the values of one request. Each is asked for when it is needed, and not before.
pub trait Facts {
    /// The value of an attribute, if the request has it.
    ///
    /// # Errors
    ///
    /// [`Fault`] if it has one that cannot be told.
    fn attribute(&self, attribute: Attribute) -> Result<Option<Value<'_>>, Fault>;

    /// The value of one of [`HEADERS`].
    fn header(&self, name: &str) -> Option<Value<'_>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_is_found_by_its_path() {
        for attribute in Attribute::ALL {
            assert_eq!(Attribute::of_path(attribute.path()), Some(*attribute));
        }
        assert_eq!(Attribute::of_path("tool"), None);
    }

    #[test]
    fn no_header_that_may_hold_a_secret_can_be_named() {
        for secret in ["authorization", "cookie", "proxy-authorization", "x-api-key"] {
            assert!(!HEADERS.contains(&secret), "{secret}");
        }
        assert!(HEADERS.is_sorted() && HEADERS.iter().all(|name| *name == name.to_lowercase()));
    }
}
