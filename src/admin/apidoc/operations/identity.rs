//! The rows about users, tokens, teams and roles.

use super::super::parameters::{
    ACTIVE_ONLY, DAYS, FORCE, INACTIVE, OFFSETS, PAGE, QUESTION, REDIRECT, RETURNED, SCOPE,
    SCOPE_ID, SKIP, TEAM_ID, USER_EMAIL,
};
use super::super::{answers, requests};
use super::{Answer, Operation, Type, delete, get, of, patch, post, put};
use crate::admin::people::{AuthEventRead, LoginRead, UserRead};
use crate::admin::rbac::explain::Explained;
use crate::admin::show::{
    Discovered, InvitationRead, JoinRequestRead, MemberRead, RoleRead, TeamMade, TeamRead, Teams,
    UserRoleRead,
};
use crate::admin::sso::providers::ProviderRead;
use crate::admin::sso::{Begun, Choice};
use crate::admin::tokens::{NewTokenRead, TokenListRead, TokenRead, UsageRead};

const TEAM_READ: Type = of::<TeamRead<'static>>;
const MEMBER_READ: Type = of::<MemberRead<'static>>;
const INVITATION_READ: Type = of::<InvitationRead<'static>>;
const JOIN_REQUEST_READ: Type = of::<JoinRequestRead<'static>>;
const ROLE_READ: Type = of::<RoleRead<'static>>;
const USER_ROLE_READ: Type = of::<UserRoleRead>;
const USER_READ: Type = of::<UserRead<'static>>;
const TOKEN_READ: Type = of::<TokenRead<'static>>;
const TOKEN_LIST: Type = of::<TokenListRead<'static>>;
const PROVIDER_READ: Type = of::<ProviderRead<'static>>;
const SUCCEEDED: Answer = Answer::One(of::<answers::Succeeded>);

const UNAVAILABLE: Answer = Answer::One(of::<answers::Failed>);
const AUTH_EVENTS: Answer = Answer::List(of::<AuthEventRead<'static>>);

/// Every operation about users, tokens, teams and roles.
pub const IDENTITY: &[Operation] = &[
    get("/teams", "Teams", "Lists teams", Answer::One(of::<Teams<'static>>)).query(&[PAGE, SKIP]),
    post("/teams", "Teams", "Makes a team", Answer::One(of::<TeamMade<'static>>))
        .body(of::<requests::NewTeam>)
        .status(201),
    get(
        "/teams/discover",
        "Teams",
        "Lists public teams that the caller is not in",
        Answer::List(of::<Discovered<'static>>),
    )
    .query(&[PAGE, SKIP]),
    get("/teams/{team_id}", "Teams", "Shows a team", Answer::One(TEAM_READ)),
    put("/teams/{team_id}", "Teams", "Changes a team", Answer::One(TEAM_READ))
        .body(of::<requests::TeamChange>),
    delete("/teams/{team_id}", "Teams", "Dissolves a team", SUCCEEDED).query(&[FORCE]),
    get(
        "/teams/{team_id}/members",
        "Teams",
        "Lists the members of a team",
        Answer::Page("members", MEMBER_READ),
    )
    .query(&[PAGE, SKIP]),
    post("/teams/{team_id}/members", "Teams", "Adds a user to a team", Answer::One(MEMBER_READ))
        .body(of::<requests::NewMember>)
        .status(201),
    put(
        "/teams/{team_id}/members/{user_email}",
        "Teams",
        "Makes an owner of a member, or the other way",
        Answer::One(MEMBER_READ),
    )
    .body(of::<requests::MemberChange>),
    delete(
        "/teams/{team_id}/members/{user_email}",
        "Teams",
        "Takes a member out of a team",
        SUCCEEDED,
    ),
    delete("/teams/{team_id}/leave", "Teams", "Takes the caller out of a team", SUCCEEDED)
        .unversioned(),
    get(
        "/teams/{team_id}/invitations",
        "Teams",
        "Lists the invitations to a team",
        Answer::List(INVITATION_READ),
    ),
    post(
        "/teams/{team_id}/invitations",
        "Teams",
        "Invites somebody to a team",
        Answer::One(INVITATION_READ),
    )
    .body(of::<requests::NewInvitation>)
    .status(201),
    post(
        "/teams/invitations/{token}/accept",
        "Teams",
        "Accepts an invitation",
        Answer::One(MEMBER_READ),
    ),
    delete("/teams/invitations/{invitation_id}", "Teams", "Calls an invitation back", SUCCEEDED)
        .unversioned(),
    post("/teams/{team_id}/join", "Teams", "Asks to join a team", Answer::One(JOIN_REQUEST_READ))
        .body(of::<requests::Joining>),
    get(
        "/teams/{team_id}/join-requests",
        "Teams",
        "Lists who asks to join a team",
        Answer::List(JOIN_REQUEST_READ),
    ),
    post(
        "/teams/{team_id}/join-requests/{request_id}/approve",
        "Teams",
        "Lets somebody into a team",
        Answer::One(MEMBER_READ),
    ),
    delete(
        "/teams/{team_id}/join-requests/{request_id}",
        "Teams",
        "Does not let somebody into a team",
        SUCCEEDED,
    )
    .unversioned(),
    get("/rbac/roles", "Roles", "Lists roles", Answer::List(ROLE_READ))
        .query(&[SCOPE, ACTIVE_ONLY]),
    post("/rbac/roles", "Roles", "Makes a role", Answer::One(ROLE_READ))
        .body(of::<requests::NewRole>),
    get("/rbac/roles/{role_id}", "Roles", "Shows a role", Answer::One(ROLE_READ)),
    put("/rbac/roles/{role_id}", "Roles", "Changes a role", Answer::One(ROLE_READ))
        .body(of::<requests::RoleChange>),
    delete(
        "/rbac/roles/{role_id}",
        "Roles",
        "Deletes a role",
        Answer::One(of::<answers::Notified>),
    ),
    get(
        "/rbac/users/{user_email}/roles",
        "Roles",
        "Lists the roles of a user, those that memberships bring included",
        Answer::List(USER_ROLE_READ),
    )
    .query(&[SCOPE, ACTIVE_ONLY]),
    post(
        "/rbac/users/{user_email}/roles",
        "Roles",
        "Gives a user a role",
        Answer::One(USER_ROLE_READ),
    )
    .body(of::<requests::Assignment>),
    delete(
        "/rbac/users/{user_email}/roles/{role_id}",
        "Roles",
        "Takes a role from a user",
        Answer::One(of::<answers::Notified>),
    )
    .query(&[SCOPE, SCOPE_ID])
    .unversioned(),
    post(
        "/rbac/permissions/check",
        "Roles",
        "Tells whether a user may do something",
        Answer::One(of::<answers::Checked>),
    )
    .body(of::<requests::PermissionQuestion>)
    .otherwise(&[(404, of::<answers::Failed>)]),
    get(
        "/rbac/permissions/user/{user_email}",
        "Roles",
        "Lists what a user may do",
        Answer::List(of::<String>),
    )
    .query(&[TEAM_ID]),
    get(
        "/rbac/permissions/available",
        "Roles",
        "Lists what can be permitted",
        Answer::One(of::<answers::Permissions>),
    ),
    get("/rbac/my/roles", "Roles", "Lists the roles of the caller", Answer::List(USER_ROLE_READ))
        .query(&[SCOPE, ACTIVE_ONLY]),
    get(
        "/rbac/my/permissions",
        "Roles",
        "Lists what the caller may do",
        Answer::List(of::<String>),
    )
    .query(&[TEAM_ID]),
    get(
        "/rbac/explain",
        "Roles",
        "Tells why somebody may do something, or may not",
        Answer::One(of::<Explained>),
    )
    .query(&[QUESTION])
    .otherwise(&[(403, of::<answers::Failed>), (404, of::<answers::Failed>)]),
    post("/auth/login", "Users", "Logs in with a password", Answer::One(of::<LoginRead<'static>>))
        .body(of::<requests::Login>)
        .otherwise(&[(401, of::<answers::Failed>)]),
    post(
        "/auth/email/register",
        "Users",
        "Makes a user of whoever asks",
        Answer::One(of::<LoginRead<'static>>),
    )
    .body(of::<requests::Registration>)
    .otherwise(&[(409, of::<answers::Failed>)]),
    get("/auth/email/me", "Users", "Shows who asks", Answer::One(USER_READ)),
    post("/auth/email/change-password", "Users", "Changes one's own password", SUCCEEDED)
        .body(of::<requests::PasswordChange>)
        .otherwise(&[(404, of::<answers::Failed>)]),
    post(
        "/auth/email/forgot-password",
        "Users",
        "Tells how a forgotten password is replaced; this gateway sends no mail",
        UNAVAILABLE,
    )
    .status(503),
    get(
        "/auth/email/reset-password/{token}",
        "Users",
        "Tells the same, since there are no such tokens",
        UNAVAILABLE,
    )
    .status(503),
    post(
        "/auth/email/reset-password/{token}",
        "Users",
        "Tells the same, since there are no such tokens",
        UNAVAILABLE,
    )
    .status(503),
    get(
        "/auth/email/events",
        "Users",
        "Lists what happened around one's own logins, newest first",
        AUTH_EVENTS,
    )
    .query(&[OFFSETS]),
    get(
        "/auth/email/admin/events",
        "Users",
        "Lists what happened around logins, newest first",
        AUTH_EVENTS,
    )
    .query(&[OFFSETS, USER_EMAIL]),
    post("/auth/logout", "Users", "Ends the token that asks", SUCCEEDED),
    post(
        "/auth/refresh",
        "Users",
        "Gives a new token for that of a login",
        Answer::One(of::<LoginRead<'static>>),
    )
    .otherwise(&[(404, of::<answers::Failed>)]),
    get("/auth/validate", "Users", "Says who a token is", Answer::One(of::<answers::TokenState>)),
    get(
        "/auth/sso/providers",
        "Users",
        "Lists the providers that people log in with",
        Answer::List(of::<Choice<'static>>),
    )
    .otherwise(&[(404, of::<answers::Failed>)]),
    get(
        "/auth/sso/login/{provider_id}",
        "Users",
        "Begins a login with a provider",
        Answer::One(of::<Begun>),
    )
    .query(&[REDIRECT])
    .asks_upstreams()
    .otherwise(&[(303, of::<answers::SentOn>), (500, of::<answers::Failed>)]),
    get(
        "/auth/sso/callback/{provider_id}",
        "Users",
        "Ends a login with a provider",
        Answer::One(of::<LoginRead<'static>>),
    )
    .query(&[RETURNED])
    .asks_upstreams()
    .otherwise(&[
        (303, of::<answers::SentOn>),
        (401, of::<answers::Failed>),
        (500, of::<answers::Failed>),
        (503, of::<answers::Failed>),
    ]),
    get(
        "/auth/sso/admin/providers",
        "Users",
        "Lists the providers that are kept here",
        Answer::List(PROVIDER_READ),
    ),
    post(
        "/auth/sso/admin/providers",
        "Users",
        "Keeps a provider that people log in with",
        Answer::One(PROVIDER_READ),
    )
    .body(of::<requests::NewProvider>),
    get(
        "/auth/sso/admin/providers/{provider_id}",
        "Users",
        "Shows a provider",
        Answer::One(PROVIDER_READ),
    ),
    put(
        "/auth/sso/admin/providers/{provider_id}",
        "Users",
        "Changes a provider",
        Answer::One(PROVIDER_READ),
    )
    .body(of::<requests::ProviderChange>),
    delete(
        "/auth/sso/admin/providers/{provider_id}",
        "Users",
        "Forgets a provider",
        Answer::One(of::<answers::Done>),
    ),
    get("/auth/email/admin/users", "Users", "Lists users", Answer::Page("users", USER_READ))
        .query(&[PAGE, OFFSETS]),
    post("/auth/email/admin/users", "Users", "Makes a user", Answer::One(USER_READ))
        .body(of::<requests::NewUser>)
        .status(201),
    get("/auth/email/admin/users/{email}", "Users", "Shows a user", Answer::One(USER_READ)),
    put("/auth/email/admin/users/{email}", "Users", "Changes a user", Answer::One(USER_READ))
        .body(of::<requests::UserChange>)
        .unversioned(),
    patch(
        "/auth/email/admin/users/{email}",
        "Users",
        "Changes a user, as `PUT`",
        Answer::One(USER_READ),
    )
    .body(of::<requests::UserChange>)
    .unversioned(),
    delete("/auth/email/admin/users/{email}", "Users", "Deletes a user", SUCCEEDED).unversioned(),
    post("/auth/email/admin/users/{email}/unlock", "Users", "Unlocks a user", SUCCEEDED),
    get("/tokens", "Tokens", "Lists one's own tokens", Answer::One(TOKEN_LIST))
        .query(&[OFFSETS, INACTIVE]),
    post(
        "/tokens",
        "Tokens",
        "Makes a token, which is shown once",
        Answer::One(of::<NewTokenRead<'static>>),
    )
    .body(of::<requests::NewToken>)
    .status(201),
    get("/tokens/{token_id}", "Tokens", "Shows a token's terms", Answer::One(TOKEN_READ)),
    get(
        "/tokens/{token_id}/usage",
        "Tokens",
        "Tells how a token was used",
        Answer::One(of::<UsageRead>),
    )
    .query(&[DAYS]),
    put("/tokens/{token_id}", "Tokens", "Changes a token's terms", Answer::One(TOKEN_READ))
        .body(of::<requests::TokenChange>)
        .unversioned(),
    delete("/tokens/{token_id}", "Tokens", "Revokes a token", Answer::Nothing)
        .status(204)
        .unversioned(),
    get("/tokens/admin/all", "Tokens", "Lists all tokens", Answer::One(TOKEN_LIST))
        .query(&[OFFSETS, INACTIVE]),
    delete("/tokens/admin/{token_id}", "Tokens", "Revokes anyone's token", Answer::Nothing)
        .status(204)
        .unversioned(),
    get("/tokens/teams/{team_id}", "Tokens", "Lists the tokens of a team", Answer::One(TOKEN_LIST))
        .query(&[OFFSETS, INACTIVE])
        .otherwise(&[(404, of::<answers::Failed>)]),
    post(
        "/tokens/teams/{team_id}",
        "Tokens",
        "Makes a token for a team",
        Answer::One(of::<NewTokenRead<'static>>),
    )
    .body(of::<requests::NewToken>)
    .status(201),
];
