//! The paths of what is registered: upstreams, what they and we offer, virtual servers, agents and
//! policies.

use super::Route;
use super::place::Place;

impl<'a> Place<'a> {
    pub(super) fn gateway(
        id: Option<&'a str>,
        part: Option<&str>,
        last: Option<&str>,
    ) -> Option<Place<'a>> {
        Some(match (id, part, last) {
            (None, ..) => Place::Collection(Route::Gateways, Some(Route::CreateGateway)),
            (Some(id), None, _) => Place::Record {
                get: Route::Gateway(id),
                put: Some(Route::UpdateGateway(id)),
                delete: Some(Route::DeleteGateway(id)),
            },
            (Some(id), Some("state" | "toggle"), None) => Place::Action(Route::GatewayState(id)),
            (Some(id), Some("tools"), Some("refresh")) => Place::Action(Route::RefreshGateway(id)),
            _ => return None,
        })
    }

    pub(super) fn tool(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Tools, Some(Route::CreateTool)),
            (Some(id), None) => Place::Record {
                get: Route::Tool(id),
                put: Some(Route::UpdateTool(id)),
                delete: Some(Route::DeleteTool(id)),
            },
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::ToolState(id)),
            _ => return None,
        })
    }

    pub(super) fn resource(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Resources, Some(Route::CreateResource)),
            (Some(id), None) => Place::Record {
                get: Route::Resource(id),
                put: Some(Route::UpdateResource(id)),
                delete: Some(Route::DeleteResource(id)),
            },
            (Some(id), Some("info")) => Place::Probe(Route::ResourceInfo(id)),
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::ResourceState(id)),
            _ => return None,
        })
    }

    pub(super) fn prompt(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Prompts, Some(Route::CreatePrompt)),
            (Some(id), None) => Place::Prompt(id),
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::PromptState(id)),
            _ => return None,
        })
    }

    pub(super) fn server(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Servers, Some(Route::CreateServer)),
            (Some(id), None) => Place::Record {
                get: Route::Server(id),
                put: Some(Route::UpdateServer(id)),
                delete: Some(Route::DeleteServer(id)),
            },
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::ServerState(id)),
            (Some(id), Some("tools")) => Place::Collection(Route::ServerTools(id), None),
            (Some(id), Some("resources")) => Place::Collection(Route::ServerResources(id), None),
            (Some(id), Some("prompts")) => Place::Collection(Route::ServerPrompts(id), None),
            _ => return None,
        })
    }

    pub(super) fn agent(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Agents, Some(Route::CreateAgent)),
            (Some("invoke"), None) => Place::Action(Route::InvokeAgentById),
            (Some(id), None) => Place::Record {
                get: Route::Agent(id),
                put: Some(Route::UpdateAgent(id)),
                delete: Some(Route::DeleteAgent(id)),
            },
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::AgentState(id)),
            (Some(name), Some("invoke")) => Place::Action(Route::InvokeAgent(name)),
            (Some(name), Some("jsonrpc")) => Place::Action(Route::RelayToAgent(name)),
            _ => return None,
        })
    }

    pub(super) fn policy(id: Option<&'a str>, part: Option<&str>) -> Option<Place<'a>> {
        Some(match (id, part) {
            (None, _) => Place::Collection(Route::Policies, Some(Route::CreatePolicy)),
            (Some("test"), None) => Place::Action(Route::TestPolicies),
            (Some(id), None) => Place::Record {
                get: Route::Policy(id),
                put: Some(Route::UpdatePolicy(id)),
                delete: Some(Route::DeletePolicy(id)),
            },
            (Some(id), Some("state" | "toggle")) => Place::Action(Route::PolicyState(id)),
            _ => return None,
        })
    }
}
