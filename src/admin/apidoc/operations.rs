//! The table of operations: one row for each method of each path.

mod identity;
mod rows;

use net::http1::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::super::answer::Shape;
use super::super::routes::Route;
use super::answers;
use super::parameters::Parameter;
use crate::permission::Permission;
use crate::route;

use identity::IDENTITY;
use rows::OPERATIONS;

/// Every operation.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().chain(IDENTITY)
}

/// Names a type to a generator of schemas.
pub type Type = fn(&mut SchemaGenerator) -> Schema;

/// The schema of a type.
pub fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What an operation answers when all is well.
#[derive(Clone, Copy)]
pub enum Answer {
    /// A value.
    One(Type),
    /// A list of values.
    List(Type),
    /// A part of a list, which has this name when it is wrapped.
    Page(&'static str, Type),
    /// A value on each line.
    Lines,
    /// A page for people.
    Html,
    /// Events without an end.
    Events,
    /// No body.
    Nothing,
    /// A JSON-RPC answer, by itself or in a stream of events.
    Rpc,
}

/// One method of one path.
pub struct Operation {
    pub tag: &'static str,
    /// In small letters, as OpenAPI writes it.
    pub method: &'static str,
    pub path: &'static str,
    pub summary: &'static str,
    pub query: &'static [&'static [Parameter]],
    pub body: Option<Type>,
    /// The status when all is well.
    pub status: u16,
    pub answer: Answer,
    /// The header `If-Match` is looked at.
    pub is_versioned: bool,
    /// Upstreams are asked on the way, and may fail.
    asks_upstreams: bool,
    /// Statuses with a body of their own.
    pub otherwise: &'static [(u16, Type)],
}

/// The groups of operations, in the order they are shown in.
pub const TAGS: [(&str, &str); 21] = [
    ("MCP", "The Model Context Protocol over Streamable HTTP and HTTP+SSE, and plain JSON-RPC"),
    ("Gateways", "Upstream MCP servers, registered here"),
    ("Tools", "What can be called"),
    ("Servers", "Virtual servers: endpoints that are composed of parts"),
    ("Resources", "What can be read"),
    ("Prompts", "What can be rendered"),
    ("Roots", "Where clients may be told to work"),
    ("Policies", "What is allowed or denied besides by roles"),
    ("Protocol", "Methods of MCP, by REST"),
    ("Agents", "A2A agents"),
    ("Users", "Who logs in, and how"),
    ("Tokens", "What users make for programs"),
    ("Teams", "Users who own things together"),
    ("Roles", "What users may do, and why"),
    ("Tags", "Words to find records by"),
    ("Export and import", "The registry as one document"),
    ("Audit", "Who did what, and who was refused"),
    ("Metrics", "What was counted"),
    ("Sessions", "What pages of users need"),
    ("Operation", "What load balancers and operators ask"),
    ("Documentation", "This document"),
];

const fn operation(
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    answer: Answer,
) -> Operation {
    Operation {
        tag,
        method,
        path,
        summary,
        query: &[],
        body: None,
        status: 200,
        answer,
        is_versioned: false,
        asks_upstreams: false,
        otherwise: &[],
    }
}

const fn get(
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    answer: Answer,
) -> Operation {
    operation("get", path, tag, summary, answer)
}

const fn post(
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    answer: Answer,
) -> Operation {
    operation("post", path, tag, summary, answer)
}

const fn put(
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    answer: Answer,
) -> Operation {
    operation("put", path, tag, summary, answer).versioned()
}

const fn patch(
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    answer: Answer,
) -> Operation {
    operation("patch", path, tag, summary, answer)
}

const fn delete(
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    answer: Answer,
) -> Operation {
    operation("delete", path, tag, summary, answer).versioned()
}

impl Operation {
    const fn query(self, query: &'static [&'static [Parameter]]) -> Operation {
        Operation { query, ..self }
    }

    const fn body(self, body: Type) -> Operation {
        Operation { body: Some(body), ..self }
    }

    const fn status(self, status: u16) -> Operation {
        Operation { status, ..self }
    }

    const fn versioned(self) -> Operation {
        Operation { is_versioned: true, ..self }
    }

    const fn unversioned(self) -> Operation {
        Operation { is_versioned: false, ..self }
    }

    const fn asks_upstreams(self) -> Operation {
        Operation { asks_upstreams: true, ..self }
    }

    const fn otherwise(self, otherwise: &'static [(u16, Type)]) -> Operation {
        Operation { otherwise, ..self }
    }

    /// The method as the server knows it.
    pub fn http_method(&self) -> Method {
        match self.method {
            "get" => Method::Get,
            "post" => Method::Post,
            "put" => Method::Put,
            "patch" => Method::Patch,
            "delete" => Method::Delete,
            other => unreachable!("no row has the method {other}"),
        }
    }

    /// The route of the REST API that this is; `None` for MCP and JSON-RPC.
    pub fn route(&self) -> Option<Route<'static>> {
        let method = self.http_method();
        let route::Route::Rest(path) = route::find(self.path, "", method == Method::Post)? else {
            return None;
        };
        Route::parse(method, path).ok()
    }

    /// Names the operation, as programs that are made from the document call it.
    pub fn id(&self) -> String {
        match self.route() {
            Some(route) if self.method == "patch" => {
                format!("{}ByPatch", lower_first(&route.name()))
            }
            Some(route) => lower_first(&route.name()),
            None => self.path.split(['/', '{', '}', '_']).map(upper_first).collect::<String>(),
        }
    }

    /// The permission that is needed.
    pub fn permission(&self) -> Option<Permission> {
        self.route()?.permission()
    }

    /// Whether nobody is asked who they are.
    pub fn is_open(&self) -> bool {
        self.route().is_some_and(|route| route.is_open())
    }

    /// Every status that there can be.
    pub fn statuses(&self) -> Vec<u16> {
        let is_write = self.method != "get";
        let is_rpc = self.route().is_none();
        let sets: [(bool, &[u16]); 9] = [
            (true, &[400, 403]),
            (is_rpc, &[202]),
            (!self.is_open(), &[401, 500, 503]),
            (self.path.contains('{'), &[404]),
            (self.body.is_some(), &[413, 415]),
            (!is_rpc && (self.body.is_some() || !self.query.is_empty()), &[422]),
            (self.is_versioned, &[412]),
            (!is_rpc && is_write, &[409]),
            (self.asks_upstreams, &[422, 501, 502, 504]),
        ];
        let sets = sets.into_iter().filter(|(applies, _)| *applies);
        let mut statuses = vec![self.status];
        statuses.extend(sets.flat_map(|(_, set)| set.iter().copied()));
        statuses.extend(self.otherwise.iter().map(|(status, _)| *status));
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    /// How the body of an error looks.
    pub fn failure(&self, status: u16) -> Type {
        match (self.route().map(|route| route.shape()), status) {
            (None, _) => of::<answers::FailedOrRpcFailure>,
            (Some(Shape::Message), 422) => of::<answers::InvalidWithMessage>,
            (_, 422) => of::<answers::Invalid>,
            _ => of::<answers::Failed>,
        }
    }
}

fn lower_first(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn upper_first(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
