//! A call as policies see it: each fact is worked out when an expression asks for it.

use std::borrow::Cow;
use std::cell::OnceCell;

use net::jsonrpc::{self, Param};
use serde_json::Value as Json;
use storage::record::{Ownership, now};

use super::{Call, guard::Thing};
use crate::{
    mcp::Transport,
    policy::{Attribute, Facts, Fault, Value, read_json},
    upstream::Relay,
};

/// The facts of a call.
pub(super) struct CallFacts<'a, R> {
    call: &'a Call<'a, R>,
    thing: Thing<'a>,
    at: i64,
    teams: OnceCell<Vec<String>>,
    arguments: OnceCell<Result<Json, Fault>>,
    claims: OnceCell<Option<Json>>,
    annotations: OnceCell<Option<Json>>,
}

type Fact<'a> = Result<Option<Value<'a>>, Fault>;

impl<'a, R: Relay> CallFacts<'a, R> {
    /// The facts of a use of `thing`, now.
    pub fn new(call: &'a Call<'a, R>, thing: Thing<'a>) -> CallFacts<'a, R> {
        CallFacts {
            call,
            thing,
            at: now(),
            teams: OnceCell::new(),
            arguments: OnceCell::new(),
            claims: OnceCell::new(),
            annotations: OnceCell::new(),
        }
    }

    fn caller(&self, attribute: Attribute) -> Option<Value<'_>> {
        let request = self.call.request;
        let caller = request.caller;
        match attribute {
            Attribute::CallerEmail => Some(Value::text(&caller.email)),
            Attribute::CallerIsAdmin => Some(Value::Bool(caller.is_admin)),
            Attribute::CallerTeams => {
                let ids = || caller.rights.teams.iter().map(|team| team.team_id.to_string());
                Some(Value::Words(self.teams.get_or_init(|| ids().collect())))
            }
            Attribute::CallerIp => {
                request.client_ip.map(|address| Value::Text(Cow::Owned(address.to_string())))
            }
            Attribute::CallerTokenId => caller.token_id.as_deref().map(Value::text),
            _ => {
                let claims = caller.claims.as_deref();
                let read = || claims.and_then(|claims| serde_json::from_str(claims).ok());
                self.claims.get_or_init(read).as_ref().map(Value::of_json)
            }
        }
    }

    fn tool(&self, attribute: Attribute) -> Option<Value<'_>> {
        let (Thing::Tool(entry, name) | Thing::Listed(entry, name)) = self.thing else {
            return None;
        };
        let record = &*entry.record;
        match attribute {
            Attribute::ToolId => Some(Value::text(&record.id)),
            Attribute::ToolName => Some(Value::text(name)),
            Attribute::ToolOriginalName => Some(Value::text(&record.original_name)),
            Attribute::ToolGateway => self.gateway(record.gateway_id.as_deref()),
            Attribute::ToolTags => Some(Value::Words(&record.tags)),
            Attribute::ToolAnnotations => {
                let read = || annotations(&record.definition);
                self.annotations.get_or_init(read).as_ref().map(Value::of_json)
            }
            Attribute::ToolIntegrationType => Some(Value::text(record.integration_type.as_str())),
            Attribute::ToolVisibility => visibility(&record.ownership),
            Attribute::ToolTeam => team(&record.ownership),
            _ => owner(&record.ownership),
        }
    }

    fn resource(&self, attribute: Attribute) -> Option<Value<'_>> {
        let Thing::Resource(entry, uri) = self.thing else { return None };
        if attribute == Attribute::ResourceUri {
            return Some(Value::text(uri));
        }
        let record = &*entry?.record;
        match attribute {
            Attribute::ResourceId => Some(Value::text(&record.id)),
            Attribute::ResourceName => Some(Value::text(&record.name)),
            Attribute::ResourceGateway => self.gateway(record.gateway_id.as_deref()),
            Attribute::ResourceTags => Some(Value::Words(&record.tags)),
            Attribute::ResourceMimeType => record.mime_type.as_deref().map(Value::text),
            Attribute::ResourceVisibility => visibility(&record.ownership),
            Attribute::ResourceTeam => team(&record.ownership),
            _ => owner(&record.ownership),
        }
    }

    fn prompt(&self, attribute: Attribute) -> Option<Value<'_>> {
        let Thing::Prompt(entry, name) = self.thing else { return None };
        let record = &*entry.record;
        match attribute {
            Attribute::PromptId => Some(Value::text(&record.id)),
            Attribute::PromptName => Some(Value::text(name)),
            Attribute::PromptOriginalName => Some(Value::text(&record.original_name)),
            Attribute::PromptGateway => self.gateway(record.gateway_id.as_deref()),
            Attribute::PromptTags => Some(Value::Words(&record.tags)),
            Attribute::PromptVisibility => visibility(&record.ownership),
            Attribute::PromptTeam => team(&record.ownership),
            _ => owner(&record.ownership),
        }
    }

    fn request(&self, attribute: Attribute) -> Option<Value<'_>> {
        Some(match attribute {
            Attribute::RequestMethod => Value::text(self.call.message.method()),
            Attribute::RequestTransport => Value::text(match self.call.request.transport {
                Transport::StreamableHttp => "streamable_http",
                Transport::Rpc => "rpc",
                Transport::Sse => "sse",
                Transport::WebSocket => "websocket",
            }),
            Attribute::RequestServer => Value::text(self.call.server_id),
            _ => Value::Time(self.at),
        })
    }

    fn server(&self, attribute: Attribute) -> Option<Value<'_>> {
        let record = &*self.call.parts.catalog.server(self.call.server_id)?.record;
        match attribute {
            Attribute::ServerId => Some(Value::text(&record.id)),
            Attribute::ServerName => Some(Value::text(&record.name)),
            Attribute::ServerTags => Some(Value::Words(&record.tags)),
            Attribute::ServerVisibility => visibility(&record.ownership),
            _ => team(&record.ownership),
        }
    }

    /// The arguments. One that stands twice is refused: whoever runs the call might take the other.
    fn arguments(&self) -> Fact<'_> {
        if matches!(self.thing, Thing::Resource(..) | Thing::Listed(..)) {
            return Ok(None);
        }
        let raw = || self.call.message.param(Param::Arguments).filter(|raw| *raw != "null");
        let read = || match read_json(raw().unwrap_or("{}")) {
            Ok(arguments) => Ok(arguments),
            Err(why) => Err(Fault::wrong(format!("the arguments cannot be judged: {why}"))),
        };
        match self.arguments.get_or_init(read) {
            Ok(arguments) => Ok(Some(Value::of_json(arguments))),
            Err(fault) => Err(fault.clone()),
        }
    }

    /// The name of an upstream.
    fn gateway(&self, id: Option<&str>) -> Option<Value<'_>> {
        let upstream = self.call.parts.catalog.upstream(id?)?;
        Some(Value::text(&upstream.record.name))
    }
}

impl<R: Relay> Facts for CallFacts<'_, R> {
    fn attribute(&self, attribute: Attribute) -> Fact<'_> {
        Ok(match attribute.root() {
            "jwt" | "caller" => self.caller(attribute),
            "tool" => self.tool(attribute),
            "resource" => self.resource(attribute),
            "prompt" => self.prompt(attribute),
            "arguments" => return self.arguments(),
            "request" => self.request(attribute),
            _ => self.server(attribute),
        })
    }

    fn header(&self, name: &str) -> Option<Value<'_>> {
        let value = self.call.request.headers.get(name)?;
        std::str::from_utf8(value).ok().map(Value::text)
    }
}

fn annotations(definition: &str) -> Option<Json> {
    let [place] = jsonrpc::pick(definition, ["annotations"]).ok()?;
    serde_json::from_str(place?.of_text(definition)).ok()
}

fn visibility(owned: &Ownership) -> Option<Value<'_>> {
    Some(Value::text(owned.visibility.as_str()))
}

fn team(owned: &Ownership) -> Option<Value<'_>> {
    owned.team_id.as_deref().map(Value::text)
}

fn owner(owned: &Ownership) -> Option<Value<'_>> {
    owned.owner_email.as_deref().map(Value::text)
}
