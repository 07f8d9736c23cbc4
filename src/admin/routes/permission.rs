//! What each route takes of its caller.

use super::Route;
use crate::permission::Permission;

impl Route<'_> {
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
                | Route::ForgotPassword
                | Route::CheckReset(_)
                | Route::ResetPassword(_)
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
            | Route::ForgotPassword
            | Route::CheckReset(_)
            | Route::ResetPassword(_)
            | Route::AuthEvents
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
            | Route::UnlockUser(_)
            | Route::AllAuthEvents => Permission::AdminUserManagement,
            Route::Tokens
            | Route::Token(_)
            | Route::TokenUsage(_)
            | Route::AllTokens
            | Route::TeamTokens(_) => Permission::TokensRead,
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
}
