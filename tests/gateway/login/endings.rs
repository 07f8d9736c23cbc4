//! What ends a token or a user is heard of everywhere: on another node on the same database, and by
//! streams that are open.

use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ANN, PASSWORD, PATIENCE, ROOT, api_token, session_of, setup, start, status, user};
use crate::harness::eventually;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{MODERN, envelope};
use crate::harness::postgres::{Instance, Version};
use crate::harness::stream::Stream;
use crate::harness::wire::{Wire, request};

fn wait(what: &str, holds: impl Fn() -> bool) {
    eventually(what, PATIENCE, || holds().then_some(()));
}

/// Two gateways on one file, which hear of each other as often as they do by themselves.
fn two(folder: &TempDir) -> [Gateway; 2] {
    let url = format!("sqlite:///{}", folder.path().join("one.db").display());
    let gateways = [(); 2].map(|()| setup().set("DATABASE_URL", &url).start());
    for gateway in &gateways {
        session_of(gateway, ROOT, PASSWORD);
    }
    gateways
}

#[test]
fn a_token_is_shown_once_and_refused_on_every_node_once_it_is_revoked() {
    let folder = TempDir::new().expect("a temporary folder");
    let [here, there] = two(&folder);
    let ann = user(&here, ANN);
    let (id, token) = api_token(&here, &ann, &json!({ "name": "robot", "expires_in_days": 1 }));
    let path = format!("/tokens/{id}");
    for shown in ["/tokens", &path] {
        let answer = here.ask_as(Some(&ann), "GET", shown, None).expect(200);
        assert!(!answer.text().contains(&token) && !answer.text().contains("access_token"));
    }
    wait("the other node to know the token", || status(&there, &token) == 200);
    assert_eq!(status(&here, &token), 200);
    here.ask_as(Some(&ann), "DELETE", &path, None).expect(204);
    assert_eq!(status(&here, &token), 401, "at once where it was revoked");
    wait("the other node to refuse it", || status(&there, &token) == 401);
    assert_eq!(status(&there, &ann), 200, "the session goes on");
    let all = json!([here.printed(), there.printed(), here.get("/audit").json()]).to_string();
    assert!(!all.contains(&token));
}

#[test]
fn a_user_who_is_switched_off_is_refused_on_every_node_until_they_are_on_again() {
    let folder = TempDir::new().expect("a temporary folder");
    let [here, there] = two(&folder);
    let ann = user(&here, ANN);
    wait("the other node to know the user", || {
        there.get(&format!("/auth/email/admin/users/{ANN}")).status == 200
    });
    let path = format!("/auth/email/admin/users/{ANN}");
    let set = |is_active: bool| {
        here.ask("PUT", &path, Some(&json!({ "is_active": is_active }))).expect(200);
    };
    assert_eq!((status(&here, &ann), status(&there, &ann)), (200, 200));
    set(false);
    assert_eq!(status(&here, &ann), 401);
    wait("the other node to refuse them", || status(&there, &ann) == 401);
    set(true);
    wait("the other node to let them in", || status(&there, &ann) == 200);
    here.ask("DELETE", &path, None).expect(200);
    assert_eq!(status(&here, &ann), 401);
    let fresh = user(&here, ANN);
    assert_eq!(status(&here, &fresh), 200);
    wait("the other node to refuse who was deleted", || {
        status(&there, &ann) == 401 && status(&there, &fresh) == 200
    });
}

/// Opens the stream of resources, and gives it to a thread that reads it to its end.
fn open(gateway: &Gateway, token: &str) -> thread::JoinHandle<()> {
    let mut stream = Stream::open(gateway, "POST", "/resources/subscribe", token);
    thread::spawn(move || stream.read_to_end())
}

#[test]
fn a_stream_ends_with_the_token_or_the_user_that_it_was_opened_by() {
    let gateway = start();
    let ann = user(&gateway, ANN);
    let (id, token) = api_token(&gateway, &ann, &json!({ "name": "robot" }));
    let by_token = open(&gateway, &token);
    let by_session = open(&gateway, &ann);
    gateway.ask_as(Some(&ann), "DELETE", &format!("/tokens/{id}"), None).expect(204);
    by_token.join().expect("it ended as streams end");
    assert!(!by_session.is_finished(), "the other one goes on");
    let off = json!({ "is_active": false });
    gateway.ask("PUT", &format!("/auth/email/admin/users/{ANN}"), Some(&off)).expect(200);
    by_session.join().expect("it ended as streams end");

    let root = session_of(&gateway, ROOT, PASSWORD);
    let mut roots = Stream::open(&gateway, "GET", "/roots/changes", &root);
    gateway.ask_as(Some(&root), "POST", "/auth/logout", None).expect(200);
    roots.read_to_end();
}

/// Opens the stream of a new MCP session, and gives the wire behind its head.
fn open_mcp(gateway: &Gateway, token: &str) -> Wire {
    let bearer = format!("Bearer {token}");
    let hello = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "tests", "version": "1" },
        },
    });
    let fields = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    let body = hello.to_string();
    let begun = gateway.wire().send(request("POST", "/mcp", &fields, body.as_bytes())).answer();
    let session = begun.expect(200).header("mcp-session-id").expect("a session").to_owned();
    let mut wire = gateway.wire();
    let fields = [&fields[..], &[("Mcp-Session-Id", session.as_str())]].concat();
    wire.send(request("GET", "/mcp", &fields, b""));
    assert_eq!(wire.head().expect("an answer begins").status, 200);
    wire.chunk().expect("it says that it is open");
    wire
}

#[test]
fn the_stream_of_an_mcp_session_ends_with_the_token_that_it_was_opened_by() {
    let gateway = start();
    let ann = user(&gateway, ANN);
    let (id, token) = api_token(&gateway, &ann, &json!({ "name": "robot" }));
    let mut wire = open_mcp(&gateway, &token);
    let reader = thread::spawn(move || while wire.chunk().is_some() {});
    gateway.ask_as(Some(&ann), "DELETE", &format!("/tokens/{id}"), None).expect(204);
    reader.join().expect("it ended as streams end");
}

/// Opens the stream of a client of MCP without sessions, and gives it to a thread that reads it to
/// its end.
fn listen(gateway: &Gateway, token: &str) -> thread::JoinHandle<()> {
    let params = json!({
        "notifications": { "toolsListChanged": true },
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    });
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", "subscriptions/listen"),
    ];
    let body = envelope("subscriptions/listen", &params).to_string();
    let mut wire = gateway.wire();
    wire.send(request("POST", "/mcp", &headers, body.as_bytes()));
    assert_eq!(wire.head().expect("an answer begins").status, 200);
    assert!(wire.chunk().is_some(), "it says what it will tell of");
    thread::spawn(move || while wire.chunk().is_some() {})
}

/// What ends on one node ends on the other, by the REST API, by MCP and in streams that are open
/// there.
fn endings_are_heard_of(here: &Gateway, there: &Gateway) {
    let ann = user(here, ANN);
    let (id, token) = api_token(here, &ann, &json!({ "name": "robot" }));
    wait("the other node to know the token", || status(there, &token) == 200);
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    let by_mcp = |token: &str| {
        ["/rpc", "/mcp"].map(|path| there.ask_as(Some(token), "POST", path, Some(&ping)).status)
    };
    assert_eq!((by_mcp(&token), by_mcp(&ann)), ([200, 200], [200, 200]));
    let of_token = [open(there, &token), listen(there, &token)];
    let of_session = [open(there, &ann), listen(there, &ann)];
    here.ask_as(Some(&ann), "DELETE", &format!("/tokens/{id}"), None).expect(204);
    wait("the other node to refuse the token", || {
        status(there, &token) == 401 && by_mcp(&token) == [401, 401]
    });
    of_token.into_iter().for_each(|stream| stream.join().expect("it ended as streams end"));
    assert!(of_session.iter().all(|stream| !stream.is_finished()), "the session goes on");
    let off = json!({ "is_active": false });
    here.ask("PUT", &format!("/auth/email/admin/users/{ANN}"), Some(&off)).expect(200);
    wait("the other node to refuse the user", || {
        status(there, &ann) == 401 && by_mcp(&ann) == [401, 401]
    });
    of_session.into_iter().for_each(|stream| stream.join().expect("it ended as streams end"));
}

#[test]
fn what_ended_on_one_node_ends_streams_and_mcp_on_the_other_on_one_file() {
    let folder = TempDir::new().expect("a temporary folder");
    let [here, there] = two(&folder);
    endings_are_heard_of(&here, &there);
}

#[test]
fn what_ended_on_one_node_ends_streams_and_mcp_on_the_other_on_postgresql() {
    let server = Instance::shared(Version::V15);
    server.ask("postgres", "CREATE DATABASE of_endings");
    let url = server.url("of_endings");
    let [here, there] = [(); 2].map(|()| setup().set("DATABASE_URL", &url).start());
    session_of(&here, ROOT, PASSWORD);
    endings_are_heard_of(&here, &there);
}

fn note(name: &str, team: &str) -> Value {
    json!({
        "resource": { "uri": format!("note://{name}"), "name": name, "content": "x" },
        "team_id": team, "visibility": "team",
    })
}

#[test]
fn a_stream_shows_no_more_of_a_team_that_its_reader_has_left() {
    let gateway = start();
    let root = session_of(&gateway, ROOT, PASSWORD);
    let ann = user(&gateway, ANN);
    let as_root = |method: &str, path: &str, body: &Value| {
        gateway.ask_as(Some(&root), method, path, Some(body))
    };
    let team = as_root("POST", "/teams", &json!({ "name": "Blue" })).expect(201).json();
    let team = team["id"].as_str().expect("an id").to_owned();
    as_root("POST", &format!("/teams/{team}/members"), &json!({ "email": ANN })).expect(201);
    let mut stream = Stream::open(&gateway, "POST", "/resources/subscribe", &ann);
    as_root("POST", "/resources", &note("first", &team)).expect(200);
    stream.read_until("note://first");
    gateway.ask_as(Some(&ann), "DELETE", &format!("/teams/{team}/leave"), None).expect(200);
    as_root("POST", "/resources", &note("second", &team)).expect(200);
    let open = json!({
        "resource": { "uri": "note://third", "name": "third", "content": "x" },
        "visibility": "public",
    });
    as_root("POST", "/resources", &open).expect(200);
    stream.read_until("note://third");
    assert!(!stream.text.contains("note://second"), "{}", stream.text);
}
