//! The paths of users, tokens, teams, roles and providers of identity.

use super::Route;
use super::place::Place;

impl<'a> Place<'a> {
    /// A place under `/teams`.
    pub(super) fn team(id: Option<&'a str>, rest: [Option<&'a str>; 3]) -> Option<Place<'a>> {
        let Some(id) = id else {
            return Some(Place::Collection(Route::Teams, Some(Route::CreateTeam)));
        };
        Some(match (id, rest) {
            ("discover", [None, ..]) => Place::Probe(Route::DiscoverTeams),
            ("invitations", [Some(token), Some("accept"), None]) => {
                Place::Action(Route::AcceptInvitation(token))
            }
            ("invitations", [Some(id), None, _]) => {
                Place::Part { put: None, delete: Route::CancelInvitation(id) }
            }
            (id, [None, ..]) => Place::Record {
                get: Route::Team(id),
                put: Some(Route::UpdateTeam(id)),
                delete: Some(Route::DeleteTeam(id)),
            },
            (id, [Some("members"), None, _]) => {
                Place::Collection(Route::TeamMembers(id), Some(Route::AddTeamMember(id)))
            }
            (id, [Some("members"), Some(email), None]) => Place::Part {
                put: Some(Route::UpdateTeamMember(id, email)),
                delete: Route::RemoveTeamMember(id, email),
            },
            (id, [Some("invitations"), None, _]) => {
                Place::Collection(Route::TeamInvitations(id), Some(Route::InviteToTeam(id)))
            }
            (id, [Some("join"), None, _]) => Place::Action(Route::JoinTeam(id)),
            (id, [Some("leave"), None, _]) => {
                Place::Part { put: None, delete: Route::LeaveTeam(id) }
            }
            (id, [Some("join-requests"), None, _]) => {
                Place::Collection(Route::JoinRequests(id), None)
            }
            (id, [Some("join-requests"), Some(request), None]) => {
                Place::Part { put: None, delete: Route::RejectJoinRequest(id, request) }
            }
            (id, [Some("join-requests"), Some(request), Some("approve")]) => {
                Place::Action(Route::ApproveJoinRequest(id, request))
            }
            _ => return None,
        })
    }

    /// A place under `/auth/sso`.
    pub(super) fn sso(part: &str, rest: [Option<&'a str>; 2]) -> Option<Place<'a>> {
        Some(match (part, rest) {
            ("providers", [None, _]) => Place::Probe(Route::SsoProviders),
            ("login", [Some(id), None]) => Place::Probe(Route::SsoLogin(id)),
            ("callback", [Some(id), None]) => Place::Probe(Route::SsoCallback(id)),
            ("admin", [Some("providers"), None]) => {
                Place::Collection(Route::AdminProviders, Some(Route::CreateProvider))
            }
            ("admin", [Some("providers"), Some(id)]) => Place::Record {
                get: Route::AdminProvider(id),
                put: Some(Route::UpdateProvider(id)),
                delete: Some(Route::DeleteProvider(id)),
            },
            _ => return None,
        })
    }

    /// A place under `/rbac`.
    pub(super) fn rbac(part: Option<&str>, rest: [Option<&'a str>; 3]) -> Option<Place<'a>> {
        Some(match (part?, rest) {
            ("roles", [None, ..]) => Place::Collection(Route::Roles, Some(Route::CreateRole)),
            ("roles", [Some(id), None, _]) => Place::Record {
                get: Route::Role(id),
                put: Some(Route::UpdateRole(id)),
                delete: Some(Route::DeleteRole(id)),
            },
            ("users", [Some(email), Some("roles"), None]) => {
                Place::Collection(Route::UserRoles(email), Some(Route::AssignRole(email)))
            }
            ("users", [Some(email), Some("roles"), Some(role)]) => {
                Place::Part { put: None, delete: Route::RevokeRole(email, role) }
            }
            ("permissions", [Some("check"), None, _]) => Place::Action(Route::CheckPermission),
            ("permissions", [Some("user"), Some(email), None]) => {
                Place::Probe(Route::UserPermissions(email))
            }
            ("permissions", [Some("available"), None, _]) => {
                Place::Probe(Route::AvailablePermissions)
            }
            ("my", [Some("roles"), None, _]) => Place::Probe(Route::MyRoles),
            ("my", [Some("permissions"), None, _]) => Place::Probe(Route::MyPermissions),
            ("explain", [None, ..]) => Place::Probe(Route::ExplainAccess),
            _ => return None,
        })
    }

    pub(super) fn auth(
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
            ("email", Some("events")) => Place::Probe(Route::AuthEvents),
            ("email", Some("forgot-password")) => Place::Action(Route::ForgotPassword),
            ("email", Some("reset-password")) => {
                let token = rest.next()?;
                Place::Collection(Route::CheckReset(token), Some(Route::ResetPassword(token)))
            }
            ("email", Some("admin")) => match (rest.next()?, rest.next(), rest.next()) {
                ("events", None, _) => Place::Probe(Route::AllAuthEvents),
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

    pub(super) fn token(id: Option<&'a str>, part: Option<&'a str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Tokens, Some(Route::CreateToken)),
            (Some("admin"), Some("all")) => Place::Probe(Route::AllTokens),
            (Some("admin"), Some(id)) => {
                Place::Part { put: None, delete: Route::RevokeAnyToken(id) }
            }
            (Some("teams"), Some(id)) => {
                Place::Collection(Route::TeamTokens(id), Some(Route::CreateTeamToken(id)))
            }
            (Some(id), Some("usage")) => Place::Probe(Route::TokenUsage(id)),
            (Some(id), None) => Place::Record {
                get: Route::Token(id),
                put: Some(Route::UpdateToken(id)),
                delete: Some(Route::RevokeToken(id)),
            },
            _ => return None,
        })
    }
}
