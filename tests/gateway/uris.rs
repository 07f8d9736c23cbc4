//! Resources of several upstreams that have the same URIs: each leads to its own.

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::Client;
use crate::harness::upstreams::{Served, everything_stdio};

/// A URI that both upstreams list, of a document that the reference server brings.
const LISTED: &str = "demo://resource/static/document/architecture.md";
/// A template that both have, and a URI that fits it.
const TEMPLATE: &str = "demo://resource/dynamic/text/{resourceId}";
const EXPANDED: &str = "demo://resource/dynamic/text/7";

/// Two of the same reference server: the first has what it has as it is, the second under its name.
struct World {
    _http: Served,
    gateway: Gateway,
    /// What the URIs of the second begin with.
    prefix: String,
}

impl World {
    fn start() -> World {
        let http = Served::everything_http();
        let gateway = Gateway::start();
        gateway.add(&http.registration("first"));
        let second = gateway.add(&everything_stdio("second"));
        let id = second["id"].as_str().expect("it has an id");
        let prefix = format!("ringway.second.{}+", &id[..12]);
        World { _http: http, gateway, prefix }
    }

    fn clients(&self) -> [Client<'_>; 2] {
        [Client::legacy(&self.gateway, "/mcp"), Client::modern(&self.gateway, "/mcp")]
    }

    fn of_second(&self, uri: &str) -> String {
        format!("{}{uri}", self.prefix)
    }
}

fn contents(result: &Value) -> &str {
    result["contents"][0]["uri"].as_str().expect("it was read")
}

#[test]
fn lists_show_both_and_each_is_read_at_its_own() {
    let world = World::start();
    for client in world.clients() {
        let label = client.version();
        let resources = names_of(&client, "resources/list", "resources", "uri");
        let templates =
            names_of(&client, "resources/templates/list", "resourceTemplates", "uriTemplate");
        for (all, uri) in [(&resources, LISTED), (&templates, TEMPLATE)] {
            for expected in [uri.to_owned(), world.of_second(uri)] {
                let count = all.iter().filter(|uri| **uri == expected).count();
                assert_eq!(count, 1, "{label}: {expected} in {all:?}");
            }
        }
        for uri in [LISTED, EXPANDED] {
            for asked in [uri.to_owned(), world.of_second(uri)] {
                let result = client.result("resources/read", json!({ "uri": asked }));
                assert_eq!(contents(&result), asked, "{label}");
                assert_eq!(result["contents"].as_array().map(Vec::len), Some(1), "{label}");
            }
        }
    }
    let before = ["first", "second"].map(|name| reads_of(&world.gateway, name));
    let client = Client::modern(&world.gateway, "/mcp");
    client.result("resources/read", json!({ "uri": world.of_second(LISTED) }));
    let after = ["first", "second"].map(|name| reads_of(&world.gateway, name));
    assert_eq!(after, [before[0], before[1] + 1], "it was read at the second alone");
}

/// How often the listed document of an upstream was read, as its metrics say.
fn reads_of(gateway: &Gateway, upstream: &str) -> u64 {
    let upstreams = gateway.get("/gateways").expect(200).json();
    let mut upstreams = upstreams.as_array().expect("a list").iter();
    let upstream = upstreams.find(|one| one["name"] == upstream).expect("it is there");
    let all = gateway.get("/resources?limit=0&include_metrics=true").expect(200).json();
    let mut all = all.as_array().expect("a list").iter();
    let is_its = |one: &&Value| one["uri"] == LISTED && one["gatewayId"] == upstream["id"];
    let document = all.find(is_its).unwrap_or_else(|| panic!("{LISTED} of {upstream}"));
    document["metrics"]["totalExecutions"].as_u64().unwrap_or_else(|| panic!("{document}"))
}

#[track_caller]
fn names_of(client: &Client<'_>, method: &str, key: &str, name: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let params = if cursor.is_null() { json!({}) } else { json!({ "cursor": cursor }) };
        let page = client.result(method, params);
        let entries = page[key].as_array().expect("a list");
        all.extend(entries.iter().filter_map(|one| one[name].as_str()).map(str::to_owned));
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            return all;
        }
    }
}

#[test]
fn links_and_embedded_resources_lead_back_to_who_gave_them() {
    let world = World::start();
    for client in world.clients() {
        for (upstream, prefix) in [("first", ""), ("second", &*world.prefix)] {
            let label = format!("{} {upstream}", client.version());
            let call = |tool: &str, arguments: Value| {
                let name = format!("{upstream}-{tool}");
                client.result("tools/call", json!({ "name": name, "arguments": arguments }))
            };
            let links = call("get-resource-links", json!({ "count": 2 }));
            let link = |id: usize| links["content"][id]["uri"].as_str().expect("a link").to_owned();
            assert_eq!(link(1), format!("{prefix}demo://resource/dynamic/blob/1"), "{label}");
            assert_eq!(link(2), format!("{prefix}demo://resource/dynamic/text/2"), "{label}");
            let read = client.result("resources/read", json!({ "uri": link(2) }));
            assert_eq!(contents(&read), link(2), "{label}");
            let embedded = call("get-resource-reference", json!({ "resourceType": "Text" }));
            let embedded = &embedded["content"][1]["resource"]["uri"];
            assert_eq!(*embedded, format!("{prefix}demo://resource/dynamic/text/1"), "{label}");
            let prompt = json!({
                "name": format!("{upstream}-resource-prompt"),
                "arguments": { "resourceType": "Text", "resourceId": "3" },
            });
            let prompt = client.result("prompts/get", prompt);
            let embedded = &prompt["messages"][1]["content"]["resource"]["uri"];
            assert_eq!(*embedded, format!("{prefix}demo://resource/dynamic/text/3"), "{label}");
            let reference = json!({ "type": "ref/resource", "uri": format!("{prefix}{TEMPLATE}") });
            let argument = json!({ "name": "resourceId", "value": "12" });
            let params = json!({ "ref": reference, "argument": argument });
            let completed = client.result("completion/complete", params);
            assert_eq!(completed["completion"]["values"], json!(["12"]), "{label}");
        }
    }
}

#[test]
fn a_server_with_one_of_them_has_its_uris_as_they_are() {
    let world = World::start();
    let upstreams = world.gateway.get("/gateways").expect(200).json();
    let second = upstreams.as_array().expect("a list").iter().find(|one| one["name"] == "second");
    let path = world.gateway.open_server(&[second.expect("it is there")]);
    let client = Client::modern(&world.gateway, &path);
    let all = names_of(&client, "resources/list", "resources", "uri");
    assert!(all.contains(&LISTED.to_owned()), "{all:?}");
    assert!(all.iter().all(|uri| !uri.starts_with("ringway.")), "{all:?}");
    let read = client.result("resources/read", json!({ "uri": LISTED }));
    assert_eq!(contents(&read), LISTED);
    // One that was handed out elsewhere is good here, too.
    let asked = world.of_second(LISTED);
    let read = client.result("resources/read", json!({ "uri": asked }));
    assert_eq!(contents(&read), asked);
}

#[test]
fn what_is_listed_nowhere_is_looked_for_at_one_upstream_after_the_other() {
    let (one, other) = (Served::everything_http(), Served::conformance());
    let gateway = Gateway::start();
    gateway.add(&one.registration("one"));
    gateway.add(&other.registration("other"));
    for client in [Client::legacy(&gateway, "/mcp"), Client::modern(&gateway, "/mcp")] {
        let label = client.version();
        let call = json!({ "name": "other-test-embedded-resource", "arguments": {} });
        let content = client.result("tools/call", call)["content"][0].clone();
        assert_eq!(content["resource"]["uri"], "test://embedded-resource", "{label}");
        let read = client.result("resources/read", json!({ "uri": content["resource"]["uri"] }));
        assert_eq!(read["contents"][0], content["resource"], "{label}");
        for uri in ["nobody://has/this", "ringway.x.000000000000+nobody://has/this"] {
            let gone = client.ask("resources/read", json!({ "uri": uri }));
            assert_eq!(gone["error"]["data"]["uri"], uri, "{label}: {gone}");
        }
    }
}
