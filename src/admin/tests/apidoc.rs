//! The document of the API, held against the routes, the forms and the answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::harness::{Gateway, Request};
use crate::admin::apidoc::operations::{self, Operation};
use crate::admin::apidoc::{document, seen};
use crate::admin::methods;

fn parsed() -> Value {
    serde_json::from_str(document()).unwrap()
}

fn described<'a>(document: &'a Value, operation: &Operation) -> &'a Value {
    &document["paths"][operation.path][operation.method]
}

/// The operations of the REST API; MCP and JSON-RPC are told of in the same document.
fn rest() -> impl Iterator<Item = &'static Operation> {
    operations::all().filter(|operation| operation.route().is_some())
}

#[test]
fn every_route_is_an_operation_and_every_operation_a_route() {
    let source = include_str!("../routes.rs");
    let (_, variants) = source.split_once("pub enum Route<'a> {").unwrap();
    let (variants, _) = variants.split_once("\n}").unwrap();
    let name = |line: &str| line.trim().split(['(', ',', ' ']).next().unwrap().to_owned();
    let routes: BTreeSet<String> = variants
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(name)
        .filter(|name| !name.is_empty())
        .collect();
    let told: BTreeSet<String> =
        rest().map(|operation| operation.route().unwrap().name()).collect();
    assert_eq!(routes, told);
}

#[test]
fn the_methods_of_a_path_are_those_that_the_server_allows() {
    let mut told: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for operation in rest() {
        let methods = told.entry(operation.path).or_default();
        methods.insert(operation.method.to_uppercase());
        if operation.method == "get" {
            methods.insert("HEAD".to_owned());
        }
    }
    for (path, told) in told {
        let allowed = methods(path).unwrap_or_else(|| panic!("{path} is no path"));
        let allowed: BTreeSet<String> = allowed.split(", ").map(str::to_owned).collect();
        assert_eq!(allowed, told, "{path}");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    for operation in operations::all() {
        assert!(names.insert(operation.id()), "{} is there twice", operation.id());
    }
}

#[test]
fn every_schema_that_is_referred_to_is_there_and_every_one_that_is_there_is_referred_to() {
    let document = parsed();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let used: BTreeSet<&str> = text
        .split(r##""$ref":"#/components/schemas/"##)
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    let there: BTreeSet<&str> = schemas.keys().map(String::as_str).collect();
    assert_eq!(used, there);
}

/// A gateway with one of everything, and what was looked at and answered, operation by operation.
struct Story {
    gateway: Gateway,
    document: Value,
    ids: BTreeMap<&'static str, String>,
    /// Who sends, if it is not an administrator.
    sender: Option<&'static str>,
    /// What the browser keeps.
    cookie: String,
    looked_at: BTreeMap<String, [BTreeSet<String>; 2]>,
    done: BTreeSet<String>,
    /// What was answered otherwise than it is told.
    faults: Vec<String>,
}

impl Story {
    fn new() -> Story {
        let gateway = Gateway::new();
        Story {
            gateway,
            document: parsed(),
            ids: BTreeMap::new(),
            sender: None,
            cookie: String::new(),
            looked_at: BTreeMap::new(),
            done: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    /// Sends a request, and holds its answer against the document.
    fn send(&mut self, id: &str, query: &str, body: &Value) -> (u16, Value) {
        let operation = operations::all().find(|operation| operation.id() == id);
        let operation = operation.unwrap_or_else(|| panic!("there is no operation {id}"));
        let mut target = operation.path.to_owned();
        for (name, id) in &self.ids {
            target = target.replace(&format!("{{{name}}}"), id);
        }
        target.push_str(query);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let method = operation.http_method();
        seen::take();
        let cookie = self.cookie.clone();
        let request = Request::new(method, &target).with_body(&body).with_cookie(&cookie);
        let answer = self.gateway.answer(match self.sender {
            Some(email) => request.by(&self.gateway.login(email)),
            None => request,
        });
        let looked_at = self.looked_at.entry(id.to_owned()).or_default();
        for (all, now) in looked_at.iter_mut().zip(seen::take()) {
            // `auth_headers.0.key` is a place within a field.
            all.extend(now.into_iter().filter(|name| !name.contains('.')));
        }
        if answer.status == operation.status {
            self.done.insert(id.to_owned());
        }
        if let Some(set) = answer.cookies.first() {
            self.cookie = set.split(';').next().unwrap_or_default().to_owned();
        }
        let value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        self.check(operation, answer.status, &value);
        (answer.status, value)
    }

    /// The status is told of, the body is as it is told, and no field of it is left out.
    fn check(&mut self, operation: &Operation, status: u16, body: &Value) {
        let id = operation.id();
        let answer = &described(&self.document, operation)["responses"][status.to_string()];
        if !answer.is_object() {
            self.faults.push(format!("{id}: {status} is not told of: {body}"));
            return;
        }
        let schema = &answer["content"]["application/json"]["schema"];
        if schema.is_null() {
            return;
        }
        let mut whole = schema.clone();
        whole["components"] = self.document["components"].clone();
        let validator = jsonschema::validator_for(&whole).unwrap();
        if let Err(error) = validator.validate(body) {
            let place = error.instance_path();
            self.faults.push(format!("{id}: {status} is not as told at {place}: {error}"));
        }
        let told = self.properties(schema);
        if let (Some(fields), false) = (body.as_object(), told.is_empty()) {
            let untold: Vec<_> = fields.keys().filter(|name| !told.contains(*name)).collect();
            if !untold.is_empty() && !OPEN.contains(&id.as_str()) {
                let fault = format!("{id}: {status} has {untold:?}");
                self.faults.push(fault);
            }
        }
    }

    /// The fields that a schema names, in whatever form it has.
    fn properties(&self, schema: &Value) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            names.extend(self.properties(&self.document["components"]["schemas"][name]));
        }
        names
            .extend(schema["properties"].as_object().into_iter().flatten().map(|(n, _)| n.clone()));
        if schema["items"].is_object() {
            names.extend(self.properties(&schema["items"]));
        }
        for part in ["anyOf", "oneOf", "allOf"] {
            let parts = schema[part].as_array().into_iter().flatten();
            names.extend(parts.flat_map(|part| self.properties(part)));
        }
        names
    }

    fn body_schema(&self, operation: &Operation) -> &Value {
        let body = &described(&self.document, operation)["requestBody"];
        &body["content"]["application/json"]["schema"]
    }
}

/// Bodies that make the forms of upstreams look at every field.
fn gateway_bodies(name: &str) -> Vec<Value> {
    let url = format!("http://{name}.example/mcp");
    vec![
        json!({}),
        json!({"auth_type": "basic"}),
        json!({"auth_type": "bearer"}),
        json!({"auth_headers": [{"key": "a b", "value": 7}, 8]}),
        json!({"auth_header_key": "x", "auth_header_value": 1}),
        json!({"name": name, "url": url}),
    ]
}

/// Bodies that make the form of tools look at every field.
fn tool_bodies() -> Vec<Value> {
    vec![
        json!({}),
        json!({"auth_type": "basic"}),
        json!({"auth_type": "bearer"}),
        json!({"auth_type": "authheaders", "auth_header_key": "x", "auth_header_value": 1}),
        json!({"auth_type": "query_param"}),
        json!({"auth_query_param_key": "key", "auth_query_param_value": 7}),
        json!({"name": "own", "url": "http://x.example/{id}", "request_type": "GET"}),
    ]
}

fn told_story() -> Story {
    let mut story = Story::new();
    for id in [
        "home",
        "health",
        "ready",
        "version",
        "security",
        "csrfToken",
        "docs",
        "openApi",
        "metrics",
        "protectedResource",
    ] {
        story.send(id, "", &Value::Null);
    }
    *story.gateway.ready.borrow_mut() = Err("still starting".to_owned());
    story.send("ready", "", &Value::Null);
    *story.gateway.ready.borrow_mut() = Ok(());
    for body in gateway_bodies("first") {
        let (status, answer) = story.send("createGateway", "", &body);
        if status == 200 {
            story.ids.insert("gateway_id", answer["id"].as_str().unwrap().to_owned());
        }
    }
    let tool = story.gateway.tool_id("first-get-system-time");
    story.ids.insert("tool_id", tool);
    for body in [
        json!({}),
        json!({"server": {}}),
        json!({"name": "all", "associated_gateways": ["first"], "oauth_enabled": true, "oauth_config": {"issuer": "https://as.example"}}),
    ] {
        let (status, answer) = story.send("createServer", "", &body);
        if status == 201 {
            story.ids.insert("server_id", answer["id"].as_str().unwrap().to_owned());
        }
    }
    for id in ["gateways", "tools", "servers"] {
        story.send(id, "?include_pagination=true", &Value::Null);
        story.send(id, "?include_pagination=perhaps&limit=x", &Value::Null);
        story.send(id, "", &Value::Null);
    }
    for id in [
        "gateway",
        "tool",
        "server",
        "serverTools",
        "serverResources",
        "serverPrompts",
        "protectedServer",
    ] {
        story.send(id, "", &Value::Null);
    }
    for body in gateway_bodies("second") {
        story.send("updateGateway", "", &body);
    }
    for body in [json!({"name": 7}), json!({"name": "more", "tags": ["time"]})] {
        story.send("updateServer", "", &body);
    }
    for id in ["gatewayState", "serverState"] {
        story.send(id, "?activate=perhaps", &Value::Null);
        story.send(id, "?activate=false", &Value::Null);
        story.send(id, "?activate=true", &Value::Null);
    }
    for body in tool_bodies() {
        let (status, answer) = story.send("createTool", "", &body);
        if status == 200 {
            story.ids.insert("tool_id", answer["id"].as_str().unwrap().to_owned());
        }
    }
    for body in tool_bodies() {
        story.send("updateTool", "", &body);
    }
    story.send("toolState", "?activate=perhaps", &Value::Null);
    story.send("toolState", "?activate=false", &Value::Null);
    story.send("importTools", "", &json!({}));
    for body in tool_bodies() {
        story.send("importTools", "", &json!([body]));
    }
    story.send("importTools", "", &json!([{}, {"name": "third", "url": "http://x.example/y"}]));
    tell_of_our_own(&mut story);
    tell_of_policies(&mut story);
    tell_of_agents_and_exports(&mut story);
    story.send("refreshGateway", "", &Value::Null);
    tell_of_documents(&mut story);
    tell_of_users(&mut story);
    tell_of_providers(&mut story);
    tell_of_identity(&mut story);
    for id in ["audit", "auditExport", "auditTrails"] {
        story.send(id, "?limit=x", &Value::Null);
        story.send(id, "", &Value::Null);
    }
    story.send("resetMetrics", "?entity=nothing", &Value::Null);
    story.send("resetMetrics", "", &Value::Null);
    for id in ["deleteServer", "deleteTool", "deleteGateway"] {
        story.send(id, "", &Value::Null);
        story.send(id, "", &Value::Null);
    }
    story
}

/// Resources, prompts, roots, and the protocol by REST.
fn tell_of_our_own(story: &mut Story) {
    let made = [
        ("createResource", "resource_id", json!({"uri": "note://a", "name": "a", "content": "x"})),
        ("createPrompt", "prompt_id", json!({"name": "hello", "template": "Hi {{ who }}"})),
    ];
    for (id, place, body) in made {
        story.send(id, "", &json!({}));
        let (_, answer) = story.send(id, "", &body);
        story.ids.insert(place, answer["id"].as_str().unwrap().to_owned());
    }
    story.ids.insert("uri", "file%3A%2F%2F%2Fsrv".to_owned());
    story.send("createRoot", "", &json!({}));
    story.send("createRoot", "", &json!({"uri": "/srv"}));
    for id in ["resources", "prompts", "roots", "resourceTemplates", "root", "resourceInfo"] {
        story.send(id, "", &Value::Null);
    }
    for id in ["resource", "testResource", "prompt"] {
        story.send(id, "", &Value::Null);
    }
    story.send("renderPrompt", "", &json!({"who": "you"}));
    story.send("renderPrompt", "", &json!([]));
    for id in ["rootChanges", "subscribeResources"] {
        story.send(id, "", &Value::Null);
    }
    story.send("exportRoot", "", &Value::Null);
    story.send("exportRoot", "?uri=file:///srv", &Value::Null);
    for id in ["updateResource", "updatePrompt", "updateRoot"] {
        story.send(id, "", &json!({"name": 7}));
        story.send(id, "", &json!({}));
    }
    for id in ["resourceState", "promptState"] {
        story.send(id, "?activate=false", &Value::Null);
    }
    story.send("initialize", "", &json!({}));
    story.send("initialize", "", &json!({"protocolVersion": "2025-11-25"}));
    story.send("ping", "", &json!({"method": "pong"}));
    story.send("ping", "", &json!({"method": "ping", "id": 1}));
    for id in ["notify", "complete", "sample"] {
        story.send(id, "", &json!({}));
    }
    story.send("setLogLevel", "", &json!({"level": "loud"}));
    story.send("setLogLevel", "", &json!({"level": "debug"}));
    for id in ["deleteResource", "deletePrompt", "deleteRoot"] {
        story.send(id, "", &Value::Null);
    }
}

fn tell_of_policies(story: &mut Story) {
    let bare = json!({"name": "p", "effect": "deny", "expression": "caller.email == 'x@y.z'"});
    let mut full = bare.clone();
    for (name, value) in [
        ("name", json!("q")),
        ("description", json!("why")),
        ("message", json!("no")),
        ("actions", json!(["tools.execute"])),
        ("enforcement", json!("dry_run")),
        ("enabled", json!(false)),
        ("priority", json!(-3)),
        ("server_id", Value::Null),
    ] {
        full[name] = value;
    }
    for body in [json!({}), bare, full] {
        let (status, answer) = story.send("createPolicy", "", &body);
        if status == 201 {
            story.ids.insert("policy_id", answer["id"].as_str().unwrap().to_owned());
        }
    }
    story.send("policies", "", &Value::Null);
    story.send("policy", "", &Value::Null);
    story.send("updatePolicy", "", &json!({"effect": "perhaps"}));
    story.send("updatePolicy", "", &json!({"priority": 5}));
    story.send("policyState", "?activate=perhaps", &Value::Null);
    story.send("policyState", "?activate=false", &Value::Null);
    story.send("testPolicies", "", &json!({"expression": "what?", "effect": "allow"}));
    let tried = json!({
        "policy_id": "p", "action": "tools.execute", "server_id": "none", "user": "x@y.z",
        "tool": "t", "resource": "r", "prompt": "p", "arguments": {"a": 1},
        "context": {"caller": {"ip": "10.0.0.1"}},
    });
    story.send("testPolicies", "", &tried);
    story.send("testPolicies", "", &json!({}));
    story.send("deletePolicy", "", &Value::Null);
}

fn tell_of_agents_and_exports(story: &mut Story) {
    let of_agent = |body: &Value| {
        let mut body = body.clone();
        body["endpoint_url"] = "http://agent.example/a2a".into();
        body
    };
    for body in tool_bodies() {
        story.send("createAgent", "", &body);
        let (status, answer) = story.send("createAgent", "", &of_agent(&body));
        if status == 201 {
            story.ids.insert("agent_id", answer["id"].as_str().unwrap().to_owned());
            story.ids.insert("agent_name", answer["name"].as_str().unwrap().to_owned());
        }
    }
    for body in tool_bodies() {
        story.send("updateAgent", "", &body);
    }
    story.send("agents", "", &Value::Null);
    story.send("agent", "", &Value::Null);
    story.send("invokeAgent", "", &json!({"parameters": 7}));
    story.send("invokeAgent", "", &json!({"parameters": {"query": "x"}}));
    let id = story.ids["agent_id"].clone();
    story.send("invokeAgentById", "", &json!({}));
    story.send("invokeAgentById", "", &json!({"agent_id": id, "parameters": {"query": "x"}}));
    story.send("relayToAgent", "", &json!([]));
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {}});
    story.send("relayToAgent", "", &call);
    story.send("tags", "?include_entities=true", &Value::Null);
    story.ids.insert("tag", "time".to_owned());
    story.send("tagEntities", "", &Value::Null);
    story.send("exportSelective", "", &json!({"tools": "x"}));
    story.send("export", "?types=nothing", &Value::Null);
    let (_, export) = story.send("export", "", &Value::Null);
    story.send("import", "", &json!({}));
    let import = json!({"import_data": export, "dry_run": true});
    let (_, status) = story.send("import", "", &import);
    story.send("importStatuses", "", &Value::Null);
    story.ids.insert("import_id", "nothing".to_owned());
    story.send("importStatus", "", &Value::Null);
    story.ids.insert("import_id", status["import_id"].as_str().unwrap_or_default().to_owned());
    story.send("importStatus", "", &Value::Null);
    story.send("cleanUpImports", "", &Value::Null);
    story.send("agentState", "?activate=false", &Value::Null);
    story.send("deleteAgent", "", &Value::Null);
}

fn tell_of_documents(story: &mut Story) {
    let operation = json!({"operationId": "get", "responses": {"200": {"description": "Done"}}});
    let document = json!({
        "openapi": "3.1.0", "info": {"title": "x", "version": "1"},
        "paths": {"/x": {"get": operation}}
    });
    let sent = document.clone();
    *story.gateway.pages.borrow_mut() = Box::new(move |_| Ok(sent.to_string().into_bytes()));
    story.send("generateSchemas", "", &json!({}));
    story.send("generateSchemas", "", &json!({"url": "http://x.example/y"}));
    story.send("generateSchemas", "", &json!({"url": "http://x.example/x"}));
    story.send("importOpenapi", "", &json!({}));
    let import = json!({"document": document, "base_url": "http://x.example", "dry_run": true});
    story.send("importOpenapi", "", &import);
}

/// Users, logins and tokens.
fn tell_of_users(story: &mut Story) {
    let none = Value::Null;
    story.ids.insert("email", "anna@example.com".to_owned());
    for body in [
        json!({}),
        json!({"email": "anna@example.com", "password": "long enough", "full_name": "Anna",
            "is_admin": false, "is_active": true, "password_change_required": false}),
    ] {
        story.send("createUser", "", &body);
    }
    for id in ["users", "user"] {
        story.send(id, "", &none);
    }
    story.send("users", "?include_pagination=true&limit=1", &none);
    story.send("register", "", &json!({}));
    let fresh = json!({"email": "bert@example.com", "password": "long enough", "full_name": "B"});
    story.send("register", "", &fresh);
    story.send("register", "", &fresh);
    story.send("login", "", &json!({}));
    story.send("login", "", &json!({"username": "anna", "password": "x"}));
    story.send("login", "", &json!({"email": "anna@example.com", "password": "wrong"}));
    story.send("login", "", &json!({"email": "anna@example.com", "password": "long enough"}));
    for id in ["updateUser", "updateUserByPatch"] {
        story.send(id, "", &json!({"email": "other@example.com"}));
        story.send(id, "", &json!({"full_name": "Anna A."}));
    }
    story.send("unlockUser", "", &none);
    story.ids.insert("token", "any".to_owned());
    for id in ["forgotPassword", "checkReset", "resetPassword"] {
        story.send(id, "", &none);
    }
    story.send("allAuthEvents", "?offset=x", &none);
    story.send("allAuthEvents", "?user_email=anna@example.com", &none);
    story.sender = Some("anna@example.com");
    for id in ["me", "authEvents", "validateToken", "refreshToken", "tokens"] {
        story.send(id, "", &none);
    }
    for body in [
        json!({"name": "", "scope": {"permissions": ["tools.fly"], "server_id": "x"}}),
        json!({"name": "robot", "expires_in_days": 3, "scope": {"permissions": ["tools.read"]}}),
    ] {
        let (status, made) = story.send("createToken", "", &body);
        if status == 201 {
            story.ids.insert("token_id", made["token"]["id"].as_str().unwrap().to_owned());
        }
    }
    story.send("token", "", &none);
    story.send("tokenUsage", "?days=0", &none);
    story.send("tokenUsage", "", &none);
    story.send("updateToken", "", &json!({"name": 7}));
    story.send("updateToken", "", &json!({"description": "d", "scope": {}}));
    story.send("revokeToken", "", &none);
    story.send("updateToken", "", &json!({"name": "x"}));
    let people = crate::admin::Backend::catalog(&story.gateway);
    let team = people.people().personal_team("anna@example.com").unwrap().id.clone();
    story.ids.insert("team_id", team);
    story.send("createTeamToken", "", &json!({"name": "of team"}));
    story.send("teamTokens", "", &none);
    story.sender = None;
    story.send("allTokens", "", &none);
    story.send("revokeAnyToken", "", &none);
    story.sender = Some("anna@example.com");
    story.send("changePassword", "", &json!({}));
    story.send(
        "changePassword",
        "",
        &json!({"old_password": "no", "new_password": "long enough 2"}),
    );
    let both = json!({"old_password": "long enough", "new_password": "long enough 2"});
    story.send("changePassword", "", &both);
    story.send("logout", "", &none);
    story.sender = None;
    story.send("deleteUser", "", &none);
    story.send("deleteUser", "", &none);
}

/// Logins with another provider.
fn tell_of_providers(story: &mut Story) {
    let none = Value::Null;
    story.send("ssoProviders", "", &none);
    story.send("createProvider", "", &json!({}));
    let place = |name: &str| format!("https://hub.example/{name}");
    let body = json!({"id": "hub", "provider_type": "oauth2", "client_id": "us",
        "client_secret": "hush", "authorization_url": place("in"), "token_url": place("token"),
        "userinfo_url": place("user"), "trusted_domains": ["example.com"]});
    story.send("createProvider", "", &body);
    story.ids.insert("provider_id", "hub".to_owned());
    for id in ["adminProviders", "adminProvider"] {
        story.send(id, "", &none);
    }
    story.send("updateProvider", "", &json!({"token_url": "none", "team_mapping": {"a": 1}}));
    story.send("updateProvider", "", &json!({"display_name": "Hub"}));
    story.send("ssoLogin", "?redirect_uri=//evil.example", &none);
    story.send("ssoCallback", "?state=x&code=y", &none);
    let (_, begun) = story.send("ssoLogin", "", &none);
    let user = json!({"access_token": "t", "email": "cleo@example.com", "email_verified": true});
    *story.gateway.pages.borrow_mut() = Box::new(move |_| Ok(user.to_string().into_bytes()));
    let returned = format!("?code=c&state={}", begun["state"].as_str().unwrap());
    story.send("ssoCallback", &returned, &none);
    story.send("deleteProvider", "", &none);
    story.send("deleteProvider", "", &none);
}

/// Teams, who is in them, and the roles of users.
fn tell_of_identity(story: &mut Story) {
    let none = Value::Null;
    story.send("createTeam", "", &json!({}));
    let seeds = json!([{"email": "new@example.com"}]);
    let body = json!({"name": "One", "visibility": "public", "members": seeds});
    let (_, team) = story.send("createTeam", "", &body);
    story.ids.insert("team_id", team["id"].as_str().unwrap().to_owned());
    story.send("teams", "", &none);
    story.send("teams", "?include_pagination=true&limit=x", &none);
    for id in ["team", "discoverTeams", "teamMembers", "teamInvitations", "joinRequests"] {
        story.send(id, "", &none);
    }
    for body in [json!({"name": 7}), json!({"description": "of one"})] {
        story.send("updateTeam", "", &body);
    }
    for email in ["first@example.com", "second@example.com", "other@example.com"] {
        story.gateway.user(email);
    }
    for email in ["nobody@example.com", "first@example.com"] {
        story.send("addTeamMember", "", &json!({"email": email}));
    }
    story.ids.insert("user_email", "first@example.com".to_owned());
    for body in [json!({}), json!({"role": "member"}), json!({"role": "owner"})] {
        story.send("updateTeamMember", "", &body);
    }
    story.send("inviteToTeam", "", &json!({}));
    let (_, made) = story.send("inviteToTeam", "", &json!({"email": "other@example.com"}));
    story.ids.insert("invitation_id", made["id"].as_str().unwrap().to_owned());
    story.ids.insert("token", made["token"].as_str().unwrap().to_owned());
    story.send("acceptInvitation", "", &none);
    story.sender = Some("other@example.com");
    story.send("acceptInvitation", "", &none);
    story.send("leaveTeam", "", &none);
    story.send("cancelInvitation", "", &none);
    for id in ["approveJoinRequest", "rejectJoinRequest"] {
        story.sender = Some("other@example.com");
        story.send("joinTeam", "", &json!({"message": 7}));
        let (_, request) = story.send("joinTeam", "", &json!({"message": "please"}));
        story.ids.insert("request_id", request["id"].as_str().unwrap().to_owned());
        story.sender = None;
        story.send(id, "", &none);
        story.send(id, "", &none);
        story.sender = Some("other@example.com");
        story.send("leaveTeam", "", &none);
    }
    story.sender = None;
    story.send("inviteToTeam", "", &json!({"email": "third@example.com"}));
    let (_, made) = story.send("teamInvitations", "", &none);
    story.ids.insert("invitation_id", made[0]["id"].as_str().unwrap().to_owned());
    story.send("cancelInvitation", "", &none);
    story.send("removeTeamMember", "", &none);
    tell_of_roles(story);
    story.send("deleteTeam", "?force=perhaps", &none);
    story.send("deleteTeam", "", &none);
}

fn tell_of_roles(story: &mut Story) {
    let none = Value::Null;
    story.send("createRole", "", &json!({}));
    let body = json!({"name": "reader", "scope": "global", "permissions": ["tools.read"]});
    let (_, role) = story.send("createRole", "", &body);
    let role_id = role["id"].as_str().unwrap().to_owned();
    story.ids.insert("role_id", role_id.clone());
    for body in [json!({"permissions": ["tools.reed"]}), json!({"is_active": true})] {
        story.send("updateRole", "", &body);
    }
    story.send("assignRole", "", &json!({}));
    story.send("assignRole", "", &json!({"role_id": role_id, "scope": "global"}));
    story.send("checkPermission", "", &json!({}));
    let user = "first@example.com";
    let question = json!({"user_email": user, "permission": "tools.read"});
    story.send("checkPermission", "", &question);
    for id in ["roles", "role", "userRoles", "userPermissions", "myRoles", "myPermissions"] {
        story.send(id, "", &none);
    }
    story.send("availablePermissions", "", &none);
    story.send("explainAccess", "", &none);
    story.send("explainAccess", "?action=tools.read&user=somebody@example.com", &none);
    story.send("revokeRole", "", &none);
    story.send("deleteRole", "", &none);
}

/// Answers that hold more than what is told: the document itself, and what upstreams say.
const OPEN: [&str; 3] = ["openApi", "prompt", "renderPrompt"];

/// Bodies that are MCP's, which no form reads.
const RELAYED: [&str; 5] = ["relayToAgent", "initialize", "ping", "complete", "setLogLevel"];

#[test]
fn what_is_told_is_what_is_read_and_what_is_answered() {
    let mut story = told_story();
    let mut faults = std::mem::take(&mut story.faults);
    for operation in rest() {
        let id = operation.id();
        if !story.done.contains(&id) {
            faults.push(format!("no request of the story does {id}"));
            continue;
        }
        let [body, query] = &story.looked_at[&id];
        let told: BTreeSet<String> = operation
            .query
            .iter()
            .flat_map(|group| group.iter().map(|parameter| parameter.name.to_owned()))
            .collect();
        // An import asks the forms of what it imports, too.
        let is_as_told = |names: &BTreeSet<String>, told: &BTreeSet<String>| match id.as_str() {
            "import" => names.is_superset(told),
            _ => names == told,
        };
        if !is_as_told(query, &told) {
            faults
                .push(format!("{id}: its query is looked at for {query:?}, and told is {told:?}"));
        }
        let told = story.properties(story.body_schema(operation));
        if !is_as_told(body, &told) && !RELAYED.contains(&id.as_str()) {
            faults.push(format!("{id}: its body is looked at for {body:?}, and told is {told:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Fields that are handed on as they are, or read only beside others.
const UNCHECKED: [&str; 5] =
    ["auth", "auth_value", "auth_header_value", "auth_query_param_key", "auth_query_param_value"];

/// What the document tells of a field of a body.
fn field(document: &Value, operation: &Operation, name: &str) -> Value {
    let body = &described(document, operation)["requestBody"]["content"]["application/json"];
    let reference = body["schema"]["$ref"].as_str().unwrap();
    document.pointer(reference.trim_start_matches('#')).unwrap()["properties"][name].clone()
}

#[test]
fn a_field_that_holds_what_it_must_not_is_named() {
    let mut story = told_story();
    let mut unnamed = Vec::new();
    let forms = ["Gateway", "Server", "Tool", "Resource", "Prompt", "Root", "Policy"];
    let forms = forms.map(|name| format!("create{name}"));
    for id in forms.iter().map(String::as_str).chain(["generateSchemas"]) {
        let operation = operations::all().find(|operation| operation.id() == id).unwrap();
        let names = story.properties(story.body_schema(operation));
        for name in names.iter().filter(|name| !UNCHECKED.contains(&name.as_str())) {
            let field = self::field(&story.document, operation, name);
            let is_object =
                field["type"].as_array().is_some_and(|all| all.contains(&json!("object")));
            let wrong = if is_object { json!(17) } else { json!({"x": [1]}) };
            let mut body = json!({"name": "n", "url": "http://n.example/mcp"});
            body[name] = wrong;
            let (status, answer) = story.send(id, "", &body);
            let mut faults = answer["detail"].as_array().into_iter().flatten();
            let is_named = faults.any(|fault| {
                fault["loc"].as_array().unwrap().contains(&Value::from(name.as_str()))
            });
            if status != 422 || !is_named {
                unnamed.push(format!("{id} {name}: {status} {answer}"));
            }
        }
    }
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
}

#[test]
fn the_page_is_small_and_runs_nothing_but_itself() {
    let (gateway, request) = (Gateway::new(), Request::get("/docs").by_nobody());
    let answer = gateway.answer(request);
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() < 40 * 1024);
    let page = String::from_utf8(answer.body).unwrap();
    for (policy, tag) in [("style-src", "style"), ("script-src", "script")] {
        let (_, inside) = page.split_once(&format!("<{tag}>")).unwrap();
        let (inside, _) = inside.split_once(&format!("</{tag}>")).unwrap();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, inside.as_bytes());
        let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hash);
        assert!(answer.headers.contains(&format!("{policy} 'sha256-{hash}'")), "{policy}");
    }
    assert!(!page.contains("://"), "the page names another host");
}

#[test]
fn the_document_needs_a_token_and_the_page_does_not() {
    let gateway = Gateway::new();
    for (path, expected) in [("/openapi.json", 401), ("/docs", 200), ("/redoc", 200)] {
        assert_eq!(gateway.answer(Request::get(path).by_nobody()).status, expected, "{path}");
    }
    assert_eq!(gateway.answer(Request::get("/openapi.json").by_user()).status, 200);
}
