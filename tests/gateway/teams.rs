//! Teams and roles through the whole gateway: what changes for one of their members is seen at once
//! where it was changed, and soon on the other node, in lists, calls and REST alike.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, LEGACY, names};
use crate::harness::postgres::{Instance, Version};
use crate::harness::wire::Answer;

/// How long the other node may take to notice something.
const PATIENCE: Duration = Duration::from_secs(30);

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

/// A user with the token of a login, whose teams are those of the database.
struct User<'a> {
    gateway: &'a Gateway,
    token: String,
}

impl<'a> User<'a> {
    fn of(gateway: &'a Gateway, email: &str) -> User<'a> {
        let claims = json!({
            "sub": email, "token_use": "session", "iss": "mcpgateway", "aud": "mcpgateway-api",
        });
        let token = gateway.token_with(&["-d", &claims.to_string()]);
        User { gateway, token }
    }

    fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Answer {
        self.gateway.ask_as(Some(&self.token), method, target, body)
    }

    fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, None)
    }

    fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask("POST", target, Some(body))
    }

    fn delete(&self, target: &str) -> Answer {
        self.ask("DELETE", target, None)
    }

    fn rpc(&self, method: &str, params: &Value) -> Value {
        let envelope = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.post("/rpc", &envelope).json()
    }

    /// Whether the tool is in the list of MCP and in that of REST, which must agree.
    fn sees_echo(&self) -> bool {
        let listed = self.rpc("tools/list", &json!({}))["result"]["tools"].clone();
        let [by_mcp, by_rest] = [listed, self.get("/tools?limit=0").expect(200).json()]
            .map(|list| names(&list, "name").contains(&"up-echo".to_owned()));
        by_mcp && by_rest
    }

    fn calls_echo(&self) -> bool {
        let call = json!({ "name": "up-echo", "arguments": { "k": "v" } });
        self.rpc("tools/call", &call)["result"]["structuredContent"] == json!({ "k": "v" })
    }
}

fn wait(what: &str, holds: impl Fn() -> bool) {
    eventually(what, PATIENCE, || holds().then_some(()));
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned()
}

/// Invites Bob to a team on one node, and lets him accept on the other, which must have heard of it.
fn bring_in(ann: &User<'_>, bob: &User<'_>, team: &str) {
    let body = json!({ "email": BOB });
    let made = ann.post(&format!("/teams/{team}/invitations"), &body).expect(201).json();
    let token = made["token"].as_str().expect("the word is shown once");
    let accept = format!("/teams/invitations/{token}/accept");
    wait("the invitation", || bob.ask("POST", &accept, None).status == 200);
}

/// The life of a member: in, with a role, without it, and out.
fn what_changes_for_a_member_is_seen_on_both(one: &Gateway, other: &Gateway) {
    let (ann, bob, elsewhere) = (User::of(one, ANN), User::of(one, BOB), User::of(other, BOB));
    let team = id(&ann.post("/teams", &json!({ "name": "Blue" })).expect(201).json());
    let upstream = Faulty::legacy();
    let mut registration = upstream.registration("up");
    registration["team_id"] = json!(team);
    registration["visibility"] = json!("team");
    let added = one.add(&registration);
    assert_eq!(added["team"], "Blue");
    wait("the tools", || other.tool_names().contains(&"up-echo".to_owned()));
    let session = Client::legacy_with(other, "/mcp", LEGACY, Some(&elsewhere.token));
    let in_session = || {
        let listed = session.result("tools/list", json!({}));
        names(&listed["tools"], "name").contains(&"up-echo".to_owned())
    };
    for user in [&bob, &elsewhere] {
        assert!(!user.sees_echo() && !user.calls_echo());
        user.get(&format!("/teams/{team}")).expect(404);
    }
    assert!(ann.sees_echo() && ann.calls_echo() && !in_session());

    bring_in(&ann, &elsewhere, &team);
    assert!(elsewhere.sees_echo() && elsewhere.calls_echo() && in_session());
    wait("the new member", || bob.sees_echo() && bob.calls_echo());

    let tools = ann.get("/tools?limit=0").expect(200).json();
    let tool = tools.as_array().expect("a list").iter().find(|tool| tool["name"] == "up-echo");
    let tool = format!("/tools/{}", id(tool.expect("the tool")));
    let change = json!({ "tags": ["by-bob"] });
    bob.ask("PUT", &tool, Some(&change)).expect(403);
    let roles = one.get("/rbac/roles").expect(200).json();
    let roles = roles.as_array().expect("a list");
    let developer = id(roles.iter().find(|role| role["name"] == "developer").expect("built in"));
    let path = format!("/rbac/users/{BOB}/roles");
    let given = json!({ "role_id": developer, "scope": "team", "scope_id": team });
    bob.post(&path, &given).expect(403);
    ann.post(&path, &given).expect(200);
    bob.ask("PUT", &tool, Some(&change)).expect(200);
    wait("the role", || elsewhere.ask("PUT", &tool, Some(&change)).status == 200);
    ann.delete(&format!("{path}/{developer}?scope=team&scope_id={team}")).expect(200);
    bob.ask("PUT", &tool, Some(&change)).expect(403);
    wait("its end", || elsewhere.ask("PUT", &tool, Some(&change)).status == 403);

    ann.delete(&format!("/teams/{team}/members/{BOB}")).expect(200);
    assert!(!bob.sees_echo() && !bob.calls_echo());
    bob.get(&tool).expect(404);
    wait("that he is out", || !elsewhere.sees_echo() && !elsewhere.calls_echo() && !in_session());
    elsewhere.get(&tool).expect(404);
}

#[test]
fn what_changes_for_a_member_is_seen_on_two_nodes_on_one_file() {
    let folder = TempDir::new().expect("a temporary folder");
    let url = format!("sqlite:///{}", folder.path().join("one.db").display());
    let start =
        || Gateway::setup().set("DATABASE_URL", &url).set("CHANGE_POLL_INTERVAL", "0.05").start();
    what_changes_for_a_member_is_seen_on_both(&start(), &start());
}

#[test]
fn what_changes_for_a_member_is_seen_on_two_nodes_on_postgresql() {
    let server = Instance::shared(Version::V15);
    server.ask("postgres", "CREATE DATABASE of_teams");
    let url = server.url("of_teams");
    let start = || Gateway::setup().set("DATABASE_URL", &url).start();
    what_changes_for_a_member_is_seen_on_both(&start(), &start());
}

#[test]
fn the_roles_that_every_gateway_has_are_written_once_by_whoever_starts() {
    let folder = TempDir::new().expect("a temporary folder");
    let url = format!("sqlite:///{}", folder.path().join("one.db").display());
    let file = folder.path().join("roles.json");
    let role = json!([{ "name": "caller", "scope": "team", "permissions": ["tools.execute"] }]);
    std::fs::write(&file, role.to_string()).expect("the folder is ours");
    let start = || {
        Gateway::setup()
            .set("DATABASE_URL", &url)
            .set("MCPGATEWAY_BOOTSTRAP_ROLES_IN_DB_ENABLED", "true")
            .set("MCPGATEWAY_BOOTSTRAP_ROLES_IN_DB_FILE", file.display())
            .start()
    };
    thread::scope(|scope| {
        let started = [scope.spawn(start), scope.spawn(start), scope.spawn(start)];
        for gateway in started {
            let gateway = gateway.join().expect("it starts");
            let roles = gateway.get("/rbac/roles").expect(200).json();
            let found = names(&roles, "name");
            let expected = [
                "caller",
                "developer",
                "platform_admin",
                "platform_viewer",
                "team_admin",
                "viewer",
            ];
            assert_eq!(found, expected);
        }
    });
}

#[test]
fn a_user_asks_to_join_a_public_team_and_leaves_it() {
    let gateway = Gateway::start();
    let (ann, bob) = (User::of(&gateway, ANN), User::of(&gateway, BOB));
    let body = json!({ "name": "Open", "visibility": "public" });
    let team = id(&ann.post("/teams/", &body).expect(201).json());
    let found = bob.get("/teams/discover").expect(200).json();
    assert_eq!(names(&found, "name"), ["Open"]);
    let asked = bob.ask("POST", &format!("/teams/{team}/join"), None).expect(200).json();
    bob.ask("POST", &format!("/teams/{team}/join"), None).expect(409);
    let approve = format!("/teams/{team}/join-requests/{}/approve", id(&asked));
    bob.ask("POST", &approve, None).expect(403);
    ann.ask("POST", &approve, None).expect(200);
    let body = json!({ "name": "note", "uri": "note://team", "content": "ours" });
    let body = json!({ "resource": body, "team_id": team, "visibility": "team" });
    bob.post("/resources", &body).expect(403);
    ann.post("/resources", &body).expect(200);
    let read = || bob.rpc("resources/read", &json!({ "uri": "note://team" }));
    assert_eq!(read()["result"]["contents"][0]["text"], "ours");
    bob.delete(&format!("/teams/{team}/leave")).expect(200);
    assert!(read().get("error").is_some());
    ann.delete(&format!("/teams/{team}/leave")).expect(409);
    ann.delete(&format!("/teams/{team}")).expect(409);
    ann.delete(&format!("/teams/{team}?force=true")).expect(200);
    let read = ann.rpc("resources/read", &json!({ "uri": "note://team" }));
    assert_eq!(read["result"]["contents"][0]["text"], "ours", "it is its owner's still");
}

#[test]
fn the_command_line_says_why_somebody_may_not_and_what_would_help() {
    let gateway = Gateway::start();
    let ann = User::of(&gateway, ANN);
    let team = id(&ann.post("/teams", &json!({ "name": "Blue" })).expect(201).json());
    let tool = json!({ "name": "ours", "url": "http://127.0.0.1:9/x", "request_type": "GET" });
    let body = json!({ "tool": tool, "team_id": team, "visibility": "team" });
    ann.post("/tools", &body).expect(200);
    let why = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["why"].iter().chain(arguments).copied().collect();
        let output = gateway.command(&arguments).output().expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints text")
    };
    assert_eq!(
        why(&[BOB, "call", "tool:ours"]),
        "bob@example.com may not tools.execute on the tool ours\n  because it is shared in the \
         team \"Blue\", which bob@example.com is not in, so it does not exist for them\n  what \
         would allow it:\n  - being a member of the team \"Blue\"\n  - making it public\n  - being \
         an administrator\n"
    );
    let told = why(&[ANN, "tools.execute", "tool:ours"]);
    assert!(told.starts_with("ann@example.com may tools.execute on the tool ours\n"), "{told}");
}
