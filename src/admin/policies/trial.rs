//! `POST /policies/test`: what policies would say, and why, without anybody doing anything.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use storage::record::{Ownership, Policy, now};

use super::super::fields::Fields;
use super::super::{Ask, Backend, RestAnswer, answer};
use super::{EFFECTS, find};
use crate::catalog::Catalog;
use crate::failure::Failure;
use crate::policy::{self, Action, Program, Question, Sample, Trial};

/// `POST /policies/test`.
pub fn test<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let action = fields.word("action", Action::of_word, "the word of an action");
    let server_id = fields.text("server_id").unwrap_or_default();
    let mut context = context_of(&mut fields, &catalog, &server_id);
    let policies = policies(&mut fields, &catalog, action);
    if let Some(given) = fields.object("context") {
        merge(&mut context, given);
    }
    let sample = Sample::new(Value::Object(context));
    if let Err(error) = &sample {
        fields.error("context", error.to_string());
    }
    fields.finish()?;
    let sample = sample.map_err(|error| Failure::Malformed(error.to_string()))?;
    let action = action.unwrap_or(Action::CallTool);
    let question = Question { action, server_id: &server_id };
    Ok(answer::ok(&Trial::of(&policies, question, &sample)))
}

/// The policies that are tried: an expression, one that is stored, or all that are.
fn policies(fields: &mut Fields, catalog: &Catalog, action: Option<Action>) -> Vec<Arc<Policy>> {
    let effect = fields.word("effect", |word| word.parse().ok(), EFFECTS);
    if let Some(expression) = fields.text("expression") {
        if let Err(error) = Program::compile(&expression) {
            fields.error("expression", format!("This is no expression of CEL: {error}"));
        }
        let action = action.unwrap_or(Action::CallTool);
        return vec![policy::tried(expression, effect.unwrap_or_default(), action)];
    }
    let Some(id) = fields.text("policy_id") else {
        return catalog.people().policies().cloned().collect();
    };
    match find(catalog, &id) {
        // One that is switched off is tried as if it were on.
        Ok(stored) => vec![Arc::new(Policy { enabled: true, ..Policy::clone(&stored) })],
        Err(failure) => {
            fields.error("policy_id", failure.to_string());
            Vec::new()
        }
    }
}

/// The context that a user, a thing and its arguments make.
fn context_of(fields: &mut Fields, catalog: &Catalog, server_id: &str) -> Map<String, Value> {
    let mut context = Map::new();
    let time = policy::write_time(now());
    context.insert("request".to_owned(), json!({"server_id": server_id, "time": time}));
    if let Some(user) = fields.text("user") {
        context.insert("caller".to_owned(), caller(catalog, &user));
    }
    if let Some(name) = fields.text("tool") {
        context.insert("tool".to_owned(), tool(catalog, &name));
    }
    if let Some(uri) = fields.text("resource") {
        context.insert("resource".to_owned(), resource(catalog, &uri));
    }
    if let Some(name) = fields.text("prompt") {
        context.insert("prompt".to_owned(), prompt(catalog, &name));
    }
    if let Some(server) = catalog.server(server_id) {
        let record = &server.record;
        let mut shown = owned(&record.ownership);
        shown["id"] = json!(record.id);
        shown["name"] = json!(record.name);
        shown["tags"] = json!(record.tags);
        // That of whoever made it is no part of what policies see of a virtual server.
        shown.as_object_mut().map(|shown| shown.remove("owner_email"));
        context.insert("server".to_owned(), shown);
    }
    let arguments = fields.object("arguments").unwrap_or_default();
    context.insert("arguments".to_owned(), Value::Object(arguments));
    context
}

/// Lays what was given over what was found, field by field.
fn merge(context: &mut Map<String, Value>, given: Map<String, Value>) {
    for (root, value) in given {
        match (context.get_mut(&root), value) {
            (Some(Value::Object(found)), Value::Object(given)) if root != "arguments" => {
                found.extend(given);
            }
            (_, value) => drop(context.insert(root, value)),
        }
    }
}

fn caller(catalog: &Catalog, email: &str) -> Value {
    let people = catalog.people();
    let user = people.user_by_email(email);
    let teams: Vec<&str> = people.teams_of(email).map(|(team, _)| team.id.as_str()).collect();
    json!({"email": email, "is_admin": user.is_some_and(|user| user.is_admin), "teams": teams})
}

fn tool(catalog: &Catalog, name: &str) -> Value {
    let entry = catalog.everything.tools.get(name).or_else(|| catalog.tool(name));
    let Some(record) = entry.map(|entry| &entry.record) else { return json!({"name": name}) };
    let definition: Value = serde_json::from_str(&record.definition).unwrap_or_default();
    let mut shown = owned(&record.ownership);
    shown["id"] = json!(record.id);
    shown["name"] = json!(record.name);
    shown["original_name"] = json!(record.original_name);
    shown["gateway"] = gateway(catalog, record.gateway_id.as_deref());
    shown["tags"] = json!(record.tags);
    shown["annotations"] = definition["annotations"].clone();
    shown["integration_type"] = json!(record.integration_type.as_str());
    shown
}

fn resource(catalog: &Catalog, uri: &str) -> Value {
    let entry = catalog.everything.resources.get(uri).or_else(|| catalog.resource(uri));
    let Some(record) = entry.map(|entry| &entry.record) else { return json!({"uri": uri}) };
    let mut shown = owned(&record.ownership);
    shown["id"] = json!(record.id);
    shown["uri"] = json!(record.uri);
    shown["name"] = json!(record.name);
    shown["gateway"] = gateway(catalog, record.gateway_id.as_deref());
    shown["tags"] = json!(record.tags);
    shown["mime_type"] = json!(record.mime_type);
    shown
}

fn prompt(catalog: &Catalog, name: &str) -> Value {
    let entry = catalog.everything.prompts.get(name).or_else(|| catalog.prompt(name));
    let Some(record) = entry.map(|entry| &entry.record) else { return json!({"name": name}) };
    let mut shown = owned(&record.ownership);
    shown["id"] = json!(record.id);
    shown["name"] = json!(record.name);
    shown["original_name"] = json!(record.original_name);
    shown["gateway"] = gateway(catalog, record.gateway_id.as_deref());
    shown["tags"] = json!(record.tags);
    shown
}

fn gateway(catalog: &Catalog, id: Option<&str>) -> Value {
    let upstream = id.and_then(|id| catalog.upstream(id));
    upstream.map_or(Value::Null, |upstream| json!(upstream.record.name))
}

fn owned(owned: &Ownership) -> Value {
    json!({
        "visibility": owned.visibility.as_str(),
        "team_id": owned.team_id,
        "owner_email": owned.owner_email,
    })
}
