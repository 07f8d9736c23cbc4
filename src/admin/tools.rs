//! Tools: made, changed, switched and deleted by hand, and many made at once.

use std::sync::Arc;

use serde_json::{Value, json};
use storage::record::{Audit, Entity, Tool, new_id};
use storage::{Mutation, StoreError};

use super::fields::Fields;
use super::listing::{deleted, is_activation};
use super::reshape::Reshape;
use super::tool_form::{Draft, Form, Surroundings};
use super::{Ask, Backend, RestAnswer, answer, listing, offers, show};
use crate::catalog::{Catalog, ToolEntry};
use crate::failure::{Failure, FieldError};

/// `GET /tools`.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let is_active = |entry: &ToolEntry| offers::is_active(&catalog, &entry.record);
    let show = |entry| show::tool(&catalog, entry);
    listing::list(ask, "tools", catalog.all_tools(), is_active, show)
}

/// `GET /tools/{id}`.
pub fn get<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let reshape = Reshape::read(ask.request)?;
    let catalog = ask.backend.catalog();
    let entry = find(ask, &catalog, id)?;
    match reshape {
        None => Ok(shown(&catalog, &entry)),
        Some(reshape) => {
            let value = answer::value(&show::tool(&catalog, &entry));
            Ok(answer::ok(&reshape.apply(value)?))
        }
    }
}

/// `POST /tools`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let tool = made(ask, fields, ask.author().made("api")).await?;
    let id = tool.id.clone();
    ask.apply(vec![Mutation::PutTool(Box::new(tool))]).await?;
    show(ask, &id)
}

/// `PUT /tools/{id}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let entry = find(ask, &ask.backend.catalog(), id)?;
    let expected = ask.expected(Entity::Tool, id, entry.record.audit.version)?;
    let mut draft = Draft::of(&entry);
    ask.author().change(&mut draft.tool.audit, "api");
    let fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    read_into(ask, &mut draft, fields, Some(&entry)).await?;
    let tool = draft.seal(ask.backend.sealer());
    ask.apply(vec![expected, Mutation::PutTool(Box::new(tool))]).await?;
    show(ask, id)
}

/// `DELETE /tools/{id}`. A tool that an upstream still offers comes back when it is read again.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let entry = find(ask, &ask.backend.catalog(), id)?;
    let mut mutations = ask.demanded(Entity::Tool, id, entry.record.audit.version)?;
    mutations.push(Mutation::DeleteTool(id.to_owned()));
    ask.apply(mutations).await?;
    Ok(deleted("Tool", id))
}

/// `POST /tools/{id}/state?activate=`.
pub async fn set_state<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let activate = is_activation(ask.request.query)?;
    let entry = find(ask, &ask.backend.catalog(), id)?;
    let expected = ask.expected(Entity::Tool, id, entry.record.audit.version)?;
    if activate != entry.record.enabled {
        let mut tool = Tool::clone(&entry.record);
        tool.enabled = activate;
        ask.author().change(&mut tool.audit, "api");
        ask.apply(vec![expected, Mutation::PutTool(Box::new(tool))]).await?;
    }
    let catalog = ask.backend.catalog();
    let entry = find(ask, &catalog, id)?;
    let word = if activate { "activated" } else { "deactivated" };
    let body = json!({
        "status": "success",
        "message": format!("Tool {id} {word}"),
        "tool": show::tool_in_snake_case(&catalog, &entry),
    });
    Ok(answer::record(200, &entry.record.audit, &body))
}

/// One tool of many that were sent together.
struct Sent {
    index: usize,
    name: Option<String>,
    outcome: Result<Tool, Failure>,
}

/// `POST /tools/bulk`, and `POST /admin/tools/import` as the contract calls it: a list of tools.
/// Those that can be made are made, and what is wrong with each other one is said.
pub async fn import<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let refuse = |status, message: String| {
        answer::with_status(status, &json!({"success": false, "message": message}))
    };
    let value = serde_json::from_slice(ask.request.body).ok();
    let Some(Value::Array(items)) = value else {
        return Ok(refuse(422, "The body should be a JSON array of tools".to_owned()));
    };
    let max = ask.backend.rules().bulk_count_max;
    if items.len() > max {
        return Ok(refuse(413, format!("At most {max} tools are imported at once")));
    }
    let audit = Audit { import_batch_id: Some(new_id()), ..ask.author().made("import") };
    let mut sent = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let name = item.get("tool").unwrap_or(&item).get("name");
        let name = name.and_then(Value::as_str).map(str::to_owned);
        // A microsecond between one and the next keeps their order in lists of the newest first.
        let created_at = audit.created_at - index as i64;
        let audit = Audit { created_at, ..audit.clone() };
        let outcome = match Fields::of(item) {
            Ok(fields) => made(ask, fields, audit).await,
            Err(failure) => Err(failure),
        };
        sent.push(Sent { index, name, outcome });
    }
    store(ask, &mut sent).await?;
    Ok(answer::ok(&report(&sent)))
}

/// Stores all that can be: in one transaction, or one by one if that meets a name that is taken.
async fn store<B: Backend>(ask: &Ask<'_, B>, sent: &mut [Sent]) -> Result<(), Failure> {
    let put = |tool: &Tool| Mutation::PutTool(Box::new(tool.clone()));
    let all: Vec<Mutation> =
        sent.iter().filter_map(|each| each.outcome.as_ref().ok()).map(put).collect();
    if all.is_empty() {
        return Ok(());
    }
    match ask.apply(all).await {
        Err(Failure::Storage(StoreError::Conflict { .. })) => {}
        done => return done,
    }
    for each in sent {
        let Ok(tool) = &each.outcome else { continue };
        match ask.apply(vec![put(tool)]).await {
            Err(failure @ Failure::Storage(StoreError::Conflict { .. })) => {
                each.outcome = Err(failure);
            }
            done => done?,
        }
    }
    Ok(())
}

/// What became of each, in the contract's words.
fn report(sent: &[Sent]) -> Value {
    let name = |each: &Sent| each.name.clone().unwrap_or_else(|| "unknown".to_owned());
    let (mut created, mut names) = (Vec::new(), Vec::new());
    let (mut errors, mut failed) = (Vec::new(), Vec::new());
    for each in sent {
        let name = name(each);
        match &each.outcome {
            Ok(_) => {
                created.push(json!({"index": each.index, "name": name}));
                names.push(name);
            }
            Err(failure) => {
                failed.push(json!({"name": name, "error": failure.to_string()}));
                let error = json!({
                    "success": false, "message": failure.to_string(), "details": details(failure),
                });
                errors.push(json!({"index": each.index, "name": name, "error": error}));
            }
        }
    }
    let (created_count, failed_count) = (created.len(), errors.len());
    json!({
        "success": failed_count == 0,
        "message": format!("{created_count} tools were imported, {failed_count} were not"),
        "imported": created_count,
        "failed": failed_count,
        "total": sent.len(),
        "created_count": created_count,
        "failed_count": failed_count,
        "created": created,
        "errors": errors,
        "details": {"success": names, "failed": failed},
    })
}

fn details(failure: &Failure) -> Vec<Value> {
    let Failure::Invalid(faults) = failure else { return Vec::new() };
    let field = |fault: &FieldError| fault.location[1..].join(".");
    faults.iter().map(|fault| json!({"field": field(fault), "message": fault.message})).collect()
}

/// A new tool of what a request says.
async fn made<B: Backend>(ask: &Ask<'_, B>, fields: Fields, audit: Audit) -> Result<Tool, Failure> {
    let mut tool = Tool { id: new_id(), audit, ..Tool::default() };
    tool.ownership = ask.own_place();
    let mut draft = Draft::new(tool);
    read_into(ask, &mut draft, fields, None).await?;
    Ok(draft.seal(ask.backend.sealer()))
}

/// Reads a body over a draft: flat, or wrapped in `{"tool": ...}`.
///
/// # Errors
///
/// 422 naming every field at fault.
async fn read_into<B: Backend>(
    ask: &Ask<'_, B>,
    draft: &mut Draft,
    fields: Fields,
    stored: Option<&ToolEntry>,
) -> Result<(), Failure> {
    let former = draft.filter().map(str::to_owned);
    let (mut fields, mut outer) = fields.unwrap("tool");
    let (catalog, rules) = (ask.backend.catalog(), ask.backend.rules());
    let around = Surroundings { catalog: &catalog, rules, caller: ask.caller };
    let form = Form::read(&mut fields, outer.as_mut(), rules, stored);
    form.apply(draft, &mut fields, &around);
    if let Some(outer) = outer {
        fields.take_errors(outer);
    }
    if let Some(filter) = draft.filter().filter(|filter| Some(*filter) != former.as_deref())
        && let Err(sentence) = ask.backend.check_filter(filter).await
    {
        fields.error("jsonpath_filter", sentence);
    }
    fields.finish()
}

/// Finds a tool that the caller may see.
///
/// # Errors
///
/// 404 if there is none.
fn find<B>(ask: &Ask<'_, B>, catalog: &Catalog, id: &str) -> Result<Arc<ToolEntry>, Failure> {
    let found = catalog.tool(id).filter(|entry| ask.may_see(&entry.record.ownership));
    found.cloned().ok_or_else(|| Failure::NotFound(format!("Tool not found: {id}")))
}

fn show<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let entry = find(ask, &catalog, id)?;
    Ok(shown(&catalog, &entry))
}

fn shown(catalog: &Catalog, entry: &ToolEntry) -> RestAnswer {
    answer::record(200, &entry.record.audit, &show::tool(catalog, entry))
}
