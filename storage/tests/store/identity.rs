//! Users, teams, roles, tokens, policies and providers come back, and go with what they belong to.

use storage::record::{
    ApiToken, Enforcement, Entity, Grant, Identity, Invitation, JoinRequest, JoinStatus, Member,
    Policy, PolicyEffect, Provider, Revocation, Role, Scope, Server, Team, TeamRole,
    TeamVisibility, User,
};
use storage::{Current, Mutation, StoreError};

use crate::harness::*;

/// A text that no other field has, with what text may hold.
fn text(field: &str) -> String {
    format!("{field}: \"q\" \\ \n\t é 名 🦀 $1 %")
}

fn put(record: impl Into<Identity>) -> Mutation {
    Mutation::PutIdentity(record.into())
}

/// A record of every kind. Every field holds a value that is neither its default nor another
/// field's, so that a column forgotten or swapped shows; but references name what is there.
fn full() -> Vec<Identity> {
    vec![
        User {
            id: "User".to_owned(),
            email: text("email"),
            full_name: Some(text("full_name")),
            password_hash: Some(text("password_hash")),
            is_admin: true,
            is_active: true,
            auth_provider: text("auth_provider"),
            email_verified: true,
            password_change_required: true,
            password_changed_at: Some(1001),
            failed_login_attempts: 1002,
            locked_until: Some(1003),
            last_login: Some(1004),
            tokens_valid_from: 1005,
            created_at: 1006,
            updated_at: 1007,
            version: 1008,
        }
        .into(),
        Team {
            id: "Team".to_owned(),
            name: text("name"),
            slug: text("slug"),
            description: Some(text("description")),
            created_by: text("created_by"),
            is_personal: true,
            visibility: TeamVisibility::Public,
            max_members: Some(1009),
            is_active: true,
            created_at: 1010,
            updated_at: 1011,
            version: 1012,
        }
        .into(),
        Member {
            id: "Member".to_owned(),
            team_id: "Team".to_owned(),
            user_email: text("user_email"),
            role: TeamRole::Owner,
            joined_at: 1013,
            invited_by: Some(text("invited_by")),
            version: 1014,
        }
        .into(),
        Invitation {
            id: "Invitation".to_owned(),
            team_id: "Team".to_owned(),
            email: text("email"),
            role: TeamRole::Owner,
            invited_by: text("invited_by"),
            invited_at: 1015,
            expires_at: 1016,
            token_hash: text("token_hash"),
            version: 1017,
        }
        .into(),
        JoinRequest {
            id: "JoinRequest".to_owned(),
            team_id: "Team".to_owned(),
            user_email: text("user_email"),
            message: Some(text("message")),
            status: JoinStatus::Rejected,
            requested_at: 1018,
            expires_at: 1019,
            reviewed_by: Some(text("reviewed_by")),
            reviewed_at: Some(1020),
            version: 1021,
        }
        .into(),
        Role {
            id: "Role".to_owned(),
            name: text("name"),
            description: Some(text("description")),
            scope: Scope::Personal,
            permissions: vec![text("permissions")],
            inherits_from: None,
            is_system_role: true,
            is_active: true,
            created_by: text("created_by"),
            created_at: 1022,
            updated_at: 1023,
            version: 1024,
        }
        .into(),
        Grant {
            id: "Grant".to_owned(),
            user_email: text("user_email"),
            role_id: "Role".to_owned(),
            scope: Scope::Personal,
            scope_id: Some(text("scope_id")),
            granted_by: text("granted_by"),
            granted_at: 1025,
            expires_at: Some(1026),
            version: 1027,
        }
        .into(),
        ApiToken {
            id: "ApiToken".to_owned(),
            jti: text("jti"),
            user_email: text("user_email"),
            team_id: Some("Team".to_owned()),
            name: text("name"),
            description: Some(text("description")),
            server_id: Some(text("server_id")),
            permissions: vec![text("permissions")],
            ip_restrictions: vec![text("ip_restrictions")],
            time_restrictions: Some(text("time_restrictions")),
            usage_limits: Some(text("usage_limits")),
            tags: vec![text("tags")],
            created_at: 1028,
            expires_at: Some(1029),
            is_active: true,
            revoked_at: Some(1030),
            revoked_by: Some(text("revoked_by")),
            revocation_reason: Some(text("revocation_reason")),
            version: 1031,
        }
        .into(),
        Revocation {
            id: "Revocation".to_owned(),
            user_email: Some(text("user_email")),
            revoked_by: Some(text("revoked_by")),
            reason: Some(text("reason")),
            revoked_at: 1032,
            expires_at: Some(1033),
            version: 1034,
        }
        .into(),
        Policy {
            id: "Policy".to_owned(),
            name: text("name"),
            description: Some(text("description")),
            server_id: Some("s".to_owned()),
            effect: PolicyEffect::Allow,
            actions: vec![text("actions")],
            expression: text("expression"),
            message: Some(text("message")),
            enforcement: Enforcement::DryRun,
            enabled: true,
            priority: 1035,
            created_by: Some(text("created_by")),
            created_at: 1036,
            updated_at: 1037,
            version: 1038,
        }
        .into(),
        Provider {
            id: "Provider".to_owned(),
            name: text("name"),
            display_name: text("display_name"),
            provider_type: text("provider_type"),
            is_enabled: true,
            client_id: text("client_id"),
            client_secret_sealed: Some(text("client_secret_sealed")),
            issuer: Some(text("issuer")),
            authorization_url: text("authorization_url"),
            token_url: text("token_url"),
            userinfo_url: Some(text("userinfo_url")),
            jwks_uri: Some(text("jwks_uri")),
            scope: text("scope"),
            trusted_domains: vec![text("trusted_domains")],
            auto_create_users: true,
            team_mapping: Some(text("team_mapping")),
            metadata: Some(text("metadata")),
            created_at: 1039,
            updated_at: 1040,
            version: 1041,
        }
        .into(),
    ]
}

/// Identities, by kind: the snapshot promises no order.
fn sorted(mut identities: Vec<Identity>) -> Vec<Identity> {
    identities.sort_by_key(|identity| (identity.entity(), identity.id().to_owned()));
    identities
}

fn everyone_comes_back_by_all_three_ways_after_reopening(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    apply(&store, vec![put_server(Server { id: "s".to_owned(), ..Server::default() })]).unwrap();
    let applied = apply(&store, full().into_iter().map(put).collect()).unwrap();
    block_on(store.close());

    let store = fixture.open();
    assert_eq!(sorted(block_on(store.load()).unwrap().identities), sorted(full()));
    let told = changes(&store, 1, 20).items;
    assert_eq!(told, applied.changes);
    let currents: Vec<Current> = told.into_iter().map(|change| change.current).collect();
    assert_eq!(currents, full().into_iter().map(Current::Identity).collect::<Vec<_>>());
    // Once more, which goes the way of an update.
    apply(&store, full().into_iter().map(put).collect()).unwrap();
    assert_eq!(sorted(block_on(store.load()).unwrap().identities), sorted(full()));
}

fn a_team_goes_with_its_members_invitations_requests_grants_and_tokens(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let mut grant =
        Grant { id: "of-team".to_owned(), role_id: "Role".to_owned(), ..Grant::default() };
    (grant.scope, grant.scope_id) = (Scope::Team, Some("Team".to_owned()));
    apply(&store, vec![put_server(Server { id: "s".to_owned(), ..Server::default() })]).unwrap();
    apply(&store, full().into_iter().map(put).collect()).unwrap();
    apply(&store, vec![put(grant)]).unwrap();
    let delete = |entity, id: &str| Mutation::DeleteIdentity { entity, id: id.to_owned() };
    let applied = apply(&store, vec![delete(Entity::Team, "Team")]).unwrap();
    let gone: Vec<_> = applied
        .changes
        .iter()
        .map(|change| (change.current.entity(), change.current.id().to_owned()))
        .collect();
    let expected = [
        (Entity::Member, "Member"),
        (Entity::Invitation, "Invitation"),
        (Entity::JoinRequest, "JoinRequest"),
        (Entity::Grant, "of-team"),
        (Entity::ApiToken, "ApiToken"),
        (Entity::Team, "Team"),
    ];
    assert_eq!(gone, expected.map(|(entity, id)| (entity, id.to_owned())));
    let applied = apply(&store, vec![delete(Entity::Role, "Role")]).unwrap();
    assert_eq!(applied.changes[0].current.entity(), Entity::Grant);
    let applied = apply(&store, vec![Mutation::DeleteServer("s".to_owned())]).unwrap();
    assert_eq!(applied.changes[0].current.entity(), Entity::Policy);
    assert_eq!(block_on(store.load()).unwrap().identities.len(), 3);
}

fn two_of_one_name_are_a_conflict_that_says_which_field(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let user = |id: &str, email: &str| {
        put(User { id: id.to_owned(), email: email.to_owned(), ..User::default() })
    };
    apply(&store, vec![user("1", "a@x")]).unwrap();
    let error = apply(&store, vec![user("2", "A@X")]).unwrap_err();
    let (entity, field, value) = (Entity::User, "email", "A@X".to_owned());
    assert_eq!(error, StoreError::Conflict { entity, field, value });
    let member = Member { id: "m".to_owned(), team_id: "none".to_owned(), ..Member::default() };
    let error = apply(&store, vec![put(member)]).unwrap_err();
    assert_eq!(error, StoreError::NotFound { entity: Entity::Team, id: "none".to_owned() });
}

fn a_write_that_leans_on_an_older_version_of_a_user_does_not_happen(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let user = |version| User { id: "1".to_owned(), version, ..User::default() };
    apply(&store, vec![put(user(2))]).unwrap();
    let expect = |version| Mutation::Expect { entity: Entity::User, id: "1".to_owned(), version };
    let error = apply(&store, vec![expect(1), put(user(3))]).unwrap_err();
    assert!(matches!(error, StoreError::VersionMismatch { expected: 1, found: 2, .. }), "{error}");
    apply(&store, vec![expect(2), put(user(3))]).unwrap();
}

on_every_backend! {
    everyone_comes_back_by_all_three_ways_after_reopening,
    a_team_goes_with_its_members_invitations_requests_grants_and_tokens,
    two_of_one_name_are_a_conflict_that_says_which_field,
    a_write_that_leans_on_an_older_version_of_a_user_does_not_happen,
}
