//! Records as rows: which field stands in which column, for every database alike.
//!
//! It knows no driver. A backend hands over the cells of a row, or takes them, in the order of
//! [`Table::COLUMNS`].

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::error::StoreError;
use crate::record::{
    Agent, AuthType, Enforcement, Entity, Era, Gateway, IntegrationType, JoinStatus, PolicyEffect,
    Prompt, ProtocolPin, Resource, Root, Scope, Server, SessionMode, TeamRole, TeamVisibility,
    Tool, Transport, Visibility,
};

pub(crate) use identity::IDENTITY_TABLES;

/// What a cell holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Boolean(bool),
    Text(Cow<'a, str>),
}

/// A record that has a table.
pub(crate) trait Table: Sized + Default {
    const ENTITY: Entity;
    const NAME: &'static str;
    const COLUMNS: &'static [&'static str];
    /// Each unique index and the field that it is about.
    const UNIQUE: &'static [(&'static str, &'static str)];

    /// The cells, in the order of the columns.
    fn encode(&self) -> Vec<Value<'_>>;

    /// The record of the cells that `cell` gives by index, or says what is wrong with.
    fn decode<'r>(cell: impl Fn(usize) -> Result<Value<'r>, String>) -> Result<Self, StoreError>;

    /// `SELECT` of all rows; a `WHERE` may follow.
    fn select() -> &'static str;

    /// `INSERT` of one row, or `UPDATE` of the row with its id.
    fn upsert() -> &'static str;

    /// The text in the cell of `column`, for a message about it.
    fn text_of(&self, column: &str) -> String {
        let index = Self::COLUMNS.iter().position(|name| *name == column);
        match index.map(|index| self.encode().swap_remove(index)) {
            Some(Value::Text(text)) => text.into_owned(),
            _ => String::new(),
        }
    }
}

/// Declares which field stands in which column; those of [`crate::record::Ownership`] and
/// [`crate::record::Audit`] follow by themselves, as every table has them.
macro_rules! table {
    (
        $record:ident = $entity:expr, $name:literal,
        unique [$(($index:literal, $unique:literal)),*],
        columns { $($column:literal: $($field:ident).+,)+ }
    ) => {
        table! { @all $record, $entity, $name, [$(($index, $unique)),*], {
            $($column: $($field).+,)+
            "team_id": ownership.team_id,
            "owner_email": ownership.owner_email,
            "visibility": ownership.visibility,
            "created_at": audit.created_at,
            "created_by": audit.created_by,
            "created_from_ip": audit.created_from_ip,
            "created_via": audit.created_via,
            "created_user_agent": audit.created_user_agent,
            "updated_at": audit.updated_at,
            "modified_by": audit.modified_by,
            "modified_from_ip": audit.modified_from_ip,
            "modified_via": audit.modified_via,
            "modified_user_agent": audit.modified_user_agent,
            "import_batch_id": audit.import_batch_id,
            "federation_source": audit.federation_source,
            "version": audit.version,
        } }
    };
    (
        @all $record:ident, $entity:expr, $name:literal, [$(($index:literal, $unique:literal)),*],
        { $($column:literal: $($field:ident).+,)+ }
    ) => {
        impl Table for $record {
            const ENTITY: Entity = $entity;
            const NAME: &'static str = $name;
            const COLUMNS: &'static [&'static str] = &[$($column),+];
            const UNIQUE: &'static [(&'static str, &'static str)] = &[$(($index, $unique)),*];

            fn encode(&self) -> Vec<Value<'_>> {
                vec![$(self.$($field).+.to_value()),+]
            }

            fn decode<'r>(cell: impl Fn(usize) -> Result<Value<'r>, String>) -> Result<Self, StoreError> {
                let mut record = $record::default();
                let mut indexes = 0..;
                $(
                    let index = indexes.next().expect("the range has no end");
                    record.$($field).+ = cell(index).and_then(Cell::from_value).map_err(|reason| {
                        StoreError::Corrupt { table: $name, column: $column, reason }
                    })?;
                )+
                Ok(record)
            }

            fn select() -> &'static str {
                static SQL: LazyLock<String> = LazyLock::new(select_sql::<$record>);
                &SQL
            }

            fn upsert() -> &'static str {
                static SQL: LazyLock<String> = LazyLock::new(upsert_sql::<$record>);
                &SQL
            }
        }
    };
}

// Behind the macro that it uses.
mod identity;

table! {
    Gateway = Entity::Gateway, "gateways",
    unique [("gateways_slug", "slug"), ("gateways_url", "url")],
    columns {
        "id": id,
        "name": name,
        "slug": slug,
        "url": url,
        "description": description,
        "transport": transport,
        "command": command,
        "env_sealed": env_sealed,
        "protocol": protocol,
        "era": era,
        "session_mode": session_mode,
        "protocol_version": protocol_version,
        "capabilities": capabilities,
        "instructions": instructions,
        "server_info": server_info,
        "auth_type": auth_type,
        "auth_sealed": auth_sealed,
        "ca_certificate": ca_certificate,
        "passthrough_headers": passthrough_headers,
        "skipped_tools": skipped_tools,
        "tags": tags,
        "enabled": enabled,
        "reachable": reachable,
        "last_seen": last_seen,
        "last_error": last_error,
        "last_refresh_at": last_refresh_at,
        "refresh_interval_seconds": refresh_interval_seconds,
    }
}

table! {
    Tool = Entity::Tool, "tools",
    unique [("tools_name", "name")],
    columns {
        "id": id,
        "gateway_id": gateway_id,
        "agent_id": agent_id,
        "original_name": original_name,
        "custom_name": custom_name,
        "custom_name_slug": custom_name_slug,
        "name": name,
        "display_name": display_name,
        "title": title,
        "original_description": original_description,
        "custom_description": custom_description,
        "integration_type": integration_type,
        "definition": definition,
        "rest": rest,
        "auth_type": auth_type,
        "auth_sealed": auth_sealed,
        "deprecated": deprecated,
        "validate_arguments": validate_arguments,
        "extension_metadata": extension_metadata,
        "position": position,
        "tags": tags,
        "enabled": enabled,
        "reachable": reachable,
    }
}

table! {
    Resource = Entity::Resource, "resources",
    unique [("resources_uri", "uri")],
    columns {
        "id": id,
        "gateway_id": gateway_id,
        "uri": uri,
        "uri_template": uri_template,
        "name": name,
        "title": title,
        "description": description,
        "mime_type": mime_type,
        "size": size,
        "definition": definition,
        "content": content,
        "is_binary": is_binary,
        "extension_metadata": extension_metadata,
        "position": position,
        "tags": tags,
        "enabled": enabled,
    }
}

table! {
    Prompt = Entity::Prompt, "prompts",
    unique [("prompts_name", "name")],
    columns {
        "id": id,
        "gateway_id": gateway_id,
        "original_name": original_name,
        "custom_name": custom_name,
        "custom_name_slug": custom_name_slug,
        "name": name,
        "display_name": display_name,
        "title": title,
        "description": description,
        "definition": definition,
        "template": template,
        "position": position,
        "tags": tags,
        "enabled": enabled,
    }
}

table! {
    Server = Entity::Server, "servers",
    unique [("servers_name", "name")],
    columns {
        "id": id,
        "name": name,
        "description": description,
        "icon": icon,
        "tool_prefix": tool_prefix,
        "tool_overrides": tool_overrides,
        "auth_required": auth_required,
        "oauth_enabled": oauth_enabled,
        "oauth_config": oauth_config,
        "tags": tags,
        "enabled": enabled,
    }
}

table! {
    Agent = Entity::Agent, "a2a_agents",
    unique [("a2a_agents_slug", "slug")],
    columns {
        "id": id,
        "name": name,
        "slug": slug,
        "description": description,
        "endpoint_url": endpoint_url,
        "agent_type": agent_type,
        "protocol_version": protocol_version,
        "capabilities": capabilities,
        "config": config,
        "auth_type": auth_type,
        "auth_sealed": auth_sealed,
        "passthrough_headers": passthrough_headers,
        "tags": tags,
        "enabled": enabled,
        "reachable": reachable,
    }
}

table! {
    Root = Entity::Root, "roots",
    unique [("roots_uri", "uri")],
    columns {
        "id": id,
        "uri": uri,
        "name": name,
    }
}

/// A list of ids that a virtual server keeps in a table of its own.
pub(crate) struct Membership {
    /// The table that joins servers and members.
    pub table: &'static str,
    /// What kind of record the members are.
    pub entity: Entity,
    /// The list in the record.
    pub list: fn(&mut Server) -> &mut Vec<String>,
    /// The list in the record, to read.
    pub members: fn(&Server) -> &[String],
}

/// Every list of ids that a virtual server keeps in a table of its own.
pub(crate) const MEMBERSHIPS: [Membership; 5] = [
    Membership {
        table: "server_tools",
        entity: Entity::Tool,
        list: |server| &mut server.associated_tools,
        members: |server| &server.associated_tools,
    },
    Membership {
        table: "server_resources",
        entity: Entity::Resource,
        list: |server| &mut server.associated_resources,
        members: |server| &server.associated_resources,
    },
    Membership {
        table: "server_prompts",
        entity: Entity::Prompt,
        list: |server| &mut server.associated_prompts,
        members: |server| &server.associated_prompts,
    },
    Membership {
        table: "server_gateways",
        entity: Entity::Gateway,
        list: |server| &mut server.associated_gateways,
        members: |server| &server.associated_gateways,
    },
    Membership {
        table: "server_a2a_agents",
        entity: Entity::Agent,
        list: |server| &mut server.associated_a2a_agents,
        members: |server| &server.associated_a2a_agents,
    },
];

/// What goes when its owner is deleted: the kind of record, and the column that names the owner.
pub(crate) fn owned_by(entity: Entity) -> &'static [(Entity, &'static str)] {
    match entity {
        Entity::Gateway => &[
            (Entity::Tool, "gateway_id"),
            (Entity::Resource, "gateway_id"),
            (Entity::Prompt, "gateway_id"),
        ],
        Entity::Agent => &[(Entity::Tool, "agent_id")],
        Entity::Server => &[(Entity::Policy, "server_id")],
        Entity::Team => &[
            (Entity::Member, "team_id"),
            (Entity::Invitation, "team_id"),
            (Entity::JoinRequest, "team_id"),
            (Entity::Grant, "scope_id"),
            (Entity::ApiToken, "team_id"),
        ],
        Entity::Role => &[(Entity::Grant, "role_id")],
        _ => &[],
    }
}

/// The table of a kind of record.
pub(crate) fn name_of(entity: Entity) -> &'static str {
    match entity {
        Entity::Gateway => Gateway::NAME,
        Entity::Tool => Tool::NAME,
        Entity::Resource => Resource::NAME,
        Entity::Prompt => Prompt::NAME,
        Entity::Server => Server::NAME,
        Entity::Agent => Agent::NAME,
        Entity::Root => Root::NAME,
        other => identity::name_of(other),
    }
}

fn select_sql<T: Table>() -> String {
    format!("SELECT {} FROM {}", T::COLUMNS.join(", "), T::NAME)
}

/// Placeholders are written `$1`, which both databases read; to SQLite they are names, numbered as
/// they first appear, so they must appear in order.
fn upsert_sql<T: Table>() -> String {
    let places: Vec<String> = (1..=T::COLUMNS.len()).map(|place| format!("${place}")).collect();
    let others = T::COLUMNS.iter().filter(|column| **column != "id");
    let updates: Vec<String> =
        others.map(|column| format!("{column} = excluded.{column}")).collect();
    format!(
        "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}",
        T::NAME,
        T::COLUMNS.join(", "),
        places.join(", "),
        updates.join(", ")
    )
}

/// A value that fits one cell.
trait Cell: Sized {
    fn to_value(&self) -> Value<'_>;

    /// The value again, or what is wrong with the cell.
    fn from_value(value: Value<'_>) -> Result<Self, String>;
}

impl Cell for String {
    fn to_value(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self))
    }

    fn from_value(value: Value<'_>) -> Result<Self, String> {
        match value {
            Value::Text(text) => Ok(text.into_owned()),
            other => Err(format!("{other:?} is not text")),
        }
    }
}

impl Cell for i64 {
    fn to_value(&self) -> Value<'_> {
        Value::Integer(*self)
    }

    fn from_value(value: Value<'_>) -> Result<Self, String> {
        match value {
            Value::Integer(number) => Ok(number),
            other => Err(format!("{other:?} is not a whole number")),
        }
    }
}

impl Cell for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Boolean(*self)
    }

    /// SQLite has no boolean and gives 0 or 1.
    fn from_value(value: Value<'_>) -> Result<Self, String> {
        match value {
            Value::Boolean(flag) => Ok(flag),
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            other => Err(format!("{other:?} is neither true nor false")),
        }
    }
}

/// A list of words is stored as a JSON array.
impl Cell for Vec<String> {
    fn to_value(&self) -> Value<'_> {
        if self.is_empty() {
            return Value::Text(Cow::Borrowed("[]"));
        }
        let text = serde_json::to_string(self).expect("a list of strings is always valid JSON");
        Value::Text(Cow::Owned(text))
    }

    fn from_value(value: Value<'_>) -> Result<Self, String> {
        match value {
            Value::Text(text) if text == "[]" => Ok(Vec::new()),
            Value::Text(text) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            other => Err(format!("{other:?} is not a list of words")),
        }
    }
}

impl<T: Cell> Cell for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Cell::to_value)
    }

    fn from_value(value: Value<'_>) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

macro_rules! word_cells {
    ($($name:ident),+) => { $(
        impl Cell for $name {
            fn to_value(&self) -> Value<'_> {
                Value::Text(Cow::Borrowed(self.as_str()))
            }

            fn from_value(value: Value<'_>) -> Result<Self, String> {
                match value {
                    Value::Text(text) => {
                        text.parse().map_err(|error: crate::record::UnknownText| error.to_string())
                    }
                    other => Err(format!("{other:?} is not a word")),
                }
            }
        }
    )+ };
}

word_cells!(
    AuthType,
    Enforcement,
    Era,
    IntegrationType,
    JoinStatus,
    PolicyEffect,
    ProtocolPin,
    Scope,
    SessionMode,
    TeamRole,
    TeamVisibility,
    Transport,
    Visibility
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_every_column_once_and_never_update_the_id() {
        let sql = Tool::upsert();
        assert!(sql.starts_with("INSERT INTO tools (id, gateway_id, agent_id, original_name, "));
        assert!(sql.contains("$39)") && !sql.contains("$40"), "{sql}");
        assert!(sql.contains("DO UPDATE SET gateway_id = excluded.gateway_id, "));
        assert!(!sql.contains(" id = excluded.id"));
    }

    #[test]
    fn a_cell_that_cannot_be_says_where_and_why() {
        let mut cells = vec![Value::Null; Server::COLUMNS.len()];
        cells[0] = Value::Text("s1".into());
        let error = Server::decode(|index| Ok(cells[index].clone())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "servers.name holds what was never written there: Null is not text"
        );
    }

    #[test]
    fn a_list_reads_back_whatever_its_words_hold() {
        for list in [vec![], vec![String::new()], vec!["a,b\"\\\n\u{0}".to_owned(), "é".to_owned()]]
        {
            assert_eq!(Vec::<String>::from_value(list.to_value()), Ok(list.clone()));
        }
    }
}
