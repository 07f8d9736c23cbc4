//! Calls of tools that no MCP upstream runs: those of REST services and of A2A agents.

use net::jsonrpc::{self, Param};
use storage::record::Entity;

use super::{Call, Thing, unknown};
use crate::{
    catalog::ToolEntry,
    failure::Failure,
    mcp::{self, Era, code},
    observe::meters::Execution,
    permission::Permission,
    reply::Reply,
    upstream::{Relay, a2a::AgentCall, rest::RestCall},
};

impl<R: Relay> Call<'_, R> {
    /// Calls `entry`, which the client calls `name`.
    pub(super) async fn own_tool(&self, entry: &ToolEntry, name: &str) -> Result<Reply, Failure> {
        self.permit(Permission::ToolsExecute, &entry.record.ownership)?;
        let _turn = self.guard(Thing::Tool(entry, name)).await?;
        let arguments = self.message.param(Param::Arguments);
        if self.checks_headers() {
            mcp::check_param_headers(self.request.headers, entry, arguments)?;
        }
        if let Err(violations) = self.check_arguments(entry, arguments) {
            return self.refuse_arguments(name, &violations);
        }
        if let Some(agent_id) = entry.record.agent_id.as_deref() {
            return self.agent(entry, agent_id, name, arguments.unwrap_or("{}")).await;
        }
        let tool = match entry.rest.as_deref() {
            Some(Ok(tool)) => tool,
            Some(Err(why)) => {
                let text = format!("The tool {name} cannot be called: {why}");
                return Err(Failure::protocol(200, code::INTERNAL, text));
            }
            None => return Err(unknown(None, || format!("Unknown tool: {name}"))),
        };
        let call = RestCall {
            tool,
            tool_id: &entry.record.id,
            arguments: arguments.unwrap_or("{}"),
            within: self.parts.options.tool_within,
            structured: entry.has_output_schema(),
        };
        let execution = self.begin(Entity::Tool, &entry.record.id);
        let answered = self.parts.relay.call_rest(&call).await;
        let is_success = answered.as_ref().is_ok_and(|result| !mcp::is_error(result));
        let broken = answered.as_ref().ok().and_then(|result| self.broken_promise(entry, result));
        self.parts.meters.end(&execution, is_success && broken.is_none());
        match (answered?, broken) {
            (_, Some(text)) => Ok(self.told(&text)),
            (result, None) => Ok(self.own_result(result, false)),
        }
    }

    /// Calls the agent that a tool stands for, which counts for both.
    async fn agent(
        &self,
        entry: &ToolEntry,
        id: &str,
        name: &str,
        arguments: &str,
    ) -> Result<Reply, Failure> {
        let agent = self.parts.catalog.agent(id);
        let agent = agent.ok_or_else(|| unknown(None, || format!("Unknown tool: {name}")))?;
        let call = AgentCall { agent, arguments, within: self.parts.options.tool_within };
        let of_tool = self.begin(Entity::Tool, &entry.record.id);
        let of_agent = Execution::begin(Entity::Agent, id, "");
        let answered = self.parts.relay.call_agent(&call).await;
        let is_success = answered.as_ref().is_ok_and(|result| !mcp::is_error(result));
        self.parts.meters.end(&of_tool, is_success);
        self.parts.meters.end(&of_agent, is_success);
        Ok(self.own_result(answered?, false))
    }

    /// How a result breaks what the tool's output schema promises: clients refuse such a result
    /// without a word that a model could act on.
    fn broken_promise(&self, entry: &ToolEntry, result: &[u8]) -> Option<String> {
        if !entry.has_output_schema() {
            return None;
        }
        let raw = std::str::from_utf8(result).ok()?;
        let [structure, is_error] = jsonrpc::pick(raw, ["structuredContent", "isError"]).ok()?;
        if is_error.is_some_and(|place| place.of_text(raw) == "true") {
            return None;
        }
        let Some(structure) = structure else {
            return Some(
                "The service answered no JSON, which the output schema promises".to_owned(),
            );
        };
        let checked = self.parts.schemas.check_result(&entry.record, structure.of_text(raw));
        let violations = checked.err()?;
        Some(format!("The answer of the service does not fit the output schema: {violations}"))
    }

    /// A result of our own, which is of the era with a handshake, for this client; `cached` if it must
    /// say how long it holds.
    pub(super) fn own_result(&self, result: Vec<u8>, cached: bool) -> Reply {
        if self.era == Era::Legacy {
            return Reply::Result(result);
        }
        let raw = String::from_utf8(result).expect("our own results are text");
        let mut out = Vec::with_capacity(raw.len() + 128);
        mcp::complete_result(&mut out, &raw, cached, &self.parts.options.server);
        Reply::Result(out)
    }
}
