//! The paths of teams, roles and providers of identity.

use super::{Place, Route};

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
}
