//! Prompts: those of upstreams and our own, listed and rendered; our own made, changed, switched and
//! deleted.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use storage::Mutation;
use storage::record::{Entity, Prompt, new_id};

use super::fields::Fields;
use super::listing::{self, deleted, is_activation};
use super::prompt_form::Form;
use super::{Ask, Backend, RestAnswer, answer, offers, show};
use crate::catalog::{Catalog, PromptEntry};
use crate::failure::Failure;

/// `GET /prompts`.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let is_active = |entry: &PromptEntry| is_active(&catalog, &entry.record);
    let show = |entry: &PromptEntry| answer::value(&show::prompt(&catalog, &entry.record));
    listing::list(ask, "prompts", catalog.all_prompts(), is_active, show)
}

/// `GET /prompts/{id}`: rendered without arguments.
pub async fn get<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    render_with(ask, id, Value::Object(Map::new())).await
}

/// `POST /prompts/{id}`, or by name: rendered with the arguments of the body.
pub async fn render<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let body = ask.request.body;
    let arguments = match body.trim_ascii().is_empty() {
        true => Value::Object(Map::new()),
        false => serde_json::from_slice(body)
            .map_err(|error| Failure::field("arguments", format!("JSON decode error: {error}")))?,
    };
    if !arguments.is_object() {
        return Err(Failure::field("arguments", "Input should be an object of texts"));
    }
    render_with(ask, id, arguments).await
}

async fn render_with<B: Backend>(
    ask: &Ask<'_, B>,
    id: &str,
    arguments: Value,
) -> Result<RestAnswer, Failure> {
    let prompt = find(ask, id)?;
    if !is_active(&ask.backend.catalog(), &prompt) {
        return Err(not_found(id));
    }
    let params = json!({ "name": prompt.name, "arguments": arguments });
    let mut result = ask.rpc("prompts/get", params).await?;
    if result.get("description").is_none() {
        result["description"] = json!(prompt.description);
    }
    Ok(answer::ok(&result))
}

/// `POST /prompts`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let author = ask.author();
    let mut prompt = Prompt { id: new_id(), audit: author.made("api"), ..Prompt::default() };
    prompt.ownership = ask.own_place();
    read_into(ask, &mut prompt)?;
    let id = prompt.id.clone();
    ask.apply(vec![Mutation::PutPrompt(Box::new(prompt))]).await?;
    show_record(ask, &id)
}

/// `PUT /prompts/{id}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = find(ask, id)?;
    let expected = ask.expected(Entity::Prompt, &stored.id, stored.audit.version)?;
    offers::refuse_foreign(ask, "prompt", stored.gateway_id.as_deref(), &FOREIGN)?;
    let mut prompt = Prompt::clone(&stored);
    ask.author().change(&mut prompt.audit, "api");
    read_into(ask, &mut prompt)?;
    ask.apply(vec![expected, Mutation::PutPrompt(Box::new(prompt))]).await?;
    show_record(ask, &stored.id)
}

/// The fields that an upstream decides of what it offers.
const FOREIGN: [&str; 4] = ["title", "description", "template", "arguments"];

/// `DELETE /prompts/{id}`.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = find(ask, id)?;
    let mut mutations = ask.demanded(Entity::Prompt, &stored.id, stored.audit.version)?;
    mutations.push(Mutation::DeletePrompt(stored.id.clone()));
    ask.apply(mutations).await?;
    Ok(deleted("Prompt", &stored.id))
}

/// `POST /prompts/{id}/state?activate=`.
pub async fn set_state<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let activate = is_activation(ask.request.query)?;
    let stored = find(ask, id)?;
    let expected = ask.expected(Entity::Prompt, &stored.id, stored.audit.version)?;
    if activate != stored.enabled {
        let mut prompt = Prompt::clone(&stored);
        prompt.enabled = activate;
        ask.author().change(&mut prompt.audit, "api");
        ask.apply(vec![expected, Mutation::PutPrompt(Box::new(prompt))]).await?;
    }
    let catalog = ask.backend.catalog();
    let record = find(ask, &stored.id)?;
    let shown = show::snake_case(&show::prompt(&catalog, &record));
    Ok(show::switched("Prompt", "prompt", &stored.id, activate, shown))
}

/// A prompt as it is shown, by its id or name.
pub fn shown(catalog: &Catalog, id: &str) -> Option<Value> {
    let by_name = || catalog.prompts().find(|entry| entry.record.name == id);
    let entry = catalog.prompt(id).or_else(by_name)?;
    Some(answer::value(&show::prompt(catalog, &entry.record)))
}

fn show_record<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let record = find(ask, id)?;
    let catalog = ask.backend.catalog();
    Ok(answer::record(200, &record.audit, &show::prompt(&catalog, &record)))
}

/// Finds a prompt that the caller may see: by its id, by the name that clients ask for, or by the
/// name that it was made with.
fn find<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<Arc<Prompt>, Failure> {
    let catalog = ask.backend.catalog();
    let seen = |entry: &&Arc<PromptEntry>| ask.may_see(&entry.record.ownership);
    if let Some(entry) = catalog.prompt(id).filter(seen) {
        return Ok(entry.record.clone());
    }
    let name = percent_decode_str(id).decode_utf8_lossy();
    let by = |called: fn(&Prompt) -> &str| {
        catalog.prompts().filter(seen).find(|entry| called(&entry.record) == name)
    };
    let found = by(|prompt| &prompt.name).or_else(|| by(|prompt| &prompt.original_name));
    found.map(|entry| entry.record.clone()).ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Failure {
    Failure::NotFound(format!("Prompt not found: {id}"))
}

fn is_active(catalog: &Catalog, record: &Prompt) -> bool {
    record.enabled && offers::gateway_is_active(catalog, record.gateway_id.as_deref())
}

/// Reads the body over a record: flat, or wrapped in `{"prompt": ...}`.
fn read_into<B: Backend>(ask: &Ask<'_, B>, prompt: &mut Prompt) -> Result<(), Failure> {
    let fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let (mut fields, mut outer) = fields.unwrap("prompt");
    let rules = ask.backend.rules();
    let form = Form::read(&mut fields, outer.as_mut(), rules);
    let catalog = ask.backend.catalog();
    let upstream = prompt.gateway_id.as_deref().and_then(|id| catalog.upstream(id));
    match upstream {
        Some(upstream) => {
            form.apply_to_foreign(prompt, &upstream.record.slug, &mut fields, rules);
        }
        None => form.apply(prompt, &mut fields, rules),
    }
    if let Some(outer) = outer {
        fields.take_errors(outer);
    }
    fields.finish()
}
