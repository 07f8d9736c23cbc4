//! Teams, members, invitations and requests to join as the API shows them.

use schemars::JsonSchema;
use serde::Serialize;
use storage::record::{Invitation, JoinRequest, Member, Team};

use super::Time;
use crate::catalog::People;

/// A team.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Team")]
pub struct TeamRead<'a> {
    id: &'a str,
    name: &'a str,
    slug: &'a str,
    description: Option<&'a str>,
    created_by: &'a str,
    is_personal: bool,
    visibility: &'static str,
    /// `null` if the setting MAX_MEMBERS_PER_TEAM counts.
    max_members: Option<i64>,
    member_count: usize,
    created_at: Time,
    updated_at: Time,
    is_active: bool,
}

/// A team.
pub fn team<'a>(people: &People, team: &'a Team) -> TeamRead<'a> {
    TeamRead {
        id: &team.id,
        name: &team.name,
        slug: &team.slug,
        description: team.description.as_deref(),
        created_by: &team.created_by,
        is_personal: team.is_personal,
        visibility: team.visibility.as_str(),
        max_members: team.max_members,
        member_count: people.member_count(&team.id),
        created_at: Time(team.created_at),
        updated_at: Time(team.updated_at),
        is_active: team.is_active,
    }
}

/// A part of the list of teams: with `nextCursor` if `include_pagination` asked for it, else with
/// `total`.
#[derive(Serialize, JsonSchema)]
pub struct Teams<'a> {
    pub teams: Vec<TeamRead<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
    #[serde(rename = "nextCursor", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub next: Option<Option<String>>,
}

/// A team that was made, with what became of those who were named with it.
#[derive(Serialize, JsonSchema)]
pub struct TeamMade<'a> {
    #[serde(flatten)]
    pub team: TeamRead<'a>,
    pub members_added: Vec<Seated<'a>>,
    pub invitations_sent: Vec<Invited<'a>>,
}

/// Who became a member at once.
#[derive(Serialize, JsonSchema)]
pub struct Seated<'a> {
    pub email: &'a str,
    pub role: &'static str,
}

/// Who was invited.
#[derive(Serialize, JsonSchema)]
pub struct Invited<'a> {
    pub email: &'a str,
    pub role: &'static str,
    pub invitation_id: &'a str,
    /// The word to join by, shown this once: no mail is sent.
    pub token: &'a str,
}

/// A public team, as those see it who could ask to join.
#[derive(Serialize, JsonSchema)]
pub struct Discovered<'a> {
    id: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    member_count: usize,
    created_at: Time,
    is_joinable: bool,
}

/// A public team.
pub fn discovered<'a>(people: &People, team: &'a Team, is_joinable: bool) -> Discovered<'a> {
    Discovered {
        id: &team.id,
        name: &team.name,
        description: team.description.as_deref(),
        member_count: people.member_count(&team.id),
        created_at: Time(team.created_at),
        is_joinable,
    }
}

/// A user in a team.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TeamMember")]
pub struct MemberRead<'a> {
    id: &'a str,
    team_id: &'a str,
    user_email: &'a str,
    role: &'static str,
    joined_at: Time,
    invited_by: Option<&'a str>,
    is_active: bool,
}

/// A user in a team.
pub fn member(member: &Member) -> MemberRead<'_> {
    MemberRead {
        id: &member.id,
        team_id: &member.team_id,
        user_email: &member.user_email,
        role: member.role.as_str(),
        joined_at: Time(member.joined_at),
        invited_by: member.invited_by.as_deref(),
        is_active: true,
    }
}

/// An invitation to a team.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TeamInvitation")]
pub struct InvitationRead<'a> {
    id: &'a str,
    team_id: &'a str,
    team_name: &'a str,
    email: &'a str,
    role: &'static str,
    invited_by: &'a str,
    invited_at: Time,
    expires_at: Time,
    /// The word to join by, in the answer to the invitation; it is not kept.
    token: Option<&'a str>,
    is_active: bool,
    is_expired: bool,
}

/// An invitation; with the word to join by if it was made just now.
pub fn invitation<'a>(
    team: &'a Team,
    invitation: &'a Invitation,
    token: Option<&'a str>,
    now: i64,
) -> InvitationRead<'a> {
    let is_expired = invitation.expires_at <= now;
    InvitationRead {
        id: &invitation.id,
        team_id: &invitation.team_id,
        team_name: &team.name,
        email: &invitation.email,
        role: invitation.role.as_str(),
        invited_by: &invitation.invited_by,
        invited_at: Time(invitation.invited_at),
        expires_at: Time(invitation.expires_at),
        token,
        is_active: !is_expired,
        is_expired,
    }
}

/// A request to join a team.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TeamJoinRequest")]
pub struct JoinRequestRead<'a> {
    id: &'a str,
    team_id: &'a str,
    team_name: &'a str,
    user_email: &'a str,
    message: Option<&'a str>,
    status: &'static str,
    requested_at: Time,
    expires_at: Time,
}

/// A request to join a team.
pub fn join_request<'a>(team: &'a Team, request: &'a JoinRequest) -> JoinRequestRead<'a> {
    JoinRequestRead {
        id: &request.id,
        team_id: &request.team_id,
        team_name: &team.name,
        user_email: &request.user_email,
        message: request.message.as_deref(),
        status: request.status.as_str(),
        requested_at: Time(request.requested_at),
        expires_at: Time(request.expires_at),
    }
}
