//! From method and path to what is asked.

mod identity;
mod permission;
mod place;
mod registry;

use net::http1::Method;

use place::Place;

use super::answer::Shape;
use crate::failure::Failure;

/// What is asked, with the id it is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    Home,
    Health,
    Ready,
    Version,
    Docs,
    OpenApi,
    Security,
    CsrfToken,
    ProtectedResource,
    ProtectedServer(&'a str),
    Gateways,
    CreateGateway,
    Gateway(&'a str),
    UpdateGateway(&'a str),
    DeleteGateway(&'a str),
    GatewayState(&'a str),
    RefreshGateway(&'a str),
    Tools,
    CreateTool,
    ImportTools,
    Tool(&'a str),
    UpdateTool(&'a str),
    DeleteTool(&'a str),
    ToolState(&'a str),
    GenerateSchemas,
    ImportOpenapi,
    Tags,
    TagEntities(&'a str),
    Resources,
    CreateResource,
    Resource(&'a str),
    UpdateResource(&'a str),
    DeleteResource(&'a str),
    ResourceState(&'a str),
    ResourceInfo(&'a str),
    ResourceTemplates,
    TestResource(&'a str),
    SubscribeResources,
    Prompts,
    CreatePrompt,
    Prompt(&'a str),
    RenderPrompt(&'a str),
    UpdatePrompt(&'a str),
    DeletePrompt(&'a str),
    PromptState(&'a str),
    Roots,
    CreateRoot,
    Root(&'a str),
    UpdateRoot(&'a str),
    DeleteRoot(&'a str),
    ExportRoot,
    RootChanges,
    Policies,
    CreatePolicy,
    Policy(&'a str),
    UpdatePolicy(&'a str),
    DeletePolicy(&'a str),
    PolicyState(&'a str),
    TestPolicies,
    Initialize,
    Ping,
    Notify,
    Complete,
    Sample,
    SetLogLevel,
    Servers,
    CreateServer,
    Server(&'a str),
    UpdateServer(&'a str),
    DeleteServer(&'a str),
    ServerState(&'a str),
    ServerTools(&'a str),
    ServerResources(&'a str),
    ServerPrompts(&'a str),
    Agents,
    CreateAgent,
    Agent(&'a str),
    UpdateAgent(&'a str),
    DeleteAgent(&'a str),
    AgentState(&'a str),
    InvokeAgent(&'a str),
    InvokeAgentById,
    RelayToAgent(&'a str),
    Export,
    ExportSelective,
    Import,
    ImportStatus(&'a str),
    ImportStatuses,
    CleanUpImports,
    Audit,
    AuditExport,
    AuditTrails,
    Metrics,
    ResetMetrics,
    Login,
    Register,
    Me,
    ChangePassword,
    ForgotPassword,
    CheckReset(&'a str),
    ResetPassword(&'a str),
    AuthEvents,
    AllAuthEvents,
    Logout,
    RefreshToken,
    ValidateToken,
    SsoProviders,
    SsoLogin(&'a str),
    SsoCallback(&'a str),
    AdminProviders,
    CreateProvider,
    AdminProvider(&'a str),
    UpdateProvider(&'a str),
    DeleteProvider(&'a str),
    Users,
    CreateUser,
    User(&'a str),
    UpdateUser(&'a str),
    DeleteUser(&'a str),
    UnlockUser(&'a str),
    Tokens,
    CreateToken,
    Token(&'a str),
    TokenUsage(&'a str),
    UpdateToken(&'a str),
    RevokeToken(&'a str),
    AllTokens,
    RevokeAnyToken(&'a str),
    TeamTokens(&'a str),
    CreateTeamToken(&'a str),
    Teams,
    CreateTeam,
    DiscoverTeams,
    Team(&'a str),
    UpdateTeam(&'a str),
    DeleteTeam(&'a str),
    TeamMembers(&'a str),
    AddTeamMember(&'a str),
    UpdateTeamMember(&'a str, &'a str),
    RemoveTeamMember(&'a str, &'a str),
    LeaveTeam(&'a str),
    TeamInvitations(&'a str),
    InviteToTeam(&'a str),
    AcceptInvitation(&'a str),
    CancelInvitation(&'a str),
    JoinTeam(&'a str),
    JoinRequests(&'a str),
    ApproveJoinRequest(&'a str, &'a str),
    RejectJoinRequest(&'a str, &'a str),
    Roles,
    CreateRole,
    Role(&'a str),
    UpdateRole(&'a str),
    DeleteRole(&'a str),
    UserRoles(&'a str),
    AssignRole(&'a str),
    RevokeRole(&'a str, &'a str),
    CheckPermission,
    UserPermissions(&'a str),
    AvailablePermissions,
    MyRoles,
    MyPermissions,
    ExplainAccess,
}

impl<'a> Route<'a> {
    /// Reads method and path; `/v1` before it and a slash behind it change nothing.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`] for a path that is not here, [`Failure::MethodNotAllowed`] for a
    /// method that this path does not take.
    pub fn parse(method: Method, path: &'a str) -> Result<Route<'a>, Failure> {
        let place = Place::find(path).ok_or_else(|| Failure::NotFound("Not Found".to_owned()))?;
        let found = match method {
            Method::Get | Method::Head => place.get(),
            Method::Post => place.post(),
            Method::Put => place.put(),
            // Users alone are changed by this method too, as the contract's later line has it.
            Method::Patch => place.put().filter(|put| matches!(put, Route::UpdateUser(_))),
            Method::Delete => place.delete(),
            _ => None,
        };
        found.ok_or(Failure::MethodNotAllowed { allow: place.allow() })
    }

    /// Whether it is about A2A agents, which can be switched off.
    pub fn is_a2a(&self) -> bool {
        self.permission().is_some_and(|permission| permission.kind() == "a2a")
    }

    /// The name of what is asked, without the id.
    pub fn name(&self) -> String {
        let name = format!("{self:?}");
        name.split(['(', ' ']).next().unwrap_or_default().to_owned()
    }

    /// The virtual server that is asked of.
    pub fn server_id(&self) -> Option<&'a str> {
        match self {
            Route::Server(id)
            | Route::UpdateServer(id)
            | Route::DeleteServer(id)
            | Route::ServerState(id)
            | Route::ServerTools(id)
            | Route::ServerResources(id)
            | Route::ServerPrompts(id) => Some(id),
            _ => None,
        }
    }

    /// How errors look here: upstreams have a shape of their own.
    pub fn shape(&self) -> Shape {
        match self {
            Route::Gateways
            | Route::CreateGateway
            | Route::Gateway(_)
            | Route::UpdateGateway(_)
            | Route::DeleteGateway(_)
            | Route::GatewayState(_)
            | Route::RefreshGateway(_) => Shape::Message,
            _ => Shape::Detail,
        }
    }
}

/// Whether the path is answered without asking who the caller is, by whichever method.
pub fn is_open(path: &str) -> bool {
    let place = Place::find(path);
    place.and_then(|place| place.get().or(place.post())).is_some_and(|route| route.is_open())
}

/// The part of the API that a path belongs to, as `/tools`; `None` if it is not here.
pub fn area(path: &str) -> Option<&str> {
    Place::find(path)?;
    let path = match path.strip_prefix("/v1") {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    let inside = path.strip_prefix('/').unwrap_or(path);
    Some(inside.find('/').map_or(path, |end| &path[..=end]))
}

/// The methods that a path takes, as the `Allow` header lists them; `None` if it is not here.
pub fn methods(path: &str) -> Option<&'static str> {
    Place::find(path).map(Place::allow)
}

#[cfg(test)]
mod tests;
