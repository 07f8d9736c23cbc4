//! Of whom and of what somebody asks what may be done: a user with or without one of their tokens,
//! and a thing that the asker may see.

use schemars::JsonSchema;
use serde::Serialize;
use storage::record::Ownership;

use crate::admin::{Ask, Backend, teams};
use crate::auth::settle::settle;
use crate::auth::{Caller, Fault, Teams};
use crate::catalog::Catalog;
use crate::failure::Failure;

/// The kinds of things, by the words that may be used for them, with the kind of permission.
pub const KINDS: [(&str, &str); 7] = [
    ("tool", "tools"),
    ("resource", "resources"),
    ("prompt", "prompts"),
    ("server", "servers"),
    ("gateway", "gateways"),
    ("agent", "a2a"),
    ("team", "teams"),
];

/// A thing, as it is shown to whoever asks.
#[derive(Serialize, JsonSchema)]
pub struct Entity {
    pub r#type: &'static str,
    pub id: String,
    pub name: String,
    pub visibility: &'static str,
    pub team_id: Option<String>,
    pub owner_email: Option<String>,
    #[serde(skip)]
    pub owned: Ownership,
}

/// The kind of things that a word names, in the singular or the plural.
pub fn kind(word: &str) -> Option<(&'static str, &'static str)> {
    let word = word.to_ascii_lowercase();
    KINDS.into_iter().find(|(one, many)| word == *one || word == *many || word == format!("{one}s"))
}

/// Finds a thing by its kind and its id or name.
///
/// # Errors
///
/// 404 if there is none that the asker may see.
pub fn find<B: Backend>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    kind: &'static str,
    key: &str,
) -> Result<Entity, Failure> {
    /// What has the id, or else the newest of this name that the asker may see.
    macro_rules! look {
        ($by_id:expr, $all:expr, $name:ident) => {{
            let by_id = $by_id.into_iter();
            let named = $all.filter(|entry| entry.record.$name == key);
            let mut all = by_id.chain(named).map(|entry| &*entry.record);
            let found = all.find(|record| ask.caller.sees(&record.ownership));
            found.map(|it| (it.id.clone(), it.$name.clone(), it.ownership.clone()))
        }};
    }
    let found = match kind {
        "tool" => look!(catalog.tool(key), catalog.tools(), name),
        "resource" => look!(catalog.resource(key), catalog.resources(), uri),
        "prompt" => look!(catalog.prompt(key), catalog.prompts(), name),
        "server" => look!(catalog.server(key), catalog.servers(), name),
        "gateway" => look!(catalog.upstream(key), catalog.upstreams(), name),
        "agent" => look!(catalog.agent(key), catalog.agents(), name),
        _ => {
            let mut all = catalog.people().teams().filter(|team| team.is_active);
            let team = all.find(|team| team.id == key || team.slug == key);
            let team = team.filter(|team| ask.caller.sees(&teams::ownership(team)));
            team.map(|team| (team.id.clone(), team.name.clone(), teams::ownership(team)))
        }
    };
    let absent = || Failure::NotFound(format!("There is no {kind} {key:?}"));
    let (id, name, owned) = found.ok_or_else(absent)?;
    Ok(Entity {
        r#type: kind,
        id,
        name,
        visibility: owned.visibility.as_str(),
        team_id: owned.team_id.clone(),
        owner_email: owned.owner_email.clone(),
        owned,
    })
}

/// The bearer of a token of the user with this address: of the API token with the id `token_id`, or
/// of a login. What comes of it is who they are now, or why they are nobody.
///
/// # Errors
///
/// 404 if the user has no such token.
pub fn bearer<B: Backend>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    email: &str,
    token_id: Option<&str>,
    now: i64,
) -> Result<(Caller, Option<Fault>), Failure> {
    let (people, rules) = (catalog.people(), ask.backend.rules());
    let is_theirs = |of: &str| of.eq_ignore_ascii_case(email);
    let token = match token_id {
        None => None,
        Some(id) => {
            let found = people.token(id).filter(|token| is_theirs(&token.user_email));
            let absent = || Failure::NotFound("Token not found".to_owned());
            Some(found.ok_or_else(absent)?)
        }
    };
    let is_admin = email.eq_ignore_ascii_case(&rules.admin_email);
    let claimed = Caller {
        email: email.to_owned(),
        is_admin: people.user_by_email(email).map_or(is_admin, |user| user.is_admin),
        // Of an API token the record says which teams it is for.
        teams: Teams::Absent,
        token_id: token.map(|token| token.jti.clone()),
        is_session: token.is_none(),
        is_api_token: token.is_some(),
        issued_at: token.map(|token| token.created_at / 1_000_000),
        ..Caller::nobody()
    };
    Ok(match settle(&claimed, people, &rules.standing, now) {
        Ok((caller, _)) => (caller, None),
        Err(fault) => (claimed, Some(fault)),
    })
}
