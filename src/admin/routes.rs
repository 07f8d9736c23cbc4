//! From method and path to what is asked.

mod identity;

use net::http1::Method;

use super::answer::Shape;
use crate::failure::Failure;
use crate::permission::Permission;

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

/// A place in the tree of paths, whatever the method.
#[derive(Clone, Copy)]
enum Place<'a> {
    Probe(Route<'a>),
    Collection(Route<'a>, Option<Route<'a>>),
    Record {
        get: Route<'a>,
        put: Option<Route<'a>>,
        delete: Option<Route<'a>>,
    },
    /// A record that is rendered too.
    Prompt(&'a str),
    Action(Route<'a>),
    /// What is not shown by itself, but goes, and may be changed.
    Part {
        put: Option<Route<'a>>,
        delete: Route<'a>,
    },
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

    /// Whether nobody needs to prove who they are: load balancers ask here.
    pub fn is_open(&self) -> bool {
        matches!(
            self,
            Route::Home
                | Route::Health
                | Route::Ready
                | Route::Docs
                | Route::Login
                | Route::Register
                | Route::ProtectedResource
                | Route::ProtectedServer(_)
                | Route::SsoProviders
                | Route::SsoLogin(_)
                | Route::SsoCallback(_)
        )
    }

    /// The permission that is needed, by the contract's name; `None` if a valid token is enough.
    pub fn permission(&self) -> Option<Permission> {
        Some(match self {
            Route::Home | Route::Health | Route::Ready | Route::Version => return None,
            Route::Docs | Route::OpenApi | Route::CsrfToken => return None,
            Route::ProtectedResource | Route::ProtectedServer(_) => return None,
            Route::Security => Permission::AdminSystemConfig,
            Route::Gateways | Route::Gateway(_) => Permission::GatewaysRead,
            Route::CreateGateway => Permission::GatewaysCreate,
            Route::UpdateGateway(_) | Route::GatewayState(_) | Route::RefreshGateway(_) => {
                Permission::GatewaysUpdate
            }
            Route::DeleteGateway(_) => Permission::GatewaysDelete,
            Route::Tools | Route::Tool(_) => Permission::ToolsRead,
            Route::CreateTool
            | Route::ImportTools
            | Route::ImportOpenapi
            | Route::GenerateSchemas => Permission::ToolsCreate,
            Route::UpdateTool(_) | Route::ToolState(_) => Permission::ToolsUpdate,
            Route::DeleteTool(_) => Permission::ToolsDelete,
            Route::Tags | Route::TagEntities(_) => Permission::TagsRead,
            Route::Resources
            | Route::Resource(_)
            | Route::ResourceInfo(_)
            | Route::ResourceTemplates
            | Route::TestResource(_)
            | Route::SubscribeResources => Permission::ResourcesRead,
            Route::CreateResource => Permission::ResourcesCreate,
            Route::UpdateResource(_) | Route::ResourceState(_) => Permission::ResourcesUpdate,
            Route::DeleteResource(_) => Permission::ResourcesDelete,
            Route::Prompts | Route::Prompt(_) | Route::RenderPrompt(_) => Permission::PromptsRead,
            Route::CreatePrompt => Permission::PromptsCreate,
            Route::UpdatePrompt(_) | Route::PromptState(_) => Permission::PromptsUpdate,
            Route::DeletePrompt(_) => Permission::PromptsDelete,
            Route::Roots
            | Route::CreateRoot
            | Route::Root(_)
            | Route::UpdateRoot(_)
            | Route::DeleteRoot(_)
            | Route::ExportRoot
            | Route::RootChanges
            | Route::Policies
            | Route::CreatePolicy
            | Route::Policy(_)
            | Route::UpdatePolicy(_)
            | Route::DeletePolicy(_)
            | Route::PolicyState(_)
            | Route::TestPolicies
            | Route::SetLogLevel => Permission::AdminSystemConfig,
            Route::Initialize | Route::Ping | Route::Notify | Route::Complete | Route::Sample => {
                return None;
            }
            Route::Servers
            | Route::Server(_)
            | Route::ServerTools(_)
            | Route::ServerResources(_)
            | Route::ServerPrompts(_) => Permission::ServersRead,
            Route::CreateServer => Permission::ServersCreate,
            Route::UpdateServer(_) | Route::ServerState(_) => Permission::ServersUpdate,
            Route::DeleteServer(_) => Permission::ServersDelete,
            Route::Export | Route::ExportSelective => Permission::AdminExport,
            Route::Import
            | Route::ImportStatus(_)
            | Route::ImportStatuses
            | Route::CleanUpImports => Permission::AdminImport,
            Route::Agents | Route::Agent(_) => Permission::A2aRead,
            Route::CreateAgent => Permission::A2aCreate,
            Route::UpdateAgent(_) | Route::AgentState(_) => Permission::A2aUpdate,
            Route::DeleteAgent(_) => Permission::A2aDelete,
            Route::InvokeAgent(_) | Route::InvokeAgentById | Route::RelayToAgent(_) => {
                Permission::A2aInvoke
            }
            Route::Audit | Route::AuditExport | Route::AuditTrails => Permission::AuditRead,
            Route::Metrics | Route::ResetMetrics => Permission::AdminMetrics,
            Route::Login
            | Route::Register
            | Route::Me
            | Route::ChangePassword
            | Route::Logout
            | Route::RefreshToken
            | Route::ValidateToken
            | Route::SsoProviders
            | Route::SsoLogin(_)
            | Route::SsoCallback(_) => return None,
            Route::AdminProviders | Route::AdminProvider(_) => Permission::AdminSsoProvidersRead,
            Route::CreateProvider => Permission::AdminSsoProvidersCreate,
            Route::UpdateProvider(_) => Permission::AdminSsoProvidersUpdate,
            Route::DeleteProvider(_) => Permission::AdminSsoProvidersDelete,
            Route::Users
            | Route::CreateUser
            | Route::User(_)
            | Route::UpdateUser(_)
            | Route::DeleteUser(_)
            | Route::UnlockUser(_) => Permission::AdminUserManagement,
            Route::Tokens | Route::Token(_) | Route::AllTokens | Route::TeamTokens(_) => {
                Permission::TokensRead
            }
            Route::CreateToken | Route::CreateTeamToken(_) => Permission::TokensCreate,
            Route::UpdateToken(_) => Permission::TokensUpdate,
            Route::RevokeToken(_) | Route::RevokeAnyToken(_) => Permission::TokensRevoke,
            Route::Teams | Route::DiscoverTeams | Route::Team(_) | Route::TeamMembers(_) => {
                Permission::TeamsRead
            }
            Route::CreateTeam => Permission::TeamsCreate,
            Route::UpdateTeam(_) => Permission::TeamsUpdate,
            Route::DeleteTeam(_) => Permission::TeamsDelete,
            Route::AddTeamMember(_)
            | Route::UpdateTeamMember(..)
            | Route::RemoveTeamMember(..)
            | Route::TeamInvitations(_)
            | Route::InviteToTeam(_)
            | Route::CancelInvitation(_)
            | Route::JoinRequests(_)
            | Route::ApproveJoinRequest(..)
            | Route::RejectJoinRequest(..) => Permission::TeamsManageMembers,
            Route::AcceptInvitation(_) | Route::JoinTeam(_) | Route::LeaveTeam(_) => {
                Permission::TeamsJoin
            }
            Route::Roles
            | Route::CreateRole
            | Route::Role(_)
            | Route::UpdateRole(_)
            | Route::DeleteRole(_) => Permission::AdminUserManagement,
            // Whoever manages users, or the team that a role is to count in: the handlers ask.
            Route::UserRoles(_) | Route::AssignRole(_) | Route::RevokeRole(..) => return None,
            Route::CheckPermission | Route::UserPermissions(_) => Permission::AdminSecurityAudit,
            // About themselves, everybody may ask.
            Route::AvailablePermissions
            | Route::MyRoles
            | Route::MyPermissions
            | Route::ExplainAccess => return None,
        })
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

/// The methods that a path takes, as the `Allow` header lists them.
/// Whether the path is answered without asking who the caller is, by whichever method.
pub fn is_open(path: &str) -> bool {
    let place = Place::find(path);
    place.and_then(|place| place.get().or(place.post())).is_some_and(|route| route.is_open())
}

/// The methods that a path takes, as the `Allow` header lists them; `None` if it is not here.
pub fn methods(path: &str) -> Option<&'static str> {
    Place::find(path).map(Place::allow)
}

impl<'a> Place<'a> {
    fn find(path: &'a str) -> Option<Place<'a>> {
        let path = match path.strip_prefix("/v1") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => path,
        };
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        if let Some(place) = Place::by_uri(path) {
            return Some(place);
        }
        let mut parts = path.split('/');
        let found = match (parts.next()?, parts.next()) {
            ("", None) => Place::Probe(Route::Home),
            ("health", None) => Place::Probe(Route::Health),
            ("health", Some("security")) => Place::Probe(Route::Security),
            ("auth", Some("csrf-token")) => Place::Probe(Route::CsrfToken),
            ("ready", None) => Place::Probe(Route::Ready),
            ("version", None) => Place::Probe(Route::Version),
            ("openapi.json", None) => Place::Probe(Route::OpenApi),
            ("docs" | "redoc", None) => Place::Probe(Route::Docs),
            ("gateways", id) => Place::gateway(id, parts.next(), parts.next())?,
            ("tags", None) => Place::Collection(Route::Tags, None),
            ("tags", Some(tag)) if parts.next() == Some("entities") => {
                Place::Collection(Route::TagEntities(tag), None)
            }
            (".well-known", Some("oauth-protected-resource")) => match parts.next() {
                None | Some("mcp") => Place::Probe(Route::ProtectedResource),
                Some("servers") => {
                    let id = parts.next().filter(|id| !id.is_empty())?;
                    // ContextForge takes the address without `/mcp` too.
                    parts.next().is_none_or(|last| last == "mcp").then_some(())?;
                    Place::Probe(Route::ProtectedServer(id))
                }
                Some(_) => return None,
            },
            ("servers", Some(id)) if parts.clone().next() == Some(".well-known") => {
                parts.next();
                (parts.next() == Some("oauth-protected-resource") && !id.is_empty())
                    .then_some(())?;
                Place::Probe(Route::ProtectedServer(id))
            }
            ("servers", id) => Place::server(id, parts.next())?,
            ("export", None) => Place::Collection(Route::Export, None),
            ("export", Some("selective")) => Place::Action(Route::ExportSelective),
            ("import", None) => Place::Action(Route::Import),
            ("import", Some("cleanup")) => Place::Action(Route::CleanUpImports),
            ("import", Some("status")) => match parts.next() {
                None => Place::Collection(Route::ImportStatuses, None),
                Some(id) => Place::Collection(Route::ImportStatus(id), None),
            },
            ("a2a", id) => Place::agent(id, parts.next())?,
            ("admin", Some("tools")) if parts.next() == Some("import") => {
                Place::Action(Route::ImportTools)
            }
            ("tools", Some("bulk")) => Place::Action(Route::ImportTools),
            ("audit", None) => Place::Probe(Route::Audit),
            ("audit", Some("export")) => Place::Probe(Route::AuditExport),
            ("api", Some("logs")) if parts.next() == Some("audit-trails") => {
                Place::Probe(Route::AuditTrails)
            }
            ("metrics", None) => Place::Collection(Route::Metrics, None),
            ("metrics", Some("reset")) => Place::Action(Route::ResetMetrics),
            ("tools", Some("import-openapi")) => Place::Action(Route::ImportOpenapi),
            ("tools", Some("generate-schemas-from-openapi")) => {
                Place::Action(Route::GenerateSchemas)
            }
            ("tools", id) => Place::tool(id, parts.next())?,
            ("resources", Some("templates")) if parts.next() == Some("list") => {
                Place::Collection(Route::ResourceTemplates, None)
            }
            ("resources", Some("subscribe")) => Place::Action(Route::SubscribeResources),
            ("resources", id) => Place::resource(id, parts.next())?,
            ("prompts", id) => Place::prompt(id, parts.next())?,
            ("policies", id) => Place::policy(id, parts.next())?,
            ("roots", None) => Place::Collection(Route::Roots, Some(Route::CreateRoot)),
            ("roots", Some("export")) => Place::Probe(Route::ExportRoot),
            ("roots", Some("changes")) => Place::Probe(Route::RootChanges),
            ("initialize", None) | ("protocol", Some("initialize")) => {
                Place::Action(Route::Initialize)
            }
            ("protocol", Some("ping")) => Place::Action(Route::Ping),
            ("notifications", None) | ("protocol", Some("notifications")) => {
                Place::Action(Route::Notify)
            }
            ("protocol", Some("completion")) if parts.next() == Some("complete") => {
                Place::Action(Route::Complete)
            }
            ("protocol", Some("sampling")) if parts.next() == Some("createMessage") => {
                Place::Action(Route::Sample)
            }
            ("logging", Some("setLevel")) => Place::Action(Route::SetLogLevel),
            ("auth", part) => Place::auth(part, parts.next(), &mut parts)?,
            ("tokens", id) => Place::token(id, parts.next())?,
            ("teams", id) => Place::team(id, [parts.next(), parts.next(), parts.next()])?,
            ("rbac", part) => Place::rbac(part, [parts.next(), parts.next(), parts.next()])?,
            _ => return None,
        };
        (parts.next().is_none()).then_some(found)
    }

    fn gateway(id: Option<&'a str>, part: Option<&str>, last: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part, last) {
            (None, ..) => Place::Collection(Route::Gateways, Some(Route::CreateGateway)),
            (Some(id), None, _) => Place::Record {
                get: Route::Gateway(id),
                put: Some(Route::UpdateGateway(id)),
                delete: Some(Route::DeleteGateway(id)),
            },
            (Some(id), Some("state" | "toggle"), None) => Place::Action(Route::GatewayState(id)),
            (Some(id), Some("tools"), Some("refresh")) => Place::Action(Route::RefreshGateway(id)),
            _ => return None,
        })
    }

    fn tool(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Tools, Some(Route::CreateTool)),
            (Some(id), None) => Place::Record {
                get: Route::Tool(id),
                put: Some(Route::UpdateTool(id)),
                delete: Some(Route::DeleteTool(id)),
            },
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::ToolState(id)),
            _ => return None,
        })
    }

    /// A place whose name is a URI, slashes and all.
    fn by_uri(path: &'a str) -> Option<Place<'a>> {
        if let Some(uri) = path.strip_prefix("resources/test/").filter(|uri| !uri.is_empty()) {
            return Some(Place::Probe(Route::TestResource(uri)));
        }
        let is_name = |uri: &&str| !matches!(*uri, "" | "export" | "changes");
        let uri = path.strip_prefix("roots/").filter(is_name)?;
        Some(Place::Record {
            get: Route::Root(uri),
            put: Some(Route::UpdateRoot(uri)),
            delete: Some(Route::DeleteRoot(uri)),
        })
    }

    fn resource(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Resources, Some(Route::CreateResource)),
            (Some(id), None) => Place::Record {
                get: Route::Resource(id),
                put: Some(Route::UpdateResource(id)),
                delete: Some(Route::DeleteResource(id)),
            },
            (Some(id), Some("info")) => Place::Probe(Route::ResourceInfo(id)),
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::ResourceState(id)),
            _ => return None,
        })
    }

    fn prompt(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Prompts, Some(Route::CreatePrompt)),
            (Some(id), None) => Place::Prompt(id),
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::PromptState(id)),
            _ => return None,
        })
    }

    fn server(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Servers, Some(Route::CreateServer)),
            (Some(id), None) => Place::Record {
                get: Route::Server(id),
                put: Some(Route::UpdateServer(id)),
                delete: Some(Route::DeleteServer(id)),
            },
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::ServerState(id)),
            (Some(id), Some("tools")) => Place::Collection(Route::ServerTools(id), None),
            (Some(id), Some("resources")) => Place::Collection(Route::ServerResources(id), None),
            (Some(id), Some("prompts")) => Place::Collection(Route::ServerPrompts(id), None),
            _ => return None,
        })
    }

    fn auth(
        part: Option<&str>,
        next: Option<&str>,
        rest: &mut std::str::Split<'a, char>,
    ) -> Option<Place<'a>> {
        Some(match (part?, next) {
            ("login", None) | ("email", Some("login")) => Place::Action(Route::Login),
            ("logout", None) => Place::Action(Route::Logout),
            ("refresh", None) => Place::Action(Route::RefreshToken),
            ("validate", None) => Place::Probe(Route::ValidateToken),
            ("sso", Some(part)) => Place::sso(part, [rest.next(), rest.next()])?,
            ("email", Some("register")) => Place::Action(Route::Register),
            ("email", Some("me")) => Place::Probe(Route::Me),
            ("email", Some("change-password")) => Place::Action(Route::ChangePassword),
            ("email", Some("admin")) => match (rest.next()?, rest.next(), rest.next()) {
                ("users", None, _) => Place::Collection(Route::Users, Some(Route::CreateUser)),
                ("users", Some(email), None) => Place::Record {
                    get: Route::User(email),
                    put: Some(Route::UpdateUser(email)),
                    delete: Some(Route::DeleteUser(email)),
                },
                ("users", Some(email), Some("unlock")) => Place::Action(Route::UnlockUser(email)),
                _ => return None,
            },
            _ => return None,
        })
    }

    fn token(id: Option<&'a str>, part: Option<&'a str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Tokens, Some(Route::CreateToken)),
            (Some("admin"), Some("all")) => Place::Probe(Route::AllTokens),
            (Some("admin"), Some(id)) => {
                Place::Part { put: None, delete: Route::RevokeAnyToken(id) }
            }
            (Some("teams"), Some(id)) => {
                Place::Collection(Route::TeamTokens(id), Some(Route::CreateTeamToken(id)))
            }
            (Some(id), None) => Place::Record {
                get: Route::Token(id),
                put: Some(Route::UpdateToken(id)),
                delete: Some(Route::RevokeToken(id)),
            },
            _ => return None,
        })
    }

    fn policy(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Policies, Some(Route::CreatePolicy)),
            (Some("test"), None) => Place::Action(Route::TestPolicies),
            (Some(id), None) => Place::Record {
                get: Route::Policy(id),
                put: Some(Route::UpdatePolicy(id)),
                delete: Some(Route::DeletePolicy(id)),
            },
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::PolicyState(id)),
            _ => return None,
        })
    }

    fn agent(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Agents, Some(Route::CreateAgent)),
            (Some("invoke"), None) => Place::Action(Route::InvokeAgentById),
            (Some(id), None) => Place::Record {
                get: Route::Agent(id),
                put: Some(Route::UpdateAgent(id)),
                delete: Some(Route::DeleteAgent(id)),
            },
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::AgentState(id)),
            (Some(name), Some("invoke")) => Place::Action(Route::InvokeAgent(name)),
            (Some(name), Some("jsonrpc")) => Place::Action(Route::RelayToAgent(name)),
            _ => return None,
        })
    }

    fn get(self) -> Option<Route<'a>> {
        match self {
            Place::Probe(get) | Place::Collection(get, _) | Place::Record { get, .. } => Some(get),
            Place::Prompt(id) => Some(Route::Prompt(id)),
            Place::Action(_) | Place::Part { .. } => None,
        }
    }

    fn post(self) -> Option<Route<'a>> {
        match self {
            Place::Collection(_, post) => post,
            Place::Action(post) => Some(post),
            Place::Prompt(id) => Some(Route::RenderPrompt(id)),
            _ => None,
        }
    }

    fn put(self) -> Option<Route<'a>> {
        match self {
            Place::Record { put, .. } | Place::Part { put, .. } => put,
            Place::Prompt(id) => Some(Route::UpdatePrompt(id)),
            _ => None,
        }
    }

    fn delete(self) -> Option<Route<'a>> {
        match self {
            Place::Record { delete, .. } => delete,
            Place::Part { delete, .. } => Some(delete),
            Place::Prompt(id) => Some(Route::DeletePrompt(id)),
            _ => None,
        }
    }

    fn allow(self) -> &'static str {
        match self {
            Place::Probe(_) | Place::Collection(_, None) => "GET, HEAD",
            Place::Collection(_, Some(_)) => "GET, HEAD, POST",
            Place::Record { put: None, .. } => "GET, HEAD",
            Place::Record { get: Route::User(_), .. } => "GET, HEAD, PUT, PATCH, DELETE",
            Place::Record { .. } => "GET, HEAD, PUT, DELETE",
            Place::Prompt(_) => "GET, HEAD, POST, PUT, DELETE",
            Place::Action(_) => "POST",
            Place::Part { put: Some(_), .. } => "PUT, DELETE",
            Place::Part { put: None, .. } => "DELETE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_found_with_and_without_version_and_slash() {
        for (method, path, expected) in [
            (Method::Get, "/health", Route::Health),
            (Method::Get, "/ready", Route::Ready),
            (Method::Get, "/version", Route::Version),
            (Method::Get, "/openapi.json", Route::OpenApi),
            (Method::Get, "/docs", Route::Docs),
            (Method::Get, "/redoc", Route::Docs),
            (Method::Get, "/health/security", Route::Security),
            (Method::Get, "/auth/csrf-token", Route::CsrfToken),
            (Method::Head, "/gateways", Route::Gateways),
            (Method::Post, "/gateways", Route::CreateGateway),
            (Method::Get, "/gateways/x", Route::Gateway("x")),
            (Method::Put, "/gateways/x", Route::UpdateGateway("x")),
            (Method::Delete, "/gateways/x", Route::DeleteGateway("x")),
            (Method::Post, "/gateways/x/state", Route::GatewayState("x")),
            (Method::Post, "/gateways/x/toggle", Route::GatewayState("x")),
            (Method::Post, "/gateways/x/tools/refresh", Route::RefreshGateway("x")),
            (Method::Get, "/tools", Route::Tools),
            (Method::Get, "/tools/x", Route::Tool("x")),
            (Method::Post, "/tools", Route::CreateTool),
            (Method::Post, "/tools/bulk", Route::ImportTools),
            (Method::Post, "/admin/tools/import", Route::ImportTools),
            (Method::Put, "/tools/x", Route::UpdateTool("x")),
            (Method::Delete, "/tools/x", Route::DeleteTool("x")),
            (Method::Post, "/tools/x/state", Route::ToolState("x")),
            (Method::Post, "/tools/x/toggle", Route::ToolState("x")),
            (Method::Post, "/tools/generate-schemas-from-openapi", Route::GenerateSchemas),
            (Method::Post, "/tools/import-openapi", Route::ImportOpenapi),
            (Method::Get, "/tags", Route::Tags),
            (Method::Get, "/tags/x:y/entities", Route::TagEntities("x:y")),
            (Method::Get, "/resources", Route::Resources),
            (Method::Post, "/resources", Route::CreateResource),
            (Method::Get, "/resources/x", Route::Resource("x")),
            (Method::Put, "/resources/x", Route::UpdateResource("x")),
            (Method::Delete, "/resources/x", Route::DeleteResource("x")),
            (Method::Get, "/resources/x/info", Route::ResourceInfo("x")),
            (Method::Post, "/resources/x/state", Route::ResourceState("x")),
            (Method::Post, "/resources/x/toggle", Route::ResourceState("x")),
            (Method::Get, "/resources/templates/list", Route::ResourceTemplates),
            (Method::Get, "/resources/test/note://a/b", Route::TestResource("note://a/b")),
            (Method::Get, "/prompts", Route::Prompts),
            (Method::Post, "/prompts", Route::CreatePrompt),
            (Method::Get, "/prompts/x", Route::Prompt("x")),
            (Method::Post, "/prompts/x", Route::RenderPrompt("x")),
            (Method::Put, "/prompts/x", Route::UpdatePrompt("x")),
            (Method::Delete, "/prompts/x", Route::DeletePrompt("x")),
            (Method::Post, "/prompts/x/state", Route::PromptState("x")),
            (Method::Post, "/prompts/x/toggle", Route::PromptState("x")),
            (Method::Get, "/roots", Route::Roots),
            (Method::Post, "/roots", Route::CreateRoot),
            (Method::Get, "/roots/export", Route::ExportRoot),
            (Method::Get, "/roots/changes", Route::RootChanges),
            (Method::Post, "/resources/subscribe", Route::SubscribeResources),
            (Method::Get, "/roots/file:///a", Route::Root("file:///a")),
            (Method::Put, "/roots/file:///a", Route::UpdateRoot("file:///a")),
            (Method::Delete, "/roots/file:///a", Route::DeleteRoot("file:///a")),
            (Method::Get, "/policies", Route::Policies),
            (Method::Post, "/policies", Route::CreatePolicy),
            (Method::Get, "/policies/x", Route::Policy("x")),
            (Method::Put, "/policies/x", Route::UpdatePolicy("x")),
            (Method::Delete, "/policies/x", Route::DeletePolicy("x")),
            (Method::Post, "/policies/x/state", Route::PolicyState("x")),
            (Method::Post, "/policies/x/toggle", Route::PolicyState("x")),
            (Method::Post, "/policies/test", Route::TestPolicies),
            (Method::Post, "/initialize", Route::Initialize),
            (Method::Post, "/protocol/initialize", Route::Initialize),
            (Method::Post, "/protocol/ping", Route::Ping),
            (Method::Post, "/notifications", Route::Notify),
            (Method::Post, "/protocol/notifications", Route::Notify),
            (Method::Post, "/protocol/completion/complete", Route::Complete),
            (Method::Post, "/protocol/sampling/createMessage", Route::Sample),
            (Method::Post, "/logging/setLevel", Route::SetLogLevel),
            (Method::Get, "/servers", Route::Servers),
            (Method::Post, "/servers", Route::CreateServer),
            (Method::Get, "/servers/x", Route::Server("x")),
            (Method::Put, "/servers/x", Route::UpdateServer("x")),
            (Method::Delete, "/servers/x", Route::DeleteServer("x")),
            (Method::Post, "/servers/x/state", Route::ServerState("x")),
            (Method::Post, "/servers/x/toggle", Route::ServerState("x")),
            (Method::Get, "/servers/x/tools", Route::ServerTools("x")),
            (Method::Get, "/servers/x/resources", Route::ServerResources("x")),
            (Method::Get, "/servers/x/prompts", Route::ServerPrompts("x")),
            (Method::Get, "/export", Route::Export),
            (Method::Post, "/export/selective", Route::ExportSelective),
            (Method::Post, "/import", Route::Import),
            (Method::Get, "/import/status", Route::ImportStatuses),
            (Method::Get, "/import/status/x", Route::ImportStatus("x")),
            (Method::Post, "/import/cleanup", Route::CleanUpImports),
            (Method::Get, "/a2a", Route::Agents),
            (Method::Post, "/a2a", Route::CreateAgent),
            (Method::Get, "/a2a/x", Route::Agent("x")),
            (Method::Put, "/a2a/x", Route::UpdateAgent("x")),
            (Method::Delete, "/a2a/x", Route::DeleteAgent("x")),
            (Method::Post, "/a2a/x/state", Route::AgentState("x")),
            (Method::Post, "/a2a/x/toggle", Route::AgentState("x")),
            (Method::Post, "/a2a/x/invoke", Route::InvokeAgent("x")),
            (Method::Post, "/a2a/invoke", Route::InvokeAgentById),
            (Method::Post, "/a2a/x/jsonrpc", Route::RelayToAgent("x")),
            (Method::Get, "/teams", Route::Teams),
            (Method::Post, "/teams", Route::CreateTeam),
            (Method::Get, "/teams/discover", Route::DiscoverTeams),
            (Method::Get, "/teams/x", Route::Team("x")),
            (Method::Put, "/teams/x", Route::UpdateTeam("x")),
            (Method::Delete, "/teams/x", Route::DeleteTeam("x")),
            (Method::Get, "/teams/x/members", Route::TeamMembers("x")),
            (Method::Post, "/teams/x/members", Route::AddTeamMember("x")),
            (Method::Put, "/teams/x/members/y", Route::UpdateTeamMember("x", "y")),
            (Method::Delete, "/teams/x/members/y", Route::RemoveTeamMember("x", "y")),
            (Method::Delete, "/teams/x/leave", Route::LeaveTeam("x")),
            (Method::Get, "/teams/x/invitations", Route::TeamInvitations("x")),
            (Method::Post, "/teams/x/invitations", Route::InviteToTeam("x")),
            (Method::Post, "/teams/invitations/x/accept", Route::AcceptInvitation("x")),
            (Method::Delete, "/teams/invitations/x", Route::CancelInvitation("x")),
            (Method::Post, "/teams/x/join", Route::JoinTeam("x")),
            (Method::Get, "/teams/x/join-requests", Route::JoinRequests("x")),
            (Method::Post, "/teams/x/join-requests/y/approve", Route::ApproveJoinRequest("x", "y")),
            (Method::Delete, "/teams/x/join-requests/y", Route::RejectJoinRequest("x", "y")),
            (Method::Get, "/rbac/roles", Route::Roles),
            (Method::Post, "/rbac/roles", Route::CreateRole),
            (Method::Get, "/rbac/roles/x", Route::Role("x")),
            (Method::Put, "/rbac/roles/x", Route::UpdateRole("x")),
            (Method::Delete, "/rbac/roles/x", Route::DeleteRole("x")),
            (Method::Get, "/rbac/users/x/roles", Route::UserRoles("x")),
            (Method::Post, "/rbac/users/x/roles", Route::AssignRole("x")),
            (Method::Delete, "/rbac/users/x/roles/y", Route::RevokeRole("x", "y")),
            (Method::Post, "/rbac/permissions/check", Route::CheckPermission),
            (Method::Get, "/rbac/permissions/user/x", Route::UserPermissions("x")),
            (Method::Get, "/rbac/permissions/available", Route::AvailablePermissions),
            (Method::Get, "/rbac/my/roles", Route::MyRoles),
            (Method::Get, "/rbac/my/permissions", Route::MyPermissions),
            (Method::Get, "/rbac/explain", Route::ExplainAccess),
            (Method::Get, "/audit", Route::Audit),
            (Method::Get, "/audit/export", Route::AuditExport),
            (Method::Get, "/api/logs/audit-trails", Route::AuditTrails),
            (Method::Get, "/metrics", Route::Metrics),
            (Method::Post, "/metrics/reset", Route::ResetMetrics),
        ] {
            for path in [path.to_owned(), format!("{path}/"), format!("/v1{path}")] {
                assert_eq!(Route::parse(method, &path).unwrap(), expected, "{method:?} {path}");
            }
        }
        assert_eq!(Route::parse(Method::Get, "/").unwrap(), Route::Home);
    }

    #[test]
    fn a_path_that_is_not_here_is_not_found() {
        for path in [
            "/gateway",
            "/v1gateways",
            "/v2/gateways",
            "/gateways/x/tools",
            "/gateways/x/tools/refresh/y",
            "/gateways/x/state/y",
            "/servers/x/y",
            "/servers/x/tools/y",
            "/tools/x/y",
            "/admin/tools",
            "/tags/x",
            "/admin/tools/import/x",
            "/health/else",
            "/teams/x/y",
            "/teams/x/leave/y",
            "/teams/invitations/x/accept/y",
            "/rbac",
            "/rbac/my",
            "/rbac/users/x",
            "//gateways",
        ] {
            let failure = Route::parse(Method::Get, path).unwrap_err();
            assert_eq!(failure.status(), 404, "{path}");
        }
    }

    #[test]
    fn another_method_is_told_which_ones_there_are() {
        for (method, path, expected) in [
            (Method::Delete, "/gateways", "GET, HEAD, POST"),
            (Method::Post, "/gateways/x", "GET, HEAD, PUT, DELETE"),
            (Method::Get, "/gateways/x/state", "POST"),
            (Method::Get, "/teams/x/members/y", "PUT, DELETE"),
            (Method::Get, "/teams/x/leave", "DELETE"),
            (Method::Put, "/tools", "GET, HEAD, POST"),
            (Method::Patch, "/tools/x", "GET, HEAD, PUT, DELETE"),
            (Method::Patch, "/servers/x", "GET, HEAD, PUT, DELETE"),
        ] {
            match Route::parse(method, path) {
                Err(Failure::MethodNotAllowed { allow }) => assert_eq!(allow, expected, "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    }
}
