//! The audit trail: who did what to which entity, and who was refused.
//!
//! Entries are written once and never changed; they go when they are old enough. What they hold is
//! masked by whoever makes them: here nothing is known of secrets.

use std::borrow::Cow;

pub(crate) mod sql;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it ended, in microseconds since the epoch.
    pub at: i64,
    /// What the client called its request.
    pub request_id: Option<String>,
    /// Who did it: a user's address, or the name that stands for one.
    pub actor: String,
    /// What kind of actor that is, as `user`.
    pub actor_kind: Cow<'static, str>,
    /// The id of the token that they showed (`jti`).
    pub token_id: Option<String>,
    /// The address that the request came from.
    pub ip: Option<String>,
    /// The program that it came from, as it says itself.
    pub user_agent: Option<String>,
    /// What was done: an area, a dot and a verb, as `tools.execute`.
    pub action: Cow<'static, str>,
    /// The kind of what it was done to, as `tool`.
    pub entity: Option<Cow<'static, str>>,
    /// The id of what it was done to.
    pub entity_id: Option<String>,
    /// Its name.
    pub entity_name: Option<String>,
    /// The team that it belongs to.
    pub team_id: Option<String>,
    /// The virtual server that it was done through.
    pub server_id: Option<String>,
    /// Whether the actor might.
    pub allowed: bool,
    /// Whether it was done.
    pub succeeded: bool,
    /// Why not, in words.
    pub reason: Option<String>,
    /// The HTTP status that was answered, or the code of an error of JSON-RPC.
    pub status: i64,
    /// How long it took, in microseconds; 0 where nobody looked.
    pub duration_us: i64,
    /// What it was done to, before: JSON text.
    pub before: Option<String>,
    /// What it was done to, after: JSON text.
    pub after: Option<String>,
    /// What it was done with: JSON text.
    pub arguments: Option<String>,
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Grows in the order in which entries were stored.
    pub id: i64,
    /// What happened.
    pub entry: AuditEntry,
}

/// What a process stores at once. A batch may be handed over again after an error: it is stored
/// once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditBatch {
    /// The process: a fresh id at each start.
    pub writer: String,
    /// Higher than that of every batch before it.
    pub number: i64,
    /// What happened.
    pub entries: Vec<AuditEntry>,
}

/// A place in the trail: what follows is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCursor {
    /// When the last entry that was read ended, in microseconds since the epoch.
    pub at: i64,
    /// Its id.
    pub id: i64,
}

/// Which entries are asked for: those for which all holds that is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Ended then or later, in microseconds since the epoch.
    pub from: Option<i64>,
    /// Ended before then, in microseconds since the epoch.
    pub to: Option<i64>,
    /// Done by this actor.
    pub actor: Option<String>,
    /// An action, as `tools.execute`, or all actions of an area, as `tools`.
    pub action: Option<String>,
    /// Done to this kind.
    pub entity: Option<String>,
    /// Done to what has this id.
    pub entity_id: Option<String>,
    /// Done to what has this name.
    pub entity_name: Option<String>,
    /// Done to what belongs to this team.
    pub team_id: Option<String>,
    /// Done through this virtual server.
    pub server_id: Option<String>,
    /// Allowed, or not.
    pub allowed: Option<bool>,
    /// Done, or not.
    pub succeeded: Option<bool>,
    /// Behind this place.
    pub after: Option<AuditCursor>,
    /// At most so many.
    pub count_max: usize,
}

impl AuditEntry {
    /// An entry of which nothing else is known: `actor` did `action` at the time `at`, and might.
    pub fn new(
        at: i64,
        actor: impl Into<String>,
        actor_kind: impl Into<Cow<'static, str>>,
        action: impl Into<Cow<'static, str>>,
    ) -> AuditEntry {
        AuditEntry {
            at,
            request_id: None,
            actor: actor.into(),
            actor_kind: actor_kind.into(),
            token_id: None,
            ip: None,
            user_agent: None,
            action: action.into(),
            entity: None,
            entity_id: None,
            entity_name: None,
            team_id: None,
            server_id: None,
            allowed: true,
            succeeded: true,
            reason: None,
            status: 200,
            duration_us: 0,
            before: None,
            after: None,
            arguments: None,
        }
    }

    /// How many bytes its texts have.
    pub fn size(&self) -> usize {
        sql::texts(self).iter().map(|text| text.map_or(0, str::len)).sum()
    }
}

impl StoredEntry {
    /// The place behind this entry.
    pub fn cursor(&self) -> AuditCursor {
        AuditCursor { at: self.entry.at, id: self.id }
    }
}
