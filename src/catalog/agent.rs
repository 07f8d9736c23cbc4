//! An A2A agent as the data plane needs it: the record, with its secrets opened; and the tool that
//! it is offered as.

use std::{fmt, sync::Arc};

use serde_json::json;
use storage::record::{Agent, IntegrationType, Tool, new_id};
use storage::seal::Sealer;

use super::{author::Author, naming, open_secret};

/// An agent of the catalog. Its secrets stay in memory and out of every log.
pub struct AgentEntry {
    /// The stored record.
    pub record: Arc<Agent>,
    /// The headers that prove us to it, opened: name and value. A name that begins with `?` is that
    /// of a query parameter.
    pub headers: Vec<(String, String)>,
}

impl AgentEntry {
    /// Opens a stored agent.
    pub fn new(record: Arc<Agent>, sealer: &Sealer) -> AgentEntry {
        let sealed = record.auth_sealed.as_deref();
        let headers = open_secret(sealer, sealed, "credentials of an agent", &record.name);
        AgentEntry { headers: headers.into_iter().collect(), record }
    }
}

impl fmt::Debug for AgentEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentEntry").field("name", &self.record.name).finish_non_exhaustive()
    }
}

/// The tool that an agent is offered as: `a2a-` and its slug. `former` is the tool as it stands;
/// what people chose for it (another name, a description, checks) stays.
///
/// # Errors
///
/// The reason why there is no such name.
pub fn tool_of(
    agent: &Agent,
    former: Option<&Tool>,
    separator: &str,
    author: &Author,
) -> Result<Tool, String> {
    let mut tool = match former {
        Some(former) => former.clone(),
        None => Tool { id: new_id(), audit: author.made("a2a_integration"), ..Tool::default() },
    };
    if former.is_some() {
        author.change(&mut tool.audit, "a2a_sync");
    }
    tool.agent_id = Some(agent.id.clone());
    tool.integration_type = IntegrationType::A2a;
    tool.original_name = format!("a2a_{}", agent.slug);
    let own = tool.custom_name.as_ref().unwrap_or(&tool.original_name);
    tool.custom_name_slug = naming::slug(own, separator);
    if tool.custom_name_slug.len() > naming::NAME_LENGTH_MAX {
        let (name, max) = (&tool.custom_name_slug, naming::NAME_LENGTH_MAX);
        return Err(format!("the name {name} of its tool is longer than {max} characters"));
    }
    tool.name = tool.custom_name_slug.clone();
    tool.display_name = Some(naming::display_name(&agent.name));
    let purpose = agent.description.as_deref().unwrap_or(&agent.name);
    let description = format!("A2A Agent: {purpose}");
    tool.definition = definition(agent, &tool.original_name, &description);
    tool.original_description = Some(description);
    tool.tags.clone_from(&agent.tags);
    for tag in ["a2a", "agent"] {
        if !tool.tags.iter().any(|other| other == tag) {
            tool.tags.push(tag.to_owned());
        }
    }
    tool.enabled = agent.enabled;
    tool.ownership = agent.ownership.clone();
    Ok(tool)
}

/// The MCP tool object of an agent.
fn definition(agent: &Agent, name: &str, description: &str) -> String {
    json!({
        "name": name,
        "description": description,
        "inputSchema": {
            "type": "object",
            "properties": {"query": {"type": "string", "description": "User query"}},
            "required": ["query"],
        },
        "annotations": {
            "title": format!("A2A Agent: {}", agent.name),
            "a2a_agent_id": agent.id,
            "a2a_agent_type": agent.agent_type,
        },
    })
    .to_string()
}
