//! What is stored: one plain struct per entity, and the few values that they share.
//!
//! A record holds what its row holds, nothing computed and no metrics. Times are microseconds
//! since the epoch, ids are `uuid4` hex of 32 characters, and a field that says "JSON text" holds
//! the text itself: the store never parses it, so what an upstream said comes back byte for byte.

mod agent;
mod audit;
mod gateway;
mod identity;
mod offering;
mod root;
mod server;
mod text;

pub use agent::Agent;
pub use audit::{Audit, Ownership, Visibility};
pub use gateway::{AuthType, Era, Gateway, ProtocolPin, SessionMode, Transport};
pub use identity::{
    ApiToken, Enforcement, Grant, Identity, Invitation, JoinRequest, JoinStatus, Member, Policy,
    PolicyEffect, Provider, Revocation, Role, Scope, Team, TeamRole, TeamVisibility, User,
};
pub use offering::{IntegrationType, Prompt, Resource, Tool};
pub use root::Root;
pub use server::Server;
pub use text::UnknownText;

use text::text_enum;

text_enum! {
    /// A kind of record, as the change feed and the errors name it.
    #[derive(PartialOrd, Ord)]
    pub enum Entity {
        /// An upstream.
        Gateway = "gateway",
        /// A tool of an upstream, or one of our own.
        Tool = "tool",
        /// A resource or a resource template.
        Resource = "resource",
        /// A prompt.
        Prompt = "prompt",
        /// A virtual server.
        Server = "server",
        /// An A2A agent.
        Agent = "a2a_agent",
        /// A root.
        Root = "root",
        /// A user.
        User = "user",
        /// A team.
        Team = "team",
        /// A user in a team.
        Member = "team_member",
        /// An invitation to a team.
        Invitation = "team_invitation",
        /// A request to join a team.
        JoinRequest = "team_join_request",
        /// A role.
        Role = "role",
        /// A role that a user has.
        Grant = "user_role",
        /// The terms of an API token.
        ApiToken = "api_token",
        /// A token that is good no more.
        Revocation = "revocation",
        /// A policy.
        Policy = "policy",
        /// A provider of identity.
        Provider = "sso_provider",
    }
}

/// Makes a fresh id: a random UUID (version 4) as 32 hexadecimal characters.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The time now, in microseconds since the epoch.
///
/// A clock before 1970 reads as 0.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
