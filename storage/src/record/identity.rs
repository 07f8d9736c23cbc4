//! Who there is and what each may do: users, teams, roles, tokens, policies, identity providers.

use super::text::text_enum;

/// Who can log in, or who a token may name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// The id.
    pub id: String,
    /// The address, in lower case; unique.
    pub email: String,
    /// The name for people.
    pub full_name: Option<String>,
    /// Argon2id in the PHC string format; `None` for who logs in elsewhere.
    pub password_hash: Option<String>,
    /// Whether they command the gateway.
    pub is_admin: bool,
    /// Whether they may do anything at all.
    pub is_active: bool,
    /// `local`, or the id of the provider that vouches for them.
    pub auth_provider: String,
    /// Whether the address is known to be theirs.
    pub email_verified: bool,
    /// Whether they must choose another password before anything else.
    pub password_change_required: bool,
    /// When the password was last chosen.
    pub password_changed_at: Option<i64>,
    /// How often in a row a login failed.
    pub failed_login_attempts: i64,
    /// Until when no login is tried.
    pub locked_until: Option<i64>,
    /// When they last logged in.
    pub last_login: Option<i64>,
    /// Tokens that were issued before this are good no more.
    pub tokens_valid_from: i64,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub updated_at: i64,
    /// One more with each change.
    pub version: i64,
}

/// Users who own things together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Team {
    /// The id.
    pub id: String,
    /// The name for people.
    pub name: String,
    /// The name for addresses; unique.
    pub slug: String,
    /// What it is for.
    pub description: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// Whether it is the team of one user alone.
    pub is_personal: bool,
    /// Whether others may find it and ask to join.
    pub visibility: TeamVisibility,
    /// How many members it may have; `None` follows the setting.
    pub max_members: Option<i64>,
    /// Whether it counts.
    pub is_active: bool,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub updated_at: i64,
    /// One more with each change.
    pub version: i64,
}

text_enum! {
    /// Who may find a team.
    #[derive(Default)]
    pub enum TeamVisibility {
        /// Its members alone.
        #[default]
        Private = "private",
        /// Everyone, and ask to join.
        Public = "public",
    }
}

text_enum! {
    /// What a member is in a team.
    #[derive(Default)]
    pub enum TeamRole {
        /// May change it and its members.
        Owner = "owner",
        /// Belongs to it.
        #[default]
        Member = "member",
    }
}

/// That a user belongs to a team.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// The id.
    pub id: String,
    /// The team.
    pub team_id: String,
    /// The user, in lower case; once in each team.
    pub user_email: String,
    /// What they are in it.
    pub role: TeamRole,
    /// Since when.
    pub joined_at: i64,
    /// Who asked them in.
    pub invited_by: Option<String>,
    /// One more with each change.
    pub version: i64,
}

/// That someone may join a team, by a word that was sent to them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Invitation {
    /// The id.
    pub id: String,
    /// The team.
    pub team_id: String,
    /// Who may join, in lower case.
    pub email: String,
    /// What they will be in it.
    pub role: TeamRole,
    /// Who asked them in.
    pub invited_by: String,
    /// When.
    pub invited_at: i64,
    /// Until when it is good.
    pub expires_at: i64,
    /// SHA-256 of the word, in hexadecimal; the word itself is not kept.
    pub token_hash: String,
    /// One more with each change.
    pub version: i64,
}

text_enum! {
    /// What became of a request to join.
    #[derive(Default)]
    pub enum JoinStatus {
        /// Nobody decided yet.
        #[default]
        Pending = "pending",
        /// They are in.
        Approved = "approved",
        /// They are not.
        Rejected = "rejected",
    }
}

/// That a user asked to join a team.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinRequest {
    /// The id.
    pub id: String,
    /// The team.
    pub team_id: String,
    /// Who asked, in lower case; once for each team.
    pub user_email: String,
    /// Why.
    pub message: Option<String>,
    /// What became of it.
    pub status: JoinStatus,
    /// When.
    pub requested_at: i64,
    /// Until when it is good.
    pub expires_at: i64,
    /// Who decided.
    pub reviewed_by: Option<String>,
    /// When they did.
    pub reviewed_at: Option<i64>,
    /// One more with each change.
    pub version: i64,
}

text_enum! {
    /// Where a role counts.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Scope {
        /// Everywhere.
        #[default]
        Global = "global",
        /// In a team and on what it owns.
        Team = "team",
        /// On what the user owns.
        Personal = "personal",
    }
}

/// A set of permissions with a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Role {
    /// The id.
    pub id: String,
    /// The name; unique in its scope.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where it counts.
    pub scope: Scope,
    /// What it permits, as `tools.read`; `*` for everything.
    pub permissions: Vec<String>,
    /// The role whose permissions it has besides.
    pub inherits_from: Option<String>,
    /// Whether it is one of ours, which nobody changes.
    pub is_system_role: bool,
    /// Whether it counts.
    pub is_active: bool,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub updated_at: i64,
    /// One more with each change.
    pub version: i64,
}

/// That a user has a role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant {
    /// The id.
    pub id: String,
    /// Who has it, in lower case.
    pub user_email: String,
    /// The role.
    pub role_id: String,
    /// Where it counts.
    pub scope: Scope,
    /// The team in which it counts.
    pub scope_id: Option<String>,
    /// Who gave it.
    pub granted_by: String,
    /// When.
    pub granted_at: i64,
    /// Until when it counts.
    pub expires_at: Option<i64>,
    /// One more with each change.
    pub version: i64,
}

/// A token that a user made for a program: its terms, not the token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiToken {
    /// The id.
    pub id: String,
    /// The token's own id, as its claim `jti` says; unique.
    pub jti: String,
    /// Whose it is, in lower case.
    pub user_email: String,
    /// The team that it acts for; `None` for all of its user's.
    pub team_id: Option<String>,
    /// The name for people; unique for its user and team.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The one virtual server that it opens; `None` for all.
    pub server_id: Option<String>,
    /// What it permits; empty for all that its user may.
    pub permissions: Vec<String>,
    /// The addresses or networks that it may come from; empty for all.
    pub ip_restrictions: Vec<String>,
    /// When it is good: JSON text of an object.
    pub time_restrictions: Option<String>,
    /// How often it may be used: JSON text of an object.
    pub usage_limits: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// When it was made.
    pub created_at: i64,
    /// Until when it is good; `None` for ever.
    pub expires_at: Option<i64>,
    /// Switched on by people.
    pub is_active: bool,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
    /// Why.
    pub revocation_reason: Option<String>,
    /// One more with each change.
    pub version: i64,
}

/// That a token is good no more, whatever its signature says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revocation {
    /// The token's own id (`jti`).
    pub id: String,
    /// Whose token it was.
    pub user_email: Option<String>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub revoked_at: i64,
    /// When the token would have ended, after which this may be forgotten.
    pub expires_at: Option<i64>,
    /// 1.
    pub version: i64,
}

text_enum! {
    /// What a policy does when its expression is true.
    #[derive(Default)]
    pub enum PolicyEffect {
        /// Permits.
        Allow = "allow",
        /// Refuses.
        #[default]
        Deny = "deny",
    }
}

text_enum! {
    /// Whether a policy counts.
    #[derive(Default)]
    pub enum Enforcement {
        /// It does.
        #[default]
        Enforce = "enforce",
        /// It only says in the log what it would have done.
        DryRun = "dry_run",
    }
}

/// What is allowed or denied besides by roles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The id.
    pub id: String,
    /// The name; unique.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The virtual server that it is for; `None` for everything.
    pub server_id: Option<String>,
    /// What it does when its expression is true.
    pub effect: PolicyEffect,
    /// What it is about, as `tools.execute`; `*` for everything.
    pub actions: Vec<String>,
    /// When, in CEL.
    pub expression: String,
    /// What whoever is refused is told.
    pub message: Option<String>,
    /// Whether it counts.
    pub enforcement: Enforcement,
    /// Switched on by people.
    pub enabled: bool,
    /// The higher is asked first.
    pub priority: i64,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub updated_at: i64,
    /// One more with each change.
    pub version: i64,
}

/// Where users may log in besides here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provider {
    /// The id, as it stands in addresses.
    pub id: String,
    /// The name; unique.
    pub name: String,
    /// The name for people.
    pub display_name: String,
    /// `oidc` or `oauth2`.
    pub provider_type: String,
    /// Switched on by people.
    pub is_enabled: bool,
    /// Who we are there.
    pub client_id: String,
    /// How we prove it, sealed (see [`crate::seal`]).
    pub client_secret_sealed: Option<String>,
    /// Whose tokens it gives.
    pub issuer: Option<String>,
    /// Where users are sent.
    pub authorization_url: String,
    /// Where codes become tokens.
    pub token_url: String,
    /// Where it tells of a user.
    pub userinfo_url: Option<String>,
    /// Where its keys are.
    pub jwks_uri: Option<String>,
    /// What is asked for, words with spaces between.
    pub scope: String,
    /// The domains of addresses that may log in; empty for all.
    pub trusted_domains: Vec<String>,
    /// Whether who logs in first becomes a user.
    pub auto_create_users: bool,
    /// Groups there to teams here: JSON text of an object.
    pub team_mapping: Option<String>,
    /// Which claims say what, and who commands the gateway: JSON text of an object.
    pub metadata: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub updated_at: i64,
    /// One more with each change.
    pub version: i64,
}

/// Declares the enumeration of all records of this module.
macro_rules! identities {
    ($($record:ident: $what:literal,)+) => {
        /// A record of who there is and what each may do.
        ///
        /// Shared, since every shard gets the same one.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Identity {
            $(
                #[doc = $what]
                $record(std::sync::Arc<$record>),
            )+
        }

        impl Identity {
            /// What kind of record it is.
            pub fn entity(&self) -> super::Entity {
                match self { $(Identity::$record(_) => super::Entity::$record,)+ }
            }

            /// Its id.
            pub fn id(&self) -> &str {
                match self { $(Identity::$record(record) => &record.id,)+ }
            }
        }

        $(
            impl From<$record> for Identity {
                fn from(record: $record) -> Identity {
                    Identity::$record(std::sync::Arc::new(record))
                }
            }
        )+
    };
}

identities! {
    User: "A user.",
    Team: "A team.",
    Member: "A user in a team.",
    Invitation: "An invitation to a team.",
    JoinRequest: "A request to join a team.",
    Role: "A role.",
    Grant: "A role that a user has.",
    ApiToken: "The terms of an API token.",
    Revocation: "A token that is good no more.",
    Policy: "A policy.",
    Provider: "A provider of identity.",
}
