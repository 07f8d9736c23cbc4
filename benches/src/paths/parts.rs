//! The parts of the path that are worth a time of their own.

use std::sync::Arc;

use net::http1::{HeadLimits, RequestHead};
use net::jsonrpc::{self, EnvelopeLimits, Message};
use ringway::auth;
use ringway::auth::settle::{Standing, settle};
use ringway::catalog::Seen;
use ringway::policy::{Action, Attribute, Book, Facts, Fault, Question, Value};
use ringway::route;
use ringway::schema::Cache;
use storage::record::{Policy, Tool};

use super::world::{HOST, NOW, Upstreams, World};
use super::{TOOL, TOOL_COUNT, Work};
use crate::gateway::message;
use crate::suite::cases::{LIST, modern_call, modern_fields};
use crate::upstream::tool_definition;

/// Reads the head of a modern call.
pub fn head() -> Work {
    let token = World::new(0, Upstreams::Modern).token();
    let request = message(HOST, &token, "/mcp", &modern_fields(TOOL), &modern_call(TOOL));
    let mut head = RequestHead::default();
    let limits = HeadLimits::default();
    Box::new(move || {
        let size = head.parse(&request, &limits).expect("the head is valid");
        size.expect("the head is whole") + head.path(&request).len()
    })
}

/// Reads the envelope of the smallest message.
pub fn envelope_of_list() -> Work {
    envelope_of(LIST.to_owned())
}

/// Reads the envelope of a modern call, with all that is in `_meta`.
pub fn envelope_of_call() -> Work {
    envelope_of(modern_call(TOOL))
}

fn envelope_of(text: String) -> Work {
    let limits = EnvelopeLimits::default();
    Box::new(move || {
        let message = Message::parse(text.as_bytes(), &limits).expect("the message is valid");
        message.method().len() + message.params().map_or(0, str::len)
    })
}

/// Says whose a token is, as for every request but the first.
pub fn token_again() -> Work {
    let world = World::new(0, Upstreams::Modern);
    let bearer = format!("Bearer {}", world.token());
    Box::new(move || {
        let people = world.catalog().people();
        let caller =
            world.verifier().identify(Some(bearer.as_bytes()), None, || HOST.ip(), people, NOW);
        caller.expect("the token is good").email.len()
    })
}

/// Checks the signature and the claims of a token, and works out what its bearer may.
pub fn token_first() -> Work {
    let world = World::new(0, Upstreams::Modern);
    let token = world.token();
    let rules = auth::Rules::load(world.settings()).expect("the key is given");
    let standing = Standing::new(&world.settings().auth);
    Box::new(move || {
        let claimed = rules.verify(token.as_bytes(), NOW).expect("the token is good");
        let people = world.catalog().people();
        let settled = settle(&claimed, people, &standing, NOW as i64 * 1_000_000);
        settled.expect("nobody revoked it").0.email.len()
    })
}

/// Finds a tool among few.
pub fn routing_few() -> Work {
    routing(10)
}

/// Finds a tool among many.
pub fn routing_many() -> Work {
    routing(20_000)
}

fn routing(tool_count: usize) -> Work {
    let world = World::new(tool_count, Upstreams::Modern);
    Box::new(move || {
        let catalog = world.catalog();
        let found = route::tool(catalog, Seen::all(&catalog.everything), TOOL);
        let (tool, upstream) = found.expect("the tool is there");
        tool.record.original_name.len() + upstream.record.name.len()
    })
}

/// Puts an id before a rendered list of 20 tools.
pub fn list_splice() -> Work {
    let tools: Vec<_> = (0..TOOL_COUNT).map(tool_definition).collect();
    let list = format!(r#"{{"tools":[{}]}}"#, tools.join(","));
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        jsonrpc::result(&mut out, "12345", &list);
        out.len()
    })
}

/// Checks the arguments of a call against a typical schema, compiled before.
pub fn arguments() -> Work {
    const DEFINITION: &str = r#"{"name":"forecast","inputSchema":{"type":"object","properties":{
        "city":{"type":"string","minLength":1,"maxLength":100},
        "days":{"type":"integer","minimum":1,"maximum":14},
        "units":{"type":"string","enum":["metric","imperial"]},
        "hourly":{"type":"boolean"},
        "fields":{"type":"array","items":{"type":"string"},"maxItems":10}},
        "required":["city","days"],"additionalProperties":false}}"#;
    const ARGUMENTS: &str = r#"{"city":"Basel","days":3,"units":"metric","hourly":false,"fields":["temperature","wind"]}"#;
    let definition = DEFINITION.to_owned();
    let tool = Arc::new(Tool { id: "0".repeat(32), definition, ..Tool::default() });
    let cache = Cache::new(2);
    Box::new(move || {
        cache.check_arguments(&tool, Some(ARGUMENTS)).expect("the arguments fit");
        ARGUMENTS.len()
    })
}

/// Asks a policy about a call, as it is asked for each: two attributes of the tool, one of the
/// caller, a list of teams and an argument.
pub fn policy() -> Work {
    let expression = "tool.name.startsWith('db-') && 'prod' in tool.tags && !caller.is_admin \
                      && !caller.teams.exists(team, team == 'dba') && arguments.rows > 1000";
    let policy = Policy {
        name: "typical".to_owned(),
        actions: vec!["tools.execute".to_owned()],
        expression: expression.to_owned(),
        enabled: true,
        ..Policy::default()
    };
    let book = Book::new(&[Arc::new(policy)]);
    let question = Question { action: Action::CallTool, server_id: "" };
    let known = Known {
        tags: ["db", "prod"].map(str::to_owned),
        teams: ["red", "green", "blue"].map(str::to_owned),
        arguments: serde_json::json!({"table": "orders", "rows": 50}),
    };
    Box::new(move || {
        let judged = book.judge(question, &known);
        usize::from(judged.is_ok())
    })
}

/// What is known of the call that the policy is asked about.
struct Known {
    tags: [String; 2],
    teams: [String; 3],
    arguments: serde_json::Value,
}

impl Facts for Known {
    fn attribute(&self, attribute: Attribute) -> Result<Option<Value<'_>>, Fault> {
        Ok(Some(match attribute {
            Attribute::ToolName => Value::text("db-query"),
            Attribute::ToolTags => Value::Words(&self.tags),
            Attribute::CallerIsAdmin => Value::Bool(false),
            Attribute::CallerTeams => Value::Words(&self.teams),
            Attribute::Arguments => Value::of_json(&self.arguments),
            _ => return Ok(None),
        }))
    }

    fn header(&self, _: &str) -> Option<Value<'_>> {
        None
    }
}
