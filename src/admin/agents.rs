//! A2A agents: registered with the tool that each is offered as, changed, switched, called and
//! forgotten.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use storage::Mutation;
use storage::record::{Agent, Entity, Tool, new_id};

use super::agent_form::Form;
use super::fields::Fields;
use super::listing::{self, deleted, is_activation};
use super::{Ask, Backend, RestAnswer, answer, show};
use crate::catalog::{self, AgentEntry, Catalog, Entry};
use crate::failure::Failure;
use crate::upstream::a2a::{Request, speaks_rpc};

/// `GET /a2a`.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let is_active = |agent: &AgentEntry| agent.record.enabled;
    let show = |agent| show::agent(&catalog, agent);
    listing::list(ask, "agents", catalog.all_agents(), is_active, show)
}

/// `GET /a2a/{id}`.
pub fn get<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    shown(ask, id, 200)
}

/// `POST /a2a`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let author = ask.author();
    let mut agent = Agent { id: new_id(), audit: author.made("api"), ..Agent::default() };
    agent.ownership = ask.own_place();
    read_into(ask, &mut agent, None)?;
    let id = agent.id.clone();
    store(ask, agent, None, Vec::new()).await?;
    shown(ask, &id, 201)
}

/// `PUT /a2a/{id}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let entry = find(ask, &catalog, id)?;
    let expected = ask.expected(Entity::Agent, id, entry.record.audit.version)?;
    let mut agent = Agent::clone(&entry.record);
    ask.author().change(&mut agent.audit, "api");
    read_into(ask, &mut agent, Some(&entry))?;
    store(ask, agent, tool(&catalog, id), vec![expected]).await?;
    shown(ask, id, 200)
}

/// `DELETE /a2a/{id}`: with its tool, and out of every virtual server.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let entry = find(ask, &ask.backend.catalog(), id)?;
    let mut mutations = ask.demanded(Entity::Agent, id, entry.record.audit.version)?;
    mutations.push(Mutation::DeleteAgent(id.to_owned()));
    ask.apply(mutations).await?;
    Ok(deleted("A2A Agent", id))
}

/// `POST /a2a/{id}/state?activate=`: the tool goes with its agent.
pub async fn set_state<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let activate = is_activation(ask.request.query)?;
    let catalog = ask.backend.catalog();
    let entry = find(ask, &catalog, id)?;
    let expected = ask.expected(Entity::Agent, id, entry.record.audit.version)?;
    if activate != entry.record.enabled {
        let mut agent = Agent::clone(&entry.record);
        agent.enabled = activate;
        ask.author().change(&mut agent.audit, "api");
        store(ask, agent, tool(&catalog, id), vec![expected]).await?;
    }
    shown(ask, id, 200)
}

/// `POST /a2a/{name}/invoke`: answers what the agent answers.
pub async fn invoke<B: Backend>(ask: &Ask<'_, B>, name: &str) -> Result<RestAnswer, Failure> {
    let fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let agent = called(ask, name)?;
    send_parameters(ask, &agent, fields).await
}

/// `POST /a2a/invoke`: the same of the agent whose id stands in the body.
pub async fn invoke_by_id<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let Some(id) = fields.text("agent_id") else {
        fields.missing("agent_id");
        return Err(fields.finish().err().unwrap_or_else(|| unknown("")));
    };
    let agent = called(ask, &id)?;
    send_parameters(ask, &agent, fields).await
}

/// `POST /a2a/{name}/jsonrpc`: for clients of A2A. Agents whose revision has other names for methods
/// and parts are spoken to by those; answers come as they are.
pub async fn relay<B: Backend>(ask: &Ask<'_, B>, name: &str) -> Result<RestAnswer, Failure> {
    let call: Map<String, Value> = match serde_json::from_slice(ask.request.body) {
        Ok(call) => call,
        Err(error) => return Ok(rpc_error(-32700, &format!("Parse error: {error}"))),
    };
    let arguments = call.get("params").and_then(Value::as_object).cloned().unwrap_or_default();
    let request = match Request::of_call(call) {
        Ok(request) => request,
        Err(why) => return Ok(rpc_error(-32600, &why)),
    };
    let agent = called(ask, name)?;
    if !speaks_rpc(&agent.record) {
        let kind = &agent.record.agent_type;
        let sentence =
            format!("Agent {name} is of type {kind}, which takes no JSON-RPC; invoke it");
        return Err(Failure::Malformed(sentence));
    }
    let _turn = ask.backend.admit_call(ask.caller, &agent, &arguments).await?;
    let raw = ask.backend.invoke(&agent, &request).await?;
    Ok(answer::ok(&raw))
}

async fn send_parameters<B: Backend>(
    ask: &Ask<'_, B>,
    agent: &Arc<AgentEntry>,
    mut fields: Fields,
) -> Result<RestAnswer, Failure> {
    let parameters = match fields.given("parameters") {
        None => Map::new(),
        Some(Value::Object(parameters)) => parameters.clone(),
        Some(_) => {
            fields.error("parameters", "Input should be an object");
            Map::new()
        }
    };
    let interaction = fields.text("interaction_type").unwrap_or_else(|| "query".to_owned());
    fields.finish()?;
    let _turn = ask.backend.admit_call(ask.caller, agent, &parameters).await?;
    let request = Request::of_parameters(&agent.record, parameters, &interaction);
    let raw = ask.backend.invoke(agent, &request).await?;
    Ok(answer::ok(&raw))
}

fn rpc_error(code: i32, message: &str) -> RestAnswer {
    let error = json!({"code": code, "message": message});
    answer::with_status(400, &json!({"jsonrpc": "2.0", "id": null, "error": error}))
}

/// Reads the body over a record: flat, or wrapped in `{"agent": ...}`.
fn read_into<B: Backend>(
    ask: &Ask<'_, B>,
    agent: &mut Agent,
    stored: Option<&AgentEntry>,
) -> Result<(), Failure> {
    let fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let (mut fields, mut outer) = fields.unwrap("agent");
    let rules = ask.backend.rules();
    let form = Form::read(&mut fields, outer.as_mut(), rules, stored);
    let secrets = stored.map_or(&[][..], |stored| &stored.headers);
    form.apply(agent, &mut fields, rules, ask.backend.sealer(), secrets);
    if let Some(outer) = outer {
        fields.take_errors(outer);
    }
    fields.finish()
}

/// Writes an agent and its tool, which follows it, in one step.
async fn store<B: Backend>(
    ask: &Ask<'_, B>,
    agent: Agent,
    former: Option<Arc<Tool>>,
    mut mutations: Vec<Mutation>,
) -> Result<(), Failure> {
    let separator = ask.backend.rules().separator;
    let tool = catalog::tool_of(&agent, former.as_deref(), separator, &ask.author());
    let tool = tool.map_err(|why| Failure::field("name", format!("Name is too long: {why}")))?;
    mutations.push(Mutation::PutAgent(Box::new(agent)));
    mutations.push(Mutation::PutTool(Box::new(tool)));
    ask.apply(mutations).await
}

/// The tool that an agent is offered as.
fn tool(catalog: &Catalog, id: &str) -> Option<Arc<Tool>> {
    catalog.offers_of(id).find_map(|entry| match entry {
        Entry::Tool(tool) => Some(tool.record.clone()),
        _ => None,
    })
}

fn shown<B: Backend>(ask: &Ask<'_, B>, id: &str, status: u16) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let agent = find(ask, &catalog, id)?;
    Ok(answer::record(status, &agent.record.audit, &show::agent(&catalog, &agent)))
}

fn find<B>(ask: &Ask<'_, B>, catalog: &Catalog, id: &str) -> Result<Arc<AgentEntry>, Failure> {
    let found = catalog.agent(id);
    let found = found.filter(|agent| ask.may_see(&agent.record.ownership));
    found.cloned().ok_or_else(|| unknown(id))
}

/// The agent that is to be called, by its id, its name or its slug.
fn called<B: Backend>(ask: &Ask<'_, B>, text: &str) -> Result<Arc<AgentEntry>, Failure> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    let catalog = ask.backend.catalog();
    let is_meant = |agent: &&Arc<AgentEntry>| {
        let record = &agent.record;
        let is_named = record.id == *text || record.name == *text || record.slug == *text;
        is_named && ask.may_see(&record.ownership)
    };
    let agent = catalog.agents().find(is_meant).ok_or_else(|| unknown(&text))?;
    match agent.record.enabled {
        true => Ok(agent.clone()),
        false => Err(Failure::Malformed(format!("A2A Agent '{text}' is disabled"))),
    }
}

fn unknown(text: &str) -> Failure {
    Failure::NotFound(format!("A2A Agent not found: {text}"))
}
