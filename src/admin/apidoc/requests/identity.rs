//! The bodies of requests about teams and roles.

use schemars::JsonSchema;

/// A team to make.
#[derive(JsonSchema)]
pub struct NewTeam {
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: String,
    /// The name for addresses: letters a-z, digits and hyphens; made of the name if it is not said.
    #[schemars(length(min = 2, max = 255))]
    slug: Option<String>,
    /// What it is for.
    #[schemars(length(max = 1000))]
    description: Option<String>,
    /// Who may find it: `private` if it is not said.
    visibility: Option<TeamVisibility>,
    /// The most members; null for the setting.
    #[schemars(range(min = 1))]
    max_members: Option<u64>,
    /// Who is to be in it: users become members at once, and others are invited.
    members: Option<Vec<Seed>>,
}

/// What to change of a team; what is not named stays.
#[derive(JsonSchema)]
pub struct TeamChange {
    /// Letters, digits, blanks and `_ . -`.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// What it is for; null for nothing.
    #[schemars(length(max = 1000))]
    description: Option<String>,
    /// Who may find it.
    visibility: Option<TeamVisibility>,
    /// The most members; null for the setting.
    #[schemars(range(min = 1))]
    max_members: Option<u64>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum TeamVisibility {
    Private,
    Public,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum TeamRole {
    Owner,
    Member,
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct Seed {
    email: String,
    role: Option<TeamRole>,
}

/// A user to add to a team.
#[derive(JsonSchema)]
pub struct NewMember {
    /// The address of a user of this gateway.
    #[schemars(length(max = 254))]
    email: String,
    /// `member` if it is not said.
    role: Option<TeamRole>,
}

/// What a member is to be.
#[derive(JsonSchema)]
pub struct MemberChange {
    role: TeamRole,
}

/// Whom to invite.
#[derive(JsonSchema)]
pub struct NewInvitation {
    #[schemars(length(max = 254))]
    email: String,
    /// `member` if it is not said.
    role: Option<TeamRole>,
}

/// What to say to the owners of a team; the body need not be there.
#[derive(JsonSchema)]
pub struct Joining {
    #[schemars(length(max = 500))]
    message: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Scope {
    Global,
    Team,
    Personal,
}

/// A role to make.
#[derive(JsonSchema)]
pub struct NewRole {
    /// Letters, digits, blanks and `_ . -`; unique in its scope.
    #[schemars(length(min = 1, max = 255))]
    name: String,
    /// What it is for; cut where it is longer than may be.
    description: Option<String>,
    /// Where it counts.
    scope: Scope,
    /// What it permits, as `tools.read`; `*` for everything.
    permissions: Vec<String>,
    /// The id of the role whose permissions it has besides.
    #[schemars(length(max = 255))]
    inherits_from: Option<String>,
}

/// What to change of a role; what is not named stays.
#[derive(JsonSchema)]
pub struct RoleChange {
    /// Letters, digits, blanks and `_ . -`; unique in its scope.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// What it is for; cut where it is longer than may be.
    description: Option<String>,
    /// What it permits, as `tools.read`; `*` for everything.
    permissions: Option<Vec<String>>,
    /// The id of the role whose permissions it has besides; null for none.
    #[schemars(length(max = 255))]
    inherits_from: Option<String>,
    /// Whether it counts.
    is_active: Option<bool>,
}

/// A role to give.
#[derive(JsonSchema)]
pub struct Assignment {
    /// The id of the role.
    #[schemars(length(max = 255))]
    role_id: String,
    /// The scope of the role.
    scope: Scope,
    /// The team in which it counts; all teams of the user if it is not said.
    #[schemars(length(max = 255))]
    scope_id: Option<String>,
    /// Until when it counts (RFC 3339); for ever if it is not said.
    expires_at: Option<String>,
}

/// Whether a user may do something.
#[derive(JsonSchema)]
pub struct PermissionQuestion {
    #[schemars(length(max = 2048))]
    user_email: String,
    /// As `tools.execute`.
    #[schemars(length(max = 2048))]
    permission: String,
    /// The kind of the thing, as `tools`.
    #[schemars(length(max = 2048))]
    resource_type: Option<String>,
    /// The id of the thing, or its name.
    #[schemars(length(max = 2048))]
    resource_id: Option<String>,
    /// The team that it is about, where it is about no thing.
    #[schemars(length(max = 2048))]
    team_id: Option<String>,
}
