//! Who may do what: every role, visibility, relation and kind of token, through REST and every way to
//! speak MCP, held against a model of its own that is written down here in the contract's words.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, LEGACY, names};
use crate::harness::postgres::{Instance, Version};
use crate::harness::wire::{Answer, request};

const KINDS: [&str; 4] = ["tools", "resources", "prompts", "servers"];
const VISIBILITIES: [&str; 3] = ["public", "team", "private"];

/// What changes things; everything else looks at them or uses them.
const CHANGES: [&str; 2] = ["update", "delete"];

/// An id that nothing has.
const NOTHING: &str = "0123456789abcdef0123456789abcdef";

/// A user, by what they are to the team "Blue", whose owner owns everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Person {
    Administrator,
    Owner,
    Member(&'static str),
    /// No member of the team, with the role that every user gets: platform_viewer.
    Outsider,
    /// No member of the team, whose only role was taken away.
    Nobody,
    /// No member of the team, with a role that counts everywhere.
    Global(&'static str),
}

/// What a token says of its user's powers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// All of them: a login.
    Session,
    /// All of them: an API token.
    Api,
    /// Those in the team.
    Team,
    /// What is public.
    Public,
    /// All of them, to read tools.
    ReadTools,
}

impl Person {
    fn email(self) -> String {
        match self {
            Person::Administrator => "admin@example.com".to_owned(),
            Person::Owner => "owner@example.com".to_owned(),
            Person::Member(role) => format!("{role}@blue.example.com").replace('_', "-"),
            Person::Outsider => "outsider@example.com".to_owned(),
            Person::Nobody => "nobody@example.com".to_owned(),
            Person::Global(role) => format!("{role}@world.example.com").replace('_', "-"),
        }
    }
}

/// The roles' words that matter here: reading, using, changing.
fn role_has(role: &str, action: &str) -> bool {
    match role {
        "platform_admin" | "team_admin" | "developer" => true,
        "viewer" => !CHANGES.contains(&action),
        "platform_viewer" => action == "read",
        other => panic!("no role {other}"),
    }
}

/// A caller of the matrix.
struct Caller<'a> {
    gateway: &'a Gateway,
    person: Person,
    kind: Kind,
    token: String,
}

impl Caller<'_> {
    /// Whether a thing of this visibility exists for them.
    fn sees(&self, visibility: &str) -> bool {
        let all = matches!(self.kind, Kind::Session | Kind::Api | Kind::ReadTools);
        match (visibility, self.person) {
            ("public", _) => true,
            _ if self.kind == Kind::Public => false,
            (_, Person::Administrator) => all,
            ("team", Person::Owner | Person::Member(_)) => true,
            ("private", Person::Owner) => true,
            _ => false,
        }
    }

    /// Whether their token is good for an action on a kind of things.
    fn token_is_good_for(&self, things: &str, action: &str) -> bool {
        self.kind != Kind::ReadTools || (things == "tools" && action == "read")
    }

    /// Whether they may do it to a thing that they see.
    fn may(&self, things: &str, visibility: &str, action: &str) -> bool {
        if !self.token_is_good_for(things, action) {
            return false;
        }
        // Resources and prompts are used by reading them.
        let is_change = CHANGES.contains(&action);
        let word = if things == "tools" || is_change { action } else { "read" };
        // Everybody has a team of their own, in which they may use things, and so what is public.
        let by_use = visibility == "public" && !is_change;
        let is_public = self.kind == Kind::Public;
        by_use
            || match self.person {
                Person::Administrator => !is_public,
                Person::Owner => !is_public,
                Person::Member(role) => !is_public && role_has(role, word),
                Person::Outsider => role_has("platform_viewer", word),
                Person::Nobody => false,
                Person::Global(role) => role_has(role, word),
            }
    }

    fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Answer {
        self.gateway.ask_as(Some(&self.token), method, target, body)
    }

    fn told(&self) -> String {
        format!("{:?} by a token of kind {:?}", self.person, self.kind)
    }
}

/// The things, all of the team's owner.
struct World {
    team: String,
    /// By kind and visibility.
    ids: Vec<(&'static str, &'static str, String)>,
}

impl World {
    fn id(&self, kind: &str, visibility: &str) -> &str {
        let found = self.ids.iter().find(|(k, v, _)| *k == kind && *v == visibility);
        &found.expect("it was made").2
    }
}

fn session_token(gateway: &Gateway, email: &str) -> String {
    let claims = json!({
        "sub": email, "token_use": "session", "iss": "mcpgateway", "aud": "mcpgateway-api",
    });
    gateway.token_with(&["-d", &claims.to_string()])
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned()
}

fn people() -> Vec<Person> {
    let members = ["viewer", "developer", "team_admin"].map(Person::Member);
    let mut all = vec![Person::Administrator, Person::Owner, Person::Outsider];
    all.extend(members);
    all.extend([Person::Global("platform_admin"), Person::Nobody]);
    all
}

/// Makes the users, their team and their roles.
fn populate(gateway: &Gateway) -> String {
    let made = |person: Person| {
        let body = json!({"email": person.email(), "password": "Correct-Horse-7-Battery", "full_name": "A"});
        gateway.post("/auth/email/admin/users", &body).expect(201);
    };
    people().into_iter().filter(|person| *person != Person::Administrator).for_each(made);
    let owner = session_token(gateway, &Person::Owner.email());
    let as_owner =
        |target: &str, body: &Value| gateway.ask_as(Some(&owner), "POST", target, Some(body));
    let team = id(&as_owner("/teams", &json!({"name": "Blue"})).expect(201).json());
    let roles = gateway.get("/rbac/roles").expect(200).json();
    let role_id = |name: &str| {
        let roles = roles.as_array().expect("a list");
        id(roles.iter().find(|role| role["name"] == name).expect("it is built in"))
    };
    for person in people() {
        let email = person.email();
        let grant =
            |body: Value| gateway.post(&format!("/rbac/users/{email}/roles"), &body).expect(200);
        match person {
            Person::Member(role) => {
                let invited =
                    as_owner(&format!("/teams/{team}/invitations"), &json!({"email": email}));
                let word = invited.expect(201).json()["token"].as_str().expect("a word").to_owned();
                let own = session_token(gateway, &email);
                let target = format!("/teams/invitations/{word}/accept");
                gateway.ask_as(Some(&own), "POST", &target, None).expect(200);
                if role != "viewer" {
                    grant(json!({"role_id": role_id(role), "scope": "team", "scope_id": team}));
                }
            }
            Person::Global(role) => {
                grant(json!({"role_id": role_id(role), "scope": "global"}));
            }
            Person::Nobody => {
                let path = format!("/rbac/users/{email}/roles/{}", role_id("platform_viewer"));
                gateway.ask("DELETE", &path, None).expect(200);
            }
            Person::Administrator | Person::Owner | Person::Outsider => {}
        }
    }
    team
}

/// Makes a thing of every kind in every visibility; the public virtual server offers all the others.
fn furnish(gateway: &Gateway, team: String) -> World {
    let owner = session_token(gateway, &Person::Owner.email());
    let mut ids = Vec::new();
    for visibility in VISIBILITIES {
        let name = |kind: &str| format!("{kind}-{visibility}");
        let place = json!({"team_id": team, "visibility": visibility});
        let bodies = [
            // Nothing listens there: a call that is let through says so in its result.
            ("tools", "tool", json!({"url": "http://127.0.0.1:9/", "request_type": "GET"})),
            (
                "resources",
                "resource",
                json!({"uri": format!("matrix://{visibility}"), "content": "x"}),
            ),
            (
                "prompts",
                "prompt",
                json!({
                    "template": "Hello {{ who }}", "arguments": [{"name": "who", "required": false}],
                }),
            ),
            ("servers", "server", json!({})),
        ];
        for (kind, wrapper, mut thing) in bodies {
            thing["name"] = json!(name(kind));
            thing["tags"] = json!([format!("tag-{kind}-{visibility}")]);
            if kind == "servers" {
                for associated in ["tools", "resources", "prompts"] {
                    let known =
                        ids.iter().filter(|(k, _, _): &&(&str, &str, String)| *k == associated);
                    let known: Vec<&String> = known.map(|(_, _, id)| id).collect();
                    thing[format!("associated_{associated}")] = json!(known);
                }
            }
            let mut body = place.clone();
            body[wrapper] = thing;
            let answer = gateway.ask_as(Some(&owner), "POST", &format!("/{kind}"), Some(&body));
            assert!(answer.status < 300, "{kind} {visibility}: {}", answer.text());
            ids.push((kind, visibility, id(&answer.json())));
        }
    }
    let world = World { team, ids };
    let mut all = json!({});
    for kind in ["tools", "resources", "prompts"] {
        all[format!("associated_{kind}")] = json!(VISIBILITIES.map(|one| world.id(kind, one)));
    }
    let open = format!("/servers/{}", world.id("servers", "public"));
    gateway.ask_as(Some(&owner), "PUT", &open, Some(&all)).expect(200);
    world
}

/// The tokens of a person that there can be.
fn callers<'a>(gateway: &'a Gateway, world: &World, person: Person) -> Vec<Caller<'a>> {
    let email = person.email();
    let session = session_token(gateway, &email);
    let api = |name: &str, more: Value| {
        let mut body = json!({"name": name});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        let made = gateway.ask_as(Some(&session), "POST", "/tokens", Some(&body));
        made.expect(201).json()["access_token"].as_str().expect("shown once").to_owned()
    };
    let public = json!({
        "sub": email, "teams": [], "iss": "mcpgateway", "aud": "mcpgateway-api",
    });
    let mut tokens = vec![
        (Kind::Session, session.clone()),
        (Kind::Public, gateway.token_with(&["-d", &public.to_string()])),
    ];
    if person != Person::Administrator {
        tokens.push((Kind::Api, api("all", json!({}))));
        let scope = json!({"scope": {"permissions": ["tools.read"]}});
        tokens.push((Kind::ReadTools, api("read", scope)));
    }
    if matches!(person, Person::Owner | Person::Member(_)) {
        tokens.push((Kind::Team, api("team", json!({"team_id": world.team}))));
    }
    let caller = |(kind, token)| Caller { gateway, person, kind, token };
    tokens.into_iter().map(caller).collect()
}

/// The things of the REST API, one by one: who does not see one is answered as if it were not there.
fn check_rest(caller: &Caller<'_>, world: &World) {
    let told = caller.told();
    for kind in KINDS {
        let change = json!({"description": "changed"});
        let acts =
            [("GET", "read", None), ("PUT", "update", Some(&change)), ("DELETE", "delete", None)];
        for (method, action, body) in acts {
            let nothing = caller.ask(method, &format!("/{kind}/{NOTHING}"), body);
            for visibility in VISIBILITIES {
                let target = format!("/{kind}/{}", world.id(kind, visibility));
                let is_permitted = caller.sees(visibility) && caller.may(kind, visibility, action);
                if action == "delete" && is_permitted {
                    // Those who come after need it.
                    continue;
                }
                let answer = caller.ask(method, &target, body);
                let what = format!("{told}: {method} {kind} {visibility}: {}", answer.text());
                if !caller.sees(visibility) {
                    assert_eq!(answer.status, nothing.status, "{what}");
                    assert!(!answer.text().contains(&format!("{kind}-{visibility}")), "{what}");
                } else if is_permitted {
                    assert_eq!(answer.status, 200, "{what}");
                } else {
                    assert_eq!(answer.status, 403, "{what}");
                }
            }
        }
        let list = caller.ask("GET", &format!("/{kind}?limit=0"), None);
        if !caller.token_is_good_for(kind, "read") {
            assert_eq!(list.status, 403, "{told}: {kind}");
            continue;
        }
        let shown: BTreeSet<String> = names(&list.expect(200).json(), "name").into_iter().collect();
        assert_eq!(
            shown,
            expected(caller, kind, |visibility| format!("{kind}-{visibility}")),
            "{told}"
        );
    }
    check_sums(caller, world);
    let tags = caller.ask("GET", "/tags", None);
    for (kind, visibility) in KINDS.iter().flat_map(|kind| VISIBILITIES.map(|one| (kind, one))) {
        let has = tags.text().contains(&format!("tag-{kind}-{visibility}"));
        assert!(!has || caller.sees(visibility), "{told}: the tags tell of {kind} {visibility}");
    }
}

/// What tells of many things at once says nothing of those that are hidden, be it by name or by id:
/// neither do sums and exports, nor a virtual server that offers more than its reader may see.
fn check_sums(caller: &Caller<'_>, world: &World) {
    let server = world.id("servers", "public");
    let of_server = ["", "/tools", "/resources", "/prompts"];
    let of_server = of_server.map(|part| format!("/servers/{server}{part}"));
    let others = ["/metrics", "/export", "/tags?include_entities=true", "/servers?limit=0"];
    for target in others.map(str::to_owned).iter().chain(&of_server) {
        let text = caller.ask("GET", target, None).text();
        let hidden = world.ids.iter().filter(|(_, visibility, _)| !caller.sees(visibility));
        for (kind, visibility, id) in hidden {
            let name = format!("{kind}-{visibility}");
            let is_told = text.contains(&name) || text.contains(id.as_str());
            assert!(!is_told, "{}: {target} tells of {name}: {text}", caller.told());
        }
    }
}

fn expected(caller: &Caller<'_>, kind: &str, name: impl Fn(&str) -> String) -> BTreeSet<String> {
    let seen = VISIBILITIES.into_iter().filter(|visibility| caller.sees(visibility));
    let permitted = seen.filter(|visibility| caller.may(kind, visibility, "read"));
    permitted.map(name).collect()
}

/// A way to speak MCP.
enum Way<'a> {
    Rpc,
    Endpoint(Client<'a>),
}

impl Way<'_> {
    fn ask(&self, caller: &Caller<'_>, method: &str, params: Value) -> (u16, Value) {
        let answer = match self {
            Way::Rpc => {
                let body =
                    json!({"jsonrpc": "2.0", "id": "test-1", "method": method, "params": params});
                caller.ask("POST", "/rpc", Some(&body))
            }
            Way::Endpoint(client) => client.send(method, params),
        };
        (answer.status, answer.json())
    }
}

/// A list of MCP, and the use of what may be on it.
const USES: [(&str, &str, &str, &str); 3] = [
    ("tools", "tools/list", "tools/call", "name"),
    ("resources", "resources/list", "resources/read", "uri"),
    ("prompts", "prompts/list", "prompts/get", "name"),
];

fn named(kind: &str, visibility: &str) -> String {
    match kind {
        "resources" => format!("matrix://{visibility}"),
        _ => format!("{kind}-{visibility}"),
    }
}

fn check_mcp(caller: &Caller<'_>, way: &Way<'_>, place: &str) {
    let told = format!("{} at {place}", caller.told());
    for (kind, list, usage, key) in USES {
        let (status, shown) = way.ask(caller, list, json!({}));
        match caller.token_is_good_for(kind, "read") {
            true => {
                let shown: BTreeSet<String> =
                    names(&shown["result"][kind], key).into_iter().collect();
                assert_eq!(shown, expected(caller, kind, |one| named(kind, one)), "{told}");
            }
            false => assert!(status == 403 || shown.get("error").is_some(), "{told}: {shown}"),
        }
        let (status_of_nothing, nothing) =
            way.ask(caller, usage, json!({key: named(kind, "nowhere")}));
        for visibility in VISIBILITIES {
            let name = named(kind, visibility);
            let (status, answer) = way.ask(caller, usage, json!({key: name}));
            let what = format!("{told}: {usage} {name}: {status} {answer}");
            if !caller.sees(visibility) {
                let as_nothing = answer.to_string().replace(&name, &named(kind, "nowhere"));
                assert_eq!(
                    (status, as_nothing),
                    (status_of_nothing, nothing.to_string()),
                    "{what}"
                );
            } else if caller.may(kind, visibility, "use") {
                assert!(answer.get("result").is_some(), "{what}");
            } else {
                assert!(answer.get("error").is_some() && answer.get("result").is_none(), "{what}");
                assert!(answer.to_string().contains("Insufficient permissions"), "{what}");
            }
        }
    }
    for visibility in VISIBILITIES {
        let reference = json!({"type": "ref/prompt", "name": named("prompts", visibility)});
        let params = json!({"ref": reference, "argument": {"name": "who", "value": "a"}});
        let (_, answer) = way.ask(caller, "completion/complete", params);
        let is_there = answer.get("result").is_some();
        assert!(!is_there || caller.sees(visibility), "{told}: completion {visibility}: {answer}");
    }
}

/// What a client is told that it will hear of.
fn check_subscriptions(caller: &Caller<'_>) {
    let told = caller.told();
    let may =
        |visibility: &str| caller.sees(visibility) && caller.may("resources", visibility, "use");
    let session = Client::legacy_with(caller.gateway, "/mcp", LEGACY, Some(&caller.token));
    let uris = VISIBILITIES.map(|visibility| named("resources", visibility));
    for (visibility, uri) in VISIBILITIES.iter().zip(&uris) {
        let answer = session.ask("resources/subscribe", json!({"uri": uri}));
        assert_eq!(answer.get("result").is_some(), may(visibility), "{told}: {uri}: {answer}");
    }
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"notifications": {"resourceSubscriptions": uris}, "_meta": meta});
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params});
    let bearer = format!("Bearer {}", caller.token);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "subscriptions/listen"),
    ];
    let mut wire = caller.gateway.wire();
    wire.send(request("POST", "/mcp", &headers, body.to_string().as_bytes()));
    assert_eq!(wire.head().expect("an answer").status, 200, "{told}");
    let first = String::from_utf8(wire.chunk().expect("an event")).expect("text");
    for (visibility, uri) in VISIBILITIES.iter().zip(&uris) {
        assert_eq!(first.contains(uri.as_str()), may(visibility), "{told}: {uri}: {first}");
    }
}

fn check_everybody(gateway: &Gateway) {
    let team = populate(gateway);
    let world = furnish(gateway, team);
    for person in people() {
        for caller in callers(gateway, &world, person) {
            check_rest(&caller, &world);
            check_mcp(&caller, &Way::Rpc, "/rpc");
            let token = Some(caller.token.as_str());
            let legacy = Client::legacy_with(gateway, "/mcp", LEGACY, token);
            check_mcp(&caller, &Way::Endpoint(legacy), "/mcp with a handshake");
            check_mcp(&caller, &Way::Endpoint(Client::modern_with(gateway, "/mcp", token)), "/mcp");
            if caller.kind != Kind::ReadTools {
                let path = format!("/servers/{}/mcp", world.id("servers", "public"));
                let clients = [
                    Client::legacy_with(gateway, &path, LEGACY, token),
                    Client::modern_with(gateway, &path, token),
                ];
                for client in clients {
                    check_mcp(&caller, &Way::Endpoint(client), &path);
                }
            }
            let path = format!("/servers/{}/mcp", world.id("servers", "private"));
            if caller.sees("private") && caller.kind != Kind::ReadTools {
                check_mcp(
                    &caller,
                    &Way::Endpoint(Client::modern_with(gateway, &path, token)),
                    &path,
                );
            } else if !caller.sees("private") {
                let answer =
                    Client::modern_with(gateway, &path, token).send("tools/list", json!({}));
                assert_eq!(answer.status, 404, "{}: {}", caller.told(), answer.text());
            }
            check_subscriptions(&caller);
        }
    }
}

fn setup() -> crate::harness::gateway::Setup {
    Gateway::setup()
        .set("RATE_LIMIT_CRITICAL_RPM", 0)
        .set("RATE_LIMIT_HIGH_RPM", 0)
        .set("RETRY_MAX_ATTEMPTS", 1)
        .set("PLATFORM_ADMIN_PASSWORD", "Correct-Horse-7-Battery")
}

#[test]
fn everybody_may_what_the_contract_says_and_nothing_else() {
    check_everybody(&setup().start());
}

#[test]
fn everybody_may_the_same_on_postgresql() {
    let server = Instance::shared(Version::V18);
    server.ask("postgres", "CREATE DATABASE of_the_matrix");
    check_everybody(&setup().set("DATABASE_URL", server.url("of_the_matrix")).start());
}

#[test]
fn a_token_for_one_virtual_server_opens_nothing_else() {
    let gateway = setup().start();
    let team = populate(&gateway);
    let world = furnish(&gateway, team);
    let session = session_token(&gateway, &Person::Owner.email());
    let server = world.id("servers", "team");
    let body = json!({"name": "one", "scope": {"server_id": server}});
    let made = gateway.ask_as(Some(&session), "POST", "/tokens", Some(&body)).expect(201).json();
    let token = made["access_token"].as_str();
    let path = format!("/servers/{server}/mcp");
    let own = Client::modern_with(&gateway, &path, token).result("tools/list", json!({}));
    assert_eq!(names(&own["tools"], "name").len(), 2, "{own}");
    let other = format!("/servers/{}/mcp", world.id("servers", "public"));
    for path in ["/mcp", "/rpc", other.as_str()] {
        let answer = Client::modern_with(&gateway, path, token).send("tools/list", json!({}));
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
    }
    for target in ["/tools", "/servers", "/tokens", "/teams"] {
        assert_eq!(gateway.ask_as(token, "GET", target, None).status, 403, "{target}");
    }
}
