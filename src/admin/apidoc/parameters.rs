//! What may stand in a path, behind the question mark and in a header.

use serde_json::{Value, json};

/// A parameter of the query.
pub struct Parameter {
    pub name: &'static str,
    sentence: &'static str,
    kind: Kind,
}

/// What a parameter may hold.
enum Kind {
    Text,
    Flag,
    Count,
    Word(&'static [&'static str]),
}

const fn text(name: &'static str, sentence: &'static str) -> Parameter {
    Parameter { name, sentence, kind: Kind::Text }
}

const fn flag(name: &'static str, sentence: &'static str) -> Parameter {
    Parameter { name, sentence, kind: Kind::Flag }
}

/// Which stream of HTTP+SSE.
pub const SESSION: &[Parameter] =
    &[text("session_id", "The stream, as its first event names it; required.")];

/// Also what is switched off.
pub const INACTIVE: &[Parameter] =
    &[flag("include_inactive", "Also what is switched off; false if it is not said.")];

/// What every list can be asked for.
pub const FILTER: &[Parameter] = &[
    text("tags", "Words with commas between them; a record needs any of them."),
    Parameter {
        name: "visibility",
        sentence: "Only what this many may see.",
        kind: Kind::Word(&["private", "team", "public"]),
    },
    text("team_id", "Only what belongs to this team."),
    text("gateway_id", "Only what is of this upstream; `null` for what is of none."),
];

/// Which part of a list.
pub const PAGE: &[Parameter] = &[
    text("cursor", "The place where the page before ended: its `nextCursor`."),
    Parameter {
        name: "limit",
        sentence: "The most records of a page; 0 for all of them.",
        kind: Kind::Count,
    },
    flag("include_pagination", "Answer with an object that holds the list and `nextCursor`."),
];

/// Which parts of an answer.
pub const RESHAPE: &[Parameter] = &[text(
    "apijsonpath",
    "Which parts of the answer are wanted, by JSONPath: `{\"jsonpath\": \"$[*]\", \"mapping\": \
     {\"field\": \"$.path\"}}`. The answer has the shape that this asks for, not the one below.",
)];

/// Whether to show what was counted.
pub const METRICS: &[Parameter] =
    &[flag("include_metrics", "Fill `metrics` of every record in a list.")];

/// Which kinds of records.
pub const KINDS: &[Parameter] =
    &[text("entity_types", "Kinds with commas between them, like `tools,servers`.")];

/// Whether to show records.
pub const ENTITIES: &[Parameter] = &[flag("include_entities", "Also list what has each tag.")];

/// Whether to export what servers name.
pub const DEPENDENCIES: &[Parameter] =
    &[flag("include_dependencies", "Also what servers are made of; true if not said.")];

/// What to export.
pub const EXPORT: &[Parameter] = &[
    text("types", "Kinds with commas between them."),
    text("exclude_types", "Kinds that are left out."),
    text("tags", "Words with commas between them; a record needs any of them."),
];

/// How to import, where the body does not say it.
pub const IMPORT: &[Parameter] = &[
    Parameter {
        name: "conflict_strategy",
        sentence: "What to do with what is there already.",
        kind: Kind::Word(&["skip", "update", "rename", "fail"]),
    },
    flag("dry_run", "Do nothing but tell what would be done."),
    text("rekey_secret", "The secret that the credentials are sealed under."),
];

/// What to forget.
pub const AGE: &[Parameter] = &[Parameter {
    name: "max_age_hours",
    sentence: "Only what is older; 24 if it is not said.",
    kind: Kind::Count,
}];

/// Which root.
pub const URI: &[Parameter] = &[text("uri", "The URI of the root; required.")];

/// Which entries of the audit trail.
pub const AUDIT: &[Parameter] = &[
    text("from", "Only what ended then or later: a time in RFC 3339."),
    text("to", "Only what ended before then."),
    text("actor", "Only what this user did."),
    text("action", "Only this action, as `tools.execute`, or all of an area, as `auth`."),
    text("entity", "Only what was done to this kind, as `tool`."),
    text("entity_id", "Only what was done to what has this id."),
    text("entity_name", "Only what was done to what has this name."),
    text("tool", "Only what was done to the tool of this name."),
    text("team_id", "Only what was done to what belongs to this team."),
    text("server_id", "Only what was done through this virtual server."),
    flag("allowed", "Only what was allowed, or refused."),
    flag("succeeded", "Only what was done, or failed."),
];

/// Which part of the audit trail.
pub const AUDIT_PAGES: &[Parameter] = &[
    text("cursor", "The place where the page before ended."),
    Parameter { name: "limit", sentence: "The most entries.", kind: Kind::Count },
];

/// Which entries of the audit trail, in the contract's words.
pub const AUDIT_TRAILS: &[Parameter] = &[
    text("start_time", "Only what ended then or later: a time in RFC 3339."),
    text("end_time", "Only what ended then or before."),
    text("user_id", "Only what this user did."),
    text("action", "Only this action, or all of an area."),
    text("resource_type", "Only what was done to this kind."),
    flag("requires_review", "Nothing does here."),
    Parameter { name: "limit", sentence: "The most entries.", kind: Kind::Count },
    Parameter { name: "offset", sentence: "How many to leave out.", kind: Kind::Count },
];

/// What to reset.
pub const ENTITY: &[Parameter] = &[
    Parameter {
        name: "entity",
        sentence: "Only this kind; everything if it is not said.",
        kind: Kind::Word(&["tool", "resource", "server", "prompt", "a2a"]),
    },
    text("entity_id", "Only this one of the kind."),
];

/// Which part of a list that is cut by count.
pub const OFFSETS: &[Parameter] = &[
    Parameter { name: "limit", sentence: "The most records of a page.", kind: Kind::Count },
    Parameter {
        name: "offset",
        sentence: "How many are left out before the page.",
        kind: Kind::Count,
    },
];

/// Which part of a list that is cut by count, too.
pub const SKIP: &[Parameter] = &[Parameter {
    name: "skip",
    sentence: "How many are left out before the page.",
    kind: Kind::Count,
}];

/// What becomes of what a team owns.
pub const FORCE: &[Parameter] =
    &[flag("force", "Also if it owns things: they become their owners' alone.")];

/// Which roles.
pub const SCOPE: &[Parameter] = &[Parameter {
    name: "scope",
    sentence: "Only roles of this scope.",
    kind: Kind::Word(&["global", "team", "personal"]),
}];

/// Whether also what no longer counts.
pub const ACTIVE_ONLY: &[Parameter] =
    &[flag("active_only", "Only what counts now; true if not said.")];

/// In which team.
pub const SCOPE_ID: &[Parameter] = &[text("scope_id", "Only where it counts in this team.")];

/// As seen from which team.
pub const TEAM_ID: &[Parameter] = &[text("team_id", "What may be done in this team.")];

/// How far to look back.
pub const DAYS: &[Parameter] = &[Parameter {
    name: "days",
    sentence: "Of how many days to tell, today besides; 30 if it is not said, 366 at most.",
    kind: Kind::Count,
}];

/// Whose.
pub const USER_EMAIL: &[Parameter] = &[text("user_email", "Only what is about this user.")];

/// What is to be explained.
pub const QUESTION: &[Parameter] = &[
    text("user", "Whose rights; the caller's if it is not said."),
    text("action", "A permission, as `tools.execute`, or a deed, as `call`; required."),
    text("entity", "The thing, as `tool:ID` or `server:NAME`."),
    text("token", "The id of an API token of the user that is shown."),
];

/// Where a login leads to.
pub const REDIRECT: &[Parameter] =
    &[text("redirect_uri", "The page of this gateway that a browser is sent to in the end.")];

/// With what a provider sends a user back.
pub const RETURNED: &[Parameter] = &[
    text("state", "What the login was begun with."),
    text("code", "What the provider gives a token for."),
    text("iss", "The provider's issuer (RFC 9207)."),
    text("error", "Why the provider refused the login."),
];

/// Whether to switch on or off.
pub const ACTIVATE: &[Parameter] = &[flag("activate", "Whether to switch on; true if not said.")];

impl Parameter {
    /// The parameter as OpenAPI writes it.
    pub fn describe(&self) -> Value {
        let schema = match self.kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Flag => json!({ "type": "boolean" }),
            Kind::Count => json!({ "type": "integer", "minimum": 0 }),
            Kind::Word(words) => json!({ "type": "string", "enum": words }),
        };
        json!({ "name": self.name, "in": "query", "description": self.sentence, "schema": schema })
    }
}

/// A part of the path.
pub fn in_path(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

/// The version that a record must have to be changed.
pub fn if_match() -> Value {
    json!({
        "name": "If-Match",
        "in": "header",
        "description": "The version that the record must have to be changed, in quotes or not.",
        "schema": { "type": "string" },
    })
}
